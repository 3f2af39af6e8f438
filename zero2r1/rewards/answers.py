"""Where the final answer of a reply stands: after the thinking, in the place the dialect names, and only once.

Rules (ours, chosen so that hedging never pays):

* what stands inside the thinking is never an answer; with several `</think>` only the text after the last can hold it;
* several answers count only when they are the same; one after the first `</think>` that differs spoils the reply,
  whether it stands in a box or in answer tags, and in the plain dialect also when it is a number that is stated;
* r1_zero reads `<answer>...</answer>`, r1 the `\\boxed{...}` of the summary, plain a box, else `<answer>`, else
  "the answer is ...", else the whole text.

What is not here: whether the format as a whole is right (`format.py`), and whether the answer is (`math_answer.py`).
"""

import re
from dataclasses import dataclass

from zero2r1.core.dialogue import Dialect
from zero2r1.rewards.equations import worked_out
from zero2r1.rewards.numerals import parse_number, undress

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
STATEMENT = re.compile(r"\banswer(?:\s+is\b|\s*[:=])\s*[:=]?|答案(?:是|为|：|:)", re.IGNORECASE)
BOX_TOKEN = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Extraction:
    """A final answer, or the reason why there is none."""

    answer: str | None
    problem: str = ""


def thinking_text(text: str, *, prefilled: bool = False) -> str:
    """The part of a reply that is thinking: what stands before the last `</think>`, tags removed.

    A reply whose thinking never ends is all thinking; one without thinking tags is taken whole, so that leaving the
    tags out is no way around a reward on the thinking.
    """
    end = text.rfind(THINK_CLOSE)
    body = text if end < 0 else text[:end]
    start = body.find(THINK_OPEN)
    if start >= 0 and not prefilled:
        body = body[start:]
    return body.replace(THINK_OPEN, " ").replace(THINK_CLOSE, " ")


def final_answer(text: str, dialect: Dialect, *, prefilled: bool = False) -> Extraction:
    """The one final answer of a reply.

    Args:
        text: the response as the model wrote it.
        dialect: says where the answer stands.
        prefilled: True when the prompt already ended with `<think>`.

    Returns:
        the raw answer text, or None with a problem in words.
    """
    first, last = text.find(THINK_CLOSE), text.rfind(THINK_CLOSE)
    if last < 0 and (THINK_OPEN in text or (prefilled and dialect is not Dialect.PLAIN)):
        return Extraction(None, "the thinking never ends, so nothing stands after it")
    region = text if last < 0 else text[last + len(THINK_CLOSE) :]
    if THINK_OPEN in region:
        return Extraction(None, "the thinking is opened again and never ends")
    found = _answers(region, dialect)
    if isinstance(found, str):
        return Extraction(None, found)
    if last > first:
        between = _answers(text[first + len(THINK_CLOSE) : last], dialect, is_strict=False)
        found += between if not isinstance(between, str) else []
    found += _beside(region, dialect)
    if not all(_are_same(found[0], answer) for answer in found[1:]):
        return Extraction(None, f"{len(found)} final answers that are not the same")
    return Extraction(found[0].strip())


def _beside(region: str, dialect: Dialect) -> list[str]:
    """Answers in places that the dialect does not read: they must not contradict the one that it reads."""
    tagged = _tagged(region)
    beside = [*boxes(region), *(tagged if not isinstance(tagged, str) else [])]
    if dialect is Dialect.PLAIN:
        stated = (_unboxed(answer) for answer in _stated(region))
        beside += [answer for answer in stated if parse_number(undress(answer)) is not None]
    return beside


def _are_same(first: str, second: str) -> bool:
    """Whether two places hold one answer: the same text, or the same plain number."""
    texts = undress(_unboxed(first)), undress(_unboxed(second))
    if texts[0] == texts[1]:
        return True
    numbers = parse_number(texts[0]), parse_number(texts[1])
    return numbers[0] is not None and numbers[0] == numbers[1]


def _answers(region: str, dialect: Dialect, *, is_strict: bool = True) -> list[str] | str:
    """Every final answer in the text after the thinking, or what is missing."""
    if dialect is Dialect.R1:
        return boxes(region) or "no \\boxed{...} after the thinking"
    if dialect is Dialect.R1_ZERO:
        return _tagged(region)
    for find in (boxes, _tagged, _stated):
        candidates = find(region)
        if candidates and not isinstance(candidates, str):
            return candidates
    if not is_strict or not region.strip():
        return "the reply is empty"
    return [worked_out(region) or region]


def _tagged(region: str) -> list[str] | str:
    """The contents of the answer tags; a box inside one is taken out of its box."""
    opened, closed = region.count(ANSWER_OPEN), region.count(ANSWER_CLOSE)
    if opened == 0 or closed == 0:
        return "no <answer> ... </answer> after the thinking"
    if opened != closed:
        return f"{opened} <answer> but {closed} </answer>"
    contents, position = [], 0
    for _ in range(opened):
        start = region.find(ANSWER_OPEN, position)
        end = region.find(ANSWER_CLOSE, start)
        if start < 0 or end < 0:
            return "the answer tags are not in order"
        contents.append(_unboxed(region[start + len(ANSWER_OPEN) : end]))
        position = end + len(ANSWER_CLOSE)
    return contents


def _unboxed(content: str) -> str:
    """`\\boxed{42}` becomes `42` when the box is all there is; anything else stays as it is and is judged whole."""
    dressed = undress(content)
    if not dressed.startswith("\\boxed"):
        return content
    inside = boxes(dressed)
    return inside[0] if len(inside) == 1 and dressed == f"\\boxed{{{inside[0]}}}" else content


def _stated(region: str) -> list[str]:
    """What follows "the answer is" or 答案是, line by line, up to the end of the sentence."""
    answers = []
    for line in region.splitlines():
        statements = list(STATEMENT.finditer(line))
        ends = [statement.start() for statement in statements[1:]] + [len(line)]
        for statement, end in zip(statements, ends, strict=False):
            sentence = re.split(r"。|\.\s|\.$", line[statement.end() : end], maxsplit=1)[0]
            answers.append(sentence.strip())
    return [answer for answer in answers if answer]


def boxes(text: str) -> list[str]:
    """The contents of every outermost `\\boxed{...}`, in order; braces are matched, an unclosed box is none.

    One pass over the text, so a megabyte of unclosed boxes costs milliseconds.
    """
    contents: list[str] = []
    depth = start = 0
    for token in BOX_TOKEN.finditer(text):
        kind = token.group()
        is_box = len(kind) > 2
        if depth == 0 and is_box:
            depth, start = 1, token.end()
        elif depth and (is_box or kind == "{"):
            depth += 1
        elif depth and kind == "}":
            depth -= 1
            if depth == 0:
                contents.append(text[start : token.start()])
    return contents
