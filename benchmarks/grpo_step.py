"""One full GRPO step (sampling, reward, update) against TRL's GRPOTrainer: same model, work, loss and optimizer.

SmolLM2-135M-Instruct, 8 prompts x 8 samples, bfloat16. Every sample has the same number of tokens on both sides (no
early stop), so a step is the same amount of work; `--natural` lets samples end by themselves and compares seconds per
sampled token. The reward is a coin that costs nothing and leaves hardly a group without a gradient, for ours would save
work there that TRL does. Turns are taken one by one.

    both   AdamW (fused; betas 0.9, 0.95; no decay), lr 1e-6, gradient clipped to 1, beta 0 (no reference model), one
           update a rollout, clip 0.2, mean over outputs of the mean over tokens (TRL: loss_type grpo), advantage over
           the sample standard deviation + 1e-4
    ours   the engine and the learner with their defaults: packed rows, rows without a gradient run forward only,
           float32 master weights, and of most rows the forward pass is read from a recording of their sampling. It
           hashes the weights after each update and records the sampler's log-probabilities.
    TRL    bfloat16 weights and AdamW, no gradient checkpointing, no logging. Rows of one pass, autocast on top and the
           way to sample are options; their defaults were the quickest here, if by a few per cent.

Before that it is checked that the two compute the same: what TRL sampled in a step is given to our learner, with the
same weights. In float32, advantages, loss and gradient norm of TRL's own step, and of the same rows with old
log-probabilities moved away (the loss of a step on fresh samples is 0 whatever the tokens, for advantages add up to 0).
Also in float32, a step of ours that reads against one that computes. In bfloat16, of the first step that is timed, for
the record.
"""

import argparse
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from peers import ours
from peers.client import PEERS, Peer, Side, alternate, interpreter
from peers.workload import QUESTIONS, Fixed, described, prompts, turn
from report import Claim, run

GOAL = 4.0
SAME = 1e-4
"""Relative distance of loss and gradient norm, and distance of advantages, that float32 allows."""
SAMPLES = 8
LR, BETA2, CLIP, GRAD_CLIP = 1e-6, 0.95, 0.2, 1.0
NO_STEP = 1e-30
"""Ours: a learning rate that changes no weight, so that one learner can be asked twice."""
CHECKED = {"questions": 2, "tokens": 32}
MOST_IDLE = 0.05


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """The check of the losses in float32, then turns."""
    python = interpreter(arguments.trl_python, variable="ZERO2R1_TRL_PYTHON", default=".venv-trl/bin/python")
    cap = arguments.tokens or (256 if arguments.natural else 128)
    found: dict[str, Any] = {"absent": [] if python else ["trl"], "ratio": None, "is_same": False}
    if python:
        found["float32"] = check_float32(python, arguments)
        found["is_same"] = is_same(found["float32"])
    first: list[dict[str, Any]] = []
    with ExitStack() as stack:
        updates = steps(cap, is_endless=not arguments.natural)
        sides = {"ours": Side(turn=lambda i: _step(updates))}
        if python:
            peer = stack.enter_context(_trl(python, arguments, "bfloat16", tokens=cap))

            def step_of_trl(i: int) -> dict[str, Any]:
                answer = peer.ask({"do": "step"})
                if i < 0:
                    first.append(answer)
                return answer

            sides["trl"] = Side(turn=step_of_trl, cpu_s=peer.cpu_s)
        rounds = alternate(sides, pairs=arguments.pairs)
    found["idle_share"] = rounds.idle_share
    found["sides"] = {name: described(turns, cap=cap) for name, turns in rounds.turns.items()}
    if python:
        speeds = {name: figures["tokens_per_s"] for name, figures in found["sides"].items()}
        found["ratio"] = round(speeds["ours"] / speeds["trl"], 2)
        found["bfloat16"] = compare(first[0], "bfloat16")
    return found


def _config(tokens: int, *, questions: int = len(QUESTIONS)) -> Any:
    from zero2r1.rl.config import RLConfig

    return RLConfig.model_validate(
        {
            "prompts_per_step": questions, "samples_per_prompt": SAMPLES, "minibatches": 1, "max_new_tokens": tokens,
            "kl_coef": 0.0, "clip_low": CLIP, "clip_high": CLIP, "std": "sample", "std_epsilon": 1e-4,
            "aggregation": "sequence_mean", "advantage": "mean_std",
        }
    )  # fmt: skip


def _learner(dtype: str, *, lr: float) -> tuple[Any, Any]:
    """Learner and tokenizer, from the model's first weights."""
    from zero2r1.learner.config import LearnerConfig
    from zero2r1.learner.learner import Learner

    model, tokenizer = ours.load(dtype)
    config = LearnerConfig(lr=lr, beta2=BETA2, grad_clip=GRAD_CLIP, compute_dtype=dtype)
    return Learner(model, config, total_steps=1_000_000), tokenizer


def steps(
    cap: int, *, is_endless: bool, dtype: str = "bfloat16", questions: int = len(QUESTIONS), records: bool = True
) -> Iterator[Any]:
    """Our updates without end, one a rollout."""
    from zero2r1.core.random import Address
    from zero2r1.models.recording import Recording
    from zero2r1.rl.grpo import Reference, grpo

    learner, tokenizer = _learner(dtype, lr=LR)
    config = _config(cap, questions=questions)
    recording = Recording(config.recording_gib if records else 0.0)
    return grpo(
        policy=ours.make_engine(learner.model, tokenizer, is_endless=is_endless, recording=recording),
        recording=recording,
        learner=learner,
        reference=Reference(),
        task=Fixed(),
        reward=ours.coin_reward,
        config=config,
        address_of=lambda rollout: Address(seed=0, stage="benchmark", step=rollout),
    )


def _step(updates: Iterator[Any]) -> dict[str, Any]:
    began = time.perf_counter()
    update = next(updates)
    seconds = time.perf_counter() - began
    lengths = [len(row.scored.completion.token_ids) for row in update.rows]
    return turn(lengths, seconds) | {"rows": [{"advantage": row.advantage} for row in update.rows]}


def _trl(
    python: Any, arguments: argparse.Namespace, dtype: str, *, tokens: int, questions: int = 8, lr: float = LR
) -> Peer:
    rows = questions * SAMPLES
    pages = rows * -(-(tokens + 64) // 32)
    continuous = {"page_size": 32, "num_blocks": pages, "max_batch_tokens": 512} if arguments.trl_continuous else None
    settings = {
        "model": ours.folder(), "dtype": dtype, "threads": arguments.threads, "questions": QUESTIONS[:questions],
        "samples": SAMPLES, "max_new_tokens": tokens, "is_forced": not arguments.natural, "lr": lr, "beta2": BETA2,
        "grad_clip": GRAD_CLIP, "epsilon": CLIP, "device_batch": min(arguments.trl_batch, rows),
        "is_autocast": arguments.trl_autocast,
        "continuous": continuous,
    }  # fmt: skip
    environment = {"OMP_NUM_THREADS": str(arguments.threads)}
    return Peer([python, PEERS / "trl_peer.py"], settings=settings, environment=environment)


def check_float32(python: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """A step of TRL in float32 that moves no weight, and what our learner makes of its rows."""
    questions, tokens = CHECKED["questions"], CHECKED["tokens"]
    with _trl(python, arguments, "float32", tokens=tokens, questions=questions, lr=0.0) as peer:
        found = compare(peer.ask({"do": "step"}), "float32", peer=peer)
    return found | {"read": check_reading()}


def check_reading() -> dict[str, float]:
    """Our first step in float32, its rows read from the recording of their sampling, against the same one computed."""
    sizes = {"dtype": "float32", "questions": CHECKED["questions"]}
    read, computed = (
        next(steps(CHECKED["tokens"], is_endless=True, records=records, **sizes)).metrics for records in (True, False)
    )
    return {
        "replayed": read["replay/frac"],
        "loss_apart": abs(read["loss"] - computed["loss"]),
        "grad_norm_apart": abs(read["grad_norm"] / computed["grad_norm"] - 1.0),
    }


def compare(theirs: Mapping[str, Any], dtype: str, *, peer: Peer | None = None) -> dict[str, Any]:
    """Distances between TRL's step and our learner on the same rows, and with `peer` those of moved rows as well."""
    learner, tokenizer = _learner(dtype, lr=NO_STEP)
    engine = ours.make_engine(learner.model, tokenizer)
    by_prompt = {engine.encode(prompt): prompt for prompt in prompts()}
    groups: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for row in theirs["rows"]:
        groups.setdefault(tuple(row["prompt"]), []).append(row)
    apart = 0.0
    credited = []
    for token_ids, rows in groups.items():
        mine = _credited(by_prompt[token_ids], token_ids, rows, tokenizer)
        apart = max([apart, *(abs(a.advantage - b["advantage"]) for a, b in zip(mine, rows, strict=True))])
        credited += mine
    now = _now(learner, credited)
    found: dict[str, Any] = {"advantages_apart": apart} | _apart(_learn(learner, credited, now), theirs)
    if peer is not None:
        moved = [[value + shift(t) for t, value in enumerate(values)] for values in now]
        rows = [
            {
                "prompt": list(one.scored.completion.prompt_token_ids),
                "reply": list(one.scored.completion.token_ids),
                "advantage": one.advantage,
                "old": old,
            }
            for one, old in zip(credited, moved, strict=True)
        ]
        found["moved"] = _apart(_learn(learner, credited, moved), peer.ask({"do": "loss", "rows": rows}))
    return found


def shift(position: int) -> float:
    """Nats by which an old log-probability is moved: -0.3 to 0.3 in turn, so that ratios leave the clip both ways."""
    return 0.1 * (position % 7 - 3)


def _credited(prompt: Any, token_ids: tuple[int, ...], rows: Sequence[Mapping[str, Any]], tokenizer: Any) -> list[Any]:
    """TRL's samples of one prompt under our reward and our advantages."""
    from zero2r1.core.types import Completion, Credited, Finish, Scored
    from zero2r1.rl.advantage import group_advantages

    completions = [
        Completion(
            prompt=prompt, sample=i, prompt_token_ids=token_ids, token_ids=tuple(row["reply"]),
            logprobs=(0.0,) * len(row["reply"]), text=tokenizer.decode(row["reply"], skip_special_tokens=True),
            finish=Finish.LENGTH, policy_version=0, weights_hash="",
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip
    scored = [Scored(completion=completion, score=ours.coin_reward(prompt, completion)) for completion in completions]
    values = group_advantages([one.score.value for one in scored], std="sample", epsilon=1e-4)
    return [Credited(scored=one, advantage=value) for one, value in zip(scored, values, strict=True)]


def _now(learner: Any, credited: Sequence[Any]) -> list[list[float]]:
    """Log-probabilities of the replies under the learner, in nats."""
    from zero2r1.rl.batch import to_batch

    batch = to_batch(credited, _config(1), max_new_tokens=1)
    return [values[row.loss_mask].tolist() for row, values in zip(batch.rows, learner.logprobs(batch), strict=True)]


def _learn(learner: Any, credited: Sequence[Any], old: Sequence[Sequence[float]]) -> Mapping[str, float]:
    """Loss and gradient norm of our learner."""
    from dataclasses import replace

    from zero2r1.rl.batch import to_batch
    from zero2r1.rl.loss import PolicyLoss

    rows = [
        replace(row, scored=replace(row.scored, completion=replace(row.scored.completion, logprobs=tuple(values))))
        for row, values in zip(credited, old, strict=True)
    ]
    loss = PolicyLoss(clip_low=CLIP, clip_high=CLIP, kl_coef=0.0)
    return learner.step(to_batch(rows, _config(1), max_new_tokens=1), loss)


def _apart(mine: Mapping[str, float], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Both sides' loss and gradient norm. Distances: of losses over 1 nat or the loss, of norms relative."""
    return {
        "loss": mine["loss"],
        "loss_trl": theirs["loss"],
        "loss_apart": abs(mine["loss"] - theirs["loss"]),
        "grad_norm": mine["grad_norm"],
        "grad_norm_trl": theirs["grad_norm"],
        "grad_norm_apart": abs(mine["grad_norm"] / theirs["grad_norm"] - 1.0) if theirs["grad_norm"] else math.inf,
    }


def is_same(found: Mapping[str, Any]) -> bool:
    """Advantages, loss and gradient norm agree in float32, on TRL's own step, on the moved rows, and where rows are
    read."""
    moved, read = found["moved"], found["read"]
    return (
        read["loss_apart"] <= SAME
        and read["grad_norm_apart"] <= SAME
        and found["advantages_apart"] <= SAME
        and found["loss_apart"] <= SAME
        and found["grad_norm_apart"] <= SAME
        and moved["loss_apart"] <= SAME * abs(moved["loss_trl"])
        and moved["grad_norm_apart"] <= SAME
    )


def meets(found: Mapping[str, Any]) -> bool:
    """The same loss, quicker by the goal, and each side idle while the other worked."""
    is_fair = all(share <= MOST_IDLE for share in found["idle_share"].values())
    return found["ratio"] is not None and found["ratio"] >= GOAL and found["is_same"] and is_fair


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(threads=2)
    parser.add_argument("--pairs", type=int, default=5, help="steps of each side, after one to warm up")
    parser.add_argument("--tokens", type=int, default=0, help="tokens of a sample (default 128, natural: at most 256)")
    parser.add_argument("--natural", action="store_true", help="samples end by themselves")
    parser.add_argument("--trl-python", default=None, help="interpreter with trl (default .venv-trl)")
    parser.add_argument("--trl-batch", type=int, default=16, help="rows of one pass of TRL's update")
    parser.add_argument("--trl-autocast", action="store_true", help="TRL's update under autocast (its bf16 option)")
    parser.add_argument("--trl-continuous", action="store_true", help="TRL samples by continuous batching")


if __name__ == "__main__":
    run(
        Claim(name="grpo_step", goal=f"{GOAL} times TRL, with the same loss", meets=meets, add_arguments=_arguments),
        measure,
    )
