"""The demo's model (recipe `tiny`, about half a million parameters): how quick sampling and a whole update are.

Random weights, 16 questions of the recipe's tasks, 8 samples each, all 128 at once and every one to its cap (the end
token is like any other), so a turn is always the same work. The update is the recipe's (KL term, reference policy, its
learner) on such a rollout, with a coin as the reward, so that hardly a group is without a gradient.

Two settings: with `--threads` threads (2 unless said) and nothing else running, and with one thread while another
process does nothing but compute; that one has half of the goals.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from peers.ours import coin_reward, load_tiny, make_engine
from report import Claim, last_report, run

GOAL_TOKENS_PER_S = 20_000.0
GOAL_STEP_S = 1.0
QUESTIONS, SAMPLES = 16, 8


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Both settings; or, in a process started for that, this process's."""
    if arguments.alone:
        return alone(arguments)
    return alone(arguments) | {"busy": beside_a_busy_process(arguments)}


def alone(arguments: argparse.Namespace) -> dict[str, Any]:
    """Medians of sampling and of whole steps in this process, in turn."""
    model, tokenizer, recipe = load_tiny()
    engine = make_engine(model, tokenizer, is_endless=True)
    updates = _updates(recipe, arguments.tokens)
    speeds, steps, flat = [], [], []
    for turn in range(-1, arguments.turns):
        speed = _sample(engine, recipe, tokens=arguments.tokens, step=turn + 1)
        began = time.perf_counter()
        update = next(updates)
        seconds = time.perf_counter() - began
        if turn >= 0:  # the first turn warms up
            speeds.append(speed)
            steps.append(seconds)
            flat.append(sum(row.advantage == 0.0 for row in update.rows) / len(update.rows))
    return {
        "tokens_per_s": round(statistics.median(speeds)),
        "step_s": round(statistics.median(steps), 3),
        "rows_without_gradient": round(statistics.fmean(flat), 3),
        "threads": arguments.threads,
    }


def beside_a_busy_process(arguments: argparse.Namespace) -> dict[str, Any]:
    """The same in a process with one thread, while another one computes."""
    command = [sys.executable, __file__, "--alone", "--threads", "1"]
    command += ["--turns", str(arguments.turns), "--tokens", str(arguments.tokens)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    finally:
        busy.kill()
        busy.wait()
    return dict(last_report(result.stdout)["measured"])


def _sample(engine: Any, recipe: Any, *, tokens: int, step: int) -> float:
    """Tokens per second of one rollout."""
    from zero2r1.core.random import Address
    from zero2r1.policy.base import Sampling
    from zero2r1.tasks.base import make_task

    prompts = make_task(recipe.stages["r1_zero"].tasks, seed=recipe.seed).draw(QUESTIONS)
    address = Address(seed=0, stage="benchmark", step=step)
    began = time.perf_counter()
    groups = engine.sample(prompts, SAMPLES, sampling=Sampling(max_new_tokens=tokens), address=address)
    seconds = time.perf_counter() - began
    said = sum(len(completion.token_ids) for group in groups for completion in group)
    assert said == QUESTIONS * SAMPLES * tokens
    return said / seconds


def _updates(recipe: Any, tokens: int) -> Iterator[Any]:
    """Updates without end of the recipe's first stage of reinforcement learning, from random weights."""
    from zero2r1.core.random import Address
    from zero2r1.learner.learner import Learner
    from zero2r1.models.recording import Recording
    from zero2r1.rl.grpo import Reference, grpo
    from zero2r1.tasks.base import make_task

    stage = recipe.stages["r1_zero"]
    model, tokenizer, _ = load_tiny()
    learner = Learner(model, stage.learner, total_steps=stage.rl.steps)
    caps = ({"from_step": 0, "max_new_tokens": tokens},)
    sizes = {"prompts_per_step": QUESTIONS, "samples_per_prompt": SAMPLES, "max_new_tokens": caps}
    recording = Recording(stage.rl.recording_gib)
    return grpo(
        policy=make_engine(model, tokenizer, is_endless=True, recording=recording),
        recording=recording,
        learner=learner,
        reference=Reference(),
        task=make_task(stage.tasks, seed=recipe.seed),
        reward=coin_reward,
        config=type(stage.rl).model_validate(stage.rl.model_dump() | sizes),
        address_of=lambda rollout: Address(seed=0, stage="benchmark", step=rollout),
    )


def meets(found: Mapping[str, Any]) -> bool:
    """Both goals, and half of each with one thread on a busy machine."""
    if "busy" not in found:
        return True
    busy = found["busy"]
    return (
        found["tokens_per_s"] >= GOAL_TOKENS_PER_S
        and found["step_s"] <= GOAL_STEP_S
        and busy["tokens_per_s"] >= GOAL_TOKENS_PER_S / 2
        and busy["step_s"] <= 2 * GOAL_STEP_S
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(threads=2)
    parser.add_argument("--turns", type=int, default=5, help="turns, after one to warm up")
    parser.add_argument("--tokens", type=int, default=48, help="tokens of a sample")
    parser.add_argument("--alone", action="store_true", help="only this process's setting, without goals")


if __name__ == "__main__":
    run(
        Claim(
            name="tiny",
            goal=f"{GOAL_TOKENS_PER_S:.0f} sampled tokens/s, a step in {GOAL_STEP_S} s; half of that with one thread "
            "beside a busy process",
            meets=meets,
            add_arguments=_arguments,
        ),
        measure,
    )
