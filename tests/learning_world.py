"""A small world to learn in: a tiny model, toy questions, a slow and plain sampler, rows made by hand."""

import math
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from zero2r1.core.random import Address, key, uniforms
from zero2r1.core.types import (
    AnswerKind,
    Completion,
    Finish,
    Message,
    Prompt,
    Score,
    Scored,
    Verdict,
)
from zero2r1.learner.base import Batch, Row
from zero2r1.learner.checkpoint import save_checkpoint
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner, snapshot
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.head import head_of
from zero2r1.models.load import set_template, weights_hash
from zero2r1.models.tiny import TinyConfig, make_tiny
from zero2r1.models.tokenizer import make_tokenizer
from zero2r1.rl.loss import PolicyLoss

TINY = TinyConfig(hidden_size=16, num_layers=1, num_heads=2, num_kv_heads=1, intermediate_size=32, vocab_size=280)


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    made = make_tokenizer(["What is 1 + 2? 3"], vocab_size=TINY.vocab_size)
    set_template(made, "plain")
    return made


def tiny_model(seed: int = 0) -> PreTrainedModel:
    return make_tiny(TINY, tokenizer(), seed=seed)


def learner(seed: int = 0, *, total_steps: int = 100, **config: object) -> Learner:
    settings = {"lr": 1e-2, "micro_tokens": 4096} | config
    return Learner(tiny_model(seed), LearnerConfig(**settings), total_steps=total_steps)


def address(step: int = 0) -> Address:
    return Address(seed=7, stage="toy", step=step)


def row(token_ids: Sequence[int], *, prompt: int, weight: float = 1.0, **streams: Sequence[float]) -> Row:
    """A row whose first `prompt` tokens are not under the loss; streams are given for the other tokens."""
    mask = torch.arange(len(token_ids)) >= prompt
    full = {name: torch.tensor([0.0] * prompt + list(values)) for name, values in streams.items()}
    return Row(token_ids=torch.tensor(token_ids), loss_mask=mask, weights=mask * float(weight), streams=full)


def random_rows(count: int, *, seed: int = 0, longest: int = 9, weight: float = 0.1) -> list[Row]:
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        length = int(generator.integers(3, longest + 1))
        prompt = int(generator.integers(1, length))
        rest = length - prompt
        rows.append(
            row(
                [int(token) for token in generator.integers(0, 200, length)],
                prompt=prompt,
                weight=weight,
                advantage=[float(generator.normal())] * rest,
                old=list(generator.uniform(-6, -5, rest)),
                reference=list(generator.uniform(-6, -5, rest)),
            )
        )
    return rows


def batch(rows: Sequence[Row], temperature: float = 1.0) -> Batch:
    return Batch(rows=tuple(rows), temperature=temperature)


def state_of(learner: Learner) -> dict[str, Tensor]:
    """Copies of all parameters and of all optimizer state."""
    parameters = {f"model.{name}": value for name, value in learner.model.named_parameters()}
    return {name: value.detach().clone() for name, value in (parameters | learner.optimizer.state_tensors()).items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Bit-equal."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def prompt(question: str = "1+1", gold: str = "2") -> Prompt:
    return Prompt(
        messages=(Message(role="user", content=question),),
        reference=gold,
        gold=gold,
        answer_kind=AnswerKind.NUMBER,
        domain="toy",
        language="en",
    )


def completion(
    *,
    tokens: Sequence[int] = (5, 6),
    question: str = "1+1",
    sample: int = 0,
    logprobs: Sequence[float] | None = None,
    text: str = "2",
    finish: Finish = Finish.STOP,
) -> Completion:
    return Completion(
        prompt=prompt(question),
        sample=sample,
        prompt_token_ids=(1, 2, 3),
        token_ids=tuple(tokens),
        logprobs=tuple(logprobs if logprobs is not None else [-1.0] * len(tokens)),
        text=text,
        finish=finish,
        policy_version=0,
        weights_hash="0" * 16,
    )


def scored(value: float | None, **about: object) -> Scored:
    verdict = Verdict.ERROR if value is None else Verdict.RIGHT if value > 0 else Verdict.WRONG
    return Scored(
        completion=completion(**about),  # type: ignore[arg-type]
        score=Score(value=value, verdict=verdict, parts={"accuracy": value}),
    )


class CountingTask:
    """Question i asks for i; every question is different."""

    name = "counting"

    def draw(self, count: int, *, start: int = 0, split: str = "train") -> list[Prompt]:
        return [prompt(f"say {start + i}", str(start + i)) for i in range(count)]


class PlainSampler:
    """A policy without a cache: the whole sequence goes through the network for every token."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.version = -1
        self.weights_hash = ""
        self.asked: list[str] = []
        self._seen: dict[tuple[int, ...], Tensor] = {}

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        self.model, self.version, self.weights_hash = model, version, weights_hash(model)

    def sample(self, prompts, samples_per_prompt, *, sampling, address, on_finished=None):
        self.asked += [one.id for one in prompts]
        self._seen = {}  # of these weights, prefix -> chances of the next token
        return [[self._say(one, i, sampling, address) for i in range(samples_per_prompt)] for one in prompts]

    def _say(self, one: Prompt, index: int, sampling, at: Address) -> Completion:
        start = tuple(tokenizer().encode(one.question))
        said: list[int] = []
        logprobs: list[float] = []
        eos = tokenizer().eos_token_id
        draws = np.array([key(at, one.id, index)], dtype=np.uint64)
        while len(said) < sampling.max_new_tokens and (not said or said[-1] != eos):
            prefix = start + tuple(said)
            if prefix not in self._seen:
                self._seen[prefix] = self._next(prefix, sampling.temperature)
            chances = self._seen[prefix]
            uniform = float(uniforms(draws, np.array([len(said)], dtype=np.int64))[0])
            token = min(int((chances.cumsum(0) <= uniform).sum()), len(chances) - 1)
            said.append(token)
            logprobs.append(math.log(float(chances[token])))
        return Completion(
            prompt=one,
            sample=index,
            prompt_token_ids=start,
            token_ids=tuple(said),
            logprobs=tuple(logprobs),
            text=tokenizer().decode(said),
            finish=Finish.STOP if said[-1] == eos else Finish.LENGTH,
            policy_version=self.version,
            weights_hash=self.weights_hash,
        )

    @torch.no_grad()
    def _next(self, ids: tuple[int, ...], temperature: float) -> Tensor:
        hidden = hidden_states(self.model, torch.tensor(ids), torch.arange(len(ids)), PackedContext([len(ids)]))
        return (head_of(self.model).logits(hidden[-1:])[0].double() / temperature).softmax(0)


def reward_by(judge: Callable[[Completion], float | None]) -> Callable[[Prompt, Completion], Score]:
    """A reward from a number; None is an error."""

    def score(_: Prompt, said: Completion) -> Score:
        value = judge(said)
        verdict = Verdict.ERROR if value is None else Verdict.RIGHT if value > 0 else Verdict.WRONG
        return Score(value=value, verdict=verdict, parts={"accuracy": value})

    return score


LOSS = PolicyLoss(kl_coef=0.01)


def train(subject: Learner, first: int, last: int) -> list[dict[str, float]]:
    """Updates first..last, each on rows of its own."""
    return [subject.step(batch(random_rows(4, seed=step)), LOSS) for step in range(first, last)]


def save(folder: Path, step: int, subject: Learner, *, keep: int = 2, **more: object) -> Path:
    settings = {"reference": snapshot(subject.model), "state": {"cursor": step}} | more
    return save_checkpoint(folder, step, learner=subject, tokenizer=tokenizer(), keep=keep, **settings)


class Heard:
    """Collects what is reported."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def __call__(self, kind: str, **fields: object) -> None:
        self.events.append((kind, fields))
