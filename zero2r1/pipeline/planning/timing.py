"""Seconds of each phase. Two kinds of speed stand behind one protocol: arithmetic from data sheets, and readings.

What it does not do: overlap of phases, communication between devices, start-up.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zero2r1.pipeline.planning.hardware import Cluster
from zero2r1.pipeline.planning.memory import cache_bytes_per_token, weight_bytes
from zero2r1.pipeline.planning.shapes import Shape

TRAINING_EFFICIENCY = 0.35
"""Share of the peak arithmetic that learning reaches. Ours: an assumption, measured nowhere here."""
PREFILL_EFFICIENCY = 0.35
"""The same for prompts and for log-probabilities without gradient. Ours: an assumption, as for learning."""
BANDWIDTH_EFFICIENCY = 0.6
"""Share of the peak memory bandwidth that decoding reaches. Ours: an assumption, measured nowhere here."""
WEIGHTS_SHARE = 0.5
"""Share of a device's memory the sampler's weights may fill before they are split. Ours: half is for the cache."""
OPTIMIZER_BYTES_PER_PARAMETER = 40
"""Read: parameter, gradient twice for norm and clip, both moments; written: gradient, parameter, moments; and the
gradient once more. Ours: ten float32 numbers counted in `learner/optimizer.py`."""


@runtime_checkable
class Speed(Protocol):
    """How long the pieces of an update take for one network."""

    def decode_s(self, live: int, width: float | int) -> float:
        """Seconds of one decoding step of `live` sequences that look at `width` cached tokens, with all around it."""
        ...

    def prefill_s(self, tokens: float | int, length: float | int, chunks: int) -> float:
        """Seconds to read `tokens` tokens of prompts of `length` into the cache, in `chunks` passes."""
        ...

    def layout_s(self) -> float:
        """Seconds to lay the weights out for the sampler after they changed."""
        ...

    def forward_s(self, tokens: float | int, length: float | int) -> float:
        """Seconds of a pass without gradient over `tokens` tokens in sequences of `length`, with log-probabilities."""
        ...

    def learn_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        """Seconds of forward and backward over `tokens` tokens in `passes` passes."""
        ...

    def replay_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        """The same where what sampling computed is read."""
        ...

    def record_s(self, tokens: float | int) -> float:
        """Seconds to write down what sampling computes of so many tokens."""
        ...

    def apply_s(self) -> float:
        """Seconds of one optimizer step."""
        ...

    def hash_s(self) -> float:
        """Seconds to hash the weights once."""
        ...


def forward_flops(active: int, tokens: float | int) -> float:
    """2 * active * tokens: operations of a forward pass, attention scores left out.

    Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1.
    """
    return float(2 * active * tokens)


def attention_flops(shape: Shape, tokens: float | int, length: float | int) -> float:
    """layers * heads * (key + value width) * tokens * length: scores and mixing over half the square (causal).

    A score is 2 * key operations, mixing 2 * value; on average length / 2 tokens are seen.
    Ours: counted from the two matrix products.
    """
    return float(shape.layers * shape.heads * (shape.key_width + shape.value_width) * tokens * length)


def learning_flops(shape: Shape, tokens: float | int, length: float | int) -> float:
    """3 * (forward + attention): backward is two products for each of forward's; nothing is computed again.

    Source: Kaplan et al. 2020 (arXiv 2001.08361), section 2.1: 6 operations a parameter and token.
    """
    return 3 * (forward_flops(shape.active, tokens) + attention_flops(shape, tokens, length))


def roofline_s(flops: float | int, moved: float | int, *, peak: float | int, bandwidth: float | int) -> float:
    """max(flops / peak, moved / bandwidth), in seconds.

    Source: Williams, Waterman, Patterson 2009, the roofline model.
    """
    return float(max(flops / peak, moved / bandwidth))


def decode_segments(lengths: Sequence[int], slots: int) -> list[tuple[int, int]]:
    """[(live sequences, steps)] of continuous batching: a waiting sequence takes a slot as soon as one is free.

    lengths: response tokens of each sequence, in the order they are admitted.
    Ours: what `policy/scheduler.py` does, counted in steps.
    """
    if lengths and min(lengths) == max(lengths):  # whole waves; a simulation of a million answers would be slow
        waves, rest = divmod(len(lengths), slots)
        return [part for part in ((slots, waves * lengths[0]), (rest, lengths[0])) if part[0] and part[1]]
    live = sorted(lengths[:slots])
    waiting = iter(lengths[slots:])
    segments: list[tuple[int, int]] = []
    now = 0
    while live:
        end = live[0]
        if segments and segments[-1][0] == len(live):
            segments[-1] = (len(live), segments[-1][1] + end - now)
        else:
            segments.append((len(live), end - now))
        now = end
        while live and live[0] == now:
            heapq.heappop(live)
            following = next(waiting, None)
            if following is not None:
                heapq.heappush(live, now + following)
    return [segment for segment in segments if segment[1]]


def decode_phase_s(speed: Speed, lengths: Sequence[int], slots: int, prompt: float | int) -> float:
    """Sum over segments of steps * decode_s(live, prompt + longest / 2), in seconds.

    Ours: every step is taken to look at the mean width of a whole answer.
    """
    width = prompt + max(lengths, default=0) / 2
    return sum(steps * speed.decode_s(live, width) for live, steps in decode_segments(lengths, slots))


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """Speed by arithmetic: each piece is bound by operations or by bytes, at assumed efficiencies.

    Learning is spread evenly over all devices. The sampler's weights are split over the smallest power of two of
    devices that holds them, and the sequences are spread over such groups.
    """

    shape: Shape
    cluster: Cluster
    dtype: str
    recomputes: bool = False
    """Activation checkpointing: learning runs each layer forward twice."""

    @property
    def group(self) -> int:
        """Devices that hold one copy of the sampler's weights."""
        size = 1
        weights = weight_bytes(self.shape.parameters, self.dtype)
        while weights > WEIGHTS_SHARE * size * self.cluster.device.memory and size < self.cluster.count:
            size *= 2
        return min(size, self.cluster.count)

    def decode_s(self, live: int, width: float | int) -> float:
        """Weights are read once a group and step, keys and values once a sequence."""
        groups = max(1, self.cluster.count // self.group)
        mine = -(-live // groups)
        moved = weight_bytes(self.shape.parameters, self.dtype)
        moved += round(mine * width * cache_bytes_per_token(self.shape, self.dtype))
        flops = forward_flops(self.shape.active, mine) + 2 * attention_flops(self.shape, mine, width)
        device = self.cluster.device
        return roofline_s(
            flops,
            moved,
            peak=self.group * device.flops * PREFILL_EFFICIENCY,
            bandwidth=self.group * device.bandwidth * BANDWIDTH_EFFICIENCY,
        )

    def prefill_s(self, tokens: float | int, length: float | int, chunks: int) -> float:
        """Bound by operations, however it is cut."""
        return self.forward_s(tokens, length)

    def layout_s(self) -> float:
        """0: nothing is laid out anew on an accelerator."""
        return 0.0

    def forward_s(self, tokens: float | int, length: float | int) -> float:
        """Bound by operations."""
        flops = forward_flops(self.shape.active, tokens) + attention_flops(self.shape, tokens, length)
        return flops / (self.cluster.count * self.cluster.device.flops * PREFILL_EFFICIENCY)

    def learn_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        """Bound by operations, however it is cut into passes."""
        flops = learning_flops(self.shape, tokens, length) * (4 / 3 if self.recomputes else 1)
        return flops / (self.cluster.count * self.cluster.device.flops * TRAINING_EFFICIENCY)

    def replay_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        """As `learn_s`: nothing is recorded on an accelerator."""
        return self.learn_s(tokens, length, passes)

    def record_s(self, tokens: float | int) -> float:
        """0: nothing is recorded on an accelerator."""
        return 0.0

    def apply_s(self) -> float:
        """Bound by bytes; each device holds its share of the state."""
        moved = OPTIMIZER_BYTES_PER_PARAMETER * self.shape.parameters
        return moved / (self.cluster.count * self.cluster.device.bandwidth * BANDWIDTH_EFFICIENCY)

    def hash_s(self) -> float:
        """Taken as 0: a sharded sampler would hash its shards in parallel on hosts this plan knows nothing of."""
        return 0.0
