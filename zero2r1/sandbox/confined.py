"""Tier B: each program in a fresh process that gives up its rights: Landlock, seccomp, resource limits, another user.

For machines that forbid namespaces, as most containers do. It promises less than tier A. A program cannot read or
write anything of the caller, start a process, reach a network or a signal. But it can see whether a file exists and
how large it is, it shares the process table, and its private directory lies on a disk of the host, where what it holds
is watched and not reserved.

The box is started by exec, never by fork alone, so it inherits nothing. A caller that is root gives each slot an
unprivileged user of its own; any other caller's boxes keep its user, and only Landlock and seccomp stand between.
If an unprivileged user could not walk to the interpreter's library (a 0700 home of root, say), the box gets that
directory opened: one descriptor above 2, of a directory it may read anyway.

A box dies with the thread that started it: the kernel ties the death signal to threads, so keep that thread alive. A
caller that is itself killed leaves no process, but the private directories of its last programs.
"""

import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from importlib import resources
from math import ceil
from pathlib import Path
from resource import (
    RLIMIT_AS,
    RLIMIT_CORE,
    RLIMIT_CPU,
    RLIMIT_FSIZE,
    RLIMIT_MEMLOCK,
    RLIMIT_NOFILE,
    RLIMIT_NPROC,
    RLIMIT_STACK,
)

from zero2r1.sandbox.base import MIB, Ended, Limits, Tier, Usage
from zero2r1.sandbox.landlock import Access, ruleset
from zero2r1.sandbox.scratch import Scratch, can_walk_to
from zero2r1.sandbox.seccomp import filter_program
from zero2r1.sandbox.unsafe import usage_of

BOX_USERS = range(65520, 65534)
"""Ours: users without a name between systemd's dynamic ones and nobody, so that no other process counts against their
limits."""
MAX_THREADS = 64
MAX_FILES = 64
STACK_BYTES = 64 * MIB
REPORT_BYTES = 1024
TEXTS = ("confine.py", "program.py")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo", "/dev/urandom")
"""What the loader, clocks and random numbers read."""


class ConfinedLauncher:
    """Makes boxes of tier B.

    Args:
        slots: boxes at a time; as root, each has its own user.
        packages: directories that programs may import from, read-only.

    Raises:
        OSError: there is no filter for this architecture, or the interpreter's library cannot be read by the box.
    """

    tier = Tier.B

    def __init__(self, slots: int = 2, packages: Sequence[str] = ()) -> None:
        self._filter = filter_program().hex()
        inside = resources.files("zero2r1.sandbox.inside")
        self._code, self._runner = (inside.joinpath(name).read_text(encoding="utf-8") for name in TEXTS)
        self._python = os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)
        self._stdlib = sysconfig.get_paths()["stdlib"]
        self._packages = [os.path.abspath(each) for each in packages]
        self._readable = [*map(Path, (*_library_directories(), *SYSTEM_FILES, self._stdlib, *self._packages))]
        self._users = list(BOX_USERS[:slots]) if os.geteuid() == 0 else []
        self._lock = threading.Lock()
        self._live: set[ConfinedProcess] = set()
        self._opened: dict[str, int] = {}
        if self._users:
            try:
                for path in (self._stdlib, *self._packages):
                    _open_if_out_of_reach(path, self._opened)
            except OSError:
                self.close()
                raise

    def launch(self, program: int, stdin: int, stdout: int, stderr: int, limits: Limits) -> "ConfinedProcess":
        """See `Launcher`."""
        user = self._take_user()
        with ExitStack() as undo:
            undo.callback(self._give_back, user)
            scratch = Scratch(user)
            undo.callback(scratch.remove)
            report, theirs = os.pipe()
            undo.callback(os.close, report)
            with ExitStack() as passed:
                passed.callback(os.close, theirs)
                rules, flags = ruleset(Access(readable=self._readable, scratch=scratch.path))
                passed.callback(os.close, rules)
                numbers = [program, rules, flags, -1 if user is None else user, os.getpid()]
                # The fixed seed makes the order of sets of texts, and so a program's result, the same in every run.
                process = subprocess.Popen(
                    [self._python, "-s", "-S", "-P", "-B", "-c", self._code, str(theirs), self._runner,
                     *map(str, numbers), _resource_limits(limits, has_own_user=user is not None), self._filter,
                     self._stdlib, *map(self._name_inside, (self._stdlib, *self._packages))],
                    stdin=stdin, stdout=stdout, stderr=stderr, cwd=scratch.path, env={"PYTHONHASHSEED": "0"},
                    start_new_session=True, pass_fds=(theirs, program, rules, *self._opened.values()),
                )  # fmt: skip
            undo.pop_all()
            box = ConfinedProcess(self, process, scratch, report, user, limits)
        with self._lock:
            self._live.add(box)
        return box

    def close(self) -> None:
        """Kill every box; its session reaps it."""
        with self._lock:
            live = list(self._live)
            opened, self._opened = self._opened, {}
        for box in live:
            box.kill()
        for number in opened.values():
            os.close(number)

    def forget(self, box: "ConfinedProcess", user: int | None) -> None:
        """A box has ended and was reaped; its user is free."""
        with self._lock:
            self._live.discard(box)
        self._give_back(user)

    def _name_inside(self, path: str) -> str:
        return f"/proc/self/fd/{self._opened[path]}" if path in self._opened else path

    def _take_user(self) -> int | None:
        if os.geteuid() != 0:
            return None
        with self._lock:
            if not self._users:
                raise OSError("more boxes at a time than slots")
            return self._users.pop()

    def _give_back(self, user: int | None) -> None:
        if user is not None:
            with self._lock:
                self._users.append(user)


class ConfinedProcess:
    """One live box."""

    def __init__(
        self, launcher: ConfinedLauncher, process: subprocess.Popen[bytes], scratch: Scratch, report: int,
        user: int | None, limits: Limits,
    ) -> None:  # fmt: skip
        self._launcher, self._process, self._scratch = launcher, process, scratch
        self._report, self._user, self._limits = report, user, limits
        self._ending = threading.Lock()
        self.done = os.pidfd_open(process.pid)

    def usage(self) -> Usage | None:
        """From /proc. Kills the box when its directory holds too much, or when it has too many threads.

        The kernel counts threads only where the box has a user of its own; elsewhere nobody else would.
        """
        if self._scratch.is_over(self._limits.tmp_bytes, self._process.pid) or self._num_threads() > MAX_THREADS:
            self.kill()
        return usage_of(self._process.pid)

    def _num_threads(self) -> int:
        with suppress(OSError):
            return len(os.listdir(f"/proc/{self._process.pid}/task"))
        return 0  # it is gone, or there is no /proc

    def kill(self) -> None:
        """SIGKILL; a box has one process and cannot make another."""
        with self._ending, suppress(OSError):  # another thread may close the launcher while this one reaps
            signal.pidfd_send_signal(self.done, signal.SIGKILL)

    def wait(self) -> Ended:
        """Reap, read what the box said of itself before the program began, remove its directory."""
        _, status, used = os.wait4(self._process.pid, 0)
        code = self._process.returncode = os.waitstatus_to_exitcode(status)
        said = os.read(self._report, REPORT_BYTES)
        os.close(self._report)
        with self._ending:
            os.close(self.done)
            self.done = -1
        with suppress(OSError):  # what cannot be removed is no reason to lose a verdict
            self._scratch.remove()
        self._launcher.forget(self, self._user)
        return Ended(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            cpu_s=used.ru_utime + used.ru_stime,
            peak_bytes=used.ru_maxrss * 1024,
            problem="" if said == b"ok" else _why(said),
        )


def _why(said: bytes) -> str:
    return f"the box ended before its program began: {said.decode('ascii', 'replace') or 'it said nothing'}"


def _resource_limits(limits: Limits, *, has_own_user: bool) -> str:
    """`number:value` for each limit, separated by commas."""
    cpu_s = ceil(limits.total_cpu_s) + 1
    wanted = {
        RLIMIT_CPU: cpu_s,
        RLIMIT_AS: limits.memory_bytes,
        RLIMIT_FSIZE: limits.tmp_bytes,
        RLIMIT_CORE: 0,
        RLIMIT_NOFILE: MAX_FILES,
        RLIMIT_STACK: STACK_BYTES,
        RLIMIT_MEMLOCK: 0,
    }
    if has_own_user:  # it counts all processes of a user: with the caller's own user that would be noise
        wanted[RLIMIT_NPROC] = MAX_THREADS
    return ",".join(f"{number}:{value}" for number, value in wanted.items())


def _library_directories() -> list[str]:
    """Where shared libraries lie: of the interpreter, and of the system (one directory per architecture, or all)."""
    own = str(sysconfig.get_config_var("LIBDIR") or "")
    multiarch = str(sysconfig.get_config_var("MULTIARCH") or "")
    by_architecture = [f"{top}/{multiarch}" for top in ("/lib", "/usr/lib") if multiarch]
    system = [place for place in by_architecture if os.path.isdir(place)] or ["/lib", "/usr/lib"]
    return [*system, "/lib64", "/usr/lib64", *([own] if own not in ("", "/usr/lib", "/lib") else [])]


def _open_if_out_of_reach(path: str, opened: dict[str, int]) -> None:
    """Open a directory that an unprivileged user may read but could not walk to."""
    place = Path(path).resolve()
    if not place.is_dir() or place.stat().st_mode & 0o5 != 0o5:
        raise OSError(f"{path} cannot be read by an unprivileged user: chmod -R o+rX it, or use another interpreter")
    if not can_walk_to(place):
        opened[path] = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
