"""Projections whose results do not depend on the batch: forward by the kernels' products, gradients by the library's.

The sampler multiplies with the same kernels, so both get the same bits (`models.kernels.products`). Where kernels have
no products (a GPU's), all of them are the library's.

What it does not do: adapters and hooks: `is_plain` says which layers it is for.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zero2r1.models.kernels.protocol import AnyProducts
from zero2r1.models.precision import cpu_has_tiles

TURNED_ROWS = 64
"""Ours: rows that are transposed at a time; all 2048 of a width of 1536 at once took twice as long."""


def projected(
    x: Float[Tensor, "n I"],
    layers: Sequence[nn.Linear],
    products: AnyProducts,
    *,
    known: tuple[Float[Tensor, "n _"], ...] | None = None,
) -> tuple[Float[Tensor, "n _"], ...]:
    """x W^T + b for each of some layers that read the same input.

    Args:
        x: contiguous, of the layers' dtype.
        layers: `is_plain` ones.
        known: the results, where they have been computed before.

    Source: Ours: the definition; the gradient by x is summed in one tensor.
    """
    found: tuple[Tensor, ...] = _Projected.apply(
        x, products, known, *(layer.weight for layer in layers), *(layer.bias for layer in layers)
    )
    return found


def is_plain(layer: nn.Module) -> bool:
    """Whether this is a linear map and nothing else: without adapters or hooks."""
    return type(layer) is nn.Linear and not (layer._forward_hooks or layer._forward_pre_hooks)


def product(
    x: Float[Tensor, "n I"],
    weight: Float[Tensor, "O I"],
    products: AnyProducts,
    bias: Float[Tensor, " O"] | None = None,
) -> Float[Tensor, "n O"]:
    """x W^T + b, without a gradient; by the library where the kernels do not take the weight."""
    if not products.takes(weight):
        return nn.functional.linear(x, weight, bias)
    return products.product(x, products.pack(weight), bias)


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, products: AnyProducts, known: tuple[Tensor, ...] | None, *parameters: Any
    ) -> tuple[Tensor, ...]:
        weights, biases = parameters[: len(parameters) // 2], parameters[len(parameters) // 2 :]
        ctx.save_for_backward(x, *weights)
        if known is not None:
            return known
        return tuple(product(x, weight, products, bias) for weight, bias in zip(weights, biases, strict=True))

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        needs_x, _, _, *needs = ctx.needs_input_grad
        by_x: Tensor | None = None
        if needs_x:
            by_x = gradients[0] @ weights[0]
            for gradient, weight in zip(gradients[1:], weights[1:], strict=True):
                by_x.addmm_(gradient, weight)
        needs_weight, needs_bias = needs[: len(weights)], needs[len(weights) :]
        return (
            by_x,
            None,
            None,
            *(outer(one, x) if need else None for one, need in zip(gradients, needs_weight, strict=True)),
            *(one.sum(0) if need else None for one, need in zip(gradients, needs_bias, strict=True)),
        )


def outer(left: Float[Tensor, "N A"], right: Float[Tensor, "N B"]) -> Float[Tensor, "A B"]:
    """left^T right.

    Ours: with tiles (AMX) oneDNN reads a transposed bfloat16 matrix so slowly that turning the narrower one first pays.
    """
    if left.dtype != torch.bfloat16 or left.device.type != "cpu" or not cpu_has_tiles():
        return left.t() @ right
    if left.shape[1] > right.shape[1]:
        return outer(right, left).t().contiguous()
    turned = left.new_empty(left.shape[1], left.shape[0])
    for start in range(0, len(left), TURNED_ROWS):
        turned[:, start : start + TURNED_ROWS] = left[start : start + TURNED_ROWS].t()
    return turned @ right
