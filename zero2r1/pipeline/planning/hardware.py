"""Accelerators by name: memory, memory bandwidth and dense bfloat16 arithmetic, as their makers' data sheets say.

What it does not do: detect devices, or know how fast they are joined.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from zero2r1.core.errors import ConfigError

GIB = 2**30
SPELLING = re.compile(r"(?:(?P<count>\d+)x)?(?P<name>[A-Za-z0-9]+-\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One device."""

    memory: int
    """Bytes."""
    bandwidth: float
    """Bytes per second between the device and its memory, at best."""
    flops: float
    """Dense bfloat16 operations per second, at best; a multiply-add counts as two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Some devices of one kind."""

    name: str
    count: int
    device: Accelerator


def _device(gibibytes: int, gigabytes_per_s: int, teraflops: int) -> Accelerator:
    return Accelerator(memory=gibibytes * GIB, bandwidth=gigabytes_per_s * 1e9, flops=teraflops * 1e12)


ACCELERATORS: Mapping[str, Accelerator] = MappingProxyType(
    {
        "A100-40": _device(40, 1555, 312),
        "A100-80": _device(80, 2039, 312),
        "H100-80": _device(80, 3350, 989),
        "H800-80": _device(80, 3350, 989),
        "H200-141": _device(141, 4800, 989),
        "B200-180": _device(180, 8000, 2250),
        "MI300X-192": _device(192, 5300, 1307),
        "L4-24": _device(24, 300, 121),
        "L40S-48": _device(48, 864, 362),
    }
)
"""By name and memory in GiB. Source: the makers' data sheets, dense bfloat16 without sparsity."""


def parse_gpus(text: str) -> Cluster:
    """`8xH100-80` as eight devices of 80 GiB; without a count, one. Raises ConfigError Z110 with the known names."""
    match = SPELLING.fullmatch(text.strip())
    name = match["name"].upper() if match else ""
    count = int(match["count"] or 1) if match else 0
    if name not in ACCELERATORS or count < 1:
        raise ConfigError(
            "Z110",
            f"no such accelerators: {text!r}",
            where="--gpus",
            why="it reads COUNTxNAME-MEMORY; known: " + ", ".join(ACCELERATORS),
            fix="--gpus 8xH100-80",
        )
    return Cluster(name=name, count=count, device=ACCELERATORS[name])
