"""Laws of the slot bookkeeping."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.policy.scheduler import Job, Scheduler


def jobs(count: int) -> list[Job]:
    return [Job(group=index // 4, sample=index % 4, key=index) for index in range(count)]


def test_the_first_turn_fills_the_slots_in_order() -> None:
    scheduler = Scheduler(jobs(5), num_slots=3)
    turnover = scheduler.turn_over([])
    assert [(slot, job.key) for slot, job in turnover.admitted] == [(0, 0), (1, 1), (2, 2)]
    assert turnover.moves == ()
    assert scheduler.num_waiting == 2


def test_a_waiting_sample_takes_the_slot_of_a_finished_one() -> None:
    scheduler = Scheduler(jobs(5), num_slots=3)
    scheduler.turn_over([])
    turnover = scheduler.turn_over([1])
    assert [(slot, job.key) for slot, job in turnover.admitted] == [(1, 3)]
    assert turnover.moves == ()


def test_with_nobody_waiting_the_last_live_sample_moves_into_the_gap() -> None:
    scheduler = Scheduler(jobs(5), num_slots=5)
    scheduler.turn_over([])
    # Slots 0 1 2 3 4 without 1 and 3: sample 4 moves to slot 1, slot 3 falls away.
    assert scheduler.turn_over([1, 3]).moves == ((4, 1),)
    assert [job.key for job in scheduler.live] == [0, 4, 2]


def test_an_engine_without_slots_is_refused() -> None:
    with pytest.raises(ValueError):
        Scheduler(jobs(1), num_slots=0)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), count=st.integers(1, 30), num_slots=st.integers(1, 9))
def test_every_job_has_one_slot_once_and_the_live_ones_stay_together(
    data: st.DataObject, count: int, num_slots: int
) -> None:
    scheduler = Scheduler(jobs(count), num_slots=num_slots)
    slots: list[int | None] = [None] * num_slots  # what an engine would hold: key of the job in each slot
    finished: list[int] = []
    admitted: list[int] = []
    while True:
        turnover = scheduler.turn_over(finished)
        assert not {source for source, _ in turnover.moves} & {destination for _, destination in turnover.moves}
        for source, destination in turnover.moves:
            slots[destination] = slots[source]
        for slot, job in turnover.admitted:
            slots[slot] = job.key
            admitted.append(job.key)
        num_live = len(scheduler.live)
        assert slots[:num_live] == [job.key for job in scheduler.live]
        assert num_live == num_slots or scheduler.num_waiting == 0
        if not num_live:
            break
        finished = sorted(data.draw(st.sets(st.integers(0, num_live - 1), min_size=1)))
    assert admitted == list(range(count))
