"""Keys and values of the tokens seen so far: one row of them for each slot, and the attention that reads them.

Shapes: B slots, C tokens of room in a slot, n live slots (0 to n - 1), H_kv key heads, R = H / H_kv query heads that
share one, D width of a head. Each layer has its own pair of tensors [B, H_kv, C, D], made when the layer first speaks,
so layers may differ in heads and widths.

What it does not do: pages (a slot reserves room for its longest possible sequence), sharing of a prompt's keys between
slots (they are copied), quantisation. No fused attention kernel for the decoding step: for one query a slot, two
batched matrix products are as quick or several times quicker on a CPU.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from zero2r1.models.attention import PackedContext

ALIGNMENT = 8
"""Ours: attention reads a multiple of this many cached tokens; the matrix products like round widths."""


class PromptContext:
    """Attention over packed prompts that keeps their keys and values."""

    def __init__(self, lengths: Sequence[int], *, device: torch.device) -> None:
        self._packed = PackedContext(lengths, device=device)
        self.keys: dict[int, Tensor] = {}
        """By layer: [T, H_kv, D], prompts end to end."""
        self.values: dict[int, Tensor] = {}

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "1 H T D"],
        key: Float[Tensor, "1 H_kv T D"],
        value: Float[Tensor, "1 H_kv T D_v"],
        *,
        scaling: float,
    ) -> Float[Tensor, "1 T H D_v"]:
        """See `models.attention.AttentionContext.attend`."""
        self.keys[layer] = key[0].transpose(0, 1)
        self.values[layer] = value[0].transpose(0, 1)
        return self._packed.attend(layer, query, key, value, scaling=scaling)


class SlotCache:
    """The keys and values of all slots."""

    def __init__(self, *, num_slots: int, capacity: int) -> None:
        self.num_slots = num_slots
        self.capacity = -(-capacity // ALIGNMENT) * ALIGNMENT
        """C, tokens a slot has room for."""
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def layer(
        self, layer: int, key: Float[Tensor, "T H_kv D"], value: Float[Tensor, "T H_kv D_v"]
    ) -> tuple[Float[Tensor, "B H_kv C D"], Float[Tensor, "B H_kv C D_v"]]:
        """The tensors of one layer, shaped and typed like the keys and values it is about to hold."""
        if layer not in self._layers:
            # Zeros, not empty: a masked entry has weight 0, and 0 * NaN out of old memory would be NaN.
            self._layers[layer] = (self._zeros_like(key), self._zeros_like(value))
        return self._layers[layer]

    def _zeros_like(self, tensor: Tensor) -> Tensor:
        _, num_heads, width = tensor.shape
        return tensor.new_zeros(self.num_slots, num_heads, self.capacity, width)

    def place(
        self,
        prompts: PromptContext,
        *,
        source: Int64[Tensor, " N"],
        slots: Int64[Tensor, " N"],
        positions: Int64[Tensor, " N"],
    ) -> None:
        """Copies token `source[i]` of the packed prompts to place `positions[i]` of slot `slots[i]`, in all layers."""
        for layer, prompt_keys in prompts.keys.items():
            prompt_values = prompts.values[layer]
            keys, values = self.layer(layer, prompt_keys, prompt_values)
            keys[slots, :, positions] = prompt_keys[source]
            values[slots, :, positions] = prompt_values[source]

    def move(self, sources: Int64[Tensor, " N"], destinations: Int64[Tensor, " N"], *, length: int) -> None:
        """Copies the first `length` tokens of whole slots. No slot is both a source and a destination."""
        for pair in self._layers.values():
            for tensor in pair:
                tensor[destinations, :, :length] = tensor[sources, :, :length]


class StepContext:
    """One decoding step: slot i adds one token and looks at all of its own up to and with that one."""

    def __init__(self, cache: SlotCache, lengths: Int64[Tensor, " n"], *, longest: int) -> None:
        """
        Args:
            cache: gets the new tokens' keys and values while the step runs.
            lengths: tokens each live slot holds before this step, on the device of the model.
            longest: their maximum (known to the caller without waiting for the device).
        """
        self._cache = cache
        self._lengths = lengths
        self._slots = torch.arange(len(lengths), device=lengths.device)
        self._width = min(-(-(longest + 1) // ALIGNMENT) * ALIGNMENT, cache.capacity)
        columns = torch.arange(self._width, device=lengths.device)
        is_hidden = (columns > lengths[:, None])[:, None, None]
        self._mask = torch.zeros(is_hidden.shape, device=lengths.device).masked_fill_(is_hidden, -torch.inf)

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "1 H n D"],
        key: Float[Tensor, "1 H_kv n D"],
        value: Float[Tensor, "1 H_kv n D_v"],
        *,
        scaling: float,
    ) -> Float[Tensor, "1 n H D_v"]:
        """softmax(scaling * q K^T) V of each slot, over the longest live length and masked beyond the slot's own."""
        new_keys, new_values = key[0].transpose(0, 1), value[0].transpose(0, 1)
        keys, values = self._cache.layer(layer, new_keys, new_values)
        keys[self._slots, :, self._lengths] = new_keys
        values[self._slots, :, self._lengths] = new_values
        num_slots, num_kv_heads, width = len(self._slots), new_keys.shape[1], self._width
        num_heads, head_width = query.shape[1], query.shape[3]
        # [n, H_kv, C, D] cut to the live slots and the longest length stays one batch of matrices without a copy.
        keys = keys[:num_slots, :, :width].flatten(0, 1)
        values = values[:num_slots, :, :width].flatten(0, 1)
        queries = (query[0].transpose(0, 1) * scaling).reshape(num_slots * num_kv_heads, -1, head_width)
        scores = torch.bmm(queries, keys.transpose(1, 2)).view(num_slots, num_kv_heads, -1, width)
        # In float32 whatever the dtype of the model.
        weights = scores.float().add_(self._mask).softmax(-1).to(scores.dtype)
        mixed = torch.bmm(weights.view(num_slots * num_kv_heads, -1, width), values)
        return mixed.view(1, num_slots, num_heads, -1)
