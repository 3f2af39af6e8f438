"""The system calls a box may use, as a filter for the kernel: an allowlist, everything else is refused.

`filter_program` writes a program of the kernel's classic packet filter (an array of struct sock_filter), to be loaded
with no_new_privs by what runs inside a box. A box may compute, use memory and threads, read and write files that
other walls (mounts, Landlock) let it reach, and tell the time. It may not start processes, signal anyone, open
sockets to anyone, or touch the kernel's other interfaces.

Refused calls give EPERM. Calls that C libraries know how to do without give ENOSYS, and so do calls newer than these
tables. A call made through another architecture's entry kills the process.

What is deliberately not allowed, though it looks harmless: changing modes, owners, times or attributes of files and
truncating by path (Landlock does not watch all of these), signals to oneself (`abort` still ends the process), hard
and symbolic links, scheduling, and owners of a file descriptor's signals (they are a way to signal others).
"""

import platform
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand."""

LOAD, AND, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
"""Load a word of the call's data; and with a constant; compare with a constant; end."""
AT_NUMBER, AT_ARCHITECTURE, AT_ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data; an argument has 8 bytes, low word first (both architectures are little-endian)."""
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS, EOPNOTSUPP = 1, 38, 95
X32_BIT = 0x40000000
"""Numbers with this bit belong to the x32 interface of x86-64."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """How one kind of machine numbers its calls."""

    audit: int
    """The kernel's name for it (AUDIT_ARCH)."""
    numbers: Mapping[str, int]
    """Name -> number of each call that is mentioned in a rule."""
    newest: int
    """The highest number these tables were checked against."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A call is allowed if one argument, masked, is one of some values.

    Attributes:
        argument: 0 to 5.
        values: allowed values of the low word after masking.
        mask: applied to the low word first.
        is_wide: the high word has to be 0 too (pointers).
        otherwise: error number of a refusal.
    """

    argument: int
    values: Sequence[int]
    mask: int = 0xFFFFFFFF
    is_wide: bool = False
    otherwise: int = EPERM


CLONE_THREAD, CLONE_NEW = 0x10000, 0x7E020000
"""A thread of this process; the seven kinds of new namespaces."""
O_TRUNC, O_ACCMODE, O_TMPFILE = 0o1000, 0o3, 0o20000000
WRITING = (0, 1, 2, O_TRUNC | 1, O_TRUNC | 2)
"""Ours: truncating while opening for reading would slip past the older versions of Landlock."""

ALLOWED: Mapping[str, str] = MappingProxyType(
    {
        "bytes of open files": (
            "read write readv writev pread64 pwrite64 preadv pwritev lseek close close_range dup dup2 dup3 pipe "
            "pipe2 flock fsync fdatasync ftruncate fallocate fadvise64 getdents64 poll ppoll select pselect6 "
            "epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 recvfrom getsockname"
        ),
        "names, as far as mounts and Landlock let them be reached": (
            "stat fstat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getcwd chdir "
            "fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 umask"
        ),
        "memory": "mmap munmap mprotect mremap madvise brk msync membarrier",
        "threads": (
            "futex set_robust_list rseq set_tid_address sched_yield sched_getaffinity getcpu gettid exit exit_group"
        ),
        "identity": (
            "getpid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgid getpgrp getsid "
            "getrusage getrlimit uname sysinfo getrandom"
        ),
        "signals to oneself, by the clock": (
            "rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigsuspend sigaltstack "
            "restart_syscall pause alarm getitimer setitimer"
        ),
        "time": "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times",
    }
)
"""Purpose -> calls allowed whatever their arguments are."""

CONDITIONS: Mapping[str, tuple[Condition, ...]] = MappingProxyType(
    {
        "clone": (Condition(0, (CLONE_THREAD,), mask=CLONE_THREAD | CLONE_NEW),),
        # Opening: see WRITING; nameless files would be invisible to whoever counts the bytes of a directory.
        "open": (
            Condition(1, (0,), mask=O_TMPFILE, otherwise=EOPNOTSUPP),
            Condition(1, WRITING, mask=O_TRUNC | O_ACCMODE),
        ),
        "openat": (
            Condition(2, (0,), mask=O_TMPFILE, otherwise=EOPNOTSUPP),
            Condition(2, WRITING, mask=O_TRUNC | O_ACCMODE),
        ),
        # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, the three of locks, F_DUPFD_CLOEXEC, F_GETPIPE_SZ.
        "fcntl": (Condition(1, (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)),),
        # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS2. Above all not TIOCSTI.
        "ioctl": (Condition(1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A)),),
        # PR_SET_NAME, PR_GET_NAME. Above all not PR_SET_PDEATHSIG.
        "prctl": (Condition(0, (15, 16)),),
        # One's own limits, reading only.
        "prlimit64": (Condition(0, (0,)), Condition(2, (0,), is_wide=True)),
        # A pair of connected sockets (AF_UNIX): event loops wake themselves with it. It reaches nobody else.
        "socketpair": (Condition(0, (1,)),),
        "sendto": (Condition(4, (0,), is_wide=True),),
    }
)
"""Allowed if every condition holds."""

UNKNOWN: tuple[str, ...] = ("clone3", "openat2")
"""Answered as a kernel would that does not have them: C libraries then use the older call, which can be filtered."""

# fmt: off
X86_64: Mapping[str, int] = MappingProxyType({
    "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15,
    "ioctl": 16, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "access": 21, "pipe": 22, "select": 23,
    "sched_yield": 24, "mremap": 25, "msync": 26, "madvise": 28, "dup": 32, "dup2": 33, "pause": 34, "nanosleep": 35,
    "getitimer": 36, "alarm": 37, "setitimer": 38, "getpid": 39, "sendto": 44, "recvfrom": 45, "getsockname": 51,
    "socketpair": 53, "clone": 56, "exit": 60, "uname": 63, "fcntl": 72, "flock": 73, "fsync": 74, "fdatasync": 75,
    "ftruncate": 77, "getcwd": 79, "chdir": 80, "fchdir": 81, "rename": 82, "mkdir": 83, "rmdir": 84, "unlink": 87,
    "readlink": 89, "umask": 95, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100,
    "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "getpgrp": 111, "getgroups": 115,
    "getresuid": 118, "getresgid": 120, "getpgid": 121, "getsid": 124, "rt_sigpending": 127, "rt_sigtimedwait": 128,
    "rt_sigsuspend": 130, "sigaltstack": 131, "prctl": 157, "gettid": 186, "time": 201, "futex": 202,
    "sched_getaffinity": 204, "getdents64": 217, "set_tid_address": 218, "restart_syscall": 219, "fadvise64": 221,
    "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231, "epoll_wait": 232,
    "epoll_ctl": 233, "openat": 257, "mkdirat": 258, "newfstatat": 262, "unlinkat": 263, "renameat": 264,
    "readlinkat": 267, "faccessat": 269, "pselect6": 270, "ppoll": 271, "set_robust_list": 273, "epoll_pwait": 281,
    "fallocate": 285, "eventfd2": 290, "epoll_create1": 291, "dup3": 292, "pipe2": 293, "preadv": 295, "pwritev": 296,
    "prlimit64": 302, "getcpu": 309, "renameat2": 316, "getrandom": 318, "membarrier": 324, "statx": 332, "rseq": 334,
    "clone3": 435, "close_range": 436, "openat2": 437, "faccessat2": 439,
})
AARCH64: Mapping[str, int] = MappingProxyType({
    "getcwd": 17, "eventfd2": 19, "epoll_create1": 20, "epoll_ctl": 21, "epoll_pwait": 22, "dup": 23, "dup3": 24,
    "fcntl": 25, "ioctl": 29, "flock": 32, "mkdirat": 34, "unlinkat": 35, "renameat": 38, "ftruncate": 46,
    "fallocate": 47, "faccessat": 48, "chdir": 49, "fchdir": 50, "openat": 56, "close": 57, "pipe2": 59,
    "getdents64": 61, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "pwrite64": 68,
    "preadv": 69, "pwritev": 70, "pselect6": 72, "ppoll": 73, "readlinkat": 78, "newfstatat": 79, "fstat": 80,
    "fsync": 82, "fdatasync": 83, "exit": 93, "exit_group": 94, "set_tid_address": 96, "futex": 98,
    "set_robust_list": 99, "nanosleep": 101, "getitimer": 102, "setitimer": 103, "clock_gettime": 113,
    "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124, "restart_syscall": 128,
    "sigaltstack": 132, "rt_sigsuspend": 133, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigpending": 136,
    "rt_sigtimedwait": 137, "rt_sigreturn": 139, "getresuid": 148, "getresgid": 150, "times": 153, "getpgid": 155,
    "getsid": 156, "getgroups": 158, "uname": 160, "getrlimit": 163, "getrusage": 165, "umask": 166, "prctl": 167,
    "getcpu": 168, "gettimeofday": 169, "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175, "getgid": 176,
    "getegid": 177, "gettid": 178, "sysinfo": 179, "socketpair": 199, "getsockname": 204, "sendto": 206,
    "recvfrom": 207, "brk": 214, "munmap": 215, "mremap": 216, "clone": 220, "mmap": 222, "fadvise64": 223,
    "mprotect": 226, "msync": 227, "madvise": 233, "prlimit64": 261, "renameat2": 276, "getrandom": 278,
    "membarrier": 283, "statx": 291, "rseq": 293, "clone3": 435, "close_range": 436, "openat2": 437, "faccessat2": 439,
})
# fmt: on

ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "x86_64": Architecture(audit=0xC000003E, numbers=X86_64, newest=450),
        "aarch64": Architecture(audit=0xC00000B7, numbers=AARCH64, newest=450),
    }
)


def filter_program(arch: str | None = None) -> bytes:
    """The allowlist as an array of struct sock_filter, 8 bytes an instruction.

    Args:
        arch: `x86_64` or `aarch64`; None: of this machine.

    Raises:
        OSError: there is no table for this architecture.
    """
    name = arch or platform.machine()
    if name not in ARCHITECTURES:
        raise OSError(f"no table of system calls for {name}; there are {', '.join(ARCHITECTURES)}")
    machine = ARCHITECTURES[name]
    code: list[Instruction] = [
        (LOAD, 0, 0, AT_ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, machine.audit),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, AT_NUMBER),
        (JUMP_AT_LEAST, 0, 1, X32_BIT),
        (RETURN, 0, 0, ERRNO | EPERM),
        (JUMP_AT_LEAST, 0, 1, machine.newest + 1),
        (RETURN, 0, 0, ERRNO | ENOSYS),
    ]
    free = [call for calls in ALLOWED.values() for call in calls.split()]
    rules: list[tuple[str, list[Instruction]]] = [(call, [(RETURN, 0, 0, ALLOW)]) for call in free]
    rules += [(call, _body(conditions)) for call, conditions in CONDITIONS.items()]
    rules += [(call, [(RETURN, 0, 0, ERRNO | ENOSYS)]) for call in UNKNOWN]
    for call, body in rules:
        if call in machine.numbers:  # the younger architecture has no number for calls that newer ones replaced
            code += [(JUMP_EQUAL, 0, len(body), machine.numbers[call]), *body]
    code.append((RETURN, 0, 0, ERRNO | EPERM))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _body(conditions: Sequence[Condition]) -> list[Instruction]:
    """What decides on one call: each failed condition returns its error, the end allows."""
    body: list[Instruction] = []
    for condition in conditions:
        refuse: Instruction = (RETURN, 0, 0, ERRNO | condition.otherwise)
        low = AT_ARGUMENTS + 8 * condition.argument
        if condition.is_wide:
            body += [(LOAD, 0, 0, low + 4), (JUMP_EQUAL, 1, 0, 0), refuse]
        body += [(LOAD, 0, 0, low), (AND, 0, 0, condition.mask)]
        num_left = len(condition.values)
        for value in condition.values:
            # A match jumps over the values that are left and over the refusal.
            body.append((JUMP_EQUAL, num_left, 0, value))
            num_left -= 1
        body.append(refuse)
    return [*body, (RETURN, 0, 0, ALLOW)]
