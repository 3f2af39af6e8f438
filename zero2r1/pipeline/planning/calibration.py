"""What this machine does in a second: matrix products, memory, hashing, and the recipe's own network on random weights.

The network is run through the package's own decoding loop and learner at a few sizes (`probes`); straight lines through
the readings give every other size. A network too large to be run whole is read at two depths and extended in a straight
line over its layers.

What it does not do: load weights. It is as noisy as the machine; nothing else should run beside it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zero2r1.learner.config import LearnerConfig
from zero2r1.pipeline.planning.clock import timed
from zero2r1.pipeline.planning.memory import Running, weight_bytes
from zero2r1.pipeline.planning.probes import probe_lengths, probe_settings, read
from zero2r1.pipeline.planning.shapes import Shape
from zero2r1.pipeline.planning.speaking import Sizes
from zero2r1.pipeline.planning.timing import attention_flops
from zero2r1.policy.config import EngineConfig

WHOLE_FLOPS = 2.5e10
"""Operations of one pass up to which the whole network is read, in passes as long as a stage's. Ours: under half a
second on a laptop core."""
DEPTHS = (2, 10)
"""Layers of the two networks read in place of a larger one. Ours: a reading of ten that is 5 % off moves an
update of SmolLM2's 30 by 8 %; one of five layers moved it by 12."""
LARGE_TOKENS = (256, 1024)
"""Tokens of the two passes of a larger network. Ours: matrix products reach their rate from a few hundred rows on."""
TIMES = ("decode", "prefill", "layout", "forward", "learn", "replay", "record", "apply")
"""What `Calibrated` has seconds of."""
SMALL_STEPS, LARGE_STEPS = 32, 10
"""Tokens of each answer that is read. Ours: two pages, as the first steps behind a prompt find it in the caches; a
larger network's seconds."""
LONGEST_PROBE = 1024
"""Longest sequence that is read, in tokens. Ours: seconds."""
MOST_PROMPTS = 16
"""Different prompts that are read at most. Ours: seconds."""


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
class Probe:
    """What a stage does most of, in the middle of its sizes."""

    prompt: int
    """Tokens of a prompt."""
    response: int
    """Tokens of an answer."""
    samples: int
    """Answers of a prompt."""
    slots: int
    """Answers decoded at a time."""
    row: int
    """Tokens of a sequence that is learned."""
    micro_tokens: int
    """Tokens of a pass that learns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """Speed by readings; times are a straight line in live sequences, cached tokens, tokens and passes."""

    shape: Shape
    machine: Machine
    running: Running
    decode: tuple[float, float, float]
    """Seconds of a step, of a live sequence, of a live sequence and cached token."""
    prefill: tuple[float, float]
    """Seconds of a piece of prompts, of a token."""
    layout: float
    forward: tuple[float, float]
    """Seconds of a pass without gradient, of a token."""
    learn: tuple[float, float]
    """The same with gradient."""
    replay: tuple[float, float]
    """The same where what sampling computed is read."""
    record: float
    """Seconds to write down what sampling computes of a token."""
    apply: float
    width: int
    """Tokens of the longest prompts that were read."""
    length: int
    """Tokens of the sequences that were learned."""
    weights: int
    """Bytes of the weights."""

    def decode_s(self, live: int, width: float | int) -> float:
        """See `timing.Speed`."""
        step, sequence, cached = self.decode
        return step + live * (sequence + cached * width)

    def prefill_s(self, tokens: float | int, length: float | int, chunks: int) -> float:
        """See `timing.Speed`."""
        return chunks * self.prefill[0] + tokens * self.prefill[1] + self._longer(tokens, length - self.width)

    def layout_s(self) -> float:
        """See `timing.Speed`."""
        return self.layout

    def forward_s(self, tokens: float | int, length: float | int) -> float:
        """See `timing.Speed`."""
        return self.forward[0] + tokens * self.forward[1] + self._longer(tokens, length - self.length)

    def learn_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        """See `timing.Speed`."""
        return passes * self.learn[0] + tokens * self.learn[1] + 3 * self._longer(tokens, length - self.length)

    def replay_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        """See `timing.Speed`."""
        return passes * self.replay[0] + tokens * self.replay[1] + 2 * self._longer(tokens, length - self.length)

    def record_s(self, tokens: float | int) -> float:
        """See `timing.Speed`."""
        return tokens * self.record

    def apply_s(self) -> float:
        """See `timing.Speed`."""
        return self.apply

    def hash_s(self) -> float:
        """See `timing.Speed`."""
        return self.weights / self.machine.hashing

    def _longer(self, tokens: float | int, more: float | int) -> float:
        return attention_flops(self.shape, tokens, max(0.0, more)) / self.machine.flops


def line(x1: float | int, y1: float | int, x2: float | int, y2: float | int) -> tuple[float, float]:
    """(intercept, slope) of the line through two points; a negative one is noise and becomes 0.

    Ours: the definition.
    """
    slope = max(0.0, (y2 - y1) / (x2 - x1)) if x2 != x1 else 0.0
    return max(0.0, y1 - slope * x1), slope


def replayed(learn: tuple[float, float], *, tokens: int, rows: int, step: float) -> tuple[float, float]:
    """(seconds of a pass, of a token) that is read, from a step of `tokens` tokens in `rows` rows and the line `learn`.

    One row of mean length is computed in it, in a pass of its own, and a pass costs what one that computes does: adding
    its gradients up. What is left is that of the tokens that are read. One row alone is no reading; then reading counts
    as computing.
    Ours: as `learner/replaying.py` chooses rows. A line through two steps had its start in the noise.
    """
    if rows < 2:
        return learn
    alone = learn[0] + learn[1] * tokens / rows
    return learn[0], max(0.0, step - alone - learn[0]) / (tokens * (1 - 1 / rows))


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


def middle(first: Calibrated, second: Calibrated) -> Calibrated:
    """What lies between two readings of one network: of each time the mean.

    Ours: a machine's speed drifts with what else it does, so what ran between them is held against both.
    """

    def mean(name: str) -> Any:
        one, other = getattr(first, name), getattr(second, name)
        if isinstance(one, tuple):
            return tuple((a + b) / 2 for a, b in zip(one, other, strict=True))
        return (one + other) / 2

    return replace(first, **{name: mean(name) for name in TIMES})


def deeper(shallow: Mapping[str, float], deep: Mapping[str, float], layers: int) -> dict[str, float]:
    """Each reading at `layers` layers, on the line through those at the two depths. Ours: layers are alike."""
    first, second = DEPTHS
    return {
        name: value + (layers - first) * max(0.0, (deep[name] - value) / (second - first))
        for name, value in shallow.items()
    }


def read_machine() -> Machine:
    """Matrix products, copies and hashes for a few seconds."""
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


def read_network(
    shape: Shape, machine: Machine, probe: Probe, *, learner: LearnerConfig, engine: EngineConfig
) -> Calibrated:
    """Runs the network on random weights, with the stage's own settings of learner and engine."""
    micro = min(probe.micro_tokens, 4096)
    passes = (max(64, micro // 4), micro)
    width = max(probe.prompt + 16, min(probe.prompt + probe.response, LONGEST_PROBE))
    is_small = 6 * shape.parameters * micro <= WHOLE_FLOPS
    is_whole = is_small or shape.layers <= DEPTHS[1]
    sizes = Sizes(
        passes=passes if is_small else LARGE_TOKENS,
        length=max(2, min(probe.row, LONGEST_PROBE)),
        slots=probe.slots,
        narrow=probe.prompt,
        wide=width,
        prompts=max(1, min(-(-probe.slots // probe.samples), MOST_PROMPTS, engine.prefill_tokens // width)),
        apart=int(WHOLE_FLOPS / (2 * shape.parameters * width)),
        steps=SMALL_STEPS if is_small else LARGE_STEPS,
    )
    settings = probe_settings(learner)
    if is_whole:
        readings, running = read(shape, shape.layers, sizes, settings, engine)
    else:
        (shallow, running), (deep, _) = (read(shape, depth, sizes, settings, engine) for depth in DEPTHS)
        readings = deeper(shallow, deep, shape.layers)
    later = sizes.steps // 2  # the step in the middle has so many more tokens before it
    rows = [sum(probe_lengths(size, sizes.length)) for size in sizes.passes]
    learn = line(rows[0], readings["learn_small"], rows[1], readings["learn_large"])
    read_tokens = [sizes.prompts * (size - 1) for size in (sizes.narrow, sizes.wide)]
    return Calibrated(
        shape=shape,
        machine=machine,
        running=running,
        decode=plane(
            (sizes.few, width + later), (sizes.slots, sizes.narrow + later), (sizes.slots, width + later),
            times=(readings["few"], readings["narrow"], readings["wide"]),
        ),
        prefill=line(read_tokens[0], readings["prefill_narrow"], read_tokens[1], readings["prefill_wide"]),
        layout=readings["layout"],
        forward=line(rows[0], readings["forward_small"], rows[1], readings["forward_large"]),
        learn=learn,
        replay=replayed(
            learn, tokens=rows[1], rows=len(probe_lengths(sizes.passes[1], sizes.length)), step=readings["replay"]
        ),
        record=max(0.0, readings["recorded"] - readings["wide"]) / sizes.slots,
        apply=readings["apply"],
        width=width,
        length=sizes.length,
        weights=weight_bytes(shape.parameters, learner.compute_dtype),
    )  # fmt: skip
