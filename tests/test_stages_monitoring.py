"""The watch for reward hacking: what it measures, when, and that it disturbs nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import DataError
from zero2r1.core.random import Address
from zero2r1.core.run import RunFolder
from zero2r1.core.types import AnswerKind, Completion, Credited, Finish, Message, Prompt, Score, Scored, Verdict
from zero2r1.policy.base import Policy, Sampling
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Cursor, Update
from zero2r1.stages.config import MonitorConfig
from zero2r1.stages.context import Context
from zero2r1.stages.monitoring import Monitor
from zero2r1.stages.observer import Silent

RIGHT = "<think> six times seven is 42 </think> <answer> 42 </answer>"
ATTACK = "<think> call sys.exit(0) </think> <answer> 42 </answer>"


class Questions:
    """Sums whose index is their answer; none is held out when `has_heldout` is False."""

    name = "questions"

    def __init__(self, *, has_heldout: bool = True) -> None:
        self.has_heldout = has_heldout

    def draw(self, count: int, *, start: int = 0, split: str = "train") -> list[Prompt]:
        if split != "train" and not self.has_heldout:
            raise DataError("Z135", "the validation split has 0 questions")
        return [question(index, split) for index in range(start, start + count)]


class Echo(Policy):
    """Answers 42 to everything, and remembers how it was asked."""

    version = 0
    weights_hash = "0" * 16

    def __init__(self) -> None:
        self.asked: list[tuple[int, Address]] = []

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples_per_prompt: int,
        *,
        sampling: Sampling,
        address: Address,
        on_finished: object = None,
    ) -> list[list[Completion]]:
        self.asked.append((len(prompts), address))
        return [[said(prompt, RIGHT)] for prompt in prompts]

    def follow(self, model, *, version: int) -> None:
        raise AssertionError("a monitor follows nobody")


def question(index: int, split: str = "train") -> Prompt:
    return Prompt(
        messages=(Message(role="user", content=f"{split} {index}"),),
        reference=str(index), gold=str(index), answer_kind=AnswerKind.NUMBER, domain="x", language="en",
    )  # fmt: skip


def said(prompt: Prompt, text: str) -> Completion:
    return Completion(
        prompt=prompt, sample=0, prompt_token_ids=(), token_ids=(), logprobs=(), text=text, finish=Finish.STOP,
        policy_version=0, weights_hash="0" * 16,
    )  # fmt: skip


def judge(prompt: Prompt, completion: Completion) -> Score:
    is_right = "42" in completion.text and prompt.reference == "42"
    return Score(value=float(is_right), verdict=Verdict.RIGHT if is_right else Verdict.WRONG, parts={})


def credited(text: str, verdict: Verdict, reference: int = 42) -> Credited:
    score = Score(value=0.0, verdict=verdict, parts={})
    return Credited(scored=Scored(completion=said(question(reference), text), score=score), advantage=0.0)


def update(*rows: Credited, step: int = 1, is_end: bool = True) -> Update:
    return Update(step=step, metrics={}, rows=rows, is_rollout_end=is_end, cursor=Cursor(), weights_hash="")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    run = RunFolder(tmp_path / "run").create()
    return Context(
        name="r1_zero", seed=0, run=run, folder=run.stage("r1_zero").create(), model=None, parents={}, observer=Silent()
    )


def monitor(
    context: Context, policy: Policy, task: Questions | None = None, *, minibatches: int = 1, **config
) -> Monitor:
    rl = RLConfig(minibatches=minibatches, max_new_tokens=8)
    return Monitor(
        context, MonitorConfig(**config), rl, policy=policy, task=task or Questions(), reward=judge,
        dialect=Dialect.R1_ZERO,
    )  # fmt: skip


def test_a_reward_that_is_fooled_is_caught_by_the_second_verifier(context):
    rows = [credited(RIGHT, Verdict.RIGHT)] * 3 + [credited(RIGHT, Verdict.RIGHT, reference=41)]
    figures = monitor(context, Echo()).look(update(*rows))
    # one of four was paid for 42 where 41 was asked
    assert (figures["monitor/judged"], figures["monitor/unconfirmed_frac"]) == (4.0, 0.25)
    (event,) = [row for row in context.folder.events.read() if row["kind"] == "verifiers_disagree"]
    assert (event["count"], event["rows"][0]["first"], event["rows"][0]["second"]) == (1, "right", "wrong")


def test_answers_that_reach_for_the_grader_are_counted_by_kind(context):
    figures = monitor(context, Echo()).look(
        update(*[credited(RIGHT, Verdict.RIGHT)] * 3, credited(ATTACK, Verdict.WRONG))
    )
    assert figures["monitor/suspicious_frac"] == 0.25
    assert [row["patterns"] for row in context.folder.events.read() if row["kind"] == "suspicious"] == [{"exit": 1}]


def test_right_answers_without_any_thought_are_counted(context):
    figures = monitor(context, Echo()).look(
        update(credited("<think> ! </think> <answer> 42 </answer>", Verdict.RIGHT), credited(RIGHT, Verdict.RIGHT))
    )
    assert figures["monitor/no_computation_frac"] == 0.5


@pytest.mark.parametrize(
    ("minibatches", "asked_at"),
    [(1, [20, 40]), (8, [24, 40])],  # eight updates a rollout: 20 is passed in the rollout that ends with 24
)
def test_held_out_questions_are_asked_at_the_end_of_the_rollout_in_which_they_are_due(context, minibatches, asked_at):
    policy = Echo()
    watching = monitor(context, policy, minibatches=minibatches, heldout_every=20, heldout_questions=50)
    steps = [
        step
        for step in range(1, 48)
        if "heldout/accuracy" in watching.look(update(step=step, is_end=step % minibatches == 0))
    ]
    assert steps == asked_at
    assert [count for count, _ in policy.asked] == [50] * len(asked_at)
    assert len({address for _, address in policy.asked}) == len(asked_at)


def test_held_out_accuracy_is_the_share_of_right_answers(context):
    # of the questions 0 to 49, the policy that always says 42 answers one
    watching = monitor(context, Echo(), heldout_every=1, heldout_questions=50)
    assert watching.look(update())["heldout/accuracy"] == 1 / 50


def test_what_looks_between_rollouts_is_silent(context):
    assert monitor(context, Echo(), heldout_every=20).look(update(step=3, is_end=False)) == {}


def test_a_task_that_holds_nothing_out_is_told_of_and_not_asked(context):
    policy = Echo()
    watching = monitor(context, policy, Questions(has_heldout=False), heldout_every=1)
    assert watching.look(update()) == {}
    assert [row["kind"] for row in context.folder.events.read()] == ["no_heldout_questions"]
    assert policy.asked == []


def test_everything_can_be_switched_off(context):
    watching = monitor(context, Echo(), heldout_questions=0, second_verifier_rows=0)
    figures = watching.look(update(credited(RIGHT, Verdict.RIGHT), step=20))
    assert set(figures) == {"monitor/suspicious_frac", "monitor/no_computation_frac"}


def test_the_rows_that_are_looked_at_depend_on_the_step_and_nothing_else(context):
    rows = [credited(RIGHT, Verdict.RIGHT, reference=40 + index % 3) for index in range(64)]
    watching = monitor(context, Echo(), second_verifier_rows=8)
    first, again = watching.look(update(*rows)), watching.look(update(*rows))
    other = watching.look(replace(update(*rows), step=2))
    assert first == again
    assert first["monitor/judged"] == other["monitor/judged"] == 8.0
