"""The trusted side of one box: reads what it says, watches CPU and idle time, kills, and tells how it ended.

A session exchanges lines with a program over its standard input and output. `finish` closes the input and collects the
rest. Nothing a program writes is interpreted here.

Limits: CPU time decides; wall time counts only while the program was not waiting for a core, so a busy machine makes no
program fail. A program that the machine starved beyond ten times its wall limit is BROKEN, not guilty.
"""

import os
import selectors
import time
from contextlib import suppress
from types import TracebackType

from zero2r1.sandbox.base import Ended, Execution, Limits, Running, Status, Usage

LOOK_EVERY_S = 0.05
"""Ours: seconds between looks at the usage of a program that is silent."""
STARVED_FACTOR = 10
CHUNK = 65536


class Session:
    """A conversation with one running program. One thread at a time; use it in a `with`.

    Args:
        running: the live box.
        stdin: the end its input is written to; None when the program got a file.
        stdout, stderr: the ends its output is read from. All three are closed by the session.
        limits: see `Limits`.
    """

    def __init__(self, running: Running, *, stdin: int | None, stdout: int, stderr: int, limits: Limits) -> None:
        self._running, self._limits = running, limits
        self._stdin, self._stdout, self._stderr = stdin, stdout, stderr
        self._buffers = {stdout: bytearray(), stderr: bytearray()}
        self._num_read = {stdout: 0, stderr: 0}
        self._open = {stdout, stderr}
        self._is_over = False
        self._verdict: tuple[Status, str] | None = None
        self._began = time.monotonic()
        self._ended: Execution | None = None
        for end in (stdin, stdout, stderr):
            if end is not None:
                os.set_blocking(end, False)

    def send(self, line: bytes) -> bool:
        """Write one line (a newline is added). False when the program no longer listens or ran over a limit."""
        waiting = memoryview(line + b"\n")
        clock = _Clock(self._running, self._limits)
        while waiting and self._verdict is None and self._stdin is not None:
            try:
                waiting = waiting[os.write(self._stdin, waiting) :]
            except BlockingIOError:
                self._pump(clock, writing=True)
            except OSError:
                return False
        return not waiting

    def receive(self) -> bytes | None:
        """The next line of standard output without its newline; None when there is none and never will be."""
        buffer = self._buffers[self._stdout]
        clock = _Clock(self._running, self._limits)
        searched = 0
        while (end := buffer.find(b"\n", searched)) < 0:
            searched = len(buffer)
            if self._stdout not in self._open or self._verdict is not None:
                return None
            self._pump(clock)
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line

    def finish(self) -> Execution:
        """Close the input, read the rest, and tell how the program ended. May be called again."""
        if self._ended is not None:
            return self._ended
        self._close_input()
        clock = _Clock(self._running, self._limits)
        while (self._open or not self._is_over) and self._verdict is None:
            self._pump(clock)
        return self._settle()

    def close(self) -> Execution:
        """Kill the program if it still runs."""
        if self._ended is not None:
            return self._ended
        if self._verdict is None and not self._is_over:
            self._stop(Status.KILLED, "ended by the caller")
        return self._settle()

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pump(self, clock: "_Clock", *, writing: bool = False) -> None:
        """Wait a moment for something to read (or for room to write), then look at the limits."""
        with selectors.DefaultSelector() as selector:
            for end in self._open:
                selector.register(end, selectors.EVENT_READ)
            if not self._is_over:
                selector.register(self._running.done, selectors.EVENT_READ)
            if writing and self._stdin is not None:
                selector.register(self._stdin, selectors.EVENT_WRITE)
            ready = [key.fd for key, _ in selector.select(LOOK_EVERY_S)]
        for end in ready:
            if end in self._open:
                self._read(end)
            elif end == self._running.done:
                self._is_over = True
                self._running.kill()  # whatever it left behind would hold its pipes open
        if not ready or clock.is_due():
            over = clock.problem()
            if over is not None:
                self._stop(*over)

    def _read(self, end: int) -> None:
        try:
            data = os.read(end, CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._open.discard(end)
            return
        room = self._limits.output_bytes - self._num_read[end]
        self._num_read[end] += len(data)
        self._buffers[end] += data[: max(room, 0)]
        if len(data) > room:
            self._stop(Status.OUTPUT, f"it wrote more than {self._limits.output_bytes} bytes")

    def _stop(self, status: Status, problem: str) -> None:
        if self._verdict is None:
            self._verdict = (status, problem)
        self._running.kill()

    def _close_input(self) -> None:
        if self._stdin is not None:
            with suppress(OSError):
                os.close(self._stdin)
            self._stdin = None

    def _settle(self) -> Execution:
        self._close_input()
        ended = self._running.wait()
        wall_s = time.monotonic() - self._began
        for end in (self._stdout, self._stderr):
            with suppress(OSError):
                os.close(end)
        status, problem = self._verdict or _how(ended, self._limits)
        self._ended = Execution(
            status=status,
            exit_code=ended.exit_code,
            signal=ended.signal,
            stdout=bytes(self._buffers[self._stdout]),
            stderr=bytes(self._buffers[self._stderr]),
            cpu_s=ended.cpu_s,
            wall_s=wall_s,
            peak_bytes=ended.peak_bytes,
            problem=problem,
        )
        return self._ended


class _Clock:
    """CPU and wall time of one answer."""

    def __init__(self, running: Running, limits: Limits) -> None:
        self._running, self._limits = running, limits
        self._began = self._looked = time.monotonic()
        self._before: Usage | None = None

    def is_due(self) -> bool:
        """True when a chatty program has not been looked at for a while."""
        return time.monotonic() - self._looked > LOOK_EVERY_S

    def problem(self) -> tuple[Status, str] | None:
        """The limit that was passed, in words; None while all is well."""
        self._looked = now = time.monotonic()
        usage = self._running.usage()
        if self._before is None:
            self._before = usage
        before = self._before or Usage(cpu_s=0.0, starved_s=0.0)
        used = usage or before
        wall_s = now - self._began
        if used.cpu_s - before.cpu_s > self._limits.cpu_s:
            return Status.CPU, f"it used more than {self._limits.cpu_s:g} s of CPU time"
        if wall_s - (used.starved_s - before.starved_s) > self._limits.wall_s:
            return Status.WALL, f"it was idle for more than {self._limits.wall_s:g} s"
        if wall_s > STARVED_FACTOR * self._limits.wall_s:
            return Status.BROKEN, f"the machine had no core for it for {wall_s:.0f} s"
        return None


def _how(ended: Ended, limits: Limits) -> tuple[Status, str]:
    """How a program ended that no limit of the trusted side stopped."""
    if ended.problem:
        return Status.BROKEN, ended.problem
    if ended.cpu_s > limits.total_cpu_s:
        return Status.CPU, f"it used more than {limits.total_cpu_s:g} s of CPU time"
    if ended.signal is not None:
        return Status.SIGNALLED, f"signal {ended.signal} ended it"
    return Status.EXITED, ""
