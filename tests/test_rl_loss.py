"""The terms of the policy loss against numbers worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.learner.base import Tokens
from zero2r1.rl.algorithms import ALGORITHMS
from zero2r1.rl.batch import token_weights
from zero2r1.rl.config import RLConfig
from zero2r1.rl.loss import (
    PolicyLoss,
    cispo_surrogate,
    clipped_surrogate,
    importance_streams,
    is_clipped,
    kl_k3,
    masked_importance,
    sequence_ratio,
    token_ratio,
    truncated_importance,
)

LN2 = math.log(2.0)


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_the_token_ratio_is_the_quotient_of_probabilities():
    # 0.5 / 0.25 = 2 and 0.25 / 0.5 = 0.5
    ratio = token_ratio(vector(0.5, 0.25).log(), vector(0.25, 0.5).log())
    assert ratio.tolist() == pytest.approx([2.0, 0.5])


def test_the_sequence_ratio_is_the_geometric_mean_of_the_token_ratios():
    # output 0 has ratios 2 and 8: sqrt(16) = 4; output 1 has the single ratio 0.5
    ratio = sequence_ratio(vector(LN2, 3 * LN2, -LN2), vector(0, 0, 0), torch.tensor([0, 0, 1]), 2)
    assert ratio.tolist() == pytest.approx([4.0, 4.0, 0.5])


def test_the_clipped_surrogate_takes_the_smaller_branch():
    # low 0.2, high 0.3. A = 1: min(1.5, 1.3) = 1.3, min(0.5, 0.8) = 0.5. A = -1: min(-1.5, -1.3) = -1.5,
    # min(-0.5, -0.8) = -0.8
    got = clipped_surrogate(vector(1.5, 0.5, 1.5, 0.5), vector(1, 1, -1, -1), low=0.2, high=0.3)
    assert got.tolist() == pytest.approx([1.3, 0.5, -1.5, -0.8])


def test_clipped_tokens_are_those_without_gradient():
    ratio = vector(1.5, 0.5, 1.5, 0.5, 1.0).requires_grad_()
    advantage = vector(1, 1, -1, -1, 1)
    clipped_surrogate(ratio, advantage, low=0.2, high=0.3).sum().backward()
    flags = is_clipped(ratio.detach(), advantage, low=0.2, high=0.3)
    assert flags.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert (ratio.grad == 0).tolist() == [bool(flag) for flag in flags]


def test_with_the_papers_clip_of_ten_only_ratios_above_eleven_are_cut():
    # 1 - 10 = -9 is below every ratio
    flags = is_clipped(vector(11.5, 10.5, 1e-9, 50.0), vector(1, 1, -1, -1), low=10.0, high=10.0)
    assert flags.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_cispo_cuts_the_weight_and_keeps_the_gradient():
    # ratio 8 is cut to 1 + 4 = 5; A = 2: the gradient by the log-probability is 5 * 2 = 10. Ratio 0.5: 0.5 * 2 = 1
    logprobs = vector(-1.0, -2.0).requires_grad_()
    value = cispo_surrogate(logprobs, vector(8.0, 0.5), vector(2.0, 2.0), low=1.0, high=4.0)
    value.sum().backward()
    assert value.tolist() == pytest.approx([-10.0, -2.0])
    assert logprobs.grad.tolist() == pytest.approx([10.0, 1.0])


def test_the_gradient_of_cispo_does_not_flow_through_the_ratio():
    # ratio exp(0) = 1 and A = 2: the slope is 1 * 2; through the ratio 1 * 2 * logprob = -6 would be added
    logprobs = vector(-3.0).requires_grad_()
    streams = {"advantage": vector(2.0), "old": vector(-3.0)}
    tokens = Tokens(weights=vector(1.0), segment=torch.tensor([0]), num_segments=1, streams=streams)
    PolicyLoss(objective="cispo", kl_coef=0.0)(logprobs, vector(0.0), tokens)[0].backward()
    assert logprobs.grad.tolist() == [-2.0]


def test_k3_matches_the_hand_computation_and_is_zero_on_the_reference():
    # pi_ref / pi = 2: 2 - ln 2 - 1 = 1 - ln 2. Equal: 1 - 0 - 1 = 0
    assert kl_k3(vector(-2 * LN2, -1.0), vector(-LN2, -1.0)).tolist() == pytest.approx([1 - LN2, 0.0])


@settings(max_examples=30)
@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k3_is_never_negative(logprob, reference):
    assert float(kl_k3(vector(logprob), vector(reference))) >= 0.0


def test_k3_is_unbiased_under_the_policy():
    # sum_v pi_v (r_v - ln r_v - 1) with r = pi_ref / pi is sum pi_ref - sum pi ln r - 1 = KL(pi || pi_ref)
    policy, reference = vector(0.7, 0.2, 0.1), vector(0.3, 0.3, 0.4)
    expected = float((policy * (policy / reference).log()).sum())
    assert float((policy * kl_k3(policy.log(), reference.log())).sum()) == pytest.approx(expected)


def test_truncated_importance_is_capped():
    # exp(ln 2) = 2 stays below the cap 3; exp(ln 8) = 8 becomes 3
    got = truncated_importance(vector(0.0, 0.0), vector(-LN2, -3 * LN2), cap=3.0)
    assert got.tolist() == pytest.approx([2.0, 3.0])


def test_masked_importance_is_the_ratio_inside_the_band_and_0_outside():
    # ratios 1, 2, 8, 1/4 in the band [1/2, 5]: kept, kept, 0, 0
    got = masked_importance(vector(0, LN2, 3 * LN2, -2 * LN2), vector(0, 0, 0, 0), low=0.5, high=5.0)
    assert got.tolist() == pytest.approx([1.0, 2.0, 0.0, 0.0])


def test_the_ends_of_the_band_are_kept_and_what_is_no_number_is_not():
    # -inf - -inf is no number; 0 - -inf is an infinite ratio
    minus = -math.inf
    got = masked_importance(vector(0.0, minus, 0.0), vector(0.0, minus, minus), low=1.0, high=1.0)
    assert got.tolist() == [1.0, 0.0, 0.0]


def test_the_cut_flag_marks_truncated_and_masked_tokens():
    # ratios 1, 2, 8, 1/4. truncate at 3: only 8 is cut. mask to [1/2, 5]: 8 and 1/4 are.
    old, sampler = vector(0, LN2, 3 * LN2, -2 * LN2), vector(0, 0, 0, 0)
    truncated = importance_streams(old, sampler, correction="truncate", low=0.5, high=3.0)
    assert truncated["importance"].tolist() == pytest.approx([1.0, 2.0, 3.0, 0.25])
    assert truncated["importance_cut"].tolist() == [0.0, 0.0, 1.0, 0.0]
    masked = importance_streams(old, sampler, correction="mask", low=0.5, high=5.0)
    assert masked["importance_cut"].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_a_masked_token_has_no_gradient_of_its_surrogate_and_the_loss_tells_its_share():
    # two tokens, weights 1/2, A = 1: the kept one has slope -1/2 * 2 (its importance), the masked one 0
    logprobs = vector(-1.0, -1.0).requires_grad_()
    streams = {
        "advantage": vector(1.0, 1.0), "old": vector(-1.0, -1.0), "sampler": vector(-1 - LN2, -1 - 3 * LN2),
        **importance_streams(
            vector(-1.0, -1.0), vector(-1 - LN2, -1 - 3 * LN2), correction="mask", low=0.5, high=5.0
        ),
    }  # fmt: skip
    tokens = Tokens(weights=vector(0.5, 0.5), segment=torch.tensor([0, 0]), num_segments=1, streams=streams)
    value, metrics = PolicyLoss(kl_coef=0.0)(logprobs, vector(0.0, 0.0), tokens)
    value.backward()
    assert logprobs.grad.tolist() == pytest.approx([-1.0, 0.0])
    assert metrics["importance"].tolist() == pytest.approx([2.0, 0.0])
    assert metrics["importance_cut"].tolist() == [0.0, 1.0]
    # ln 2 and 3 ln 2: the gap is measured before anything is cut, so a mask hides no stale sampler
    assert metrics["gap"].tolist() == pytest.approx([LN2, 3 * LN2])


# Two outputs: one of 1 token with advantage 1, one of 3 tokens with advantage -1. All ratios against the sampler are 2,
# but the last token's is 0.5; the reference has twice the policy's probability everywhere, so k3 = 1 - ln 2.
LENGTHS = [1, 3]
SEGMENT = torch.tensor([0, 1, 1, 1])
ADVANTAGE = vector(1.0, -1.0, -1.0, -1.0)
LOGPROBS = vector(-1.0, -1.0, -1.0, -1.0)
OLD = LOGPROBS - vector(LN2, LN2, LN2, -LN2)


def loss_of(algorithm: str, **overrides: object) -> float:
    config = RLConfig.model_validate({"algorithm": algorithm, "max_new_tokens": 4, **overrides})
    weights = token_weights(LENGTHS, aggregation=config.aggregation, max_new_tokens=4)
    tokens = Tokens(
        weights=vector(weights[0], weights[1], weights[1], weights[1]),
        segment=SEGMENT,
        num_segments=2,
        streams={"advantage": ADVANTAGE, "old": OLD, "reference": LOGPROBS + LN2},
    )
    loss = PolicyLoss(
        ratio=config.ratio,
        objective=config.objective,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        kl_coef=config.kl_coef,
    )
    return float(loss(LOGPROBS, torch.zeros(4, dtype=torch.float64), tokens)[0])


def test_grpo_is_the_mean_over_outputs_of_the_mean_over_tokens_plus_kl():
    # output 0: 2; output 1: (-2 - 2 - 0.5) / 3 = -1.5; their mean 0.25 is maximised; KL 0.001 * (1 - ln 2)
    assert loss_of("grpo") == pytest.approx(-0.25 + 0.001 * (1 - LN2))


def test_dr_grpo_divides_the_sum_by_outputs_times_cap():
    # clip 0.2: output 0: min(2, 1.2) = 1.2; output 1: min(-2, -1.2) = -2 twice, min(-0.5, -0.8) = -0.8;
    # (1.2 - 4.8) / (2 * 4) = -0.45
    assert loss_of("dr_grpo") == pytest.approx(0.45)


def test_dapo_is_the_mean_over_all_tokens_with_clip_higher():
    # output 0: min(2, 1.28) = 1.28; output 1: -2, -2, -0.8; (1.28 - 4.8) / 4 = -0.88
    assert loss_of("dapo") == pytest.approx(0.88)


def test_gspo_clips_the_ratio_of_the_whole_output():
    # output 0: s = 2, A = 1, cut to 1 + 4e-4; output 1: s = exp((ln 2 + ln 2 - ln 2) / 3) = 2^(1/3), A = -1, not cut;
    # mean over the two outputs
    assert loss_of("gspo") == pytest.approx(-(1.0004 - 2 ** (1 / 3)) / 2)


def test_cispo_weighs_log_probabilities():
    # weights 2, 2, 2, 0.5 (cap 5); logprob -1: terms A * w * logprob = -2, 2, 2, 0.5; mean over 4 tokens 0.625
    assert loss_of("cispo") == pytest.approx(-0.625)


def test_an_override_wins_over_the_row_of_the_algorithm():
    # dapo's terms 1.28, -2, -2, -0.8 with sequence_mean: (1.28 - 4.8 / 3) / 2 = -0.16
    assert loss_of("dapo", aggregation="sequence_mean") == pytest.approx(0.16)


def test_the_importance_stream_scales_the_surrogate_only():
    tokens = Tokens(
        weights=vector(1.0),
        segment=torch.tensor([0]),
        num_segments=1,
        streams={"advantage": vector(1.0), "old": vector(-1.0), "importance": vector(0.5), "sampler": vector(-1.5)},
    )
    value, metrics = PolicyLoss(kl_coef=0.0)(vector(-1.0), vector(0.0), tokens)
    assert float(value) == -0.5
    assert metrics["gap"].tolist() == [0.5]  # against the sampler, not against the recomputed old ones


def test_the_default_algorithm_is_the_papers_row():
    config = RLConfig()
    assert {name: getattr(config, name) for name in ALGORITHMS["grpo"]} == dict(ALGORITHMS["grpo"])
    assert (config.prompts_per_step, config.samples_per_prompt, config.minibatches) == (32, 16, 16)
    assert config.prompts_per_step * config.minibatches * config.samples_per_prompt == 8192
