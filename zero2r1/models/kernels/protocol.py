"""What networks ask of kernels, whatever they are written in: C++ for a CPU (`ops`), Triton for a GPU (`gpu.ops`).

What each function computes, its docstring in `ops` and `head` says. Tensors are on the kernels' device, float32 or
bfloat16, and contiguous unless said.
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from zero2r1.models.kernels.attention import AttentionKernels
from zero2r1.models.kernels.gradients import GradientKernels
from zero2r1.models.kernels.products import Packed


@runtime_checkable
class AnyProducts(Protocol):
    """Products that give a row the same bits in every batch: see `kernels.products`."""

    @property
    def dtypes(self) -> frozenset[torch.dtype]:
        """Of the factors; none where products are the library's."""
        ...

    @property
    def gradients(self) -> GradientKernels | None:
        """In bfloat16; None where they are the library's."""
        ...

    def takes(self, weight: Tensor) -> bool: ...

    def pack(self, weight: Tensor) -> Packed: ...

    def product(
        self, x: Tensor, packed: Packed, bias: Tensor | None = None, *, out: Tensor | None = None
    ) -> Tensor: ...


@runtime_checkable
class AnyHead(Protocol):
    """Between hidden states and tokens: see `kernels.head`."""

    @property
    def products(self) -> AnyProducts: ...

    def read_logits(
        self, logits: Tensor, targets: Tensor, slope: Tensor | None = None, *, inverse: float
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def draw(self, logits: Tensor, uniforms: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]: ...


@runtime_checkable
class AnyKernels(Protocol):
    """The steps of a layer, and what goes with them: see `kernels.ops`."""

    @property
    def device_type(self) -> str:
        """Where their tensors are: `cpu` or `cuda`."""
        ...

    @property
    def attention(self) -> AttentionKernels | None:
        """None where a context attends by the library."""
        ...

    @property
    def products(self) -> AnyProducts: ...

    @property
    def head(self) -> AnyHead: ...

    def rms_norm(self, x: Tensor, delta: Tensor | None, weight: Tensor, *, eps: float) -> Tensor: ...

    def rms_norm_backward(
        self, gradient: Tensor, x: Tensor, weight: Tensor, *, eps: float, beside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]: ...

    def summed(self, x: Tensor, delta: Tensor) -> Tensor: ...

    def silu_mul(self, gate: Tensor, up: Tensor) -> Tensor: ...

    def silu_mul_backward(
        self, gradient: Tensor, gate: Tensor, up: Tensor, *, index: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`index` is for kernels whose sampling is recorded, a CPU's."""
        ...

    def rotate(
        self,
        qkv: Tensor,
        cosines: Tensor,
        sines: Tensor,
        *,
        heads: int,
        kv_heads: int,
        query_norm: Tensor | None = None,
        key_norm: Tensor | None = None,
        eps: float = 0.0,
    ) -> None: ...
