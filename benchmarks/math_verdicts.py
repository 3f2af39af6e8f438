"""Verdicts per second on one core: plain numbers through the whole reward, and expressions that math-verify compares.

Numbers go through `SumReward`, from the text of a reply to its score. Expressions are asked of the worker one at a time
by one caller, which is the slowest way to use it; all of them are equal and written differently, and each is new, so
neither the shortcuts in front nor a cache settles one. The third rate is that of whole replies to questions with
expressions (a third equal, a third wrong, a third the reference itself), where the shortcuts settle the rest.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

from report import Claim, run

GOAL_NUMBERS = 5000
GOAL_COMPARISONS = 300
TEMPLATES = (
    ("x^2+{0}x+{1}", "{1}+{0}x+x^2"),
    ("{0}\\sqrt{{{1}}}", "\\sqrt{{{1}}}\\cdot {0}"),
    ("\\frac{{{0}\\pi}}{{7}}+{1}", "{1}+\\frac{{{0}}}{{7}}\\pi"),
    ("(x+{0})(x-{1})", "(x-{1})(x+{0})"),
    ("{0}e^{{{1}x}}", "e^{{{1}x}}\\cdot {0}"),
    ("\\frac{{x+{0}}}{{x-{1}}}", "(x+{0})/(x-{1})"),
)
NUMBER_ANSWERS = ("1,085", "-3/4", "\\boxed{{{0}}}", "The answer is {0}.", "{0} km", "41 or {0}", "{0}", "四十二")


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """The best of `rounds` for each rate: what else the machine does can only make a rate smaller."""
    from zero2r1.core.dialogue import Dialect
    from zero2r1.rewards.base import RewardConfig, make_reward
    from zero2r1.rewards.pool import WorkerPool

    count, rounds = arguments.count, arguments.rounds
    pairs = [[_pair(index + count * turn) for index in range(count)] for turn in range(2 * rounds)]
    pool = WorkerPool()
    pool.start()
    with make_reward(RewardConfig(), dialect=Dialect.R1_ZERO) as reward:
        numbers = [_asked("42", NUMBER_ANSWERS[i % len(NUMBER_ANSWERS)].format(i), "number") for i in range(10 * count)]
        mixed = [_replies(turn) for turn in pairs[rounds:]]
        reward(*mixed[0][0])  # starts the worker
        verdicts: list[str] = []
        found = {
            "numbers_per_s": _rate(lambda turn: [reward(*item) for item in numbers], len(numbers), rounds),
            "comparisons_per_s": _rate(
                lambda turn: verdicts.extend(pool.compare(*pair).verdict.value for pair in pairs[turn]), count, rounds
            ),
            "expression_replies_per_s": _rate(
                lambda turn: [reward(*item) for item in mixed[turn]], len(mixed[0]), rounds
            ),
        }
    pool.close()
    return found | {"right_frac": round(verdicts.count("right") / len(verdicts), 4)}


def _replies(pairs: list[tuple[str, str]]) -> list[tuple[Any, Any]]:
    """For each pair a reply that is equal, one that is the answer to another question, and one that is identical."""
    others = pairs[6:] + pairs[:6]
    equal = [_asked(gold, answer, "expression") for gold, answer in pairs]
    wrong = [_asked(gold, answer, "expression") for (gold, _), (_, answer) in zip(pairs, others, strict=True)]
    return equal + wrong + [_asked(gold, gold, "expression") for gold, _ in pairs]


def _pair(index: int) -> tuple[str, str]:
    gold, answer = TEMPLATES[index % len(TEMPLATES)]
    numbers = (2 + index // len(TEMPLATES), 3 + index % 11)
    return gold.format(*numbers), answer.format(*numbers)


def _asked(gold: str, answer: str, kind: str) -> tuple[Any, Any]:
    """A question and a reply to it."""
    from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt

    prompt = Prompt(
        messages=(Message(role="user", content="?"),),
        reference=gold,
        gold=gold,
        answer_kind=AnswerKind(kind),
        domain="benchmark",
        language="en",
    )
    completion = Completion(
        prompt=prompt,
        sample=0,
        prompt_token_ids=(),
        token_ids=(),
        logprobs=(),
        text=f"<think> six sevens make that </think> <answer> {answer} </answer>",
        finish=Finish.STOP,
        policy_version=0,
        weights_hash="0" * 16,
    )
    return prompt, completion


def _rate(work: Callable[[int], object], count: int, rounds: int) -> int:
    best_s = float("inf")
    for turn in range(rounds):
        began = time.perf_counter()
        work(turn)
        best_s = min(best_s, time.perf_counter() - began)
    return round(count / best_s)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=300, help="comparisons a round (default 300)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the best counts (default 3)")


if __name__ == "__main__":
    run(
        Claim(
            name="math_verdicts",
            goal=f"at least {GOAL_NUMBERS} numbers and {GOAL_COMPARISONS} math-verify comparisons a second",
            meets=lambda found: (
                found["numbers_per_s"] >= GOAL_NUMBERS
                and found["comparisons_per_s"] >= GOAL_COMPARISONS
                and found["right_frac"] == 1.0
            ),
            add_arguments=_arguments,
        ),
        measure,
    )
