"""The self-test, inside: tries what a program must not be able to do, harmlessly, and says how each try went.

The first line of standard input is a JSON object of what the trusted side has put out as bait; each line of output is
[name, whether the wall held, what was seen]. A system call is tried with arguments that the kernel would refuse anyway
and is said to be shut when it is refused for being that call (EPERM, ENOSYS), not for its arguments.

Runs inside a box, sent as text: it imports nothing of the package.
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, TIOCSTI = 1, 0x5412
O_PATH = 0o10000000
SHUT = (errno.EPERM, errno.ENOSYS, errno.EACCES)
NUMBERS = {
    "x86_64": {
        "execve": 59, "execveat": 322, "clone": 56, "clone3": 435, "unshare": 272, "setns": 308, "mount": 165,
        "umount2": 166, "pivot_root": 155, "chroot": 161, "ptrace": 101, "process_vm_readv": 310,
        "process_vm_writev": 311, "pidfd_open": 434, "pidfd_getfd": 438, "memfd_create": 319, "bpf": 321,
        "perf_event_open": 298, "io_uring_setup": 425, "userfaultfd": 323, "keyctl": 250, "add_key": 248,
        "open_by_handle_at": 304, "setuid": 105, "setresuid": 117, "shmget": 29, "msgctl": 71, "mq_open": 240,
        "inotify_init1": 294, "fanotify_init": 300, "personality": 135, "seccomp": 317, "capset": 126,
        "sched_setaffinity": 203, "setpriority": 141, "timer_create": 222, "init_module": 175, "kexec_load": 246,
        "chmod": 90, "utimensat": 280, "setxattr": 188, "link": 86,
    },
    "aarch64": {
        "execve": 221, "execveat": 281, "clone": 220, "clone3": 435, "unshare": 97, "setns": 268, "mount": 40,
        "umount2": 39, "pivot_root": 41, "chroot": 51, "ptrace": 117, "process_vm_readv": 270,
        "process_vm_writev": 271, "pidfd_open": 434, "pidfd_getfd": 438, "memfd_create": 279, "bpf": 280,
        "perf_event_open": 241, "io_uring_setup": 425, "userfaultfd": 282, "keyctl": 219, "add_key": 217,
        "open_by_handle_at": 265, "setuid": 146, "setresuid": 147, "shmget": 194, "msgctl": 187, "mq_open": 180,
        "inotify_init1": 26, "fanotify_init": 262, "personality": 92, "seccomp": 277, "capset": 91,
        "sched_setaffinity": 122, "setpriority": 140, "timer_create": 107, "init_module": 105, "kexec_load": 104,
        "fchmodat": 53, "utimensat": 88, "setxattr": 5, "linkat": 37,
    },
}  # fmt: skip
GROUPS = {
    "execute": ("execve", "execveat"),
    "namespaces": ("unshare", "setns", "clone3"),
    "mounts": ("mount", "umount2", "pivot_root", "chroot"),
    "other memory": ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_open", "pidfd_getfd"),
    "nameless files": ("memfd_create",),
    "kernel programs": ("bpf", "perf_event_open", "io_uring_setup", "userfaultfd", "init_module", "kexec_load"),
    "keys": ("keyctl", "add_key"),
    "handles": ("open_by_handle_at",),
    "users": ("setuid", "setresuid", "capset", "personality"),
    "shared memory": ("shmget", "msgctl", "mq_open"),
    "watching": ("inotify_init1", "fanotify_init"),
    "scheduling": ("sched_setaffinity", "setpriority", "timer_create"),
    "file attributes": ("chmod", "fchmodat", "utimensat", "setxattr", "link", "linkat"),
}

LIBC = ctypes.CDLL(None, use_errno=True)
BAIT: dict[str, Any] = {}
"""Read before the first try."""


def say(name: str, is_held: bool, detail: object = "") -> None:
    """One result."""
    sys.stdout.write(json.dumps([name, bool(is_held), str(detail)[:200]]) + "\n")
    sys.stdout.flush()


def attempt(name: str, action: Callable[[], object]) -> None:
    """Held if the action fails. What it found, if it works, may be a secret and is not told."""
    try:
        action()
    except (OSError, MemoryError, ValueError) as refused:
        say(name, True, refused)
    else:
        say(name, False, "it worked")


def call(number: int) -> int:
    """The error number of a system call with useless arguments; 0 if it worked."""
    ctypes.set_errno(0)
    minus = ctypes.c_long(-1)
    return ctypes.get_errno() if LIBC.syscall(ctypes.c_long(number), minus, minus, minus, minus, minus) < 0 else 0


def read(path: str) -> bytes:
    """The start of a file."""
    with open(path, "rb") as file:
        return file.read(16)


def touch(path: str, mode: str) -> None:
    """Open a file and close it."""
    with open(path, mode):
        pass


def link_in(link: Callable[[str, str], None], name: str) -> bytes:
    """Read the bait through a link."""
    link(BAIT["file"], name)
    return read(name)


def connect(family: int, address: Any) -> None:
    """Connect to a listening socket."""
    with socket.socket(family) as made:
        made.connect(address)


def system_calls() -> None:
    """Groups of calls that must be shut whatever their arguments."""
    numbers = NUMBERS[os.uname().machine]
    for name, calls in GROUPS.items():
        answers = {each: call(numbers[each]) for each in calls if each in numbers}
        is_open = [f"{each}: {errno.errorcode.get(code, code)}" for each, code in answers.items() if code not in SHUT]
        say(name, not is_open, ", ".join(is_open))


def new_process(namespaces: int) -> None:
    """Make a process that ends at once, by fork or in new namespaces."""
    if namespaces:
        number = ctypes.c_long(NUMBERS[os.uname().machine]["clone"])
        pid = LIBC.syscall(number, ctypes.c_long(namespaces | signal.SIGCHLD), 0, 0, 0, 0)
    else:
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(pid, 0)


def processes() -> None:
    """Making, signalling and outliving processes."""
    attempt("fork", lambda: new_process(0))
    attempt("clone namespace", lambda: new_process(CLONE_NEWUSER))
    attempt("signal the caller", lambda: os.kill(BAIT["pid"], 0))
    attempt("signal through a descriptor", lambda: fcntl.fcntl(0, fcntl.F_SETOWN, BAIT["pid"]))
    say("outlive the caller", LIBC.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) < 0)
    say("terminal input", LIBC.ioctl(0, TIOCSTI, b"x") < 0 and ctypes.get_errno() in SHUT)


def network() -> None:
    """Sockets of every family, and the three places where the caller listens."""
    made = []
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK, socket.AF_PACKET, 38, 40):
        try:
            socket.socket(family, socket.SOCK_DGRAM if family != 38 else socket.SOCK_SEQPACKET).close()
            made.append(int(family))
        except OSError:
            continue
    say("sockets", not made, made)
    for name, family, address in (
        ("connect to the machine", socket.AF_INET, ("127.0.0.1", BAIT["port"])),
        ("connect to an abstract socket", socket.AF_UNIX, "\0" + BAIT["abstract"]),
        ("connect to a socket file", socket.AF_UNIX, BAIT["socket"]),
    ):
        attempt(name, partial(connect, family, address))


def secrets() -> None:
    """What the caller has put out to be read."""
    attempt("read a file", lambda: read(BAIT["file"]))
    attempt("list a directory", lambda: os.listdir(os.path.dirname(BAIT["file"])))
    attempt("see a file", lambda: os.stat(BAIT["file"]))
    attempt("read the system's settings", lambda: read("/etc/passwd"))
    attempt("read another environment", lambda: read(f"/proc/{BAIT['pid']}/environ"))
    attempt("read the first environment", lambda: read("/proc/1/environ"))
    attempt("read another memory", lambda: touch(f"/proc/{BAIT['pid']}/mem", "rb"))
    attempt("write the kernel's settings", lambda: touch("/proc/sys/kernel/core_pattern", "r+b"))
    attempt("open a device", lambda: touch("/dev/kmsg", "rb"))
    left = {name for name in os.environ if not name.endswith("_NUM_THREADS")}
    say("environment", not left, left)
    say("arguments", not sys.argv[1:] and not sys.orig_argv, sys.orig_argv)
    files: list[int] = []
    directories: list[int] = []
    for number in range(3, 256):
        try:
            (directories if fcntl.fcntl(number, fcntl.F_GETFL) & O_PATH else files).append(number)
        except OSError:
            continue
    say("open files", not files, files)
    say("open directories", not directories, directories)


def writing() -> None:
    """Outside of the private directory; the trusted side looks whether its own is unchanged."""
    inside = os.path.dirname(BAIT["file"])
    attempt("write a file", lambda: touch(os.path.join(inside, "written"), "w"))
    attempt("change a file", lambda: os.truncate(BAIT["file"], 0))
    attempt("empty a file", lambda: os.close(os.open(BAIT["file"], os.O_RDONLY | os.O_TRUNC)))
    attempt("remove a file", lambda: os.unlink(BAIT["file"]))
    attempt("rename a file", lambda: os.rename(BAIT["file"], BAIT["file"] + ".moved"))
    attempt("change a mode", lambda: os.chmod(BAIT["file"], 0o777))
    attempt("link in a file", lambda: link_in(os.link, "linked"))
    attempt("link out", lambda: link_in(os.symlink, "out"))


def resources() -> None:
    """Limits hold and cannot be raised."""
    say("user", 0 not in (*os.getresuid(), *os.getresgid()), os.getresuid())
    attempt("raise a limit", lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1)))
    say("core files", resource.getrlimit(resource.RLIMIT_CORE)[1] == 0)
    attempt("memory", lambda: len(bytearray(BAIT["memory_bytes"])))
    attempt("fill the disk", lambda: _fill(BAIT["tmp_bytes"]))
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    say("threads work", True)


def _fill(limit: int) -> int:
    with open("filled", "wb", buffering=0) as file:
        written = 0
        while written <= limit:
            piece = file.write(bytes(65536))
            if not piece:
                raise OSError("nothing more is written")
            written += piece
    return written


def main() -> None:
    """Take the bait, try everything."""
    BAIT.update(json.loads(sys.stdin.readline()))
    for part in (system_calls, processes, network, secrets, writing, resources):
        part()
    say("all probes ran", True)


if __name__ == "__main__":
    main()
