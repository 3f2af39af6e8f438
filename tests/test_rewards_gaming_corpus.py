"""A written corpus of replies that try to be paid for nothing: none is accepted."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rewards_custom import completion as completion_of

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Message, Prompt, Verdict
from zero2r1.rewards.base import RewardConfig, SumReward, make_reward

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "golden" / "gaming.jsonl").read_text(encoding="utf-8").splitlines()
]
SECOND = {
    Dialect.R1_ZERO: "{text} <answer> {other} </answer>",
    Dialect.R1: "{text} \\boxed{{{other}}}",
    Dialect.PLAIN: "{text}\nThe answer is {other}.",
}


@pytest.fixture(scope="module")
def rewards() -> Iterator[dict[Dialect, SumReward]]:
    made = {dialect: make_reward(RewardConfig(), dialect=dialect) for dialect in Dialect}
    yield made
    for reward in made.values():
        reward.close()


def asked(row: dict[str, str]) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content="?"),),
        reference=row["reference"],
        gold=row["reference"],
        answer_kind=AnswerKind(row["kind"]),
        domain="gaming",
        language="en",
    )


def verdict(rewards: dict[Dialect, SumReward], row: dict[str, str], text: str) -> Verdict:
    prompt = asked(row)
    return rewards[Dialect(row["dialect"])](prompt, completion_of(prompt, text)).verdict


def test_no_reply_of_the_corpus_is_accepted(rewards):
    verdicts = [(verdict(rewards, row, row["text"]), row) for row in ROWS]
    assert [row for found, row in verdicts if found is Verdict.RIGHT] == []
    lost = [row["text"] for found, row in verdicts if found is Verdict.ERROR]
    assert lost == []  # each of them can be seen to be wrong without a doubt


def test_the_corpus_is_large_and_varied():
    assert len(ROWS) >= 250
    assert len({(row["kind"], row["reference"], row["dialect"], row["text"]) for row in ROWS}) == len(ROWS)
    assert {row["dialect"] for row in ROWS} == {dialect.value for dialect in Dialect}
    assert {row["kind"] for row in ROWS} == {"number", "expression", "choice", "sequence", "countdown"}
    assert len({row["why"] for row in ROWS}) >= 50


def test_a_second_answer_never_rescues_a_reply_of_the_corpus(rewards):
    for row in ROWS:
        if row["kind"] == "number" and "boxed" not in row["why"]:
            text = SECOND[Dialect(row["dialect"])].format(text=row["text"], other="41")
            assert verdict(rewards, row, text) is Verdict.WRONG, row


@settings(max_examples=150, deadline=None)
@given(
    dialect=st.sampled_from(list(Dialect)),
    first=st.integers(-99, 99),
    second=st.integers(-99, 99),
    joint=st.sampled_from(["", " ", "\n", " so ", " or ", "，", " </think> "]),
)
def test_a_second_answer_that_differs_never_raises_the_reward(rewards, dialect, first, second, joint):
    answer = {
        Dialect.R1_ZERO: "<answer> {} </answer>",
        Dialect.R1: "\\boxed{{{}}}",
        Dialect.PLAIN: "\nThe answer is {}.",
    }[dialect]
    one = f"<think> a </think> {answer.format(first)}"
    both = f"{one}{joint}{answer.format(second)}"
    for gold in (first, second):
        row = {"kind": "number", "reference": str(gold), "dialect": dialect.value}
        if first != second:
            assert verdict(rewards, row, both) is not Verdict.RIGHT
        elif joint == "\n":
            assert verdict(rewards, row, both) is Verdict.RIGHT
