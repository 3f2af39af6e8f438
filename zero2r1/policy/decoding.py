"""One call of the engine: the loop that turns jobs into sequences of tokens.

A sample enters a slot with all but the last token of its prompt in the cache; that last token is the first one it
decodes. So prompts need no logits of their own, and every token of a response comes out of the same few lines. A chunk
of prompts is prefilled in one packed forward call and its keys are copied to each sample that enters.

What it does not do: text (except for stop strings), lineage, checks of what the caller asked for: see `engine`.
Nothing here outlives the call.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from transformers import PreTrainedModel

from zero2r1.core.errors import RunError
from zero2r1.core.random import uniforms
from zero2r1.core.types import Finish
from zero2r1.models.forward import head_of, hidden_states
from zero2r1.policy.base import Sampling
from zero2r1.policy.cache import PromptContext, SlotCache, StepContext
from zero2r1.policy.sampler import next_tokens
from zero2r1.policy.scheduler import Job, Scheduler

PREFILL_TOKENS = 2048
"""Ours: prompts are prefilled together up to this many tokens, or one at a time when longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What became of one job."""

    job: Job
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prefilled:
    """A chunk of prompts whose keys are at hand."""

    context: PromptContext | None
    """None when none of them has more than one token."""
    starts: dict[int, int]
    """By group: where its tokens start in the chunk."""


class Decoding:
    """Slots, their tokens so far, and the steps that fill them."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        jobs: Sequence[Job],
        *,
        sampling: Sampling,
        eos_ids: Collection[int],
        decode: Callable[[list[int]], str],
        num_slots: int,
    ) -> None:
        self._model, self._prompts, self._sampling, self._decode = model, prompts, sampling, decode
        self._head = head_of(model)
        self._scheduler = Scheduler(jobs, num_slots=num_slots)
        self._prefilled = _Prefilled(context=None, starts={})
        self._device = device = self._head.weight.device
        longest = max(len(prompt) for prompt in prompts)
        # The last token of a response is never fed back, so it needs no room.
        self._cache = SlotCache(num_slots=num_slots, capacity=longest + sampling.max_new_tokens - 1)
        self._is_eos = torch.zeros(self._head.weight.shape[0], dtype=torch.bool, device=device)
        self._is_eos[[token for token in eos_ids if token < len(self._is_eos)]] = True
        # What the host knows without asking the device: one entry a slot.
        self._keys = np.zeros(num_slots, dtype=np.uint64)
        self._lengths = np.zeros(num_slots, dtype=np.int64)  # cached tokens
        self._counts = np.zeros(num_slots, dtype=np.int64)  # response tokens
        # What lives on the device.
        self._last = torch.zeros(num_slots, dtype=torch.int64, device=device)
        self._tokens = torch.zeros(num_slots, sampling.max_new_tokens, dtype=torch.int64, device=device)
        self._logprobs = torch.zeros(num_slots, sampling.max_new_tokens, device=device)

    def run(self, take: Callable[[Spoken], None]) -> None:
        """Does all jobs and hands each over when it finishes."""
        with torch.inference_mode():
            self._turn_over([])
            while self._scheduler.live:
                finished, is_stopped = self._step()
                if finished:
                    done = self._harvest(finished, is_stopped)
                    self._turn_over(finished)
                    for spoken in done:
                        take(spoken)

    def _step(self) -> tuple[list[int], Bool[np.ndarray, " n"]]:
        """One token for every live slot. Returns the finished slots, and which slots the model or a text stopped."""
        num_live = len(self._scheduler.live)
        lengths, counts = self._lengths[:num_live], self._counts[:num_live]
        on_device = self._to_device(lengths)
        context = StepContext(self._cache, on_device, longest=int(lengths.max()))
        hidden = hidden_states(self._model, self._last[:num_live], on_device, context)
        numbers = self._to_device(uniforms(self._keys[:num_live], counts))
        tokens, logprobs = next_tokens(self._head.logits(hidden), numbers, self._sampling)
        place = self._to_device(counts)[:, None]
        self._last[:num_live] = tokens
        self._tokens[:num_live].scatter_(1, place, tokens[:, None])
        self._logprobs[:num_live].scatter_(1, place, logprobs[:, None])
        lengths += 1
        counts += 1
        # A log-probability that is not finite ends its sequence too: `_harvest` raises.
        is_stopped = (self._is_eos[tokens] | ~logprobs.isfinite()).cpu().numpy()
        if self._sampling.stop:
            is_stopped |= self._contains_stop()
        finished = np.flatnonzero(is_stopped | (counts >= self._sampling.max_new_tokens))
        return finished.tolist(), is_stopped

    def _to_device(self, array: np.ndarray) -> Tensor:
        """A copy: the host goes on changing the array while the device may still read."""
        return torch.tensor(array, device=self._device)

    def _contains_stop(self) -> Bool[np.ndarray, " n"]:
        """Which live slots have just completed a stop string. Only the tail that may hold it is decoded.

        A token is at least one byte of text; 8 more make room for characters cut at the tail's start.
        """
        size = max(len(text.encode()) for text in self._sampling.stop) + 8
        counts = self._counts[: len(self._scheduler.live)]
        first = max(int(counts.min()) - size, 0)
        rows = self._tokens[: len(counts), first : int(counts.max())].tolist()
        tails = [
            self._decode(row[max(count - size, 0) - first : count - first])
            for row, count in zip(rows, counts.tolist(), strict=True)
        ]
        return np.array([any(text in tail for text in self._sampling.stop) for tail in tails])

    def _harvest(self, finished: Sequence[int], is_stopped: Bool[np.ndarray, " n"]) -> list[Spoken]:
        """Takes the finished sequences out as numbers of Python."""
        counts = self._counts[finished].tolist()
        tokens, logprobs = self._tokens[finished, : max(counts)], self._logprobs[finished, : max(counts)]
        rows = zip(finished, counts, tokens.tolist(), logprobs.tolist(), strict=True)
        done = [
            Spoken(
                job=self._scheduler.live[slot],
                token_ids=tuple(row_tokens[:count]),
                logprobs=tuple(row_logprobs[:count]),
                finish=Finish.STOP if is_stopped[slot] else Finish.LENGTH,
            )
            for slot, count, row_tokens, row_logprobs in rows
        ]
        if not np.isfinite([sequence.logprobs[-1] for sequence in done]).all():
            raise RunError(
                "Z409",
                "the model gives log-probabilities that are not finite",
                where="while sampling",
                why="its weights hold NaN or infinity, or its activations overflow the data type",
                fix="go back to an earlier checkpoint; with bfloat16 weights, try float32",
            )
        return done

    def _turn_over(self, finished: Sequence[int]) -> None:
        """Closes the gaps that finished samples leave, or gives them to waiting samples."""
        turnover = self._scheduler.turn_over(finished)
        if turnover.moves:
            sources, destinations = map(list, zip(*turnover.moves, strict=True))
            for array in (self._keys, self._lengths, self._counts):
                array[destinations] = array[sources]
            for tensor in (self._last, self._tokens, self._logprobs):
                tensor[destinations] = tensor[sources]
            self._cache.move(
                self._to_device(np.array(sources)),
                self._to_device(np.array(destinations)),
                length=int(self._lengths[destinations].max()),
            )
        # A group is admitted in one piece or over several turns; its keys stay at hand until the next chunk is needed.
        for group, entries in groupby(turnover.admitted, key=lambda entry: entry[1].group):
            if group not in self._prefilled.starts:
                self._prefilled = self._prefill(group)
            self._admit(group, list(entries))

    def _admit(self, group: int, entries: Sequence[tuple[int, Job]]) -> None:
        """Starts samples of one prompt in the given slots."""
        prompt = self._prompts[group]
        slots = np.array([slot for slot, _ in entries])
        size = len(prompt) - 1
        self._keys[slots] = [job.key for _, job in entries]
        self._lengths[slots] = size
        self._counts[slots] = 0
        self._last[self._to_device(slots)] = prompt[-1]
        if self._prefilled.context is not None and size:
            tokens = np.arange(size)
            self._cache.place(
                self._prefilled.context,
                source=self._to_device(np.tile(self._prefilled.starts[group] + tokens, len(slots))),
                slots=self._to_device(np.repeat(slots, size)),
                positions=self._to_device(np.tile(tokens, len(slots))),
            )

    def _prefill(self, first: int) -> _Prefilled:
        """Runs the prompts of groups `first`, `first + 1`, ... through the model, each without its last token."""
        starts: dict[int, int] = {}
        token_ids: list[int] = []
        lengths: list[int] = []
        for group in range(first, len(self._prompts)):
            tokens = self._prompts[group][:-1]
            if starts and len(token_ids) + len(tokens) > PREFILL_TOKENS:
                break
            starts[group] = len(token_ids)
            token_ids += tokens
            lengths.append(len(tokens))
        lengths = [length for length in lengths if length]
        if not lengths:
            return _Prefilled(context=None, starts=starts)
        context = PromptContext(lengths, device=self._device)
        positions = np.concatenate([np.arange(length) for length in lengths])
        hidden_states(self._model, self._to_device(np.array(token_ids)), self._to_device(positions), context)
        return _Prefilled(context=context, starts=starts)
