"""The stage table of a run for a terminal. What stands in it is the report's; here it is only laid out."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from zero2r1.cli.output import clock, table

SCORES: Mapping[str, str] = {
    "pass@1": "pass@1",
    "cons": "cons@k",
    "format": "format",
    "readable": "readable",
    "language": "language",
    "length/mean": "tokens",
}
"""Metric of the report's rows -> column title."""

NOTHING = "–"


def stage_rows(run_dir: Path) -> list[dict[str, Any]]:
    """One plain row a stage, parents first (see `report.stage_table`)."""
    from zero2r1.report import build, stage_table

    return stage_table(build(run_dir))


def scores_for(width: int) -> Mapping[str, str]:
    """The columns of `SCORES` that a terminal of so many characters has room for, beside stage, state and time."""
    left_out = () if width >= 100 else ("readable",) if width >= 90 else ("readable", "length/mean")
    return {name: title for name, title in SCORES.items() if name not in left_out}


def score_cells(row: Mapping[str, Any], names: Iterable[str] = SCORES) -> list[str]:
    """One text a metric: percent (pass@1 with half its 95 % interval), mean tokens, or a dash."""
    return [_cell(name, row.get(name)) for name in names]


def drawn(rows: Sequence[Mapping[str, Any]], width: int = 120) -> Table:
    """The stage table. Show it with `settings_line`: a score without its settings cannot be repeated."""
    scores = scores_for(width)
    cells = [
        [
            row["stage"],
            clock(row["seconds"]) if row["seconds"] is not None else row["state"],
            NOTHING if row["updates"] is None else row["updates"],
            *score_cells(row, scores),
        ]
        for row in rows
    ]
    return table(["stage", "time", "updates", *scores.values()], cells)


def settings_line(rows: Sequence[Mapping[str, Any]]) -> str:
    """How the scores were taken, in one line per distinct protocol."""
    lines = {
        f"{row['n']} held-out questions × {row['k']} samples, temperature {row['temperature']:g}, "
        f"top-p {row['top_p']:g}, at most {row['max_new_tokens']} tokens"
        for row in rows
        if row.get("n")
    }
    if not lines:
        return "nothing measured yet"
    return f"percent of {' | '.join(sorted(lines))}; ± is a 95 % interval over questions (near 0 and 100 its other end)"


def _cell(name: str, estimate: Mapping[str, Any] | None) -> str:
    if estimate is None or estimate.get("mean") is None:
        return NOTHING
    if name == "length/mean":
        return f"{estimate['mean']:.0f}"
    percent = f"{100 * estimate['mean']:.1f}"
    low, high = estimate.get("low"), estimate.get("high")
    if name != "pass@1" or low is None or high is None:
        return percent
    if low <= 0.0 or high >= 1.0:  # cut off at an end, so not symmetric
        return f"{percent} ≤{100 * high:.0f}" if low <= 0.0 else f"{percent} ≥{100 * low:.0f}"
    return f"{percent} ±{50 * (high - low):.1f}"
