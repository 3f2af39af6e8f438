"""Advantages against numbers worked out by hand, and the rules for groups that teach nothing."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rl.advantage import group_advantages, has_no_variance, leave_one_out, mean_only, mean_std


def test_mean_std_with_population_std_matches_the_hand_computation():
    # r = 1, 0, 0, 1: mean 0.5, population variance 4 * 0.25 / 4 = 0.25, std 0.5, so (r - 0.5) / 0.5 = +-1
    assert mean_std([1.0, 0.0, 0.0, 1.0], std="population", epsilon=0.0) == [1.0, -1.0, -1.0, 1.0]


def test_mean_std_with_sample_std_matches_the_hand_computation():
    # r = 3, 1, 2: mean 2, sample variance (1 + 1 + 0) / 2 = 1, std 1
    assert mean_std([3.0, 1.0, 2.0], std="sample", epsilon=0.0) == [1.0, -1.0, 0.0]


def test_the_epsilon_is_added_to_the_std():
    # std 0.5 + epsilon 0.5 = 1, so the deviations stay as they are
    assert mean_std([1.0, 0.0], std="population", epsilon=0.5) == [0.5, -0.5]


def test_mean_only_subtracts_the_mean():
    # mean of 2, 0, 1 is 1
    assert mean_only([2.0, 0.0, 1.0]) == [1.0, -1.0, 0.0]


def test_leave_one_out_compares_with_the_mean_of_the_others():
    # 2 - (0 + 1) / 2 = 1.5;  0 - (2 + 1) / 2 = -1.5;  1 - (2 + 0) / 2 = 0
    assert leave_one_out([2.0, 0.0, 1.0]) == [1.5, -1.5, 0.0]


@pytest.mark.parametrize("name", ["mean_std", "mean", "leave_one_out"])
def test_equal_rewards_give_exactly_zero(name):
    # 0.1 * 3 / 3 is not 0.1 in floating point: only the rule, not the arithmetic, gives exact zeros
    assert group_advantages([0.1, 0.1, 0.1], name=name) == [0.0, 0.0, 0.0]


def test_ungraded_rewards_are_left_out_of_the_baseline_and_get_zero():
    # of 1 and 0 alone: mean 0.5, std 0.5
    assert group_advantages([1.0, None, 0.0], epsilon=0.0) == [1.0, 0.0, -1.0]


def test_a_group_with_one_judged_reward_or_none_has_zero_advantages():
    assert group_advantages([None, 1.0, None]) == [0.0, 0.0, 0.0]
    assert group_advantages([None, None]) == [0.0, 0.0]
    assert has_no_variance([None, 3.0])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        group_advantages([1.0, bad])


REWARDS = st.lists(st.integers(0, 4).map(lambda n: n / 4), min_size=2, max_size=9)


@settings(max_examples=40)
@given(REWARDS)
def test_advantages_sum_to_zero_and_keep_the_order_of_the_rewards(rewards):
    for name in ("mean_std", "mean", "leave_one_out"):
        credit = group_advantages(rewards, name=name)
        assert abs(sum(credit)) < 1e-6
        order = sorted(range(len(rewards)), key=lambda i: rewards[i])
        assert all(credit[a] <= credit[b] for a, b in pairwise(order))


@settings(max_examples=40)
@given(REWARDS, st.floats(0.5, 4.0), st.floats(-3.0, 3.0))
def test_mean_std_does_not_depend_on_scale_and_offset_of_the_rewards(rewards, scale, offset):
    moved = group_advantages([scale * reward + offset for reward in rewards], epsilon=0.0)
    assert moved == pytest.approx(group_advantages(rewards, epsilon=0.0), abs=1e-6)


@settings(max_examples=20)
@given(REWARDS)
def test_leave_one_out_is_mean_times_g_over_g_minus_one(rewards):
    factor = len(rewards) / (len(rewards) - 1)
    scaled = [factor * value for value in group_advantages(rewards, name="mean")]
    assert group_advantages(rewards, name="leave_one_out") == pytest.approx(scaled, abs=1e-9)
