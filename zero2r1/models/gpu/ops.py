"""The functions of this folder as one object, with the surface of `kernels.ops.Kernels`.

Triton is imported when they are asked for. It comes with torch for CUDA and compiles each function for the device at
its first call, a few seconds in all, which it keeps in a cache folder of its own.

What it does not do: products and attention, which are the library's (cuBLAS; `models.varlen`).
"""

import subprocess
from types import ModuleType

import torch
from torch import Tensor

from zero2r1.models.kernels.build import NoKernelsError
from zero2r1.models.kernels.products import Packed


class LibraryProducts:
    """No products of its own: the caller uses the library's."""

    dtypes: frozenset[torch.dtype] = frozenset()
    gradients = None

    def takes(self, weight: Tensor) -> bool:
        """Never."""
        return False

    def pack(self, weight: Tensor) -> Packed:
        raise AssertionError("products on a GPU are the library's")

    def product(self, x: Tensor, packed: Packed, bias: Tensor | None = None, *, out: Tensor | None = None) -> Tensor:
        raise AssertionError("products on a GPU are the library's")


class GpuHead:
    """See `kernels.head.HeadKernels`."""

    def __init__(self, logits: ModuleType) -> None:
        self.products = LibraryProducts()
        self.read_logits = logits.read_logits
        self.draw = logits.draw


class GpuKernels:
    """See `kernels.ops.Kernels`."""

    attention = None

    def __init__(self, layers: ModuleType, logits: ModuleType, *, device_type: str = "cuda") -> None:
        """
        Args:
            layers, logits: the modules of this folder.
            device_type: where the tensors are; `cpu` under Triton's interpreter.
        """
        self.device_type = device_type
        self.head = GpuHead(logits)
        self.products = self.head.products
        self.rms_norm, self.rms_norm_backward = layers.rms_norm, layers.rms_norm_backward
        self.summed = torch.add
        self.silu_mul, self.silu_mul_backward = layers.silu_mul, layers.silu_mul_backward
        self.rotate = layers.rotate


def gpu_kernels() -> GpuKernels:
    """The kernels of the GPU in use.

    Raises:
        NoKernelsError: without Triton, or where it does not get a function compiled (it wants a C compiler).
    """
    try:
        from zero2r1.models.gpu import layers, logits
    except ImportError as problem:
        raise NoKernelsError(f"Triton cannot be imported: {problem}") from problem
    if torch.cuda.is_available():
        numbers = torch.zeros(1, 16, device="cuda")
        try:
            layers.silu_mul(numbers, numbers)
        except (RuntimeError, OSError, AssertionError, subprocess.SubprocessError) as problem:
            raise NoKernelsError(f"Triton compiles nothing here: {problem}") from problem
    return GpuKernels(layers, logits)
