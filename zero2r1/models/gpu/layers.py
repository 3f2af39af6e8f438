"""Norms, gates and rotary positions on a CUDA device, in Triton: `models.kernels.ops` for tensors there.

Sums are in float32 and results are rounded once. Nothing waits for the device, and nothing depends on the order in
which programs run: the same tensors give the same bits.

What it does not do: record anything for autograd: the gradients are functions of their own.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Float32
from torch import Tensor

BLOCK = 1024
"""Ours: numbers of a row of gates that a program works on."""
PROGRAMS = 1024
"""Ours: the gradient of a norm's weight is summed in at most so many parts, which are then added in their order."""


@triton.jit
@no_type_check
def _rms_norm(
    out, x, delta, weight, eps, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, HAS_DELTA: tl.constexpr
):  # fmt: skip
    """One row."""
    start = tl.program_id(0).to(tl.int64) * WIDTH
    columns = tl.arange(0, COLUMNS)
    is_there = columns < WIDTH
    values = tl.load(x + start + columns, mask=is_there, other=0.0).to(tl.float32)
    if HAS_DELTA:
        values += tl.load(delta + start + columns, mask=is_there, other=0.0).to(tl.float32)
        rounded = values.to(x.dtype.element_ty)
        tl.store(x + start + columns, rounded, mask=is_there)
        values = rounded.to(tl.float32)
    inverse = 1.0 / tl.sqrt(tl.sum(values * values, 0) / WIDTH + eps)
    factors = tl.load(weight + columns, mask=is_there, other=0.0).to(tl.float32)
    tl.store(out + start + columns, (values * inverse * factors).to(out.dtype.element_ty), mask=is_there)


@triton.jit
@no_type_check
def _rms_norm_backward(
    by_x, by_weight, gradient, x, weight, eps, rows, rows_each, WIDTH: tl.constexpr, COLUMNS: tl.constexpr
):  # fmt: skip
    """Some rows: with r = 1 / sqrt(mean(x^2) + eps) and h = gradient * weight,

    by_x = r (h - x r^2 mean(h x)), and the sum of gradient * x * r over these rows.
    """
    program = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    is_there = columns < WIDTH
    factors = tl.load(weight + columns, mask=is_there, other=0.0).to(tl.float32)
    total = tl.zeros([COLUMNS], tl.float32)
    for row in range(program * rows_each, tl.minimum((program + 1) * rows_each, rows)):
        places = row * WIDTH + columns  # in 64 bits, as `program` is
        values = tl.load(x + places, mask=is_there, other=0.0).to(tl.float32)
        pulls = tl.load(gradient + places, mask=is_there, other=0.0).to(tl.float32)
        inverse = 1.0 / tl.sqrt(tl.sum(values * values, 0) / WIDTH + eps)
        total += pulls * values * inverse
        pulls *= factors
        along = tl.sum(pulls * values, 0) / WIDTH * inverse * inverse
        tl.store(by_x + places, (inverse * (pulls - values * along)).to(by_x.dtype.element_ty), mask=is_there)
    tl.store(by_weight + program * WIDTH + columns, total, mask=is_there)


@triton.jit
@no_type_check
def _silu_mul(out, gate, up, stride, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    """BLOCK numbers of one row."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_there = columns < WIDTH
    z = tl.load(gate + row * stride + columns, mask=is_there, other=0.0).to(tl.float32)
    u = tl.load(up + row * stride + columns, mask=is_there, other=0.0).to(tl.float32)
    mixed = z / (1.0 + tl.exp(-z)) * u
    tl.store(out + row * WIDTH + columns, mixed.to(out.dtype.element_ty), mask=is_there)


@triton.jit
@no_type_check
def _silu_mul_backward(
    out, by_gate, by_up, gradient, gate, up, stride, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """BLOCK numbers of one row: with s = 1 / (1 + e^-z), silu'(z) = s (1 + z (1 - s))."""
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_there = columns < WIDTH
    z = tl.load(gate + row * stride + columns, mask=is_there, other=0.0).to(tl.float32)
    u = tl.load(up + row * stride + columns, mask=is_there, other=0.0).to(tl.float32)
    places = row * WIDTH + columns
    pull = tl.load(gradient + places, mask=is_there, other=0.0).to(tl.float32)
    s = 1.0 / (1.0 + tl.exp(-z))
    tl.store(out + places, (z * s * u).to(out.dtype.element_ty), mask=is_there)
    tl.store(by_gate + places, (pull * u * s * (1.0 + z * (1.0 - s))).to(by_gate.dtype.element_ty), mask=is_there)
    tl.store(by_up + places, (pull * z * s).to(by_up.dtype.element_ty), mask=is_there)


@triton.jit
@no_type_check
def _rotate(
    qkv, cosines, sines, query_norm, key_norm, stride, eps,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    NORMS_QUERIES: tl.constexpr, NORMS_KEYS: tl.constexpr,
):  # fmt: skip
    """The queries and keys of one token. ROWS and COLUMNS are their number and half their width, filled up."""
    HALF: tl.constexpr = WIDTH // 2
    token = tl.program_id(0).to(tl.int64)
    heads, columns = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    is_column = columns < HALF
    is_there = (heads < HEADS + KV_HEADS)[:, None] & is_column[None, :]
    first = qkv + token * stride + heads[:, None] * WIDTH + columns[None, :]
    a = tl.load(first, mask=is_there, other=0.0).to(tl.float32)
    b = tl.load(first + HALF, mask=is_there, other=0.0).to(tl.float32)
    if NORMS_QUERIES or NORMS_KEYS:
        inverse = (1.0 / tl.sqrt((tl.sum(a * a, 1) + tl.sum(b * b, 1)) / WIDTH + eps))[:, None]
        is_query = (heads < HEADS)[:, None]
        if NORMS_QUERIES:
            low = tl.load(query_norm + columns, mask=is_column, other=0.0).to(tl.float32)[None, :]
            high = tl.load(query_norm + HALF + columns, mask=is_column, other=0.0).to(tl.float32)[None, :]
            a = tl.where(is_query, (a * inverse * low).to(qkv.dtype.element_ty).to(tl.float32), a)
            b = tl.where(is_query, (b * inverse * high).to(qkv.dtype.element_ty).to(tl.float32), b)
        if NORMS_KEYS:
            low = tl.load(key_norm + columns, mask=is_column, other=0.0).to(tl.float32)[None, :]
            high = tl.load(key_norm + HALF + columns, mask=is_column, other=0.0).to(tl.float32)[None, :]
            a = tl.where(is_query, a, (a * inverse * low).to(qkv.dtype.element_ty).to(tl.float32))
            b = tl.where(is_query, b, (b * inverse * high).to(qkv.dtype.element_ty).to(tl.float32))
    angles = token * WIDTH + columns
    cosine = tl.load(cosines + angles, mask=is_column, other=0.0)[None, :]
    sine = tl.load(sines + angles, mask=is_column, other=0.0)[None, :]
    tl.store(first, (a * cosine - b * sine).to(qkv.dtype.element_ty), mask=is_there)
    cosine = tl.load(cosines + angles + HALF, mask=is_column, other=0.0)[None, :]
    sine = tl.load(sines + angles + HALF, mask=is_column, other=0.0)[None, :]
    tl.store(first + HALF, (b * cosine + a * sine).to(qkv.dtype.element_ty), mask=is_there)


def rms_norm(
    x: Float[Tensor, "n E"], delta: Float[Tensor, "n E"] | None, weight: Float[Tensor, " E"], *, eps: float
) -> Float[Tensor, "n E"]:
    """See `models.kernels.ops.Kernels.rms_norm`."""
    assert x.is_contiguous() and weight.is_contiguous() and (delta is None or delta.is_contiguous())  # noqa: PT018
    rows, width = x.shape
    out = torch.empty_like(x, dtype=weight.dtype)
    columns = triton.next_power_of_2(width)
    _rms_norm[(rows,)](
        out, x, x if delta is None else delta, weight, eps, WIDTH=width, COLUMNS=columns,
        HAS_DELTA=delta is not None, num_warps=_warps(columns),
    )  # fmt: skip
    return out


def rms_norm_backward(
    gradient: Float[Tensor, "n E"],
    x: Float[Tensor, "n E"],
    weight: Float[Tensor, " E"],
    *,
    eps: float,
    beside: Float[Tensor, "n E"] | None = None,
) -> tuple[Float[Tensor, "n E"], Float32[Tensor, " E"]]:
    """See `models.kernels.ops.Kernels.rms_norm_backward`."""
    assert x.is_contiguous() and weight.is_contiguous() and gradient.is_contiguous()  # noqa: PT018
    rows, width = x.shape
    each = max(1, -(-rows // PROGRAMS))
    parts, columns = -(-rows // each), triton.next_power_of_2(width)
    by_x = torch.empty_like(x)
    by_weight = torch.empty(parts, width, dtype=torch.float32, device=x.device)
    _rms_norm_backward[(parts,)](
        by_x, by_weight, gradient, x, weight, eps, rows, each, WIDTH=width, COLUMNS=columns, num_warps=_warps(columns)
    )
    return by_x if beside is None else by_x.add_(beside), by_weight.sum(0)


def silu_mul(gate: Float[Tensor, "n F"], up: Float[Tensor, "n F"]) -> Float[Tensor, "n F"]:
    """See `models.kernels.ops.Kernels.silu_mul`."""
    rows, width = gate.shape
    assert gate.stride() == up.stride() and gate.stride(1) == 1  # noqa: PT018
    out = torch.empty(rows, width, dtype=gate.dtype, device=gate.device)
    _silu_mul[(rows, triton.cdiv(width, BLOCK))](out, gate, up, gate.stride(0), WIDTH=width, BLOCK=BLOCK)
    return out


def silu_mul_backward(
    gradient: Float[Tensor, "n F"], gate: Float[Tensor, "n F"], up: Float[Tensor, "n F"], *, index: None = None
) -> tuple[Float[Tensor, "n F"], Float[Tensor, "n F"], Float[Tensor, "n F"]]:
    """See `models.kernels.ops.Kernels.silu_mul_backward`; the gradients are contiguous."""
    rows, width = gate.shape
    assert gate.stride() == up.stride() and gate.stride(1) == 1 and gradient.is_contiguous()  # noqa: PT018
    out, by_gate, by_up = (torch.empty(rows, width, dtype=gate.dtype, device=gate.device) for _ in range(3))
    _silu_mul_backward[(rows, triton.cdiv(width, BLOCK))](
        out, by_gate, by_up, gradient, gate, up, gate.stride(0), WIDTH=width, BLOCK=BLOCK
    )
    return out, by_gate, by_up


def rotate(
    qkv: Float[Tensor, "n HHHD"],
    cosines: Float32[Tensor, "n D"],
    sines: Float32[Tensor, "n D"],
    *,
    heads: int,
    kv_heads: int,
    query_norm: Float[Tensor, " D"] | None = None,
    key_norm: Float[Tensor, " D"] | None = None,
    eps: float = 0.0,
) -> None:
    """See `models.kernels.ops.Kernels.rotate`."""
    rows, width = cosines.shape
    assert qkv.shape == (rows, (heads + 2 * kv_heads) * width) and qkv.stride(1) == 1  # noqa: PT018
    assert cosines.is_contiguous() and sines.is_contiguous()  # noqa: PT018
    lines, columns = triton.next_power_of_2(heads + kv_heads), triton.next_power_of_2(width // 2)
    _rotate[(rows,)](
        qkv, cosines, sines, cosines if query_norm is None else query_norm, cosines if key_norm is None else key_norm,
        qkv.stride(0), eps, HEADS=heads, KV_HEADS=kv_heads, WIDTH=width,
        ROWS=lines, COLUMNS=columns, NORMS_QUERIES=query_norm is not None, NORMS_KEYS=key_norm is not None,
        num_warps=_warps(lines * columns),
    )  # fmt: skip


def _warps(columns: int) -> int:
    """Of 32 threads, with about eight numbers each."""
    return max(1, min(16, columns // 256))
