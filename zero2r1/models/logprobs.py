"""Log-probabilities of given tokens without the matrix of all logits.

For N tokens and a vocabulary of V the logits would take N * V * 4 bytes (8,192 x 49,152: 1.6 GB, several times over in
a backward pass). Here they are made for a few rows at a time, forward and, again, backward.

What it does not do: no second derivatives; no vocabulary split over devices.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zero2r1.models.forward import Head

MAX_LOGITS = 2**24
"""Ours: at most this many logits are in a chunk (64 MiB in float32), whatever the vocabulary; two arrays of the chunk's
size live at once, with a soft cap up to four."""


def token_logprobs(
    head: Head,
    hidden: Float[Tensor, "N E"],
    targets: Int[Tensor, " N"],
    *,
    temperature: float | int = 1.0,
    chunk: int = 1024,
) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    """Log-probability of each target token and the entropy of its distribution, in nats.

        z = logits(hidden) / temperature
        logprob_n = z_n[target_n] - log sum_v exp(z_nv)
        entropy_n = - sum_v p_nv log p_nv,   p = softmax(z)

    The gradient flows to `hidden`, the head's weight and bias, and equals that of the unchunked formula.

    Args:
        head: from `head_of(model)`.
        hidden: [N, E] hidden states that predict the targets; their dtype is that of the matrix products.
        targets: [N] token ids.
        temperature: divides the logits, > 0.
        chunk: rows of logits made at once; fewer where chunk * V would exceed MAX_LOGITS.

    Returns:
        logprobs [N] and entropy [N], float32 (float64 where `hidden` is); the entropy carries no gradient.

    Raises:
        ValueError: temperature or chunk is not positive.

    Source: Ours: the definition, evaluated in pieces with recomputation.
    """
    if temperature <= 0 or chunk < 1:
        raise ValueError(f"temperature and chunk must be positive, got {temperature} and {chunk}")
    rows = max(1, min(chunk, MAX_LOGITS // head.weight.shape[0]))
    with torch.autocast(hidden.device.type, enabled=False):
        logprobs, entropy = _TokenLogprobs.apply(
            hidden, head.weight, head.bias, targets, head.scale, head.softcap, float(temperature), rows
        )
    return logprobs, entropy


class _TokenLogprobs(torch.autograd.Function):
    """Forward keeps hidden states and log-normalisers; backward makes the logits of a chunk once more."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        scale: float,
        softcap: float | None,
        temperature: float,
        rows: int,
    ) -> tuple[Tensor, Tensor]:
        head = Head(weight.to(hidden.dtype), bias, scale, softcap)
        scores, odds = _room(hidden, weight, rows), _room(hidden, weight, rows)
        logprobs, entropy, normaliser = (scores.new_empty(len(hidden)) for _ in range(3))
        for start in range(0, len(hidden), rows):
            piece = slice(start, start + rows)
            size = len(hidden[piece])
            _over(head.logits(hidden[piece], out=scores[:size]), temperature)
            logprobs[piece], entropy[piece], normaliser[piece] = _read(scores[:size], targets[piece], odds[:size])
        ctx.save_for_backward(hidden, weight, bias, targets, normaliser)
        ctx.settings = (scale, softcap, temperature, rows)
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, normaliser = ctx.saved_tensors
        scale, softcap, temperature, rows = ctx.settings
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        compute_weight = weight.to(hidden.dtype)
        head = Head(compute_weight, bias, scale, softcap)
        room = _room(hidden, weight, rows)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=room.dtype) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=room.dtype) if needs_bias else None
        # d loss / d (hidden weight^T + bias) = factor * (p - onehot) * slope. The factor of a token is applied to E
        # numbers, not to V.
        factor = gradient[:, None] * (-scale / temperature)
        for start in range(0, len(hidden), rows):
            piece = slice(start, start + rows)
            logits = head.logits(hidden[piece], out=room[: len(hidden[piece])])
            slope = None if softcap is None else 1.0 - (logits / softcap).square()  # tanh' = 1 - tanh^2
            away = _over(logits, temperature).sub_(normaliser[piece, None]).exp_()  # p
            away.scatter_add_(-1, targets[piece, None], away.new_full((len(away), 1), -1.0))
            if slope is not None:
                away.mul_(slope)
            step = away.to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[piece] = (step @ compute_weight).mul_(factor[piece])
            if grad_weight is not None:
                _add_product(grad_weight, step.t(), (hidden[piece] * factor[piece]).to(hidden.dtype))
            if grad_bias is not None:
                grad_bias.addmv_(away.t(), factor[piece, 0])
        return grad_hidden, _as(grad_weight, weight), _as(grad_bias, bias), None, None, None, None, None


def _room(hidden: Tensor, weight: Tensor, rows: int) -> Tensor:
    """Memory for one chunk of logits, used again for every chunk: [rows, V] in float32, or float64 if `hidden` is."""
    dtype = torch.promote_types(hidden.dtype, torch.float32)
    return hidden.new_empty((min(rows, len(hidden)), weight.shape[0]), dtype=dtype)


def _read(scores: Tensor, targets: Tensor, room: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability, entropy and log-normaliser of each row of scores [n, V]; `scores` and `room` are overwritten.

    With m = max_v z_v, d = z - m, e = exp d, s = sum_v e_v:

        normaliser = m + log s,   logprob = d_target - log s,   entropy = log s - (sum_v e_v d_v) / s

    All terms of the entropy have one sign, so nothing cancels.
    """
    top = scores.amax(-1, keepdim=True)
    odds = torch.exp(scores.sub_(top), out=room)
    total = odds.sum(-1)
    weighed = torch.linalg.vecdot(odds, scores)
    if bool(weighed.isnan().any()):  # a word without a chance: 0 * -inf counts 0
        weighed = odds.mul_(scores).nan_to_num_(nan=0.0).sum(-1)
    log_total = total.log()
    logprobs = scores.gather(-1, targets[:, None])[:, 0] - log_total
    return logprobs, log_total - weighed / total, top[:, 0] + log_total


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left right; summed over chunks in float32 also where the factors are bfloat16."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def _as(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if gradient is None or parameter is None else gradient.to(parameter.dtype)


def _over(logits: Tensor, temperature: float) -> Tensor:
    return logits if temperature == 1.0 else logits.div_(temperature)
