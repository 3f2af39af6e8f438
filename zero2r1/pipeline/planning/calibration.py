"""What this machine does in a second: matrix products, memory, hashing, and the recipe's own network on random weights.

The network is run through the package's own decoding loop and learner at a few sizes; straight lines through the
readings give every other size. A network too large to be run whole is read at two depths and extended in a straight
line over its layers.

What it does not do: load weights. It is as noisy as the machine; nothing else should run beside it.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from zero2r1.pipeline.planning.shapes import Shape, build
from zero2r1.pipeline.planning.timing import attention_flops

WHOLE_FLOPS = 2.5e10
"""Operations of one pass up to which the whole network is read. Ours: under half a second on a laptop core."""
DEPTHS = (1, 5)
"""Layers of the two networks read in place of a larger one. Ours."""
LARGE_TOKENS = (256, 1024)
"""Tokens of the two passes of a larger network. Ours: matrix products reach their rate from a few hundred rows on."""
STEPS = (2, 10)
"""New tokens of the two decoding runs whose difference is timed. Ours."""
SPREAD = (1.0, 0.7, 1.3, 0.85, 1.15)
"""Lengths of the rows that are read, as shares of the mean. Ours."""
LONGEST_PROBE = 1024
"""Longest sequence that is read, in tokens. Ours: seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Rates of this machine at the threads in use."""

    threads: int
    flops: float
    """float32 operations per second in a large matrix product."""
    bandwidth: float
    """Bytes per second read and written in a large copy."""
    hashing: float
    """Bytes per second of sha256."""
    runtime: int
    """Bytes this process holds before any model: interpreter and libraries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Speed by readings; times are a straight line in live sequences, cached tokens, tokens and passes."""

    shape: Shape
    machine: Machine
    decode: tuple[float, float, float]
    """Seconds of a step, of a live sequence, of a live sequence and cached token."""
    forward: tuple[float, float]
    """Seconds of a pass without gradient, of a token."""
    learn: tuple[float, float]
    """The same with gradient."""
    apply: float
    length: int
    """Tokens of the sequences that were read."""
    weights: int
    """Bytes of the weights."""

    def decode_s(self, live: int, width: float | int) -> float:
        """See `timing.Speed`."""
        step, sequence, cached = self.decode
        return step + live * (sequence + cached * width)

    def forward_s(self, tokens: float | int, length: float | int) -> float:
        """See `timing.Speed`."""
        return self.forward[0] + tokens * self.forward[1] + self._longer(tokens, length)

    def learn_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        """See `timing.Speed`."""
        return passes * self.learn[0] + tokens * self.learn[1] + 3 * self._longer(tokens, length)

    def apply_s(self) -> float:
        """See `timing.Speed`."""
        return self.apply

    def hash_s(self) -> float:
        """See `timing.Speed`."""
        return self.weights / self.machine.hashing

    def _longer(self, tokens: float | int, length: float | int) -> float:
        return attention_flops(self.shape, tokens, max(0.0, length - self.length)) / self.machine.flops


def line(x1: float | int, y1: float | int, x2: float | int, y2: float | int) -> tuple[float, float]:
    """(intercept, slope) of the line through two points; a negative one is noise and becomes 0.

    Ours: the definition.
    """
    slope = max(0.0, (y2 - y1) / (x2 - x1)) if x2 != x1 else 0.0
    return max(0.0, y1 - slope * x1), slope


def plane(
    few: tuple[int, int], narrow: tuple[int, int], wide: tuple[int, int], *, times: tuple[float, float, float]
) -> tuple[float, float, float]:
    """(a, b, c) of t = a + live * (b + c * width) through (live, width) `few`, `narrow`, `wide` with their times.

    `narrow` and `wide` have the same number live, `few` and `wide` the same width.
    Ours: three equations, three unknowns; negative ones are noise and become 0.
    """
    c = max(0.0, (times[2] - times[1]) / (wide[0] * (wide[1] - narrow[1]))) if wide[1] != narrow[1] else 0.0
    intercept, slope = line(few[0], times[0], wide[0], times[2])
    return intercept, max(0.0, slope - c * wide[1]), c


def deeper(shallow: Mapping[str, float], deep: Mapping[str, float], layers: int) -> dict[str, float]:
    """Each reading at `layers` layers, on the line through those at the two depths. Ours: layers are alike."""
    first, second = DEPTHS
    return {
        name: value + (layers - first) * max(0.0, (deep[name] - value) / (second - first))
        for name, value in shallow.items()
    }


def read_machine() -> Machine:
    """Matrix products, copies and hashes for about a second."""
    import torch

    size = 1024
    left = torch.ones(size, size)
    product = timed(lambda: left @ left, repeats=5)
    source = torch.ones(2**24)
    target = torch.zeros(2**24)
    copied = timed(lambda: target.copy_(source), repeats=5)
    block = bytes(2**24)
    hashed = timed(lambda: hashlib.sha256(block).digest(), repeats=3)
    return Machine(
        threads=torch.get_num_threads(),
        flops=2 * size**3 / product,
        bandwidth=2 * 4 * 2**24 / copied,
        hashing=2**24 / hashed,
        runtime=resident_bytes(),
    )


def resident_bytes() -> int:
    """Bytes of this process in memory now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            pages = int(file.read().split()[1])
    except OSError:
        return 0
    import resource

    return pages * resource.getpagesize()


def timed(call: Callable[[], object], *, repeats: int) -> float:
    """Median seconds of a call, after one call that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def read_network(
    shape: Shape, machine: Machine, *, prompt: int, response: int, slots: int, row: int, micro_tokens: int, dtype: str
) -> Calibrated:
    """Runs the network on random weights.

    Args:
        prompt, response: tokens of a prompt and an answer; `slots` answers are decoded at a time.
        row: tokens of a sequence that is learned, in passes of `micro_tokens`.
    """
    sizes = (max(64, min(micro_tokens, 4096) // 4), min(micro_tokens, 4096))
    length = max(2, min(row, LONGEST_PROBE))
    width = max(prompt + 16, min(prompt + response, LONGEST_PROBE))
    is_whole = 6 * shape.parameters * sizes[1] <= WHOLE_FLOPS or shape.layers <= DEPTHS[1]
    settings: dict[str, Any] = {"length": length, "slots": slots, "narrow": prompt, "wide": width, "dtype": dtype}
    if is_whole:
        readings = _readings(shape, shape.layers, sizes=sizes, **settings)
    else:
        sizes = LARGE_TOKENS
        shallow, deep = (_readings(shape, depth, sizes=sizes, **settings) for depth in DEPTHS)
        readings = deeper(shallow, deep, shape.layers)
    few = max(1, slots // 4)
    rows = [sum(probe_lengths(size, length)) for size in sizes]
    return Calibrated(
        shape=shape,
        machine=machine,
        decode=plane(
            (few, width), (slots, prompt), (slots, width),
            times=(readings["few"], readings["narrow"], readings["wide"]),
        ),
        forward=line(rows[0], readings["forward_small"], rows[1], readings["forward_large"]),
        learn=line(rows[0], readings["learn_small"], rows[1], readings["learn_large"]),
        apply=readings["apply"],
        length=length,
        weights=shape.parameters * (2 if dtype == "bfloat16" else 4),
    )  # fmt: skip


def _readings(
    shape: Shape, layers: int, *, sizes: tuple[int, int], length: int, slots: int, narrow: int, wide: int, dtype: str
) -> dict[str, float]:
    """Seconds by name of a network of so many layers."""
    from zero2r1.learner.config import LearnerConfig
    from zero2r1.learner.learner import Learner

    config = {name: value for name, value in shape.config.items() if name != "layer_types"}
    config |= {"num_hidden_layers": layers, "max_position_embeddings": max(shape.positions or 0, wide + 2 * STEPS[1])}
    model = build(config, device="cpu")
    model.eval()
    settings = LearnerConfig(lr=1e-9, compute_dtype=dtype, micro_tokens=10**9)  # type: ignore[arg-type]
    learner = Learner(model, settings, total_steps=1)
    apply = _apply_s(learner)
    found = {"apply": apply}
    for name, size in zip(("small", "large"), sizes, strict=True):
        batch = _batch(probe_lengths(size, length), shape.vocab)
        found[f"learn_{name}"] = max(1e-9, timed(lambda batch=batch: _learn(learner, batch), repeats=2) - apply)  # type: ignore[misc]
        found[f"forward_{name}"] = timed(lambda batch=batch: learner.logprobs(batch), repeats=2)  # type: ignore[misc]
    for name, live, width in (("few", max(1, slots // 4), wide), ("narrow", slots, narrow), ("wide", slots, wide)):
        found[name] = _decode_s(model, live, width)
    return found


def _apply_s(learner: Any) -> float:
    import torch

    def call() -> None:
        for parameter in learner.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        learner.optimizer.collect()
        norm = learner.optimizer.grad_norm()
        learner.optimizer.apply(lr=1e-9, grad_clip=1.0, grad_norm=norm)
        learner.optimizer.clear()

    return timed(call, repeats=3)


def _batch(lengths: Sequence[int], vocab: int) -> Any:
    import torch

    from zero2r1.learner.base import Batch, Row

    rows = [
        Row(
            token_ids=torch.arange(length) % vocab,
            loss_mask=torch.arange(length) > 0,
            weights=torch.full((length,), 1.0 / sum(lengths)),
        )
        for length in lengths
    ]
    return Batch(rows=tuple(rows))


def probe_lengths(tokens: int, length: int) -> list[int]:
    """Lengths around `length` that add up to about `tokens`: real rows differ, and are gathered for it.

    Ours: a spread of 30 %.
    """
    return [max(2, round(length * SPREAD[index % len(SPREAD)])) for index in range(max(1, tokens // length))]


def _learn(learner: Any, batch: Any) -> None:
    from zero2r1.sft.loss import cross_entropy

    learner.step(batch, cross_entropy)


def _decode_s(model: Any, live: int, width: int) -> float:
    """Seconds of one step: the difference between a long and a short run of the package's decoding loop."""
    from zero2r1.policy.base import Sampling
    from zero2r1.policy.decoding import Decoding
    from zero2r1.policy.scheduler import Job

    prompt = [index % model.config.vocab_size for index in range(max(2, width))]

    def run(steps: int) -> None:
        jobs = [Job(group=0, sample=sample, key=sample) for sample in range(live)]
        Decoding(
            model, [prompt], jobs, sampling=Sampling(max_new_tokens=steps), eos_ids=(), decode=str, num_slots=live
        ).run(lambda spoken: None)

    short, long = (timed(lambda steps=steps: run(steps), repeats=3) for steps in STEPS)  # type: ignore[misc]
    return max(1e-9, (long - short) / (STEPS[1] - STEPS[0]))
