"""An update on an accelerator: rate of operations, parts and memory; and the gap between sampler and learner."""

import argparse
import gc
import math
import statistics
from dataclasses import dataclass
from typing import Any

from peers import ours
from peers.ceilings import described, settle, timed, update_flops
from peers.gpu_rollout import make_engine, many, sample
from peers.shapes import SHAPES

__all__ = ["SHAPES", "Rows", "update"]

LEAST_PASS = 1024
CLIP = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The batch of an update."""

    count: int = 64
    group: int = 8
    prompt: int = 128
    """Tokens that the rows of a group share."""
    longest: int = 1024
    """Tokens of the longest row; the shortest has half."""
    steps: int = 5
    warm: int = 2

    def lengths(self) -> list[int]:
        """Of each row, evenly spread and out of order."""
        half = self.longest // 2
        return [half + (i * 37 % self.count) * half // max(1, self.count - 1) for i in range(self.count)]


def gap(name: str, arguments: argparse.Namespace, *, few: int, tokens: int) -> dict[str, float]:
    """`ours.gap` of a rollout of few prompts and as many samples of each."""
    model, engine = make_engine(name, arguments.device, rows=few * few, tokens=tokens, is_endless=name in SHAPES)
    said = sample(engine, many(few), few, tokens=tokens, step=0)
    del engine
    gc.collect()
    return ours.gap(_learner(model, arguments), said)


def _learner(model: Any, arguments: argparse.Namespace) -> Any:
    from zero2r1.learner.config import LearnerConfig
    from zero2r1.learner.learner import Learner

    config = LearnerConfig(lr=1e-6, compute_dtype="bfloat16", micro_tokens=arguments.micro_tokens)
    return Learner(model, config, total_steps=1_000_000)


def update(name: str, rows: Rows, arguments: argparse.Namespace, *, measured_flops: float) -> dict[str, Any]:
    """Steps of the learner.

    measured_flops: operations a second of a large product on this device.
    """
    device = arguments.device
    model, _ = ours.on_device(name, device)
    learner = _learner(model, arguments)
    found: dict[str, Any] = {}
    batch = make_batch(rows, model.config.vocab_size)
    seconds = _steps(learner, batch, rows, device, found)
    work = count(batch, learner.config.micro_tokens)
    flops = update_flops(model.config, **work)
    peak = described(device)["datasheet_flops"] or measured_flops
    return (
        found
        | work
        | {
            "seconds": round(seconds, 4),
            "tokens_per_s": round(sum(len(row.token_ids) for row in batch.rows) / seconds, 1),
            "computed_tokens_per_s": round(work["tokens"] / seconds, 1),
            "teraflop": round(flops / 1e12, 2),
            "mfu": round(flops / seconds / peak, 4),
            "share_of_product": round(flops / seconds / measured_flops, 4),
            **_split(learner, batch, device),
        }
    )


def make_batch(rows: Rows, vocabulary: int) -> Any:
    """Random tokens as a rollout's batch: the rows of a group share their prompt, and none has advantage 0."""
    import torch

    from zero2r1.learner.base import Batch, Row

    generator = torch.Generator().manual_seed(0)
    made = []
    for i, length in enumerate(rows.lengths()):
        if i % rows.group == 0:
            prompt = torch.randint(vocabulary, (rows.prompt,), generator=generator)
        rest = torch.randint(vocabulary, (length - rows.prompt,), generator=generator)
        is_response = torch.arange(length) >= rows.prompt
        made.append(
            Row(
                token_ids=torch.cat([prompt, rest]),
                loss_mask=is_response,
                weights=is_response / (rows.count * len(rest)),
                streams={
                    "advantage": torch.full((length,), 1.0 - 2.0 * (i % 2)),
                    "old": torch.full((length,), -math.log(vocabulary)),
                },
            )
        )
    return Batch(rows=tuple(made))


def count(batch: Any, micro_tokens: int) -> dict[str, int]:
    """What the learner's passes over a batch compute: see `update_flops`."""
    from zero2r1.models.packing import families_of, pack, plan

    def shared(some: list[Any]) -> dict[str, list[int]]:
        contexts = [int(row.loss_mask.int().argmax()) for row in some]
        return {"families": families_of([row.token_ids for row in some], contexts), "contexts": contexts}

    rows = list(batch.rows)
    members = plan([len(row.token_ids) - 1 for row in rows], micro_tokens, **shared(rows))
    passes = [[rows[i] for i in some] for some in members]
    packs = [pack([row.token_ids[:-1] for row in some], **shared(some)) for some in passes]
    return {
        "tokens": sum(len(one.token_ids) for one in packs),
        "head_tokens": sum(int(row.loss_mask.sum()) for row in rows),
        "pairs": sum(int((one.position_ids + 1).sum()) for one in packs),
    }


def _steps(learner: Any, batch: Any, rows: Rows, device: str, found: dict[str, Any]) -> float:
    """Median seconds of a step; the passes are halved while memory does not suffice."""
    import torch

    from zero2r1.rl.loss import PolicyLoss

    loss = PolicyLoss(clip_low=CLIP, clip_high=CLIP, kl_coef=0.0)
    while True:
        try:
            for _ in range(rows.warm):
                learner.step(batch, loss)
            if device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            seconds = [timed(lambda: learner.step(batch, loss), device) for _ in range(rows.steps)]
            break
        except torch.OutOfMemoryError:
            smaller = learner.config.micro_tokens // 2
            if smaller < LEAST_PASS:
                raise
            learner.config = learner.config.model_copy(update={"micro_tokens": smaller})
        gc.collect()
        torch.cuda.empty_cache()
    found["micro_tokens"] = learner.config.micro_tokens
    found["seconds_range"] = [round(min(seconds), 4), round(max(seconds), 4)]
    if device.startswith("cuda"):
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return statistics.median(seconds)


def _split(learner: Any, batch: Any, device: str) -> dict[str, float]:
    """Seconds of the forward pass without a graph, of the optimizer, and of what is left: backward and the rest."""
    from zero2r1.rl.loss import PolicyLoss

    apply, inside = learner.optimizer.apply, []

    def watched(*given: Any, **named: Any) -> None:
        inside.append(timed(lambda: apply(*given, **named), device))

    learner.optimizer.apply = watched
    try:
        loss = PolicyLoss(clip_low=CLIP, clip_high=CLIP, kl_coef=0.0)
        whole = timed(lambda: learner.step(batch, loss), device)
    finally:
        learner.optimizer.apply = apply
    settle(device)
    forward = min(timed(lambda: learner.logprobs(batch), device) for _ in range(2))
    spent = sum(inside)
    return {
        "forward_s": round(forward, 4),
        "optimizer_s": round(spent, 4),
        "rest_s": round(whole - forward - spent, 4),
    }
