"""Reading a run folder without trusting it: files may be missing, torn, half-written or hold anything a model said.

Nothing here raises for what a file contains. A line that is no JSON object is counted, not hidden.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Row = Mapping[str, Any]

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: object) -> str:
    """The text with characters that hide, reorder or break (controls, direction marks, lone surrogates) written out.

    A model can write a right-to-left override that makes `71` look like `17`; here it shows as `⟨U+202E⟩`.
    """
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", str(text).replace("\r\n", "\n"))


def number(value: object) -> float | None:
    """A finite number as a float; None for everything else (bool, text, NaN, missing)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) else None


def mapping(value: object) -> Row:
    """The value if it is a mapping with text keys, else an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def json_file(path: Path) -> tuple[Row, str]:
    """A JSON object and what is wrong with the file, if anything; a missing file is an empty object and no problem."""
    if not path.is_file():
        return {}, ""
    try:
        content = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return {}, f"{path.name} is not readable as JSON"
    return (content, "") if isinstance(content, dict) else ({}, f"{path.name} is no JSON object")


def yaml_file(path: Path) -> tuple[Row, str]:
    """A YAML mapping and what is wrong with the file, if anything."""
    if not path.is_file():
        return {}, ""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
    except (yaml.YAMLError, RecursionError):
        return {}, f"{path.name} is not readable as YAML"
    return (mapping(content), "") if isinstance(content, Mapping) else ({}, f"{path.name} is no mapping")


def text_file(path: Path) -> str:
    """The text of a file; empty when it is not there."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def iter_rows(path: Path) -> Iterator[Row | None]:
    """The JSON objects of a JSON-lines file one by one; None for a line that is none. Blank lines are skipped."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield row if isinstance(row, dict) else None


def rows_file(path: Path) -> tuple[tuple[Row, ...], str]:
    """All JSON objects of a JSON-lines file, and how many lines were left out."""
    found = list(iter_rows(path))
    damaged = sum(row is None for row in found)
    problem = f"{path.name}: {damaged} unreadable line{'s' if damaged > 1 else ''} left out" if damaged else ""
    return tuple(row for row in found if row is not None), problem
