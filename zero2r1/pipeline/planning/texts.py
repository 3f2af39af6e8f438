"""How many tokens a recipe's questions and documents have, in the tokenizer its stages will use.

A tiny model's tokenizer is made as its `pretrain` stage makes it; a local model's is read. Where there is none, a
token is taken to be four bytes.

What it does not do: guess answers. Their length is an input of the plan.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from zero2r1.core.dialogue import R1_ZERO_AFTER, R1_ZERO_BEFORE, Dialect
from zero2r1.core.types import AnswerKind, Prompt
from zero2r1.models.config import TinyConfig
from zero2r1.rewards.base import make_reward, measuring
from zero2r1.stages.config import PretrainStage, ReasoningRLStage, StageBase, ZeroRLStage
from zero2r1.tasks.base import make_task
from zero2r1.tasks.corpus import CorpusConfig, documents
from zero2r1.tasks.gold import gold_completion, gold_text

BYTES_PER_TOKEN = 4
"""Ours: usual for English in vocabularies of 100,000; more bytes a token mean fewer tokens."""
TEMPLATE_TOKENS = 100
"""Tokens of the R1-Zero prompt around a question. Ours: its English text at four bytes a token."""
RULED = frozenset({AnswerKind.NUMBER, AnswerKind.SEQUENCE, AnswerKind.CHOICE, AnswerKind.COUNTDOWN})
"""Kinds of answers that are judged in this process."""
LOOKED_AT = 64
"""Questions and documents looked at. Ours: their lengths vary little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Sizes of what goes into a network."""

    vocab: int | None
    """Tokens of the tokenizer; None when it is not here."""
    tokenizer_bytes: int
    """Of its files."""
    prompt: float
    """Mean tokens of a rendered prompt."""
    longest: int
    """Tokens of the longest prompt looked at."""
    document: float = 0.0
    """Mean tokens of a pretraining document."""
    document_s: float = 0.0
    """Seconds to make and encode one document."""
    text_s: float = 0.0
    """Seconds to turn one token of an answer into text."""
    judge_s: float = 0.0
    """Seconds to judge an answer by rules, on average over all questions: 0 for those judged elsewhere."""


def tokenizer_of_tiny(stage: StageBase, shape: TinyConfig, corpus: CorpusConfig, count: int, seed: int) -> Any:
    """The tokenizer that a `pretrain` stage makes."""
    from zero2r1.models.tokenizer import make_tokenizer

    made = documents(make_task(stage.tasks, seed=seed), corpus, count=count, start=0, seed=seed)
    texts = [turn.content for document in made for turn in document.messages]
    return make_tokenizer(texts, vocab_size=shape.vocab_size, whole=(R1_ZERO_BEFORE, R1_ZERO_AFTER))


def texts_of(stage: StageBase, tokenizer: Any | None, *, seed: int, keep_template: bool = False) -> Texts:
    """Looks at some questions (and documents, for pretraining) of a stage."""
    prompts = make_task(stage.tasks, seed=seed).draw(LOOKED_AT)
    if tokenizer is None:
        sizes = [TEMPLATE_TOKENS + len(prompt.question.encode()) // BYTES_PER_TOKEN for prompt in prompts]
        return Texts(
            vocab=None, tokenizer_bytes=0, prompt=fmean(sizes), longest=max(sizes), judge_s=_judge_s(prompts, stage)
        )
    from zero2r1.models.load import set_template

    if not keep_template:
        set_template(tokenizer, dialect_of(stage))
    encoded = encode(prompts, tokenizer)
    sizes = [len(token_ids) for token_ids in encoded]
    document, seconds = 0.0, 0.0
    if isinstance(stage, PretrainStage):
        document, seconds = _documents(stage, tokenizer, seed)
    return Texts(
        vocab=len(tokenizer),
        tokenizer_bytes=saved_bytes(tokenizer),
        prompt=fmean(sizes),
        longest=max(sizes),
        document=document,
        document_s=seconds,
        text_s=_text_s(encoded, tokenizer),
        judge_s=_judge_s(prompts, stage),
    )


def encode(prompts: Sequence[Prompt], tokenizer: Any) -> list[list[int]]:
    """Token ids of rendered prompts, as the engine renders them."""
    return [
        list(
            tokenizer.apply_chat_template(
                [{"role": turn.role, "content": turn.content} for turn in prompt.messages],
                add_generation_prompt=True,
                return_dict=False,
            )
        )
        for prompt in prompts
    ]


def dialect_of(stage: StageBase) -> Dialect:
    """The grammar that the stage's prompts are rendered in."""
    if isinstance(stage, ZeroRLStage | ReasoningRLStage):
        return Dialect(stage.dialect)
    return Dialect.R1_ZERO if isinstance(stage, PretrainStage) else Dialect.R1


def saved_bytes(tokenizer: Any) -> int:
    """Bytes of the files that the tokenizer is saved as."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        return sum(path.stat().st_size for path in Path(folder).iterdir())


def _text_s(encoded: Sequence[Sequence[int]], tokenizer: Any) -> float:
    """Seconds a token to decode these as the engine decodes answers."""
    tokenizer.decode(list(encoded[0]))
    began = time.perf_counter()
    for token_ids in encoded:
        tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return (time.perf_counter() - began) / sum(map(len, encoded))


def _judge_s(prompts: Sequence[Prompt], stage: StageBase) -> float:
    """Seconds an answer to judge gold answers as the sampler's are judged."""
    dialect = dialect_of(stage)
    said = [
        (prompt, gold_completion(prompt, gold_text(prompt, dialect)))
        for prompt in prompts
        if prompt.answer_kind in RULED
    ]
    if not said:
        return 0.0
    with make_reward(measuring(), dialect=dialect) as reward:
        reward(*said[0])
        began = time.perf_counter()
        for prompt, completion in said:
            reward(prompt, completion)
        return (time.perf_counter() - began) / len(prompts)


def _documents(stage: PretrainStage, tokenizer: Any, seed: int) -> tuple[float, float]:
    from zero2r1.sft.data import encode_all

    task = make_task(stage.tasks, seed=seed)
    encode_all([], tokenizer)
    began = time.perf_counter()
    made = documents(task, stage.corpus, count=LOOKED_AT, start=0, seed=seed)
    encoded = encode_all((document.messages for document in made), tokenizer, loss_on=stage.loss_on).examples
    seconds = (time.perf_counter() - began) / LOOKED_AT
    return fmean(len(example.token_ids) for example in encoded), seconds
