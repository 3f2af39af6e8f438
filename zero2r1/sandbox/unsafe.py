"""Tier C: a plain child process with resource limits and an empty environment. It isolates nothing, and what leaves its
session survives it.

It exists for machines where neither namespaces nor Landlock can be had and the user has said `--unsafe-local-exec`:
model code then runs with the user's own rights. Linux only, like the other tiers.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from math import ceil
from pathlib import Path

from zero2r1.sandbox.base import Ended, Limits, Tier, Usage

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
NS_PER_S = 1e9


class UnsafeLauncher:
    """Starts programs as plain processes."""

    tier = Tier.C

    def launch(self, program: int, stdin: int, stdout: int, stderr: int, limits: Limits) -> "PlainProcess":
        """See `Launcher`."""
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", _RUN, str(ceil(limits.total_cpu_s) + 1),
             str(limits.memory_bytes), str(limits.tmp_bytes), str(program)],
            stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=(program,), env={}, start_new_session=True,
        )  # fmt: skip
        return PlainProcess(process)

    def close(self) -> None:
        """Nothing outlives its own session."""


class PlainProcess:
    """One live process with a session of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.done = os.pidfd_open(process.pid)

    def usage(self) -> Usage | None:
        """From /proc; None where there is none."""
        return usage_of(self._process.pid)

    def kill(self) -> None:
        """SIGKILL to its process group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self) -> Ended:
        """Kill what is left of the group and reap."""
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        os.close(self.done)
        _, status, used = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        code = self._process.returncode
        return Ended(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            cpu_s=used.ru_utime + used.ru_stime,
            peak_bytes=used.ru_maxrss * 1024,
        )


def usage_of(pid: int) -> Usage | None:
    """CPU and waiting time of a process from /proc; None when it is gone or there is no /proc.

    Waiting time is that of the thread that waited most: a main thread may sleep while its worker has no core.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        waited_ns = max(_waited_ns(task) for task in Path(f"/proc/{pid}/task").iterdir())
    except (OSError, IndexError, ValueError):
        return None
    # Fields 14 and 15 of the line are user and system time; two are gone with the name.
    return Usage(cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_S, starved_s=waited_ns / NS_PER_S)


def _waited_ns(task: Path) -> int:
    """Time in which a thread was ready to run and had no core; 0 for one that has just ended."""
    try:
        return int((task / "schedstat").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:
        return 0


_RUN = """
import builtins, os, resource, sys
cpu_s, memory, size, program = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with os.fdopen(program, "rb") as file:
    source = file.read()
sys.argv = ["program"]
builtins.exit = builtins.quit = sys.exit
exec(compile(source, "<program>", "exec"), {"__name__": "__main__"})
"""
