"""The formulas of an evaluation: pass@1, pass@k, cons@k, their intervals, and paired differences.

One question is the unit of everything: the k samples of a question share its difficulty, so an interval that took
n * k samples for independent would be too narrow. Every interval here is over the n means of the questions.

A verifier error is neither right nor wrong: such a sample leaves the numerator and the denominator, and the number
of errors is reported beside the result. A question whose samples are all errors is left out.

What is not here: how an answer is read out of a text (`reading`) and how it is judged (`rewards`).
"""

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from zero2r1.core.metrics import mean_ci, wilson
from zero2r1.core.types import AnswerKind

MAX_NUMBER_CHARS = 64
"""A longer 'number' is compared as text: a vote must not build integers of a million digits."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(/\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over questions with its 95 % interval."""

    mean: float
    low: float | None
    """Lower bound; None when one question cannot tell."""
    high: float | None
    """Upper bound; None when one question cannot tell."""
    n: int
    """Number of questions the mean is over."""

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval, for a `mean ± half_width` line."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2

    def to_json(self) -> dict[str, float | int | None]:
        """Plain data, as it stands in a result file."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}

    @classmethod
    def from_json(cls, data: Mapping[str, float | int | None]) -> "Interval":
        """The inverse of `to_json`."""
        mean, low, high = data["mean"], data["low"], data["high"]
        return cls(
            mean=math.nan if mean is None else float(mean),
            low=None if low is None else float(low),
            high=None if high is None else float(high),
            n=int(data["n"] or 0),
        )


def interval(values: Sequence[float]) -> Interval:
    """Mean of one value a question, with the 95 % normal interval of that mean.

    Formula: mean ± 1.96 * s / sqrt(n), s the sample standard deviation over questions.
    Args: values [n], any unit. Returns: an Interval in the same unit; bounds are None for n = 1.
    Errors: ValueError for no value.
    Source: Ours: the paper prints no intervals; clustering by question because samples of one question are alike.
    """
    if not values:
        raise ValueError("an interval needs at least one question")
    if len(values) == 1:
        return Interval(mean=float(values[0]), low=None, high=None, n=1)
    mean, half_width = mean_ci(values)
    return Interval(mean=mean, low=mean - half_width, high=mean + half_width, n=len(values))


def rate_interval(values: Sequence[float]) -> Interval:
    """Mean of one rate in [0, 1] a question, with a 95 % interval that stays in [0, 1].

    Formula: `interval`, cut to [0, 1]. Where every question has the same rate 0 (or 1) the normal interval would
    have width 0, which claims certainty; there the far bound is Wilson's for 0 (or n) of n questions:
    z^2 / (n + z^2), or 1 minus it. One question alone says nothing: [0, 1].
    Args: values [n] in [0, 1]. Errors: ValueError for no value.
    Source: Ours: see `interval`; Wilson's score interval for the degenerate case.
    """
    if not values:
        raise ValueError("an interval needs at least one question")
    n = len(values)
    if n == 1:
        return Interval(mean=float(values[0]), low=0.0, high=1.0, n=1)
    if max(values) <= 0.0:
        return Interval(mean=0.0, low=0.0, high=wilson(0, n)[1], n=n)
    if min(values) >= 1.0:
        return Interval(mean=1.0, low=wilson(n, n)[0], high=1.0, n=n)
    plain = interval(values)
    assert plain.low is not None
    assert plain.high is not None
    return Interval(mean=plain.mean, low=max(0.0, plain.low), high=min(1.0, plain.high), n=n)


def pass_at_1(right: Sequence[int], judged: Sequence[int]) -> Interval:
    """Mean correctness over the samples of a question, then over questions.

    Formula: pass@1 = 1/n sum_q right_q / judged_q, over the questions with judged_q > 0.
    Args: right [n] counts of right samples; judged [n] counts of right and wrong samples (errors left out).
    Returns: the mean with its 95 % interval over questions. Errors: ValueError when nothing was judged.
    Source: DeepSeek-R1 (arXiv 2501.12948v2) evaluation protocol: pass@1 = 1/k sum_i p_i, averaged over questions.
    """
    return rate_interval([r / j for r, j in zip(right, judged, strict=True) if j > 0])


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Probability that at least one of k samples, drawn without replacement from those seen, is right.

    Formula: 1 - C(n - c, k) / C(n, k): unbiased for 1 - (1 - p)^k, which the plug-in estimate c/n is not.
    Args: n = num_samples >= k >= 1; 0 <= c = num_right <= n. Returns: a probability. Errors: ValueError outside.
    Source: Chen et al. (arXiv 2107.03374), the unbiased pass@k estimator. Ours for this paper, which uses k = 1.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} needs at least {k} samples a question and k >= 1, got {num_samples} samples")
    if not 0 <= num_right <= num_samples:
        raise ValueError(f"{num_right} right samples of {num_samples}")
    return 1.0 - math.comb(num_samples - num_right, k) / math.comb(num_samples, k)


def vote_key(answer: str, kind: AnswerKind) -> str:
    """The form in which two extracted answers are the same vote. Never looks at the reference.

    Numbers: by value (`0.5`, `1/2` and `.50` are one vote; thousands commas, `$`, `%` and a final stop are dropped).
    Sequences: by their items. Choices: without case and brackets. Everything else: without white space and case.
    Source: Ours: the paper does not say when two answers of its majority vote are equal.
    """
    text = unicodedata.normalize("NFKC", answer).strip().strip("$").strip()
    if kind is AnswerKind.SEQUENCE:
        return ",".join(_number_key(part) for part in re.split(r"[,;\s]+", text.strip("[]() ")) if part)
    text = re.sub(r"\s+", "", text).casefold().rstrip(".")
    if kind is AnswerKind.CHOICE:
        return text.strip("()[]:")
    if kind is AnswerKind.NUMBER:
        return _number_key(text.replace(",", "").rstrip("%"))
    return text


def _number_key(text: str) -> str:
    if len(text) > MAX_NUMBER_CHARS or not _NUMBER.fullmatch(text):
        return text
    top, _, bottom = text.partition("/")
    if bottom and int(bottom) == 0:
        return text
    return str(Fraction(top) / (int(bottom) if bottom else 1))


def cons_at_k(votes: Sequence[str | None], is_right: Sequence[bool]) -> float:
    """Whether the majority answer of k samples is right.

    Samples without an answer (None) do not vote. The most frequent vote wins.
    Tie rule: the score is the expectation of a fair draw among the tied votes, so it does not depend on the order
    of the samples: two votes tied, one of them right, score 1/2. No vote at all scores 0.
    A vote whose samples the verifier judged differently scores the share of them it calls right.
    Args: votes [k] keys of `vote_key`; is_right [k]. Returns: a score in [0, 1].
    Source: DeepSeek-R1 (arXiv 2501.12948v2) evaluation protocol: cons@64, majority vote. Ours: the tie rule.
    """
    rights: dict[str, list[bool]] = {}
    for vote, right in zip(votes, is_right, strict=True):
        if vote is not None:
            rights.setdefault(vote, []).append(right)
    if not rights:
        return 0.0
    most = max(len(members) for members in rights.values())
    winners = [members for members in rights.values() if len(members) == most]
    return sum(sum(members) / len(members) for members in winners) / len(winners)


def difference(before: Mapping[str, float], after: Mapping[str, float], *, is_rate: bool = False) -> Interval:
    """Mean of `after - before` over the questions both know, with the 95 % interval of the paired differences.

    Formula: d_q = after_q - before_q; mean(d) ± 1.96 * s_d / sqrt(n). Pairing removes the spread of difficulty
    between questions, which is most of the spread of two separate means. For rates (`is_rate`) where every question
    changed by the same v, that interval would have width 0; there a share w of the questions, Wilson's bound for 0 of
    n, may still have gone to -1 or to +1: [v - w (v + 1), v + w (1 - v)].
    Args: question id -> value. Returns: an Interval in the values' unit. Errors: ValueError without a shared question.
    Source: Ours: the paper compares stages by two means.
    """
    shared = sorted(before.keys() & after.keys())
    if not shared:
        raise ValueError("the two results share no question, so no paired difference exists")
    changes = [after[question] - before[question] for question in shared]
    found = interval(changes)
    if is_rate and len(changes) > 1 and max(changes) - min(changes) < 1e-12:
        far = wilson(0, len(changes))[1]
        return Interval(
            mean=found.mean,
            low=found.mean - far * (found.mean + 1),
            high=found.mean + far * (1 - found.mean),
            n=found.n,
        )
    return found
