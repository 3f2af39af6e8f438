"""What a command shows: text for people, one JSON object for programs, errors on stderr.

With `--json` a command writes exactly one JSON object to stdout, and everything else (progress, notes)
to stderr. Colours follow the terminal and NO_COLOR. Nothing here asks a question.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

JsonFlag = Annotated[bool, typer.Option("--json", help="Write one JSON object to stdout, progress to stderr.")]
"""The option every verb has."""

UnsafeFlag = Annotated[
    bool,
    typer.Option(
        "--unsafe-local-exec", help="Run model-written programs with your own rights where no sandbox can be had."
    ),
]
UNSAFE_OVERRIDE = "verdicts.code.sandbox.unsafe_local_exec=true"
"""The setting that the flag stands for."""

WIDTH_WITHOUT_TERMINAL = 140
"""Columns assumed for a file or a pipe, where nothing wraps lines anyway."""


def console(*, stderr: bool = False) -> Console:
    """A rich console that leaves plain text plain: no guessing of numbers, no 80-column cut in a pipe."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_WITHOUT_TERMINAL
    return Console(stderr=stderr, highlight=False, width=width)


def say(text: str = "", *, stderr: bool = False, style: str | None = None) -> None:
    """One line for a person; never wrapped, so that paths and commands can be copied."""
    console(stderr=stderr).print(text, style=style, markup=False, soft_wrap=True)


def emit(result: object) -> None:
    """The one JSON object of a `--json` command."""
    sys.stdout.write(json.dumps(result, ensure_ascii=False, sort_keys=True, default=str) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> Table:
    """A table whose numeric columns are right-aligned."""
    drawn = Table(
        title=title or None,
        header_style="bold",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    drawn.title_justify = "left"
    for index, column in enumerate(columns):
        cells = [row[index] for row in rows]
        is_number = bool(cells) and all(re.fullmatch(r"[-+±≤≥.,%\d\s/×:–]*", str(cell)) for cell in cells)
        drawn.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    return drawn


def error_text(message: str) -> Text:
    """The plain rendering of an error with its parts coloured: the code red, the fix green, carets yellow."""
    text = Text(message)
    text.highlight_regex(r"^error( Z\d+)?", "bold red")
    text.highlight_regex(r"^warning( Z\d+)?", "bold yellow")
    text.highlight_regex(r"(?m)^ *fix:", "bold green")
    text.highlight_regex(r"\^+.*", "yellow")
    return text


def show_error(message: str, *, as_json: bool, details: Mapping[str, Any] | None = None) -> None:
    """An error for a person on stderr and, when JSON was asked for, as an object on stdout."""
    console(stderr=True).print(error_text(message), soft_wrap=True)
    if as_json:
        emit({"error": {"message": message, **(details or {})}})


def clock(seconds: float | int) -> str:
    """Seconds as m:ss, or h:mm:ss from one hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def sparkline(values: Sequence[float | int], width: int = 16) -> str:
    """Values as a row of blocks, averaged down to `width`; the lowest block is the minimum. Ours: a glance."""
    if not values:
        return ""
    size = max(1, -(-len(values) // width))
    means = [sum(values[i : i + size]) / len(values[i : i + size]) for i in range(0, len(values), size)]
    low, high = min(means), max(means)
    blocks = "▁▂▃▄▅▆▇█"
    span = high - low
    return "".join(blocks[0 if span == 0 else int((value - low) / span * 7)] for value in means)
