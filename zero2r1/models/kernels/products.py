"""Matrix products in which a row's result depends on that row alone: the same token gets the same bits in every batch.

A library picks its order of summation by the shape of the whole product. So one token at a time (a sampler) and
thousands at once (a learner) round differently, and so do two batches of a sampler. Here every result is one sum over
the inputs in their order.

Tensors are as in `ops`. float32 on every processor; bfloat16, summed in float32, on those that multiply it in vectors
(AVX512-BF16) and have no tiles for it (AMX): oneDNN uses tiles, and is several times as quick there.

Gradients in bfloat16 are in `gradients`; in float32 they are the library's.
"""

import ctypes
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zero2r1.models.kernels.arguments import COUNT, LANES, NAMES, TENSOR, THREADS, at, check, typed, work_threads
from zero2r1.models.kernels.gradients import GradientKernels
from zero2r1.models.precision import cpu_has_tiles


class Packed(NamedTuple):
    """A weight [outputs, inputs] laid out for `ProductKernels.product`."""

    panels: Float[Tensor, "panels steps 16 inputs_per_step"]
    """Sixteen outputs a panel; one input a step, two in bfloat16."""
    outputs: int


class ProductKernels:
    """Part of the loaded library."""

    def __init__(self, library: ctypes.CDLL) -> None:
        library.has_bfloat16_products.restype = ctypes.c_int
        has_bfloat16 = bool(library.has_bfloat16_products()) and not cpu_has_tiles()
        self.dtypes = frozenset({torch.float32, torch.bfloat16} if has_bfloat16 else {torch.float32})
        """Of the factors."""
        self.gradients = GradientKernels(library) if has_bfloat16 else None
        """In bfloat16; None where they are the library's."""
        names = {dtype: NAMES[dtype] for dtype in self.dtypes}
        pairs = {(dtype, to): f"{own}_{NAMES[to]}" for dtype, own in names.items() for to in {dtype, torch.float32}}
        self._functions = typed(library, {"pack": [TENSOR, TENSOR, COUNT, COUNT, THREADS]}, names)
        self._functions |= typed(library, {"product": [TENSOR] * 4 + [COUNT] * 3 + [THREADS]}, pairs)

    def takes(self, weight: Tensor) -> bool:
        """Whether `pack` takes this weight: of a known dtype, with an even number of inputs in bfloat16."""
        return weight.dtype in self.dtypes and (weight.dtype == torch.float32 or weight.shape[1] % 2 == 0)

    def pack(self, weight: Float[Tensor, "outputs inputs"]) -> Packed:
        """Lays out a weight that it `takes`. Takes as much memory again."""
        assert self.takes(weight)
        weight = weight.detach().contiguous()
        outputs, inputs = weight.shape
        step = 2 if weight.dtype == torch.bfloat16 else 1
        panels = weight.new_empty(-(-outputs // LANES), inputs // step, LANES, step)
        self._functions["pack", weight.dtype](at(panels), at(weight), outputs, inputs, work_threads(weight.numel()))
        return Packed(panels, outputs)

    def product(
        self,
        x: Float[Tensor, "n inputs"],
        packed: Packed,
        bias: Float[Tensor, " outputs"] | None = None,
        *,
        out: Float[Tensor, "n outputs"] | None = None,
    ) -> Float[Tensor, "n outputs"]:
        """x weight^T + bias, summed in float32 and rounded once.

        Args:
            x: of the weight's dtype.
            bias: of the same.
            out: takes the result, in its dtype: that of the factors, or float32. None: a new one of the first kind.
        """
        panels, outputs = packed
        rows, inputs = x.shape
        assert panels.shape[1] * panels.shape[3] == inputs and x.dtype == panels.dtype  # noqa: PT018
        assert bias is None or (bias.dtype, len(bias)) == (x.dtype, outputs)
        if out is None:
            out = x.new_empty(rows, outputs)
        check(x, panels, out, *([] if bias is None else [bias]))
        assert out.shape == (rows, outputs)
        self._functions["product", (x.dtype, out.dtype)](
            at(out), at(x), at(panels), at(bias), rows, outputs, inputs, work_threads(rows * outputs * inputs)
        )
        return out
