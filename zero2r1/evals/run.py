"""Evaluation: draw held-out questions, sample each k times, judge, read, sum up.

Deviations from the paper: intervals, readability and the tie rule of the vote are ours (`metrics`, `reading`).
What it does not do: choose the questions' difficulty, write files, compare models.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from zero2r1.core.dialogue import Dialect
from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Finish, Prompt, Reward, Score, Task, Verdict, content_id
from zero2r1.evals.config import EvalConfig
from zero2r1.evals.metrics import cons_at_k, vote_key
from zero2r1.evals.reading import Reading, read
from zero2r1.evals.result import EvalResult, QuestionRow, group, summarize
from zero2r1.policy.base import Policy, Sampling
from zero2r1.rewards.beside import Beside

__all__ = ["EvalResult", "evaluate"]

Judged = tuple[Completion, Score, Reading]


def evaluate(
    policy: Policy,
    task: Task,
    reward: Reward,
    config: EvalConfig,
    *,
    dialect: Dialect,
    address: Address,
    prefilled: bool = False,
    template: str | None = None,
) -> EvalResult:
    """Measure a policy on held-out questions.

    Args:
        policy: the model that speaks.
        task: where the questions come from; equal questions are asked once.
        reward: judges; only its verdict decides what is right.
        config: how many questions and samples, and how they are sampled.
        dialect: the reply grammar the policy was taught.
        address: where the randomness comes from; the result is a function of it, the weights and the questions.
        prefilled: True when the prompt already ends with `<think>`.
        template: text of the chat template, for the result's `template_hash`.
    """
    prompts = _distinct(task.draw(config.questions, start=config.start, split=config.split))
    rows: list[QuestionRow] = []
    samples: list[dict[str, Any]] = []
    rendered: list[list[int]] = []
    for completions, scores in _scored(policy, reward, prompts, config, address):
        judged = [
            (completion, score, _read(completion, dialect, prefilled))
            for completion, score in zip(completions, scores, strict=True)
        ]
        rendered.append(list(completions[0].prompt_token_ids))
        samples += [_sample_row(*parts, stage=address.stage) for parts in judged]
        rows.append(_question_row(judged))
    return EvalResult(
        suite=task.name,
        split=config.split,
        start=config.start,
        n=len(rows),
        k=config.samples,
        temperature=config.temperature,
        top_p=config.top_p,
        max_new_tokens=config.max_new_tokens,
        dialect=dialect.value,
        template_hash=content_id(rendered if template is None else template),
        prompts_hash=content_id([prompt.id for prompt in prompts]),
        weights_hash=policy.weights_hash,
        policy_version=policy.version,
        seed=address.seed,
        num_errors=sum(row.errors for row in rows),
        metrics=summarize(rows, config.samples),
        groups=group(rows, config.samples),
        questions=tuple(rows),
        samples=tuple(samples),
    )


def _distinct(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Each question once, in order: the same question twice is one cluster, not two."""
    return list({prompt.id: prompt for prompt in prompts}.values())


def _scored(
    policy: Policy, reward: Reward, prompts: Sequence[Prompt], config: EvalConfig, address: Address
) -> Iterator[tuple[list[Completion], list[Score]]]:
    """[G] completions of each question in turn, and their scores. Batching bounds memory and changes no token."""
    sampling = Sampling(temperature=config.temperature, top_p=config.top_p, max_new_tokens=config.max_new_tokens)
    for first in range(0, len(prompts), config.batch_questions):
        batch = prompts[first : first + config.batch_questions]
        with Beside(reward, batch, config.samples) as judge:
            groups = policy.sample(batch, config.samples, sampling=sampling, address=address, on_finished=judge.take)
            scores = judge.gather(groups)
        yield from zip(groups, scores, strict=True)


def _read(completion: Completion, dialect: Dialect, prefilled: bool) -> Reading:
    return read(completion.text, completion.prompt.language, dialect, prefilled=prefilled)


def _question_row(judged: Sequence[Judged]) -> QuestionRow:
    """One question's samples summed up."""
    prompt = judged[0][0].prompt
    verdicts = [score.verdict for _, score, _ in judged]
    counted = [(score.verdict is Verdict.RIGHT, look.answer) for _, score, look in judged if _is_judged(score)]
    votes = [None if answer is None else vote_key(answer, prompt.answer_kind) for _, answer in counted]
    shares = [look.language_consistency for _, _, look in judged if look.language_consistency is not None]
    return QuestionRow(
        prompt_id=prompt.id,
        domain=prompt.domain,
        language=prompt.language,
        level=prompt.level,
        samples=len(judged),
        right=verdicts.count(Verdict.RIGHT),
        wrong=verdicts.count(Verdict.WRONG),
        errors=verdicts.count(Verdict.ERROR),
        cons=cons_at_k(votes, [is_right for is_right, _ in counted]) if counted else None,
        format=fmean(look.is_well_formed for _, _, look in judged),
        readable=fmean(look.is_readable for _, _, look in judged),
        language_consistency=fmean(shares) if shares else None,
        truncated=fmean(completion.finish is Finish.LENGTH for completion, _, _ in judged),
        tokens=fmean(len(completion.token_ids) for completion, _, _ in judged),
        thinking_words=fmean(look.thinking_words for _, _, look in judged),
    )


def _is_judged(score: Score) -> bool:
    return score.verdict is not Verdict.ERROR


def _sample_row(completion: Completion, score: Score, look: Reading, *, stage: str) -> dict[str, Any]:
    """One sample as plain data: the same keys as the rows of a stored rollout, and what was read in it."""
    prompt = completion.prompt
    return {
        "id": completion.id,
        "stage": stage,
        "prompt_id": prompt.id,
        "sample": completion.sample,
        "prompt": prompt.question,
        "text": completion.text,
        "think_chars": look.think_chars,
        "thinking_words": look.thinking_words,
        "answer": look.answer,
        "gold": prompt.gold,
        "reference": prompt.reference,
        "answer_kind": prompt.answer_kind.value,
        "domain": prompt.domain,
        "language": prompt.language,
        "level": prompt.level,
        "verdict": score.verdict.value,
        "parts": dict(score.parts),
        "reward": score.value,
        "notes": list(score.notes),
        "is_well_formed": look.is_well_formed,
        "problem": look.problem,
        "is_readable": look.is_readable,
        "is_repetitive": look.is_repetitive,
        "language_consistency": look.language_consistency,
        "finish": completion.finish.value,
        "tokens": len(completion.token_ids),
        "policy_version": completion.policy_version,
        "weights_hash": completion.weights_hash,
    }
