"""Metrics of a stage, one row a step, and the two intervals that are shown beside a mean.

`metrics.jsonl` holds no clock: two runs of the same recipe and seed write the same bytes. What the clock says goes to
a second log, `timings.jsonl`. Names follow the field's customs: `reward/mean`, `kl/mean`, `grad_norm`, `lr`.

Not here: plots, aggregation over runs, remote trackers. They read the file.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from zero2r1.core import jsonl
from zero2r1.core.jsonl import read

__all__ = ["MetricsLog", "Value", "mean_ci", "read", "wilson"]

Z_95 = 1.959963984540054
"""Quantile of the standard normal for a two-sided 95 % interval."""

Value = float | int | str | None


class MetricsLog:
    """Rows of one log; a row carries a `step` where it belongs to one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Value]) -> None:
        """Add a row; it is on disk when this returns. NaN and infinity become null, named under `nonfinite`."""
        jsonl.append(self.path, row)

    def truncate_after(self, step: int) -> None:
        """Drop rows whose step is greater than `step`, in one atomic replacement.

        A run that resumes from the checkpoint of `step` writes those rows again, the same bytes.
        """
        jsonl.keep(self.path, lambda row: not _is_after(row, step))

    def read(self) -> list[dict[str, object]]:
        """All rows; none when the file is not there. Raises RunError Z410 for a damaged one."""
        return read(self.path)


def mean_ci(values: Sequence[float | int]) -> tuple[float, float]:
    """Mean and half width of its 95 % interval: mean +- 1.96 * s / sqrt(n), s^2 = sum((x - mean)^2) / (n - 1).

    The values are per question (each already a mean over its samples): questions are independent, samples of one
    question are not. With one value the half width is infinite, and with none both are NaN.

    Source: Miller, "Adding Error Bars to Evals" (arXiv 2411.00640), central limit theorem over questions.
    """
    count = len(values)
    if count == 0:
        return math.nan, math.nan
    mean = math.fsum(values) / count
    if count == 1:
        return mean, math.inf
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, Z_95 * math.sqrt(variance / count)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion: low and high end, within [0, 1] also at 0 and n successes.

    (p + z^2/2n +- z * sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)

    Raises:
        ValueError: unless 0 <= successes <= n.
    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return 0.0, 1.0
    share, z2 = successes / n, Z_95**2
    middle = share + z2 / (2 * n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    low, high = (middle - half) / (1 + z2 / n), (middle + half) / (1 + z2 / n)
    return max(0.0, low), min(1.0, high)


def _is_after(row: Mapping[str, object], step: int) -> bool:
    at = row.get("step")
    return isinstance(at, int | float) and at > step
