"""The trusted end of one fork server: starts it, hands it requests, and destroys it.

A fork server is a fresh interpreter, started by exec and never by a bare fork, so that it inherits neither memory nor
open files of this process. Its code is the texts in `inside/`, sent in a nameless file.

What is not here: which fork server gets a request, and how a run is watched (`namespaces.py`).
"""

import json
import os
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from zero2r1.sandbox.base import Limits
from zero2r1.sandbox.seccomp import filter_program

MODULES = ("kernel", "root", "program", "box", "forkserver")
"""Texts of `inside/`, each after those it imports."""
START_S = 30.0
"""Ours: seconds a fork server or a box may take to start on a very busy machine; usual are 0.1 and 0.01."""
MESSAGE_SIZE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a fork server shows to its boxes."""

    python: str
    """The interpreter."""
    packages: tuple[str, ...] = ()
    """Folders bound read-only and added to the module path."""
    preload: tuple[str, ...] = ()
    """Modules imported before the first run."""


class ForkServer:
    """One running fork server. One thread at a time.

    Raises:
        OSError: it cannot be started, or its walls cannot be built here.
    """

    def __init__(self, world: World) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        owner = os.pidfd_open(os.getpid())
        payload = _nameless(json.dumps(_settings(world)).encode())
        passed = (theirs.fileno(), owner, payload)
        try:
            # The fixed seed makes the order of sets of texts, and so a program's result, the same in every run.
            self._process = subprocess.Popen(
                [world.python, "-s", "-S", "-P", "-B", "-c", _BOOT, *map(str, passed)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=passed, env={"PYTHONHASHSEED": "0"}, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError:
            self._control.close()
            raise
        finally:
            theirs.close()
            os.close(owner)
            os.close(payload)
        self.pid = self._process.pid

    def await_ready(self) -> None:
        """Wait until it can take requests.

        Raises:
            OSError: it says that it cannot, or says nothing; it is destroyed then.
        """
        self._control.settimeout(START_S)
        try:
            said = json.loads(self._control.recv(MESSAGE_SIZE) or b'{"problem": "the fork server ended at its start"}')
        except OSError as silent:
            self.destroy()
            raise OSError(f"the fork server did not start: {silent}") from silent
        if "problem" in said:
            self.destroy()
            raise OSError(said["problem"])

    def is_alive(self) -> bool:
        """False once it has ended or was destroyed."""
        return self._process.poll() is None

    def request(self, ends: Sequence[int], limits: Limits) -> socket.socket:
        """Ask for a box.

        Args:
            ends: descriptors of the program and its three standard streams.
            limits: of the box.

        Returns:
            the box's own channel; its first message says whether there is a box.

        Raises:
            OSError: the fork server is gone.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        order = {
            "total_cpu_s": limits.total_cpu_s,
            "memory_bytes": limits.memory_bytes,
            "tmp_bytes": limits.tmp_bytes,
        }
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], [*ends, theirs.fileno()])
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(START_S)
        return ours

    def destroy(self) -> None:
        """Kill it and, with it, its boxes. May be called twice."""
        self._control.close()
        with suppress(OSError):
            self._process.kill()
        self._process.wait()


def default_python() -> str:
    """This interpreter without its virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def _settings(world: World) -> dict[str, Any]:
    inside = files("zero2r1.sandbox.inside")
    return {
        "modules": [(name, inside.joinpath(f"{name}.py").read_text(encoding="utf-8")) for name in MODULES],
        "calls": b64encode(filter_program()).decode("ascii"),
        "packages": list(world.packages),
        "preload": list(world.preload),
    }


def _nameless(content: bytes) -> int:
    """A file without a name, positioned at its start."""
    descriptor = os.memfd_create("forkserver", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


_BOOT = """
import json, os, socket, sys, types
control, owner, payload = map(int, sys.argv[1:])
with os.fdopen(payload, "rb") as file:
    settings = json.load(file)
sys.argv, sys.orig_argv = [""], []
os.environ.clear()
box = types.ModuleType("box")
box.__path__ = []
sys.modules["box"] = box
for name, text in settings.pop("modules"):
    module = types.ModuleType("box." + name)
    module.__package__ = "box"
    sys.modules["box." + name] = module
    setattr(box, name, module)
    exec(compile(text, "<box " + name + ">", "exec"), module.__dict__)
box.forkserver.serve(socket.socket(fileno=control), owner, settings)
"""
