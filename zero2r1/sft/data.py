"""Dialogues to rows: which tokens are shown, and on which of them the loss acts.

The loss acts on what the assistant says, its end-of-sequence token included. Two ways to know where that is:
* the chat template marks it with `{% generation %}` (our own templates do);
* otherwise the dialogue is rendered without its last turn, and what comes after that prefix is the reply. This works
  for dialogues that end with the assistant, and only the last turn is learned.

What it does not do: cut. A dialogue longer than the limit is left out and counted, since a reply without its end
teaches the model not to stop. Dialogues without a reply are left out and counted too.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerBase

from zero2r1.core.errors import ModelError
from zero2r1.core.types import Message
from zero2r1.learner.base import Batch, Row

LossOn = Literal["reply", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One dialogue as tokens."""

    token_ids: tuple[int, ...]
    """[T]"""
    loss_mask: tuple[bool, ...]
    """[T] True where the token is learned; never on the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The examples of a data set, and what was left out."""

    examples: tuple[Example, ...]
    num_too_long: int
    """Dialogues longer than the limit."""
    num_without_reply: int
    """Dialogues without any token to learn."""


def encode_all(
    dialogues: Iterable[Sequence[Message]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_tokens: int = 32_768,
    loss_on: LossOn = "reply",
) -> Encoded:
    """Encodes all dialogues; `max_tokens` is the length limit of one (the paper's context: 32,768)."""
    examples: list[Example] = []
    num_too_long = num_without_reply = 0
    for dialogue in dialogues:
        example = encode(dialogue, tokenizer, loss_on=loss_on)
        if len(example.token_ids) > max_tokens:
            num_too_long += 1
        elif not any(example.loss_mask):
            num_without_reply += 1
        else:
            examples.append(example)
    return Encoded(examples=tuple(examples), num_too_long=num_too_long, num_without_reply=num_without_reply)


def encode(dialogue: Sequence[Message], tokenizer: PreTrainedTokenizerBase, *, loss_on: LossOn = "reply") -> Example:
    """One dialogue through the tokenizer's chat template. `all` learns every token but the first.

    Raises:
        ModelError: the template does not mark the reply, and its prompt is no prefix of the whole dialogue.
    """
    messages = [{"role": message.role, "content": message.content} for message in dialogue]
    is_marked = re.search(r"\{%-?\s*generation\s*-?%\}", str(tokenizer.chat_template or "")) is not None
    rendered: Any = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=is_marked and loss_on == "reply"
    )
    token_ids = tuple(rendered["input_ids"])
    if loss_on == "all":
        mask = [True] * len(token_ids)
    elif is_marked:
        mask = [bool(flag) for flag in rendered["assistant_masks"]]
    else:
        mask = _after_prompt(messages, token_ids, tokenizer)
    return Example(token_ids=token_ids, loss_mask=(False, *mask[1:]))


def _after_prompt(
    messages: list[dict[str, str]], token_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> list[bool]:
    if not messages or messages[-1]["role"] != "assistant":
        return [False] * len(token_ids)
    rendered: Any = tokenizer.apply_chat_template(
        messages[:-1], tokenize=True, return_dict=True, add_generation_prompt=True
    )
    prompt = tuple(rendered["input_ids"])
    if tuple(token_ids[: len(prompt)]) != prompt:
        raise ModelError(
            "Z205",
            "the reply cannot be told from the prompt",
            where="chat template",
            why="the template marks no {% generation %}, and the prompt alone reads otherwise than in the dialogue",
            fix="use one of zero2r1's templates (model.template=r1), or mark the reply with {% generation %}",
        )
    return [index >= len(prompt) for index in range(len(token_ids))]


def to_batch(examples: Sequence[Example]) -> Batch:
    """The batch of one update: every token under the loss weighs the same, 1 / (their number in the whole batch).

    Ours: the paper does not state the normaliser of its fine-tuning; this is the usual one.
    """
    total = sum(sum(example.loss_mask) for example in examples)
    rows = []
    for example in examples:
        mask = torch.tensor(example.loss_mask, dtype=torch.bool)
        rows.append(
            Row(
                token_ids=torch.tensor(example.token_ids, dtype=torch.long),
                loss_mask=mask,
                weights=torch.where(mask, 1.0 / max(1, total), 0.0),
            )
        )
    return Batch(rows=tuple(rows))
