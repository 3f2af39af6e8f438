"""From credited rows to tensors: weights against numbers worked out by hand, masks, streams."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_world import scored

from zero2r1.core.types import Credited
from zero2r1.rl.batch import to_batch, token_weights, with_streams
from zero2r1.rl.config import RLConfig


def config(**settings: object) -> RLConfig:
    return RLConfig.model_validate({"max_new_tokens": 8, **settings})


def credited(advantage: float, *, masked: bool = False, **about: object) -> Credited:
    return Credited(scored=scored(1.0, **about), advantage=advantage, masked=masked)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("sequence_mean", [1 / 2, 1 / 6]),  # 1 / (2 rows * 1 token), 1 / (2 rows * 3 tokens)
        ("token_mean", [1 / 4, 1 / 4]),  # 1 / (1 + 3)
        ("constant", [1 / 16, 1 / 16]),  # 1 / (2 rows * cap 8)
    ],
)
def test_token_weights_match_the_hand_computation(aggregation, expected):
    assert token_weights([1, 3], aggregation=aggregation, max_new_tokens=8) == pytest.approx(expected)
    assert token_weights([], aggregation=aggregation, max_new_tokens=8) == []


@settings(max_examples=20)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.sampled_from(["sequence_mean", "token_mean"]))
def test_the_weights_of_a_mean_sum_to_one_over_all_tokens(lengths, aggregation):
    weights = token_weights(lengths, aggregation=aggregation, max_new_tokens=8)
    assert sum(weight * length for weight, length in zip(weights, lengths, strict=True)) == pytest.approx(1.0)


def test_a_row_holds_prompt_and_response_with_the_loss_on_the_response_only():
    (row,) = to_batch([credited(0.5, tokens=(7, 8), logprobs=(-0.1, -0.2))], config(), max_new_tokens=8).rows
    assert row.token_ids.tolist() == [1, 2, 3, 7, 8]
    assert row.loss_mask.tolist() == [False, False, False, True, True]
    assert row.weights.tolist() == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert row.streams["advantage"][3:].tolist() == [0.5, 0.5]
    assert row.streams["old"].tolist() == pytest.approx([0.0, 0.0, 0.0, -0.1, -0.2])


def test_masked_rows_and_empty_responses_are_in_neither_sum_nor_normaliser():
    rows = [credited(1.0, tokens=(5, 6)), credited(1.0, tokens=(5,), masked=True), credited(1.0, tokens=())]
    batch = to_batch(rows, config(), max_new_tokens=8)
    assert len(batch.rows) == 1
    assert float(batch.rows[0].weights.sum()) == 1.0


def test_rows_without_variance_count_in_the_normaliser():
    batch = to_batch([credited(1.0), credited(0.0)], config(), max_new_tokens=8)
    assert [float(row.weights.sum()) for row in batch.rows] == [0.5, 0.5]


def test_further_streams_go_to_their_row_and_recomputed_ones_keep_the_samplers():
    rows = [credited(1.0, logprobs=(-0.5, -0.5)), credited(0.0, logprobs=(-0.25, -0.25))]
    extra = [
        {"reference": torch.full((5,), -3.0), "old": torch.full((5,), -4.0)},
        {"reference": torch.full((5,), -2.0)},
    ]
    batch = to_batch(rows, config(temperature=0.7), max_new_tokens=8)
    found = with_streams(batch, extra)
    assert found.temperature == 0.7
    first, second = found.rows
    assert first.streams["reference"].tolist() == [-3.0] * 5
    assert first.streams["old"].tolist() == [-4.0] * 5
    assert first.streams["sampler"][3:].tolist() == [-0.5, -0.5]
    assert second.streams["reference"].tolist() == [-2.0] * 5
    assert second.streams["old"][3:].tolist() == [-0.25, -0.25]
    assert set(second.streams) == {"advantage", "old", "reference"}
    assert set(batch.rows[0].streams) == {"advantage", "old"}  # what was there stays as it was


@pytest.mark.parametrize(("kl_coef", "expected"), [(0.0, [True, False]), (0.001, [True, True])])
def test_a_row_without_advantage_has_a_gradient_only_through_the_kl_term(kl_coef, expected):
    rows = to_batch([credited(-0.5), credited(0.0)], config(kl_coef=kl_coef), max_new_tokens=8).rows
    assert [row.has_gradient for row in rows] == expected


def test_the_batch_carries_the_temperature_of_the_rollout():
    assert to_batch([credited(1.0)], config(temperature=0.7), max_new_tokens=8).temperature == 0.7
