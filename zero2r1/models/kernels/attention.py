"""The compiled attention: of one new token a sequence over cached pages, and of whole sequences with their gradients.

Tensors are as in `ops`. Both compute each query in the same order, so a token gets the same bits from both.

What it does not do: scores with caps, sinks or windows.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float32, Int, Int32, Int64
from torch import Tensor

from zero2r1.models.kernels.arguments import COUNT, LANES, NAMES, REAL, TENSOR, THREADS, at, check, threads_for, typed

PART_TOKENS, MOST_PARTS = 1024, 8
"""Ours: a longer sequence is cut into at most so many parts of at least so many queries, so that several threads share
its backward pass. Each part keeps a gradient of the keys before it, 3.5 times the sequence's in all."""


class Sequences(NamedTuple):
    """Where the tokens of some sequences lie, as the kernels read it: see `sequences_of`."""

    table: Int64[Tensor, "parts 5"]
    """For each part of a sequence: address of its places, where it ends, where it begins, shift, row of its copies."""
    places: Int64[Tensor, " _"]
    longest: int
    num_copies: int
    """Tokens before all the parts: a part has a gradient of its own by their keys and values, before they are added."""


def sequences_of(
    places: Sequence[Int[Tensor, " _"]], firsts: Sequence[int], *, num_rows: int, shift: int = 0
) -> Sequences:
    """
    Args:
        places: for each sequence, in which rows of keys and values its tokens are.
        firsts: for each, how many of its first tokens are another one's: it asks for no results of those.
        num_rows: rows of keys and values.
        shift: the query of a token is so many rows before its key.
    """
    together = torch.cat([one.long() for one in places]).cpu().contiguous()
    table, address, copies = [], together.data_ptr(), 0
    for one, first in zip(places, firsts, strict=True):
        size = max(PART_TOKENS, -(-len(one) // MOST_PARTS))
        for start in reversed(range(0, len(one), size)):  # the longest rows of scores first
            stop, own = min(start + size, len(one)), max(start, first)
            if own < stop:
                table.append((address, stop, own, shift, num_rows + copies))
                copies += own
        address += 8 * len(one)
    return Sequences(torch.tensor(table), together, max(map(len, places)), copies)


class _Shape(ctypes.Structure):
    """As `Shape` in packed.h."""

    _fields_ = [(name, COUNT) for name in (
        "heads", "kv_heads", "width", "value_width", "query_stride", "key_stride", "value_stride", "room"
    )] + [("scale", REAL)]  # fmt: skip


class AttentionKernels:
    """Part of the loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        shape = ctypes.POINTER(_Shape)
        shapes: dict[str, Sequence[Any]] = {
            "put": [TENSOR] * 4 + [COUNT] * 2 + [TENSOR, COUNT, TENSOR] + [COUNT] * 4 + [THREADS],
            "attend": [TENSOR, TENSOR, COUNT, REAL, TENSOR, TENSOR, TENSOR, COUNT, TENSOR]
            + [COUNT] * 5
            + [TENSOR, COUNT, THREADS],
            "attend_packed": [TENSOR] * 5 + [COUNT, shape, TENSOR, THREADS],
            "attend_packed_backward": [TENSOR] * 8 + [COUNT, shape, TENSOR, THREADS],
        }
        self._functions = typed(library, shapes)

    def takes(self, query: Tensor, value: Tensor) -> bool:
        """Whether tensors like these [n, heads, width] can be attended: dtype, device and widths are known."""
        is_wide = query.shape[2] % LANES == 0 and value.shape[2] % LANES == 0
        return is_wide and query.dtype in NAMES and query.device.type == "cpu"

    def put(
        self,
        keys: Float[Tensor, "P H_kv D 16"],
        values: Float[Tensor, "P H_kv 16 D_v"],
        key: Float[Tensor, "n H_kv D"],
        value: Float[Tensor, "n H_kv D_v"],
        tables: Int32[Tensor, "n B"],
        positions: Int32[Tensor, " n"],
    ) -> None:
        """Writes the keys and values of one token a row to place `positions[row]` of the row's pages.

        Args:
            key, value: contiguous within a row.
            tables: by row, the numbers of its pages in order.
        """
        check(keys, values)
        rows, kv_heads, width = key.shape
        run = self._functions["put", keys.dtype]
        key, value = _in_rows(key), _in_rows(value)
        run(
            at(keys), at(values), at(key), at(value), key.stride(0), value.stride(0),
            at(tables), tables.stride(0), at(positions), rows, kv_heads, width, value.shape[2], threads_for(rows),
        )  # fmt: skip

    def attend(
        self,
        query: Float[Tensor, "n H D"],
        keys: Float[Tensor, "P H_kv D 16"],
        values: Float[Tensor, "P H_kv 16 D_v"],
        tables: Int32[Tensor, "n B"],
        lengths: Int32[Tensor, " n"],
        *,
        scaling: float,
        longest: int,
    ) -> Float[Tensor, "n H D_v"]:
        """softmax(scaling * q K^T) V of one query a row over the first `lengths[row]` tokens of its pages.

        Args:
            query: contiguous within a row.
            lengths: at least 1.
            longest: at least their maximum.
        """
        check(keys, values)
        rows, heads, width = query.shape
        kv_heads, value_width = values.shape[1], values.shape[3]
        assert value_width % LANES == 0
        out = query.new_empty(rows, heads, value_width)
        room = -(-longest // LANES) * LANES
        threads = min(rows, threads_for(rows * room // LANES))  # a page is work for a thread as a row is elsewhere
        scratch = torch.empty(threads, heads * (room + width + value_width))
        run, query = self._functions["attend", query.dtype], _in_rows(query)
        run(
            at(out), at(query), query.stride(0), scaling, at(keys), at(values), at(tables),
            tables.stride(0), at(lengths), rows, heads, kv_heads, width, value_width, at(scratch), room, threads,
        )  # fmt: skip
        return out

    def attend_packed(
        self,
        query: Float[Tensor, "n H D"],
        key: Float[Tensor, "T H_kv D"],
        value: Float[Tensor, "T H_kv D_v"],
        sequences: Sequences,
        *,
        scaling: float,
    ) -> Float[Tensor, "n H D_v"]:
        """softmax(scaling * q K^T) V of each token over its sequence up to and with itself.

        Args:
            query, key, value: of one dtype; D and D_v are multiples of 16.
        """
        query, key, value = _in_rows(query), _in_rows(key), _in_rows(value)
        shape = _shape(query, key, value, sequences, scaling)
        out = query.new_empty(*query.shape[:2], shape.value_width)
        threads, most = threads_for(len(query)), LANES * shape.heads // shape.kv_heads
        room, widths = shape.room, shape.width + shape.value_width
        scratch = torch.empty(threads, (room + most) * widths + most * room)
        self._functions["attend_packed", query.dtype](
            at(out), at(query), at(key), at(value), at(sequences.table), len(sequences.table), shape, at(scratch),
            threads,
        )  # fmt: skip
        return out

    def attend_packed_backward(
        self,
        gradient: Float[Tensor, "T H D_v"],
        query: Float[Tensor, "T H D"],
        key: Float[Tensor, "T H_kv D"],
        value: Float[Tensor, "T H_kv D_v"],
        sequences: Sequences,
        *,
        scaling: float,
    ) -> tuple[Float[Tensor, "T H D"], Float32[Tensor, "T H_kv D"], Float32[Tensor, "T H_kv D_v"]]:
        """The gradients by query, key and value; sequences without a shift."""
        check(gradient)
        query, key, value = _in_rows(query), _in_rows(key), _in_rows(value)
        shape = _shape(query, key, value, sequences, scaling)
        rows, kv_heads = len(key) + sequences.num_copies, shape.kv_heads
        by_query = torch.empty(query.shape, dtype=query.dtype)
        by_key, by_value = torch.empty(rows, kv_heads, shape.width), torch.empty(rows, kv_heads, shape.value_width)
        threads, most = threads_for(len(query)), LANES * shape.heads // kv_heads
        each = shape.room * (3 * shape.width + 2 * shape.value_width)
        each += most * (2 * shape.room + 2 * shape.width + shape.value_width)
        scratch = torch.empty(threads, each)
        self._functions["attend_packed_backward", query.dtype](
            at(by_query), at(by_key), at(by_value), at(gradient), at(query), at(key), at(value), at(sequences.table),
            len(sequences.table), shape, at(scratch), threads,
        )  # fmt: skip
        return by_query, by_key[: len(key)], by_value[: len(key)]


def _in_rows(tensor: Float[Tensor, "n H D"]) -> Float[Tensor, "n H D"]:
    """With every row in one piece."""
    return tensor if tensor.stride(2) == 1 and tensor.stride(1) == tensor.shape[2] else tensor.contiguous()


def _shape(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scaling: float) -> _Shape:
    _, heads, width = query.shape
    kv_heads, value_width = value.shape[1:]
    assert query.dtype == key.dtype == value.dtype
    assert heads % kv_heads == 0 and width % LANES == 0 and value_width % LANES == 0  # noqa: PT018
    return _Shape(
        heads, kv_heads, width, value_width, query.stride(0), key.stride(0), value.stride(0),
        -(-sequences.longest // LANES) * LANES, scaling,
    )  # fmt: skip
