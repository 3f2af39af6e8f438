"""Scores out of stored evaluation results: estimates with intervals, and differences between two stages.

The results were measured elsewhere; here they are only read and compared, question by question where both stages
answered the same ones.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zero2r1.core.metrics import mean_ci, wilson
from zero2r1.report.data import StageData
from zero2r1.report.read import Row, mapping, number

PER_QUESTION = {
    "pass@1": "accuracy",
    "cons": "cons",
    "format": "format",
    "readable": "readable",
    "language": "language_consistency",
}
"""Metric, all rates in [0, 1] -> its field in a question row of a result."""

SAMPLING = ("temperature", "top_p", "max_new_tokens", "split")
"""Settings under which two scores must be equal to be compared without a remark."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over n questions with its 95 % interval; bounds are None when they are not known."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half_width(self) -> float | None:
        """Half the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def to_json(self) -> dict[str, float | int | None]:
        """Plain data."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`after - before` of one metric."""

    estimate: Estimate
    is_paired: bool
    """True when it is over the same questions, one difference a question."""
    remarks: tuple[str, ...]
    """What makes the two sides unequal beside the stage, e.g. other sampling settings."""


def estimate(stage: StageData | None, metric: str, suite: str) -> Estimate | None:
    """The stored score of a stage; `cons` means the majority vote over all samples. None when not measured."""
    result = {} if stage is None else stage.evals.get(suite, {})
    name = f"cons@{result.get('k')}" if metric == "cons" else metric
    stored = mapping(mapping(result.get("metrics")).get(name))
    mean = number(stored.get("mean"))
    if mean is None:
        return None
    low, high = number(stored.get("low")), number(stored.get("high"))
    return Estimate(mean=mean, low=low, high=high, n=int(number(stored.get("n")) or 0))


def by_question(result: Row, metric: str) -> dict[str, float]:
    """Question id -> value of one metric."""
    rows = result.get("questions")
    found: dict[str, float] = {}
    for row in rows if isinstance(rows, list) else ():
        value = number(mapping(row).get(PER_QUESTION[metric]))
        if value is not None:
            found[str(row.get("prompt_id"))] = value
    return found


def difference(before: StageData | None, after: StageData | None, metric: str, suite: str) -> Difference | None:
    """How much higher `after` scores than `before`, with a 95 % interval; None when one side was not measured.

    Paired over shared questions: mean(d) ± 1.96 s_d / sqrt(n). Without a shared question: the difference of the two
    means, half width sqrt(h_before^2 + h_after^2), which assumes independent questions.
    Where every question changed by the same v the paired interval would have width 0. Then a share w of the questions,
    Wilson's bound for 0 of n, may still have gone to -1 or to +1: [v - w (v + 1), v + w (1 - v)].
    Ours: the paper compares stages by two means without intervals.
    """
    if before is None or after is None:
        return None
    results = before.evals.get(suite, {}), after.evals.get(suite, {})
    remarks = tuple(
        f"{name.replace('_', ' ')} differs: {results[0].get(name)} and {results[1].get(name)}"
        for name in SAMPLING
        if results[0].get(name) != results[1].get(name)
    )
    values = by_question(results[0], metric), by_question(results[1], metric)
    shared = sorted(values[0].keys() & values[1].keys())
    if shared:
        changes = [values[1][question] - values[0][question] for question in shared]
        return Difference(estimate=_paired(changes), is_paired=True, remarks=remarks)
    sides = estimate(before, metric, suite), estimate(after, metric, suite)
    if sides[0] is None or sides[1] is None:
        return None
    halves = sides[0].half_width, sides[1].half_width
    half = math.inf if halves[0] is None or halves[1] is None else math.hypot(halves[0], halves[1])
    gap = sides[1].mean - sides[0].mean
    remarks = (*remarks, "not the same questions: unpaired interval")
    return Difference(estimate=_around(gap, half, min(sides[0].n, sides[1].n)), is_paired=False, remarks=remarks)


def _paired(changes: Sequence[float]) -> Estimate:
    mean, half = mean_ci(changes)
    if len(changes) > 1 and max(changes) - min(changes) < 1e-12:
        far = wilson(0, len(changes))[1]
        return Estimate(mean=mean, low=mean - far * (mean + 1), high=mean + far * (1 - mean), n=len(changes))
    return _around(mean, half, len(changes))


def _around(mean: float, half: float, n: int) -> Estimate:
    if not math.isfinite(half):
        return Estimate(mean=mean, low=None, high=None, n=n)
    return Estimate(mean=mean, low=mean - half, high=mean + half, n=n)
