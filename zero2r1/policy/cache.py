"""Keys and values of the tokens seen so far, on pages, and the attention that writes and reads them.

Shapes: P pages of PAGE tokens, n live slots, M pages of the longest live sequence, H_kv key heads, R = H / H_kv query
heads that share one, D width of a head. Each layer has its own pair of tensors, keys [P, H_kv, D, PAGE] and values
[P, H_kv, PAGE, D_v], made when the layer first speaks, so layers may differ in heads and widths. Keys lie with a page's
tokens side by side: the scores of a page are then sums of whole rows of PAGE numbers.

A step's attention is compiled where it can be (`models.kernels`), and reads the pages where they lie. Elsewhere the
pages of the live slots are gathered into one padded batch: one copy of keys and one of values a layer, which every
device can do.

What it does not do: it does not know whose pages these are (`scheduler` does), and it quantises nothing.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from zero2r1.models.attention import PackedContext
from zero2r1.models.kernels.attention import AttentionKernels, Sequences, sequences_of
from zero2r1.policy.pages import PAGE, pages_of
from zero2r1.policy.samples import Piece

QUERY_ROWS = 256
"""Ours: later pieces of a prompt look back in blocks of this many tokens, which bounds the mask in memory."""


class Pages(NamedTuple):
    """One layer's keys and values."""

    keys: Float[Tensor, "P H_kv D PAGE"]
    values: Float[Tensor, "P H_kv PAGE D_v"]


class Places(NamedTuple):
    """Where some tokens stand."""

    pages: Int64[Tensor, " T"]
    offsets: Int64[Tensor, " T"]
    """Inside the page, 0 <= offset < PAGE."""


class PagedCache:
    """The pages of all layers."""

    def __init__(self, num_pages: int, *, is_marked: bool = False) -> None:
        """
        Args:
            is_marked: each place also holds a number of the caller's; see `mark`.
        """
        self.num_pages = num_pages
        self._layers: dict[int, Pages] = {}
        self._marks = torch.full((num_pages, PAGE), -1) if is_marked else None

    def store(
        self, layer: int, key: Float[Tensor, "1 H_kv T D"], value: Float[Tensor, "1 H_kv T D_v"], places: Places
    ) -> Pages:
        """Writes the keys and values of T tokens; returns the layer's pages."""
        pages = self.layer(layer, key, value)
        pages.keys[places.pages, :, :, places.offsets] = key[0].transpose(0, 1)
        pages.values[places.pages, :, places.offsets] = value[0].transpose(0, 1)
        return pages

    def layer(self, layer: int, key: Float[Tensor, "1 H_kv T D"], value: Float[Tensor, "1 H_kv T D_v"]) -> Pages:
        """The pages of a layer, shaped and typed like the keys and values that they will hold."""
        pages = self._layers.get(layer)
        if pages is None:
            _, num_heads, _, width = key.shape
            # Zeros, not empty: a masked entry has weight 0, and 0 * NaN out of old memory would be NaN.
            pages = self._layers[layer] = Pages(
                key.new_zeros(self.num_pages, num_heads, width, PAGE),
                value.new_zeros(self.num_pages, num_heads, PAGE, value.shape[3]),
            )
        return pages

    def copy(self, sources: Int64[Tensor, " N"], destinations: Int64[Tensor, " N"]) -> None:
        """Copies whole pages in all layers. No page is both a source and a destination."""
        for pages in self._layers.values():
            for tensor in pages:
                tensor[destinations] = tensor[sources]
        if self._marks is not None:
            self._marks[destinations.cpu()] = self._marks[sources.cpu()]

    def mark(self, places: Places, marks: Int64[Tensor, " T"]) -> None:
        """Writes a number at each of these places."""
        assert self._marks is not None
        self._marks[places.pages.cpu(), places.offsets.cpu()] = marks

    def marked(self, pages: Sequence[int], count: int) -> Int64[Tensor, " count"]:
        """The numbers at the first `count` places of these pages."""
        assert self._marks is not None
        return self._marks[list(pages)].flatten()[:count]


class PrefillContext:
    """Attention over pieces of prompts, laid end to end in one row: those that start a prompt first, then the others.

    A first piece looks at itself only, so all of them are attended as one pack. A later piece looks back at the pages
    of its prompt too. All keys are written before any is read: a piece may look back at another one of the same row.
    """

    def __init__(
        self,
        cache: PagedCache,
        pieces: Sequence[Piece],
        *,
        device: torch.device,
        kernels: AttentionKernels | None = None,
    ) -> None:
        self._cache = cache
        lengths = [len(piece.token_ids) for piece in pieces if not piece.start]
        self._packed = PackedContext(lengths, device=device, kernels=kernels) if lengths else None
        self._num_packed = sum(lengths)
        ordered = [piece for piece in pieces if not piece.start] + [piece for piece in pieces if piece.start]
        positions = [np.arange(piece.start, piece.start + len(piece.token_ids)) for piece in ordered]
        pages = [np.array(piece.pages)[place // PAGE] for piece, place in zip(ordered, positions, strict=True)]
        self.token_ids = torch.tensor([token for piece in ordered for token in piece.token_ids], device=device)
        """[T] what goes through the network, in this order."""
        self.position_ids = torch.tensor(np.concatenate(positions), device=device)
        """[T]"""
        self.places = Places(torch.tensor(np.concatenate(pages), device=device), self.position_ids % PAGE)
        """Of these tokens in the cache."""
        self._blocks = [
            _Block(piece, first, device, kernels) for piece in ordered[len(lengths) :] for first in _block_starts(piece)
        ]

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
        pages = self._cache.store(layer, key, value, self.places)
        start = self._num_packed
        outputs: list[Tensor] = []
        if self._packed is not None:
            first = (tensor[:, :, :start] for tensor in (query, key, value))
            outputs.append(self._packed.attend(layer, *first, scaling=scaling))
        for block in self._blocks:
            outputs.append(block.attend(query[:, :, start : start + block.size], pages, scaling))
            start += block.size
        return torch.cat(outputs, dim=1)


def _block_starts(piece: Piece) -> range:
    return range(piece.start, piece.start + len(piece.token_ids), QUERY_ROWS)


class _Block:
    """Tokens `first` to `first + size - 1` of a prompt, which look at all of it up to and with themselves."""

    def __init__(self, piece: Piece, first: int, device: torch.device, kernels: AttentionKernels | None) -> None:
        self.size = min(QUERY_ROWS, piece.start + len(piece.token_ids) - first)
        self._kernels, self._first = kernels, first
        self._pages = torch.tensor(piece.pages[: pages_of(first + self.size)], device=device)
        columns = torch.arange(len(self._pages) * PAGE, device=device)
        self._is_seen = columns <= torch.arange(first, first + self.size, device=device)[:, None]

    def attend(self, query: Tensor, pages: Pages, scaling: float) -> Tensor:
        """[1, H, size, D] queries to [1, size, H, D_v]."""
        if self._kernels is not None:
            return self._compiled(self._kernels, query, pages, scaling)
        keys = pages.keys[self._pages].permute(1, 0, 3, 2).flatten(1, 2)[None]  # [1, H_kv, M * PAGE, D]
        values = pages.values[self._pages].transpose(0, 1).flatten(1, 2)[None]
        mixed = scaled_dot_product_attention(
            query, keys, values, attn_mask=self._is_seen, scale=scaling, enable_gqa=True
        )
        return mixed.transpose(1, 2)

    def _compiled(self, kernels: AttentionKernels, query: Tensor, pages: Pages, scaling: float) -> Tensor:
        keys = pages.keys[self._pages].permute(0, 3, 1, 2).flatten(0, 1)  # [M * PAGE, H_kv, D]
        values = pages.values[self._pages].transpose(1, 2).flatten(0, 1)
        return kernels.attend_packed(query[0].transpose(0, 1), keys, values, self._sequences, scaling=scaling)[None]

    @cached_property
    def _sequences(self) -> Sequences:
        end = self._first + self.size
        return sequences_of([torch.arange(end)], [self._first], num_rows=end, shift=self._first)


class StepContext:
    """One decoding step: slot i adds one token and looks at all of its own up to and with that one."""

    def __init__(
        self,
        cache: PagedCache,
        tables: Int32[Tensor, "n M"],
        positions: Int64[Tensor, " n"],
        *,
        kernels: AttentionKernels | None = None,
    ) -> None:
        """
        Args:
            kernels: read the pages where they lie; None: gather them.
            cache: gets the new tokens' keys and values while the step runs.
            tables: the pages of each live slot in the order of its tokens; entries beyond its own may be any page.
            positions: of the new tokens, on the device of the model: how many each slot held before.
        """
        self._cache, self._kernels = cache, kernels
        self.tables = tables.contiguous()
        """[n, M] int32."""
        self.position_ids = positions
        """[n] int64."""
        self._positions = positions.int()
        self.lengths = self._positions + 1
        """[n] int32: tokens a slot looks at, the new one included."""
        pages = tables.gather(1, (positions // PAGE)[:, None])[:, 0]
        self.places = Places(pages.long(), positions % PAGE)
        """Of the new tokens in the cache."""
        self._mask: Tensor | None = None
        self._rows: dict[int, Tensor] = {}

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "1 H n D"],
        key: Float[Tensor, "1 H_kv n D"],
        value: Float[Tensor, "1 H_kv n D_v"],
        *,
        scaling: float,
    ) -> Float[Tensor, "1 n H D_v"]:
        """softmax(scaling * q K^T) V of each slot."""
        if self._kernels is None:
            return self._gathered(query, self._cache.store(layer, key, value, self.places), scaling)
        rows, new_keys, new_values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [n, heads, D]
        pages = self._cache.layer(layer, key, value)
        self._kernels.put(*pages, new_keys, new_values, self.tables, self._positions)
        mixed = self._kernels.attend(
            rows, *pages, self.tables, self.lengths, scaling=scaling, longest=self.tables.shape[1] * PAGE
        )
        return mixed[None]

    def _gathered(self, query: Tensor, pages: Pages, scaling: float) -> Tensor:
        """Over the pages of the longest live sequence, masked beyond the slot's own tokens."""
        num_slots, num_pages = self.tables.shape
        _, num_kv_heads, width, _ = pages.keys.shape
        width_v = pages.values.shape[3]
        num_tokens = num_pages * PAGE
        # Rows of PAGE numbers of the keys and of PAGE * D_v of the values, gathered in the order the products need.
        keys = pages.keys.view(-1, PAGE).index_select(0, self._rows_of(num_kv_heads * width))
        values = pages.values.view(-1, PAGE * width_v).index_select(0, self._rows_of(num_kv_heads))
        queries = (query[0].transpose(0, 1) * scaling).reshape(num_slots * num_kv_heads, -1, width)
        scores = torch.bmm(queries, keys.view(-1, width, num_tokens)).view(num_slots, num_kv_heads, -1, num_tokens)
        # In float32 whatever the dtype of the model.
        weights = scores.float().add_(self._hidden()).softmax(-1).to(scores.dtype)
        mixed = torch.bmm(weights.view(num_slots * num_kv_heads, -1, num_tokens), values.view(-1, num_tokens, width_v))
        return mixed.view(1, num_slots, -1, width_v)

    def _rows_of(self, rows_per_page: int) -> Tensor:
        """[n * rows_per_page * M] where row r of page j of slot i lies, for all slots i, rows r and pages j."""
        if rows_per_page not in self._rows:
            rows = torch.arange(rows_per_page, dtype=torch.int32, device=self.tables.device)
            self._rows[rows_per_page] = (self.tables[:, None] * rows_per_page + rows[:, None]).flatten()
        return self._rows[rows_per_page]

    def _hidden(self) -> Tensor:
        """[n, 1, 1, M * PAGE] 0 where a slot may look and -inf beyond."""
        if self._mask is None:
            columns = torch.arange(self.tables.shape[1] * PAGE, device=self.tables.device)
            is_hidden = (columns >= self.lengths[:, None])[:, None, None]
            self._mask = torch.zeros(is_hidden.shape, device=columns.device).masked_fill_(is_hidden, -torch.inf)
        return self._mask
