"""The verifier that each kind of answer gets, and the parts of the sum that came with it."""

import re
from collections.abc import Iterator, Sequence

import pytest
from test_rewards_custom import completion as completion_of

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem, Form, IOTest
from zero2r1.core.types import AnswerKind, Message, Prompt, Score, Verdict
from zero2r1.rewards.base import RewardConfig, SumReward, VerdictConfig, make_reward, measuring
from zero2r1.rewards.code.config import CodeConfig
from zero2r1.rewards.judges.voice import JudgeUnavailable

DOUBLE = CodeProblem(
    form=Form.FUNCTION,
    entry_point="double",
    io_tests=(
        IOTest(given="[1]", expected="2"),
        IOTest(given="[-3]", expected="-6"),
        IOTest(given="[0]", expected="0"),
    ),
)


class Judge:
    """A voice that seals the verdict it was made with, the way a judge is asked to."""

    name = "a fake"

    def __init__(self, correctness: str) -> None:
        self.correctness = correctness
        self.asked: list[Sequence[Message]] = []

    def say(self, messages: Sequence[Message], *, samples: int = 1, seed: int = 0) -> list[str]:
        self.asked.append(messages)
        if not self.correctness:
            raise JudgeUnavailable("nobody is at home")
        text = "\n".join(message.content for message in messages)
        case = re.findall(r"the string (\w{16})", text)[-1]
        return [f'It agrees.\n{{"case": "{case}", "analysis": "short", "correctness": "{self.correctness}"}}']


def prompt(kind: AnswerKind, reference: str, gold: str = "?", language: str = "en") -> Prompt:
    return Prompt(
        messages=(Message(role="user", content="Ask Alice."),),
        reference=reference, gold=gold, answer_kind=kind, domain="x", language=language,
    )  # fmt: skip


def reply(answer: str) -> str:
    return f"<think> step by step </think> <answer> {answer} </answer>"


def scored(reward: SumReward, asked: Prompt, text: str) -> Score:
    return reward(asked, completion_of(asked, text))


def program(body: str) -> str:
    return reply(f"```python\ndef double(n):\n    {body}\n```")


@pytest.fixture(scope="module")
def by_all() -> Iterator[SumReward]:
    with make_reward(RewardConfig(), dialect=Dialect.R1_ZERO) as reward:
        yield reward


@pytest.fixture(scope="module")
def by_fraction() -> Iterator[SumReward]:
    verdicts = VerdictConfig(code=CodeConfig(scoring="fraction"))
    with make_reward(RewardConfig(), dialect=Dialect.R1_ZERO, verdicts=verdicts) as reward:
        yield reward


def test_a_program_is_judged_by_its_tests(by_all):
    asked = prompt(AnswerKind.CODE, DOUBLE.to_reference())
    assert scored(by_all, asked, program("return 2 * n")).parts["accuracy"] == 1.0
    assert scored(by_all, asked, program("return 2")).parts["accuracy"] == 0.0
    assert by_all.sandbox_tier in ("A", "B")


def test_tests_passed_count_only_when_the_recipe_says_so(by_all, by_fraction):
    asked = prompt(AnswerKind.CODE, DOUBLE.to_reference())
    half_right = program("return 2 * n if n >= 0 else 0")
    found = scored(by_fraction, asked, half_right)
    # two of three tests pass; right is still only who passes all
    assert (found.parts["accuracy"], found.verdict) == (pytest.approx(2 / 3), Verdict.WRONG)
    assert scored(by_all, asked, half_right).parts["accuracy"] == 0.0


def test_a_reference_that_is_no_problem_is_an_error_and_costs_nothing(by_all):
    found = scored(by_all, prompt(AnswerKind.CODE, "{}"), program("return 2 * n"))
    assert (found.value, found.verdict) == (None, Verdict.ERROR)


@pytest.mark.parametrize(("said", "verdict"), [("correct", "right"), ("incorrect", "wrong"), ("", "error")])
def test_free_text_is_judged_by_the_voice(said, verdict, tmp_path):
    voice, records = Judge(said), tmp_path / "judge.jsonl"
    with make_reward(RewardConfig(), dialect=Dialect.R1_ZERO, voice=voice, records=records) as reward:
        found = scored(reward, prompt(AnswerKind.JUDGED, "because it is warm"), reply("It is warm there."))
    assert found.verdict.value == verdict
    assert (found.value is None) == (verdict == "error")
    assert "step by step" not in str(voice.asked), "the thinking is no part of the answer"
    assert len(records.read_text().splitlines()) == 1


def test_free_text_without_a_judge_is_an_error_with_the_remedy(by_all):
    found = scored(by_all, prompt(AnswerKind.JUDGED, "because"), reply("because"))
    assert (found.value, found.verdict) == (None, Verdict.ERROR)
    assert any("verdicts.judge" in note for note in found.notes)


def test_the_coin_looks_at_nothing_but_the_completion():
    config = RewardConfig(accuracy=0.0, format=0.0, random=1.0)
    asked = prompt(AnswerKind.NUMBER, "42")
    with make_reward(config, dialect=Dialect.R1_ZERO) as reward:
        values = [scored(reward, asked, reply("42")).value for _ in range(3)]
        assert len(set(values)) == 1
        assert values[0] in (0.0, 1.0)
        assert scored(reward, asked, reply("42")).parts["accuracy"] == 1.0, "what is not paid for is still measured"


def test_without_the_coin_there_is_no_such_part(by_all):
    assert "random" not in scored(by_all, prompt(AnswerKind.NUMBER, "42"), reply("42")).parts


def test_names_of_the_question_do_not_count_as_foreign_words():
    asked = Prompt(
        messages=(Message(role="user", content="Alice有3个苹果"),),
        reference="3", gold="3", answer_kind=AnswerKind.NUMBER, domain="x", language="zh",
    )  # fmt: skip
    with make_reward(measuring(), dialect=Dialect.R1_ZERO) as reward:
        assert scored(reward, asked, "<think> Alice 有三个苹果 </think> <answer> 3 </answer>").parts["language"] == 1.0
        assert scored(reward, asked, "<think> so we have 三个 </think> <answer> 3 </answer>").parts["language"] < 0.9


def test_languages_of_one_script_are_told_apart_when_they_are_named():
    asked = prompt(AnswerKind.NUMBER, "4")
    french = "<think> Nous avons deux pommes et nous en ajoutons encore deux autres </think> <answer> 4 </answer>"
    with make_reward(measuring(), dialect=Dialect.R1_ZERO) as by_script:
        assert scored(by_script, asked, french).parts["language"] == 1.0
    with make_reward(measuring(), dialect=Dialect.R1_ZERO, verdicts=VerdictConfig(languages=("en", "fr"))) as told:
        assert scored(told, asked, french).parts["language"] < 0.2


def test_a_language_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="tlh"):
        VerdictConfig(languages=("tlh",))
