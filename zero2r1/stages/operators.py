"""The operators of one step: torch.profiler on the second call of a phase, cut short where a step is long.

The first call is left out, because it makes things that are made once. A recording keeps an entry for each operator
that ran, so sampling is recorded for a few decoding steps and an update for a few passes only.

What it does not do: kernels inside an operator, memory, traces to look at. Use torch.profiler itself for those.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from zero2r1.stages.taps import Clock, Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is recorded of a phase: up to its end, or until a phase inside it has ended so often."""

    inner: str = ""
    times: int = 0

    def __str__(self) -> str:
        return f"up to {self.times} times '{self.inner}'" if self.inner else "all of it"


WINDOWS = {
    "sampling": Window(inner="decode", times=4),
    "update": Window(inner="backward", times=4),
    "optimizer": Window(),
}
"""By phase."""
TOP = 20
RECORDING = "recording operators"
"""The phase that starting and ending a recording is counted as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """All calls of one operator."""

    name: str
    seconds: float
    """Of its own, without the operators it called: on the processor."""
    device_seconds: float
    """Of its own on an accelerator; 0.0 without one."""
    calls: int


class Operators(Listener):
    """Records one call of each phase in WINDOWS.

    Attributes:
        tables: by phase, the TOP operators, slowest first, and the seconds of all of them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        clock.tell(self)
        self.tables: dict[str, tuple[list[Operator], float]] = {}
        self._entered: Counter[str] = Counter()
        self._recording: Any = None
        self._phase = ""
        self._left = 0

    def entered(self, phase: str) -> None:
        """Starts a recording when it is the second call of a phase and no recording is on."""
        if phase not in WINDOWS:
            return
        self._entered[phase] += 1
        if self._entered[phase] >= 2 and phase not in self.tables and self._recording is None:
            with self._clock.phase(RECORDING):
                self._start(phase)

    def left(self, phase: str) -> None:
        """Ends the recording when this was its last phase."""
        if self._recording is None:
            return
        window = WINDOWS[self._phase]
        self._left -= phase == window.inner
        if phase == self._phase or (window.inner and self._left == 0):
            self.stop()

    def stop(self) -> None:
        """Ends the recording that is on, if any, and keeps its table."""
        if self._recording is None:
            return
        recording, self._recording = self._recording, None
        with self._clock.phase(RECORDING):
            self._keep(recording)

    def _keep(self, recording: Any) -> None:
        recording.stop()
        rows = [
            Operator(
                name=row.key,
                seconds=row.self_cpu_time_total / 1e6,
                device_seconds=row.self_device_time_total / 1e6,
                calls=row.count,
            )
            for row in recording.key_averages()
        ]
        rows.sort(key=lambda row: (-row.device_seconds, -row.seconds))
        self.tables[self._phase] = rows[:TOP], sum(row.seconds for row in rows)

    def _start(self, phase: str) -> None:
        import torch
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._phase, self._left = phase, WINDOWS[phase].times
        self._recording = profile(activities=activities, acc_events=True)
        self._recording.start()
