"""Rewards of one's own: both forms, what they are given, and what happens when they break."""

import pytest

from zero2r1.core.errors import RewardError
from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt, Score, Verdict
from zero2r1.rewards.custom import as_number, load_custom, trl_columns

MY_REWARDS = """
from dataclasses import dataclass
from zero2r1.core.types import Score, Verdict

@dataclass(frozen=True)
class Limit:
    characters: "int" = 10

def brevity(prompt, completion):
    return 1.0 if len(completion.text) <= Limit().characters else 0.0

def full(prompt, completion):
    return Score(value=0.5, verdict=Verdict.RIGHT, parts={"half": 0.5}, notes=("half",))

def trl_text(prompts, completions, **columns):
    return [float(len(completion)) for completion in completions]

def trl_messages(completions, **columns):
    return [float(len(completion[0]["content"])) for completion in completions]

def trl_columns(prompts, completions, answer, solution):
    return [1.0 if given == wanted else 0.0 for given, wanted in zip(answer, solution)]

async def trl_async(prompts, completions, **columns):
    return [0.25 for _ in completions]

def trl_skips(prompts, completions, **columns):
    return [None]

def trl_twice(prompts, completions, **columns):
    return [1.0, 1.0]

def no_form(text):
    return 1.0
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "my_rewards.py").write_text(MY_REWARDS, encoding="utf-8")
    return tmp_path


def prompt(*turns: str) -> Prompt:
    messages = tuple(
        Message(role="user" if index % 2 == 0 else "assistant", content=turn) for index, turn in enumerate(turns)
    )
    return Prompt(
        messages=messages, reference="42", gold="42", answer_kind=AnswerKind.NUMBER, domain="arithmetic", language="en"
    )


def completion(asked: Prompt, text: str) -> Completion:
    return Completion(
        prompt=asked,
        sample=0,
        prompt_token_ids=(),
        token_ids=(7,),
        logprobs=(0.0,),
        text=text,
        finish=Finish.STOP,
        policy_version=0,
        weights_hash="0",
    )


def judged(folder, name, text="12345", asked=None, **options):
    asked = asked or prompt("6*7?")
    return load_custom(f"my_rewards.py::{name}", folder=folder, **options)(asked, completion(asked, text))


def test_our_form_is_called_with_prompt_and_completion(folder):
    assert judged(folder, "brevity") == 1.0
    assert judged(folder, "brevity", "x" * 11) == 0.0
    score = judged(folder, "full")
    assert isinstance(score, Score)
    assert (score.value, score.verdict) == (0.5, Verdict.RIGHT)


def test_trl_functions_run_unchanged_on_strings_and_on_messages(folder):
    assert judged(folder, "trl_text") == 5.0
    assert judged(folder, "trl_messages", trl_format="messages") == 5.0
    dialogue = prompt("hello", "hi", "6*7?")
    assert judged(folder, "trl_messages", asked=dialogue) == 5.0  # auto: more than one turn is a list of messages
    assert judged(folder, "trl_columns") == 1.0
    assert judged(folder, "trl_async") == 0.25
    assert judged(folder, "trl_skips") is None


def test_the_columns_are_those_trl_would_pass():
    asked = prompt("6*7?")
    columns = trl_columns(asked, completion(asked, "42"), "messages")
    assert columns["prompts"] == [[{"role": "user", "content": "6*7?"}]]
    assert columns["completions"] == [[{"role": "assistant", "content": "42"}]]
    assert columns["completion_ids"] == [[7]]
    assert columns["solution"] == columns["answer"] == ["42"]
    assert trl_columns(asked, completion(asked, "42"), "auto")["prompts"] == ["6*7?"]
    assert all(len(column) == 1 for column in columns.values())


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("missing.py::brevity", "Z140"),
        ("my_rewards.py::missing", "Z140"),
        ("my_rewards.py::MISSING", "Z140"),
        ("my_rewards.py", "Z140"),
        ("my_rewards.py::", "Z140"),
        ("broken.py::f", "Z140"),
        ("my_rewards.py::no_form", "Z141"),
    ],
)
def test_a_reward_that_cannot_be_used_is_refused_before_training(folder, source, code):
    (folder / "broken.py").write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(RewardError) as caught:
        load_custom(source, folder=folder)
    assert caught.value.code == code


def test_a_wrong_number_of_rewards_is_an_error(folder):
    with pytest.raises(RewardError, match="2 numbers for 1 completion"):
        judged(folder, "trl_twice")


@pytest.mark.parametrize("judged", [float("nan"), float("inf"), "1.0", [1.0], 1j])
def test_what_is_no_finite_number_is_an_error(judged):
    with pytest.raises(RewardError, match="Z143"):
        as_number(judged)


def test_numbers_and_none_pass():
    assert as_number(None) is None
    assert as_number(1) == 1.0
    assert isinstance(as_number(True), float)
