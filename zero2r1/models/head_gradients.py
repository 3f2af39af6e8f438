"""The gradients of the product that makes logits, summed over pieces of its rows.

What it does not do: the gradient by the logits (`logprobs`).
"""

import torch
from torch import Tensor

ADDED_ROWS = 2**13
"""Ours: rows of a bfloat16 product that are added in float32 at a time. All 49,152 of a vocabulary at once need new
memory for the product and for its float32 copy in each chunk, which took a third longer."""


class HeadGradients:
    """Of hidden states, weight and bias, as far as they are wanted."""

    def __init__(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, factor: Tensor, wanted: tuple[bool, ...]
    ) -> None:
        self._hidden, self._weight, self._factor = hidden, weight, factor
        self._factors = weight.to(hidden.dtype)
        needs_hidden, self._needs_weight, needs_bias = wanted
        self._of_hidden = torch.empty_like(hidden) if needs_hidden else None
        self._of_weight: Tensor | None = None
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        self._of_bias = torch.zeros_like(bias, dtype=dtype) if needs_bias and bias is not None else None

    def add_bias(self, piece: slice, away: Tensor) -> None:
        """The bias's share of some rows of (p - onehot) * slope, before they are rounded."""
        if self._of_bias is not None:
            self._of_bias.addmv_(away.t(), self._factor[piece, 0])

    def add(self, chunk: slice, away: Tensor) -> None:
        """The others' shares; `away` has the dtype of the hidden states."""
        if self._of_hidden is not None:
            self._of_hidden[chunk] = (away @ self._factors).mul_(self._factor[chunk])
        if self._needs_weight:
            pull = (self._hidden[chunk] * self._factor[chunk]).to(self._hidden.dtype)
            is_only = len(away) == len(self._hidden)
            self._of_weight = _plus_product(self._of_weight, away.t(), pull, is_only=is_only)

    def found(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """In the dtypes of what they are gradients of."""
        weight, bias = self._of_weight, self._of_bias
        if self._needs_weight and weight is None:
            weight = torch.zeros_like(self._weight)
        return (
            self._of_hidden,
            None if weight is None else weight.to(self._weight.dtype),
            None if bias is None else bias.to(self._weight.dtype),
        )


def _plus_product(total: Tensor | None, left: Tensor, right: Tensor, *, is_only: bool) -> Tensor:
    """total + left right, in place; summed in float32 also where the factors are bfloat16 and there are several."""
    if total is None:
        product = left @ right
        return product if is_only else product.to(torch.promote_types(product.dtype, torch.float32))
    if left.dtype == total.dtype:
        return total.addmm_(left, right)
    for some, rows in zip(total.split(ADDED_ROWS), left.split(ADDED_ROWS), strict=True):
        some.add_(rows @ right)
    return total
