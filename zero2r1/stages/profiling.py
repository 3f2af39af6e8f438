"""`zero2r1 run --profile`: where the time of each stage goes, written into its folder as profile.md and profile.json.

It is an observer that passes on what it hears. Between the start and the end of a stage it holds a clock on named
functions (`taps.py`) and records the operators of one step (`operators.py`). It reads clocks and changes no number.

What it does not do: add profiles of several calls up (a resumed stage is profiled from where it went on), or stop a run
because something could not be measured.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from statistics import fmean
from typing import Any

from zero2r1.core.run import RunFolder, StageFolder, write_atomic, write_json_atomic
from zero2r1.stages.observer import Observer
from zero2r1.stages.operators import TOP, WINDOWS, Operators
from zero2r1.stages.taps import Clock, Spent, Taps

SCHEMA_VERSION = 1
MEANS = ("time/", "tokens_per_s", "reward/busy_s", "reward/per_s")
"""Beginnings of the names in timings.jsonl that are averaged."""

Phases = Mapping[tuple[str, ...], Spent]


class Profile:
    """The measurement of one stage, from its making to `close`."""

    def __init__(self, folder: StageFolder) -> None:
        self._folder = folder
        self._clock = Clock(settle=_settler())
        self._operators = Operators(self._clock)
        self._taps = Taps(self._clock)
        self._updates: list[Mapping[str, object]] = []
        self._taps.__enter__()

    def saw(self, metrics: Mapping[str, object]) -> None:
        """An update was made."""
        if "phase" not in metrics:
            self._updates.append(metrics)

    def close(self, *, is_finished: bool) -> None:
        """Takes the clock away and writes both files."""
        self._taps.__exit__(None, None, None)
        self._operators.stop()
        content = self._content(is_finished)
        self._folder.root.mkdir(parents=True, exist_ok=True)
        write_json_atomic(self._folder.root / "profile.json", content)
        write_atomic(self._folder.root / "profile.md", as_markdown(content))

    def _content(self, is_finished: bool) -> dict[str, object]:
        seconds = self._clock.seconds()
        names = sorted({name for row in self._updates for name in row if name.startswith(MEANS)})
        return {
            "schema_version": SCHEMA_VERSION,
            "stage": self._folder.name,
            "is_finished": is_finished,
            "seconds": seconds,
            "clock_seconds": self._clock.overhead(),
            "updates": len(self._updates),
            "phases": phase_rows(self._clock.main, seconds),
            "outside_seconds": outside(self._clock.main, seconds),
            "beside": phase_rows(self._clock.beside, seconds),
            "not_found": [f"{point.module}.{point.name}" for point in self._taps.missing],
            "means": {name: fmean(_numbers(self._updates, name)) for name in names},
            "operators": {
                phase: {"recorded": str(WINDOWS[phase]), "seconds": total, "top": [asdict(row) for row in rows]}
                for phase, (rows, total) in self._operators.tables.items()
            },
        }


class Profiler:
    """An observer that measures the stages another one watches."""

    def __init__(self, inner: Observer, run: RunFolder) -> None:
        self._inner, self._run = inner, run
        self._profile: Profile | None = None

    def stage_started(self, name: str, kind: str, reason: str) -> None:
        """Begins to measure, unless the stage is skipped."""
        self._inner.stage_started(name, kind, reason)
        if not reason.startswith("skip"):
            self._profile = Profile(self._run.stage(name))

    def update(self, stage: str, step: int, total: int, metrics: Mapping[str, object]) -> None:
        """Passed on, and counted."""
        self._inner.update(stage, step, total, metrics)
        if self._profile is not None:
            self._profile.saw(metrics)

    def stage_finished(self, name: str, row: Mapping[str, object]) -> None:
        """Writes the profile."""
        self.close(is_finished=True)
        self._inner.stage_finished(name, row)

    def note(self, text: str) -> None:
        """Passed on."""
        self._inner.note(text)

    def close(self, *, is_finished: bool) -> None:
        """Ends the measurement that is on, if any."""
        if self._profile is not None:
            profile, self._profile = self._profile, None
            profile.close(is_finished=is_finished)


@contextmanager
def profiled(observer: Observer, run: RunFolder) -> Iterator[Observer]:
    """An observer to give to the pipeline in place of this one. A stage that was stopped has its profile so far."""
    profiler = Profiler(observer, run)
    try:
        yield profiler
    finally:
        profiler.close(is_finished=False)


def phase_rows(phases: Phases, seconds: float) -> list[dict[str, object]]:
    """One row a phase, each followed by those inside it, the longest first.

    self_seconds = seconds - those of the phases inside
    share = seconds / those of the whole
    Ours: the usual two columns of a profile.

    Args:
        seconds: of the whole.
    """
    ordered: list[dict[str, object]] = []

    def below(parent: tuple[str, ...]) -> list[tuple[str, ...]]:
        inside = [path for path in phases if path[:-1] == parent]
        return sorted(inside, key=lambda path: (-phases[path].seconds, path))

    def walk(path: tuple[str, ...]) -> None:
        spent, inside = phases[path], below(path)
        ordered.append(
            {
                "phase": " / ".join(path),
                "seconds": spent.seconds,
                "self_seconds": spent.seconds - sum(phases[each].seconds for each in inside),
                "share": spent.seconds / seconds if seconds else 0.0,
                "calls": spent.calls,
            }
        )
        for each in inside:
            walk(each)

    for path in below(()):
        walk(path)
    return ordered


def outside(phases: Phases, seconds: float) -> float:
    """Seconds of the whole that belong to no phase: imports, drawing questions, writing rows."""
    return seconds - sum(spent.seconds for path, spent in phases.items() if len(path) == 1)


def as_markdown(content: Mapping[str, object]) -> str:
    """profile.json as tables to read."""
    c: Any = content
    seconds, clock = c["seconds"], c["clock_seconds"]
    cut = "" if c["is_finished"] else " The stage was stopped before its end."
    lines = [
        f"# Where the time of `{c['stage']}` went",
        "",
        f"{seconds:.2f} s in this call, {c['updates']} updates.{cut} The clock itself took about {clock:.3f} s "
        f"({clock / max(seconds, 1e-9):.2%}); the recording of operators slows the steps it records down.",
        "",
        *_phase_table("phase", c["phases"]),
        "",
        f"Outside of all phases (imports, questions, files): {c['outside_seconds']:.2f} s.",
    ]
    if c["beside"]:
        lines += ["", "Meanwhile in other threads:", "", *_phase_table("phase, all threads added up", c["beside"])]
    if c["not_found"]:
        lines += ["", f"Not found, so not timed: {', '.join(c['not_found'])}."]
    if c["means"]:
        rows = [[name, f"{value:.4g}"] for name, value in c["means"].items()]
        lines += ["", "## An update on average", "", *_table(["timings.jsonl", "mean"], rows)]
    for phase, found in c["operators"].items():
        lines += ["", f"## Operators: one '{phase}', {found['recorded']}", "", *_operator_table(found)]
    for phase in [phase for phase in WINDOWS if phase not in c["operators"]]:
        lines += ["", f"No operators of '{phase}': it ran less than twice in this call."]
    return "\n".join(lines) + "\n"


def _phase_table(title: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [
        [row["phase"], f"{row['seconds']:.3f}", f"{row['share']:.1%}", f"{row['self_seconds']:.3f}", str(row["calls"])]
        for row in rows
    ]
    return _table([title, "s", "share", "of its own, s", "calls"], cells)


def _operator_table(found: Mapping[str, Any]) -> list[str]:
    total = max(found["seconds"], 1e-12)
    has_device = any(row["device_seconds"] for row in found["top"])
    cells = [
        [
            f"`{row['name']}`", f"{1e3 * row['seconds']:.2f}", f"{row['seconds'] / total:.1%}",
            *([f"{1e3 * row['device_seconds']:.2f}"] if has_device else []), str(row["calls"]),
        ]
        for row in found["top"]
    ]  # fmt: skip
    device = ["device, ms"] if has_device else []
    return _table([f"the {TOP} slowest", "processor, ms", "share", *device, "calls"], cells)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; all columns but the first are aligned right."""
    return [
        f"| {' | '.join(head)} |",
        f"|---|{'---:|' * (len(head) - 1)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _numbers(rows: Sequence[Mapping[str, object]], name: str) -> list[float]:
    return [float(value) for row in rows if isinstance(value := row.get(name), float | int)]


def _settler() -> Callable[[], None]:
    """Waits for an accelerator, so that its work counts for the phase that asked for it."""
    import torch

    def settle() -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()

    return settle
