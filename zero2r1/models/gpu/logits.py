"""From logits to log-probabilities and tokens on a CUDA device, in Triton: `models.kernels.head` for tensors there.

No row's result depends on the other rows, sums have a fixed order, and nothing waits for the device.

What it does not do: caps on logits (`models.head.Head` applies them), top_k and top_p.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

BLOCK = 4096
"""Ours: logits that a program has at a time, sixteen a thread; and words whose odds are summed up before one of them is
looked for. 49,152 words are twelve blocks, so a few rows keep many processors busy."""
LOWEST = tl.constexpr(-3.4028234663852886e38)
"""The lowest finite float32, as the largest of no logits: unlike -infinity it can be taken from itself."""


@triton.jit
@no_type_check
def _read(
    logprobs, entropy, normaliser, slope, logits, targets, inverse, vocabulary,
    HAS_SLOPE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row. Each lane keeps its largest z, its sum of odds and its sum of odds (z - largest), joined at the end.

    When the largest grows by d, odds shrink by e^-d and each z - largest by d.
    """
    row = tl.program_id(0).to(tl.int64)
    own = logits + row * vocabulary
    lanes = tl.arange(0, BLOCK)
    target = tl.load(targets + row)
    at_target = tl.load(own + target) * inverse  # before a slope may overwrite it
    peaks = tl.full([BLOCK], LOWEST, tl.float32)
    sums = tl.zeros([BLOCK], tl.float32)
    weighed = tl.zeros([BLOCK], tl.float32)
    for start in range(0, vocabulary, BLOCK):
        words = start + lanes
        z = tl.load(own + words, mask=words < vocabulary, other=float("-inf")) * inverse
        higher = tl.maximum(peaks, z)
        step, depth = peaks - higher, z - higher
        shrink, odds = tl.exp(step), tl.exp(depth)
        # What has no chance counts 0, however infinite its depth.
        weighed = tl.where(shrink > 0.0, (weighed + sums * step) * shrink, 0.0)
        weighed += tl.where(odds > 0.0, odds * depth, 0.0)
        sums = sums * shrink + odds
        peaks = higher
    peak = tl.max(peaks, 0)
    step = peaks - peak
    shrink = tl.exp(step)
    weight = tl.sum(tl.where(shrink > 0.0, (weighed + sums * step) * shrink, 0.0), 0)
    total = tl.sum(sums * shrink, 0)
    log_total = tl.log(total)
    log_sum = peak + log_total
    tl.store(logprobs + row, at_target - peak - log_total)
    tl.store(entropy + row, log_total - weight / total)
    tl.store(normaliser + row, log_sum)
    if HAS_SLOPE:
        for start in range(0, vocabulary, BLOCK):
            words = start + lanes
            is_word = words < vocabulary
            z = tl.load(own + words, mask=is_word, other=float("-inf")) * inverse
            gradient = tl.exp(z - log_sum) - tl.where(words == target, 1.0, 0.0)
            tl.store(slope + row * vocabulary + words, gradient.to(slope.dtype.element_ty), mask=is_word)


@triton.jit
@no_type_check
def _sum_blocks(peaks, sums, logits, stride, inverse, vocabulary, blocks, BLOCK: tl.constexpr):
    """The largest z of one block of one row, and the sum of e^(z - it) in float64."""
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    words = block * BLOCK + tl.arange(0, BLOCK)
    z = tl.load(logits + row * stride + words, mask=words < vocabulary, other=float("-inf")).to(tl.float32) * inverse
    peak = tl.max(z, 0)
    odds = tl.exp(z - tl.where(peak == float("-inf"), 0.0, peak))
    tl.store(peaks + row * blocks + block, peak)
    tl.store(sums + row * blocks + block, tl.sum(odds.to(tl.float64), 0))


@triton.jit
@no_type_check
def _draw(
    tokens, logprobs, peaks, sums, logits, uniforms, stride, inverse, vocabulary, blocks,
    BLOCKS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The first word whose odds, added to those before it, pass u times all of them: first its block, then itself."""
    row = tl.program_id(0).to(tl.int64)
    index, inside = tl.arange(0, BLOCKS), tl.arange(0, BLOCK)
    is_block = index < blocks
    own_peaks = tl.load(peaks + row * blocks + index, mask=is_block, other=float("-inf"))
    peak = tl.max(own_peaks, 0)
    scales = tl.where(is_block, tl.exp(own_peaks - peak), 0.0).to(tl.float64)
    shares = tl.load(sums + row * blocks + index, mask=is_block, other=0.0) * scales
    total = tl.sum(shares, 0)
    goal = tl.load(uniforms + row) * total
    passes = (tl.cumsum(shares, 0) > goal) & (shares > 0.0)
    last = tl.max(tl.where(shares > 0.0, index, 0), 0)
    block = tl.minimum(tl.min(tl.where(passes, index, BLOCKS), 0), last)
    goal -= tl.sum(tl.where(index < block, shares, 0.0), 0)
    scale = tl.sum(tl.where(index == block, scales, 0.0), 0)
    block_peak = tl.max(tl.where(index == block, own_peaks, float("-inf")), 0)

    own = logits + row * stride
    words = block * BLOCK + inside
    z = tl.load(own + words, mask=words < vocabulary, other=float("-inf")).to(tl.float32) * inverse
    odds = tl.exp(z - block_peak)  # as in `_sum_blocks`
    # Sums are rounded: what is left of the goal may lie just beyond the block's own, whose last word is meant then.
    passes = (tl.cumsum(odds.to(tl.float64), 0) * scale > goal) & (odds > 0.0)
    last = tl.max(tl.where(odds > 0.0, inside, 0), 0)
    token = block * BLOCK + tl.minimum(tl.min(tl.where(passes, inside, BLOCK), 0), last)
    chosen = tl.load(own + token).to(tl.float32) * inverse
    tl.store(tokens + row, token.to(tl.int64))
    tl.store(logprobs + row, chosen - peak - tl.log(total.to(tl.float32)))


def read_logits(
    logits: Float32[Tensor, "n V"],
    targets: Int64[Tensor, " n"],
    slope: Float[Tensor, "n V"] | None = None,
    *,
    inverse: float,
) -> tuple[Float32[Tensor, " n"], Float32[Tensor, " n"], Float32[Tensor, " n"]]:
    """See `models.kernels.head.HeadKernels.read_logits`."""
    assert logits.is_contiguous() and targets.is_contiguous()  # noqa: PT018
    assert slope is None or (slope.shape == logits.shape and slope.is_contiguous())
    rows, vocabulary = logits.shape
    logprobs, entropy, normaliser = torch.empty(3, rows, dtype=torch.float32, device=logits.device)
    block = min(BLOCK, triton.next_power_of_2(vocabulary))
    _read[(rows,)](
        logprobs, entropy, normaliser, logits if slope is None else slope, logits, targets, inverse, vocabulary,
        HAS_SLOPE=slope is not None, BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip
    return logprobs, entropy, normaliser


def draw(
    logits: Float[Tensor, "n V"], uniforms: Float64[Tensor, " n"], *, temperature: float
) -> tuple[Int64[Tensor, " n"], Float32[Tensor, " n"]]:
    """See `models.kernels.head.HeadKernels.draw`; rows may lie apart."""
    assert logits.stride(1) == 1 and uniforms.is_contiguous()  # noqa: PT018
    (rows, vocabulary), device = logits.shape, logits.device
    block = min(BLOCK, triton.next_power_of_2(vocabulary))
    blocks = triton.cdiv(vocabulary, block)
    peaks = torch.empty(rows, blocks, dtype=torch.float32, device=device)
    sums = torch.empty(rows, blocks, dtype=torch.float64, device=device)
    stride, inverse = logits.stride(0), 1.0 / temperature
    _sum_blocks[(rows, blocks)](
        peaks, sums, logits, stride, inverse, vocabulary, blocks, BLOCK=block, num_warps=_warps(block)
    )
    tokens = torch.empty(rows, dtype=torch.int64, device=device)
    logprobs = torch.empty(rows, dtype=torch.float32, device=device)
    _draw[(rows,)](
        tokens, logprobs, peaks, sums, logits, uniforms, stride, inverse, vocabulary, blocks,
        BLOCKS=triton.next_power_of_2(blocks), BLOCK=block, num_warps=_warps(block),
    )  # fmt: skip
    return tokens, logprobs


def _warps(block: int) -> int:
    """Of 32 threads, with sixteen numbers each."""
    return max(1, block // 512)
