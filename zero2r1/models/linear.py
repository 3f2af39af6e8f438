"""Projections whose results do not depend on the batch, and the products of their gradients.

The sampler multiplies with the same kernels, so both get the same bits (`models.kernels.products`). Gradients are the
kernels' in bfloat16 and the library's in float32. Where kernels have no products (a GPU's), all are the library's.

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


def rows_of(tensor: Float[Tensor, "*rows E"]) -> Float[Tensor, "n E"]:
    """As the kernels take it: one row below the other, contiguous."""
    return tensor.reshape(-1, tensor.shape[-1]).contiguous()


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
        ctx.products = products
        if known is not None:
            return known
        return tuple(product(x, weight, products, bias) for weight, bias in zip(weights, biases, strict=True))

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors
        needs_x, _, _, *needs = ctx.needs_input_grad
        needs_weight, needs_bias = needs[: len(weights)], needs[len(weights) :]
        wanted = [one if need else None for one, need in zip(gradients, needs_weight, strict=True)]
        return (
            back(gradients, weights, ctx.products) if needs_x else None,
            None,
            None,
            *outer(wanted, x, ctx.products),
            *(one.sum(0) if need else None for one, need in zip(gradients, needs_bias, strict=True)),
        )


def back(
    gradients: Sequence[Float[Tensor, "n _"]], weights: Sequence[Float[Tensor, "_ I"]], products: AnyProducts
) -> Float[Tensor, "n I"]:
    """The sum over projections of gradient weight: the gradient by what they all read.

    Source: Ours: the definition; the sum is one tensor, to which a product at a time is added.
    """
    kernels = products.gradients
    if kernels is not None and kernels.takes(*gradients, *weights):
        found: Tensor | None = None
        for gradient, weight in zip(gradients, weights, strict=True):
            found = kernels.back(gradient, kernels.pack(weight), out=found)
        assert found is not None
        return found
    total = gradients[0] @ weights[0]
    for gradient, weight in zip(gradients[1:], weights[1:], strict=True):
        total.addmm_(gradient, weight)
    return total


def outer(
    gradients: Sequence[Float[Tensor, "n _"] | None], x: Float[Tensor, "n I"], products: AnyProducts
) -> list[Float[Tensor, "_ I"] | None]:
    """gradient^T x for each of the gradients: those by the weights of projections that read x.

    Source: Ours: the definition.
    """
    kernels = products.gradients
    wanted = [gradient for gradient in gradients if gradient is not None]
    if not wanted or kernels is None or not kernels.takes(x, *wanted):
        return [None if gradient is None else _turned_product(gradient, x) for gradient in gradients]
    packed = kernels.pack(x)
    return [None if gradient is None else kernels.outer(gradient, packed) for gradient in gradients]


def _turned_product(left: Float[Tensor, "N A"], right: Float[Tensor, "N B"]) -> Float[Tensor, "A B"]:
    """left^T right by the library.

    Ours: with tiles (AMX) oneDNN reads a transposed bfloat16 matrix so slowly that turning the narrower one first pays.
    """
    if left.dtype != torch.bfloat16 or left.device.type != "cpu" or not cpu_has_tiles():
        return left.t() @ right
    if left.shape[1] > right.shape[1]:
        return _turned_product(right, left).t().contiguous()
    turned = left.new_empty(left.shape[1], left.shape[0])
    for start in range(0, len(left), TURNED_ROWS):
        turned[:, start : start + TURNED_ROWS] = left[start : start + TURNED_ROWS].t()
    return turned @ right
