"""Source lines with a caret under the place that is meant."""

from collections.abc import Sequence
from unicodedata import east_asian_width


def excerpt(lines: Sequence[str], line: int, column: int, width: int = 1, note: str = "") -> str:
    """The line before, the line itself and carets under `width` characters of it, with a note behind them.

    Args:
        lines: of the file.
        line: 1-based.
        column: 1-based, in characters.
        width: characters to underline; cut at the end of the line.
        note: said behind the carets.
    """
    if not 1 <= line <= len(lines):
        return ""
    shown = range(max(line - 1, 1), line + 1)
    gutter = max(len(str(line)), 2) + 3
    rows = [f"{number:>{gutter}} │ {_clean(lines[number - 1])}".rstrip() for number in shown]
    text = lines[line - 1]
    width = max(1, min(width, len(text) - column + 1))
    # One column a character is right for tabs (shown as one space) but not for wide letters: count those twice.
    indent = _columns(text[: column - 1])
    carets = "^" * max(_columns(text[column - 1 : column - 1 + width]), 1)
    rows.append(f"{'':>{gutter}} │ {'':>{indent}}{carets} {note}".rstrip())
    return "\n".join(rows)


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _columns(text: str) -> int:
    """Terminal columns of a text: East Asian wide letters take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
