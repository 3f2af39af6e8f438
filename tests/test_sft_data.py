"""Dialogues to rows: the loss acts on what the assistant says and on nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learning_world import tokenizer

from zero2r1.core.errors import ModelError
from zero2r1.core.types import Message
from zero2r1.learner.base import Tokens
from zero2r1.models.load import set_template
from zero2r1.models.tokenizer import make_tokenizer
from zero2r1.sft.data import encode, encode_all, to_batch
from zero2r1.sft.loss import cross_entropy

TEMPLATES = ["r1_zero", "r1", "plain"]
UNMARKED = (
    "{% for message in messages %}[{{ message['role'] }}]{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def speaker(template: str):
    made = make_tokenizer(["What is 1 + 2? 3"], vocab_size=280)
    if template in TEMPLATES:
        set_template(made, template)
    else:
        made.chat_template = template
    return made


def dialogue(*turns: str) -> list[Message]:
    return [Message(role="assistant" if i % 2 else "user", content=turn) for i, turn in enumerate(turns)]


def learned(example, speaks) -> str:
    return speaks.decode([token for token, flag in zip(example.token_ids, example.loss_mask, strict=True) if flag])


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_loss_acts_on_the_reply_and_its_end_token(template):
    speaks = speaker(template)
    example = encode(dialogue("1+2?", "<think>\n3\n</think>\n\n好 3"), speaks)
    assert learned(example, speaks).strip() == "<think>\n3\n</think>\n\n好 3" + speaks.eos_token
    assert example.token_ids[-1] == speaks.eos_token_id
    assert example.loss_mask[-1]


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_tokens_before_the_loss_are_the_prompt_a_sampler_sees(template):
    speaks = speaker(template)
    example = encode(dialogue("1+2?", "<think> 3 </think>"), speaks)
    seen = speaks.apply_chat_template(
        [{"role": "user", "content": "1+2?"}], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    assert list(example.token_ids[: len(seen)]) == seen
    assert example.loss_mask.index(True) == len(seen)


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_assistant_turn_of_a_marked_template_is_learned(template):
    speaks = speaker(template)
    text = learned(encode(dialogue("a?", "one", "b?", "two"), speaks), speaks)
    assert [part.strip() for part in text.split(speaks.eos_token)] == ["one", "two", ""]


def test_without_marks_the_last_turn_is_found_behind_the_prompt():
    speaks = speaker(UNMARKED)
    example = encode(dialogue("a?", "one", "b?", "two"), speaks)
    assert learned(example, speaks) == "two" + speaks.eos_token


def test_without_marks_a_prompt_that_is_no_prefix_is_an_error():
    speaks = speaker("{{ messages | length }}" + UNMARKED)
    with pytest.raises(ModelError, match="cannot be told from the prompt"):
        encode(dialogue("a?", "one"), speaks)


def test_learning_everything_leaves_out_the_first_token_only():
    example = encode(dialogue("a?", "one"), tokenizer(), loss_on="all")
    assert example.loss_mask == (False,) + (True,) * (len(example.token_ids) - 1)


def test_long_and_replyless_dialogues_are_left_out_and_counted():
    rows = [dialogue("a?", "one"), dialogue("a?", "one " * 50), dialogue("a?")]
    found = encode_all(rows, tokenizer(), max_tokens=40)
    assert (len(found.examples), found.num_too_long, found.num_without_reply) == (1, 1, 1)
    assert encode_all([dialogue("a?")], speaker(UNMARKED)).num_without_reply == 1


@settings(max_examples=20)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_all_tokens_under_the_loss_of_a_batch_weigh_the_same_and_sum_to_one(lengths):
    examples = [encode(dialogue("q", "x" * length), tokenizer()) for length in lengths]
    rows = to_batch(examples).rows
    weights = torch.cat([row.weights[row.loss_mask] for row in rows])
    assert float(weights.sum()) == pytest.approx(1.0)
    assert len(weights.unique()) == 1
    assert not any(row.weights[~row.loss_mask].any() for row in rows)


def test_cross_entropy_matches_the_hand_computation():
    # weights 0.5 each: 0.5 * 1 + 0.5 * 3 = 2
    tokens = Tokens(weights=torch.tensor([0.5, 0.5]), segment=torch.tensor([0, 0]), num_segments=1, streams={})
    value, metrics = cross_entropy(torch.tensor([-1.0, -3.0]), torch.tensor([0.1, 0.2]), tokens)
    assert float(value) == 2.0
    assert metrics["nll"].tolist() == [1.0, 3.0]
