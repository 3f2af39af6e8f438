"""Log-probabilities of given tokens without the matrix of all logits.

For N tokens and a vocabulary of V the logits would take N * V * 4 bytes (8,192 x 49,152: 1.6 GB, several times over in
a backward pass). Here they are made for some rows at a time, forward and, again, backward. The matrix products take
many rows at once; everything between them takes few, whose numbers stay in the processor's cache.

What it does not do: no second derivatives; no vocabulary split over devices.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zero2r1.models.forward import Head

MAX_LOGITS = 2**24
"""Ours: the logits of a chunk take at most 8 * MAX_LOGITS bytes (128 MiB), whatever the vocabulary and the dtype of
the matrix products. Each chunk adds V x E numbers to the gradient of the weight: few chunks are quicker than many."""

CACHED_LOGITS = 2**18
"""Ours: between two matrix products a CPU works on so many logits at a time, 1 MiB in float32. On 2^24 at a time the
same steps took three times as long."""

DEVICE_LOGITS = 2**22
"""Ours: the same for other devices, which want much work at a time."""

ADDED_ROWS = 2**13
"""Ours: rows of a bfloat16 product that are added in float32 at a time. All 49,152 of a vocabulary at once need new
memory for the product and for its float32 copy in each chunk, which took a third longer."""


def token_logprobs(
    head: Head,
    hidden: Float[Tensor, "N E"],
    targets: Int[Tensor, " N"],
    *,
    temperature: float | int = 1.0,
    chunk: int = 2048,
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
        chunk: rows of logits made at once; fewer where they would take more memory than MAX_LOGITS says.

    Returns:
        logprobs [N] and entropy [N], float32 (float64 where `hidden` is); the entropy carries no gradient.

    Raises:
        ValueError: temperature or chunk is not positive.

    Source: Ours: the definition, evaluated in pieces with recomputation.
    """
    if temperature <= 0 or chunk < 1:
        raise ValueError(f"temperature and chunk must be positive, got {temperature} and {chunk}")
    bytes_each = 6 if _is_wide(hidden) else hidden.element_size()  # 6: the logit, and its gradient in bfloat16
    rows = max(1, min(chunk, 8 * MAX_LOGITS // (bytes_each * head.weight.shape[0])))
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
        chunks = _Chunks(hidden, Head(weight.to(_head_dtype(hidden)), bias, scale, softcap), temperature, rows)
        logprobs, entropy, normaliser = (hidden.new_empty(len(hidden), dtype=chunks.dtype) for _ in range(3))
        odds: Tensor | None = None
        for chunk in chunks.chunks():
            for piece, scores, _ in chunks.pieces(chunk):
                odds = torch.empty_like(scores) if odds is None else odds
                found = _read(scores, targets[piece], odds[: len(scores)])
                logprobs[piece], entropy[piece], normaliser[piece] = found
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
        chunks = _Chunks(hidden, Head(weight.to(_head_dtype(hidden)), bias, scale, softcap), temperature, rows)
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight: Tensor | None = None
        grad_bias = torch.zeros_like(bias, dtype=chunks.dtype) if needs_bias else None
        # d loss / d (hidden weight^T + bias) = factor * (p - onehot) * slope. The factor of a token is applied to E
        # numbers, not to V.
        factor = gradient[:, None] * (-scale / temperature)
        for chunk in chunks.chunks():
            for piece, scores, slope in chunks.pieces(chunk):
                away = scores.sub_(normaliser[piece, None]).exp_()  # p
                away.scatter_add_(-1, targets[piece, None], away.new_full((len(away), 1), -1.0))
                if slope is not None:
                    away.mul_(slope)
                if grad_bias is not None:
                    grad_bias.addmv_(away.t(), factor[piece, 0])
                chunks.put_back(piece, chunk, away)
            step = chunks.room(chunk).to(hidden.dtype)
            if grad_hidden is not None:
                grad_hidden[chunk] = (step @ compute_weight).mul_(factor[chunk])
            if needs_weight:
                pull = (hidden[chunk] * factor[chunk]).to(hidden.dtype)
                grad_weight = _plus_product(grad_weight, step.t(), pull, is_only=len(step) == len(hidden))
        if needs_weight and grad_weight is None:
            grad_weight = torch.zeros_like(weight)
        return grad_hidden, _as(grad_weight, weight), _as(grad_bias, bias), None, None, None, None, None


class _Chunks:
    """The logits of some rows after the others: as the matrix product gives them, and ready for use in float32."""

    def __init__(self, hidden: Tensor, head: Head, temperature: float, rows: int) -> None:
        self._hidden, self._head, self._temperature = hidden, head, temperature
        self._rows = max(1, min(rows, len(hidden)))
        vocabulary = head.weight.shape[0]
        self._room = hidden.new_empty(self._rows, vocabulary, dtype=_head_dtype(hidden))
        self.dtype = torch.promote_types(hidden.dtype, torch.float32)
        """Of everything but the matrix products: float32, or float64 where `hidden` is."""
        at_once = CACHED_LOGITS if hidden.device.type == "cpu" else DEVICE_LOGITS
        self._few = max(1, min(at_once // vocabulary, self._rows))
        is_lower = self.dtype != self._room.dtype
        self._exact = hidden.new_empty((self._few, vocabulary), dtype=self.dtype) if is_lower else None

    def chunks(self) -> Iterator[slice]:
        """Rows that go through a matrix product together."""
        total = len(self._hidden)
        return (slice(start, min(start + self._rows, total)) for start in range(0, total, self._rows))

    def room(self, chunk: slice) -> Tensor:
        """[rows of the chunk, V], in the dtype that the matrix product gives."""
        return self._room[: chunk.stop - chunk.start]

    def pieces(self, chunk: slice) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Rows, their logits over the temperature, and the slope of the cap, a few rows after the others.

        A piece's logits are gone when the next one is asked for. They are those of `Head.logits`, but the factors are
        applied piece by piece.
        """
        head = self._head
        products = Head(head.weight, head.bias).logits(self._hidden[chunk], out=self.room(chunk))
        for start in range(chunk.start, chunk.stop, self._few):
            piece = slice(start, min(start + self._few, chunk.stop))
            scores = products[start - chunk.start : piece.stop - chunk.start]
            scores = scores if self._exact is None else self._exact[: len(scores)].copy_(scores)
            if head.scale != 1.0:
                scores.mul_(head.scale)
            slope = None
            if head.softcap is not None:
                scores.div_(head.softcap).tanh_()
                slope = 1.0 - scores.square()  # tanh' = 1 - tanh^2
                scores.mul_(head.softcap)
            yield piece, _over(scores, self._temperature), slope

    def put_back(self, piece: slice, chunk: slice, values: Tensor) -> None:
        """Writes values of a piece over its logits, rounded where these are of lower precision."""
        if self._exact is not None:
            self._room[piece.start - chunk.start : piece.stop - chunk.start] = values


def _is_wide(hidden: Tensor) -> bool:
    """Whether `Head.logits` gives more exact numbers than `hidden` holds."""
    return hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu"


def _head_dtype(hidden: Tensor) -> torch.dtype:
    """Of logits as the matrix product gives them, and of the weight that it then reads without a copy."""
    return torch.float32 if _is_wide(hidden) else hidden.dtype


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


def _plus_product(total: Tensor | None, left: Tensor, right: Tensor, *, is_only: bool) -> Tensor:
    """total + left right, in place; summed in float32 also where the factors are bfloat16 and there are several."""
    if total is None:
        product = left @ right
        return product if is_only else product.to(torch.promote_types(product.dtype, torch.float32))
    if left.dtype == total.dtype:
        return total.addmm_(left, right)
    for some, rows in zip(total.split(ADDED_ROWS), left.split(ADDED_ROWS), strict=True):
        some.add_(rows @ right)
    return total


def _as(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if gradient is None or parameter is None else gradient.to(parameter.dtype)


def _over(logits: Tensor, temperature: float) -> Tensor:
    return logits if temperature == 1.0 else logits.div_(temperature)
