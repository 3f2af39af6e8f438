"""GRPO as a generator: sample, score, credit, learn, for ever. The caller logs, evaluates, saves and stops.

One rollout is drawn with the newest policy, dealt at random into `minibatches` parts, and each part is one parameter
update (one inner epoch). The last update of a rollout is therefore taken on samples that are minibatches - 1 updates
old: that is what the ratio and its clip absorb.

It holds no state of its own between rollouts but the cursor it hands out: prompts drawn, rollouts and updates done.
All randomness comes from `address_of(rollout)`. So a run that is resumed from the cursor of a rollout's end, with the
learner and the reference of that moment, goes on exactly as if it had never stopped.

What it does not do: logging, checkpoints, evaluation, a stop rule. Deviation from the paper: the reference policy is
refreshed at the end of the rollout that reaches `reference_every` updates, not in the middle of one.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

from torch import Tensor

from zero2r1.core.errors import RunError
from zero2r1.core.random import Address
from zero2r1.core.types import Credited, Reward, Task
from zero2r1.learner.base import Batch
from zero2r1.learner.learner import Learner, snapshot
from zero2r1.models.recording import Recording
from zero2r1.policy.base import Policy
from zero2r1.rl import rollout as rollouts
from zero2r1.rl.batch import to_batch, with_streams
from zero2r1.rl.config import RLConfig
from zero2r1.rl.loss import PolicyLoss, importance_streams

NAMED_REASONS = 5
"""Ours: reasons for errors that a message lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a run stands at the end of a rollout."""

    rollout: int = 0
    """Rollouts finished."""
    prompts: int = 0
    """Questions of the task consumed."""
    step: int = 0
    """Parameter updates done, skipped ones included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One parameter update, as told to the caller."""

    step: int
    """Number of the update, from 1."""
    metrics: Mapping[str, float]
    """By the names of the metrics log. Those of the rollout are repeated on each of its updates; `gap/*` stands on the
    first update only, where learner and sampler have the same weights."""
    rows: tuple[Credited, ...]
    """[P * G] the credited rows of the rollout, on its first update only."""
    is_rollout_end: bool
    """True after the last update of a rollout: a checkpoint taken now with `cursor` resumes exactly."""
    cursor: Cursor
    """Where the run will stand at the end of this rollout."""
    weights_hash: str
    """Of the weights after this update, at a rollout's end (the sampler has them by then); empty before."""


class Reference:
    """The frozen policy of the KL term. `parameters` by name goes into checkpoints; None until the first rollout."""

    def __init__(self, parameters: Mapping[str, Tensor] | None = None) -> None:
        self.parameters = parameters

    def refresh(self, learner: Learner) -> None:
        """Takes a copy of the newest policy."""
        self.parameters = snapshot(learner.model)


def grpo(
    *,
    policy: Policy,
    learner: Learner,
    reference: Reference,
    task: Task,
    reward: Reward,
    config: RLConfig,
    address_of: Callable[[int], Address],
    start: Cursor | None = None,
    recording: Recording | None = None,
) -> Iterator[Update]:
    """Updates without end, from the cursor `start` on.

    Args:
        policy: the sampler; it follows the learner's model at the start and after each rollout.
        reference: left alone when kl_coef is 0; filled from the learner when it is empty.
        address_of: the address of a rollout's randomness, by the number of the rollout.
        recording: written by the policy, and read by the first update of a rollout instead of computing the same.

    Raises:
        RunError: sampler and learner disagree by more than `max_gap_nats`, or more than `max_error_frac` of the rows
            could not be graded, or the learner gave up.
    """
    cursor = start or Cursor()
    policy.follow(learner.model, version=learner.version)
    if config.kl_coef > 0 and reference.parameters is None:
        reference.refresh(learner)
    while True:
        address = address_of(cursor.rollout)
        with nullcontext() if recording is None else recording.open():
            rollout = rollouts.sample(
                policy=policy, task=task, reward=reward, config=config, address=address, first_prompt=cursor.prompts,
                max_new_tokens=config.cap_at(cursor.step),
            )  # fmt: skip
        figures = rollouts.figures(rollout)
        _refuse_many_errors(rollout, figures, config, cursor)
        following = Cursor(
            rollout=cursor.rollout + 1, prompts=rollout.next_prompt, step=cursor.step + config.minibatches
        )
        for number, (batch, loss) in enumerate(_batches(rollout, learner, reference, config, address)):
            learned = learner.step(batch, loss, recording if number == 0 else None)
            metrics = figures | _metrics(learned, is_on_policy=number == 0)
            _refuse_gap(metrics, config, cursor)
            is_end = number == config.minibatches - 1
            if is_end:
                _finish(policy, learner, reference, config, before=cursor.step, after=following.step)
            yield Update(
                step=cursor.step + number + 1,
                metrics=metrics,
                rows=tuple(rollout.rows) if number == 0 else (),
                is_rollout_end=is_end,
                cursor=following,
                weights_hash=policy.weights_hash if is_end else "",
            )
        cursor = following


def _batches(
    rollout: rollouts.Rollout, learner: Learner, reference: Reference, config: RLConfig, address: Address
) -> list[tuple[Batch, PolicyLoss]]:
    """The mini-batches of a rollout. All frozen log-probabilities are taken here, before the first update."""
    loss = PolicyLoss(
        ratio=config.ratio,
        objective=config.objective,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
        kl_coef=config.kl_coef,
    )
    parts = rollouts.split(rollout, config, address=address)
    batches = (to_batch(part, config, max_new_tokens=rollout.max_new_tokens) for part in parts)
    return [(with_streams(batch, _frozen(batch, learner, reference, config)), loss) for batch in batches]


def _frozen(batch: Batch, learner: Learner, reference: Reference, config: RLConfig) -> list[dict[str, Tensor]]:
    """For each row the log-probabilities, in nats, of the reference and, where asked for, of the learner as it is
    now."""
    streams: list[dict[str, Tensor]] = [{} for _ in batch.rows]
    if config.kl_coef > 0:
        for stream, values in zip(streams, learner.logprobs(batch, reference.parameters), strict=True):
            stream["reference"] = values
    if config.importance_correction != "none" and config.importance_cap is not None:
        for stream, row, values in zip(streams, batch.rows, learner.logprobs(batch), strict=True):
            stream["old"] = values
            stream |= importance_streams(
                values,
                row.streams["old"],
                correction=config.importance_correction,
                low=config.importance_floor,
                high=config.importance_cap,
            )
    return streams


def _finish(
    policy: Policy, learner: Learner, reference: Reference, config: RLConfig, *, before: int, after: int
) -> None:
    """The end of a rollout: the sampler takes the new weights, and the reference too when its time has come."""
    if config.kl_coef > 0 and after // config.reference_every > before // config.reference_every:
        reference.refresh(learner)
    policy.follow(learner.model, version=learner.version)


def _metrics(learned: Mapping[str, float], *, is_on_policy: bool) -> dict[str, float]:
    """The learner's figures under the names of the metrics log."""
    named = {"clip/mean": "clip/frac", "importance_cut/mean": "importance/cut_frac", "replayed": "replay/frac"}
    wanted = (
        "loss", "grad_norm", "lr", "tokens", "nonfinite", "clip/mean", "kl/mean", "entropy/mean", "ratio/mean",
        "importance/mean", "importance_cut/mean", "replayed",
    )  # fmt: skip
    metrics = {named.get(name, name): learned[name] for name in wanted if name in learned}
    if is_on_policy:
        metrics |= {name: learned[name] for name in ("gap/mean", "gap/max") if name in learned}
    return metrics


def _refuse_many_errors(
    rollout: rollouts.Rollout, figures: Mapping[str, float], config: RLConfig, cursor: Cursor
) -> None:
    share = figures.get("reward/error_frac", 0.0)
    if share > config.max_error_frac:
        reasons = list(rollouts.error_reasons(rollout.rows).items())[:NAMED_REASONS]
        raise RunError(
            "Z318",
            f"{share:.0%} of the outputs could not be graded",
            where=f"rollout {cursor.rollout}, after update {cursor.step}",
            why="\n".join(
                [
                    f"more than rl.max_error_frac={config.max_error_frac}: the grader seems broken",
                    *(f"{count} times: {reason}" for reason, count in reasons),
                ]
            ),
            fix="look at the notes of the rows with verdict 'error'; repair the reward and resume",
        )


def _refuse_gap(metrics: Mapping[str, float], config: RLConfig, cursor: Cursor) -> None:
    gap = metrics.get("gap/mean", 0.0)
    if gap > config.max_gap_nats:
        raise RunError(
            "Z317",
            f"sampler and learner disagree by {gap:.3f} nats a token",
            where=f"rollout {cursor.rollout}, first update",
            why=f"more than rl.max_gap_nats={config.max_gap_nats}: the sampler has stale weights or other arithmetic",
            fix="check that the policy follows the learner; do not trust the updates of this rollout",
        )
