"""Raw rows of JSONL and CSV files, robust against anything a file can hold.

A line that cannot be a row becomes a row without values and with a reason; only a file that cannot be opened raises.
Meaning (which column is the answer) is not here (`rows.py`).
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

MAX_LINE_BYTES = 2**20
"""Ours: a longer line is refused, and skipped without being held in memory."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row: its values, or why it has none."""

    number: int
    """The line, from 1 (for CSV: the last line of the row)."""
    values: Mapping[str, object] | None
    problem: str = ""


def read_jsonl(path: Path) -> Iterator[RawRow]:
    """One JSON object a line; empty lines are skipped."""
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), start=1):
            if line is None:
                yield RawRow(number, None, "line above 1 MiB")
            elif line.strip():
                yield _json_row(number, line)


def read_jsonl_gz(path: Path) -> Iterator[RawRow]:
    """One JSON object a line, compressed by gzip; what follows a damaged place is lost and counted as one row."""
    number = 0
    with gzip.open(path, "rb") as file:
        try:
            for number, line in enumerate(_lines(file), start=1):
                if line is None:
                    yield RawRow(number, None, "line above 1 MiB")
                elif line.strip():
                    yield _json_row(number, line)
        except (OSError, EOFError, zlib.error):
            yield RawRow(number + 1, None, "damaged gzip data")


def read_csv(path: Path) -> Iterator[RawRow]:
    """Comma-separated values with a header line."""
    with path.open("rb") as file:
        long_lines: list[int] = []
        reader = csv.DictReader(_csv_lines(file, long_lines))
        while True:
            try:
                values = next(reader, None)
                if values is None:
                    break
                problem = "more fields than columns" if None in values else ""
            except csv.Error:
                values, problem = {}, "broken CSV row"
            while long_lines:
                yield RawRow(long_lines.pop(0), None, "line above 1 MiB")
            yield RawRow(reader.line_num, None, problem) if problem else RawRow(reader.line_num, values)
        for number in long_lines:
            yield RawRow(number, None, "line above 1 MiB")


def _json_row(number: int, line: bytes) -> RawRow:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        return RawRow(number, None, "not UTF-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return RawRow(number, None, "not JSON")
    if not isinstance(value, dict):
        return RawRow(number, None, "not a JSON object")
    return RawRow(number, value)


def _lines(file: BufferedIOBase) -> Iterator[bytes | None]:
    """Lines of a binary file; None for one that is too long."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES:
            yield line
            continue
        while not line.endswith(b"\n") and (line := file.readline(MAX_LINE_BYTES)):
            pass
        yield None


def _csv_lines(file: BufferedIOBase, long_lines: list[int]) -> Iterator[str]:
    """Text lines; bytes that are not UTF-8 become lone surrogates, which `rows.py` refuses by name."""
    for number, line in enumerate(_lines(file), start=1):
        if line is None:
            long_lines.append(number)
            yield "\n"
        else:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape")
