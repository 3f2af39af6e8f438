"""Judging beside sampling: the result is that of a plain loop, whatever the order; errors arrive, threads end."""

import threading
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_world import completion, prompt

from zero2r1.core.types import Completion, Prompt, Reward, Score, Verdict
from zero2r1.rewards.beside import Beside, needs_group, score_group, workers_of


def said(question: str, sample: int) -> Completion:
    return completion(question=question, sample=sample, text=f"{question}/{sample}")


def scored(text: str) -> Score:
    return Score(value=float(len(text)), verdict=Verdict.RIGHT, parts={}, notes=(text,))


class Slow:
    """Takes longer for some completions than for others, and counts how many it judges at once."""

    def __init__(self, delays: Sequence[float] = (0.0,), workers: int = 4) -> None:
        self.delays = delays
        self.workers = workers
        self.most = self._now = self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, asked: Prompt, one: Completion) -> Score:
        with self._lock:
            self.calls += 1
            delay = self.delays[self.calls % len(self.delays)]
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(delay)
        with self._lock:
            self._now -= 1
        return scored(one.text)


class Ranks(Slow):
    """Ranks the completions of a group by their sample index, from the last to the first."""

    needs_group = True

    def score_group(self, asked: Prompt, group: Sequence[Completion]) -> list[Score]:
        assert [one.sample for one in group] == sorted(one.sample for one in group)
        self(asked, group[0])
        return [
            Score(
                value=float(len(group) - place), verdict=Verdict.RIGHT, parts={}, notes=tuple(one.text for one in group)
            )
            for place in range(len(group))
        ]


def judged(reward: Reward, groups: list[list[Completion]], order: Sequence[int]) -> list[list[Score]]:
    """Scores of groups whose completions finish in this order; those left out are not told of."""
    flat = [one for group in groups for one in group]
    with Beside(reward, [group[0].prompt for group in groups], len(groups[0])) as beside:
        for index in order:
            beside.take(flat[index])
        return beside.gather(groups)


GROUPS = [[said(f"q{g}", s) for s in range(3)] for g in range(4)]


@settings(max_examples=25)
@given(
    order=st.permutations(range(12)),
    told=st.integers(0, 12),
    delays=st.lists(st.sampled_from([0.0, 0.001, 0.003]), min_size=1, max_size=5),
    make=st.sampled_from([Slow, Ranks]),
)
def test_the_scores_are_those_of_a_plain_loop_whatever_the_order_and_the_delays(order, told, delays, make):
    plain = [score_group(make(), group[0].prompt, group) for group in GROUPS]
    assert judged(make(delays), GROUPS, order[:told]) == plain


def test_equal_questions_keep_their_own_scores():
    twins = [[said("q", 0), said("q", 1)], [completion(question="q", sample=s, text=f"other {s}") for s in (0, 1)]]
    alone = [[score.notes for score in group] for group in judged(Slow((0.0, 0.002)), twins, (2, 0, 3, 1))]
    assert alone == [[("q/0",), ("q/1",)], [("other 0",), ("other 1",)]]
    ranked = [[score.notes for score in group] for group in judged(Ranks(), twins, (2, 1, 3, 0))]
    assert ranked == [[("q/0", "q/1")] * 2, [("other 0", "other 1")] * 2]


def test_as_many_run_at_once_as_the_reward_bears_and_it_waits_for_all():
    many = Slow((0.02,), workers=5)
    judged(many, GROUPS, range(12))
    assert many.most == 5
    del many.workers  # a reward that does not say may not bear company
    many.most = 0
    judged(many, GROUPS, range(12))
    assert many.most == 1


def test_judging_begins_while_the_sampler_goes_on():
    reward = Slow()
    with Beside(reward, [prompt("q0")], 3) as beside:
        beside.take(GROUPS[0][0])
        deadline = time.monotonic() + 5.0
        while reward.calls == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
        assert reward.calls == 1
    with Beside(Ranks(), [prompt("q0")], 3) as beside:
        beside.take(GROUPS[0][2])
        beside.take(GROUPS[0][0])
        assert beside._threads == []  # the group is not whole
        beside.take(GROUPS[0][1])
        assert len(beside._threads) == 1


class Breaks(Slow):
    def __call__(self, asked: Prompt, one: Completion) -> Score:
        if one.sample == 1:
            time.sleep(0.02 if one.prompt.question == "q1" else 0.0)  # q1 fails last
            raise LookupError(one.text)
        return super().__call__(asked, one)


def test_the_first_problem_in_the_order_of_the_completions_is_raised_and_the_threads_end():
    before = set(threading.enumerate())
    with pytest.raises(LookupError, match="q0/1"):
        judged(Breaks(), GROUPS, (4, 7, 1))
    with pytest.raises(LookupError, match="q1/1"):
        judged(Breaks(), GROUPS[1:], range(9))
    deadline = time.monotonic() + 5.0
    while set(threading.enumerate()) != before and time.monotonic() < deadline:
        time.sleep(0.005)
    assert set(threading.enumerate()) == before


def test_an_interrupt_is_not_held_up_by_a_slow_reward_and_begins_nothing_more():
    reward = Slow((0.3,), workers=1)
    began = time.monotonic()

    def interrupted() -> None:
        with Beside(reward, [prompt("q0")], 3) as beside:
            for one in GROUPS[0]:
                beside.take(one)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 0.25
    time.sleep(0.5)
    assert reward.calls <= 1


def test_no_thread_is_left_and_a_call_without_completions_starts_none():
    before = set(threading.enumerate())
    judged(Slow((0.01,)), GROUPS, range(12))
    assert set(threading.enumerate()) == before
    with Beside(Slow(), [], 3) as beside:
        assert beside.gather([]) == []
        assert set(threading.enumerate()) == before


def test_a_reward_that_returns_the_wrong_number_of_scores_is_refused():
    class Short(Ranks):
        def score_group(self, asked: Prompt, group: Sequence[Completion]) -> list[Score]:
            return super().score_group(asked, group)[1:]

    with pytest.raises(ValueError, match="2 scores for 3 completions"):
        judged(Short(), GROUPS, ())


def test_what_a_reward_says_of_itself_is_heard():
    assert (workers_of(Slow(workers=7)), needs_group(Slow()), needs_group(Ranks())) == (7, False, True)
    assert (workers_of(lambda asked, one: scored("")), needs_group(lambda asked, one: scored(""))) == (1, False)
