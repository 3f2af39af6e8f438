"""Tier A: boxes of fresh user, process, mount and IPC namespaces, made by warm fork servers.

Each slot is one fork server (`forkserver.py`) with an own network, hostname and read-only root; each run gets a
process namespace that dies as a whole, a private /tmp and /dev/shm, no capability, a seccomp allowlist, resource
limits, an empty environment and the descriptors 0 to 2. A fork server that does not answer is killed and replaced.

Not shown inside: /proc. Needs Linux 5.12, unprivileged user namespaces, and root or a readable interpreter.
"""

import json
import os
import select
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from zero2r1.sandbox.base import Ended, Limits, Tier, Usage
from zero2r1.sandbox.forkserver import MESSAGE_SIZE, ForkServer, World, default_python
from zero2r1.sandbox.unsafe import usage_of

COMMON = (
    "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "fractions", "functools", "heapq",
    "itertools", "json", "math", "operator", "random", "re", "statistics", "string", "threading", "typing",
)  # fmt: skip
"""Ours: what programs import most; each is ready in every box."""
END_S = 10.0
"""Ours: seconds a killed box may take to say how it ended; usual is 0.005."""


class NamespaceLauncher:
    """A pool of fork servers. Safe to use from several threads; close it.

    Args:
        slots: boxes at a time; one more launch waits.
        python: the interpreter inside; this one by default.
        preload: modules that every box has imported already.
        packages: folders with packages that programs may import, shown read-only.

    Raises:
        OSError: this machine does not let a fork server build its walls.
    """

    tier = Tier.A

    def __init__(
        self, slots: int = 2, python: str | None = None, preload: Sequence[str] = COMMON, packages: Sequence[str] = ()
    ) -> None:
        self._world = World(python=python or default_python(), packages=tuple(packages), preload=tuple(preload))
        self._turn = threading.Condition()
        self._is_closed = False
        self._busy: dict[ForkServer, Box | None] = {}
        self._idle: list[ForkServer | None] = []
        servers: list[ForkServer] = []
        try:
            for _ in range(slots):
                servers.append(ForkServer(self._world))
            for server in servers:
                server.await_ready()
        except OSError:
            for server in servers:
                server.destroy()
            raise
        self._idle += servers

    def launch(self, program: int, stdin: int, stdout: int, stderr: int, limits: Limits) -> "Box":
        """See `Launcher`. Waits for a free slot."""
        server = self._take()
        try:
            channel = server.request((program, stdin, stdout, stderr), limits)
            box = Box(self, server, channel, limits)
        except BaseException:
            server.destroy()
            self.give_back(server)
            raise
        with self._turn:
            self._busy[server] = box
        return box

    def give_back(self, server: ForkServer) -> None:
        """Free a slot. A fork server that has ended is replaced at its next turn."""
        with self._turn:
            del self._busy[server]
            self._idle.append(server)
            self._turn.notify()

    def close(self) -> None:
        """End every box and every fork server. Runs that go on in other threads end as broken."""
        with self._turn:
            self._is_closed = True
            boxes = [box for box in self._busy.values() if box is not None]
            servers = [*self._busy, *(server for server in self._idle if server is not None)]
            self._idle.clear()
            self._turn.notify_all()
        for server in servers:
            server.destroy()
        for box in boxes:
            box.await_death()

    def _take(self) -> ForkServer:
        with self._turn:
            self._turn.wait_for(lambda: self._idle or self._is_closed)
            if self._is_closed:
                raise OSError("the sandbox is closed")
            server = self._idle.pop()
            if server is not None and server.is_alive():
                self._busy[server] = None
                return server
        if server is not None:
            server.destroy()
        return self._replace()

    def _replace(self) -> ForkServer:
        """A fresh fork server for a slot that lost its own."""
        fresh: ForkServer | None = None
        try:
            fresh = ForkServer(self._world)
            fresh.await_ready()
            with self._turn:
                if self._is_closed:
                    raise OSError("the sandbox is closed")
                self._busy[fresh] = None
        except BaseException:
            if fresh is not None:
                fresh.destroy()
            with self._turn:
                self._idle.append(None)
                self._turn.notify()
            raise
        return fresh


class Box:
    """One live box.

    Raises:
        OSError: the fork server could not make it, or did not answer.
    """

    def __init__(self, launcher: NamespaceLauncher, server: ForkServer, channel: socket.socket, limits: Limits) -> None:
        self._launcher, self._server, self._channel, self._limits = launcher, server, channel, limits
        self._was_killed = False
        self._lock = threading.Lock()
        try:
            said, handles, _, _ = socket.recv_fds(channel, MESSAGE_SIZE, 1, socket.MSG_CMSG_CLOEXEC)
            if not handles:
                raise OSError(_problem(said))
        except BaseException:
            channel.close()
            raise
        self._handle = handles[0]
        self.done = channel.fileno()

    def usage(self) -> Usage | None:
        """From /proc, as seen from outside; None where there is none."""
        pid = self.pid()
        return None if pid is None else usage_of(pid)

    def pid(self) -> int | None:
        """The program's process id as this process sees it; None once it has ended."""
        with suppress(OSError, ValueError), open(f"/proc/self/fdinfo/{self._handle}", encoding="ascii") as facts:
            for line in facts:
                if line.startswith("Pid:") and (pid := int(line[4:])) > 0:
                    return pid
        return None

    def kill(self) -> None:
        """SIGKILL to the program; its guard ends after it, and the kernel kills whatever else is in there."""
        with self._lock, suppress(OSError):
            if self._handle >= 0:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
                self._was_killed = True

    def await_death(self) -> None:
        """Wait a few seconds until the program is gone, whoever reaps it."""
        with self._lock:
            handle = os.dup(self._handle) if self._handle >= 0 else -1
        if handle >= 0:
            events = select.poll()
            events.register(handle, select.POLLIN)
            events.poll(END_S * 1000)
            os.close(handle)

    def wait(self) -> Ended:
        """See `Running`."""
        try:
            ended = self._hear_end()
        finally:
            self._channel.close()
            with self._lock:
                os.close(self._handle)
                self._handle = -1
            self._launcher.give_back(self._server)
        return ended

    def _hear_end(self) -> Ended:
        self._channel.settimeout(END_S)
        try:
            said = self._channel.recv(MESSAGE_SIZE)
        except OSError:
            said = b""
        words = _words(said)
        if words is None:
            self._server.destroy()
            return Ended(exit_code=None, signal=None, cpu_s=0.0, peak_bytes=0, problem=_problem(said))
        code = os.waitstatus_to_exitcode(words["status"])
        is_foreign = code == -signal.SIGKILL and not self._was_killed and words["cpu_s"] < self._limits.total_cpu_s
        return Ended(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            cpu_s=words["cpu_s"],
            peak_bytes=words["peak_bytes"],
            # No program in a box can send signals: this was the machine, short of memory, or a person.
            problem="it was killed from outside" if is_foreign else "",
        )


def _words(said: bytes) -> dict[str, Any] | None:
    """What a fork server said of an end, None for anything else: then the box and its server are given up."""
    try:
        words = json.loads(said)
    except ValueError:
        return None
    if not isinstance(words, dict):
        return None
    is_whole = all(isinstance(words.get(name), int) for name in ("status", "peak_bytes"))
    return words if is_whole and isinstance(words.get("cpu_s"), int | float) else None


def _problem(said: bytes) -> str:
    """Why there is no box, from the last message of its channel."""
    try:
        words = json.loads(said)
    except ValueError:
        return "the box was lost"
    return str(words.get("problem", "the box was lost")) if isinstance(words, dict) else "the box was lost"
