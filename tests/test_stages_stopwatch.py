"""The clock of an update: what was judged beside sampling is no waiting, what came after it is."""

import pytest

from zero2r1.stages import stopwatch
from zero2r1.stages.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch):
    """A clock set by hand."""
    now = [0.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])

    def set_to(seconds: float) -> None:
        now[0] = seconds

    return set_to


def test_the_phases_of_an_update_by_hand(clock):
    watch = Stopwatch()
    clock(1.0)
    sampling = watch.sampling()  # 1 to 5
    clock(2.0)
    first = watch.judging()  # 2 to 4, beside sampling
    clock(4.0)
    watch.judged(first, 1)
    clock(4.5)
    second = watch.judging()  # 4.5 to 7
    clock(5.0)
    watch.sampled(sampling, 100)
    clock(6.0)
    third = watch.judging()  # 6 to 8, a group of 2
    clock(7.0)
    watch.judged(second, 1)
    clock(8.0)
    watch.judged(third, 2)
    clock(10.0)
    assert watch.read() == {
        "time/rollout": 4.0,
        "time/reward": 3.0,  # 5 to 8
        "time/train": 3.0,  # 0 to 1 and 8 to 10
        "time/update": 10.0,
        "tokens_per_s": 25.0,
        "reward/busy_s": 6.5,  # 2 + 2.5 + 2
        "reward/per_s": pytest.approx(4 / 5.5),  # judging from 2 to 4 and from 4.5 to 8
    }


def test_each_round_of_sampling_waits_for_its_own_rewards(clock):
    watch = Stopwatch()
    for start in (0.0, 10.0):
        clock(start)
        sampling = watch.sampling()
        clock(start + 1.0)
        judging = watch.judging()
        clock(start + 4.0)
        watch.sampled(sampling, 1)
        clock(start + 6.0)
        watch.judged(judging, 1)
    assert watch.read()["time/reward"] == 4.0
    clock(20.0)
    assert watch.read() == {
        "time/rollout": 0.0, "time/reward": 0.0, "time/train": 4.0, "time/update": 4.0, "reward/busy_s": 0.0,
    }  # fmt: skip


def test_rewards_that_end_before_the_sampler_cost_no_time(clock):
    watch = Stopwatch()
    sampling, judging = watch.sampling(), watch.judging()
    clock(2.0)
    watch.judged(judging, 1)
    clock(3.0)
    watch.sampled(sampling, 1)
    assert watch.read()["time/reward"] == 0.0
