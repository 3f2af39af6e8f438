"""The live sequences, one entry a slot, and the decoding steps that add tokens to each.

All of it lies with the host; only what a row of steps needs goes to the device, and its tokens come back (`steps`).

What it does not do: it decides nothing (`scheduler` does) and reads no prompts (`session` does).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64

from zero2r1.core.random import uniforms
from zero2r1.policy.base import Sampling
from zero2r1.policy.network import Network
from zero2r1.policy.pages import PAGE, pages_of
from zero2r1.policy.samples import Entry
from zero2r1.policy.steps import Decoder, Style, run_steps

COLUMNS = 64
"""Ours: room for response tokens a slot starts with; it doubles when somebody says more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What a row of decoding steps did."""

    steps: int
    """How many, at least 1."""
    finished: list[int]
    """Slots whose sequence has ended, rising."""
    is_stopped: Bool[np.ndarray, " n"]
    """Whom the model or a text stopped; the rest of the finished ran into their limits."""
    new: Int64[np.ndarray, " n"]
    """How many tokens each slot has got, at least 1 and at most `steps`."""


class Slots:
    """Slots 0 to n - 1 are live."""

    def __init__(
        self,
        network: Network,
        decoder: Decoder,
        *,
        num_slots: int,
        pages_per_slot: int,
        eos_ids: Collection[int],
        decode: Callable[[list[int]], str],
    ) -> None:
        """
        Args:
            decoder: its cache has one more page than slots may have, where the network decodes several steps in a row.
        """
        self._network, self._decoder, self._decode = network, decoder, decode
        self._is_eos = np.zeros(network.vocab_size, dtype=bool)
        self._is_eos[[token for token in eos_ids if token < network.vocab_size]] = True
        self._samplings: list[Sampling] = []
        self._styles: list[Style] = []
        self._stopping: list[int] = []
        self._keys = np.zeros(num_slots, dtype=np.uint64)
        self._lengths = np.zeros(num_slots, dtype=np.int64)  # cached tokens
        self._counts = np.zeros(num_slots, dtype=np.int64)  # response tokens
        self._limits = np.zeros(num_slots, dtype=np.int64)  # max_new_tokens
        self._room = np.zeros(num_slots, dtype=np.int64)  # tokens that fit on the pages
        # Whoever has ended goes on to the end of a row, on the cache's last page.
        self._spare = decoder.cache.num_pages - 1
        columns = pages_per_slot + (network.at_once > 1)
        self._tables = np.full((num_slots, columns), self._spare, dtype=np.int32)
        self._last = np.zeros(num_slots, dtype=np.int64)
        self._tokens = np.zeros((num_slots, COLUMNS), dtype=np.int64)
        self._logprobs = np.zeros((num_slots, COLUMNS), dtype=np.float32)

    @property
    def num_live(self) -> int:
        """n."""
        return len(self._samplings)

    def rearrange(self, entries: Sequence[Entry], moves: Sequence[tuple[int, int]], num_live: int) -> None:
        """Samples enter, then others move into gaps (no destination is a source); `num_live` are left."""
        if entries:
            self._enter(entries)
        for source, destination in moves:
            self._samplings[destination] = self._samplings[source]
        if moves:
            sources, destinations = map(list, zip(*moves, strict=True))
            for array in (
                self._keys, self._lengths, self._counts, self._limits, self._room, self._tables,
                self._last, self._tokens, self._logprobs,
            ):  # fmt: skip
                array[destinations] = array[sources]
        del self._samplings[num_live:]
        self._group_styles()

    def short(self) -> list[int]:
        """Live slots without room for what they may say in the next row: one page is enough."""
        num_live = self.num_live
        left = np.minimum(self._left(), self._network.at_once)
        return np.flatnonzero(self._lengths[:num_live] + left > self._room[:num_live]).tolist()

    def add_page(self, slot: int, page: int) -> None:
        """The last page of the sample in this slot, which it has just got."""
        self._tables[slot, self._room[slot] // PAGE] = page
        self._room[slot] += PAGE

    def step(self) -> Stepped:
        """One token for every live slot, or several where steps run in a row."""
        num_live = self.num_live
        counts, lengths, left = self._counts[:num_live], self._lengths[:num_live], self._left()
        num_steps = min(self._network.at_once, int(left.max()))
        self._make_columns(int(counts.max()) + num_steps)
        columns = counts + np.arange(num_steps)[:, None]  # [K, n]
        keys = np.broadcast_to(self._keys[:num_live], columns.shape)
        numbers = uniforms(keys.ravel(), columns.ravel()).reshape(columns.shape)
        tables = self._tables[:num_live, : pages_of(int(lengths.max()) + num_steps)]
        tokens, logprobs = run_steps(
            self._network, self._decoder, self._last[:num_live], lengths, tables, numbers, self._styles
        )
        slots = np.arange(num_live)
        self._tokens[slots, columns], self._logprobs[slots, columns] = tokens, logprobs
        # A log-probability that is not finite ends its sequence too: whoever harvests it raises.
        ends = self._is_eos[tokens] | ~np.isfinite(logprobs)
        is_ended = ends.any(0)
        first = np.where(is_ended, ends.argmax(0), num_steps - 1)
        new = np.minimum(first + 1, left)
        is_stopped = is_ended & (first < new)
        for slot in self._stopping:
            said = self._until_stop(slot, int(counts[slot]), int(new[slot]))
            if said is not None:
                new[slot], is_stopped[slot] = said, True
        counts += new
        lengths += new
        self._last[:num_live] = tokens[new - 1, slots]
        finished = np.flatnonzero(is_stopped | (counts >= self._limits[:num_live])).tolist()
        return Stepped(steps=num_steps, finished=finished, is_stopped=is_stopped, new=new)

    def said(
        self, slots: Sequence[int], newest: Int64[np.ndarray, " n"] | None = None
    ) -> list[tuple[list[int], list[float]]]:
        """Response tokens and log-probabilities so far, as numbers of Python.

        Args:
            newest: of each slot, only so many of the last.
        """
        rows = []
        for slot in slots:
            stop = int(self._counts[slot])
            start = 0 if newest is None else stop - int(newest[slot])
            rows.append((self._tokens[slot, start:stop].tolist(), self._logprobs[slot, start:stop].tolist()))
        return rows

    def _left(self) -> Int64[np.ndarray, " n"]:
        """Tokens that each live slot may still say."""
        return self._limits[: self.num_live] - self._counts[: self.num_live]

    def _enter(self, entries: Sequence[Entry]) -> None:
        copies = [copy for entry in entries for copy in entry.copies]
        if copies:
            sources, destinations = (
                torch.tensor(pages, device=self._network.device) for pages in zip(*copies, strict=True)
            )
            self._decoder.cache.copy(sources, destinations)
        for entry in entries:
            slot, sample = entry.slot, entry.sample
            self._samplings[slot : slot + 1] = [sample.sampling]
            self._tables[slot] = self._spare
            self._tables[slot, : len(sample.pages)] = sample.pages
            self._room[slot] = PAGE * len(sample.pages)
            self._keys[slot], self._limits[slot] = sample.job.key, sample.sampling.max_new_tokens
            self._lengths[slot], self._counts[slot] = sample.size, len(sample.said)
            self._last[slot] = (sample.said or sample.group.token_ids)[-1]
            if sample.said:  # what it had said before it was put back
                count = len(sample.said)
                self._make_columns(count)
                self._tokens[slot, :count], self._logprobs[slot, :count] = sample.said, sample.logprobs

    def _make_columns(self, count: int) -> None:
        have = self._tokens.shape[1]
        if count > have:
            more = ((0, 0), (0, max(count - have, have)))
            self._tokens, self._logprobs = np.pad(self._tokens, more), np.pad(self._logprobs, more)

    def _group_styles(self) -> None:
        """Which slots choose their tokens in the same way, and which end at a text."""
        styles: dict[tuple[float, int, float], list[int]] = {}
        for slot, one in enumerate(self._samplings):
            styles.setdefault((one.temperature, one.top_k, one.top_p), []).append(slot)
        self._styles = [
            Style(
                self._samplings[slots[0]], torch.tensor(slots, device=self._network.device) if len(styles) > 1 else None
            )
            for slots in styles.values()
        ]
        self._stopping = [slot for slot, one in enumerate(self._samplings) if one.stop]

    def _until_stop(self, slot: int, count: int, new: int) -> int | None:
        """How many of a slot's new tokens it takes to complete a stop string of its own; None when they do not.

        Only the tail that may hold it is decoded: a token is at least one byte of text; 8 more make room for characters
        cut at the tail's start.
        """
        texts = self._samplings[slot].stop
        size = max(len(text.encode()) for text in texts) + 8
        for said in range(1, new + 1):
            tail = self._decode(self._tokens[slot, max(count + said - size, 0) : count + said].tolist())
            if any(text in tail for text in texts):
                return said
        return None
