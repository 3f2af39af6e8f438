"""The words of the sandbox: limits, how a run ended, and what a tier of isolation must offer.

A *box* is one isolated process that runs one program and is then destroyed. A *launcher* makes boxes of one tier. The
trusted side (`session.py`, `sandbox.py`) knows no tier: it reads pipes, watches the clock and kills.

Rules held by every tier: a box sees its program, its standard input and nothing else of the caller; it gets an empty
environment and file descriptors 0 to 2 only; when it ends, everything it started ends with it.

What is not here: any judgement of what a program printed (rewards), and any knowledge of expected outputs. Those never
enter a box.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

MIB = 2**20


class Tier(StrEnum):
    """How strongly programs are isolated."""

    A = "A"
    """Fresh user, pid, mount, ipc, net and uts namespaces, seccomp allowlist, resource limits."""
    B = "B"
    """Landlock, seccomp allowlist, resource limits, in a fresh process. For containers that forbid namespaces."""
    C = "C"
    """No isolation: resource limits only. Only on the user's explicit word, `--unsafe-local-exec`."""


class Status(StrEnum):
    """How a program ended."""

    EXITED = "exited"
    """By itself, with an exit code."""
    SIGNALLED = "signalled"
    """By a signal it raised or caused (a crash, a forbidden system call)."""
    CPU = "cpu"
    """It used more CPU time than allowed."""
    WALL = "wall"
    """It sat idle for longer than allowed."""
    OUTPUT = "output"
    """It wrote more than allowed."""
    KILLED = "killed"
    """By the caller, who had heard enough."""
    BROKEN = "broken"
    """The sandbox failed, or the machine starved the program: says nothing about the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use."""

    cpu_s: float = 4.0
    """CPU seconds, user and system: of a whole run, or of one answer in a session. This decides."""
    total_cpu_s: float = 60.0
    """CPU seconds of a whole session, as a backstop."""
    memory_bytes: int = 512 * MIB
    """Address space."""
    output_bytes: int = 1 * MIB
    """Bytes on standard output and on standard error, each."""
    tmp_bytes: int = 64 * MIB
    """Size of the private /tmp (tier A); largest file (tiers B, C)."""

    @property
    def wall_s(self) -> float:
        """Seconds an answer may take, time in which the machine had no core for it not counted.

            wall = 5 * cpu + 2

        Ours: a safety net for programs that sleep or block; CPU time decides everywhere else.
        """
        return 5.0 * self.cpu_s + 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a running program has used so far."""

    cpu_s: float
    """User and system time of all its threads."""
    starved_s: float
    """Time in which it was ready to run and had no core. 0 where the system does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a launcher says of a box that has ended."""

    exit_code: int | None
    """None when a signal ended it, or when nobody knows."""
    signal: int | None
    cpu_s: float
    peak_bytes: int
    """Largest resident memory; 0 where unknown."""
    problem: str = ""
    """Why the box could not be made or was lost; empty for a program that ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A finished run, from the trusted side's point of view."""

    status: Status
    exit_code: int | None
    signal: int | None
    stdout: bytes
    """What was not yet read by a session; cut at the limit."""
    stderr: bytes
    """Cut at the limit."""
    cpu_s: float
    wall_s: float
    peak_bytes: int
    problem: str = ""
    """In words, for every status but EXITED."""

    @property
    def is_clean(self) -> bool:
        """It ended by itself with exit code 0."""
        return self.status is Status.EXITED and self.exit_code == 0


@runtime_checkable
class Running(Protocol):
    """One live box, as its launcher hands it out. Used by one thread at a time."""

    done: int
    """A file descriptor that becomes readable once the program has ended. Closed by `wait`."""

    def usage(self) -> Usage | None:
        """What it has used so far; None when it is gone or the system does not say."""
        ...

    def kill(self) -> None:
        """SIGKILL to everything in the box; never raises, may be called twice."""
        ...

    def wait(self) -> Ended:
        """Wait until it has ended, reap it, free its slot. Called once, after `kill` or when `done` is readable.

        Returns within a few seconds whatever the program does: a box that does not answer is destroyed.
        """
        ...


@runtime_checkable
class Launcher(Protocol):
    """Makes boxes of one tier. Safe to use from several threads."""

    tier: Tier

    def launch(self, program: int, stdin: int, stdout: int, stderr: int, limits: Limits) -> Running:
        """Start a box.

        Args:
            program: a readable file with the program's Python source in UTF-8; stdin, stdout, stderr: its own ends.
                All four are file descriptors; the caller closes them after the call.
            limits: enforced by the launcher as far as the kernel can; the caller watches CPU, wall time and output.

        Raises:
            OSError: no box could be made; the caller tries once more and then says BROKEN.
        """
        ...

    def close(self) -> None:
        """End every box and every process of this launcher."""
        ...
