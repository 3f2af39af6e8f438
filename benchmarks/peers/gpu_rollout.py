"""Rollouts on an accelerator, ours and those of transformers in turn, at one size and of one model."""

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from peers import ours
from peers.ceilings import settle, timed
from peers.client import PEERS, Peer, Side, alternate
from peers.shapes import SHAPES
from peers.workload import prompts, summary, turn

PAGE = 32
ROOM = 1.25
"""Ours: of the peer's cache, over what all samples need at their longest; it holds prompts back when less is free."""
PASS_TOKENS = 1024
"""Ours: most tokens of a pass of the peer, so that all samples run at the same time."""
ANSWER_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What every side is asked for."""

    name: str
    """Of the model."""
    prompts: int
    samples: int
    tokens: int
    pairs: int

    @property
    def rows(self) -> int:
        """Samples in all."""
        return self.prompts * self.samples

    @property
    def title(self) -> str:
        """Names it in a report."""
        return f"{self.name} {self.prompts}x{self.samples}"

    @property
    def is_forced(self) -> bool:
        """Random weights never end a text."""
        return self.name in SHAPES


def many(count: int) -> list[Any]:
    """So many different prompts: the questions, numbered from the second time on."""
    few = prompts()
    made = []
    for i in range(count):
        prompt = few[i % len(few)]
        said = prompt.messages[-1]
        again = replace(said, content=f"{said.content} ({i // len(few) + 1})") if i >= len(few) else said
        made.append(replace(prompt, messages=(*prompt.messages[:-1], again), id=""))
    return made


def make_engine(name: str, device: str, *, rows: int, tokens: int, is_endless: bool, **options: Any) -> Any:
    """Our engine with room for all samples, and the model it samples from."""
    from zero2r1.policy.lineage import encode

    model, tokenizer = ours.on_device(name, device)
    longest = max(len(encode(tokenizer, prompt)) for prompt in many(16))
    room = rows * (longest + tokens + 4 * PAGE)
    return model, ours.make_engine(
        model, tokenizer, is_endless=is_endless, max_slots=rows, max_tokens_in_cache=room, **options
    )


def sample(engine: Any, asked: list[Any], samples: int, *, tokens: int, step: int) -> list[Any]:
    """All completions of a rollout."""
    from zero2r1.core.random import Address
    from zero2r1.policy.base import Sampling

    address = Address(seed=0, stage="benchmark", step=step)
    groups = engine.sample(asked, samples, sampling=Sampling(max_new_tokens=tokens), address=address)
    return [said for group in groups for said in group]


def rollout(task: Task, arguments: argparse.Namespace, limit_s: float) -> dict[str, Any]:
    """All sides in turn; `ratio` is ours over the quickest of the others."""
    from zero2r1.models.save import weights_hash

    began = time.perf_counter()
    device = arguments.device
    model, engine = make_engine(
        task.name, device, rows=task.rows, tokens=task.tokens, is_endless=task.is_forced,
        recompute_hash=not arguments.no_rehash,
    )  # fmt: skip
    asked = many(task.prompts)
    encoded = [list(engine.encode(prompt)) for prompt in asked]

    def sample_ours(i: int) -> dict[str, Any]:
        started = time.perf_counter()
        said = sample(engine, asked, task.samples, tokens=task.tokens, step=i + 1)
        settle(device)
        return turn([len(one.token_ids) for one in said], time.perf_counter() - started)

    found: dict[str, Any] = {"hash_s": round(timed(lambda: weights_hash(model), device), 2)}
    with ExitStack() as stack:
        sides = {"ours": Side(turn=sample_ours)}
        for mode in (mode for mode in arguments.sides.split(",") if mode):
            if mode == "generate" and task.prompts > 8:
                continue
            peer = stack.enter_context(_peer(mode, task, encoded, arguments))
            request = _request(task, encoded)
            if mode == "continuous":
                found["tried_s"] = _settle_on_quickest(peer, request, task, encoded)
            sides[mode] = Side(turn=lambda i, peer=peer, request=request: peer.ask(request), cpu_s=peer.cpu_s)
        rounds = alternate(sides, pairs=task.pairs, limit_s=limit_s - (time.perf_counter() - began))
    found["sides"] = {name: summary(turns, cap=task.tokens) for name, turns in rounds.turns.items()}
    found["pairs"] = len(rounds.turns["ours"])
    found["idle_share"] = rounds.idle_share
    others = [figures["tokens_per_s"] for name, figures in found["sides"].items() if name != "ours"]
    if others:
        found["ratio"] = round(found["sides"]["ours"]["tokens_per_s"] / max(others), 2)
    return found


def _request(task: Task, encoded: list[list[int]]) -> dict[str, Any]:
    return {
        "prompts": encoded,
        "samples": task.samples,
        "max_new_tokens": task.tokens,
        "is_forced": task.is_forced,
    }


def _peer(mode: str, task: Task, encoded: list[list[int]], arguments: argparse.Namespace) -> Peer:
    settings = {
        "dtype": "bfloat16",
        "mode": mode,
        "attention": "sdpa",
        "threads": arguments.threads,
        "device": arguments.device,
        "is_persistent": True,
        "batching": variants(task, encoded)["plain"],
        **({"shape": task.name} if task.is_forced else {"model": ours.folder()}),
    }
    environment = {"OMP_NUM_THREADS": str(arguments.threads)}
    command = [sys.executable, PEERS / "transformers_peer.py"]
    return Peer(command, settings=settings, environment=environment, limit_s=ANSWER_S)


def variants(task: Task, encoded: list[list[int]]) -> dict[str, dict[str, Any]]:
    """Ways to set continuous batching up, by name."""
    pages = -(-(max(map(len, encoded)) + task.tokens + 1) // PAGE) + 1
    plain = {
        "page_size": PAGE,
        "num_blocks": int(ROOM * task.rows * pages),
        "max_batch_tokens": max(PASS_TOKENS, task.rows),
        "max_requests_per_batch": task.rows,
    }
    # A graph for each so many tokens in the cache: 5 or so for 64 samples, where padding costs most.
    graphs = {
        "use_cuda_graph": True,
        "use_async_batching": True,
        "kv_padding_interval_size": 4096 if task.rows <= 64 else 16_384,
    }
    return {"plain": plain, "graphs": plain | graphs}


def _settle_on_quickest(peer: Peer, request: dict[str, Any], task: Task, encoded: list[list[int]]) -> dict[str, Any]:
    """Tries each variant, twice where the first time may be spent on graphs, and leaves the peer with the best."""
    tried: dict[str, Any] = {}
    ways = variants(task, encoded)
    for name, batching in ways.items():
        answer = peer.ask({**request, "batching": batching})
        if name == "graphs" and "error" not in answer:
            answer = peer.ask(request)
        tried[name] = answer.get("error") or round(answer["seconds"], 2)
    working = {name: seconds for name, seconds in tried.items() if not isinstance(seconds, str)}
    if not working:
        raise RuntimeError(f"no way to batch continuously works: {tried}")
    best = min(working, key=lambda name: working[name])
    if best != list(ways)[-1]:
        peer.ask({**request, "batching": ways[best]})
    return tried | {"plays": best}
