"""Honest answers, right and wrong, in full replies: every wrong one is refused, almost every right one is paid.

`golden/right_wrong.jsonl` has one question a row: a family, a kind, a reference, and right and wrong spellings of an
answer. Each spelling is put into a whole reply, English or Chinese, in one of the dialects. Counted in a process of its
own, because type checks at run time make every call several times slower:

    python tests/test_rewards_golden.py
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt, Verdict
from zero2r1.rewards.base import RewardConfig, make_reward

THINKING = {
    "en": "Let me work this out step by step. First 41, no, that is not it.",
    "zh": "先算一算。四十一？不对，再来。",
}
BOXED = {"en": "So the result is \\boxed{{{}}}.", "zh": "所以结果是\\boxed{{{}}}。"}
MAX_FALSE_NEGATIVES = 0.01
FAMILIES = {
    "integer", "decimal", "fraction", "percent", "unit", "radical", "polynomial", "equation", "set", "interval",
    "tuple", "matrix", "choice", "sequence", "chinese", "words",
}  # fmt: skip


def rows() -> list[dict[str, object]]:
    path = Path(__file__).parent / "golden" / "right_wrong.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reply(answer: str, dialect: Dialect, language: str) -> str:
    if dialect is Dialect.R1_ZERO:
        return f"<think> {THINKING[language]} </think> <answer> {answer} </answer>"
    summary = BOXED[language].format(answer)
    return summary if dialect is Dialect.PLAIN else f"<think>\n{THINKING[language]}\n</think>\n\n{summary}"


def trials() -> Iterator[tuple[str, Dialect, Prompt, str, Verdict]]:
    """Family, dialect, prompt, text and the verdict it deserves; dialects and languages take turns."""
    turn = 0
    for row in rows():
        for wanted in (Verdict.RIGHT, Verdict.WRONG):
            for answer in row[wanted.value]:
                turn += 1
                dialect, language = list(Dialect)[turn % 3], ("en", "zh")[turn % 2]
                yield row["family"], dialect, asked(row, language), reply(answer, dialect, language), wanted


def asked(row: dict[str, object], language: str) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content="?"),),
        reference=str(row["reference"]),
        gold=str(row["reference"]),
        answer_kind=AnswerKind(row["kind"]),
        domain="golden",
        language=language,
    )


def said(prompt: Prompt, text: str) -> Completion:
    return Completion(
        prompt=prompt, sample=0, prompt_token_ids=(), token_ids=(), logprobs=(), text=text, finish=Finish.STOP,
        policy_version=0, weights_hash="0" * 16,
    )  # fmt: skip


def count() -> dict[str, object]:
    """Trials and mistakes by family, and every mistake in full."""
    rewards = {dialect: make_reward(RewardConfig(), dialect=dialect) for dialect in Dialect}
    families: dict[str, dict[str, int]] = {}
    mistakes = []
    for family, dialect, prompt, text, wanted in trials():
        tally = families.setdefault(family, {"right": 0, "wrong": 0, "false_positives": 0, "false_negatives": 0})
        tally[wanted.value] += 1
        score = rewards[dialect](prompt, said(prompt, text))
        tally["false_positives"] += wanted is Verdict.WRONG and score.verdict is Verdict.RIGHT
        tally["false_negatives"] += wanted is Verdict.RIGHT and score.verdict is not Verdict.RIGHT
        if score.verdict is not wanted:
            mistakes.append([prompt.reference, text, wanted.value, score.verdict.value, *score.notes])
    for reward in rewards.values():
        reward.close()
    return {"families": families, "mistakes": mistakes}


@pytest.fixture(scope="module")
def counted(root) -> dict[str, dict[str, dict[str, int]]]:
    finished = subprocess.run(
        [sys.executable, __file__], cwd=root, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(finished.stdout)


def total(counted, name: str) -> int:
    return sum(tally[name] for tally in counted["families"].values())


def test_no_wrong_answer_is_accepted_in_any_family(counted):
    assert {family: tally["false_positives"] for family, tally in counted["families"].items()} == dict.fromkeys(
        counted["families"], 0
    ), counted["mistakes"]


def test_at_most_one_right_answer_in_a_hundred_is_refused(counted):
    assert total(counted, "false_negatives") <= MAX_FALSE_NEGATIVES * total(counted, "right"), counted["mistakes"]


def test_no_verdict_is_lost(counted):
    assert [mistake for mistake in counted["mistakes"] if mistake[3] == "error"] == []


def test_the_set_is_large_and_every_family_has_both_sorts(counted):
    assert len(rows()) >= 120
    assert set(counted["families"]) == FAMILIES
    assert total(counted, "right") >= 500
    assert total(counted, "wrong") >= 500
    for family, tally in counted["families"].items():
        assert tally["right"] >= 10, family
        assert tally["wrong"] >= 10, family


def test_no_spelling_stands_on_both_sides_of_a_row():
    assert [row["reference"] for row in rows() if set(row["right"]) & set(row["wrong"])] == []


if __name__ == "__main__":
    print(json.dumps(count(), ensure_ascii=False))
