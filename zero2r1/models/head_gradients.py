"""The gradients of the product that makes logits, summed over pieces of its rows.

What it does not do: the gradient by the logits (`logprobs`).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zero2r1.models.kernels.arguments import LANES
from zero2r1.models.kernels.gradients import GradientKernels, Picked

ADDED_ROWS = 2**13
"""Ours: rows of a bfloat16 product that are added in float32 at a time. All 49,152 of a vocabulary at once need new
memory for the product and for its float32 copy in each chunk, which took a third longer."""


class HeadGradients:
    """Of hidden states, weight and bias, as far as they are wanted."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        factor: Tensor,
        wanted: Sequence[bool],
        kernels: GradientKernels | None = None,
    ) -> None:
        """
        Args:
            factor: [N, 1] of each row.
            wanted: of hidden states, weight and bias.
            kernels: for the products, where they take these factors.
        """
        self._hidden, self._weight, self._factor = hidden, weight, factor
        self._factors = weight.to(hidden.dtype)
        is_theirs = kernels is not None and len(weight) % LANES == 0 and kernels.takes(hidden, self._factors)
        self._kernels = kernels if is_theirs else None
        needs_hidden, self._needs_weight, needs_bias = wanted
        self._of_hidden = torch.empty_like(hidden) if needs_hidden else None
        self._packed = self._kernels.pack(self._factors) if self._kernels is not None and needs_hidden else None
        self._of_weight: Tensor | None = None
        dtype = torch.promote_types(hidden.dtype, torch.float32)
        self._of_bias = torch.zeros_like(bias, dtype=dtype) if needs_bias and bias is not None else None

    @property
    def reads_in_place(self) -> bool:
        """Whether `add` takes picked rows without a copy of them."""
        return self._kernels is not None

    def add_bias(self, piece: slice, away: Tensor) -> None:
        """The bias's share of some rows of (p - onehot) * slope, before they are rounded."""
        if self._of_bias is not None:
            self._of_bias.addmv_(away.t(), self._factor[piece, 0])

    def add(self, chunk: slice, away: Tensor | Picked) -> None:
        """The others' shares; `away` has the dtype of the hidden states."""
        if isinstance(away, Picked) and self._kernels is None:
            away = away.numbers[away.index]
        factor = self._factor[chunk]
        if self._of_hidden is not None:
            self._of_hidden[chunk] = self._back(away).mul_(factor)
        if self._needs_weight:
            pull = (self._hidden[chunk] * factor).to(self._hidden.dtype)
            if isinstance(away, Tensor) and self._of_weight is not None and self._of_weight.dtype == away.dtype:
                self._of_weight.addmm_(away.t(), pull)  # the library's sum, without a product of its own
                return
            self._add_weight(self._outer(away, pull), is_only=len(pull) == len(self._hidden))

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

    def _back(self, away: Tensor | Picked) -> Tensor:
        """away weight."""
        if self._kernels is not None and self._packed is not None:
            return self._kernels.back(away, self._packed)
        assert isinstance(away, Tensor)
        return away @ self._factors

    def _outer(self, away: Tensor | Picked, pull: Tensor) -> Callable[[slice], Tensor]:
        """Rows of away^T pull."""
        kernels = self._kernels
        if kernels is None:
            assert isinstance(away, Tensor)
            return lambda some: away[:, some].t() @ pull
        packed = kernels.pack(pull)
        if isinstance(away, Picked):
            return lambda some: kernels.outer(away._replace(numbers=away.numbers[:, some]), packed)
        return lambda some: kernels.outer(away[:, some], packed)

    def _add_weight(self, product: Callable[[slice], Tensor], *, is_only: bool) -> None:
        """Adds rows of a product; in float32 also where its factors are bfloat16 and there are several products."""
        if is_only:
            self._of_weight = product(slice(None))
            return
        if self._of_weight is None:
            dtype = torch.promote_types(self._hidden.dtype, torch.float32)
            self._of_weight = product(slice(None)).to(dtype)
            return
        for start in range(0, len(self._of_weight), ADDED_ROWS):
            some = slice(start, start + ADDED_ROWS)
            self._of_weight[some].add_(product(some))
