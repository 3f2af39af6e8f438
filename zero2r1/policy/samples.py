"""What the scheduler moves about: a prompt with its samples, what of each is in the cache, and a piece to be read.

What it does not do: no decisions and no tensors; page numbers stand for the keys and values.
"""

from dataclasses import dataclass, field

from zero2r1.policy.base import Sampling
from zero2r1.policy.pages import PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One sample to be drawn."""

    group: int
    """Which prompt, as the caller numbers them."""
    sample: int
    """Index inside the group, 0 <= sample < G."""
    key: int
    """64-bit key of its uniform numbers."""


@dataclass(slots=True, kw_only=True, eq=False)
class Prefix:
    """Tokens 0 to done - 1 of something that waits, and the pages that hold them."""

    is_own: bool
    """True for the tokens of one sample that was put back, False for the prompt of a group."""
    pages: list[int] = field(default_factory=list)
    """In order; a page beyond `done` is taken but not read yet."""
    done: int = 0
    """Tokens in the cache, or about to be when the pieces planned so far have been read."""


@dataclass(slots=True, kw_only=True, eq=False)
class Group:
    """One prompt and what its samples share."""

    token_ids: tuple[int, ...]
    """[T_prompt], not empty."""
    unfinished: int
    """Samples that wait or live."""
    fresh: int
    """Samples that never lived."""
    prefix: Prefix = field(default_factory=lambda: Prefix(is_own=False))
    """The prompt without its last token. Its full pages are kept while a sample is unfinished."""

    @property
    def size(self) -> int:
        """Tokens a fresh sample finds in the cache: the last one of the prompt is the first that it decodes."""
        return len(self.token_ids) - 1

    @property
    def full(self) -> int:
        """Tokens on the full pages of the prompt, which all samples share."""
        return self.size // PAGE * PAGE


@dataclass(slots=True, kw_only=True, eq=False)
class Sample:
    """One sequence on its way: waiting, live, or put back with what it has said."""

    job: Job
    group: Group
    sampling: Sampling
    said: list[int] = field(default_factory=list)
    """Response tokens it had when it was put back."""
    logprobs: list[float] = field(default_factory=list)
    """[len(said)] in nats."""
    prefix: Prefix | None = None
    """Of a sample that was put back: prompt and `said` without the last token."""
    pages: list[int] = field(default_factory=list)
    """Of a live sample, in the order of its tokens; it is one holder of each."""
    admission: int = -1
    """How many samples were admitted before it, the last time."""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """Prompt and response so far."""
        return (*self.group.token_ids, *self.said)

    @property
    def size(self) -> int:
        """Tokens that are in the cache when it enters: all but the last."""
        return len(self.group.token_ids) + len(self.said) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Tokens that are to go through the network now, so that the cache holds them."""

    token_ids: tuple[int, ...]
    """[N], not empty."""
    start: int
    """Position of the first; the positions before it are in the cache, or in pieces planned before."""
    pages: tuple[int, ...]
    """Of positions 0 to start + N - 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A sample that takes a slot."""

    slot: int
    sample: Sample
    copies: tuple[tuple[int, int], ...]
    """(from page, to page): the partly filled last page of the prompt, if the sample needs one of its own."""
