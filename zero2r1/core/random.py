"""Addressed randomness: a random number is looked up, not consumed.

Each number is a pure function of a key (64 bits: seed, stage, step and whatever names the place, e.g. prompt id and
sample index) and a position. So what one sample draws does not depend on batch composition, on the number of workers
or on a restart, and two places never share a sequence by accident.

The generator is SplitMix64: number i of key k is the (i+1)-th output of SplitMix64 seeded with k. It is a statistical
generator, not a cryptographic one. Sampling from distributions over tensors is not here (policy/), nor are seeds for
torch's own generators beyond `torch_seed`, which initialisation uses.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int64, UInt64

Item = TypeVar("Item")

MASK = 0xFFFF_FFFF_FFFF_FFFF
GOLDEN_GAMMA = 0x9E37_79B9_7F4A_7C15
"""2^64 / golden ratio, made odd: the step between two states of SplitMix64."""
MIX_1 = 0xBF58_476D_1CE4_E5B9
MIX_2 = 0x94D0_49BB_1331_11EB
TWO_TO_MINUS_53 = 2.0**-53


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where in a run a random number is needed."""

    seed: int
    """Seed of the run."""
    stage: str
    """Name of the stage, e.g. `zero_rl`."""
    step: int
    """Step of the stage, from 0; for tasks the index of the problem."""


def key(address: Address, *parts: str | int) -> int:
    """64-bit key of a place: blake2b of the canonical JSON of [seed, stage, step, *parts].

    Text and numbers differ (`"1"` is not `1`), and so do ("ab", "c") and ("a", "bc").
    Ours: any hash with independent bits does; blake2b is in the standard library and quick.
    """
    canonical = json.dumps([address.seed, address.stage, address.step, *parts], separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(canonical.encode("ascii"), digest_size=8).digest(), "big")


def uniforms(keys: UInt64[np.ndarray, " n"], positions: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """One uniform number in [0, 1) for each (key, position), a multiple of 2^-53.

    u = (mix(key + (position + 1) * gamma mod 2^64) >> 11) * 2^-53, mix = SplitMix64's finaliser.

    Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), SplitMix64.
    """
    # Arrays of unsigned integers wrap modulo 2^64 without a warning; scalars would warn.
    state = keys + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN_GAMMA)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(MIX_1)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(MIX_2)
    state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * TWO_TO_MINUS_53


def bits(key: int, position: int) -> int:
    """The 64 bits behind `uniforms` for one (key, position)."""
    state = (key + (position + 1) * GOLDEN_GAMMA) & MASK
    state = ((state ^ (state >> 30)) * MIX_1) & MASK
    state = ((state ^ (state >> 27)) * MIX_2) & MASK
    return state ^ (state >> 31)


def torch_seed(key: int) -> int:
    """A seed for `torch.Generator.manual_seed`: the upper 63 bits of the key (torch takes signed integers)."""
    return (key & MASK) >> 1


class Stream:
    """The numbers of one key one after another, for code that draws a few (tasks, splits, shuffles).

    Make it where it is used and let it go: its place in the sequence is its only state.
    """

    def __init__(self, key: int) -> None:
        self._key = key & MASK
        self._position = 0

    def _next(self) -> int:
        value = bits(self._key, self._position)
        self._position += 1
        return value

    def random(self) -> float:
        """Uniform in [0, 1); equal to `uniforms` at the same position."""
        return (self._next() >> 11) * TWO_TO_MINUS_53

    def integer(self, low: int, high: int) -> int:
        """Uniform integer, both ends included; bias below (high - low + 1) / 2^64.

        Source: Lemire, "Fast random integer generation in an interval" (2019), multiply-shift without rejection.
        """
        if high < low:
            raise ValueError(f"no integer from {low} to {high}")
        return low + ((self._next() * (high - low + 1)) >> 64)

    def choice(self, items: Sequence[Item]) -> Item:
        """One item, each equally likely."""
        if not items:
            raise ValueError("choice from no items")
        return items[self.integer(0, len(items) - 1)]

    def shuffle(self, items: Sequence[Item]) -> list[Item]:
        """A new list in random order (Fisher-Yates); the argument stays as it is."""
        shuffled = list(items)
        for last in range(len(shuffled) - 1, 0, -1):
            other = self.integer(0, last)
            shuffled[last], shuffled[other] = shuffled[other], shuffled[last]
        return shuffled

    def weighted(self, items: Sequence[Item], weights: Sequence[float | int]) -> Item:
        """One item, likely in proportion to its weight (finite, >= 0, not all 0)."""
        total = float(sum(weights))
        if len(items) != len(weights) or min(weights, default=0) < 0 or not 0 < total < float("inf"):
            raise ValueError(f"{len(items)} items cannot be drawn with weights {list(weights)}")
        target = self.random() * total
        last_possible = items[0]
        for item, weight in zip(items, weights, strict=True):
            if weight > 0:
                last_possible = item
            target -= weight
            if target < 0:
                return item
        return last_possible  # rounding in the sum may leave target at 0 after the last item
