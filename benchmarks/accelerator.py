"""The engine and the update on one CUDA GPU: against transformers, the memory's bandwidth and the tensor cores' rate.

SmolLM2-135M-Instruct with its weights, and a network of the shape of Qwen2.5-1.5B with random ones (`peers/shapes.py`;
`--models smollm2` is the shape of SmolLM2 with random ones, where there are no weights). All in bfloat16.

    rollout  tokens/s, turns taken one by one. 8 prompts x 8 samples, and 64 x 8; SmolLM2 to the natural end or 256
             tokens, random weights to 256. Goal: 2 times the quicker way of transformers, at every size.
             ours        the engine with its defaults and room for all samples. It also decodes the texts, records
                         log-probabilities and hashes the weights (`hash_s` of every turn)
             continuous  `generate_batch`: sdpa (without the flash-attn package it has no other on pages, and so no
                         block tables), pages of 32 tokens, room for a quarter more than all samples, its manager with
                         cache and graphs kept from turn to turn. As it decides by itself for sdpa (`plain`), or with
                         CUDA graphs and two batches in flight (`graphs`): both are tried first, the quicker one plays
             generate    all samples as one batch padded on the left, sdpa; at the small size only
    decode   seconds of one step: (n forced tokens - 1) / (n - 1), all samples running. Its bytes (weights once, cached
             keys and values once) over its seconds, as a share of what copies inside the device's memory reach in the
             same run. Goal: half, at the 1.5B shape and 64 samples.
    update   `Learner.step` with the loss of GRPO, all of it: 64 rows of 512 to 1,024 tokens in groups of 8 with a
             prompt of 128, every row with a gradient, passes of 16,384 tokens (halved while memory does not suffice).
             Operations of the model over its seconds, as a share of the datasheet's rate, or of the measured one for a
             device whose datasheet is not known here. Goal: 40 % at the 1.5B shape. And the distance between what the
             sampler recorded and what the learner computes: mean at most 0.02 nats.

Each part runs in a process of its own that is ended some time after `--limit` seconds; in it what fails leaves its
error and the rest goes on. What has been measured is on standard error as it comes.
"""

import argparse
import gc
import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import gpu_rollout, gpu_update, ours
from peers.ceilings import copied_bytes_per_s, described, product_flops
from peers.gpu_decode import decode
from report import Claim, run

LARGE = "qwen2.5-1.5b"
GOAL_RATIO, GOAL_SHARE, GOAL_MFU, GOAL_GAP = 2.0, 0.5, 0.4, 0.02
GRACE_S = 60.0
"""Ours: what is being measured when the time is over may end."""
LEAST_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The sizes of all parts."""

    rollouts: tuple[tuple[int, int, int], ...] = ((8, 8, 5), (64, 8, 3))
    """Prompts, samples of each, pairs of turns."""
    tokens: int = 256
    """Most of a sample."""
    sequences: tuple[int, ...] = (64, 256, 1024)
    """Decoded at the same time. The large model leaves out the last."""
    pairs: int = 3
    """Of the two rollouts whose difference is a step's time."""
    rows: gpu_update.Rows = field(default_factory=gpu_update.Rows)
    product: int = 8192
    copied: int = 2**31


SMOKE = Work(
    rollouts=((2, 2, 1),), tokens=4, sequences=(16,), pairs=1, product=64, copied=2**20,
    rows=gpu_update.Rows(count=8, group=4, prompt=8, longest=48, steps=1, warm=1),
)  # fmt: skip

Item = Callable[[float, Mapping[str, Any]], Any]
"""Measures something in about so many seconds, given what this part has found so far."""


def parts(arguments: argparse.Namespace) -> Mapping[str, Callable[[], Iterator[tuple[str, Item]]]]:
    """What each part measures, by name and in order: what is wanted most comes first."""
    work, device = SMOKE if arguments.smoke else Work(), arguments.device
    models = [name for name in arguments.models.split(",") if name]

    def rollouts() -> Iterator[tuple[str, Item]]:
        for size in work.rollouts:
            for name in models:
                task = gpu_rollout.Task(name=name, prompts=size[0], samples=size[1], pairs=size[2], tokens=work.tokens)
                yield task.title, lambda limit_s, _, task=task: gpu_rollout.rollout(task, arguments, limit_s)

    def decodes() -> Iterator[tuple[str, Item]]:
        yield "copied_bytes_per_s", lambda *_: copied_bytes_per_s(device, work.copied)
        for name in models:
            for rows in work.sequences[:2] if name == LARGE else work.sequences:
                yield (
                    f"{name} {rows}",
                    lambda limit_s, found, name=name, rows=rows: decode(
                        name, rows, device=device, tokens=work.tokens, pairs=work.pairs, limit_s=limit_s,
                        bytes_per_s=found["copied_bytes_per_s"],
                    ),
                )  # fmt: skip

    def updates() -> Iterator[tuple[str, Item]]:
        yield "product_flops", lambda *_: product_flops(device, work.product)
        for name in models:
            yield (
                name,
                lambda _, found, name=name: gpu_update.update(
                    name, work.rows, arguments, measured_flops=found["product_flops"]
                ),
            )
        few = work.rollouts[0][1]
        for name in models:
            yield f"{name} gap", lambda *_, name=name: gpu_update.gap(name, arguments, few=few, tokens=work.tokens)

    return {"rollout": rollouts, "decode": decodes, "update": updates}


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """Every part in its own process; or, in such a process, the one it was started for."""
    import torch

    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        return {"absent": "no CUDA device", "goals": {"a device": False}}
    if arguments.only:
        with Path(arguments.into).open("a", encoding="utf-8", buffering=1) as notes:
            alone(arguments, lambda name, value: notes.write(json.dumps({name: value}, default=str) + "\n"))
        return {"goals": {}}
    found: dict[str, Any] = {part: _child(part, arguments.limit) for part in arguments.parts.split(",")}
    return found | {"goals": goals(found)}


def alone(arguments: argparse.Namespace, note: Callable[[str, Any], Any]) -> None:
    """One part. Each item gets its share of the time that is left."""
    import torch

    began = time.perf_counter()
    note("device", described(arguments.device))
    items = list(parts(arguments)[arguments.only]())
    found: dict[str, Any] = {}
    for i, (name, item) in enumerate(items):
        left = arguments.limit - (time.perf_counter() - began)
        _say(f"{arguments.only}: {name} ...", began)
        try:
            if left < LEAST_S:
                raise TimeoutError(f"{arguments.limit:g} s are over")
            found[name] = item(left / (len(items) - i), found)
        except Exception as problem:  # noqa: BLE001  one number that fails must not lose the others
            traceback.print_exc()
            found[name] = {"error": f"{type(problem).__name__}: {problem}"[-2000:]}
        note(name, found[name])
        _say(f"{arguments.only}: {name} {json.dumps(found[name], default=str)}", began)
        gc.collect()
        if arguments.device.startswith("cuda"):
            with suppress(RuntimeError):  # of a device that an error has left unusable
                torch.cuda.empty_cache()


def _say(text: str, began: float) -> None:
    print(f"[{time.perf_counter() - began:6.1f} s] {text}", file=sys.stderr, flush=True)


def _child(part: str, limit_s: float) -> dict[str, Any]:
    """What a part found, as far as it came."""
    given = [one for one in sys.argv[1:] if one != "--check"]
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        notes.touch()
        command = [sys.executable, __file__, *given, "--only", part, "--into", str(notes)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        error = ""
        try:
            code = process.wait(limit_s + GRACE_S)
            error = f"the process ended with code {code}" if code else ""
        except subprocess.TimeoutExpired:
            error = f"not done after {limit_s + GRACE_S:g} s"
            process.send_signal(signal.SIGINT)  # it ends its peers then
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
        finally:
            process.kill()
            process.wait()
        lines = notes.read_text(encoding="utf-8").splitlines()
    found = {name: value for line in lines for name, value in json.loads(line).items()}
    return found | ({"error": error} if error else {})


def goals(found: Mapping[str, Mapping[str, Any]]) -> dict[str, bool]:
    """Whether each number that has a goal meets it; one that is missing does not."""
    met: dict[str, bool] = {}
    for part, items in found.items():
        met |= {f"{part} runs": False} if "error" in items else {}
        for name, item in items.items():
            figures = item if isinstance(item, Mapping) else {}
            if part == "rollout" and name not in ("device", "error"):
                met[f"{part} {name}"] = figures.get("ratio", 0.0) >= GOAL_RATIO
            elif part == "decode" and name == f"{LARGE} 64":
                met[f"{part} {name}"] = figures.get("share", 0.0) >= GOAL_SHARE
            elif part == "update" and name == LARGE:
                met[f"{part} {name}"] = figures.get("mfu", 0.0) >= GOAL_MFU
            elif part == "update" and name.endswith(" gap"):
                met[f"{part} {name}"] = figures.get("gap_mean", 1.0) <= GOAL_GAP
    return met


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(threads=8)
    parser.add_argument("--parts", default="rollout,decode,update", help="what to measure")
    parser.add_argument("--models", default=f"{ours.MODEL},{LARGE}", help="also smollm2 and tiny: random weights")
    parser.add_argument("--device", default="cuda", help="where both sides run")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds of a part; no new item begins after them")
    parser.add_argument("--sides", default="continuous,generate", help="ways of transformers to run beside ours")
    parser.add_argument("--micro-tokens", type=int, default=16_384, help="tokens of one pass of the update")
    parser.add_argument("--no-rehash", action="store_true", help="ours: samples without hashing the weights again")
    parser.add_argument("--smoke", action="store_true", help="a few tokens, to try the script: the numbers say nothing")
    parser.add_argument("--only", default="", help="this part, in this process")
    parser.add_argument("--into", default="", help="file for what --only finds")


if __name__ == "__main__":
    run(
        Claim(
            name="accelerator",
            goal=f"{GOAL_RATIO} times transformers' tokens/s; of {LARGE} a decoding step of 64 samples at "
            f"{GOAL_SHARE:.0%} of the bandwidth and an update at {GOAL_MFU:.0%} of the datasheet's rate; mean gap at "
            f"most {GOAL_GAP}",
            meets=lambda found: bool(found["goals"]) and all(found["goals"].values()),
            add_arguments=_arguments,
        ),
        measure,
    )
