"""How a reply is written: thinking and answer as text, in three dialects, and back again.

    r1_zero   <think> reasoning </think> <answer> answer </answer>
    r1        <think>\\nreasoning\\n</think>\\n\\nsummary        the answer is the last \\boxed{} of the summary
    plain     the whole text is the answer region; there is no thinking

The law of this module: `parse(render(reply, dialect), dialect).reply == reply` for every complete reply (see
`Reply`). Parsing never raises and never guesses: where a text could be read in two ways the answer is None, so that
writing two answers never pays. Chat templates are in `core/templates.py`.

Ours: texts lose the white space around them; the R1 shape is the one of the released R1 models, because the paper
leaves the special tokens of its format unnamed.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from zero2r1.core.templates import (
    CHAT_TEMPLATES,
    R1_ZERO,
    R1_ZERO_AFTER,
    R1_ZERO_BEFORE,
    RESPONSE_TEMPLATES,
    THINK_CLOSE,
    THINK_OPEN,
)

__all__ = [
    "CHAT_TEMPLATES",
    "R1_ZERO",
    "R1_ZERO_AFTER",
    "R1_ZERO_BEFORE",
    "REFLECTIVE_WORDS",
    "RESPONSE_TEMPLATES",
    "Dialect",
    "Parsed",
    "Reply",
    "last_boxed",
    "parse",
    "render",
]

REFLECTIVE_WORDS: tuple[str, ...] = (
    "wait",
    "mistake",
    "however",
    "but",
    "retry",
    "error",
    "verify",
    "wrong",
    "evaluate",
    "check",
)
"""Words whose count over training shows reflection. Source: DeepSeek-R1 (arXiv 2501.12948v2), self-evolution of
R1-Zero, reflective words."""

ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
TAG = re.compile(r"</?(?:think|answer)>")
BRACES = re.compile(r"(?P<box>\\boxed\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.DOTALL)


class Dialect(StrEnum):
    """How thinking and answer are marked in a reply."""

    R1_ZERO = "r1_zero"
    R1 = "r1"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply in parts. White space around a part does not count.

    None means that the part is not there. A complete reply, for which rendering loses nothing, has
    in r1_zero no summary, in r1 the answer that `last_boxed(summary)` gives and no empty summary, and in plain
    neither thinking, summary nor an empty answer; none of its parts holds a tag.
    """

    thinking: str | None = None
    answer: str | None = None
    summary: str | None = None
    """What the reader gets after the thinking (r1 only)."""

    def __post_init__(self) -> None:
        for name in ("thinking", "answer", "summary"):
            text = getattr(self, name)
            if text is not None:
                object.__setattr__(self, name, text.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a text turned out to be."""

    reply: Reply
    is_well_formed: bool
    """True when the text keeps the dialect's grammar exactly; the format reward pays for this."""
    problem: str
    """Why it is not well formed; empty when it is."""


def render(reply: Reply, dialect: Dialect) -> str:
    """The text of a reply.

    In r1 a reply without summary is rendered with the summary `\\boxed{answer}`; r1_zero has no place for a summary
    and leaves it out.

    Raises:
        ValueError: when a part holds a tag of the dialects, or plain is given thinking: it could not be parsed back.
    """
    for part in (reply.thinking, reply.answer, reply.summary):
        if part is not None and (found := TAG.search(part)):
            raise ValueError(f"a part of a reply holds the tag {found.group()}: {part[:80]!r}")
    match dialect:
        case Dialect.PLAIN:
            if reply.thinking is not None or reply.summary is not None:
                raise ValueError("the plain dialect has no thinking and no summary")
            return reply.answer or ""
        case Dialect.R1_ZERO:
            blocks = [
                f"{start} {text} {end}"
                for start, text, end in (
                    (THINK_OPEN, reply.thinking, THINK_CLOSE),
                    (ANSWER_OPEN, reply.answer, ANSWER_CLOSE),
                )
                if text is not None
            ]
            return " ".join(blocks)
        case Dialect.R1:
            summary = reply.summary
            if summary is None and reply.answer is not None:
                summary = f"\\boxed{{{reply.answer}}}"
            thinking = None if reply.thinking is None else f"{THINK_OPEN}\n{reply.thinking}\n{THINK_CLOSE}"
            return "\n\n".join(block for block in (thinking, summary) if block is not None)


def parse(text: str, dialect: Dialect, *, prefilled: bool = False) -> Parsed:
    """Read a text as a reply; total: any text gives a result.

    Args:
        text: the response, without special tokens.
        dialect: how to read it.
        prefilled: the prompt already ended with `<think>` (and perhaps a line break), so the text starts inside.
    """
    whole = f"{THINK_OPEN}\n{text}" if prefilled and dialect is not Dialect.PLAIN else text
    match dialect:
        case Dialect.PLAIN:
            return _parse_plain(text)
        case Dialect.R1_ZERO:
            return _parse_r1_zero(whole)
        case Dialect.R1:
            return _parse_r1(whole)


def last_boxed(text: str) -> str | None:
    """Content of the last closed `\\boxed{...}`, braces balanced (`\\{` and `\\}` do not count); None without one.

    Of nested boxes it is the outermost. Linear in the length of the text, whatever it holds.
    """
    open_braces: list[int | None] = []  # a box: where its content starts; any other brace: None
    content: tuple[int, int] | None = None
    for token in BRACES.finditer(text):
        if token.lastgroup == "box":
            open_braces.append(token.end())
        elif token.lastgroup == "open":
            open_braces.append(None)
        elif token.lastgroup == "close" and open_braces:
            start = open_braces.pop()
            content = content if start is None else (start, token.start())
    return None if content is None else text[slice(*content)].strip()


def _parsed(reply: Reply, problem: str) -> Parsed:
    return Parsed(reply=reply, is_well_formed=not problem, problem=problem)


def _parse_plain(text: str) -> Parsed:
    """Grammar: any text that is not empty and holds no tag."""
    found = TAG.search(text)
    problem = f"the tag {found.group()} stands in the reply" if found else "" if text.strip() else "the reply is empty"
    return _parsed(Reply(answer=text.strip() or None), problem)


def _parse_r1_zero(text: str) -> Parsed:
    """Grammar: <think> thinking </think> <answer> answer </answer>, each tag once, nothing else but white space."""
    thinking, after, problem = _thinking(text)
    answer, answer_problem = _answer(after)
    if not problem and thinking is not None and not thinking.strip():
        problem = "the thinking is empty"
    return _parsed(Reply(thinking=thinking, answer=answer), problem or answer_problem)


def _parse_r1(text: str) -> Parsed:
    """Grammar: <think> thinking </think> summary; the thinking may be empty (R1 does not think about a greeting)."""
    thinking, after, problem = _thinking(text)
    summary = after.strip()
    if not summary:
        problem = problem or "no summary after </think>"
    elif found := TAG.search(summary):
        problem = problem or f"the tag {found.group()} stands in the summary"
    return _parsed(Reply(thinking=thinking, answer=last_boxed(summary), summary=summary or None), problem)


def _thinking(text: str) -> tuple[str | None, str, str]:
    """Split at the thinking: thinking, the text behind it, and what is wrong with the tags.

    Behind the *last* `</think>` and before any `<think>` after it stands what the reader gets: an answer that is
    inside a thinking, closed or not, is never the answer.
    """
    opened, closed = text.count(THINK_OPEN), text.count(THINK_CLOSE)
    if not opened and not closed:
        return None, text, "no <think>"
    if not closed:
        return text.partition(THINK_OPEN)[2], "", "<think> is not closed"
    head, _, behind = text.rpartition(THINK_CLOSE)
    before, tag, inside = head.partition(THINK_OPEN)
    thinking = inside if tag else head
    after, reopened, _ = behind.partition(THINK_OPEN)
    checks = {
        "</think> without <think>": not opened,
        "more than one </think>": closed > 1,
        "<think> after </think>": reopened,
        "more than one <think>": opened > 1,
        "a tag stands inside the thinking": TAG.search(thinking),
        "text before <think>": tag and before.strip(),
    }
    return thinking, after, next((problem for problem, is_so in checks.items() if is_so), "")


def _answer(text: str) -> tuple[str | None, str]:
    """The one answer in the text behind the thinking, and what is wrong with it."""
    opened, closed = text.count(ANSWER_OPEN), text.count(ANSWER_CLOSE)
    if opened > 1 or closed > 1:
        return None, "more than one <answer>"
    if not opened:
        return None, "</answer> without <answer>" if closed else "no <answer>"
    before, _, rest = text.partition(ANSWER_OPEN)
    answer, tag, behind = rest.partition(ANSWER_CLOSE)
    if not tag:
        return None, "<answer> is not closed"
    checks = {
        "text before <answer>": before.strip(),
        "text after </answer>": behind.strip(),
        "the answer is empty": not answer.strip(),
    }
    return answer, next((problem for problem, is_so in checks.items() if is_so), "")
