"""Attention of one new token a sequence over cached pages, in Triton: the pages are read where they lie.

Each sequence's tokens are cut into parts that are attended at the same time, as in flash decoding: a part gives its
largest score, its sum and its mix, and a second launch joins the parts. The new token's key and value come from the
network's row and are written to their page on the way, so nothing has to be stored first.

Nothing here waits for the device or depends on a length that the host would have to know: a launch can be recorded in
a CUDA graph and played again with other numbers in the same tensors.

Source: Dao et al., "Flash-Decoding for long-context inference" (2023): parts and how they are joined.

What it does not do: gradients, several new tokens a sequence, caps, sinks or windows.
"""

from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int32, Int64
from torch import Tensor

BLOCK = 64
"""Ours: tokens whose scores are computed at a time; four pages."""
PROGRAMS = 512
"""Ours: sequences are cut into parts until about so many work at the same time; an H100 has 132 processors, and a few
on each hide the time memory takes."""
MOST_PARTS = 16
LEAST_ROWS = 16
"""Rows of the smallest matrix product of the tensor cores: fewer query heads than that are filled up."""


@triton.jit
@no_type_check
def _attend_parts(
    mixed, peaks, sums, query, key, value, keys, values, tables, positions,
    query_stride, key_stride, value_stride, table_stride, scale,
    KV_HEADS: tl.constexpr, SHARED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, WIDTH_V: tl.constexpr,
    COLUMNS: tl.constexpr, COLUMNS_V: tl.constexpr, PARTS: tl.constexpr, PAGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One part of one sequence, for the SHARED query heads that share a key head.

    mixed [n, H, PARTS, WIDTH_V], peaks and sums [n, H, PARTS] float32; ROWS, COLUMNS and COLUMNS_V are SHARED, WIDTH
    and WIDTH_V filled up to what the products take.
    """
    slot, head, part = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.program_id(2)
    rows, columns, columns_v = tl.arange(0, ROWS), tl.arange(0, COLUMNS), tl.arange(0, COLUMNS_V)
    is_row, is_column, is_column_v = rows < SHARED, columns < WIDTH, columns_v < WIDTH_V
    cached = tl.load(positions + slot).to(tl.int32)
    queries = tl.load(
        query + slot * query_stride + (head * SHARED + rows)[:, None] * WIDTH + columns[None, :],
        mask=is_row[:, None] & is_column[None, :], other=0.0,
    )  # fmt: skip
    peak = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    mix = tl.zeros([ROWS, COLUMNS_V], tl.float32)
    if part == 0:
        new_key = tl.load(key + slot * key_stride + head * WIDTH + columns, mask=is_column, other=0.0)
        new_value = tl.load(value + slot * value_stride + head * WIDTH_V + columns_v, mask=is_column_v, other=0.0)
        page = tl.load(tables + slot * table_stride + cached // PAGE).to(tl.int64) * KV_HEADS + head
        tl.store(keys + page * (WIDTH * PAGE) + columns * PAGE + cached % PAGE, new_key, mask=is_column)
        tl.store(values + page * (PAGE * WIDTH_V) + (cached % PAGE) * WIDTH_V + columns_v, new_value, mask=is_column_v)
        peak = tl.sum(queries.to(tl.float32) * new_key.to(tl.float32)[None, :], 1) * scale
        total = tl.full([ROWS], 1.0, tl.float32)
        mix = tl.zeros([ROWS, COLUMNS_V], tl.float32) + new_value.to(tl.float32)[None, :]
    size = tl.cdiv(tl.cdiv(cached, BLOCK), PARTS) * BLOCK
    stop = tl.minimum((part + 1) * size, cached)
    for start in range(part * size, stop, BLOCK):
        tokens = start + tl.arange(0, BLOCK)
        is_seen = tokens < stop
        pages = tl.load(tables + slot * table_stride + tokens // PAGE, mask=is_seen, other=0).to(tl.int64)
        pages = pages * KV_HEADS + head
        places = pages * (WIDTH * PAGE) + tokens % PAGE
        places = tl.max_contiguous(tl.multiple_of(places, [PAGE]), [PAGE])  # a page's tokens lie side by side
        some_keys = tl.load(
            keys + places[None, :] + columns[:, None] * PAGE, mask=is_column[:, None] & is_seen[None, :], other=0.0
        )
        scores = tl.dot(queries, some_keys, input_precision="ieee") * scale
        scores = tl.where(is_seen[None, :], scores, float("-inf"))
        higher = tl.maximum(peak, tl.max(scores, 1))
        shrink = tl.exp(peak - higher)
        odds = tl.exp(scores - higher[:, None])
        rows_v = pages * (PAGE * WIDTH_V) + (tokens % PAGE) * WIDTH_V
        some_values = tl.load(
            values + rows_v[:, None] + columns_v[None, :], mask=is_seen[:, None] & is_column_v[None, :], other=0.0
        )
        total = total * shrink + tl.sum(odds, 1)
        mix = mix * shrink[:, None] + tl.dot(odds.to(some_values.dtype), some_values, input_precision="ieee")
        peak = higher
    heads = (slot * KV_HEADS * SHARED + head * SHARED + rows) * PARTS + part
    tl.store(peaks + heads, peak, mask=is_row)
    tl.store(sums + heads, total, mask=is_row)
    tl.store(mixed + heads[:, None] * WIDTH_V + columns_v[None, :], mix, mask=is_row[:, None] & is_column_v[None, :])


@triton.jit
@no_type_check
def _join_parts(
    out, mixed, peaks, sums, WIDTH_V: tl.constexpr, COLUMNS_V: tl.constexpr, PARTS: tl.constexpr
):  # fmt: skip
    """The parts of one head of one sequence: sum_p e^(peak_p - peak) mixed_p / sum_p e^(peak_p - peak) sum_p."""
    head = tl.program_id(0).to(tl.int64)
    parts, columns_v = tl.arange(0, PARTS), tl.arange(0, COLUMNS_V)
    is_column_v = columns_v < WIDTH_V
    peak = tl.load(peaks + head * PARTS + parts)
    weights = tl.exp(peak - tl.max(peak, 0))  # of a part without tokens: e^-infinity
    total = tl.sum(tl.load(sums + head * PARTS + parts) * weights, 0)
    places = (head * PARTS + parts)[:, None] * WIDTH_V + columns_v[None, :]
    some = tl.load(mixed + places, mask=is_column_v[None, :], other=0.0)
    mix = tl.sum(some * weights[:, None], 0) / total
    tl.store(out + head * WIDTH_V + columns_v, mix.to(out.dtype.element_ty), mask=is_column_v)


def attend_new(
    query: Float[Tensor, "n H D"],
    key: Float[Tensor, "n H_kv D"],
    value: Float[Tensor, "n H_kv D_v"],
    keys: Float[Tensor, "P H_kv D page"],
    values: Float[Tensor, "P H_kv page D_v"],
    tables: Int32[Tensor, "n M"],
    positions: Int64[Tensor, " n"],
    *,
    scaling: float,
) -> Float[Tensor, "n H D_v"]:
    """softmax(scaling * q K^T) V of one new token a row over itself and the `positions[row]` tokens on its pages.

    Its key and value are written to place `positions[row]` of the row's pages.

    Args:
        query, key, value: each row's heads in one piece; rows may lie apart.
        tables: by row, the numbers of its pages in order; rows may lie apart. No two rows write to the same page,
            unless nobody reads what they write.
    """
    num_rows, heads, width = query.shape
    kv_heads, page, width_v = values.shape[1:]
    assert keys.is_contiguous() and values.is_contiguous() and tables.stride(1) == 1  # noqa: PT018
    query, key, value = _in_rows(query), _in_rows(key), _in_rows(value)
    parts = parts_for(num_rows * kv_heads)
    mixed = torch.empty(num_rows, heads, parts, width_v, dtype=torch.float32, device=query.device)
    peaks, sums = torch.empty(2, num_rows, heads, parts, dtype=torch.float32, device=query.device)
    columns, columns_v = (max(LEAST_ROWS, triton.next_power_of_2(size)) for size in (width, width_v))
    _attend_parts[(num_rows, kv_heads, parts)](
        mixed, peaks, sums, query, key, value, keys, values, tables, positions,
        query.stride(0), key.stride(0), value.stride(0), tables.stride(0), scaling,
        KV_HEADS=kv_heads, SHARED=heads // kv_heads,
        ROWS=max(LEAST_ROWS, triton.next_power_of_2(heads // kv_heads)), WIDTH=width, WIDTH_V=width_v,
        COLUMNS=columns, COLUMNS_V=columns_v, PARTS=parts, PAGE=page, BLOCK=BLOCK, num_warps=4, num_stages=2,
    )  # fmt: skip
    out = torch.empty(num_rows, heads, width_v, dtype=query.dtype, device=query.device)
    _join_parts[(num_rows * heads,)](
        out, mixed, peaks, sums, WIDTH_V=width_v, COLUMNS_V=columns_v, PARTS=parts, num_warps=1
    )
    return out


def parts_for(programs: int) -> int:
    """Into how many parts each sequence is cut, a power of 2, where whole ones would be `programs` programs.

    Ours: by the number of sequences alone: a recorded launch cannot follow their lengths.
    """
    return min(MOST_PARTS, triton.next_power_of_2(max(1, PROGRAMS // programs)))


def _in_rows(tensor: Float[Tensor, "n H D"]) -> Float[Tensor, "n H D"]:
    """With every row in one piece."""
    return tensor if tensor.stride(2) == 1 and tensor.stride(1) == tensor.shape[2] else tensor.contiguous()
