"""Telling of a run while it goes: one live table on a terminal, plain lines everywhere else.

An observer only receives; nothing it does can stop or slow a run by more than a redraw a quarter of a second.
What it shows is also in the run folder, so `zero2r1 watch` can be started and closed at any time.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from zero2r1.cli.output import clock, console, sparkline
from zero2r1.cli.tables import NOTHING, SCORES, score_cells, scores_for, stage_rows
from zero2r1.stages.observer import Observer

HEADLINES: tuple[tuple[str, str, str], ...] = (
    ("reward/mean", "reward", ".2f"),
    ("reward/accuracy/mean", "accuracy", ".2f"),
    ("reward/format/mean", "format", ".2f"),
    ("reward/language/mean", "language", ".2f"),
    ("length/mean", "tokens", ".0f"),
    ("reward/zero_std_frac", "no signal", ".0%"),
    ("length/truncated_frac", "truncated", ".0%"),
    ("entropy/mean", "entropy", ".2f"),
    ("kl/mean", "kl", ".4f"),
    ("grad_norm", "grad", ".2f"),
)
"""Metric, its short name and format, most telling first. The loss of RL is left out on purpose: it is near 0
by construction and tells nothing; it is shown where there is no reward."""

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_REDRAWS = 0.25


def headline(metrics: Mapping[str, Any], limit: int = 6) -> str:
    """The few numbers of a step worth a glance, e.g. `reward 0.41  accuracy 0.30`."""
    phase = metrics.get("phase")
    shown = [phase] if isinstance(phase, str) else []
    shown += [
        f"{short} {value:{form}}"
        for name, short, form in HEADLINES
        if isinstance(value := metrics.get(name), float | int) and not isinstance(value, bool)
    ]
    loss = metrics.get("loss")
    if "reward/mean" not in metrics and isinstance(loss, float):
        shown.insert(0, f"loss {loss:.3f}")
    return "  ".join(shown[:limit])


class PlainObserver:
    """One line a stage and one every few seconds inside it: for logs, pipes and CI."""

    def __init__(
        self, run_dir: Path, write: Callable[[str], None], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._run_dir = run_dir
        self._write = write
        self._now = now
        self._began = now()
        self._last_line = float("-inf")

    def __enter__(self) -> "PlainObserver":
        return self

    def __exit__(self, *_: object) -> None:
        return

    def stage_started(self, name: str, kind: str, reason: str) -> None:
        self._last_line = float("-inf")
        self._line(f"{name}: started ({kind}{', ' + reason if reason else ''})")

    def update(self, stage: str, step: int, total: int, metrics: Mapping[str, Any]) -> None:
        if self._now() - self._last_line >= SECONDS_BETWEEN_LINES or step == total:
            self._last_line = self._now()
            self._line(f"{stage}: step {step}/{total}  {headline(metrics)}")

    def stage_finished(self, name: str, row: Mapping[str, Any]) -> None:
        cells = score_cells(_scores(self._run_dir, name))
        said = [f"{title} {cell}" for title, cell in zip(SCORES.values(), cells, strict=True) if cell != NOTHING]
        self._line(f"{name}: finished  {'  '.join(said)}")

    def note(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str) -> None:
        self._write(f"[{clock(self._now() - self._began)}] {text}".rstrip())


class LiveObserver:
    """One table that is redrawn in place: a row a stage, the running one with its progress and reward curve.

    It disappears at the end: the final table, which also has the settings, takes its place.
    """

    def __init__(
        self, run_dir: Path, screen: Console, *, title: str, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._run_dir = run_dir
        self._screen = screen
        self._title = title
        self._now = now
        self._stages: dict[str, dict[str, Any]] = {}
        self._running = ""
        self._rewards: list[float] = []
        self._status = ""
        self._last_draw = float("-inf")
        self._live = Live(console=screen, refresh_per_second=1, get_renderable=self.drawing, transient=True)

    def __enter__(self) -> "LiveObserver":
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def stage_started(self, name: str, kind: str, reason: str) -> None:
        self._stages[name] = {"began": self._now(), "state": reason.partition(":")[0] or "run"}
        self._running, self._rewards, self._status = name, [], ""
        self._draw(force=True)

    def update(self, stage: str, step: int, total: int, metrics: Mapping[str, Any]) -> None:
        reward = metrics.get("reward/mean")
        if isinstance(reward, float | int):
            self._rewards.append(float(reward))
        entry = self._stages.setdefault(stage, {"began": self._now()})
        entry["state"] = f"{step}/{total}"
        self._status = headline(metrics)
        self._draw()

    def stage_finished(self, name: str, row: Mapping[str, Any]) -> None:
        entry = self._stages.setdefault(name, {"began": self._now()})
        entry.update(
            scores=_scores(self._run_dir, name), state="done", seconds=row.get("seconds", self._now() - entry["began"])
        )
        self._running, self._status = "", ""
        self._draw(force=True)

    def note(self, text: str) -> None:
        self._live.console.print(Text(text, style="dim"))

    def drawing(self) -> Group:
        """The table and the status line below it."""
        drawn = Table(
            title=self._title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
        )
        scores = scores_for(self._screen.width)
        for column in ("stage", "", "time", *scores.values()):
            drawn.add_column(column, justify="left" if column in ("stage", "") else "right", no_wrap=True)
        for name, entry in self._stages.items():
            seconds = entry.get("seconds", self._now() - entry["began"])
            cells = score_cells(entry.get("scores", {}), scores)
            style = "bold" if name == self._running else None
            drawn.add_row(name, str(entry.get("state", "")), clock(float(seconds)), *cells, style=style)
        below = Text(self._status, style="cyan", no_wrap=True, overflow="ellipsis")
        if len(self._rewards) > 1:
            below = Text(f"reward {sparkline(self._rewards)}   ", style="green") + below
        return Group(drawn, below)

    def _draw(self, *, force: bool = False) -> None:
        if force or self._now() - self._last_draw >= SECONDS_BETWEEN_REDRAWS:
            self._last_draw = self._now()
            self._live.refresh()


def _scores(run_dir: Path, stage: str) -> Mapping[str, Any]:
    """What the report's table says of a stage; empty when it says nothing."""
    return next((row for row in stage_rows(run_dir) if row["stage"] == stage), {})


def observer(run_dir: Path, *, title: str, as_json: bool) -> AbstractContextManager[Observer]:
    """A live table on a terminal, lines elsewhere; with JSON asked for, lines on stderr."""
    screen = console(stderr=as_json)
    if screen.is_terminal and not as_json:
        return LiveObserver(run_dir, screen, title=title)

    def write(text: str) -> None:
        screen.print(text, markup=False, soft_wrap=True)
        screen.file.flush()

    return PlainObserver(run_dir, write)
