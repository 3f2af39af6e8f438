"""Laws of the page pool: no page twice, none lost, counts as held."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from zero2r1.policy.pages import PAGE, PagePool, pages_of

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
        self.pool = PagePool(NUM_PAGES)
        self.held: list[list[int]] = []
        self.most = 0

    @rule(count=st.integers(0, NUM_PAGES + 1))
    def take(self, count: int) -> None:
        free = self.pool.num_free
        if count > free:
            with pytest.raises(ValueError):
                self.pool.take(count)
            assert self.pool.num_free == free
            return
        pages = self.pool.take(count)
        assert len(pages) == len(set(pages)) == count
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
