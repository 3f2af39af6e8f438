"""The sandbox as others use it: run a program to its end, or hold conversations with one or several.

A fixed number of boxes at a time (`slots`); callers from any thread wait for their turn, and boxes of one conversation
are taken together, so that two callers can never block each other half-way.

What is not here: the tiers themselves (`namespaces.py`, `confined.py`, `unsafe.py`) and their choice (`tiers.py`).
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType

from zero2r1.sandbox.base import Execution, Launcher, Limits, Status, Tier
from zero2r1.sandbox.session import Session


class Sandbox:
    """Runs Python programs in boxes of one tier. Close it, or use it in a `with`.

    Args:
        launcher: makes the boxes.
        slots: boxes at a time, at least 2 (a split grader needs two at once).
    """

    def __init__(self, launcher: Launcher, *, slots: int = 2) -> None:
        if slots < 2:
            raise ValueError(f"a sandbox has at least 2 slots, got {slots}")
        self._launcher = launcher
        self.slots = slots
        self._free = slots
        self._turn = threading.Condition()

    @property
    def tier(self) -> Tier:
        """How strongly programs are isolated."""
        return self._launcher.tier

    def run(self, program: str, *, stdin: bytes = b"", limits: Limits | None = None) -> Execution:
        """Run a program to its end on a given input. Once more if the sandbox itself failed.

        Args:
            program: Python source.
            stdin: all of its input; a file, so a program that does not read it is not held up.
        """
        limits = limits or Limits()
        limits = Limits(
            cpu_s=limits.cpu_s,
            total_cpu_s=limits.cpu_s,
            memory_bytes=limits.memory_bytes,
            output_bytes=limits.output_bytes,
            tmp_bytes=limits.tmp_bytes,
        )
        execution = self._run_once(program, stdin, limits)
        return self._run_once(program, stdin, limits) if execution.status is Status.BROKEN else execution

    @contextmanager
    def open(self, *programs: str, limits: Limits | None = None) -> Iterator[Sequence[Session]]:
        """Start one or several programs and talk to them line by line; all are killed at the end.

        Raises:
            OSError: no box could be made, twice.
        """
        with self._slots(len(programs)), ExitStack() as stack:
            sessions = [stack.enter_context(self._start(program, None, limits or Limits())) for program in programs]
            yield sessions

    def close(self) -> None:
        """End every box."""
        self._launcher.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run_once(self, program: str, stdin: bytes, limits: Limits) -> Execution:
        with self._slots(1):
            try:
                session = self._start(program, stdin, limits)
            except OSError as problem:
                return _never_ran(f"no box could be made: {problem}")
            with session:
                return session.finish()

    def _start(self, program: str, stdin: bytes | None, limits: Limits) -> Session:
        try:
            return self._start_once(program, stdin, limits)
        except OSError:
            return self._start_once(program, stdin, limits)

    def _start_once(self, program: str, stdin: bytes | None, limits: Limits) -> Session:
        """Make the box and the pipes to it. The box's own ends are closed here in any case."""
        theirs: list[int] = []
        ours: list[int] = []
        try:
            theirs.append(_read_only_file(program.encode("utf-8", "surrogatepass")))
            if stdin is None:
                theirs.append(_pipe(theirs_reads=True, ours=ours))
            else:
                theirs.append(_read_only_file(stdin))
            theirs += [_pipe(theirs_reads=False, ours=ours), _pipe(theirs_reads=False, ours=ours)]
            running = self._launcher.launch(theirs[0], theirs[1], theirs[2], theirs[3], limits)
        except BaseException:
            for end in ours:
                os.close(end)
            raise
        finally:
            for end in theirs:
                os.close(end)
        into = ours.pop(0) if stdin is None else None
        return Session(running, stdin=into, stdout=ours[0], stderr=ours[1], limits=limits)

    @contextmanager
    def _slots(self, count: int) -> Iterator[None]:
        if count > self.slots:
            raise ValueError(f"{count} boxes at once, but the sandbox has {self.slots}")
        with self._turn:
            self._turn.wait_for(lambda: self._free >= count)
            self._free -= count
        try:
            yield
        finally:
            with self._turn:
                self._free += count
                self._turn.notify_all()


def _pipe(*, theirs_reads: bool, ours: list[int]) -> int:
    """A pipe; our end is added to `ours`, theirs is returned."""
    read, write = os.pipe()
    ours.append(write if theirs_reads else read)
    return read if theirs_reads else write


def _read_only_file(content: bytes) -> int:
    """A nameless file with this content, opened for reading only."""
    writable = os.memfd_create("box", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(writable), "wb") as file:
            file.write(content)
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        with suppress(OSError):
            os.close(writable)


def _never_ran(problem: str) -> Execution:
    return Execution(
        status=Status.BROKEN, exit_code=None, signal=None, stdout=b"", stderr=b"", cpu_s=0.0, wall_s=0.0,
        peak_bytes=0, problem=problem,
    )  # fmt: skip
