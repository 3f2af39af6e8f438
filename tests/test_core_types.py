"""The vocabulary: ids are hashes of content, half-made objects cannot exist."""

import dataclasses

import pytest

from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt, content_id


def make_prompt(question: str = "1+1?", **changes: object) -> Prompt:
    fields: dict[str, object] = {
        "messages": (Message(role="user", content=question),),
        "reference": "2",
        "gold": "2",
        "answer_kind": AnswerKind.NUMBER,
        "domain": "arithmetic",
        "language": "en",
    }
    return Prompt(**{**fields, **changes})  # type: ignore[arg-type]


def make_completion(**changes: object) -> Completion:
    fields: dict[str, object] = {
        "prompt": make_prompt(),
        "sample": 0,
        "prompt_token_ids": (1, 2),
        "token_ids": (3, 4),
        "logprobs": (-0.5, -0.25),
        "text": "2",
        "finish": Finish.STOP,
        "policy_version": 0,
        "weights_hash": "0" * 16,
    }
    return Completion(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_content_id_is_the_sha256_of_canonical_json():
    # sha256 of the two bytes `{}` starts with 44136fa355b3678a (a published value).
    assert content_id({}) == "44136fa355b3678a"


def test_a_content_id_ignores_the_order_of_keys_and_keeps_the_order_of_lists():
    assert content_id({"a": 1, "b": 2}) == content_id({"b": 2, "a": 1})
    assert content_id([1, 2]) != content_id([2, 1])


def test_a_content_id_takes_any_text():
    assert len(content_id(["中文", "\ud800", "\0"])) == 16


def test_the_id_of_a_prompt_is_a_function_of_its_content():
    assert make_prompt().id == make_prompt().id
    others = [
        make_prompt("1+2?"),
        make_prompt(reference="3"),
        make_prompt(answer_kind=AnswerKind.EXPRESSION),
        make_prompt(domain="chain"),
        make_prompt(language="zh"),
        make_prompt(level=2),
    ]
    assert len({make_prompt().id, *(other.id for other in others)}) == 7


def test_a_given_id_is_kept():
    assert make_prompt(id="0123456789abcdef").id == "0123456789abcdef"


def test_a_prompt_ends_with_a_user_turn():
    with pytest.raises(ValueError, match="ends with a user turn"):
        make_prompt(messages=())
    with pytest.raises(ValueError, match="ends with a user turn"):
        make_prompt(messages=(Message(role="assistant", content="hello"),))


def test_the_question_is_the_last_turn():
    turns = (
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    )
    assert make_prompt(messages=turns).question == "c"


def test_every_token_has_a_log_probability():
    with pytest.raises(ValueError, match="2 tokens but 1 log-probabilities"):
        make_completion(logprobs=(-0.5,))


def test_the_id_of_a_completion_tells_samples_tokens_and_weights_apart():
    ids = {
        make_completion().id,
        make_completion(sample=1).id,
        make_completion(token_ids=(3, 5)).id,
        make_completion(weights_hash="1" * 16).id,
    }
    assert len(ids) == 4
    assert make_completion(text="two").id == make_completion().id  # the text follows from the tokens


def test_the_vocabulary_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_prompt().level = 2  # type: ignore[misc]
