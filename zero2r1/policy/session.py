"""Sampling without an end: requests come and go, and each step adds a token to every live sequence.

    session = engine.open()
    number = session.add(Request(prompt=prompt, sampling=sampling, key=7))
    while not session.is_idle:
        for event in session.step():
            ...

A step reads at most `prefill_tokens` tokens of waiting prompts, then decodes once (on a GPU some times in a row, see
`steps`). A sample enters with all but the last token of its prompt in the cache; that last token is the first one it
decodes. So prompts need no logits of their own, and every token of a response comes out of the same few lines.
`Engine.sample` is a session that gets all jobs and runs to the end.

What it does not do: text (except for stop strings), lineage, threads: whoever opens a session steps it, adds to it and
cancels in one thread.
"""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import torch

from zero2r1.core.errors import ConfigError, ModelError, RunError
from zero2r1.core.random import bits
from zero2r1.core.types import Finish
from zero2r1.models.recording import Recording
from zero2r1.policy.base import Sampling
from zero2r1.policy.cache import PagedCache, PrefillContext
from zero2r1.policy.graphs import Graphs
from zero2r1.policy.network import Network
from zero2r1.policy.pages import PAGE, pages_of
from zero2r1.policy.recorder import Recorder
from zero2r1.policy.requests import Encode, Event, Request, Stats
from zero2r1.policy.samples import Job, Piece
from zero2r1.policy.scheduler import Scheduler
from zero2r1.policy.slots import Slots, Stepped
from zero2r1.policy.steps import Decoder, EagerDecoder

__all__ = ["Event", "Request", "Session", "Stats", "refuse_too_long"]


class Session:
    """Requests and the steps that answer them."""

    def __init__(
        self,
        network: Network,
        *,
        num_slots: int,
        num_pages: int,
        prefill_tokens: int,
        eos_ids: Collection[int],
        decode: Callable[[list[int]], str],
        encode: Encode | None = None,
        max_positions: int | None = None,
        is_streaming: bool = True,
        check: Callable[[], None] | None = None,
        recording: Recording | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        """
        Args:
            encode: for requests with a `Prompt`.
            max_positions: longest sequence the model knows positions for; None: no limit.
            is_streaming: an event for each step, or one for each whole response.
            check: called before each step; raises when the weights are no longer those of this session.
            recording: has room for what this network computes, and takes it; for a session that is not streaming.
            graphs: lends the cache and the recorded steps, for a network whose attention reads pages on a GPU. None:
                a cache of its own.
        """
        pages_per_slot = num_pages if max_positions is None else min(num_pages, pages_of(max_positions))
        self._recorder: Recorder | None = None
        decoder: Decoder
        if graphs is not None:
            decoder = graphs.decoder(
                network, num_pages=num_pages + 1, num_slots=num_slots, pages_per_slot=pages_per_slot + 1
            )
        else:
            cache = PagedCache(num_pages + (network.at_once > 1), is_marked=recording is not None)
            if recording is not None:
                assert network.recordable is not None and network.kernels is not None  # noqa: PT018
                assert not is_streaming
                self._recorder = Recorder(recording, network.recordable, network.kernels.head, cache)
                network = replace(network, forward=self._recorder.forward, chosen=self._recorder.choose)
            decoder = EagerDecoder(network, cache)
        self._network, self._cache, self._encode, self._check = network, decoder.cache, encode, check
        self._max_positions, self._prefill_tokens, self._is_streaming = max_positions, prefill_tokens, is_streaming
        self._scheduler = Scheduler(num_slots=num_slots, num_pages=num_pages)
        self._slots = Slots(
            network, decoder, num_slots=num_slots, pages_per_slot=pages_per_slot, eos_ids=eos_ids, decode=decode
        )
        self._num_requests = 0
        self._cancelled: set[int] = set()
        self._sampled = self._steps = self._prefilled = 0
        self._prefill_s = self._decode_s = 0.0

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing lives."""
        return not self._scheduler.num_live and not self._scheduler.waiting

    @property
    def stats(self) -> Stats:
        """What has been done so far."""
        return Stats(
            sampled_tokens=self._sampled,
            steps=self._steps,
            prefilled_tokens=self._prefilled,
            preemptions=self._scheduler.preemptions,
            peak_pages=self._scheduler.pool.peak,
            num_pages=self._scheduler.pool.num_pages,
            prefill_s=self._prefill_s,
            decode_s=self._decode_s,
        )

    def add(self, request: Request) -> int:
        """Puts a request at the end of the queue; returns its number.

        Raises:
            ModelError: prompt and max_new_tokens are longer than the model's context, or the prompt cannot be rendered.
            ConfigError: one sequence does not fit into the cache.
            ValueError: no tokens, no samples, or a `Prompt` for a session without `encode`.
        """
        if isinstance(request.prompt, tuple):
            token_ids = request.prompt
        elif self._encode is not None:
            token_ids = self._encode(request.prompt)
        else:
            raise ValueError("this session takes token ids, not prompts")
        if not token_ids or request.samples < 1:
            raise ValueError(
                f"{len(token_ids)} tokens and {request.samples} samples: a request has at least one of each"
            )
        number = self._num_requests
        jobs = [Job(group=number, sample=i, key=bits(request.key, i)) for i in range(request.samples)]
        self.add_jobs(token_ids, jobs, request.sampling)
        return number

    def add_jobs(self, token_ids: Sequence[int], jobs: Sequence[Job], sampling: Sampling) -> None:
        """The samples of one prompt, with numbers and keys of the caller's choice. Raises as `add`."""
        num_pages = self._scheduler.pool.num_pages
        refuse_too_long(len(token_ids), sampling.max_new_tokens, self._max_positions, num_pages)
        self._num_requests = max(self._num_requests, 1 + max(job.group for job in jobs))
        self._scheduler.add(token_ids, jobs, sampling)

    def cancel(self, request: int) -> None:
        """No more events of this request; its slots and pages are free from the next step on. Unknown ones are none."""
        self._cancelled.add(request)
        for sample in [sample for sample in self._scheduler.waiting if sample.job.group == request]:
            self._scheduler.drop(sample)

    def step(self) -> list[Event]:
        """Reads a piece of what waits, then adds a token to every live sequence, or some where steps run in a row.

        Raises:
            RunError: the weights changed since the session was opened, or they give numbers that are not finite.
        """
        if self._check is not None:
            self._check()
        with torch.inference_mode():
            self._turn_over()
            if not self._slots.num_live:
                return []
            started = time.perf_counter()
            stepped = self._slots.step()
            self._steps += stepped.steps
            self._sampled += int(stepped.new.sum())
            self._decode_s += time.perf_counter() - started
            told = range(len(stepped.new)) if self._is_streaming else stepped.finished
            rows = self._slots.said(told, stepped.new if self._is_streaming else None)
            events = self._events(told, rows, stepped)
            self._scheduler.leave(stepped.finished)
        return events

    def _events(
        self, slots: Sequence[int], rows: Sequence[tuple[list[int], list[float]]], stepped: Stepped
    ) -> list[Event]:
        """One event for each of these slots, with its row of tokens and log-probabilities."""
        ended = set(stepped.finished)
        events: list[Event] = []
        for slot, (token_ids, logprobs) in zip(slots, rows, strict=True):
            sample = self._scheduler.live[slot]
            finish = Finish.STOP if stepped.is_stopped[slot] else Finish.LENGTH
            if not math.isfinite(logprobs[-1]):
                raise RunError(
                    "Z409",
                    "the model gives log-probabilities that are not finite",
                    where="while sampling",
                    why="its weights hold NaN or infinity, or its activations overflow the data type",
                    fix="go back to an earlier checkpoint; with bfloat16 weights, try float32",
                )
            if self._recorder is not None:
                self._recorder.end((*sample.group.token_ids, *token_ids), sample.pages)
            events.append(
                Event(
                    request=sample.job.group,
                    sample=sample.job.sample,
                    token_ids=tuple(token_ids),
                    logprobs=tuple(logprobs),
                    finish=finish if slot in ended else None,
                )
            )
        return events

    def _turn_over(self) -> None:
        """Ends what was cancelled, reads what waits, lets samples in and gives pages to those who need one."""
        scheduler, slots = self._scheduler, self._slots
        if self._cancelled:
            is_unwanted = [sample.job.group in self._cancelled for sample in scheduler.live]
            scheduler.leave([slot for slot, is_gone in enumerate(is_unwanted) if is_gone])
            self._cancelled.clear()
        pieces = scheduler.plan(self._prefill_tokens)
        if pieces:
            self._read(pieces)
        entries, moves = scheduler.admit(), scheduler.close()
        if entries or len(scheduler.live) != slots.num_live:
            slots.rearrange(entries, moves, len(scheduler.live))
        short = slots.short()
        if short:
            self._grow(short)

    def _read(self, pieces: Sequence[Piece]) -> None:
        """Puts the keys and values of these tokens into the cache."""
        started = time.perf_counter()
        network = self._network
        context = PrefillContext(self._cache, pieces, device=network.device, kernels=network.attention)
        self._network.forward(context.token_ids, context.position_ids, context)
        self._prefilled += len(context.token_ids)
        self._prefill_s += time.perf_counter() - started

    def _grow(self, short: Sequence[int]) -> None:
        """A page for each of these slots; where there is none, others are put back with what they have said."""
        scheduler, slots = self._scheduler, self._slots
        victims = scheduler.grow(short)
        for slot in short:
            if slot not in victims:
                slots.add_page(slot, scheduler.live[slot].pages[-1])
        if victims:
            for slot, (token_ids, logprobs) in zip(victims, slots.said(victims), strict=True):
                sample = scheduler.live[slot]
                sample.said, sample.logprobs = token_ids, logprobs
            slots.rearrange([], scheduler.close(), len(scheduler.live))


def refuse_too_long(prompt_tokens: int, max_new_tokens: int, max_positions: int | None, num_pages: int) -> None:
    """Raises when a sequence could outgrow the model's context, or the whole cache.

    The last token of a response is never fed back, so it needs no room in the cache.

    Raises:
        ModelError: more positions than the model has.
        ConfigError: more pages than there are.
    """
    needed = prompt_tokens + max_new_tokens
    if max_positions is not None and needed > max_positions:
        raise ModelError(
            "Z207",
            f"a prompt of {prompt_tokens} tokens and max_new_tokens={max_new_tokens} need {needed} positions",
            where=f"the model has {max_positions}",
            fix=f"set max_new_tokens to at most {max(max_positions - prompt_tokens, 0)}, or leave long prompts out",
        )
    cached = pages_of(needed - 1) * PAGE
    if cached > num_pages * PAGE:
        raise ConfigError(
            "Z110",
            f"one sequence needs {cached} tokens of cache and the engine may hold {num_pages * PAGE}",
            fix=f"raise max_tokens_in_cache to at least {cached}, or lower max_new_tokens",
        )
