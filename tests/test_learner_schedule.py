"""The learning rate against numbers worked out by hand."""

import pytest

from zero2r1.learner.schedule import lr_at


def rates(schedule: str, *, steps: int, warmup: int = 0) -> list[float]:
    return [
        lr_at(step, peak=1.0, schedule=schedule, warmup_steps=warmup, total_steps=steps, min_lr_frac=0.1)
        for step in range(steps)
    ]


def test_a_constant_rate_follows_the_warm_up():
    # warm-up over 4 updates: 1/4, 2/4, 3/4, 4/4
    assert rates("constant", steps=6, warmup=4) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_cosine_goes_from_the_peak_to_a_tenth_and_is_half_way_in_the_middle():
    # x = 0, 1/4, 1/2, 3/4, 1; middle: 0.1 + 0.9 * (1 + cos(pi / 2)) / 2 = 0.55; quarter: 0.1 + 0.9 * (1 + 0.70711) / 2
    assert rates("cosine", steps=5) == pytest.approx([1.0, 0.868198, 0.55, 0.231802, 0.1], abs=1e-6)


def test_the_cosine_stays_at_its_low_end_after_the_last_step():
    assert lr_at(99, peak=2.0, schedule="cosine", warmup_steps=0, total_steps=5, min_lr_frac=0.1) == pytest.approx(0.2)


def test_a_run_of_one_step_has_a_rate():
    assert rates("cosine", steps=1) == pytest.approx([0.1])
