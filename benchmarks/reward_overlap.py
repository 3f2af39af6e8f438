"""Seconds of sampling and judging a GRPO rollout, against the slower of the two alone: judging hides behind sampling.

A tiny Qwen3 network with random weights; the reward is a custom one, a file's function in worker processes. Three turns
in alternation: sample with a free reward; judge the same completions when all are there; and both at once, as in
training. The claim is the median of the last against the larger of the other two medians. The parameter update that
follows is no part of any of them.

What is inherent: the rewards of the samples that finish last can only start then. The engine has no more slots than
there are workers, so the samples in flight at the end, most of which reach the length cap together, are judged at once
and that tail is one reward long (0.5 s). The rollout is sized to take several seconds; a shorter one would miss the
goal by its tail.

Reported without a goal: a reward that computes for 50 ms. On few cores it competes with the sampler for the processor,
and nothing can hide that.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report import Claim, run

GOAL_RATIO = 1.15
REWARDS = """
import time

def free(prompt, completion):
    return 1.0

def waits(prompt, completion):
    time.sleep(0.5)
    return float(len(completion.text))

def computes(prompt, completion):
    ends = time.process_time() + 0.05
    while time.process_time() < ends:
        pass
    return float(len(completion.text))
"""


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Both rewards, each with its turns in alternation."""
    world = _world(arguments)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "rewards.py").write_text(REWARDS, encoding="utf-8")
        waits = _turns(world, arguments, folder, "waits")
        computes = _turns(world, arguments, folder, "computes")
    return {**waits, "samples": arguments.prompts * arguments.samples, "cpu_heavy": computes}


def _world(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a rollout is drawn from."""
    from zero2r1.models.load import set_template
    from zero2r1.models.tiny import TinyConfig, make_tiny
    from zero2r1.models.tokenizer import make_tokenizer
    from zero2r1.policy.engine import Engine
    from zero2r1.rl.config import RLConfig
    from zero2r1.tasks.base import TaskConfig, make_task

    task = make_task([TaskConfig()], seed=0)
    tokenizer = make_tokenizer([prompt.question for prompt in task.draw(200)], vocab_size=512)
    set_template(tokenizer, "plain")
    model = make_tiny(TinyConfig(vocab_size=512), tokenizer, seed=0)
    return {
        "policy": Engine(model, tokenizer, max_slots=arguments.slots),
        "task": task,
        "config": RLConfig(
            prompts_per_step=arguments.prompts,
            samples_per_prompt=arguments.samples,
            minibatches=1,
            max_new_tokens=arguments.tokens,
        ),
        "max_new_tokens": arguments.tokens,
        "first_prompt": 0,
    }


def _turns(world: Mapping[str, Any], arguments: argparse.Namespace, folder: str, name: str) -> dict[str, Any]:
    """Medians of the three, in seconds, and their ratio."""
    from zero2r1.core.dialogue import Dialect
    from zero2r1.core.random import Address
    from zero2r1.rewards.base import RewardConfig, make_reward
    from zero2r1.rewards.beside import Beside
    from zero2r1.rl import rollout as rollouts

    def made(function: str) -> Any:
        config = RewardConfig(
            accuracy=0.0, format=0.0, custom={f"rewards.py::{function}": 1.0}, workers=arguments.workers
        )
        return make_reward(config, dialect=Dialect.R1_ZERO, folder=folder)

    seconds: dict[str, list[float]] = {"sampling_s": [], "rewards_s": [], "both_s": []}
    with made("free") as free, made(name) as slow:
        for turn in range(arguments.turns):
            address = Address(seed=turn, stage="benchmark", step=turn)
            began = time.perf_counter()
            drawn = rollouts.sample(reward=free, address=address, **world)
            seconds["sampling_s"].append(time.perf_counter() - began)
            groups = [[row.scored.completion for row in group] for group in drawn.groups]
            began = time.perf_counter()
            with Beside(slow, [group[0].prompt for group in groups], arguments.samples) as judge:
                judge.gather(groups)
            seconds["rewards_s"].append(time.perf_counter() - began)
            began = time.perf_counter()
            rollouts.sample(reward=slow, address=address, **world)
            seconds["both_s"].append(time.perf_counter() - began)
    medians = {phase: statistics.median(values) for phase, values in seconds.items()}
    ratio = medians["both_s"] / max(medians["sampling_s"], medians["rewards_s"])
    return {phase: round(value, 2) for phase, value in medians.items()} | {"ratio": round(ratio, 3)}


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=320)
    parser.add_argument("--slots", type=int, default=16)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)


if __name__ == "__main__":
    run(
        Claim(
            name="reward_overlap",
            goal=f"sampling with a 0.5 s reward takes at most {GOAL_RATIO} times the slower of the two alone",
            meets=lambda found: found["ratio"] <= GOAL_RATIO,
            add_arguments=_arguments,
        ),
        measure,
    )
