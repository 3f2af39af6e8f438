"""Rows of a tensor in another order: some left out, some several times, some of zeros; with a gradient that is exact.

What it does not do: find the order. Whoever packs or pads does.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from zero2r1.models.sending import sent


class _Rows(NamedTuple):
    """Which rows of a source are read."""

    rows: Tensor
    reads_zeros: bool
    """True when some entry is the number of the source's rows: it stands for a row of zeros."""


class Gather:
    """output[i] = source[rows[i]]; an entry equal to `num_rows` gives zeros.

    Ours: the gradient of a row is the gradient of where it went, so it is gathered too. A row that was read several
    times gets the sum in float32, in the order of its readings: the general backward of `index_select` adds with
    atomics or in a scalar loop, which takes several times as long, and on a CPU with threads in no fixed order.
    """

    def __init__(self, rows: Int[Tensor, " n"], num_rows: int, device: torch.device | str = "cpu") -> None:
        rows = rows.cpu()
        self._forward = _taken(rows, num_rows, device)
        first, self._again, again = _readings(rows, num_rows)
        self._first = _taken(first, len(rows), device)
        self._again = sent(self._again, device)
        self._others = _taken(again.flatten(), len(rows), device)

    def __call__(self, source: Float[Tensor, "r ..."]) -> Float[Tensor, "n ..."]:
        """The rows, differentiable once."""
        gathered: Tensor = _Gathered.apply(source, self)
        return gathered

    def read(self, source: Tensor) -> Tensor:
        """The rows, without a gradient."""
        return _take(source, self._forward)

    def pulled_back(self, gradient: Tensor) -> Tensor:
        """The gradient by the source, from that by the output."""
        back = _take(gradient, self._first)
        if len(self._again):
            others = _take(gradient, self._others).view(-1, len(self._again), *gradient.shape[1:])
            total = others.sum(0, dtype=torch.promote_types(gradient.dtype, torch.float32)) + back[self._again]
            back[self._again] = total.to(back.dtype)
        return back


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, gather: Gather) -> Tensor:
        ctx.gather = gather
        return gather.read(source)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.gather.pulled_back(gradient), None


def _readings(rows: Tensor, num_rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where each row of the source is read first, [num_rows]; which are read again, [k]; and where, [most - 1, k].

    The number of readings, len(rows), stands for nowhere.
    """
    order = rows.argsort(stable=True)
    counts = torch.bincount(rows, minlength=num_rows + 1)[:num_rows]
    starts = counts.cumsum(0) - counts
    nowhere = torch.tensor(len(rows))
    padded = torch.cat([order, nowhere[None]])
    first = torch.where(counts > 0, padded[starts.clamp(max=len(rows))], nowhere)
    again = (counts > 1).nonzero()[:, 0]
    most = int(counts.max()) if num_rows else 0
    later = torch.arange(1, max(most, 1))[:, None]
    places = (starts[again] + later).clamp(max=len(rows))
    return first, again, torch.where(later < counts[again], padded[places], nowhere)


def _taken(rows: Tensor, num_rows: int, device: torch.device | str) -> _Rows:
    return _Rows(sent(rows, device), bool((rows == num_rows).any()))


def _take(source: Tensor, taken: _Rows) -> Tensor:
    if taken.reads_zeros:
        source = pad(source, (0, 0) * (source.dim() - 1) + (0, 1))
    return source.index_select(0, taken.rows)
