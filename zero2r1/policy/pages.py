"""Which pages of the cache are free, and how many holders each of the others has: pure bookkeeping.

A page is room for the keys and values of PAGE tokens, in every layer. Sequences of one group hold the same pages for
the prompt they share; a page is free again when its last holder lets go.

Pages of one sequence lie side by side as far as they can: a processor reads ahead in memory that goes on, and reads
pages of many sequences by turns half as fast (docs/log.md). So the pool is cut into runs of pages. Whoever comes begins
a run, and whoever grows gets the page behind its last one; where that is taken, or no run is whole, any free page does.

What it does not do: it knows no tensors, and it decides nothing: who gets pages, and who gives some up, is for
`scheduler` to say.
"""

from collections.abc import Iterable, Sequence

PAGE = 16
"""Tokens of a page. Ours: 16 float32 numbers are one vector register of a CPU with AVX-512, and one line of cache."""

RUN = 16
"""Pages of a run at most. Ours: 16 took an eighth more time than all pages side by side, 4 half as much again."""


def pages_of(num_tokens: int) -> int:
    """ceil(num_tokens / PAGE): pages that hold this many tokens. Ours: a sequence starts on a page of its own."""
    return -(-num_tokens // PAGE)


class PagePool:
    """Pages 0 to num_pages - 1, each free or with a count of holders."""

    def __init__(self, num_pages: int, *, num_sequences: int = 1) -> None:
        """
        Args:
            num_sequences: how many will hold pages at the same time: there are as many runs, or more.
        """
        if num_pages < 1:
            raise ValueError(f"a cache has at least 1 page, got {num_pages}")
        self.num_pages = num_pages
        self.num_free = num_pages
        """Pages without a holder."""
        self.peak = 0
        """Most pages ever in use at the same time."""
        self._counts = [0] * num_pages
        self._run = max(1, min(RUN, num_pages // num_sequences))
        # Free pages of each run. The run freed last is taken first: it is likeliest to be in the processor's caches.
        self._free = [len(self._pages(start)) for start in range(0, num_pages, self._run)]
        self._whole = dict.fromkeys(reversed(range(len(self._free))))
        self._partial: dict[int, None] = {}

    def holders(self, page: int) -> int:
        """How many hold a page; 0 when it is free."""
        return self._counts[page]

    def take(self, count: int, *, after: int | None = None) -> list[int]:
        """Takes `count` free pages; the caller is their only holder.

        Args:
            after: the page they are to follow, if they can.

        Raises:
            ValueError: fewer are free.
        """
        if count > self.num_free:
            raise ValueError(f"{count} pages asked for, {self.num_free} of {self.num_pages} are free")
        pages = []
        for _ in range(count):
            after = self._next(after)
            self._counts[after] = 1
            self._note(after, -1)
            pages.append(after)
        self.peak = max(self.peak, self.num_pages - self.num_free)
        return pages

    def share(self, pages: Sequence[int]) -> list[int]:
        """One more holder for each of these pages.

        Raises:
            ValueError: one of them is free.
        """
        if not all(self._counts[page] for page in pages):
            raise ValueError("a free page cannot be shared")
        for page in pages:
            self._counts[page] += 1
        return list(pages)

    def release(self, pages: Iterable[int]) -> None:
        """One holder less for each of these pages; a page without a holder is free.

        Raises:
            ValueError: one of them is free already.
        """
        for page in pages:
            if not self._counts[page]:
                raise ValueError(f"page {page} is released by one who does not hold it")
            self._counts[page] -= 1
            if not self._counts[page]:
                self._note(page, 1)

    def _pages(self, page: int) -> range:
        """All pages of the run of this one."""
        start = page // self._run * self._run
        return range(start, min(start + self._run, self.num_pages))

    def _next(self, after: int | None) -> int:
        """The free page to be taken now."""
        if after is not None and after + 1 < self.num_pages and not self._counts[after + 1]:
            return after + 1
        if self._whole:
            return next(reversed(self._whole)) * self._run
        run = self._pages(next(reversed(self._partial)) * self._run)
        return next(page for page in reversed(run) if not self._counts[page])  # far from the one who grows there

    def _note(self, page: int, change: int) -> None:
        """A page of this run was taken (-1) or is free again (1)."""
        run = page // self._run
        self.num_free += change
        self._free[run] += change
        for runs, belongs in (
            (self._whole, self._free[run] == len(self._pages(page))),
            (self._partial, 0 < self._free[run] < len(self._pages(page))),
        ):
            if not belongs:
                runs.pop(run, None)
            else:
                runs.setdefault(run)
