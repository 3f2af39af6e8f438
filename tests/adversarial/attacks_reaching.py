"""Attacks by reaching out: for files, processes, sockets and descriptors of others.

Each text goes on from the names of `attack_judge.PRELUDE`. What it must not reach is the bait of `attack_world.World`.
"""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attack_judge import Attack
from attack_world import World, look
from attacks import said_more_than

from zero2r1.sandbox.base import Execution, Status


def heard(word: str) -> Any:
    """A secret came out with the output."""
    return lambda world, execution, _: world.secrets[word].encode() in execution.stdout and f"secret of the {word}"


def heard_of_targets(world: World, execution: Execution, said: dict[str, Any]) -> str:
    words = (each for target in (world.victim, world.neighbour) for each in (target.secret, target.diary))
    return next((f"secret {word}" for word in words if word.encode() in execution.stdout), "")


def changed_bait(world: World, execution: Execution, said: dict[str, Any]) -> bool:
    return look(world.bait) != world.laid


def connected(name: str) -> Any:
    return lambda world, _, __: world.heard(name) and f"somebody connected: {name}"


def wrote_outside(world: World, execution: Execution, said: dict[str, Any]) -> str:
    written = [path for place in (*OUTSIDE, str(world.bait), str(world.folder)) for path in [f"{place}/w{world.mark}"]
               if os.path.lexists(path)]  # fmt: skip
    for path in written:
        os.unlink(path)
    return ", ".join(written)


def harmed(world: World, execution: Execution, said: dict[str, Any]) -> str:
    return world.harm()


def forged(world: World, execution: Execution, said: dict[str, Any]) -> str:
    """It wrote somewhere, or what it wrote made an end of its run."""
    if execution.status is Status.BROKEN or ("began" in said and "tried" not in said):
        return f"it made an end of its own run: {execution.problem}"
    return f"wrote to {said['written']}" if said.get("written") else ""


OUTSIDE = ("/tmp", "/var/tmp", "/dev/shm")

REACHING: Mapping[str, Attack] = MappingProxyType(
    {
        "write outside": Attack(
            program=f"""
for place in (*{OUTSIDE!r}, WORLD["bait"], os.path.dirname(WORLD["bait"])):
    if place != "/tmp" or not WORLD["inside"]:
        tries(lambda: open(f"{{place}}/w{{WORLD['mark']}}", "w").close())
tries(lambda: open(f"/tmp/w{{WORLD['mark']}}", "w").close())
""",
            landed=wrote_outside,
        ),
        "change a file": Attack(
            program="""
path = WORLD["bait"] + "/open"
tries(lambda: open(path, "a").write("x"))
tries(os.truncate, path, 0)
tries(lambda: os.close(os.open(path, os.O_RDONLY | os.O_TRUNC)))
tries(os.chmod, path, 0o777)
""",
            landed=changed_bait,
        ),
        "remove and rename": Attack(
            program="""
path = WORLD["bait"] + "/open"
tries(os.rename, path, path + ".moved")
tries(os.unlink, path + ".moved")
tries(os.unlink, path)
tries(os.mkdir, WORLD["bait"] + "/folder")
tries(os.mkfifo, WORLD["bait"] + "/pipe")
""",
            landed=changed_bait,
        ),
        "link into a folder": Attack(
            program="""
tries(os.symlink, WORLD["bait"], "way")
tries(lambda: open("way/through", "w").close())
tries(os.link, WORLD["bait"] + "/open", "hard")
tries(lambda: open("hard", "a").write("x"))
""",
            landed=changed_bait,
        ),
        "read a secret": Attack(
            program="""
path = WORLD["bait"] + "/secret"
for before in ("", "./../" * 30, "/proc/self/root"):
    say(read=tries(text, before + path))
tries(os.symlink, path, "way")
tries(os.link, path, "hard")
say(linked=[tries(text, "way"), tries(text, "hard")])
""",
            landed=heard("file"),
        ),
        "read the project": Attack(
            program="""
path = WORLD["project"]
say(read=tries(text, path), listed=tries(os.listdir, os.path.dirname(path)))
""",
            landed=lambda world, _, said: bool(said.get("read") or said.get("listed")),
        ),
        "read accounts and settings": Attack(
            program="""
for path in ("/etc/passwd", "/etc/hostname", "/proc/1/cmdline", "/proc/mounts", "/sys/kernel/vmcoreinfo"):
    if tries(text, path):
        say(read=path)
""",
            landed=lambda _, __, said: said.get("read"),
        ),
        "see a file": Attack(
            program="say(seen=int(os.path.exists(WORLD['bait'] + '/secret')))",
            landed=said_more_than("seen", 0),
            needs_names=True,
        ),
        "read environments": Attack(
            program="""
found = [str(dict(os.environ))]
for pid in [*(each["pid"] for each in WORLD["targets"]), os.getppid(), WORLD["harness"], 1, "self"]:
    found.append(str(tries(text, f"/proc/{pid}/environ")))
say(read=[each for each in found if "environment-" in each])
""",
            landed=heard("environment"),
        ),
        "read descriptors of the harness": Attack(
            program="""
for pid in (WORLD["harness"], os.getppid(), 1):
    for name in tries(os.listdir, f"/proc/{pid}/fd") or ():
        found = os.path.isfile(f"/proc/{pid}/fd/{name}") and tries(text, f"/proc/{pid}/fd/{name}") or ""
        if "descriptor-" in found:
            say(read=found)
""",
            landed=heard("descriptor"),
        ),
        "guess descriptors": Attack(
            program="""
for number in range(3, 1024):
    if found := tries(os.pread, number, 100, 0):
        say(read=found.decode("latin-1"))
    if door := tries(lambda: os.open("../" * 30 + WORLD["bait"] + "/secret", os.O_RDONLY, dir_fd=number)):
        say(opened=os.read(door, 100).decode("latin-1"))
""",
            landed=lambda world, execution, said: heard("descriptor")(world, execution, said) or said.get("opened"),
        ),
        "write to all descriptors": Attack(
            program="""
written = []
for number in range(3, 1024) if WORLD["inside"] else WORLD["descriptors"]:
    if tries(os.fstat, number):
        tries(os.set_blocking, number, False)
        if tries(os.write, number, b'{"status": 0, "cpu_s": 0.5, "peak_bytes": 0}'):
            written.append(number)
say(written=written)
""",
            landed=forged,
        ),
        "TCP": Attack(
            program="""
import socket
say(sent=tries(socket.create_connection, ("127.0.0.1", WORLD["tcp"]), 1) is not None)
""",
            landed=connected("tcp"),
        ),
        "UDP": Attack(
            program="""
import socket
tries(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", WORLD["udp"])))
""",
            landed=connected("udp"),
        ),
        "abstract socket": Attack(
            program="""
import socket
tries(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + WORLD["mark"]))
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    a, b = tries(socket.socketpair, socket.AF_UNIX, kind) or (None, None)
    a and tries(a.connect, "\\0" + WORLD["mark"])
""",
            landed=connected("abstract"),
        ),
        "socket file": Attack(
            program="""
import socket
tries(lambda: socket.socket(socket.AF_UNIX).connect(WORLD["socket"]))
""",
            landed=connected("path"),
        ),
        "listen": Attack(
            program="""
import socket
say(listens=int(tries(socket.create_server, ("127.0.0.1", 0)) is not None))
""",
            landed=said_more_than("listens", 0),
        ),
        "kill": Attack(
            program="""
import signal
for target in WORLD["targets"]:
    tries(os.kill, target["pid"], signal.SIGKILL)
    tries(lambda: signal.pidfd_send_signal(os.pidfd_open(target["pid"]), signal.SIGKILL))
""",
            landed=harmed,
        ),
        "kill all in sight": Attack(
            program="""
import signal
for pid in (1, os.getppid(), *range(3, 20), 0, -1):
    tries(os.kill, pid, signal.SIGKILL)
""",
            landed=harmed,
            boxes_only=True,
        ),
        "signal without harm": Attack(
            program="""
say(signalled=[pid for pid in (1, os.getppid(), WORLD["harness"], 0, -1) if tries(os.kill, pid, 0)])
""",
            landed=lambda _, __, said: said.get("signalled"),
        ),
        "signal through a descriptor": Attack(
            program="""
import fcntl
for target in WORLD["targets"]:
    for ends in (os.pipe(), os.pipe()):
        tries(fcntl.fcntl, ends[0], fcntl.F_SETOWN, target["pid"])
        tries(fcntl.fcntl, ends[0], 10, 9)
        tries(fcntl.fcntl, ends[0], fcntl.F_SETFL, os.O_NONBLOCK | fcntl.FASYNC)
        os.write(ends[1], b"x")
""",
            landed=harmed,
        ),
        "read memory": Attack(
            program="""
buffer = ctypes.create_string_buffer(64)
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
for target in WORLD["targets"]:
    ours, theirs = Piece(ctypes.addressof(buffer), 64), Piece(target["address"], 64)
    if LIBC.process_vm_readv(target["pid"], ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0) > 0:
        say(read=buffer.value.decode("latin-1"))
    def peek():
        with open(f"/proc/{target['pid']}/mem", "rb", buffering=0) as memory:
            memory.seek(target["address"])
            return memory.read(64).decode("latin-1")
    say(peeked=tries(peek))
    say(diary=tries(text, target["place"]))
""",
            landed=heard_of_targets,
        ),
        "read memory of the parent": Attack(
            program="""
import errno
class Piece(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(8)
ours, theirs = Piece(ctypes.addressof(buffer), 8), Piece(id(None), 8)
open_to = []
for pid in {os.getppid(), 1, WORLD["harness"]} - {0, 1 if not WORLD["inside"] else 0}:
    ctypes.set_errno(0)
    got = LIBC.process_vm_readv(pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)
    if got > 0 or ctypes.get_errno() == errno.EFAULT or tries(lambda: open(f"/proc/{pid}/mem", "rb").close()):
        open_to.append(pid)
say(parents=open_to)
""",
            landed=lambda _, __, said: said.get("parents"),
        ),
        "trace": Attack(
            program="""
import time
for target in WORLD["targets"]:
    if LIBC.ptrace(16, target["pid"], 0, 0) == 0:
        time.sleep(0.05)
        LIBC.ptrace(5, target["pid"], ctypes.c_void_p(target["address"]), ctypes.c_void_p(0x7878787878787878))
        LIBC.ptrace(17, target["pid"], 0, 0)
""",
            landed=harmed,
        ),
        "limits and priority of others": Attack(
            program="""
import resource
for target in WORLD["targets"]:
    tries(resource.prlimit, target["pid"], resource.RLIMIT_NOFILE, (5, 5))
    tries(os.setpriority, os.PRIO_PROCESS, target["pid"], 19)
""",
            landed=harmed,
        ),
    }
)
