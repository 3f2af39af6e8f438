"""The policy losses, term by term. Each formula is one pure function over tokens laid end to end.

The objective of the paper is maximised; a loss is its negative. A token's term is

    - surrogate(ratio, advantage) + kl_coef * kl

and the learner sums weight * term. The weights carry the aggregation (see `rl/batch.py`).

Deviation from the paper: it prints the ratio of whole outputs, pi(o_i|q) / pi_old(o_i|q), but speaks of clipping
"tokens". The default here is the ratio of tokens; `sequence` is the length-normalised ratio of GSPO.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zero2r1.learner.base import Tokens

RatioName = Literal["token", "sequence"]
ObjectiveName = Literal["clip", "cispo"]
CorrectionName = Literal["truncate", "mask"]
CORRECTIONS = ("importance", "importance_cut")
"""Streams of a correction for a sampler that differs from the learner."""


def token_ratio(logprobs: Float[Tensor, " n"], old: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """rho_t = pi(o_t | q, o_<t) / pi_old(o_t | q, o_<t) = exp(logprob_t - old_t).

    logprobs [n] and old [n] in nats -> [n], dimensionless, > 0.
    Source: DeepSeek-R1 (arXiv 2501.12948v2) GRPO objective, read per token as DeepSeekMath (arXiv 2402.03300) writes
    it.
    """
    return torch.exp(logprobs - old)


def sequence_ratio(
    logprobs: Float[Tensor, " n"], old: Float[Tensor, " n"], segment: Int[Tensor, " n"], num_segments: int
) -> Float[Tensor, " n"]:
    """s_i = exp( (1/|o_i|) sum_t (logprob_it - old_it) ), repeated for every token of output i.

    logprobs [n], old [n] in nats, segment [n] the output of each token -> [n], dimensionless, > 0.
    Source: GSPO (arXiv 2507.18071), sequence-level importance ratio.
    """
    difference = logprobs - old
    total = torch.zeros(num_segments, dtype=difference.dtype, device=difference.device)
    count = torch.zeros_like(total).index_add(0, segment, torch.ones_like(difference))
    mean = total.index_add(0, segment, difference) / count.clamp(min=1.0)
    return torch.exp(mean)[segment]


def clipped_surrogate(
    ratio: Float[Tensor, " n"], advantage: Float[Tensor, " n"], *, low: float, high: float
) -> Float[Tensor, " n"]:
    """min( rho A, clip(rho, 1 - low, 1 + high) A ), to be maximised.

    ratio [n], advantage [n] -> [n]. Dimensionless. `low` and `high` differ in clip-higher.
    Source: DeepSeek-R1 (arXiv 2501.12948v2) GRPO objective; two bounds: DAPO (arXiv 2503.14476), clip-higher.
    """
    clipped = ratio.clamp(1.0 - low, 1.0 + high)
    return torch.minimum(ratio * advantage, clipped * advantage)


def is_clipped(
    ratio: Float[Tensor, " n"], advantage: Float[Tensor, " n"], *, low: float, high: float
) -> Float[Tensor, " n"]:
    """1.0 where the clipped branch of `clipped_surrogate` is the smaller one, so that the token has no gradient.

    That is rho > 1 + high with A > 0, or rho < 1 - low with A < 0. ratio [n], advantage [n] -> [n] of 0.0 and 1.0.
    Source: DAPO (arXiv 2503.14476), clip-higher, reading of the two bounds.
    """
    above = (ratio > 1.0 + high) & (advantage > 0)
    below = (ratio < 1.0 - low) & (advantage < 0)
    return (above | below).to(ratio.dtype)


def cispo_surrogate(
    logprobs: Float[Tensor, " n"],
    ratio: Float[Tensor, " n"],
    advantage: Float[Tensor, " n"],
    *,
    low: float,
    high: float,
) -> Float[Tensor, " n"]:
    """sg( clip(rho, 1 - low, 1 + high) ) A logprob, to be maximised; sg stops the gradient.

    The weight is cut, not the gradient: every token keeps a gradient. logprobs [n] in nats, ratio [n], advantage [n]
    -> [n].
    Source: CISPO, in MiniMax-M1 (arXiv 2506.13585), which leaves the lower bound open (low >= 1).
    """
    return ratio.detach().clamp(1.0 - low, 1.0 + high) * advantage * logprobs


def kl_k3(logprobs: Float[Tensor, " n"], reference: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """pi_ref/pi - log(pi_ref/pi) - 1, an estimate of KL(pi || pi_ref) that is never negative.

    logprobs [n], reference [n] in nats -> [n] in nats.
    Source: DeepSeek-R1 (arXiv 2501.12948v2) GRPO objective, KL estimator.
    """
    difference = reference - logprobs
    return torch.exp(difference) - difference - 1.0


def truncated_importance(old: Float[Tensor, " n"], sampler: Float[Tensor, " n"], *, cap: float) -> Float[Tensor, " n"]:
    """min( pi_old/pi_sampler, cap ): corrects a sampler whose log-probabilities differ from the learner's.

    old [n] (recomputed by the learner before its first update) and sampler [n] in nats -> [n], dimensionless.
    Source: truncated importance sampling for rollout engines (Yao et al. 2025, "Your efficient RL framework secretly
    brings you off-policy RL training").
    """
    return torch.exp(old - sampler).clamp(max=cap)


def masked_importance(
    old: Float[Tensor, " n"], sampler: Float[Tensor, " n"], *, low: float, high: float
) -> Float[Tensor, " n"]:
    """rho = pi_old/pi_sampler where low <= rho <= high, else 0: a token on which the two differ too much is left out.

    old [n] (recomputed by the learner before its first update) and sampler [n] in nats -> [n], dimensionless, >= 0. A
    rho that is not a number counts as outside.
    Source: masked importance sampling, IcePop (Ling Team, "Every Step Evolves", arXiv 2510.18855), M(k) with alpha =
    low and beta = high.
    Ours: the weights of the other tokens stay as they are (the batch's normaliser counts masked tokens, too), so the
    gradient of a batch shrinks with what is left out instead of growing on what remains.
    """
    ratio = torch.exp(old - sampler)
    return torch.where((ratio >= low) & (ratio <= high), ratio, torch.zeros_like(ratio))


def importance_streams(
    old: Float[Tensor, " n"], sampler: Float[Tensor, " n"], *, correction: CorrectionName, low: float, high: float
) -> dict[str, Float[Tensor, " n"]]:
    """What the loss reads of a correction: `importance` [n], the weight of each token, and `importance_cut` [n], 1.0
    where that is not pi_old/pi_sampler itself: truncated or masked.

    old [n] and sampler [n] in nats; `low` is read by `mask` only.
    """
    if correction == "truncate":
        weight = truncated_importance(old, sampler, cap=high)
    else:
        weight = masked_importance(old, sampler, low=low, high=high)
    return {"importance": weight, "importance_cut": (weight != torch.exp(old - sampler)).to(weight.dtype)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLoss:
    """- surrogate + kl_coef * kl for the tokens of a micro-batch, with the metrics of the same tokens.

    Streams read: `advantage`, `old` (log-probabilities of the sampling policy) and, only when kl_coef > 0, `reference`;
    `importance` and `importance_cut` (see `importance_streams`) when the rollout carries a correction for its sampler.
    """

    ratio: RatioName = "token"
    objective: ObjectiveName = "clip"
    clip_low: float = 10.0
    clip_high: float = 10.0
    kl_coef: float = 0.001

    def __call__(
        self, logprobs: Float[Tensor, " n"], entropy: Float[Tensor, " n"], tokens: Tokens
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, " n"]]]:
        """Sum of weight * term over the micro-batch, and per token: ratio, clip, entropy, gap (where the learner has
        computed the token itself) and, with a reference, kl, and with a correction importance and importance_cut."""
        advantage, old = tokens.streams["advantage"], tokens.streams["old"]
        if self.ratio == "token":
            ratio = token_ratio(logprobs, old)
        else:
            ratio = sequence_ratio(logprobs, old, tokens.segment, tokens.num_segments)
        bounds = {"low": self.clip_low, "high": self.clip_high}
        if self.objective == "clip":
            surrogate = clipped_surrogate(ratio, advantage, **bounds)
        else:
            surrogate = cispo_surrogate(logprobs, ratio, advantage, **bounds)
        corrections = {name: tokens.streams[name] for name in CORRECTIONS if name in tokens.streams}
        if corrections:
            surrogate = surrogate * corrections["importance"]
        term = -surrogate
        metrics = {
            "ratio": ratio.detach(),
            "clip": is_clipped(ratio.detach(), advantage, **bounds),
            "entropy": entropy,
            **corrections,
        }
        if not tokens.is_replayed:
            metrics["gap"] = (logprobs.detach() - tokens.streams.get("sampler", old)).abs()
        if self.kl_coef > 0:
            kl = kl_k3(logprobs, tokens.streams["reference"])
            term = term + self.kl_coef * kl
            metrics["kl"] = kl.detach()
        return (tokens.weights * term).sum(), metrics
