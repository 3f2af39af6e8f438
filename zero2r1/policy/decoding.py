"""A batch of jobs that is known from the start: a session that gets all of them and runs to the end.

What it does not do: text (except for stop strings), lineage, checks of what the caller asked for: see `engine`.
Nothing here outlives the call.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from zero2r1.core.types import Finish
from zero2r1.models.recording import Recording
from zero2r1.policy.base import Sampling
from zero2r1.policy.config import PREFILL_TOKENS
from zero2r1.policy.graphs import Graphs
from zero2r1.policy.network import Network, network_of
from zero2r1.policy.pages import PAGE, pages_of
from zero2r1.policy.samples import Job
from zero2r1.policy.session import Session, Stats

__all__ = ["PREFILL_TOKENS", "Decoding", "Spoken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What became of one job."""

    job: Job
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish: Finish


class Decoding:
    """All samples of some prompts."""

    def __init__(
        self,
        model: PreTrainedModel | Network,
        prompts: Sequence[Sequence[int]],
        jobs: Sequence[Job],
        *,
        sampling: Sampling,
        eos_ids: Collection[int],
        decode: Callable[[list[int]], str],
        num_slots: int,
        max_pages: int | None = None,
        prefill_tokens: int = PREFILL_TOKENS,
        recording: Recording | None = None,
        graphs: Graphs | None = None,
    ) -> None:
        """
        Args:
            prompts: token ids; `Job.group` is an index into them. Jobs of one prompt stand together.
            max_pages: most pages of the cache; None: as many as all of them could ever need.
            recording, graphs: see `Session`.
        """
        needed = pages_needed(prompts, jobs, sampling, num_slots=num_slots)
        self._jobs = {(job.group, job.sample): job for job in jobs}
        longest = max(len(prompt) for prompt in prompts) + sampling.max_new_tokens
        self._session = Session(
            model if isinstance(model, Network) else network_of(model),
            num_slots=num_slots,
            num_pages=needed if max_pages is None else min(needed, max_pages),
            prefill_tokens=prefill_tokens,
            eos_ids=eos_ids,
            decode=decode,
            max_positions=longest,
            is_streaming=False,
            recording=recording,
            graphs=graphs,
        )
        by_group: dict[int, list[Job]] = {}
        for job in jobs:
            by_group.setdefault(job.group, []).append(job)
        for group, some in by_group.items():
            self._session.add_jobs(prompts[group], some, sampling)

    @property
    def stats(self) -> Stats:
        """What has been done so far."""
        return self._session.stats

    def run(self, take: Callable[[Spoken], None]) -> None:
        """Does all jobs and hands each over when it finishes."""
        while not self._session.is_idle:
            for event in self._session.step():
                assert event.finish is not None
                take(
                    Spoken(
                        job=self._jobs[event.request, event.sample],
                        token_ids=event.token_ids,
                        logprobs=event.logprobs,
                        finish=event.finish,
                    )
                )


def pages_needed(prompts: Sequence[Sequence[int]], jobs: Sequence[Job], sampling: Sampling, *, num_slots: int) -> int:
    """Pages with which nobody is ever put back or kept waiting: S * (own + 1) + A * kept + 1.

    S slots; `own`: most pages that belong to one sample alone; 1: what the reserve keeps free for it; `kept`: most
    pages of a prompt; A: prompts in the cache at the same time, of those who live and of as many who are next.

    Ours: an upper bound, so that a small call takes little memory.
    """
    whole = [pages_of(len(prompt) + sampling.max_new_tokens - 1) for prompt in prompts]
    own = max(pages - (len(prompt) - 1) // PAGE for pages, prompt in zip(whole, prompts, strict=True))
    kept = max(pages_of(len(prompt) - 1) for prompt in prompts)
    slots = min(num_slots, len(jobs))
    return max(slots * (own + 1) + min(len(prompts), 2 * slots) * kept + 1, max(whole))
