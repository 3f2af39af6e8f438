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
"""Ours: at most this many logits exist at once (64 MiB in float32), whatever the vocabulary."""


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
        logprobs [N] and entropy [N], float32; the entropy carries no gradient.

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
        size = (hidden.shape[0],)
        logprobs, entropy, normaliser = (hidden.new_empty(size, dtype=torch.float32) for _ in range(3))
        for start in range(0, hidden.shape[0], rows):
            piece = slice(start, start + rows)
            scores = _over(head.logits(hidden[piece]), temperature)
            normaliser[piece] = scores.logsumexp(-1)
            scores.sub_(normaliser[piece, None])  # log p
            logprobs[piece] = scores.gather(-1, targets[piece, None])[:, 0]
            # p log p is 0 where p is 0 and log p is -inf
            entropy[piece] = scores.exp().mul_(scores).nan_to_num_(nan=0.0).sum(-1).neg_()
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
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if needs_bias else None
        for start in range(0, hidden.shape[0], rows):
            piece = slice(start, start + rows)
            logits = head.logits(hidden[piece])
            slope = _slope(logits, softcap, scale / temperature)
            pull = _over(logits, temperature).sub_(normaliser[piece, None]).exp_()  # softmax
            pull.mul_(-gradient[piece, None])
            pull.scatter_add_(-1, targets[piece, None], gradient[piece, None])  # d loss / d scores = g (onehot - p)
            step = pull.mul_(slope).to(hidden.dtype)  # d loss / d (hidden weight^T + bias)
            if grad_hidden is not None:
                torch.mm(step, compute_weight, out=grad_hidden[piece])
            if grad_weight is not None:
                _add_product(grad_weight, step.t(), hidden[piece])
            if grad_bias is not None:
                grad_bias.add_(step.sum(0))
        return grad_hidden, _as(grad_weight, weight), _as(grad_bias, bias), None, None, None, None, None


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


def _slope(logits: Tensor, softcap: float | None, factor: float) -> Tensor | float:
    """d score / d (hidden weight^T + bias): factor, times 1 - (logits / softcap)^2 under a cap (tanh' = 1 - tanh^2)."""
    if softcap is None:
        return factor
    return (1.0 - (logits / softcap).square()).mul_(factor)
