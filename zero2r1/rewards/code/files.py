"""The files of a repaired project in a reply: fenced blocks that name the file they replace.

A block names its file in one of three ways: in its info (`python path=calc/core.py`), in its first line
(`# file: calc/core.py`), or in the line above it (`### calc/core.py`). A block without a name counts only when the
project has one file and the reply names none. Only files of the problem can be replaced: tests, new files and paths
that leave the project are refused, and with them the whole reply.

What is not here: running anything.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem
from zero2r1.rewards.code.answer import MAX_PROGRAM_CHARS, Block, blocks_of, region_of

INFO = re.compile(r"(?:path|file|filename|title)\s*=\s*[\"']?([^\s\"'}]+)")
FIRST_LINE = re.compile(r"^#\s*(?:file|path|filename)\s*:\s*(\S+)\s*$", re.IGNORECASE)
PATH_LINE = re.compile(r"^[\s#*>-]*(?:file|path)?\s*:?\s*[`*\"']*([\w./\\-]+\.py)[`*\"']*\s*:?[`*\"']*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FileExtraction:
    """The files of a reply by path, or the reason why there are none."""

    files: Mapping[str, str] | None
    problem: str = ""


def files_of(text: str, problem: CodeProblem, dialect: Dialect, *, prefilled: bool = False) -> FileExtraction:
    """The files a reply replaces.

    Args:
        text: the response as the model wrote it.
        problem: of the form repair; its files are the ones that may be replaced.
        dialect: says where the answer stands.
        prefilled: True when the prompt already ended with `<think>`.
    """
    region = region_of(text, dialect, prefilled=prefilled)
    if region.answer is None:
        return FileExtraction(None, region.problem)
    blocks = [block for block in blocks_of(region.answer) if block.is_python or not block.language or _path(block)]
    named = [(path, block.text) for block in blocks if (path := _path(block))]
    if not named and len(problem.files) == 1 and blocks:
        named = [(next(iter(problem.files)), blocks[-1].text)]
    if not named:
        return FileExtraction(None, "no block that names its file")
    for path, content in named:
        if path not in problem.files:
            return FileExtraction(None, f"{path[:100]!r} is no file of the project that may be replaced")
        if len(content) > MAX_PROGRAM_CHARS:
            return FileExtraction(None, f"a file is longer than {MAX_PROGRAM_CHARS} characters")
    return FileExtraction(dict(named))


def _path(block: Block) -> str:
    """The file a block names, empty when it names none."""
    found = INFO.search(block.info)
    if found:
        return found[1]
    words = block.info.split()
    if len(words) == 2 and words[1].endswith(".py"):
        return words[1]
    first = FIRST_LINE.match(block.text.partition("\n")[0].strip())
    if first:
        return first[1]
    above = PATH_LINE.match(block.before)
    return above[1] if above else ""
