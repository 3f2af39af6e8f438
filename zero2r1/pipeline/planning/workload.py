"""What a stage asks of a machine: how many updates, sequences and tokens, read off its settings.

Lengths of answers cannot be known before a run. Each answer is taken to use its whole budget unless a mean is given;
every sampled trace is taken to be kept. Both are upper bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from zero2r1.rl.config import RLConfig
from zero2r1.stages.config import (
    ColdStartStage,
    DistillStage,
    PretrainStage,
    ReasoningRLStage,
    RejectionSamplingStage,
    StageBase,
    ZeroRLStage,
)

CHUNK_PROMPTS = 64
"""Prompts `stages/traces.py` samples in one call; a test holds that the two are equal."""

LEAST_SHARED = 8
"""Tokens of a prompt that is shared by its samples, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Some calls of the sampler, all alike."""

    calls: int
    prompts: int
    """Prompts of one call."""
    samples: int
    """Samples of each prompt."""
    response: int
    """Tokens of each answer."""
    budget: int
    """Tokens an answer may have: what the cache reserves."""

    @property
    def answers(self) -> int:
        """Of one call."""
        return self.prompts * self.samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One stage."""

    updates: int
    rows: int
    """Sequences of one update."""
    row_tokens: float
    """Mean tokens of a sequence: prompt and answer, or a document."""
    prompt: float
    """Mean tokens of a prompt."""
    rollout: Sampled | None = None
    """Sampling of reinforcement learning: a call feeds `minibatches` updates."""
    heldout: Sampled | None = None
    """The watch of reinforcement learning."""
    traces: Sampled | None = None
    """Sampling before fine-tuning."""
    measured: Sampled
    """The evaluation at the end."""
    extra_passes: int = 0
    """Passes without gradient over the same rows: reference, old log-probabilities."""
    has_reference: bool = False
    makes_documents: bool = False
    """Documents are made and encoded in each update."""
    live: float = 1.0
    """Share of the rows that have a gradient; the others only go forward. Groups whose rewards are all alike have none
    (`rl/batch.py`); nobody knows how many before a run, so a plan says 1."""
    made_rows: int = 0
    """Supervised rows a later stage may use."""
    made_response: int = 0
    """Tokens of an answer in those rows."""

    @property
    def learned_tokens(self) -> float:
        """live * tokens: those that go through the network and back in an update."""
        return self.live * self.tokens

    @property
    def tokens(self) -> float:
        """Tokens that go through the network in an update: rows * row_tokens, a prompt once for all its samples.

        Ours: as `models/packing.py` shares them; a group that is cut between passes has its prompt in both, which is
        left out. A test holds that LEAST_SHARED is its own.
        """
        samples = 1 if self.rollout is None else min(self.rollout.samples, self.rows)
        spared = 0.0 if self.prompt < LEAST_SHARED else self.prompt * self.rows * (1 - 1 / samples)
        return self.rows * self.row_tokens - spared


def of_stage(
    stage: StageBase,
    *,
    prompt: float | int,
    document: float | int,
    response: int | None,
    made: Mapping[str, tuple[int, int]],
) -> Workload:
    """The workload of a stage.

    Args:
        prompt: mean tokens of a rendered prompt.
        document: mean tokens of a pretraining document.
        response: mean tokens of an answer; None: the whole budget.
        made: supervised rows and the tokens of their answers by stage, for stages that use another one's.
    """
    measured = _evaluation(stage, response)
    if isinstance(stage, PretrainStage):
        return Workload(
            updates=stage.steps, rows=stage.batch_documents, row_tokens=float(document), prompt=float(prompt),
            measured=measured, makes_documents=True,
        )  # fmt: skip
    if isinstance(stage, ZeroRLStage | ReasoningRLStage):
        return _reinforcement(stage, float(prompt), response, measured)
    assert isinstance(stage, ColdStartStage | RejectionSamplingStage | DistillStage)
    traces = None
    rows, budget = made.get(stage.teacher, (0, stage.sft.max_tokens))
    if not isinstance(stage, DistillStage):
        sampling = stage.sampling
        budget = sampling.max_new_tokens
        size = min(CHUNK_PROMPTS, sampling.prompts)
        traces = _sampled(-(-sampling.prompts // size), size, sampling.samples_per_prompt, budget, response)
        rows = kept_rows(
            sampling.prompts, min(sampling.samples_per_prompt, sampling.keep_per_prompt), sampling.max_rows
        )
        if isinstance(stage, RejectionSamplingStage):
            rows += round(rows * stage.general_share / (1 - stage.general_share))
    tokens = min(prompt + min(budget, response or budget), stage.sft.max_tokens)
    return Workload(
        updates=stage.sft.epochs * -(-max(1, rows) // stage.sft.batch_rows),
        rows=min(max(1, rows), stage.sft.batch_rows),
        row_tokens=float(tokens),
        prompt=float(prompt),
        traces=traces,
        measured=measured,
        made_rows=rows,
        made_response=min(budget, response or budget),
    )


def kept_rows(prompts: int, per_prompt: int, limit: int | None) -> int:
    """min(prompts * per_prompt, limit): rows when every sample is good. Ours: an upper bound."""
    return min(prompts * per_prompt, limit or prompts * per_prompt)


def mean_cap(rl: RLConfig) -> int:
    """Mean length cap over all updates, in tokens. Ours: each row of the schedule counts by its updates."""
    ends = [cap.from_step for cap in rl.max_new_tokens[1:]] + [rl.steps]
    spans = [
        (max(0, min(end, rl.steps) - cap.from_step), cap.max_new_tokens)
        for cap, end in zip(rl.max_new_tokens, ends, strict=True)
    ]
    return round(sum(span * tokens for span, tokens in spans) / max(1, sum(span for span, _ in spans)))


def _reinforcement(
    stage: ZeroRLStage | ReasoningRLStage, prompt: float, response: int | None, measured: Sampled
) -> Workload:
    rl, watch = stage.rl, stage.monitor
    mean, longest = mean_cap(rl), max(cap.max_new_tokens for cap in rl.max_new_tokens)
    calls = -(-rl.steps // rl.minibatches)
    rollout = _sampled(calls, rl.prompts_per_step * rl.minibatches, rl.samples_per_prompt, mean, response)
    asked = _sampled(rl.steps // watch.heldout_every, max(1, watch.heldout_questions), 1, mean, response)
    return Workload(
        updates=calls * rl.minibatches,
        rows=rl.prompts_per_step * rl.samples_per_prompt,
        row_tokens=prompt + rollout.response,
        prompt=prompt,
        rollout=replace(rollout, budget=longest),
        heldout=asked if watch.heldout_questions and asked.calls else None,
        measured=measured,
        extra_passes=(rl.kl_coef > 0) + (rl.importance_cap is not None),
        has_reference=rl.kl_coef > 0,
    )


def _evaluation(stage: StageBase, response: int | None) -> Sampled:
    asked = stage.eval
    size = min(asked.batch_questions, asked.questions)
    return _sampled(-(-asked.questions // size), size, asked.samples, asked.max_new_tokens, response)


def _sampled(calls: int, prompts: int, samples: int, budget: int, response: int | None) -> Sampled:
    return Sampled(
        calls=calls, prompts=prompts, samples=samples, budget=budget, response=min(budget, response or budget)
    )
