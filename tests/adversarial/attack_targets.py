"""Processes that an attack may harm, and a launcher without any wall."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from zero2r1.sandbox.base import Limits, Tier
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.unsafe import PlainProcess

TARGET = """
import ctypes, json, os, sys
order = json.loads(sys.stdin.readline())
libc = ctypes.CDLL(None)
libc.prctl(15, order["name"].encode(), 0, 0, 0)
libc.prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)
buffer = ctypes.create_string_buffer(order["secret"].encode(), 64)
if order["playground"]:
    os.chdir(order["playground"])
PATH = os.path.join(os.getcwd(), "diary-" + order["name"])
with open(PATH, "w") as file:
    file.write(order["diary"])
print(json.dumps([ctypes.addressof(buffer), PATH]), flush=True)
for line in sys.stdin:
    with open(PATH) as file:
        print(buffer.value.decode("latin-1"), file.read(), flush=True)
"""
"""Victim and neighbour: one keeps a secret in its memory and one in a file, and says both when it is asked."""


class BareLauncher:
    """Programs as children that inherit environment, descriptors and rights: what an attack can do without any wall."""

    tier = Tier.C

    def launch(self, program: int, stdin: int, stdout: int, stderr: int, limits: Limits) -> PlainProcess:
        code = f"import os; exec(compile(os.fdopen({program}, 'rb').read(), '<program>', 'exec'))"
        os.set_inheritable(program, True)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", code],
            stdin=stdin, stdout=stdout, stderr=stderr, close_fds=False, start_new_session=True,
        )  # fmt: skip
        return PlainProcess(process)

    def close(self) -> None:
        pass


class Victim:
    """A process of the harness, with its rights."""

    kind = "the victim"

    def __init__(self, name: str, playground: str, folder: Path, environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", TARGET], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={"SECRET": environment}, cwd=folder,
        )  # fmt: skip
        self.introduce(name, playground)

    def introduce(self, name: str, playground: str) -> None:
        """Give it its secrets, and learn where it keeps them."""
        self.secret, self.diary = (f"{word}-{os.urandom(8).hex()}" for word in ("memory", "diary"))
        order = {"name": name, "secret": self.secret, "diary": self.diary, "playground": playground}
        self.address, self.place = json.loads(self.ask(json.dumps(order)))
        self.pid = named(name)[0]
        self.limits = self.read_limits()

    def ask(self, line: str) -> str:
        """One line in, one line out; nothing from the dead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            return ""
        return self._process.stdout.readline().decode("latin-1")

    def read_limits(self) -> str:
        return Path(f"/proc/{self.pid}/limits").read_text() + str(os.getpriority(os.PRIO_PROCESS, self.pid))

    def is_well(self) -> bool:
        """It lives, its memory and its file are as they were, and nobody limited it or slowed it down."""
        return self.ask("").split() == [self.secret, self.diary] and self.read_limits() == self.limits

    def facts(self) -> dict[str, Any]:
        return {"pid": self.pid, "address": self.address, "place": self.place}

    def close(self) -> None:
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.communicate()


class Neighbour(Victim):
    """A program in another box of the same sandbox."""

    kind = "the neighbour"

    def __init__(self, name: str, playground: str, sandbox: Sandbox, limits: Limits) -> None:
        self._opened = sandbox.open(TARGET, limits=limits)
        (self._session,) = self._opened.__enter__()
        self.introduce(name, playground)

    def ask(self, line: str) -> str:
        return (self._session.receive() or b"").decode("latin-1") if self._session.send(line.encode()) else ""

    def close(self) -> None:
        self._opened.__exit__(None, None, None)


def named(name: str) -> list[int]:
    """Live processes that gave themselves this name, whatever namespace they are in."""
    return [pid for pid in processes() if lives(pid) and stat_of(pid)[0] == name]


def descendants(ancestor: int) -> list[int]:
    """Live processes that this one started, or that those started, and so on."""
    parents = {pid: int(stat_of(pid)[2] or 0) for pid in processes() if lives(pid)}
    found = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found - {ancestor})


def lives(pid: int) -> bool:
    """False for what is gone and for a zombie, which only waits for its parent."""
    return stat_of(pid)[1] not in ("", "Z", "X")


def started(pid: int) -> str:
    """When a process began: with its number it names a process for ever."""
    return stat_of(pid)[3]


def processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def stat_of(pid: int) -> tuple[str, str, str, str]:
    """Name, state, parent and start time; empty when it is gone."""
    try:
        begin, _, end = Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")
    except OSError:
        return "", "", "", ""
    fields = end.split()
    return begin.partition("(")[2], fields[0], fields[1], fields[19]
