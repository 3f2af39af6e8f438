"""A clock on named functions: for as long as it is on, each call of them is a phase with seconds and calls.

The functions are replaced by wrappers that do the same and read the clock before and after, and put back when it is
over. So training, sampling and judging hold no clock of their own, and a run without a profile is untouched.

Phases nest: a path such as `sampling / decode` is a phase and those it was called from. The main thread's phases add
up to its wall time; what other threads do meanwhile (rewards beside sampling) is counted apart.

What it does not do: see inside a phase (`operators.py` does, for one step), or watch other processes.
"""

import functools
import importlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, TracebackType
from typing import Any

CALIBRATION_CALLS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A function that is a phase. A function of a module is found under every name it was imported by."""

    phase: str
    module: str
    name: str
    """`function` or `Class.method`."""


def _points(phase_of: dict[str, dict[str, str]]) -> tuple[Point, ...]:
    return tuple(
        Point(phase=phase, module=module, name=name)
        for module, names in phase_of.items()
        for name, phase in names.items()
    )


POINTS = _points(
    {
        "zero2r1.policy.engine": {"Engine.sample": "sampling"},
        "zero2r1.stages.stopwatch": {"TimedPolicy.sample": "sampling"},  # of any sampler
        "zero2r1.policy.session": {"Session._turn_over": "admission", "Session._read": "prefill"},
        "zero2r1.policy.slots": {"Slots.step": "decode"},
        "zero2r1.policy.steps": {"_choose": "choice"},
        "zero2r1.rewards.beside": {"Beside.gather": "waiting for rewards", "score_group": "rewards"},
        "zero2r1.learner.learner": {
            "Learner.step": "update",
            "Learner._forward": "forward",
            "Learner.logprobs": "frozen log-probabilities",
        },
        "torch": {"Tensor.backward": "backward"},
        "zero2r1.learner.optimizer": {
            "Optimizer.collect": "collect",
            "Optimizer.grad_norm": "norm",
            "Optimizer.apply": "optimizer",
        },
        "zero2r1.models.save": {"weights_hash": "hash", "save_model": "save"},
        "zero2r1.models.load": {"load_model": "load"},
        "zero2r1.learner.checkpoint": {"save_checkpoint": "save", "load_latest": "load"},
        "zero2r1.stages.monitoring": {"Monitor.look": "monitor"},
        "zero2r1.evals.run": {"evaluate": "evaluation"},
    }
)
"""What is timed. A name that moves is no error of a run: its phase is listed as not found, and a test fails."""


class Listener:
    """Told of each phase of the main thread as it begins and ends. This one does nothing."""

    def entered(self, phase: str) -> None:
        """A phase begins."""

    def left(self, phase: str) -> None:
        """A phase has ended."""


@dataclass(slots=True)
class Spent:
    """What a phase took so far."""

    seconds: float = 0.0
    """With the phases inside it."""
    calls: int = 0


@dataclass
class _Stack(threading.local):
    """The phases that a thread is in."""

    path: list[str] = field(default_factory=list)


class Clock:
    """Seconds and calls by path of phases."""

    def __init__(self, *, settle: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            settle: called at each boundary; waits for a device that still works.
        """
        self._listener, self._settle = Listener(), settle
        self._stack = _Stack()
        self._lock = threading.Lock()
        self._thread = threading.get_ident()
        self._began = time.perf_counter()
        self.main: dict[tuple[str, ...], Spent] = {}
        """Of the thread that made this clock."""
        self.beside: dict[tuple[str, ...], Spent] = {}
        """Of all other threads, added up."""

    def tell(self, listener: Listener) -> None:
        """From now on this one hears of the main thread's phases."""
        self._listener = listener

    def seconds(self) -> float:
        """Since the clock was made."""
        return time.perf_counter() - self._began

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The body is part of this phase. A phase directly inside itself is one phase."""
        path = self._stack.path
        if path and path[-1] == name:
            yield
            return
        is_main = threading.get_ident() == self._thread
        if is_main:
            self._listener.entered(name)
        path.append(name)
        self._settle()
        began = time.perf_counter()
        try:
            yield
        finally:
            self._settle()
            self._add(tuple(path), time.perf_counter() - began, is_main=is_main)
            path.pop()
            if is_main:
                self._listener.left(name)

    def _add(self, path: tuple[str, ...], seconds: float, *, is_main: bool) -> None:
        with self._lock:
            spent = (self.main if is_main else self.beside).setdefault(path, Spent())
            spent.seconds += seconds
            spent.calls += 1

    def overhead(self) -> float:
        """About how many of the seconds were the clock's own: a phase around nothing, times the calls there were.

        overhead = calls * seconds of an empty phase
        Ours: the plain estimate; a listener's work is not in it.
        """
        empty = Clock()
        began = time.perf_counter()
        for _ in range(CALIBRATION_CALLS):
            with empty.phase("nothing"):
                pass
        each = (time.perf_counter() - began) / CALIBRATION_CALLS
        return each * sum(spent.calls for spent in (*self.main.values(), *self.beside.values()))


class Taps:
    """Wrappers around the functions of `points`, there while the `with` lasts.

    Attributes:
        missing: points that name nothing.
    """

    def __init__(self, clock: Clock, points: tuple[Point, ...] = POINTS) -> None:
        self._clock, self._points = clock, points
        self._undo: list[Callable[[], None]] = []
        self.missing: list[Point] = []

    def __enter__(self) -> "Taps":
        for point in self._points:
            try:
                self._tap(point)
            except (ImportError, AttributeError, KeyError):
                self.missing.append(point)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._undo:
            self._undo.pop()()

    def _tap(self, point: Point) -> None:
        module = importlib.import_module(point.module)
        owner_name, _, name = point.name.rpartition(".")
        owner: Any = getattr(module, owner_name) if owner_name else module
        original = vars(owner)[name]

        @functools.wraps(original)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self._clock.phase(point.phase):
                return original(*args, **kwargs)

        if owner_name:
            setattr(owner, name, timed)
            self._undo.append(functools.partial(setattr, owner, name, original))
        else:
            _exchange(original, timed)
            # Looked for again at the end: a module imported meanwhile has taken the wrapper.
            self._undo.append(functools.partial(_exchange, timed, original))


def _exchange(old: object, new: object) -> None:
    """Puts `new` wherever a module of this package knows `old`."""
    for module in _own_modules():
        for name, value in list(vars(module).items()):
            if value is old:
                setattr(module, name, new)


def _own_modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.split(".")[0] == "zero2r1"]
