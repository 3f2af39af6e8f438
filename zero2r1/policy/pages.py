"""Which pages of the cache are free, and how many holders each of the others has: pure bookkeeping.

A page is room for the keys and values of PAGE tokens, in every layer. Sequences of one group hold the same pages for
the prompt they share; a page is free again when its last holder lets go.

What it does not do: it knows no tensors, and it decides nothing: who gets pages, and who gives some up, is for
`scheduler` to say.
"""

from collections.abc import Iterable, Sequence

PAGE = 16
"""Tokens of a page. Ours: 16 float32 numbers are one vector register of a CPU with AVX-512, and one line of cache."""


def pages_of(num_tokens: int) -> int:
    """ceil(num_tokens / PAGE): pages that hold this many tokens. Ours: a sequence starts on a page of its own."""
    return -(-num_tokens // PAGE)


class PagePool:
    """Pages 0 to num_pages - 1, each free or with a count of holders."""

    def __init__(self, num_pages: int) -> None:
        if num_pages < 1:
            raise ValueError(f"a cache has at least 1 page, got {num_pages}")
        self.num_pages = num_pages
        self.peak = 0
        """Most pages ever in use at the same time."""
        # The page freed last is taken first: it is the likeliest to be in the processor's caches.
        self._free = list(range(num_pages - 1, -1, -1))
        self._counts = [0] * num_pages

    @property
    def num_free(self) -> int:
        """Pages without a holder."""
        return len(self._free)

    def holders(self, page: int) -> int:
        """How many hold a page; 0 when it is free."""
        return self._counts[page]

    def take(self, count: int) -> list[int]:
        """Takes `count` free pages; the caller is their only holder.

        Raises:
            ValueError: fewer are free.
        """
        if count > len(self._free):
            raise ValueError(f"{count} pages asked for, {len(self._free)} of {self.num_pages} are free")
        pages = [self._free.pop() for _ in range(count)]
        for page in pages:
            self._counts[page] = 1
        self.peak = max(self.peak, self.num_pages - len(self._free))
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
                self._free.append(page)
