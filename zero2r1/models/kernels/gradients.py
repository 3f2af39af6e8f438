"""The products of a backward pass in bfloat16: gradient times weight, and a gradient's transpose times an input.

They read rows that are picked out of a larger matrix (a recording) where they lie, without a copy of them. Each result
is one sum over its terms in their order, in float32, rounded once, whatever the number of threads.

Tensors are bfloat16 and on the CPU.

What it does not do: float32, for which the library's products are as good; processors without AVX512-BF16 or with tiles
(AMX), as in `products`.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from zero2r1.models.kernels.arguments import COUNT, LANES, NAMES, TENSOR, THREADS, at, check, typed, work_threads

BLOCK_ROWS, TERMS = 96, 2048
"""As in gradients.h: results that a thread works on at a time, and terms of a sum."""


class Picked(NamedTuple):
    """Rows of a matrix in the order of an index."""

    numbers: Float[Tensor, "r W"]
    index: Int64[Tensor, " n"]


class PackedRows(NamedTuple):
    """A matrix laid out as a second factor whose rows are summed over."""

    panels: Float[Tensor, "panels pairs 16 2"]
    """Sixteen columns a panel, two rows a step."""
    rows: int


class GradientKernels:
    """Part of the loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        shapes: dict[str, Sequence[Any]] = {
            "pack_rows": [TENSOR] * 2 + [COUNT] * 2 + [THREADS],
            "multiply_back": [TENSOR] * 3 + [COUNT, TENSOR] + [COUNT] * 3 + [THREADS, TENSOR, THREADS],
            "multiply_outer": [TENSOR] * 3 + [COUNT, TENSOR] + [COUNT] * 3 + [TENSOR, THREADS],
        }
        functions = typed(library, shapes, {torch.bfloat16: NAMES[torch.bfloat16]})
        self._pack_rows, self._back, self._outer = (functions[name, torch.bfloat16] for name in shapes)

    def takes(self, *factors: Tensor) -> bool:
        """Whether these can be factors: bfloat16, whole sixteens of columns."""
        return all(factor.dtype == torch.bfloat16 and factor.shape[1] % LANES == 0 for factor in factors)

    def pack(self, matrix: Float[Tensor, "n W"]) -> PackedRows:
        """Lays out a matrix of whole sixteens of columns. Takes as much memory again."""
        matrix = matrix.detach().contiguous()
        check(matrix)
        rows, width = matrix.shape
        assert width % LANES == 0
        panels = matrix.new_empty(width // LANES, -(-rows // 2), LANES, 2)
        self._pack_rows(at(panels), at(matrix), rows, width, work_threads(matrix.numel()))
        return PackedRows(panels, rows)

    def back(
        self,
        gradient: Float[Tensor, "n O"] | Picked,
        weight: PackedRows,
        *,
        out: Float[Tensor, "n I"] | None = None,
    ) -> Float[Tensor, "n I"]:
        """gradient weight, for a weight [O, I].

        Args:
            out: what is added to, in place; None: a new tensor.
        """
        numbers, index, count = _rows_of(gradient)
        outputs, columns = weight.rows, len(weight.panels) * LANES
        assert numbers.shape[1] == outputs and outputs % LANES == 0  # noqa: PT018
        found = numbers.new_empty(count, columns) if out is None else out
        check(found)
        threads = work_threads(count * outputs * columns)
        scratch = _scratch(columns, threads)
        self._back(
            at(found), at(numbers), at(index), numbers.stride(0), at(weight.panels), count, columns, outputs,
            int(out is not None), at(scratch), threads,
        )  # fmt: skip
        return found

    def outer(self, gradient: Float[Tensor, "n O"] | Picked, x: PackedRows) -> Float[Tensor, "O I"]:
        """gradient^T x, for x [n, I]."""
        numbers, index, count = _rows_of(gradient)
        outputs, columns = numbers.shape[1], len(x.panels) * LANES
        assert count == x.rows and outputs % LANES == 0  # noqa: PT018
        found = numbers.new_empty(outputs, columns)
        threads = work_threads(count * outputs * columns)
        scratch = _scratch(columns, threads)
        self._outer(
            at(found), at(numbers), at(index), numbers.stride(0), at(x.panels), outputs, columns, count,
            at(scratch), threads,
        )  # fmt: skip
        return found


def _rows_of(gradient: Tensor | Picked) -> tuple[Tensor, Tensor | None, int]:
    """The matrix, which of its rows, and how many."""
    numbers, index = gradient if isinstance(gradient, Picked) else (gradient, None)
    if numbers.stride(1) != 1:
        numbers = numbers.contiguous()
    check(*([] if index is None else [index]))
    assert numbers.dtype == torch.bfloat16
    return numbers, index, len(numbers) if index is None else len(index)


def _scratch(columns: int, threads: int) -> Tensor:
    """For each thread a block of the first factor and its sums."""
    return torch.empty(threads, BLOCK_ROWS * (TERMS + columns))
