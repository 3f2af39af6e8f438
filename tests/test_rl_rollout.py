"""Rollouts: one rule each for groups without variance, truncated and ungraded outputs; figures; split."""

import math
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_world import CountingTask, address, completion, reward_by, scored

from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind, Credited, Finish, Score, Verdict
from zero2r1.rl import rollout as rollouts
from zero2r1.rl.config import RLConfig
from zero2r1.rl.rollout import Rollout, count_reflective_words, credit, error_reasons, finite, overlong_penalty


def config(**settings: object) -> RLConfig:
    return RLConfig.model_validate({"max_new_tokens": 10, "std_epsilon": 0.0, **settings})


def advantages(group: list[Credited]) -> list[float]:
    return [row.advantage for row in group]


def test_a_group_without_variance_has_advantage_zero_and_stays_in_the_loss():
    group = credit([scored(0.3), scored(0.3)], config(), max_new_tokens=10)
    assert [(row.advantage, row.masked) for row in group] == [(0.0, False), (0.0, False)]


def test_an_ungraded_output_is_masked_and_not_in_the_baseline():
    # the baseline of 1 and 0 is 0.5 with std 0.5
    group = credit([scored(1.0), scored(None), scored(0.0)], config(), max_new_tokens=10)
    assert [(row.advantage, row.masked) for row in group] == [(1.0, False), (0.0, True), (-1.0, False)]


def test_a_group_of_errors_only_is_masked_whole():
    assert all(row.masked for row in credit([scored(None)] * 3, config(), max_new_tokens=10))


def test_a_truncated_output_is_kept_by_default():
    group = credit([scored(1.0), scored(0.0, finish=Finish.LENGTH)], config(), max_new_tokens=10)
    assert [(row.advantage, row.masked) for row in group] == [(1.0, False), (-1.0, False)]


def test_a_masked_truncated_output_stays_in_the_baseline():
    group = credit([scored(1.0), scored(0.0, finish=Finish.LENGTH)], config(overlong="mask"), max_new_tokens=10)
    assert [(row.advantage, row.masked) for row in group] == [(1.0, False), (0.0, True)]


def test_the_soft_punishment_grows_over_the_buffer():
    # cap 10, buffer 4: 0 until 6; 8 tokens: (6 - 8) / 4 = -0.5; 10 tokens: -1; never below
    found = [overlong_penalty(n, max_new_tokens=10, buffer_frac=0.4) for n in (0, 6, 8, 10, 12)]
    assert found == [0.0, 0.0, -0.5, -1.0, -1.0]


def test_the_soft_punishment_enters_the_reward_before_the_baseline():
    # rewards 1 and 1; the second has 9 of 10 tokens, buffer 2 from 8: -0.5. So 1 and 0.5: mean 0.75, advantages +-0.25
    long = scored(1.0, tokens=tuple(range(9)))
    group = credit([scored(1.0), long], config(overlong="soft", advantage="mean"), max_new_tokens=10)
    assert advantages(group) == [0.25, -0.25]
    assert group[1].scored.score.value == 1.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_becomes_an_error_with_a_note(bad):
    judged = finite(Score(value=bad, verdict=Verdict.RIGHT, parts={}))
    assert (judged.value, judged.verdict) == (None, Verdict.ERROR)
    assert str(bad) in judged.notes[0]


def make(groups: list[list[Credited]], dropped: int = 0) -> Rollout:
    return Rollout(groups=tuple(groups), next_prompt=9, max_new_tokens=10, num_groups_dropped=dropped)


def test_the_figures_of_a_rollout_match_the_hand_computation():
    first = credit(
        [scored(1.0, text="Wait, wait: check."), scored(0.0, tokens=(1, 2, 3, 4))], config(), max_new_tokens=9
    )
    second = credit([scored(0.5, finish=Finish.LENGTH), scored(None)], config(), max_new_tokens=9)
    found = rollouts.figures(make([first, second], dropped=2))
    assert found == {
        "reward/mean": 0.5,  # (1 + 0 + 0.5) / 3
        "reward/accuracy/mean": 0.5,
        "reward/zero_std_frac": 0.5,  # the second group has one judged reward
        "reward/error_frac": 0.25,
        "accuracy": pytest.approx(2 / 3),  # right, wrong, right; the error does not count
        "length/mean": 2.5,  # (2 + 4 + 2 + 2) / 4
        "length/truncated_frac": 0.25,
        "reflective_words": 0.75,  # wait, wait, check in one of four outputs
        "rollout/groups_dropped": 2.0,
    }


def test_figures_without_rows_behind_them_are_left_out():
    found = rollouts.figures(make([credit([scored(None), scored(None)], config(), max_new_tokens=9)]))
    assert "reward/mean" not in found
    assert "accuracy" not in found
    assert found["reward/error_frac"] == 1.0


def test_questions_without_an_answer_do_not_count_for_accuracy():
    talk = scored(1.0)
    object.__setattr__(talk.completion.prompt, "answer_kind", AnswerKind.NONE)
    found = rollouts.figures(make([credit([talk, talk], config(), max_new_tokens=9)]))
    assert "accuracy" not in found


def test_reflective_words_are_whole_words_in_any_case():
    assert count_reflective_words("Wait. But I was waiting; HOWEVER, the checkbox is wrong") == 4


def test_a_rollout_asks_for_all_questions_of_its_updates_and_moves_the_cursor():
    drawn = sample(config(prompts_per_step=2, minibatches=3, samples_per_prompt=4), judge=lambda said: 1.0)
    assert [len(group) for group in drawn.groups] == [4] * 6
    assert [group[0].scored.completion.prompt.gold for group in drawn.groups] == ["5", "6", "7", "8", "9", "10"]
    assert drawn.next_prompt == 11


class EchoPolicy:
    """Says its sample index."""

    version, weights_hash = 0, "0" * 16

    def follow(self, model, *, version):
        raise AssertionError("a rollout does not change the policy")

    def sample(self, prompts, samples_per_prompt, *, sampling, address, on_finished=None):
        return [
            [completion(question=one.question, sample=i, text=str(i)) for i in range(samples_per_prompt)]
            for one in prompts
        ]


class GoldKeepingEcho(EchoPolicy):
    """Keeps the prompt it was given."""

    def sample(self, prompts, samples_per_prompt, *, sampling, address, on_finished=None):
        groups = super().sample(prompts, samples_per_prompt, sampling=sampling, address=address)
        for one, group in zip(prompts, groups, strict=True):
            for said in group:
                object.__setattr__(said, "prompt", one)
        return groups


def sample(settings: RLConfig, *, judge=None, reward=None, policy=None) -> Rollout:
    return rollouts.sample(
        policy=policy or GoldKeepingEcho(),
        task=CountingTask(),
        reward=reward or reward_by(judge),
        config=settings,
        address=address(),
        first_prompt=5,
        max_new_tokens=10,
    )


class Shuffled:
    """A reward of several threads whose judgements end in another order than they begin."""

    workers = 8

    def __init__(self, seed: int) -> None:
        self.stream = Stream(seed)
        self.lock = threading.Lock()

    def __call__(self, asked, said):
        with self.lock:
            pause = self.stream.random()
        time.sleep(0.004 * pause)
        value = None if said.sample == 2 else said.sample / 3
        return Score(value=value, verdict=Verdict.ERROR if value is None else Verdict.RIGHT, parts={"accuracy": value})


class Announcing(GoldKeepingEcho):
    """Tells of each completion, the last one first."""

    def sample(self, prompts, samples_per_prompt, *, sampling, address, on_finished=None):
        groups = super().sample(prompts, samples_per_prompt, sampling=sampling, address=address)
        for group in groups[::-1]:
            for said in group[::-1]:
                on_finished(said)
        return groups


def test_a_rollout_does_not_depend_on_which_reward_came_first():
    settings = config(prompts_per_step=4, minibatches=1, samples_per_prompt=4)
    drawn = [
        sample(settings, reward=reward, policy=policy)
        for reward, policy in [
            (lambda asked, said: Shuffled(0)(asked, said), GoldKeepingEcho()),
            (Shuffled(1), Announcing()),
            (Shuffled(2), Announcing()),
            (Shuffled(3), GoldKeepingEcho()),
        ]
    ]
    assert all(rollout == drawn[0] for rollout in drawn[1:])
    # rewards 0, 1/3, 1 of the judged three: mean 4/9
    assert [row.masked for row in drawn[0].groups[0]] == [False, False, True, False]
    assert sum(advantages(drawn[0].groups[0])) == pytest.approx(0.0)


class LongestWins:
    """Full reward for the highest sample index of a group: no completion can be judged alone."""

    needs_group, workers = True, 4

    def __call__(self, asked, said):
        raise AssertionError("a group is judged whole")

    def score_group(self, asked, group):
        last = max(said.sample for said in group)
        return [Score(value=float(said.sample == last), verdict=Verdict.RIGHT, parts={}) for said in group]


def test_a_reward_may_compare_the_outputs_of_a_group():
    settings = config(prompts_per_step=3, minibatches=1, samples_per_prompt=4)
    drawn = sample(settings, reward=LongestWins(), policy=Announcing())
    assert [[row.scored.score.value for row in group] for group in drawn.groups] == [[0.0, 0.0, 0.0, 1.0]] * 3


def test_the_reasons_for_errors_are_counted():
    def row(value, parts, *notes):
        judged = Score(value=value, verdict=Verdict.ERROR, parts=parts, notes=notes)
        return Credited(scored=replace(scored(1.0), score=judged), advantage=0.0)

    late = "a.py::f: no verdict within 60 s: killed"
    rows = [
        row(None, {"a.py::f": None, "format": 0.0}, late, "format: no tags"),
        row(None, {"a.py::f": None}, late),
        row(None, {"accuracy": 1.0}, "the reward was nan, which is no number to learn from"),
        row(None, {}),
        row(1.0, {"a.py::f": None}, "a.py::f: does not judge this completion"),
    ]
    assert error_reasons(rows) == {
        late: 2,
        "no reason given": 1,
        "the reward was nan, which is no number to learn from": 1,
    }


def teaches_if_even(said) -> float:
    """Questions with an even number have one good sample, the others none."""
    return 1.0 if said.sample == 0 and int(said.prompt.gold) % 2 == 0 else 0.0


def test_dynamic_sampling_replaces_groups_without_variance():
    settings = config(prompts_per_step=4, minibatches=1, samples_per_prompt=2, dynamic_sampling=True)
    drawn = sample(settings, judge=teaches_if_even)
    # 5..8 give 6, 8; 9..10 give 10; 11 gives none; 12 gives the fourth
    assert [group[0].scored.completion.prompt.gold for group in drawn.groups] == ["6", "8", "10", "12"]
    assert (drawn.next_prompt, drawn.num_groups_dropped) == (13, 4)


def test_dynamic_sampling_gives_up_after_its_rounds_and_fills_up_with_the_last_dropped():
    settings = config(
        prompts_per_step=3, minibatches=1, samples_per_prompt=2, dynamic_sampling=True, dynamic_sampling_rounds=2
    )
    drawn = sample(settings, judge=lambda said: 0.0)
    assert [group[0].scored.completion.prompt.gold for group in drawn.groups] == ["8", "9", "10"]
    assert (drawn.next_prompt, drawn.num_groups_dropped) == (11, 3)


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from(["outputs", "groups"]))
def test_the_split_deals_every_row_exactly_once_and_evenly(minibatches, samples, what):
    chosen = config(minibatches=minibatches, prompts_per_step=2, samples_per_prompt=samples, split=what)
    groups = [
        credit([scored(1.0, question=f"q{g}", sample=i) for i in range(samples)], chosen, max_new_tokens=9)
        for g in range(2 * minibatches)
    ]
    parts = rollouts.split(make(groups), chosen, address=address())
    ids = [row.scored.completion.id for part in parts for row in part]
    assert sorted(ids) == sorted(row.scored.completion.id for group in groups for row in group)
    assert {len(part) for part in parts} == {2 * samples}
    if what == "groups":
        assert all(len({row.scored.completion.prompt.id for row in part}) == 2 for part in parts)


def test_the_split_is_random_but_the_same_for_the_same_address():
    chosen = config(minibatches=2, prompts_per_step=4, samples_per_prompt=2)
    groups = [
        credit([scored(1.0, question=f"q{g}", sample=i) for i in (0, 1)], chosen, max_new_tokens=9) for g in range(8)
    ]

    def order(step: int) -> list[str]:
        parts = rollouts.split(make(groups), chosen, address=address(step))
        return [row.scored.completion.id for part in parts for row in part]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != [row.scored.completion.id for group in groups for row in group]
