"""Decoding steps on a CUDA device, recorded once for each number of sequences and played again.

A step of a small model is some hundred launches, and the host takes longer to make them than the device to do them. A
CUDA graph is launched as one. It reads and writes the same memory each time, so tokens, positions and page tables have
a place of their own here, the cache stays from one call of the sampler to the next, and weights are read where the
learner changes them (`models.joined`).

Each recording is played once and held against the step that it was made of. Where one cannot be made, or says anything
else, steps go on without: slower, and right.

What it does not do: choose tokens (`steps` does), read prompts.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from zero2r1.policy.cache import PagedCache
from zero2r1.policy.network import Network

SAME = 1e-2
"""Ours: largest distance of a recording's logits from the step's own, relative to the largest logit. They should be
equal; but whoever chooses the way to multiply may choose anew while it is recorded."""


def rows_recorded(count: int) -> int:
    """The number of rows that a step of `count` sequences runs with: 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on.

    Ours: a row more costs little while a step reads all weights, and each recording takes time and memory.
    """
    power = 1 << max(0, count - 1).bit_length()
    return power * 3 // 4 if power >= 4 and count <= power * 3 // 4 else power


class PageContext:
    """One decoding step whose attention reads the pages where they lie (`models.gpu.pages`)."""

    def __init__(self, cache: PagedCache, tables: Int32[Tensor, "n M"], positions: Int64[Tensor, " n"]) -> None:
        self._cache, self._tables, self._positions = cache, tables, positions

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "1 H n D"],
        key: Float[Tensor, "1 H_kv n D"],
        value: Float[Tensor, "1 H_kv n D_v"],
        *,
        scaling: float,
    ) -> Float[Tensor, "1 n H D_v"]:
        """See `models.attention.AttentionContext.attend`."""
        from zero2r1.models.gpu.pages import attend_new

        pages = self._cache.layer(layer, key, value)
        rows, new_keys, new_values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [n, heads, width]
        mixed = attend_new(
            rows, new_keys, new_values, pages.keys, pages.values, self._tables, self._positions, scaling=scaling
        )
        return mixed[None]


class GraphDecoder:
    """A `Decoder` over memory that stays where it is."""

    def __init__(self, network: Network, *, num_pages: int, num_slots: int, pages_per_slot: int) -> None:
        """
        Args:
            num_pages: of the cache; the last one is nobody's, and rows without a sequence write there.
            pages_per_slot: columns of a page table.
        """
        self._network, device = network, network.device
        self.cache = PagedCache(num_pages)
        self.num_slots, self.pages_per_slot = num_slots, pages_per_slot
        most = rows_recorded(num_slots)
        self._last = torch.zeros(most, dtype=torch.int64, device=device)
        self._positions = torch.zeros(most, dtype=torch.int64, device=device)
        self._tables = torch.full((most, pages_per_slot), num_pages - 1, dtype=torch.int32, device=device)
        self._count = 0
        self.trouble = ""
        """Why steps are not recorded; empty where they are."""
        self._graphs: dict[int, tuple[Any, Tensor]] = {}
        self._pool: Any = None

    def begin(
        self, last: Int64[np.ndarray, " n"], positions: Int64[np.ndarray, " n"], tables: Int32[np.ndarray, "n M"]
    ) -> None:
        """See `Decoder`."""
        device, count = self._network.device, len(last)
        rows = rows_recorded(count)
        self._count = count
        self._last[:count] = torch.tensor(last, device=device)
        self._positions[:count] = torch.tensor(positions, device=device)
        self._positions[count:rows] = 0
        self._tables[:count, : tables.shape[1]] = torch.tensor(tables, device=device)
        self._tables[count:rows] = self.cache.num_pages - 1

    def logits(self) -> Float[Tensor, "n V"]:
        """See `Decoder`. They are gone with the next step."""
        rows = rows_recorded(self._count)
        if self._network.device.type == "cuda" and rows not in self._graphs and not self.trouble:
            self._record(rows)
        if rows not in self._graphs:
            return self._step(rows)[: self._count]
        graph, logits = self._graphs[rows]
        graph.replay()
        return logits[: self._count]

    def accept(self, tokens: Int64[Tensor, " n"]) -> None:
        """See `Decoder`."""
        self._last[: self._count] = tokens
        self._positions[: self._count] += 1

    def _step(self, rows: int) -> Float[Tensor, "rows V"]:
        network, positions = self._network, self._positions[:rows]
        hidden = network.forward(self._last[:rows], positions, PageContext(self.cache, self._tables[:rows], positions))
        return network.logits(hidden)

    def _record(self, rows: int) -> None:
        """Makes the graph of a step. The step is run first: what it is the first to need is made then, and what it
        writes to the cache is what the graph writes there again.
        """
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            expected = self._step(rows)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            with torch.cuda.graph(graph, pool=self._pool):
                logits = self._step(rows)
            graph.replay()
        except RuntimeError as problem:
            self.trouble = f"a step cannot be recorded: {str(problem).splitlines()[0]}"
            return
        apart, size = (float(one[: self._count].abs().max()) for one in (logits - expected, expected))
        if apart <= SAME * size:
            self._graphs[rows] = graph, logits
        else:
            self.trouble = f"a recorded step of {rows} sequences says something else than the step itself"


class Graphs:
    """The decoder of a sampler, which one session after the other uses. Two at a time need one each."""

    def __init__(self) -> None:
        self._decoder: GraphDecoder | None = None

    @property
    def trouble(self) -> str:
        """See `GraphDecoder`."""
        return "" if self._decoder is None else self._decoder.trouble

    def decoder(self, network: Network, *, num_pages: int, num_slots: int, pages_per_slot: int) -> GraphDecoder:
        """One with at least so much room: what was recorded stays until more is asked for."""
        kept = self._decoder
        if kept is not None:
            num_pages = max(num_pages, kept.cache.num_pages)
            num_slots, pages_per_slot = max(num_slots, kept.num_slots), max(pages_per_slot, kept.pages_per_slot)
            if (num_pages, num_slots, pages_per_slot) == (kept.cache.num_pages, kept.num_slots, kept.pages_per_slot):
                return kept
        self._decoder = None  # its memory first
        self._decoder = GraphDecoder(network, num_pages=num_pages, num_slots=num_slots, pages_per_slot=pages_per_slot)
        return self._decoder
