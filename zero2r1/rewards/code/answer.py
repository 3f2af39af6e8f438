"""The program in a reply: after the thinking, in the place the dialect names, in the last fenced block.

Rules (ours):

* nothing inside the thinking counts, and a thinking that never ends, or begins again, leaves no program;
* r1_zero looks inside `<answer>...</answer>`, of which there is one; r1 and plain at all that follows the thinking;
* the last block marked as Python counts, else the last unmarked one (so an example of output after it does no
  harm); a block of another language never counts; without any fence the whole text is the program;
* a fence that is never closed ends with the text.

What is not here: the files of a repaired project (`files.py`), and parsing of Python: a text that is no program fails
in its box.
"""

import re
from dataclasses import dataclass

from zero2r1.core.dialogue import Dialect
from zero2r1.rewards.answers import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, Extraction

MAX_PROGRAM_CHARS = 100_000
"""Ours: a longer program is wrong. Long solutions of contests have a few thousand characters."""
PYTHON = ("python", "py", "python3")
FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<marks>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of code."""

    info: str
    """What follows the opening fence on its line."""
    before: str
    """The last line above the fence that is not blank; empty when there is none."""
    text: str

    @property
    def language(self) -> str:
        """The first word of the info, in lower case; empty when unmarked."""
        return re.split(r"[\s:{=]", self.info.strip().lower(), maxsplit=1)[0]

    @property
    def is_python(self) -> bool:
        """Marked as Python."""
        return self.language in PYTHON


def region_of(text: str, dialect: Dialect, *, prefilled: bool = False) -> Extraction:
    """The text in which an answer may stand, or why there is none.

    Args:
        text: the response as the model wrote it.
        dialect: says where the answer stands.
        prefilled: True when the prompt already ended with `<think>`.
    """
    last = text.rfind(THINK_CLOSE)
    if last < 0 and (THINK_OPEN in text or (prefilled and dialect is not Dialect.PLAIN)):
        return Extraction(None, "the thinking never ends, so nothing stands after it")
    region = text if last < 0 else text[last + len(THINK_CLOSE) :]
    if THINK_OPEN in region:
        return Extraction(None, "the thinking is opened again and never ends")
    if dialect is Dialect.R1_ZERO:
        if region.count(ANSWER_OPEN) != 1 or region.count(ANSWER_CLOSE) != 1:
            return Extraction(None, "no single <answer> ... </answer> after the thinking")
        region = region.partition(ANSWER_OPEN)[2].partition(ANSWER_CLOSE)[0]
    return Extraction(region) if region.strip() else Extraction(None, "the reply is empty")


def program_of(text: str, dialect: Dialect, *, prefilled: bool = False) -> Extraction:
    """The program of a reply, or why there is none. Arguments as in `region_of`."""
    region = region_of(text, dialect, prefilled=prefilled)
    if region.answer is None:
        return region
    blocks = blocks_of(region.answer)
    chosen = [block for block in blocks if block.is_python] or [block for block in blocks if not block.language]
    if blocks and not chosen:
        return Extraction(None, "no block of Python")
    program = chosen[-1].text if chosen else region.answer
    if not program.strip():
        return Extraction(None, "the program is empty")
    if len(program) > MAX_PROGRAM_CHARS:
        return Extraction(None, f"the program is longer than {MAX_PROGRAM_CHARS} characters")
    return Extraction(program)


def blocks_of(text: str) -> list[Block]:
    """Every fenced block in order. Lines of a block lose the indentation of its fence."""
    blocks: list[Block] = []
    opening: re.Match[str] | None = None
    inside: list[str] = []
    above = before = ""
    for line in text.split("\n"):
        fence = FENCE.match(line.rstrip("\r"))
        if opening is None:
            if fence:
                opening, inside, before = fence, [], above
            above = line.strip() or above
        elif fence and not fence["info"].strip() and fence["marks"].startswith(opening["marks"]):
            blocks.append(_block(opening, inside, before))
            opening, above = None, ""
        else:
            inside.append(line)
    if opening is not None:
        blocks.append(_block(opening, inside, before))
    return blocks


def _block(opening: re.Match[str], inside: list[str], before: str) -> Block:
    lines = [line.removeprefix(opening["indent"]) for line in inside]
    return Block(info=opening["info"].strip(), before=before, text="\n".join(lines) + "\n")
