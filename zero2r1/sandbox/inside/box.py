"""One box: namespaces of its own, a first process that guards it, and the program as its only other process.

    fork server --clone--> guard (process 1 of the box) --fork--> program

The guard mounts /tmp and /dev/shm, starts the program, tells the trusted side of it, waits, tells how it ended and
ends; the kernel then kills whatever is left. It never reads the program. It also ends when the trusted side hangs up
or the fork server dies.

Messages to the trusted side, one JSON object each: {"started": true} with a process descriptor of the program,
then {"status": wait status, "cpu_s": ..., "peak_bytes": ...}, or {"problem": text} instead of either.

Runs inside the fork server, which is sent as text: it imports nothing of the package.
"""

import array
import gc
import json
import os
import resource
import select
import signal
import socket
from contextlib import suppress
from math import ceil
from typing import Any, NoReturn

from . import kernel, program, root

ALONE = kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC
UID = GID = 1000
"""As the program sees itself."""
SHM_BYTES = 16 * 2**20
MAX_STACK_BYTES = 64 * 2**20
MAX_FILES, MAX_TASKS = 64, 64
READY = b"ready"


def start_box(linux: kernel.Kernel, proc: int, calls: bytes, order: dict[str, Any], ends: list[int]) -> int:
    """Make a box; returns its guard's process id as the fork server sees it.

    Args:
        proc: descriptor of the fork server's /proc.
        calls: seccomp filter.
        order: `total_cpu_s`, `memory_bytes`, `tmp_bytes`.
        ends: descriptors: program, stdin, stdout, stderr, and the socket to the trusted side.
    """
    pid = linux.clone(ALONE, signal.SIGCHLD)
    if pid == 0:
        try:
            _guard(linux, proc, calls, order, ends)
        finally:
            os._exit(1)
    return pid


def _guard(linux: kernel.Kernel, proc: int, calls: bytes, order: dict[str, Any], ends: list[int]) -> NoReturn:
    *_, trusted = ends
    with socket.socket(fileno=trusted) as channel:
        try:
            linux.die_with_parent(signal.SIGKILL)
            root.map_ids(proc, UID, os.geteuid(), GID, os.getegid())
            _offer_to_the_oom_killer(proc)
            options = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
            linux.mount("tmp", "/tmp", "tmpfs", options, f"size={order['tmp_bytes']},nr_inodes=4096,mode=1777")
            linux.mount("shm", "/dev/shm", "tmpfs", options, f"size={SHM_BYTES},nr_inodes=1024,mode=1777")
            hear, tell = os.pipe()
            child = os.fork()
            if child == 0:
                _become_program(linux, calls, order, ends, tell)
            os.close(tell)
            said = program.read_all(hear)
            if said != READY:
                _tell(channel, problem=said.decode("utf-8", "replace") or "the box ended while it was made")
                os._exit(0)
            handle = os.pidfd_open(child)
            _tell(channel, handle, started=True)
            for end in [*ends[:-1], hear]:
                os.close(end)
            _watch(channel, handle, child)
        except OSError as wrong:
            _tell(channel, problem=f"no box: {wrong}")
    os._exit(0)


def _offer_to_the_oom_killer(proc: int) -> None:
    """When the machine runs out of memory, a box goes before anything else."""
    with suppress(OSError), os.fdopen(os.open("self/oom_score_adj", os.O_WRONLY, dir_fd=proc), "w") as file:
        file.write("1000")


def _watch(channel: socket.socket, handle: int, child: int) -> None:
    """Wait for the program, or for the trusted side to hang up."""
    events = select.poll()
    events.register(handle, select.POLLIN)
    events.register(channel, 0)  # hanging up is always told
    if any(descriptor == channel.fileno() for descriptor, _ in events.poll()):
        os._exit(0)
    _, status, used = os.wait4(child, 0)
    _tell(channel, status=status, cpu_s=used.ru_utime + used.ru_stime, peak_bytes=used.ru_maxrss * 1024)


def _tell(channel: socket.socket, handle: int | None = None, **words: object) -> None:
    rights = [] if handle is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [handle]))]
    channel.sendmsg([json.dumps(words).encode()], rights)


def _become_program(linux: kernel.Kernel, calls: bytes, order: dict[str, Any], ends: list[int], tell: int) -> NoReturn:
    """Give up everything that is not needed, then run the program. Never returns."""
    code = 1
    try:
        linux.die_with_parent(signal.SIGKILL)
        os.setsid()
        for number, end in enumerate(ends[1:4]):
            os.dup2(end, number)
        os.chdir("/tmp")
        _limit(order)
        linux.bound_capabilities()
        linux.drop_capabilities()
        program.open_streams()
        gc.enable()
        linux.filter_calls(calls)
        os.write(tell, READY)
        os.close(tell)
        source = program.read_all(ends[0])
        linux.close_from(3)
        code = program.run_program(source)
    except BaseException as wrong:  # noqa: BLE001  untrusted border: nothing may reach the fork server's code
        with suppress(OSError):
            os.write(tell, f"no box: {wrong}".encode("utf-8", "replace"))
    finally:
        os._exit(code)


def _limit(order: dict[str, Any]) -> None:
    """The kernel's own limits. CPU time is watched more finely from outside; here it is a backstop."""
    memory = int(order["memory_bytes"])
    for kind, most in (
        (resource.RLIMIT_CPU, ceil(order["total_cpu_s"]) + 1),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_STACK, min(memory, MAX_STACK_BYTES)),
        (resource.RLIMIT_FSIZE, int(order["tmp_bytes"])),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_NPROC, MAX_TASKS),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
