"""Logs of JSON lines: append-only, on disk when `append` returns, readable after a crash at any moment.

A crash can leave a torn last line (without a line break). It is left out on reading and cut off before the next row
is written. A damaged line anywhere else is an error: nothing here makes one.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from zero2r1.core.atomic import write_atomic
from zero2r1.core.errors import RunError

SCHEMA_VERSION = 1

Row = dict[str, object]


def append(path: Path, row: Mapping[str, object]) -> None:
    """Add a row (keys sorted, `schema_version` added) and wait until it is on disk.

    JSON has no NaN and no infinity: such values are written as null, and their names listed under `nonfinite`.
    """
    clean: Row = {name: _finite(value) for name, value in row.items()}
    clean["schema_version"] = SCHEMA_VERSION
    nonfinite = sorted(name for name, value in row.items() if not _is_finite(value))
    if nonfinite:
        clean["nonfinite"] = nonfinite
    line = json.dumps(clean, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    _cut_torn_line(path)
    with path.open("ab") as file:
        file.write(line.encode("utf-8", "backslashreplace"))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Row]:
    """All whole rows; none when there is no such file.

    Raises:
        RunError: Z410 for a whole line that is no JSON object.
    """
    return [row for _, row in _lines(path)]


def keep(path: Path, is_kept: Callable[[Row], bool]) -> None:
    """Drop the rows that are not kept, in one atomic replacement; kept lines stay byte for byte.

    Raises:
        RunError: as `read`.
    """
    if path.exists():
        write_atomic(path, b"".join(line + b"\n" for line, row in _lines(path) if is_kept(row)))


def _lines(path: Path) -> list[tuple[bytes, Row]]:
    if not path.exists():
        return []
    lines: list[tuple[bytes, Row]] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise RunError("Z410", "a line is no JSON object", where=f"{path}:{number}", fix="remove this line")
        lines.append((line, row))
    return lines


def _finite(value: object) -> object:
    """A value with every NaN and infinity in it replaced by None."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {name: _finite(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case _:
            return value


def _is_finite(value: object) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case Mapping():
            return all(_is_finite(inner) for inner in value.values())
        case list() | tuple():
            return all(_is_finite(inner) for inner in value)
        case _:
            return True


def _cut_torn_line(path: Path) -> None:
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb+") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
