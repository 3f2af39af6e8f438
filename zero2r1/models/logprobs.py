"""Log-probabilities of given tokens without the matrix of all logits.

For N tokens and a vocabulary of V the logits would take N * V * 4 bytes (8,192 x 49,152: 1.6 GB, several times over in
a backward pass). Here they are made for some rows at a time, forward and, again, backward. The matrix products take
many rows at once; everything between them takes few, whose numbers stay in the processor's cache.

Where that part is compiled and a pass is small, its gradient by the logits is written down in the forward pass (up to
KEPT_BYTES, or GPU_KEPT_BYTES) while they are at hand, and the backward pass makes none again.

What it does not do: no second derivatives; no vocabulary split over devices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zero2r1.models.head import Head, is_wide
from zero2r1.models.head_gradients import HeadGradients
from zero2r1.models.kernels.gradients import Picked
from zero2r1.models.kernels.protocol import AnyHead
from zero2r1.models.recording import Choices

MAX_LOGITS = 2**24
"""Ours: the logits of a chunk take at most 8 * MAX_LOGITS bytes (128 MiB), whatever the vocabulary and the dtype of
the matrix products. Each chunk adds V x E numbers to the gradient of the weight: few chunks are quicker than many."""

KEPT_BYTES = 2**28
"""Ours: 256 MiB of gradients by logits may wait for the backward pass; making logits twice costs a sixth more in the
head's products. SmolLM2's 49,152 words fit with 2,730 tokens of bfloat16, 151,936 words with 883."""

CACHED_LOGITS = 2**18
"""Ours: between two matrix products a CPU works on so many logits at a time, 1 MiB in float32. On 2^24 at a time the
same steps took three times as long."""

DEVICE_LOGITS = 2**22
"""Ours: the same for other devices, which want much work at a time."""

GPU_MAX_LOGITS, GPU_KEPT_BYTES = 2**28, 2**32
"""Ours: MAX_LOGITS and KEPT_BYTES where a GPU's kernels read the logits: 2 GiB and 4 GiB of the tens that it has. Its
products want thousands of rows, and no cache holds their results anyway. Not measured."""


def token_logprobs(
    head: Head,
    hidden: Float[Tensor, "N E"],
    targets: Int[Tensor, " N"],
    *,
    temperature: float | int = 1.0,
    chunk: int = 2048,
    known: Choices | None = None,
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
        known: the results for these targets and this temperature, where a sampler has recorded them, with the
            gradient by the logits: then no logits are made.

    Returns:
        logprobs [N] and entropy [N], float32 (float64 where `hidden` is); the entropy carries no gradient.

    Raises:
        ValueError: temperature or chunk is not positive.

    Source: Ours: the definition, evaluated in pieces with recomputation.
    """
    if temperature <= 0 or chunk < 1:
        raise ValueError(f"temperature and chunk must be positive, got {temperature} and {chunk}")
    has_wide_logits = is_wide(hidden.dtype, hidden.device)
    bytes_each = 6 if has_wide_logits else hidden.element_size()  # 6: the logit, and its gradient in bfloat16
    vocabulary = head.weight.shape[0]
    is_plain = head.softcap is None and head.bias is None
    is_compiled = head.kernels is not None and is_plain and (has_wide_logits or hidden.dtype == torch.float32)
    is_gpu = is_compiled and hidden.device.type == "cuda"
    most, kept_bytes = (GPU_MAX_LOGITS, GPU_KEPT_BYTES) if is_gpu else (MAX_LOGITS, KEPT_BYTES)
    rows = max(1, min(chunk, 8 * most // (bytes_each * vocabulary)))
    wants_gradient = torch.is_grad_enabled() and (hidden.requires_grad or head.weight.requires_grad)
    how = _How(
        scale=head.scale,
        softcap=head.softcap,
        temperature=float(temperature),
        rows=rows,
        kernels=head.kernels if is_compiled else None,
        known=known,
        is_kept=is_compiled and wants_gradient and len(hidden) * vocabulary * hidden.element_size() <= kept_bytes,
    )
    with torch.autocast(hidden.device.type, enabled=False):
        logprobs, entropy = _TokenLogprobs.apply(hidden, head.weight, head.bias, targets, how)
    return logprobs, entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """What stays the same over all rows."""

    scale: float
    softcap: float | None
    temperature: float
    rows: int
    """Of logits made at once."""
    kernels: AnyHead | None
    """Everything between the products in one pass over the logits."""
    is_kept: bool
    """The gradient by the logits is written in the forward pass; needs `kernels`."""
    known: Choices | None
    """Nothing is computed in the forward pass."""

    def chunks(self, total: int) -> Iterator[slice]:
        """Rows that go through a matrix product together, of `total`."""
        return (slice(start, min(start + self.rows, total)) for start in range(0, total, self.rows))

    @property
    def factor(self) -> float:
        """d z / d product."""
        return self.scale / self.temperature


class _TokenLogprobs(torch.autograd.Function):
    """Forward keeps hidden states and log-normalisers, and backward makes the logits of a chunk once more; or forward
    keeps softmax - onehot of every row."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, how: _How
    ) -> tuple[Tensor, Tensor]:
        ctx.how = how
        if how.known is not None:
            ctx.save_for_backward(hidden, weight, bias)
            ctx.mark_non_differentiable(how.known.entropy)
            return how.known.logprobs, how.known.entropy
        chunks = _Chunks(hidden, weight, bias, how)
        logprobs, entropy, normaliser = (hidden.new_empty(len(hidden), dtype=chunks.dtype) for _ in range(3))
        slopes = hidden.new_empty(len(hidden), len(weight)) if how.is_kept else None
        odds: Tensor | None = None
        for chunk in chunks.chunks():
            if how.kernels is not None:
                slope = None if slopes is None else slopes[chunk]
                found = how.kernels.read_logits(chunks.products(chunk), targets[chunk], slope, inverse=how.factor)
                logprobs[chunk], entropy[chunk], normaliser[chunk] = found
                continue
            for piece, scores, _ in chunks.pieces(chunk):
                odds = torch.empty_like(scores) if odds is None else odds
                logprobs[piece], entropy[piece], normaliser[piece] = _read(scores, targets[piece], odds[: len(scores)])
        ctx.save_for_backward(hidden, weight, bias, targets, normaliser, slopes)
        ctx.mark_non_differentiable(entropy)
        return logprobs, entropy

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, *rest = ctx.saved_tensors
        # d loss / d (hidden weight^T + bias) = factor * (p - onehot) * slope. The factor of a token is applied to E
        # numbers, not to V.
        factor = gradient[:, None] * -ctx.how.factor
        how: _How = ctx.how
        kernels = None if how.kernels is None else how.kernels.products.gradients
        sums = HeadGradients(hidden, weight, bias, factor, ctx.needs_input_grad[:3], kernels)
        everything = slice(0, len(hidden))
        if how.known is not None:
            numbers, index = how.known.slopes
            for chunk in [everything] if how.is_kept or sums.reads_in_place else how.chunks(len(hidden)):
                sums.add(chunk, Picked(numbers, index[chunk]))
            return (*sums.found(), None, None)
        targets, normaliser, slopes = rest
        if slopes is not None:
            sums.add(everything, slopes)
            return (*sums.found(), None, None)
        chunks = _Chunks(hidden, weight, bias, how)
        for chunk in chunks.chunks():
            sums.add(chunk, chunks.away(chunk, targets, normaliser, sums))
        return (*sums.found(), None, None)


class _Chunks:
    """The logits of some rows after the others: as the matrix product gives them, and ready for use in float32."""

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, how: _How) -> None:
        self._hidden, self._how = hidden, how
        self._head = Head(weight, bias, kernels=how.kernels).laid_out(hidden.dtype)
        rows = max(1, min(how.rows, len(hidden)))
        vocabulary = len(weight)
        # Of logits as the matrix product gives them.
        given = torch.float32 if is_wide(hidden.dtype, hidden.device) else hidden.dtype
        self._room = hidden.new_empty(rows, vocabulary, dtype=given)
        self.dtype = torch.promote_types(hidden.dtype, torch.float32)
        """Of everything but the matrix products: float32, or float64 where `hidden` is."""
        at_once = CACHED_LOGITS if hidden.device.type == "cpu" else DEVICE_LOGITS
        self._few = max(1, min(at_once // vocabulary, rows))
        is_lower = self.dtype != self._room.dtype
        self._exact = hidden.new_empty((self._few, vocabulary), dtype=self.dtype) if is_lower else None

    def chunks(self) -> Iterator[slice]:
        """Rows that go through a matrix product together."""
        return self._how.chunks(len(self._hidden))

    def products(self, chunk: slice) -> Tensor:
        """[rows of the chunk, V], in the dtype that the matrix product gives, without factors. Gone with the next."""
        return self._head.products(self._hidden[chunk], out=self._room[: chunk.stop - chunk.start])

    def away(self, chunk: slice, targets: Tensor, normaliser: Tensor, sums: HeadGradients) -> Tensor:
        """(p - onehot) * slope of the cap for the rows of a chunk, in the dtype of the hidden states."""
        if self._how.kernels is not None:
            products = self.products(chunk)
            slope = torch.empty_like(products, dtype=self._hidden.dtype)
            self._how.kernels.read_logits(products, targets[chunk], slope, inverse=self._how.factor)
            return slope
        for piece, scores, slope in self.pieces(chunk):
            away = scores.sub_(normaliser[piece, None]).exp_()  # p
            away.scatter_add_(-1, targets[piece, None], away.new_full((len(away), 1), -1.0))
            if slope is not None:
                away.mul_(slope)
            sums.add_bias(piece, away)
            if self._exact is not None:
                self._room[piece.start - chunk.start : piece.stop - chunk.start] = away
        return self._room[: chunk.stop - chunk.start].to(self._hidden.dtype)

    def pieces(self, chunk: slice) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Rows, their logits over the temperature, and the slope of the cap, a few rows after the others.

        A piece's logits are gone when the next one is asked for. They are those of `Head.logits`, but the factors are
        applied piece by piece.
        """
        how, products = self._how, self.products(chunk)
        for start in range(chunk.start, chunk.stop, self._few):
            piece = slice(start, min(start + self._few, chunk.stop))
            scores = products[start - chunk.start : piece.stop - chunk.start]
            scores = scores if self._exact is None else self._exact[: len(scores)].copy_(scores)
            if how.scale != 1.0:
                scores.mul_(how.scale)
            slope = None
            if how.softcap is not None:
                scores.div_(how.softcap).tanh_()
                slope = 1.0 - scores.square()  # tanh' = 1 - tanh^2
                scores.mul_(how.softcap)
            yield piece, scores if how.temperature == 1.0 else scores.div_(how.temperature), slope


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
