"""Advantages: how much better one output was than the other outputs to the same question.

Rules, each stated once:
* a reward of None (the grader could not judge) is left out of the baseline and gets advantage 0;
* a group whose rewards are all equal has advantages of exactly 0.0, not rounding noise over an epsilon;
* a group with fewer than two judged rewards has nothing to compare with: all its advantages are 0.0.

Deviation from the paper: the printed formula divides by std with nothing added and says nothing of equal rewards.
"""

import statistics
from collections.abc import Sequence
from typing import Literal

AdvantageName = Literal["mean_std", "mean", "leave_one_out"]
StdName = Literal["population", "sample"]


def group_advantages(
    rewards: Sequence[float | None],
    *,
    name: AdvantageName = "mean_std",
    std: StdName = "population",
    epsilon: float = 1e-6,
) -> list[float]:
    """[G] advantages of one group by the named formula; None rewards are left out and get 0.0.

    rewards [G]: dimensionless, finite or None.
    Raises ValueError for a reward that is NaN or infinite: it is an error and must have become None before.
    """
    judged = [reward for reward in rewards if reward is not None]
    if any(reward != reward or abs(reward) == float("inf") for reward in judged):
        raise ValueError(f"rewards must be finite or None, got {list(rewards)}")
    if has_no_variance(rewards):
        return [0.0] * len(rewards)
    if name == "mean_std":
        credit = mean_std(judged, std=std, epsilon=epsilon)
    elif name == "mean":
        credit = mean_only(judged)
    else:
        credit = leave_one_out(judged)
    pending = iter(credit)
    return [0.0 if reward is None else next(pending) for reward in rewards]


def has_no_variance(rewards: Sequence[float | None]) -> bool:
    """True when the judged rewards of a group are all equal (or fewer than two): the group teaches nothing."""
    judged = {reward for reward in rewards if reward is not None}
    return len(judged) < 2


def mean_std(rewards: Sequence[float], *, std: StdName, epsilon: float) -> list[float]:
    """A_i = (r_i - mean(r)) / (std(r) + epsilon).

    rewards [G], G >= 2 -> [G], dimensionless. `population` divides the variance by G, `sample` by G - 1.
    Source: DeepSeek-R1 (arXiv 2501.12948v2) GRPO, group advantage. Ours: population std and the epsilon, which keeps
    rewards that differ by rounding only from counting as much as right and wrong.
    """
    mean = statistics.fmean(rewards)
    deviation = statistics.pstdev(rewards, mean) if std == "population" else statistics.stdev(rewards, mean)
    return [(reward - mean) / (deviation + epsilon) for reward in rewards]


def mean_only(rewards: Sequence[float]) -> list[float]:
    """A_i = r_i - mean(r).

    rewards [G], G >= 2 -> [G], in units of the reward.
    Source: Dr. GRPO (arXiv 2503.20783), advantage without the division by std, which favours questions that are nearly
    always or nearly never solved.
    """
    mean = statistics.fmean(rewards)
    return [reward - mean for reward in rewards]


def leave_one_out(rewards: Sequence[float]) -> list[float]:
    """A_i = r_i - mean of the other rewards.

    rewards [G], G >= 2 -> [G], in units of the reward; equals G / (G - 1) times `mean_only`.
    Source: RLOO (arXiv 2402.14740), leave-one-out baseline.
    """
    total = sum(rewards)
    others = len(rewards) - 1
    return [reward - (total - reward) / others for reward in rewards]
