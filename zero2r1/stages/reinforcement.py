"""Reinforcement learning of a stage: the loop that R1-Zero and the RL stages of R1 share.

`rl.grpo` yields updates for ever; this loop writes them down, saves at rollout boundaries, stores some rollouts for
people to look at, and stops at the recipe's number of steps.
"""

from collections.abc import Sequence

import numpy as np
import safetensors.numpy

from zero2r1.core.dialogue import Dialect, parse
from zero2r1.core.run import write_atomic
from zero2r1.core.types import Credited
from zero2r1.learner.checkpoint import load_latest, refuse_small_disk, save_checkpoint
from zero2r1.learner.learner import Learner
from zero2r1.models.load import load_model
from zero2r1.models.recording import Recording
from zero2r1.policy.choice import open_policy
from zero2r1.rl.grpo import NAMED_REASONS, Cursor, Reference, Update, grpo
from zero2r1.rl.rollout import error_reasons
from zero2r1.stages.config import ReasoningRLStage, SaveConfig, ZeroRLStage, recording_gib
from zero2r1.stages.context import Context, Journal
from zero2r1.stages.monitoring import Monitor
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.rows import write_rows
from zero2r1.stages.stopwatch import Stopwatch, TimedPolicy, TimedReward
from zero2r1.tasks.base import make_task, validate

WARN_ERROR_FRAC = 0.05
"""Ours: a larger share of rows without a verdict is told of; above `rl.max_error_frac` the run stops."""


def train(context: Context, stage: ZeroRLStage | ReasoningRLStage) -> Outcome:
    """GRPO from the base stage's model until `rl.steps` updates, from the last checkpoint on if there is one."""
    dialect = Dialect(stage.dialect)
    tokenizer = context.base_tokenizer(dialect)
    model = load_model(context.base_model(), device=context.device)
    learner = Learner(model, stage.learner, total_steps=stage.rl.steps)
    refuse_small_disk(context.folder.checkpoints, learner, has_reference=stage.rl.kl_coef > 0)
    restored = load_latest(context.folder.checkpoints, learner, report=context.report)
    start = Cursor(**restored.state) if restored else Cursor()
    journal = Journal(context, stage.rl.steps)
    journal.rewind(start.step)
    reference = Reference(restored.reference if restored else None)
    recording = Recording(recording_gib(stage))
    watch = Stopwatch()
    task = make_task(stage.tasks, seed=context.seed)
    with (
        context.reward(stage.rewards, stage, dialect) as reward,
        open_policy(learner.model, tokenizer, stage.sampler, recording) as sampler,
    ):
        # Before step 0: a gold answer that does not score would teach the opposite of what the recipe means.
        validate(task, reward, dialect=dialect)
        policy, timed = TimedPolicy(sampler, watch), TimedReward(reward, watch)
        monitor = Monitor(context, stage.monitor, stage.rl, policy=policy, task=task, reward=reward, dialect=dialect)
        updates = grpo(
            policy=policy,
            learner=learner,
            reference=reference,
            task=task,
            reward=timed,
            config=stage.rl,
            address_of=lambda rollout: context.address("rollout", rollout),
            start=start,
            recording=recording,
        )
        saved = start.step
        while saved < stage.rl.steps:
            update = next(updates)
            seen = monitor.look(update) | ({"sandbox/tier": tier} if (tier := reward.sandbox_tier) else {})
            journal.record(update.step, {**update.metrics, **seen}, watch.read())
            warn_of_errors(context, update)
            _store_rollout(context, update, stage.save, dialect)
            if update.is_rollout_end and _is_due(update.step, saved, stage):
                save_checkpoint(
                    context.folder.checkpoints, update.step, learner=learner, tokenizer=tokenizer,
                    reference=reference.parameters, state=_state(update.cursor), keep=stage.save.keep,
                )  # fmt: skip
                saved = update.step
    return Outcome(model=learner.model, tokenizer=tokenizer, dialect=dialect, updates=saved)


def _is_due(step: int, saved: int, stage: ZeroRLStage | ReasoningRLStage) -> bool:
    return step >= stage.rl.steps or step - saved >= stage.save.checkpoint_every


def warn_of_errors(context: Context, update: Update) -> None:
    """Once a rollout, when too many of its rows could not be judged: an event and a note with the reasons."""
    share = update.metrics.get("reward/error_frac", 0.0)
    if update.rows and share > WARN_ERROR_FRAC:
        reasons = dict(list(error_reasons(update.rows).items())[:NAMED_REASONS])
        context.report("reward_errors", code="Z318", step=update.step, share=round(share, 4), reasons=reasons)


def _state(cursor: Cursor) -> dict[str, int]:
    return {"rollout": cursor.rollout, "prompts": cursor.prompts, "step": cursor.step}


def _store_rollout(context: Context, update: Update, save: SaveConfig, dialect: Dialect) -> None:
    """Store a rollout on its first update, for the first one and then every `rollouts_every` updates."""
    if not update.rows or (update.step - 1) % save.rollouts_every >= (update.cursor.step - update.step + 1):
        return
    kept = update.rows[: save.rollout_rows]
    rows = [rollout_row(credited, update.step, context.name, dialect) for credited in kept]
    write_atomic(context.folder.rollouts / f"step_{update.step:06d}.safetensors", token_arrays(kept))
    write_rows(context.folder.rollouts / f"step_{update.step:06d}.jsonl", rows)


def token_arrays(rows: Sequence[Credited]) -> bytes:
    """The tokens of stored rows as safetensors, laid end to end in the order of the rows.

    `token_ids` int32 [n]; `logp` float32 [n], nats at the sampling temperature; `offsets` int64 [rows + 1]: row i is
    `offsets[i]` to `offsets[i + 1]`.
    """
    completions = [row.scored.completion for row in rows]
    lengths = [0, *(len(completion.token_ids) for completion in completions)]
    arrays = {
        "token_ids": np.array([token for c in completions for token in c.token_ids], dtype=np.int32),
        "logp": np.array([value for c in completions for value in c.logprobs], dtype=np.float32),
        "offsets": np.cumsum(lengths, dtype=np.int64),
    }
    return safetensors.numpy.save(arrays)


def rollout_row(credited: Credited, step: int, stage: str, dialect: Dialect) -> dict[str, object]:
    """One sample of a rollout as the run folder stores it."""
    scored = credited.scored
    completion, score = scored.completion, scored.score
    reply = parse(completion.text, dialect).reply
    return {
        "id": completion.id,
        "step": step,
        "stage": stage,
        "prompt_id": completion.prompt.id,
        "sample": completion.sample,
        "prompt": completion.prompt.question,
        "text": completion.text,
        "think_chars": len(reply.thinking or ""),
        "answer": reply.answer,
        "gold": completion.prompt.gold,
        "reference": completion.prompt.reference,
        "answer_kind": completion.prompt.answer_kind.value,
        "language": completion.prompt.language,
        "verdict": score.verdict.value,
        "rewards": dict(score.parts),
        "reward": score.value,
        "notes": list(score.notes),
        "advantage": credited.advantage,
        "masked": credited.masked,
        "finish": completion.finish.value,
        "tokens": len(completion.token_ids),
        "policy_version": completion.policy_version,
        "weights_hash": completion.weights_hash,
    }
