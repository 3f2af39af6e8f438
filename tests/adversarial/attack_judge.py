"""Attacks, and the verdict on one: it is tried on the bait of a world, and somebody outside looks.

HELD      the attack was tried and changed, read and left nothing
LANDED    it did, or something of it lived on
UNTRIED   its program ended before its last word: this proves nothing, and a test fails on it
"""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from attack_targets import named
from attack_world import LIMITS, World, temporary_files_in

from zero2r1.sandbox.base import Execution, Limits, Status

GRACE_S = 0.5

PRELUDE = """
import ctypes, errno, json, os, sys
WORLD = json.loads(sys.stdin.readline())
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.prctl(15, b"a" + WORLD["mark"].encode(), 0, 0, 0)
if WORLD["playground"]:
    os.chdir(WORLD["playground"])
def say(**words):
    os.write(1, b"\\n" + json.dumps(words).encode() + b"\\n")
def tries(action, *arguments):
    try:
        result = action(*arguments)
    except (OSError, MemoryError, RuntimeError, ValueError):
        return None
    return True if result is None else result
def text(path):
    with open(path, "rb") as file:
        return file.read(4096).decode("latin-1")
def call(number, *arguments):
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments))
    return -ctypes.get_errno() if result < 0 else result
say(began=True)
"""
TRIED = "\nsay(tried=True)\n"


class Verdict(StrEnum):
    """What was found."""

    HELD = "held"
    LANDED = "LANDED"
    UNTRIED = "UNTRIED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A program that tries one thing, and what its success looks like from outside."""

    program: str
    landed: Callable[["World", Execution, dict[str, Any]], object]
    """World, how the run ended, what it said -> what landed; anything false: nothing."""
    limits: Limits = LIMITS
    may_end: frozenset[Status] = frozenset()
    """How the sandbox may end it before its last word."""
    needs_root: bool = False
    """Without privileges it lands nowhere."""
    needs_names: bool = False
    """Tier B does not promise to hold it."""
    boxes_only: bool = False
    """Never without walls: it would harm this machine."""

    @property
    def text(self) -> str:
        return PRELUDE + self.program + TRIED


@dataclass(frozen=True, slots=True)
class Finding:
    verdict: Verdict
    detail: str = ""


def assail(attack: Attack, world: World) -> Finding:
    """Run one attack and look."""
    with temporary_files_in(world.temporary):
        world.mend()
        rooms = sorted(os.listdir(world.temporary))
        execution = world.sandbox.run(attack.text, stdin=world.told(), limits=attack.limits)
        said: dict[str, Any] = {}
        for line in execution.stdout.splitlines():
            with suppress(ValueError, TypeError):
                said.update(json.loads(line))
        found = attack.landed(world, execution, said) or survivors(world) or world.harm()
        if not found and sorted(os.listdir(world.temporary)) != rooms:
            found = "left in the temporary folder"
    if found:
        return Finding(Verdict.LANDED, str(found)[:200])
    if "began" in said and ("tried" in said or execution.status in attack.may_end):
        return Finding(Verdict.HELD, execution.status.value)
    return Finding(Verdict.UNTRIED, f"{execution.status} {execution.problem} {execution.stderr[-300:]!r}")


def survivors(world: World) -> str:
    """Processes of the attack that live on after its run."""
    until = time.monotonic() + GRACE_S
    while (left := named("a" + world.mark)) and time.monotonic() < until:
        time.sleep(0.02)
    return f"{len(left)} processes lived on" if left else ""
