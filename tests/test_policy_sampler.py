"""Inverse distribution function, truncation and recorded log-probabilities, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.random import uniforms
from zero2r1.policy.base import Sampling
from zero2r1.policy.sampler import BLOCK, CANDIDATES, draw, kept, next_tokens


def logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor([[math.log(p) if p else -math.inf for p in probabilities]])


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_token_is_the_first_whose_running_sum_exceeds_the_uniform_number() -> None:
    # p = .2 .5 .3: running sums .2 .7 1.
    odds = torch.tensor([[0.2, 0.5, 0.3]]).repeat(6, 1)
    tokens = draw(odds, numbers(0.0, 0.1999, 0.2001, 0.6999, 0.7001, 1 - 2**-53))
    assert tokens.tolist() == [0, 0, 1, 1, 2, 2]


def test_odds_need_not_sum_to_one() -> None:
    # 2 6 2: running sums 2 8 10, so u = .19 .21 .79 .81 fall into 0 1 1 2.
    odds = torch.tensor([[2.0, 6.0, 2.0]]).repeat(4, 1)
    assert draw(odds, numbers(0.19, 0.21, 0.79, 0.81)).tolist() == [0, 1, 1, 2]


def test_a_token_without_probability_is_never_drawn() -> None:
    odds = torch.zeros(3, 3 * BLOCK)
    odds[:, [BLOCK + 1, 2 * BLOCK - 1]] = 0.5
    assert draw(odds, numbers(0.0, 0.5, 1 - 2**-53)).tolist() == [BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK - 1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 3 * BLOCK + 1), sharpness=st.sampled_from([0.0, 1.0, 8.0]))
def test_blocks_find_the_same_token_as_one_long_running_sum(seed: int, width: int, sharpness: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    odds = (torch.randn(16, width, generator=generator) * sharpness).exp()
    targets = torch.rand(16, generator=generator, dtype=torch.float64)
    sums = odds.double().cumsum(-1)
    share = sums / sums[:, -1:]
    # Skip a draw that falls within rounding of a boundary: there both answers are right.
    is_clear = (share - targets[:, None]).abs().amin(-1) > 1e-6
    by_hand = (share > targets[:, None]).int().argmax(-1)
    assert torch.equal(draw(odds, targets)[is_clear], by_hand[is_clear])


def test_frequencies_follow_the_distribution() -> None:
    probabilities = np.array([0.05, 0.4, 0.0, 0.25, 0.3])
    count = 20_000
    keys, positions = np.arange(count, dtype=np.uint64), np.zeros(count, dtype=np.int64)
    logits = logits_of(*probabilities).repeat(count, 1)
    tokens, _ = next_tokens(logits, torch.from_numpy(uniforms(keys, positions)), Sampling(max_new_tokens=1))
    observed = np.bincount(tokens.numpy(), minlength=5)
    assert observed[2] == 0
    expected = probabilities[[0, 1, 3, 4]] * count
    # Chi-square with 3 degrees of freedom: 16.27 is exceeded with probability .001.
    assert float(((observed[[0, 1, 3, 4]] - expected) ** 2 / expected).sum()) < 16.27


def test_the_temperature_flattens_the_distribution_and_its_log_probabilities() -> None:
    # Logits 2 ln 3 and 0: p = 9/10 1/10 at temperature 1; at temperature 2 the logits halve: p = 3/4 1/4.
    logits = torch.tensor([[2 * math.log(3.0), 0.0]]).repeat(2, 1)
    tokens, logprobs = next_tokens(logits, numbers(0.74, 0.76), Sampling(temperature=2.0, max_new_tokens=1))
    assert tokens.tolist() == [0, 1]
    assert logprobs.tolist() == pytest.approx([math.log(0.75), math.log(0.25)], abs=1e-6)


def test_temperature_zero_takes_the_likeliest_token_and_records_its_probability_at_one() -> None:
    tokens, logprobs = next_tokens(logits_of(0.3, 0.6, 0.1), numbers(0.99), Sampling(temperature=0.0, max_new_tokens=1))
    assert tokens.tolist() == [1]
    assert logprobs.tolist() == pytest.approx([math.log(0.6)], abs=1e-6)


def test_top_k_keeps_the_k_likeliest() -> None:
    assert kept(logits_of(0.1, 0.4, 0.2, 0.3), top_k=2, top_p=1.0).tolist() == [[False, True, False, True]]
    assert kept(logits_of(0.1, 0.4, 0.2, 0.3), top_k=9, top_p=1.0).all()


def test_tokens_as_likely_as_the_last_one_kept_stay_too() -> None:
    assert kept(logits_of(0.3, 0.3, 0.1, 0.3), top_k=2, top_p=1.0).tolist() == [[True, True, False, True]]
    assert kept(logits_of(0.4, 0.25, 0.1, 0.25), top_k=0, top_p=0.5).tolist() == [[True, True, False, True]]


def test_a_nucleus_wider_than_the_candidates_is_found_all_the_same() -> None:
    # Row 0: equal odds but rising by 1e-3 each; row 1: one token has nearly everything.
    width = 2 * CANDIDATES
    logits = torch.stack([torch.arange(width) * 1e-3, torch.where(torch.arange(width) == 7, 20.0, 0.0)])
    is_kept = kept(logits, top_k=0, top_p=0.9)
    probabilities = logits[0].double().softmax(-1).flip(0)
    expected = int((probabilities.cumsum(0) - probabilities < 0.9).sum())
    assert CANDIDATES < expected < width
    assert is_kept[0].sum() == expected
    assert is_kept[0, -expected:].all()
    assert is_kept[1].nonzero().tolist() == [[7]]


@pytest.mark.parametrize(
    ("top_p", "is_kept"),
    [
        # Sorted: .4 .3 .2 .1; what stands before each: 0 .4 .7 .9.
        (0.05, [False, True, False, False]),
        (0.39, [False, True, False, False]),
        (0.41, [False, True, False, True]),
        (0.69, [False, True, False, True]),
        (0.71, [False, True, True, True]),
        (0.95, [True, True, True, True]),
    ],
)
def test_top_p_keeps_the_fewest_that_reach_the_sum(top_p: float, is_kept: list[bool]) -> None:
    assert kept(logits_of(0.1, 0.4, 0.2, 0.3), top_k=0, top_p=top_p).tolist() == [is_kept]


def test_top_p_works_on_what_top_k_left() -> None:
    # top_k 2 leaves .4 .3, renormalised 4/7 = .571 and 3/7: top_p .5 keeps one, .6 both.
    assert kept(logits_of(0.1, 0.4, 0.2, 0.3), top_k=2, top_p=0.5).tolist() == [[False, True, False, False]]
    assert kept(logits_of(0.1, 0.4, 0.2, 0.3), top_k=2, top_p=0.6).tolist() == [[False, True, False, True]]


def test_truncation_changes_what_is_drawn_but_not_the_recorded_probability() -> None:
    # Kept .4 and .3, in the order of ids: running sums .4/.7 = .571, 1.
    logits = logits_of(0.1, 0.4, 0.2, 0.3).repeat(3, 1)
    tokens, logprobs = next_tokens(logits, numbers(0.0, 0.57, 0.58), Sampling(top_k=2, max_new_tokens=1))
    assert tokens.tolist() == [1, 1, 3]
    assert logprobs.tolist() == pytest.approx([math.log(0.4), math.log(0.4), math.log(0.3)], abs=1e-6)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(33, 1000, generator=generator) * 3
    targets = torch.rand(33, generator=generator, dtype=torch.float64)
    sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=1)
    tokens, logprobs = next_tokens(logits, targets, sampling)
    alone = [next_tokens(logits[i : i + 1], targets[i : i + 1], sampling) for i in range(33)]
    assert torch.equal(tokens, torch.cat([token for token, _ in alone]))
    assert torch.equal(logprobs, torch.cat([logprob for _, logprob in alone]))


def test_logits_that_are_not_numbers_are_visible_in_the_log_probability() -> None:
    logits = torch.tensor([[0.0, math.nan, 1.0], [0.0, 1.0, 2.0]])
    tokens, logprobs = next_tokens(logits, numbers(0.5, 0.5), Sampling(max_new_tokens=1))
    assert 0 <= int(tokens[0]) < 3
    assert logprobs.isfinite().tolist() == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_k": -1}, {"max_new_tokens": 0}, {"topp": 0.9}],
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        Sampling(**{"max_new_tokens": 4, **wrong})
