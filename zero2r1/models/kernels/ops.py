"""The compiled functions as functions of tensors. Shapes and dtypes are checked here; the C++ side checks nothing.

Tensors are on the CPU, float32 or bfloat16 (one dtype per call), and contiguous unless said. Each function works row
by row with `torch.get_num_threads()` threads, and its result does not depend on their number.

What it does not do: record anything for autograd: the gradients are functions of their own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from zero2r1.models.fetch import cache_folder
from zero2r1.models.kernels import build
from zero2r1.models.kernels.arguments import COUNT, LANES, NAMES, REAL, TENSOR, THREADS, at, check, threads_for, typed
from zero2r1.models.kernels.attention import AttentionKernels
from zero2r1.models.kernels.head import HeadKernels
from zero2r1.models.kernels.products import ProductKernels

__all__ = ["BAND", "LANES", "Kernels", "local_kernels"]

BAND = 64
"""Rows whose share of a weight's gradient is summed in one piece, as in kernels.cpp."""
_STREAMS = {**{(dtype, dtype): name for dtype, name in NAMES.items()}, (torch.float32, torch.bfloat16): "mixed"}
"""By the dtype of the residual stream and that of the weights."""


class Kernels:
    """The loaded library."""

    device_type = "cpu"
    """Where tensors are."""

    def __init__(self, folder: Path) -> None:
        """
        Args:
            folder: where the compiled library is kept.

        Raises:
            NoKernelsError: it cannot be had on this machine.
        """
        library = build.load(build.library(folder))
        norms: dict[str, Sequence[Any]] = {
            "rms_norm": [TENSOR] * 4 + [COUNT] * 2 + [REAL, THREADS],
            "rms_norm_backward": [TENSOR] * 6 + [COUNT] * 2 + [REAL, THREADS],
            "sum": [TENSOR] * 3 + [COUNT] * 2 + [THREADS],
        }
        others: dict[str, Sequence[Any]] = {
            "silu_mul": [TENSOR] * 3 + [COUNT] * 3 + [THREADS],
            "silu_mul_backward": [TENSOR] * 7 + [COUNT] * 3 + [THREADS],
            "rotate": [TENSOR] * 5 + [COUNT] * 4 + [REAL, THREADS],
        }
        self.attention = AttentionKernels(library)
        self.products = ProductKernels(library)
        self.head = HeadKernels(library, self.products)
        """From hidden states to tokens and their log-probabilities."""
        self._functions = typed(library, norms, _STREAMS) | typed(library, others)
        self._gather = library.gather
        self._gather.argtypes, self._gather.restype = [TENSOR] * 3 + [COUNT] * 2 + [THREADS], None

    def rms_norm(
        self, x: Float[Tensor, "n E"], delta: Float[Tensor, "n E"] | None, weight: Float[Tensor, " E"], *, eps: float
    ) -> Float[Tensor, "n E"]:
        """x += delta in place (where there is one); returns x / sqrt(mean(x^2) + eps) * weight. E: multiple of 16.

        x may be float32 where all else is bfloat16.
        """
        check(x, *([] if delta is None else [delta]), weight)
        rows, width = x.shape
        out = torch.empty_like(x, dtype=weight.dtype)
        run = self._functions["rms_norm", (x.dtype, weight.dtype)]
        run(at(out), at(x), at(delta), at(weight), rows, width, eps, threads_for(rows))
        return out

    def summed(self, x: Float[Tensor, "n E"], delta: Float[Tensor, "n E"]) -> Float[Tensor, "n E"]:
        """x + delta, which may be bfloat16 where x is float32. E: multiple of 16."""
        check(x, delta)
        rows, width = x.shape
        out = torch.empty_like(x)
        self._functions["sum", (x.dtype, delta.dtype)](at(out), at(x), at(delta), rows, width, threads_for(rows))
        return out

    def rms_norm_backward(
        self,
        gradient: Float[Tensor, "n E"],
        x: Float[Tensor, "n E"],
        weight: Float[Tensor, " E"],
        *,
        eps: float,
        beside: Float[Tensor, "n E"] | None = None,
    ) -> tuple[Float[Tensor, "n E"], Float32[Tensor, " E"]]:
        """The gradients of `rms_norm` (without a delta): of x in its dtype, of the weight in float32.

        `beside`, of x's dtype, is added to the first.
        """
        check(gradient, x, weight, *([] if beside is None else [beside]))
        rows, width = x.shape
        dx, dweight = torch.empty_like(x), torch.empty(-(-rows // BAND), width)
        run = self._functions["rms_norm_backward", (x.dtype, weight.dtype)]
        run(
            at(dx), at(dweight), at(gradient), at(x), at(weight), at(beside), rows, width, eps,
            threads_for(rows // BAND),
        )  # fmt: skip
        return dx, dweight.sum(0)

    def silu_mul(self, gate: Float[Tensor, "n F"], up: Float[Tensor, "n F"]) -> Float[Tensor, "n F"]:
        """silu(gate) * up. F: multiple of 16; rows of both are in one piece and equally far apart."""
        rows, width = gate.shape
        assert gate.stride() == up.stride() and gate.stride(1) == 1 and width % LANES == 0  # noqa: PT018
        out = gate.new_empty(rows, width)
        self._functions["silu_mul", gate.dtype](
            at(out), at(gate), at(up), gate.stride(0), rows, width, threads_for(rows)
        )
        return out

    def silu_mul_backward(
        self,
        gradient: Float[Tensor, "n F"],
        gate: Float[Tensor, "r F"],
        up: Float[Tensor, "r F"],
        *,
        index: Int64[Tensor, " n"] | None = None,
    ) -> tuple[Float[Tensor, "n F"], Float[Tensor, "n F"], Float[Tensor, "n F"]]:
        """`silu_mul` once more, and its gradients with respect to gate and up, which lie as there.

        Args:
            index: which rows of gate and up these are, of more; None: they are as many.
        """
        check(gradient, *([] if index is None else [index]))
        rows, width = gradient.shape
        assert gate.stride() == up.stride() and gate.stride(1) == 1 and width % LANES == 0  # noqa: PT018
        assert gate.shape[1] == width and rows == len(gate if index is None else index)  # noqa: PT018
        out, dgate, dup = (gate.new_empty(rows, width) for _ in range(3))
        run = self._functions["silu_mul_backward", gate.dtype]
        run(
            at(out), at(dgate), at(dup), at(gradient), at(gate), at(up), at(index), gate.stride(0), rows, width,
            threads_for(rows),
        )  # fmt: skip
        return out, dgate, dup

    def gather(self, source: Float[Tensor, "r E"], rows: Int64[Tensor, " n"]) -> Float[Tensor, "n E"]:
        """source[rows]: torch's own takes four microseconds a row on a CPU, whatever its width."""
        check(source, rows)
        out = source.new_empty(len(rows), source.shape[1])
        size = source.shape[1] * source.element_size()
        self._gather(at(out), at(source), at(rows), len(rows), size, threads_for(len(rows)))
        return out

    def rotate(
        self,
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
        """Rotary positions on the queries and keys of rows [queries | keys | values], in place; D: multiple of 16.

        With norm weights each head is normed first (Qwen3).

        Source: RoFormer (arXiv 2104.09864), equation 34, with the halves of a head as the pairs.
        """
        norms = [norm for norm in (query_norm, key_norm) if norm is not None]
        check(qkv, cosines, sines, *norms)
        rows, width = cosines.shape
        assert width % LANES == 0
        assert qkv.shape == (rows, (heads + 2 * kv_heads) * width)
        run = self._functions["rotate", qkv.dtype]
        run(
            at(qkv), at(cosines), at(sines), at(query_norm), at(key_norm),
            rows, heads, kv_heads, width, eps, threads_for(rows),
        )  # fmt: skip


def local_kernels() -> Kernels:
    """The kernels of this machine, compiled into the cache folder at the first call, which takes about seven seconds.

    Raises:
        NoKernelsError: they cannot be had here.
    """
    return Kernels(cache_folder() / "kernels")
