"""The live sequences as tensors: one entry a slot, and the decoding step that adds a token to each.

What the host must know without asking the device (lengths, counts, pages) it keeps itself, so a step waits for the
device once: for the flags of who has ended.

What it does not do: it decides nothing (`scheduler` does) and reads no prompts (`session` does).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

from zero2r1.core.random import uniforms
from zero2r1.policy.base import Sampling
from zero2r1.policy.cache import PagedCache, StepContext
from zero2r1.policy.network import Network
from zero2r1.policy.pages import PAGE, pages_of
from zero2r1.policy.sampler import next_tokens
from zero2r1.policy.samples import Entry, Sample

COLUMNS = 64
"""Ours: room for response tokens a slot starts with; it doubles when somebody says more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What one decoding step did."""

    finished: list[int]
    """Slots whose sequence has ended, rising."""
    is_stopped: Bool[np.ndarray, " n"]
    """Whom the model or a text stopped; the rest of the finished ran into their limits."""
    newest: tuple[list[int], list[float]] | None
    """Token and log-probability of each slot, where the caller asked for them."""


class Slots:
    """Slots 0 to n - 1 are live."""

    def __init__(
        self,
        network: Network,
        cache: PagedCache,
        *,
        num_slots: int,
        pages_per_slot: int,
        eos_ids: Collection[int],
        decode: Callable[[list[int]], str],
    ) -> None:
        self._network, self._cache, self._decode = network, cache, decode
        self._device = device = network.device
        self._is_eos = torch.zeros(network.vocab_size, dtype=torch.bool, device=device)
        self._is_eos[[token for token in eos_ids if token < network.vocab_size]] = True
        self._samplings: list[Sampling] = []
        self._styles: list[tuple[Sampling, Tensor | None]] = []
        self._stopping: list[int] = []
        self._keys = np.zeros(num_slots, dtype=np.uint64)
        self._lengths = np.zeros(num_slots, dtype=np.int64)  # cached tokens
        self._counts = np.zeros(num_slots, dtype=np.int64)  # response tokens
        self._limits = np.zeros(num_slots, dtype=np.int64)  # max_new_tokens
        self._room = np.zeros(num_slots, dtype=np.int64)  # tokens that fit on the pages
        self._tables = np.zeros((num_slots, pages_per_slot), dtype=np.int32)
        self._tables_on_device: Tensor | None = None
        self._last = torch.zeros(num_slots, dtype=torch.int64, device=device)
        self._tokens = torch.zeros(num_slots, COLUMNS, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(num_slots, COLUMNS, device=device)

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
            for array in (self._keys, self._lengths, self._counts, self._limits, self._room, self._tables):
                array[destinations] = array[sources]
            for tensor in (self._last, self._tokens, self._logprobs):
                tensor[destinations] = tensor[sources]
        del self._samplings[num_live:]
        self._tables_on_device = None
        self._group_styles()

    def short(self) -> list[int]:
        """Live slots without room for the next token."""
        num_live = self.num_live
        return np.flatnonzero(self._lengths[:num_live] >= self._room[:num_live]).tolist()

    def add_page(self, slot: int, page: int) -> None:
        """The last page of the sample in this slot, which it has just got."""
        self._tables[slot, self._room[slot] // PAGE] = page
        self._room[slot] += PAGE
        self._tables_on_device = None

    def step(self, *, wants_newest: bool) -> Stepped:
        """One token for every live slot."""
        num_live = self.num_live
        counts = self._counts[:num_live]
        self._make_columns(int(counts.max()) + 1)
        context = self._context()
        hidden = self._network.forward(self._last[:num_live], context.position_ids, context)
        numbers = self._to_device(uniforms(self._keys[:num_live], counts))
        tokens, logprobs = self._choose(self._network.logits(hidden), numbers)
        place = self._to_device(counts)[:, None]
        self._last[:num_live] = tokens
        self._tokens[:num_live].scatter_(1, place, tokens[:, None])
        self._logprobs[:num_live].scatter_(1, place, logprobs[:, None])
        self._lengths[:num_live] += 1
        counts += 1
        # A log-probability that is not finite ends its sequence too: whoever harvests it raises.
        ends = self._is_eos[tokens] | ~logprobs.isfinite()
        newest = None
        if wants_newest:
            ended, said, probable = torch.stack((ends.double(), tokens.double(), logprobs.double())).cpu().numpy()
            is_stopped = ended > 0
            newest = (said.astype(np.int64).tolist(), probable.tolist())
        else:
            is_stopped = ends.cpu().numpy()
        if self._stopping:
            is_stopped[self._contain_stop()] = True
        finished = np.flatnonzero(is_stopped | (counts >= self._limits[:num_live])).tolist()
        return Stepped(finished=finished, is_stopped=is_stopped, newest=newest)

    def said(self, slots: Sequence[int]) -> list[tuple[list[int], list[float]]]:
        """Response tokens and log-probabilities so far, as numbers of Python."""
        if not slots:
            return []
        counts = self._counts[slots].tolist()
        longest = max(counts)
        tokens, logprobs = self._tokens[slots, :longest].tolist(), self._logprobs[slots, :longest].tolist()
        return [(t[:count], p[:count]) for t, p, count in zip(tokens, logprobs, counts, strict=True)]

    def _enter(self, entries: Sequence[Entry]) -> None:
        copies = [copy for entry in entries for copy in entry.copies]
        if copies:
            sources, destinations = zip(*copies, strict=True)
            self._cache.copy(self._to_device(np.array(sources)), self._to_device(np.array(destinations)))
        for entry in entries:
            slot, sample = entry.slot, entry.sample
            self._samplings[slot : slot + 1] = [sample.sampling]
            self._tables[slot, : len(sample.pages)] = sample.pages
            self._room[slot] = PAGE * len(sample.pages)
            self._keys[slot], self._limits[slot] = sample.job.key, sample.sampling.max_new_tokens
            self._lengths[slot], self._counts[slot] = sample.size, len(sample.said)
            if sample.said:
                self._restore(slot, sample)
        slots = self._to_device(np.array([entry.slot for entry in entries]))
        last = [(entry.sample.said or entry.sample.group.token_ids)[-1] for entry in entries]
        self._last[slots] = self._to_device(np.array(last))

    def _restore(self, slot: int, sample: Sample) -> None:
        """What a sample had said before it was put back."""
        count = len(sample.said)
        self._make_columns(count)
        self._tokens[slot, :count] = torch.tensor(sample.said, device=self._device)
        self._logprobs[slot, :count] = torch.tensor(sample.logprobs, device=self._device)

    def _make_columns(self, count: int) -> None:
        have = self._tokens.shape[1]
        if count > have:
            more = max(count - have, have)
            self._tokens = torch.nn.functional.pad(self._tokens, (0, more))
            self._logprobs = torch.nn.functional.pad(self._logprobs, (0, more))

    def _context(self) -> StepContext:
        num_live = self.num_live
        positions = self._lengths[:num_live]
        if self._tables_on_device is None:
            self._tables_on_device = self._to_device(self._tables[:num_live, : pages_of(int(positions.max()) + 1)])
        return StepContext(
            self._cache, self._tables_on_device, self._to_device(positions), kernels=self._network.attention
        )

    def _group_styles(self) -> None:
        """Which slots choose their tokens in the same way, and which end at a text."""
        styles: dict[tuple[float, int, float], list[int]] = {}
        for slot, one in enumerate(self._samplings):
            styles.setdefault((one.temperature, one.top_k, one.top_p), []).append(slot)
        self._styles = [
            (self._samplings[slots[0]], self._to_device(np.array(slots)) if len(styles) > 1 else None)
            for slots in styles.values()
        ]
        self._stopping = [slot for slot, one in enumerate(self._samplings) if one.stop]

    def _choose(
        self, logits: Float[Tensor, "n V"], numbers: Float64[Tensor, " n"]
    ) -> tuple[Int64[Tensor, " n"], Float32[Tensor, " n"]]:
        """A token for each slot, once for each way of choosing."""
        tokens = torch.empty_like(self._last[: len(logits)])
        logprobs = torch.empty(len(logits), device=self._device)
        for sampling, slots in self._styles:
            if slots is None:
                return self._draw(logits, numbers, sampling)
            tokens[slots], logprobs[slots] = self._draw(logits[slots], numbers[slots], sampling)
        return tokens, logprobs

    def _draw(
        self, logits: Float[Tensor, "n V"], numbers: Float64[Tensor, " n"], sampling: Sampling
    ) -> tuple[Int64[Tensor, " n"], Float32[Tensor, " n"]]:
        kernels = self._network.kernels
        if kernels is not None and sampling.temperature > 0.0 and not sampling.top_k and sampling.top_p == 1.0:
            tokens, logprobs = kernels.head.draw(logits, numbers, temperature=sampling.temperature)
            if self._network.chosen is not None:
                self._network.chosen(logits, tokens, sampling.temperature)
            return tokens, logprobs
        return next_tokens(logits.float(), numbers, sampling)

    def _contain_stop(self) -> list[int]:
        """Which live slots have just completed a stop string of theirs. Only the tail that may hold it is decoded.

        A token is at least one byte of text; 8 more make room for characters cut at the tail's start.
        """
        stops = [self._samplings[slot].stop for slot in self._stopping]
        sizes = [max(len(text.encode()) for text in texts) + 8 for texts in stops]
        counts = self._counts[self._stopping]
        first = max(int(counts.min()) - max(sizes), 0)
        rows = self._tokens[self._stopping, first : int(counts.max())].tolist()
        found = []
        for slot, texts, size, row, count in zip(self._stopping, stops, sizes, rows, counts.tolist(), strict=True):
            tail = self._decode(row[max(count - size, first) - first : count - first])
            if any(text in tail for text in texts):
                found.append(slot)
        return found

    def _to_device(self, array: np.ndarray) -> Tensor:
        """A copy: the host goes on changing the array while the device may still read."""
        return torch.tensor(array, device=self._device)
