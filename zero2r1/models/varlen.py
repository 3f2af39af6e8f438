"""Causal attention of the sequences of a packed row on a GPU, by torch's flash attention: no padding, no masks.

The queries are each sequence's own tokens, and its keys all of its tokens, those it shares with others included. A
sequence that has fewer queries than keys asks for its last tokens: the flash kernels align the two at the end.

What it does not do: float32 and GPUs before NVIDIA's Ampere (`attention._Padded` does), second derivatives.
"""

from collections.abc import Sequence
from inspect import signature
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor
from torch.nn.attention.varlen import AuxRequest, varlen_attn

from zero2r1.models.gathering import Gather
from zero2r1.models.precision import deterministic
from zero2r1.models.sending import sent

WIDEST = 256
"""Numbers of a head that flash attention takes."""
CAUSAL = (-1, 0)
"""How far a token looks: back without end, and not ahead."""
GROUPED = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}
"""torch 2.13 wants to be told that several query heads share a key head; 2.11 takes them as they are."""


class Reach(NamedTuple):
    """Where the sequences lie in rows of queries and of keys."""

    queries: Int32[Tensor, " n_plus_1"]
    """Where each sequence begins, and the end."""
    keys: Int32[Tensor, " n_plus_1"]
    longest_queries: int
    longest_keys: int


@runtime_checkable
class Flash(Protocol):
    """Attention of sequences that lie end to end, and its gradients."""

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, reach: Reach, scaling: float
    ) -> tuple[Tensor, Tensor]: ...

    def attend_backward(
        self,
        gradient: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mixed: Tensor,
        normaliser: Tensor,
        reach: Reach,
        scaling: float,
    ) -> tuple[Tensor, Tensor, Tensor]: ...


class TorchFlash:
    """torch's own."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, reach: Reach, scaling: float) -> tuple[Tensor, Tensor]:
        """softmax(scaling * query key^T) value of each sequence, and the logarithm of the sum below the softmax."""
        mixed, normaliser = varlen_attn(
            query, key, value, reach.queries, reach.keys, reach.longest_queries, reach.longest_keys,
            return_aux=AuxRequest(lse=True), scale=scaling, window_size=CAUSAL, **GROUPED,
        )  # fmt: skip
        return mixed, normaliser

    def attend_backward(
        self,
        gradient: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mixed: Tensor,
        normaliser: Tensor,
        reach: Reach,
        scaling: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `varlen_attn` computes it, but always in the same order: by itself it adds up with atomics."""
        seed = torch.zeros(2, dtype=torch.uint64, device=query.device)  # of a dropout that there is not
        with deterministic():
            by_query, by_key, by_value = torch.ops.aten._flash_attention_backward(
                gradient, query, key, value, mixed, normaliser, reach.queries, reach.keys,
                reach.longest_queries, reach.longest_keys, 0.0, True, seed, query.new_empty(0),
                scale=scaling, window_size_left=CAUSAL[0], window_size_right=CAUSAL[1],
            )  # fmt: skip
        return by_query, by_key, by_value


def is_for_flash(query: Float[Tensor, "T H D"], value: Float[Tensor, "T H_kv D_v"]) -> bool:
    """Whether flash attention takes these."""
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        return False
    width = query.shape[2]
    is_fit = width == value.shape[2] and width <= WIDEST and width % 8 == 0
    return is_fit and torch.cuda.get_device_capability(query.device) >= (8, 0)


class Varlen:
    """The sequences of a packed row, for flash attention."""

    def __init__(
        self,
        places: Sequence[Int[Tensor, " _"]],
        owners: Int[Tensor, " T"],
        device: torch.device | str,
        flash: Flash | None = None,
    ) -> None:
        """
        Args:
            places: where each sequence's tokens stand in the row.
            owners: the sequence that asks for the result of each token of the row; what a sequence does not own it
                begins with.
        """
        owned = [place[owners[place] == number] for number, place in enumerate(places)]
        kept = [number for number, own in enumerate(owned) if len(own)]
        queries, keys = [owned[number] for number in kept], [places[number] for number in kept]
        num_rows = len(owners)
        order = torch.cat(queries)
        self._queries = _gather(order, num_rows, device)
        self._outputs = _gather(order.argsort(), num_rows, device)
        self._keys = _gather(torch.cat(keys), num_rows, device)
        self._reach = Reach(_starts(queries, device), _starts(keys, device), _longest(queries), _longest(keys))
        self._flash: Flash = TorchFlash() if flash is None else flash

    def attend(
        self,
        query: Float[Tensor, "T H D"],
        key: Float[Tensor, "T H_kv D"],
        value: Float[Tensor, "T H_kv D"],
        scaling: float,
    ) -> Float[Tensor, "T H D"]:
        """softmax(scaling * query key^T) value of the T tokens of the row."""
        mixed: Tensor = _Attended.apply(
            _through(self._queries, query), _through(self._keys, key), _through(self._keys, value),
            self._reach, scaling, self._flash,
        )  # fmt: skip
        return _through(self._outputs, mixed)


class _Attended(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, reach: Reach, scaling: float, flash: Flash
    ) -> Tensor:
        mixed, normaliser = flash.attend(query, key, value, reach, scaling)
        ctx.save_for_backward(query, key, value, mixed, normaliser)
        ctx.reach, ctx.scaling, ctx.flash = reach, scaling, flash
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*ctx.flash.attend_backward(gradient, *ctx.saved_tensors, ctx.reach, ctx.scaling), None, None, None)


def _gather(rows: Tensor, num_rows: int, device: torch.device | str) -> Gather | None:
    """None: all rows in their order."""
    return None if torch.equal(rows, torch.arange(num_rows)) else Gather(rows, num_rows, device)


def _through(gather: Gather | None, rows: Tensor) -> Tensor:
    return rows if gather is None else gather(rows)


def _starts(sequences: Sequence[Tensor], device: torch.device | str) -> Tensor:
    ends = torch.tensor([0, *map(len, sequences)]).cumsum(0)
    return sent(ends.to(torch.int32), device)


def _longest(sequences: Sequence[Tensor]) -> int:
    return max(map(len, sequences))
