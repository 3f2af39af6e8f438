"""Which sample sits in which slot: continuous batching as pure bookkeeping.

The live samples always fill slots 0 to n - 1 without a gap, so the batch of a decoding step is a slice. When samples
finish, waiting ones take their slots at once; when none waits, the last live samples move into the gaps and the batch
shrinks.

What it does not do: it knows no tensors, no tokens, no cache; no priorities and no preemption either.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One sample to be drawn."""

    group: int
    """Index of its prompt, 0 <= group < P."""
    sample: int
    """Index inside the group, 0 <= sample < G."""
    key: int
    """64-bit key of its uniform numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turnover:
    """What changes in the slots between two steps. The moves come first, then the admissions."""

    moves: tuple[tuple[int, int], ...]
    """(from slot, to slot): a live sample fills a gap. No slot is both a source and a destination."""
    admitted: tuple[tuple[int, Job], ...]
    """(slot, job): a waiting sample takes a free slot. Jobs are in the order they were given."""


class Scheduler:
    """Slots and the queue before them."""

    def __init__(self, jobs: Iterable[Job], *, num_slots: int) -> None:
        if num_slots < 1:
            raise ValueError(f"an engine has at least 1 slot, got {num_slots}")
        self.num_slots = num_slots
        self._waiting = deque(jobs)
        self._live: list[Job] = []

    @property
    def live(self) -> Sequence[Job]:
        """The job in each slot, slots 0 to n - 1."""
        return self._live

    @property
    def num_waiting(self) -> int:
        """Jobs that have not had a slot yet."""
        return len(self._waiting)

    def turn_over(self, finished: Sequence[int]) -> Turnover:
        """Takes the finished samples (slots in rising order) out and lets waiting ones in."""
        admitted: list[tuple[int, Job]] = []
        gaps = deque(finished)
        while gaps and self._waiting:
            admitted.append((gaps.popleft(), self._waiting.popleft()))
        for slot, job in admitted:
            self._live[slot] = job
        while self._waiting and len(self._live) < self.num_slots:
            admitted.append((len(self._live), self._waiting[0]))
            self._live.append(self._waiting.popleft())
        return Turnover(moves=tuple(self._close(gaps)), admitted=tuple(admitted))

    def _close(self, gaps: deque[int]) -> list[tuple[int, int]]:
        """Fills gaps from the end until the live samples are slots 0 to n - 1 again."""
        moves: list[tuple[int, int]] = []
        while gaps:
            last = len(self._live) - 1
            if gaps[-1] == last:
                gaps.pop()
            else:
                moves.append((last, gaps[0]))
                self._live[gaps.popleft()] = self._live[last]
            self._live.pop()
        return moves
