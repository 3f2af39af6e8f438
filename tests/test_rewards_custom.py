"""Rewards of one's own: both forms, what they are given, and what their results are taken for."""

import pytest

from zero2r1.core.errors import RewardError
from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt
from zero2r1.rewards.custom import Opinion, as_number, load_custom, trl_columns

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
    return [1.0] * (2 * len(completions))

def trl_rank(prompts, completions, **columns):
    order = sorted(completions, key=len)
    return [float(order.index(completion)) for completion in completions]

def trl_one_bad(prompts, completions, **columns):
    return [1.0, float("nan"), "2", None][:len(completions)]

async def patient(prompt, completion):
    return 0.75

def error_score(prompt, completion):
    return Score(value=None, verdict=Verdict.ERROR, parts={}, notes=("the judge is away",))

def broken(prompt, completion):
    raise KeyError("no such column")

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


def opinions(folder, name, *texts, asked=None, **options):
    asked = asked or prompt("6*7?")
    reward = load_custom(f"my_rewards.py::{name}", folder=folder, **options)
    return reward(asked, [completion(asked, text) for text in texts])


def judged(folder, name, text="12345", **options):
    (opinion,) = opinions(folder, name, text, **options)
    return opinion.value


def test_our_form_is_called_with_prompt_and_completion(folder):
    assert judged(folder, "brevity") == 1.0
    assert judged(folder, "brevity", "x" * 11) == 0.0
    assert judged(folder, "patient") == 0.75
    assert opinions(folder, "full", "a") == [Opinion(0.5, "half")]
    assert opinions(folder, "error_score", "a") == [Opinion(None, "the judge is away", is_error=True)]
    assert [one.value for one in opinions(folder, "brevity", "x" * 11, "x")] == [0.0, 1.0]


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
    group = [completion(asked, "42"), completion(asked, "43")]
    columns = trl_columns(asked, group, "messages")
    assert columns["prompts"] == [[{"role": "user", "content": "6*7?"}]] * 2
    assert columns["completions"] == [[{"role": "assistant", "content": text}] for text in ("42", "43")]
    assert columns["completion_ids"] == [[7], [7]]
    assert columns["solution"] == columns["answer"] == ["42", "42"]
    assert trl_columns(asked, group, "auto")["prompts"] == ["6*7?", "6*7?"]
    assert all(len(column) == 2 for column in columns.values())


def test_a_trl_function_gets_a_whole_group_in_one_call(folder):
    # shortest first: "a" 0, "bb" 1, "cccc" 2; one call a completion would give 0, 0, 0
    assert [one.value for one in opinions(folder, "trl_rank", "bb", "cccc", "a")] == [1.0, 2.0, 0.0]


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


def test_a_wrong_number_of_rewards_is_an_error_of_the_whole_group(folder):
    found = opinions(folder, "trl_twice", "a", "b")
    assert all(one.value is None and one.is_error for one in found)
    assert all("4 numbers for 2 completions" in one.note for one in found)


def test_a_reward_that_is_no_number_is_an_error_of_that_completion_only(folder):
    found = opinions(folder, "trl_one_bad", "a", "b", "c", "d")
    assert [one.value for one in found] == [1.0, None, None, None]
    assert [one.is_error for one in found] == [False, True, True, False]
    assert "nan" in found[1].note
    assert "does not judge" in found[3].note


def test_what_a_function_raises_is_an_error_with_the_reason(folder):
    (found,) = opinions(folder, "broken", "a")
    assert (found.value, found.is_error, found.note) == (None, True, "raised KeyError: 'no such column'")


@pytest.mark.parametrize("judged", [float("nan"), float("inf"), "1.0", [1.0], 1j])
def test_what_is_no_finite_number_is_an_error(judged):
    with pytest.raises(RewardError, match="Z143"):
        as_number(judged)


def test_numbers_and_none_pass():
    assert as_number(None) is None
    assert as_number(1) == 1.0
    assert isinstance(as_number(True), float)
