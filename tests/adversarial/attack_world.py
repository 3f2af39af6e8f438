"""What an attack can reach for: bait around one sandbox, put out by the harness.

Files that everybody may read or write, listeners, inheritable descriptors, a process of the same user (the victim) and
another program in the same sandbox (the neighbour). Everything is told to the attack: where it lies is no secret.
"""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from attack_targets import Neighbour, Victim, named

from zero2r1.sandbox.base import MIB, Limits
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.seccomp import ALLOWED, ARCHITECTURES, CONDITIONS

LIMITS = Limits(cpu_s=1.0, memory_bytes=96 * MIB, tmp_bytes=8 * MIB)
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class World:
    """The bait around one sandbox. `inside` says that programs live in boxes; else they play in a folder of ours."""

    sandbox: Sandbox
    inside: bool
    folder: Path
    mark: str = field(default_factory=lambda: os.urandom(5).hex())
    victim: Victim = field(init=False)
    neighbour: Neighbour = field(init=False)

    def __post_init__(self) -> None:
        self.secrets = {name: f"{name}-{os.urandom(8).hex()}" for name in ("file", "environment", "descriptor")}
        self.temporary, self.playground, self.bait = (self.folder / name for name in ("tmp", "playground", "bait"))
        for place in (self.temporary, self.playground):
            place.mkdir(exist_ok=True)
            place.chmod(0o1777)
        nameless = os.open(self.folder, os.O_TMPFILE | os.O_RDWR)
        os.write(nameless, self.secrets["descriptor"].encode())
        self.inbox, self.outbox = socket.socketpair()
        self.descriptors = [nameless, self.outbox.fileno()]
        for each in self.descriptors:
            os.set_inheritable(each, True)
        self.inbox.setblocking(False)
        self.listeners: dict[str, socket.socket] = {}
        self.lay()
        self.listen()
        self.victim, self.neighbour = self.a_victim(), self.a_neighbour()

    def lay(self) -> None:
        """Put the files out, as they were at the beginning."""
        shutil.rmtree(self.bait, ignore_errors=True)
        self.bait.mkdir()
        (self.bait / "secret").write_text(self.secrets["file"])
        (self.bait / "open").write_text("open to all")
        (self.bait / "secret").chmod(0o644)
        (self.bait / "open").chmod(0o666)
        self.bait.chmod(0o777)
        self.laid = look(self.bait)

    def a_victim(self) -> Victim:
        return Victim(f"v{self.mark}", self.told_playground(), self.playground, self.secrets["environment"])

    def a_neighbour(self) -> Neighbour:
        return Neighbour(f"n{self.mark}", self.told_playground(), self.sandbox, LIMITS)

    def told_playground(self) -> str:
        """Where programs have to play that no box holds."""
        return "" if self.inside else str(self.playground)

    def listen(self) -> None:
        for name, family, kind, address in (
            ("tcp", socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            ("udp", socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            ("abstract", socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.mark),
            ("path", socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "socket")),
        ):
            self.listeners[name] = listener = socket.socket(family, kind)
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen()
            listener.setblocking(False)
        (self.folder / "socket").chmod(0o777)

    def heard(self, name: str) -> bool:
        """True if somebody connected, or sent something."""
        try:
            if name == "udp":
                return bool(self.listeners[name].recv(100))
            self.listeners[name].accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def told(self) -> bytes:
        """What an attack knows of its world: a line of JSON on its standard input."""
        ports = {name: self.listeners[name].getsockname()[1] for name in ("tcp", "udp")}
        known = {
            "mark": self.mark, "playground": self.told_playground(), "inside": self.inside,
            "bait": str(self.bait), "socket": str(self.folder / "socket"), **ports, "harness": os.getpid(),
            "project": str(ROOT / "zero2r1" / "__init__.py"), "targets": [self.victim.facts(), self.neighbour.facts()],
            "descriptors": self.descriptors, "calls": allowed_calls(),
        }  # fmt: skip
        return json.dumps(known).encode() + b"\n"

    def harm(self) -> str:
        """What became of victim and neighbour."""
        return ", ".join(f"harmed {each.kind}" for each in (self.victim, self.neighbour) if not each.is_well())

    def mend(self) -> None:
        """Everything as it was, and nothing of the last attack alive."""
        for pid in named("a" + self.mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not self.victim.is_well():
            self.victim.close()
            self.victim = self.a_victim()
        if not self.neighbour.is_well():
            self.neighbour.close()
            self.neighbour = self.a_neighbour()
        for name in self.listeners:
            while self.heard(name):
                pass
        with suppress(BlockingIOError):
            while self.inbox.recv(100):
                pass
        self.lay()
        left = [str(each) for each in self.playground.iterdir() if not each.name.startswith("diary-")]
        subprocess.run(["xargs", "-0", "rm", "-rf", "--"], input="\0".join(left).encode(), check=True)

    def close(self) -> None:
        self.victim.close()
        self.neighbour.close()
        for each in (*self.listeners.values(), self.inbox, self.outbox):
            each.close()
        os.close(self.descriptors[0])


@contextmanager
def a_world(sandbox: Sandbox, *, inside: bool = True) -> Iterator[World]:
    """A world in a fresh folder that everybody can enter."""
    folder = Path(tempfile.mkdtemp(prefix="attacks-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["rm", "-rf", str(folder)], check=True)
        (folder / "tmp").mkdir()
        with temporary_files_in(folder / "tmp"):
            world = World(sandbox, inside, folder)
        stack.callback(world.close)
        yield world


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Where the harness finds room meanwhile, so that what it leaves there can be counted."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def look(folder: Path) -> list[tuple[str, int, int, str]]:
    """Names, modes, links and contents."""
    found = [(each.name, each.lstat(), each) for each in sorted(folder.iterdir())]
    return [
        (name, seen.st_mode, seen.st_nlink, path.read_text("latin-1") if stat.S_ISREG(seen.st_mode) else "")
        for name, seen, path in found
    ]


def allowed_calls() -> list[int]:
    """Numbers that the filter may let through."""
    names = {name for names in ALLOWED.values() for name in names.split()} | set(CONDITIONS)
    return sorted(number for name, number in ARCHITECTURES[os.uname().machine].numbers.items() if name in names)
