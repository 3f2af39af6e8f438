"""Laws of the page pool: no page twice, none lost, counts as held."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zero2r1.policy.pages import PAGE, RUN, PagePool, pages_of

NUM_PAGES = 7


@pytest.mark.parametrize(
    ("tokens", "pages"), [(0, 0), (1, 1), (PAGE - 1, 1), (PAGE, 1), (PAGE + 1, 2), (5 * PAGE, 5), (5 * PAGE + 1, 6)]
)
def test_a_sequence_needs_whole_pages(tokens: int, pages: int) -> None:
    assert pages_of(tokens) == pages


class Holders(RuleBasedStateMachine):
    """Some holders, each with a list of pages, as sequences of one group have them."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = PagePool(NUM_PAGES, num_sequences=3)  # runs of 2, 2, 2 and 1
        self.held: list[list[int]] = []
        self.most = 0

    @rule(count=st.integers(0, NUM_PAGES + 1), after=st.none() | st.integers(0, NUM_PAGES - 1))
    def take(self, count: int, after: int | None) -> None:
        free = self.pool.num_free
        if count > free:
            with pytest.raises(ValueError):
                self.pool.take(count)
            assert self.pool.num_free == free
            return
        follows = count and after is not None and after + 1 < NUM_PAGES and not self.pool.holders(after + 1)
        pages = self.pool.take(count, after=after)
        assert len(pages) == len(set(pages)) == count
        assert not follows or pages[0] == after + 1
        assert not set(pages) & {page for other in self.held for page in other}
        self.held.append(pages)
        self.most = max(self.most, NUM_PAGES - self.pool.num_free)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def share(self, data: st.DataObject) -> None:
        other = data.draw(st.sampled_from(self.held))
        self.held.append(self.pool.share(other[: data.draw(st.integers(0, len(other)))]))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.pool.release(self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @invariant()
    def every_page_is_free_or_counted(self) -> None:
        held = [page for pages in self.held for page in pages]
        assert [self.pool.holders(page) for page in range(NUM_PAGES)] == [held.count(p) for p in range(NUM_PAGES)]
        assert self.pool.num_free == NUM_PAGES - len(set(held))
        assert self.pool.peak == self.most


TestHolders = Holders.TestCase
TestHolders.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_pages_of_a_sequence_lie_side_by_side() -> None:
    pool = PagePool(12, num_sequences=3)  # runs of 4
    one, two = pool.take(1), pool.take(1)
    for _ in range(3):  # they grow by turns
        one += pool.take(1, after=one[-1])
        two += pool.take(1, after=two[-1])
    assert (one, two) == ([0, 1, 2, 3], [4, 5, 6, 7])
    assert pool.take(1, after=one[-1]) == [8]  # page 4 is taken: a run of its own
    assert pool.take(1) == [11]  # no run is whole: the page that the one at 8 needs last
    pool.release(two)
    assert pool.take(2) == [4, 5]


def test_a_run_is_no_longer_than_needed() -> None:
    assert PagePool(3, num_sequences=8).take(3) == [0, 1, 2]
    pool = PagePool(100 * RUN)
    assert pool.take(1) + pool.take(1) == [0, RUN]


def test_what_nobody_holds_cannot_be_shared_or_released() -> None:
    pool = PagePool(3)
    pages = pool.take(2)
    pool.release(pages)
    with pytest.raises(ValueError):
        pool.release(pages[:1])
    with pytest.raises(ValueError):
        pool.share(pages[:1])
    with pytest.raises(ValueError):
        PagePool(0)
    assert pool.num_free == 3
