"""Seconds of what is tried out: medians of calls that are repeated.

What it does not do: the clock of a run (`stages/stopwatch.py`).
"""

import time
from collections.abc import Callable, Mapping
from statistics import median

READ_SECONDS = 0.5
"""Short readings are repeated for so long. Ours: a machine that others use is slow for tenths of a second at a time."""
MOST_READINGS = 40
"""Of one kind. Ours."""


def timed(call: Callable[[], object], *, repeats: int) -> float:
    """Median seconds of a call, after one call that is not counted.

    Args:
        repeats: at least so many; more where they are short (READ_SECONDS).
    """
    call()
    seconds: list[float] = []
    while len(seconds) < repeats or (sum(seconds) < READ_SECONDS and len(seconds) < MOST_READINGS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def by_turns(runs: Mapping[str, Callable[[], tuple[float, float]]]) -> dict[str, tuple[float, float]]:
    """Medians of what some runs return, three runs or more of each after one that is not counted.

    Ours: what a machine does beside them is then in all of them alike. One after the other, the difference of two that
    are a tenth apart was anything from nothing to four times what it is.
    """
    rounds: list[dict[str, tuple[float, float]]] = []
    began = time.perf_counter()
    while len(rounds) < 4 or (time.perf_counter() - began < len(runs) * READ_SECONDS and len(rounds) < MOST_READINGS):
        rounds.append({name: run() for name, run in runs.items()})
    return {
        name: (median(one[name][0] for one in rounds[1:]), median(one[name][1] for one in rounds[1:])) for name in runs
    }
