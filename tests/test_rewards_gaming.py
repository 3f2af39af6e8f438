"""Answers made by rule: hundreds that cheat, a thousand honest right and wrong ones, and random ones.

The random ones run in a process of their own: `python tests/test_rewards_gaming.py 10000`.
"""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from test_rewards_custom import completion as completion_of

from zero2r1.core.dialogue import Dialect, Reply, render
from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind, Message, Prompt, Score, Verdict
from zero2r1.rewards.base import RewardConfig, SumReward, make_reward

GOLDS = (7, 42, -3, 1000, 123456)
FRAGMENTS = (
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    r"\boxed{",
    "}",
    "{",
    "42",
    "41",
    " ",
    "\n",
    "x",
    "=",
    " or ",
    "或",
    "的",
    "The answer is ",
    "答案是",
    "$",
    "%",
    r"\%",
    r"\frac{1}{2}",
    "\x00",
    "\ud800",
    "é",
    ".",
    ",",
    "-",
    "/",
    "1e9",
    "４２",
    "```",
    "km",
    "四十二",
    "\u200b",
    "²",
)
EXPRESSION_FRAGMENTS = (
    r"2\sqrt{3}", r"\sqrt{", "}", "{", "3", "x", "+", "-", "*", "/", "^", "_", "(", ")", "[", "]", r"\{", r"\}", ",",
    "=", r"\frac{", r"\pi", "i", "e^", r"\infty", r"\cup", r"\le", "<", r"\begin{pmatrix}", r"\end{pmatrix}", "&",
    r"\\",
    r"\int", "!", r"\pm", r" \text{ or } ", r"\ln", r"\sin", "|", "0", "1.5", "%", "或", "\x00", "\ud800", "²", " ",
)  # fmt: skip


@pytest.fixture(scope="module")
def rewards() -> Iterator[dict[Dialect, SumReward]]:
    made = {dialect: make_reward(RewardConfig(language=1.0), dialect=dialect) for dialect in Dialect}
    yield made
    for reward in made.values():
        reward.close()


def prompt(gold: object, kind: AnswerKind = AnswerKind.NUMBER) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content="?"),),
        reference=str(gold),
        gold=str(gold),
        answer_kind=kind,
        domain="numbers",
        language="en",
    )


def reply(answer: str, dialect: Dialect) -> str:
    if dialect is Dialect.PLAIN:
        return f"The answer is \\boxed{{{answer}}}."
    return render(Reply(thinking="step by step", answer=answer), dialect)


def judged(reward: SumReward, gold: object, text: str) -> Score:
    asked = prompt(gold)
    return reward(asked, completion_of(asked, text))


def cheats(gold: int) -> tuple[str, ...]:
    """Answers that hold the gold number without being it."""
    wrong, double, square, hundredfold = gold + 1, 2 * gold, gold * gold, 100 * gold
    return (
        f"{wrong} or {gold}", f"{gold} or {wrong}", f"{wrong}, {gold}", f"{wrong}; {gold}", f"{wrong} {gold}",
        f"{wrong}\n{gold}", f"{wrong} = {gold}", f"x = {wrong} = {gold}", f"{gold} = {gold}", f"{hundredfold}\\%",
        f"\\sum_{{k=1}}^{{{gold}}} 1", f"\\int_0^{{{gold}}} dx", f"\\max({gold}, {wrong})", f"{gold - 1} + 1",
        f"{gold} \\cdot 1", f"1 * {gold}", f"{double}/2", f"\\frac{{{double}}}{{2}}", f"\\frac{{{gold}}}{{1}}",
        f"\\sqrt{{{square}}}", f"{gold}^1", f"{gold}!", f"{gold}²", f"\\{{{wrong}, {gold}\\}}", f"[{wrong}, {gold}]",
        f"({gold})", f"\\boxed{{{wrong}}} \\boxed{{{gold}}}", f"not {gold}", f"maybe {gold}", f"{gold}?", f"~{gold}",
        f"\\approx {gold}", f"\\pm {gold}", f"\\neq {gold}", f"{gold} million", f"{gold}万", f"{wrong}或{gold}",
        f"between {wrong} and {gold}", f"{gold} or not", f"one of 1 to {gold}", f"{gold}...", f"{gold}x", f"#{gold}",
        f"\\text{{{wrong} or {gold}}}", f"${wrong}$ ${gold}$", f"{gold}, I think", f"{wrong}|{gold}", f"{gold}_7",
    )  # fmt: skip


@pytest.mark.parametrize("dialect", list(Dialect))
def test_hundreds_of_cheating_answers_are_all_wrong(rewards, dialect):
    tried = [(gold, answer) for gold in GOLDS for answer in cheats(gold)]
    accepted = [pair for pair in tried if judged(rewards[dialect], pair[0], reply(pair[1], dialect)).verdict != "wrong"]
    assert len(tried) >= 200
    assert accepted == []


def spellings(value: int) -> tuple[str, ...]:
    full_width = str(value).translate(str.maketrans("-0123456789", "−０１２３４５６７８９"))
    return (
        f"{value}", f"{value:,}", f"{value:+}", f"{value}.0", full_width, f"${value}$", f"The answer is {value}.",
        f"答案是{value}。", f"x = {value}", f"**{value}**",
    )  # fmt: skip


def test_a_thousand_honest_answers_get_the_verdict_they_deserve(rewards):
    stream = Stream(7)
    for _ in range(50):
        gold = stream.integer(-(10**6), 10**6)
        wrong = gold + stream.choice((1, -1, 10, -10, 100))
        for right_answer, wrong_answer in zip(spellings(gold), spellings(wrong), strict=True):
            dialect = stream.choice(tuple(Dialect))
            assert judged(rewards[dialect], gold, reply(right_answer, dialect)).verdict is Verdict.RIGHT
            assert judged(rewards[dialect], gold, reply(wrong_answer, dialect)).verdict is Verdict.WRONG


def fuzz(count: int) -> None:
    """Random replies to a question with a number and to one with an expression: one verdict, and never an exception."""
    stream = Stream(16)
    rewards = {dialect: make_reward(RewardConfig(timeout_s=2.0), dialect=dialect) for dialect in Dialect}
    for index in range(count):
        dialect = stream.choice(tuple(Dialect))
        if index % 2:
            answer = "".join(stream.choice(EXPRESSION_FRAGMENTS) for _ in range(stream.integer(1, 9)))
            text = f"<think> a </think> <answer> {answer} </answer> \\boxed{{{answer}}}"
            asked, other = prompt(r"2\sqrt{3}", AnswerKind.EXPRESSION), r"5\sqrt{7}"
        else:
            text = "".join(stream.choice(FRAGMENTS) for _ in range(stream.integer(0, 14)))
            asked, other = prompt(42), "41"
        reward, completion = rewards[dialect], completion_of(asked, text)
        first = reward(asked, completion)
        assert first == reward(asked, completion), text
        assert first.verdict in (Verdict.RIGHT, Verdict.WRONG, Verdict.ERROR)
        assert (first.verdict is Verdict.ERROR) == (first.value is None), text
        # a second answer that differs, added in the same place, never makes a wrong reply right
        more = f"{text} <answer> {other} </answer> \\boxed{{{other}}} The answer is {other}."
        if first.verdict is Verdict.WRONG:
            assert reward(asked, completion_of(asked, more)).verdict is not Verdict.RIGHT, text
    for reward in rewards.values():
        print(reward.error_frac, reward.error_reasons)
        reward.close()


def run_fuzz(root, count: int) -> None:
    """In a process of its own, because type checks at run time make every call here several times slower."""
    command = [sys.executable, __file__, str(count)]
    finished = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]


def test_ten_thousand_random_replies_never_raise_and_a_second_answer_never_helps(root):
    run_fuzz(root, 10_000)


@pytest.mark.slow
def test_a_hundred_thousand_random_replies_never_raise(root):
    run_fuzz(root, 100_000)


@pytest.mark.parametrize("text", ["a" * 1_000_000, "<think>" * 100_000, "字" * 500_000 + "</think>", "\ud800" * 1000])
def test_huge_and_broken_texts_are_wrong_and_nothing_worse(rewards, text):
    for dialect in Dialect:
        assert judged(rewards[dialect], 42, text).verdict is Verdict.WRONG


if __name__ == "__main__":
    fuzz(int(sys.argv[1]))
