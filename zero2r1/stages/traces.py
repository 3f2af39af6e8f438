"""Sampling traces from a finished model and keeping the good ones: what cold start and rejection sampling share.

Samples are written in chunks, each whole or absent, and every random number is addressed: a killed stage goes on at
the first missing chunk and ends with the same files.

What is kept is stated per rule, and every dropped sample is counted under the first rule it broke:
wrong | error | truncated | format | language | repetition | code | paragraph | markdown | surplus (more right ones than
asked for).

Deviation from the paper: no language model rewrites here, and none judges unless the recipe names one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from zero2r1.core.dialogue import Dialect, Reply, parse
from zero2r1.core.errors import DataError
from zero2r1.core.types import AnswerKind, Completion, Finish, Message, Prompt, Reward, Score, Task, Verdict
from zero2r1.models.load import load_model, load_tokenizer
from zero2r1.policy.base import Policy, Sampling
from zero2r1.policy.choice import open_policy
from zero2r1.rewards.base import measuring
from zero2r1.rewards.beside import Beside
from zero2r1.rewards.paragraphs import layout_problem
from zero2r1.rewards.repetition import repeated_fraction
from zero2r1.stages.config import ColdStartStage, RejectionSamplingStage, SamplingFilter
from zero2r1.stages.context import Context
from zero2r1.stages.rows import read_rows, write_rows
from zero2r1.tasks.base import make_task

CHUNK_PROMPTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One accepted sample."""

    prompt: Prompt
    reply: Reply
    thinking: str
    """The reply's thinking text, not empty."""
    answer: str
    """The reply's final answer, as the model wrote it."""
    source: Mapping[str, str]
    """Lineage: `completion`, `stage`, `weights_hash`."""


def collect(context: Context, stage: ColdStartStage | RejectionSamplingStage) -> list[Trace]:
    """Sample the `teacher` parent, in the dialect it speaks, on the training questions; keep the good traces in order.

    Raises DataError Z138 when none is left, with the count of each reason.
    """
    teacher = context.parent("teacher")
    dialect = Dialect(str((teacher.read_manifest() or {})["dialect"]))
    config = stage.sampling
    task = make_task(stage.tasks, seed=context.seed)
    model, tokenizer = load_model(teacher.model, device=context.device), load_tokenizer(teacher.model)
    with (
        context.reward(measuring(), stage, dialect) as reward,
        open_policy(model, tokenizer, stage.sampler) as policy,
    ):
        samples = sample_chunks(context, policy, task, reward, config)
    traces, dropped = keep_good(samples, config, dialect, teacher.name)
    context.folder.events.append("filtered", sampled=len(samples), kept=len(traces), dropped=dropped)
    if not traces:
        raise DataError(
            "Z138",
            f"stage '{context.name}' kept none of {len(samples)} samples",
            where=str(context.folder.data),
            why=", ".join(f"{count} {reason}" for reason, count in dropped.items()),
            fix=f"train '{teacher.name}' longer, or loosen stages.{context.name}.sampling",
        )
    return traces


def sample_chunks(
    context: Context, policy: Policy, task: Task, reward: Reward, config: SamplingFilter
) -> list[dict[str, Any]]:
    """All samples of `config.prompts` training questions as rows, made or read back chunk by chunk."""
    rows: list[dict[str, Any]] = []
    chunks = range(0, config.prompts, CHUNK_PROMPTS)
    sampling = Sampling(temperature=config.temperature, max_new_tokens=config.max_new_tokens)
    for number, start in enumerate(chunks):
        path = context.folder.data / f"samples_{number:04d}.jsonl"
        if not path.exists():
            prompts = task.draw(min(CHUNK_PROMPTS, config.prompts - start), start=start, split="train")
            with Beside(reward, prompts, config.samples_per_prompt) as judge:
                groups = policy.sample(
                    prompts,
                    config.samples_per_prompt,
                    sampling=sampling,
                    address=context.address("samples", number),
                    on_finished=judge.take,
                )
                scores = judge.gather(groups)
            write_rows(path, [_sample_row(*pair) for pair in zip(chain(*groups), chain(*scores), strict=True)])
        rows += read_rows(path)
        context.observer.update(context.name, number + 1, len(chunks), {"phase": "sample", "samples": len(rows)})
    return rows


def keep_good(
    rows: Sequence[dict[str, Any]], config: SamplingFilter, dialect: Dialect, stage: str
) -> tuple[list[Trace], dict[str, int]]:
    """The accepted traces in sampling order, and how many samples each rule dropped. `stage` said the samples."""
    kept: list[Trace] = []
    taken: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for row in rows:
        prompt = _prompt_of(row)
        reply = parse(row["text"], dialect).reply
        problem = _problem(row, prompt, reply, config, dialect)
        if not problem and (taken[prompt.id] >= config.keep_per_prompt or (prompt.id, row["text"]) in seen):
            problem = "surplus"
        if not problem and config.max_rows is not None and len(kept) >= config.max_rows:
            problem = "surplus"
        if problem:
            dropped[problem] += 1
            continue
        taken[prompt.id] += 1
        seen.add((prompt.id, row["text"]))
        source = {"completion": row["id"], "stage": stage, "weights_hash": row["weights_hash"]}
        answer = _said(prompt, reply) or ""
        kept.append(Trace(prompt=prompt, reply=reply, thinking=reply.thinking or "", answer=answer, source=source))
    return kept, dict(sorted(dropped.items()))


def _problem(row: dict[str, Any], prompt: Prompt, reply: Reply, config: SamplingFilter, dialect: Dialect) -> str:
    """The first rule a sample breaks, empty for a good one."""
    if row["verdict"] != Verdict.RIGHT:
        return str(row["verdict"])
    if row["finish"] != Finish.STOP:
        return "truncated"
    if not parse(row["text"], dialect).is_well_formed or not reply.thinking or _said(prompt, reply) is None:
        return "format"
    if row["parts"]["language"] < config.min_language:
        return "language"
    if repeated_fraction(reply.thinking) > config.max_repetition:
        return "repetition"
    return layout_problem(
        reply.thinking, max_paragraph_words=config.max_paragraph_words, allow_markdown=config.allow_markdown
    )


def _said(prompt: Prompt, reply: Reply) -> str | None:
    """The final answer as the model wrote it: what is in the box, or all of it where no box is asked for."""
    return reply.answer if prompt.answer_kind.is_boxed else reply.summary or reply.answer


def _sample_row(completion: Completion, score: Score) -> dict[str, Any]:
    prompt = completion.prompt
    return {
        "id": completion.id,
        "prompt": {
            "id": prompt.id,
            "messages": [[turn.role, turn.content] for turn in prompt.messages],
            "reference": prompt.reference,
            "gold": prompt.gold,
            "answer_kind": prompt.answer_kind.value,
            "domain": prompt.domain,
            "language": prompt.language,
            "level": prompt.level,
        },
        "sample": completion.sample,
        "text": completion.text,
        "finish": completion.finish.value,
        "tokens": len(completion.token_ids),
        "verdict": score.verdict.value,
        "parts": dict(score.parts),
        "weights_hash": completion.weights_hash,
    }


def _prompt_of(row: dict[str, Any]) -> Prompt:
    fields = dict(row["prompt"])
    turns = tuple(Message(role=role, content=content) for role, content in fields.pop("messages"))
    return Prompt(messages=turns, answer_kind=AnswerKind(fields.pop("answer_kind")), **fields)
