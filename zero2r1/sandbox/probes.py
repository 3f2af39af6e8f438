"""The self-test of a sandbox: tries to break out of it, harmlessly, before any program of a model runs.

Bait is put out (a readable file, listening sockets, an inheritable descriptor), a probe program inside the box tries
to reach it and much else (`inside/probe.py`), and what each tier promises is compared with what was seen. A probe
that gave no answer did not hold.

What is not here: attacks that need long or are not harmless; the tests have those.
"""

import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zero2r1.sandbox.base import MIB, Execution, Limits, Status, Tier
from zero2r1.sandbox.sandbox import Sandbox

BAIT_TEXT = "bait of the self-test"
MEMORY_BYTES = 192 * MIB
"""Ours: enough for the probe program itself, little enough to ask for more at no cost."""
TMP_BYTES = 1 * MIB
CPU_S = 0.2
OUTPUT_BYTES = 65536
NO_ANSWER = "no answer"

EVERYWHERE = frozenset(
    {
        # System calls.
        "execute", "namespaces", "mounts", "other memory", "nameless files", "kernel programs", "keys", "handles",
        "users", "shared memory", "watching", "scheduling", "file attributes",
        # Processes and signals.
        "fork", "clone namespace", "signal the caller", "signal through a descriptor", "outlive the caller",
        "terminal input",
        # Network.
        "sockets", "connect to the machine", "connect to an abstract socket", "connect to a socket file",
        # Reading.
        "read a file", "list a directory", "read the system's settings", "read another environment",
        "read the first environment", "read another memory", "environment", "arguments", "open files",
        # Writing.
        "write the kernel's settings", "open a device", "write a file", "change a file", "empty a file",
        "remove a file", "rename a file", "change a mode", "link in a file", "link out", "the caller's files",
        # Limits.
        "user", "raise a limit", "core files", "memory", "fill the disk", "processor time", "output", "next run",
        # That the probes themselves say something.
        "threads work", "all probes ran",
    }
)  # fmt: skip
"""What tiers A and B promise."""

PROMISES: Mapping[Tier, frozenset[str]] = MappingProxyType(
    {
        # Tier B cannot hide names, and may hand in a directory of the interpreter's library.
        Tier.A: EVERYWHERE | {"see a file", "open directories"},
        Tier.B: EVERYWHERE,
        Tier.C: frozenset(),
    }
)
"""Tier -> names of the probes that have to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """How one try to break out went."""

    name: str
    is_held: bool
    detail: str = ""
    """What was seen."""


def self_test(sandbox: Sandbox) -> list[ProbeResult]:
    """Try everything, in the order of the probes. Never raises for what happens inside a box."""
    limits = Limits(cpu_s=10.0, memory_bytes=MEMORY_BYTES, output_bytes=OUTPUT_BYTES, tmp_bytes=TMP_BYTES)
    program = resources.files("zero2r1.sandbox.inside").joinpath("probe.py").read_text(encoding="utf-8")
    with _bait() as (bait, folder):
        before = _looks(folder)
        execution = sandbox.run(program, stdin=json.dumps(bait).encode(), limits=limits)
        after = _looks(folder)
    results = [
        *_said(execution),
        _result("the caller's files", before == after, f"{len(before)} files before, {len(after)} after"),
    ]
    flood = sandbox.run(LEFTOVERS_AND_FLOOD, limits=limits)
    results += [
        _result("next run", flood.stdout.startswith(b"[]\n"), ascii(flood.stdout[:40])),
        _result("output", flood.status is Status.OUTPUT, _told(flood)),
    ]
    loop = sandbox.run("while True: pass", limits=Limits(cpu_s=CPU_S))
    return [*results, _result("processor time", loop.status is Status.CPU, _told(loop))]


def broken_promises(tier: Tier, results: Sequence[ProbeResult]) -> list[ProbeResult]:
    """Probes that a tier promises and that did not hold or did not answer; empty if the tier can be used."""
    missing = [
        ProbeResult(name=name, is_held=False, detail=NO_ANSWER)
        for name in sorted(PROMISES[tier] - {result.name for result in results})
    ]
    return [*(result for result in results if result.name in PROMISES[tier] and not result.is_held), *missing]


def _said(execution: Execution) -> list[ProbeResult]:
    """What the probe program printed; the last line says how it ended if it did not end well."""
    results = []
    for line in execution.stdout.decode("utf-8", "replace").splitlines():
        with suppress(ValueError, TypeError):
            name, is_held, detail = json.loads(line)
            results.append(_result(str(name), is_held is True, str(detail)))
    return results if execution.is_clean else [*results, _result("all probes ran", False, _told(execution))]


def _told(execution: Execution) -> str:
    last = execution.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
    return " ".join([f"{execution.status} {execution.problem}".strip(), *last])


def _result(name: str, is_held: bool, detail: str) -> ProbeResult:
    return ProbeResult(name=name, is_held=is_held, detail=detail)


@contextmanager
def _bait() -> Iterator[tuple[dict[str, Any], Path]]:
    """A folder open to every user with a file and a listening socket in it; a port; a descriptor that is inherited."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bait-")))
        file, path = folder / "file", folder / "socket"
        file.write_text(BAIT_TEXT, encoding="utf-8")
        file.chmod(0o666)
        descriptor = os.open(file, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        os.set_inheritable(descriptor, True)
        web = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in (str(path), f"\0{folder.name}"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(address)
            listener.listen()
        path.chmod(0o777)
        folder.chmod(0o777)
        yield {
            "pid": os.getpid(), "file": str(file), "socket": str(path), "abstract": folder.name,
            "port": web.getsockname()[1], "memory_bytes": MEMORY_BYTES, "tmp_bytes": TMP_BYTES,
        }, folder  # fmt: skip


def _looks(folder: Path) -> list[tuple[str, int, str]]:
    """Name, mode and content of everything in the bait's folder."""
    found = [(path, path.lstat().st_mode) for path in sorted(folder.iterdir())]
    return [(path.name, mode, path.read_text("utf-8") if stat.S_ISREG(mode) else "") for path, mode in found]


LEFTOVERS_AND_FLOOD = """
import os
print(os.listdir("."), flush=True)
while True:
    os.write(1, bytes(65536))
"""
