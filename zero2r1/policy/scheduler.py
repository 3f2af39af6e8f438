"""Who sits in which slot and who holds which page: continuous batching and paging as pure bookkeeping.

The live samples always fill slots 0 to n - 1 without a gap, so the batch of a decoding step is a slice. When samples
finish, waiting ones take their slots; when none can, the last live samples move into the gaps and the batch shrinks.

Nothing is reserved for what a sample may come to say: it is admitted when its prompt fits, and takes a page for every
PAGE tokens. When no page is free, the cached prompts of those who wait are given up, the newest first, and then the
sample that was admitted last goes back to the front of the queue with its tokens; its keys and values are computed
again later. A sample that fits into the cache alone therefore always comes to its end.

What it does not do: it knows no tensors. Samples are admitted strictly in their order, and there are no priorities.

Source: Kwon et al., "Efficient Memory Management for Large Language Model Serving with PagedAttention" (2023), sections
4.3 to 4.5: pages, sharing with copy on write, preemption by recomputation. Ours: the reserve and what is read ahead.
"""

from collections import deque
from collections.abc import Iterator, Sequence

from zero2r1.policy.base import Sampling
from zero2r1.policy.pages import PAGE, PagePool, pages_of
from zero2r1.policy.samples import Entry, Group, Job, Piece, Prefix, Sample

__all__ = ["Job", "Scheduler"]

AHEAD_FRAC = 0.25
"""Ours: prompts are read before a slot is free for them only while this share of the pages stays free."""


class Scheduler:
    """Slots, pages and the queue before them.

    A turn is: `leave` for those who ended, `plan` (and reading what it says), `admit`, `close`, `grow`, and `close`
    again when somebody was put back.
    """

    def __init__(self, *, num_slots: int, num_pages: int) -> None:
        if num_slots < 1:
            raise ValueError(f"an engine has at least 1 slot, got {num_slots}")
        self.num_slots = num_slots
        self.pool = PagePool(num_pages, num_sequences=num_slots)
        self.preemptions = 0
        """How often a live sample was put back."""
        self._waiting: deque[Sample] = deque()
        self._live: list[Sample] = []
        self._gaps: list[int] = []
        self._held: dict[Prefix, None] = {}  # those with pages, in the order in which they got their first
        self._admissions = 0

    @property
    def live(self) -> Sequence[Sample]:
        """The sample in each slot, slots 0 to n - 1. Between `leave` or `grow` and `close`, some have left already."""
        return self._live

    @property
    def num_live(self) -> int:
        """Live samples without those who have left."""
        return len(self._live) - len(self._gaps)

    @property
    def waiting(self) -> Sequence[Sample]:
        """Samples without a slot, the next one first."""
        return self._waiting

    def add(self, token_ids: Sequence[int], jobs: Sequence[Job], sampling: Sampling) -> None:
        """Puts the samples of one prompt at the end of the queue."""
        group = Group(token_ids=tuple(token_ids), unfinished=len(jobs), fresh=len(jobs))
        self._waiting.extend(Sample(job=job, group=group, sampling=sampling) for job in jobs)

    def leave(self, slots: Sequence[int]) -> None:
        """Takes samples that ended, or are wanted no more, out of their slots and frees their pages."""
        for slot in slots:
            if slot not in self._gaps:
                self._gaps.append(slot)
                self._forget(self._live[slot])

    def drop(self, sample: Sample) -> None:
        """Takes a waiting sample out of the queue."""
        self._waiting.remove(sample)
        if sample.prefix is None:
            sample.group.fresh -= 1
        else:
            self._release(sample.prefix)
        self._forget(sample)

    def plan(self, num_tokens: int) -> list[Piece]:
        """What is to be read now, at most `num_tokens` tokens: what those next in the queue lack, in their order.

        While a slot waits for a prompt anyway, the rest of the tokens goes to the prompts behind it.
        """
        num_free = self.num_slots - self.num_live
        pieces: list[Piece] = []
        for index, sample in enumerate(self._waiting):
            is_ahead = index >= num_free
            if num_tokens < 1 or (is_ahead and not pieces) or index >= num_free + self.num_slots:
                break
            for prefix, size in self._needs(sample):
                if prefix.done >= size:
                    continue
                end = min(size, prefix.done + num_tokens)
                if not self._extend(prefix, end, is_ahead=is_ahead, is_first=not pieces):
                    return pieces
                token_ids = sample.token_ids[prefix.done : end]
                pieces.append(Piece(token_ids=token_ids, start=prefix.done, pages=tuple(prefix.pages)))
                num_tokens -= end - prefix.done
                prefix.done = end
                if end < size:
                    return pieces
        return pieces

    def admit(self) -> list[Entry]:
        """Lets waiting samples in whose prompts have been read, as long as there are slots and pages."""
        entries: list[Entry] = []
        gaps = deque(sorted(self._gaps))
        while self._waiting and (gaps or len(self._live) < self.num_slots) and self._is_ready(self._waiting[0]):
            sample = self._waiting[0]
            copies = self._seat(sample)
            if copies is None:
                break
            self._waiting.popleft()
            sample.admission, self._admissions = self._admissions, self._admissions + 1
            slot = gaps.popleft() if gaps else len(self._live)
            self._live[slot : slot + 1] = [sample]
            self._gaps = list(gaps)
            entries.append(Entry(slot=slot, sample=sample, copies=copies))
        return entries

    def close(self) -> list[tuple[int, int]]:
        """Fills the gaps from the end, so that the live samples are slots 0 to n - 1 again.

        Returns (from slot, to slot); no slot is both a source and a destination.
        """
        moves: list[tuple[int, int]] = []
        gaps = deque(sorted(self._gaps))
        while gaps:
            last = len(self._live) - 1
            if gaps[-1] == last:
                gaps.pop()
            else:
                moves.append((last, gaps[0]))
                self._live[gaps.popleft()] = self._live[last]
            self._live.pop()
        self._gaps = []
        return moves

    def grow(self, slots: Sequence[int]) -> list[int]:
        """One more page for the samples in these slots, the one admitted first coming first.

        Returns the slots of those who were put back to make room; the caller notes what they have said.
        """
        victims: list[int] = []
        for slot in sorted(slots, key=lambda slot: self._live[slot].admission):
            while slot not in victims and not self.pool.num_free:
                if not self._give_up(keep=None):
                    victims.append(self._put_back(victims))
            if slot not in victims:
                pages = self._live[slot].pages
                pages += self.pool.take(1, after=pages[-1])
        return victims

    def _put_back(self, gone: Sequence[int]) -> int:
        """The sample admitted last, of those not gone yet, goes back to the front of the queue."""
        slots = [slot for slot in range(len(self._live)) if slot not in gone]
        slot = max(slots, key=lambda slot: self._live[slot].admission)
        sample = self._live[slot]
        self._gaps.append(slot)
        self.pool.release(sample.pages)
        sample.pages, sample.prefix = [], Prefix(is_own=True)
        self._waiting.appendleft(sample)
        self.preemptions += 1
        return slot

    def _forget(self, sample: Sample) -> None:
        self.pool.release(sample.pages)
        sample.pages = []
        group = sample.group
        group.unfinished -= 1
        if not group.unfinished:
            self._release(group.prefix)

    def _needs(self, sample: Sample) -> Iterator[tuple[Prefix, int]]:
        """Which prefixes must hold how many tokens before the sample can enter, one after the other."""
        group, own = sample.group, sample.prefix
        if own is None:
            yield group.prefix, group.size
            return
        yield group.prefix, group.full
        if not own.pages and group.full:
            own.pages, own.done = self.pool.share(group.prefix.pages[: pages_of(group.full)]), group.full
            self._held[own] = None
        yield own, sample.size

    def _is_ready(self, sample: Sample) -> bool:
        if sample.prefix is None:
            return sample.group.prefix.done >= sample.group.size
        return sample.prefix.done >= sample.size

    def _extend(self, prefix: Prefix, num_tokens: int, *, is_ahead: bool, is_first: bool) -> bool:
        """Pages for the first `num_tokens` tokens of a prefix, unless those who live may soon need them.

        Ours: one page for each live sample stays free. With nobody alive, what others hold is given up for it.
        """
        count = max(0, pages_of(num_tokens) - len(prefix.pages))
        if self.num_live or is_ahead or not is_first:
            kept = int(self.pool.num_pages * AHEAD_FRAC) if is_ahead else 0
            if self.pool.num_free - count < max(self.num_live + 1, kept):
                return False
        while self.pool.num_free < count and self._give_up(keep=prefix):
            pass
        if count:
            prefix.pages += self.pool.take(count, after=prefix.pages[-1] if prefix.pages else None)
            self._held[prefix] = None
        return True

    def _seat(self, sample: Sample) -> tuple[tuple[int, int], ...] | None:
        """Gives a ready sample its pages, with room for one more token: which pages to copy, or None if none is free.

        Each fresh sample but the last of its group copies the partly filled page of the prompt; the last takes it over.
        """
        group = sample.group
        is_partial = sample.size % PAGE > 0
        takes_over = is_partial and (sample.prefix is not None or group.fresh == 1)
        if self.num_live and self.pool.num_free - (not takes_over) < self.num_live + 1:
            return None
        takes_over = takes_over or (is_partial and not self.pool.num_free)
        while not takes_over and not self.pool.num_free and self._give_up(keep=sample.prefix or group.prefix):
            pass
        held = [] if sample.prefix is None else sample.prefix.pages
        new = [] if takes_over else self.pool.take(1, after=held[-1] if held else None)
        if sample.prefix is not None:
            self._held.pop(sample.prefix, None)
            sample.pages, sample.prefix = sample.prefix.pages + new, None
            return ()
        group.fresh -= 1
        shared = pages_of(group.full)
        sample.pages = self.pool.share(group.prefix.pages[:shared])
        if takes_over:
            new = [self._pop(group.prefix)]
        sample.pages += new
        return ((group.prefix.pages[shared], new[0]),) if is_partial and not takes_over else ()

    def _give_up(self, *, keep: Prefix | None) -> bool:
        """Frees one page of those who wait, the last of the newest prefix whose last page nobody else holds."""
        newest_first = [prefix for prefix in reversed(self._held) if prefix is not keep]
        for prefix in newest_first:
            if self.pool.holders(prefix.pages[-1]) == 1:
                self.pool.release([self._pop(prefix)])
                return True
        for prefix in newest_first:
            # It holds pages of its group's prompt only, and so keeps the group itself from giving them up.
            if prefix.is_own:
                self._release(prefix)
                return self._give_up(keep=keep)
        return False

    def _pop(self, prefix: Prefix) -> int:
        """Takes the last page from a prefix; it stays held by whoever called."""
        page = prefix.pages.pop()
        prefix.done = min(prefix.done, len(prefix.pages) * PAGE)
        if not prefix.pages:
            del self._held[prefix]
        return page

    def _release(self, prefix: Prefix) -> None:
        self.pool.release(prefix.pages)
        prefix.pages, prefix.done = [], 0
        self._held.pop(prefix, None)
