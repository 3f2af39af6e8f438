"""Laws of the bookkeeping of slots and pages."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.policy.base import Sampling
from zero2r1.policy.pages import PAGE, pages_of
from zero2r1.policy.samples import Job, Sample
from zero2r1.policy.scheduler import Scheduler

SAMPLING = Sampling(max_new_tokens=8)
PLENTY = 10_000


def made(num_jobs: int, *, num_slots: int, num_pages: int = 100, size: int = 3) -> Scheduler:
    """Groups of four samples with prompts of `size` tokens; the key of a job is its number."""
    scheduler = Scheduler(num_slots=num_slots, num_pages=num_pages)
    for group in range(-(-num_jobs // 4)):
        numbers = range(4 * group, min(4 * group + 4, num_jobs))
        jobs = [Job(group=group, sample=number % 4, key=number) for number in numbers]
        scheduler.add(tuple(range(size)), jobs, SAMPLING)
    return scheduler


def turn(
    scheduler: Scheduler, finished: list[int] | None = None
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(slot, key) of those admitted, and the moves."""
    scheduler.leave(finished or [])
    scheduler.plan(PLENTY)
    entries = [(entry.slot, entry.sample.job.key) for entry in scheduler.admit()]
    return entries, scheduler.close()


def test_the_first_turn_fills_the_slots_in_order() -> None:
    scheduler = made(5, num_slots=3)
    assert turn(scheduler) == ([(0, 0), (1, 1), (2, 2)], [])
    assert len(scheduler.waiting) == 2


def test_a_waiting_sample_takes_the_slot_of_a_finished_one() -> None:
    scheduler = made(5, num_slots=3)
    turn(scheduler)
    assert turn(scheduler, [1]) == ([(1, 3)], [])


def test_with_nobody_waiting_the_last_live_sample_moves_into_the_gap() -> None:
    scheduler = made(5, num_slots=5)
    turn(scheduler)
    # Slots 0 1 2 3 4 without 1 and 3: sample 4 moves to slot 1, slot 3 falls away.
    assert turn(scheduler, [1, 3]) == ([], [(4, 1)])
    assert [sample.job.key for sample in scheduler.live] == [0, 4, 2]


def test_an_engine_without_slots_is_refused() -> None:
    with pytest.raises(ValueError):
        made(1, num_slots=0)


def test_full_pages_of_a_prompt_are_shared_and_the_last_one_is_copied_for_all_but_one() -> None:
    # 40 tokens, the last of which is decoded: 39 cached, 2 full pages and one with 7 tokens.
    scheduler = made(4, num_slots=4, size=40)
    pieces = scheduler.plan(PLENTY)
    assert [(piece.start, len(piece.token_ids), len(piece.pages)) for piece in pieces] == [(0, 39, 3)]
    entries = scheduler.admit()
    first, second, partial = pieces[0].pages
    assert all(entry.sample.pages[:2] == [first, second] for entry in entries)
    assert [entry.copies for entry in entries[:3]] == [((partial, entry.sample.pages[2]),) for entry in entries[:3]]
    assert entries[3].copies == ()
    assert entries[3].sample.pages[2] == partial
    # The prompt itself, kept for those who may be put back, and four samples.
    assert [scheduler.pool.holders(page) for page in (first, second, partial)] == [5, 5, 1]
    assert scheduler.pool.num_free == 100 - 2 - 4


def test_a_prompt_that_ends_with_a_page_is_shared_whole_and_each_sample_gets_an_empty_page() -> None:
    scheduler = made(2, num_slots=4, size=33)
    scheduler.plan(PLENTY)
    entries = scheduler.admit()
    assert [entry.copies for entry in entries] == [(), ()]
    assert [len(entry.sample.pages) for entry in entries] == [3, 3]
    assert entries[0].sample.pages[:2] == entries[1].sample.pages[:2]
    assert entries[0].sample.pages[2] != entries[1].sample.pages[2]


def test_a_long_prompt_is_read_in_pieces_that_go_on_where_the_last_one_ended() -> None:
    scheduler = made(1, num_slots=1, size=46)
    seen = []
    while not scheduler.admit():
        (piece,) = scheduler.plan(20)
        seen.append((piece.start, piece.token_ids, len(piece.pages)))
    assert seen == [(0, tuple(range(20)), 2), (20, tuple(range(20, 40)), 3), (40, tuple(range(40, 45)), 3)]


def test_prompts_behind_are_read_with_one_that_is_needed_and_never_for_themselves() -> None:
    scheduler = made(12, num_slots=5, size=11)
    assert [len(piece.token_ids) for piece in scheduler.plan(25)] == [10, 10, 5]
    scheduler.admit()
    assert scheduler.plan(25) == []  # five slots, five samples
    scheduler.leave([0])
    assert scheduler.plan(25) == []  # the second prompt is at hand
    scheduler.admit()
    scheduler.leave([1, 2, 3, 4])
    assert [(piece.start, len(piece.token_ids)) for piece in scheduler.plan(25)] == [(5, 5)]


def test_the_sample_admitted_last_is_put_back_and_comes_again_first() -> None:
    # 4 pages of 16; prompts of 17 tokens: one shared page and one each.
    scheduler = made(3, num_slots=3, num_pages=4, size=17)
    turn(scheduler)
    assert [sample.job.key for sample in scheduler.live] == [0]  # with the reserve of a page for each, one is let in
    scheduler = made(3, num_slots=3, num_pages=6, size=17)
    turn(scheduler)
    assert [sample.job.key for sample in scheduler.live] == [0, 1]
    assert scheduler.pool.num_free == 3
    assert scheduler.grow([0, 1]) == []
    assert scheduler.pool.num_free == 1
    # The older sample gets the page; for its own the younger one is put back.
    assert scheduler.grow([0, 1]) == [1]
    scheduler.live[1].said = list(range(32))
    assert scheduler.close() == []
    assert [sample.job.key for sample in scheduler.waiting] == [1, 2]
    assert scheduler.preemptions == 1
    # Its 48 tokens need the shared page and two more, and one live sample asks for a reserve: they fit when it ends.
    assert turn(scheduler) == ([], [])
    assert turn(scheduler, [0]) == ([(0, 1)], [])


class World:
    """What an engine would do with the plans: a cache that knows which token of which text stands where."""

    def __init__(self, scheduler: Scheduler, ends: dict[int, int]) -> None:
        self.scheduler, self.ends = scheduler, ends
        self.cache: dict[tuple[int, int], int] = {}  # by page and place: the token
        self.samples: list[Sample] = []
        self.texts: list[list[int]] = []
        self.ended: list[int] = []

    def step(self, finished: list[int], chunk: int) -> list[int]:
        """One turn and one token for each; returns the slots of those who ended."""
        self.scheduler.leave(finished)
        pieces = self.scheduler.plan(chunk)
        assert sum(len(piece.token_ids) for piece in pieces) <= chunk
        for piece in pieces:
            for place, token in enumerate(piece.token_ids, piece.start):
                self.cache[piece.pages[place // PAGE], place % PAGE] = token
        for entry in self.scheduler.admit():
            for source, target in entry.copies:
                self.cache |= {(target, place): self.cache.get((source, place), 0) for place in range(PAGE)}
            self.samples[entry.slot : entry.slot + 1] = [entry.sample]
            self.texts[entry.slot : entry.slot + 1] = [list(entry.sample.token_ids)]
        self.close()
        self.grow()
        self.close()
        for sample, text in zip(self.samples, self.texts, strict=True):
            page = sample.pages[(len(text) - 1) // PAGE]
            assert self.scheduler.pool.holders(page) == 1  # nobody writes on what another one reads
            self.cache[page, (len(text) - 1) % PAGE] = text[-1]
        return [slot for slot in range(len(self.samples)) if self.speaks(slot)]

    def close(self) -> None:
        for source, target in self.scheduler.close():
            self.samples[target], self.texts[target] = self.samples[source], self.texts[source]
        del self.samples[len(self.scheduler.live) :], self.texts[len(self.scheduler.live) :]
        assert self.samples == list(self.scheduler.live)

    def grow(self) -> None:
        pairs = zip(self.samples, self.texts, strict=True)
        short = [slot for slot, (sample, text) in enumerate(pairs) if len(text) > PAGE * len(sample.pages)]
        for victim in self.scheduler.grow(short):
            sample = self.samples[victim]
            sample.said = self.texts[victim][len(sample.group.token_ids) :]

    def speaks(self, slot: int) -> bool:
        """Reads the whole text from the cache and adds a token; True when it was the last."""
        sample, text = self.samples[slot], self.texts[slot]
        assert [self.cache[sample.pages[place // PAGE], place % PAGE] for place in range(len(text))] == text
        number = sample.job.key
        count = len(text) - len(sample.group.token_ids) + 1
        text.append(-100 * (number + 1) - count)
        if count == self.ends[number]:
            self.ended.append(number)
        return count == self.ends[number]


@settings(max_examples=80, deadline=None)
@given(
    data=st.data(),
    prompts=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 4)), min_size=1, max_size=6),
    num_slots=st.integers(1, 6),
    spare=st.integers(0, 12),
    chunk=st.integers(1, 90),
)
def test_every_sample_ends_once_and_finds_its_own_tokens_in_the_cache(
    data: st.DataObject, prompts: list[tuple[int, int]], num_slots: int, spare: int, chunk: int
) -> None:
    longest = data.draw(st.integers(1, 60))
    num_pages = pages_of(max(size for size, _ in prompts) + longest - 1) + spare
    scheduler = Scheduler(num_slots=num_slots, num_pages=num_pages)
    ends: dict[int, int] = {}
    for group, (size, samples) in enumerate(prompts):
        jobs = [Job(group=group, sample=sample, key=10 * group + sample) for sample in range(samples)]
        scheduler.add(tuple(1000 * group + place for place in range(size)), jobs, SAMPLING)
        ends |= {job.key: data.draw(st.integers(1, longest)) for job in jobs}
    world = World(scheduler, ends)
    finished = world.step([], chunk)
    for _ in range(20_000):
        if not scheduler.waiting and scheduler.num_live == len(finished):
            break
        finished = world.step(finished, chunk)
    scheduler.leave(finished)
    scheduler.close()
    assert sorted(world.ended) == sorted(ends)
    assert scheduler.pool.num_free == num_pages


def test_a_waiting_sample_can_be_dropped_at_any_time() -> None:
    scheduler = made(4, num_slots=1, size=40)
    turn(scheduler)
    for sample in list(scheduler.waiting):
        scheduler.drop(sample)
    assert turn(scheduler, [0]) == ([], [])
    assert (scheduler.num_live, scheduler.pool.num_free) == (0, 100)
