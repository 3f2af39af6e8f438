"""Balance of lengths over a set of ranked pairs: chosen answers are, on the whole, no longer than rejected ones.

Judges like length. A reward model that is trained on their choices learns to like it too, unless length says nothing
about which answer was chosen. The paper says that the lengths were made comparable over the data set, and not how.

What is not here: anything about single pairs. A long answer may be the better one; only the mean is balanced.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zero2r1.rewards.judges.preference import RankedPair

ROUNDING = 1e-9
"""What a sum of logarithms may be off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balanced:
    """The pairs that stay, and what was done to get there."""

    kept: tuple[RankedPair, ...]
    """In the order they were given."""
    num_dropped: int
    mean_before: float
    """Mean log ratio of lengths of all pairs; above 0: the chosen answers are longer."""
    mean_after: float
    longer_frac_before: float
    """Share of all pairs whose chosen answer is the longer one. Near 1: the judge may look at length alone."""


def log_length_ratio(chosen: int, rejected: int) -> float:
    """How much longer the chosen answer is, in nats.

        d = ln(max(chosen, 1)) - ln(max(rejected, 1))

    Args:
        chosen, rejected: lengths in any one unit.

    Ours: a ratio, because ten characters are much for a short answer and nothing for a long one.
    """
    return math.log(max(chosen, 1)) - math.log(max(rejected, 1))


def balance_lengths(
    pairs: Sequence[RankedPair], *, tolerance: float = 0.05, length: Callable[[str], int] = len
) -> Balanced:
    """Drop pairs, one by one, until |mean d| <= tolerance.

    With s the sum of all d that are left, the pair goes whose d has the sign of s and is nearest to s (of two as near
    the longer excess): the largest excess while s is large, and in the end the one that fits. An empty rest has the
    mean 0, so there is always an end.

    Args:
        pairs: with their order.
        tolerance: in nats; 0.05 is a geometric mean ratio of 1.05.
        length: of an answer; characters, or a tokenizer's count.

    Ours: each step brings the sum as near to 0 as dropping one pair can, so few pairs are lost.
    """
    differences = [log_length_ratio(length(pair.chosen), length(pair.rejected)) for pair in pairs]
    left = sorted((difference, index) for index, difference in enumerate(differences))
    total = math.fsum(differences)
    while left and abs(total) > tolerance * len(left) + ROUNDING:
        total -= left.pop(_nearest(left, total))[0]
    kept = sorted(index for _, index in left)
    return Balanced(
        kept=tuple(pairs[index] for index in kept),
        num_dropped=len(pairs) - len(kept),
        mean_before=_mean(differences),
        mean_after=_mean([differences[index] for index in kept]),
        longer_frac_before=_mean([float(difference > 0) for difference in differences]),
    )


def _nearest(left: Sequence[tuple[float, int]], total: float) -> int:
    """Where the difference with the sign of the total that is nearest to it stands in the sorted ones."""
    above = bisect_left(left, (total, -1))
    places = [place for place in (above - 1, above) if 0 <= place < len(left) and left[place][0] * total > 0.0]
    return min(places, key=lambda place: (abs(left[place][0] - total), -abs(left[place][0])))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
