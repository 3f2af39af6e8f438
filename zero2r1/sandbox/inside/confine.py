"""Tier B, inside: takes every right away from its own process and then runs the program it was given.

Started by exec, with no environment worth reading, as `python -s -S -P -B -c <this text> <arguments>` in the scratch
directory. The order matters: what needs rights comes first, the filter of system calls last. Whatever goes wrong
before the program starts is written to the report pipe and ends the process; a program that starts is announced there
with "ok".

Runs inside a box, sent as text: it imports nothing of the package.
"""

import ctypes
import os
import resource
import sys
import types
from contextlib import suppress

RESTRICT_SELF = 446
"""landlock_restrict_self, on every architecture."""
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
SECCOMP_MODE_FILTER = 2
SIGKILL = 9
FAILED = 70


class Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def need(result: int, what: str) -> None:
    """Raise OSError for a system call that failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def die_with_harness(libc: ctypes.CDLL, harness: int) -> None:
    """Ask for SIGKILL when the thread that started us ends; it may have ended already."""
    need(libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "no death signal")
    if os.getppid() != harness:
        os._exit(FAILED)


def drop(uid: int) -> None:
    """Become an ordinary user without groups; all capabilities go with uid 0."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
        raise OSError("still privileged")


def limit(wanted: str) -> None:
    """Resource limits `number:value,number:value`, no higher than what we have."""
    for text in wanted.split(","):
        kind, most = map(int, text.split(":"))
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))


def offer_to_the_oom_killer() -> None:
    """When the machine runs out of memory, a box goes before anything else."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def find_modules(stdlib: str, opened: str, packages: list[str]) -> None:
    """Import from directories that are open already, for one who may no longer walk to them by name."""
    sys.path[:] = [path.replace(stdlib, opened, 1) for path in sys.path if path.startswith(stdlib)] + packages
    for module in list(sys.modules.values()):
        places = getattr(module, "__path__", None)
        if isinstance(places, list):
            places[:] = [place.replace(stdlib, opened, 1) for place in places]


def confine(libc: ctypes.CDLL, rules: int, flags: int, code: bytes) -> None:
    """Landlock, then seccomp. Neither can be undone."""
    need(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    need(libc.syscall(ctypes.c_long(RESTRICT_SELF), ctypes.c_int(rules), ctypes.c_uint32(flags)), "Landlock")
    os.close(rules)
    buffer = ctypes.create_string_buffer(code, len(code))
    calls = Filter(len(code) // 8, ctypes.addressof(buffer))
    need(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(calls), 0, 0), "seccomp")


def prepare(arguments: list[str]) -> bytes:
    """Everything before the program starts. Returns its source.

    Args:
        arguments: descriptors of the program and of the Landlock ruleset, the ruleset's flags, the user to become
            (-1: stay), the process that started us; limits, filter in hexadecimal, the library's directory, the name
            by which it is found after the drop, package directories.
    """
    program, rules, flags, uid, harness = map(int, arguments[:5])
    limits, code, stdlib, opened, *packages = arguments[5:]
    libc = ctypes.CDLL(None, use_errno=True)
    die_with_harness(libc, harness)
    with open(program, "rb") as file:
        source = file.read()
    offer_to_the_oom_killer()
    limit(limits)
    if uid >= 0:
        drop(uid)
        die_with_harness(libc, harness)  # changing the user has cleared it
    find_modules(stdlib, opened, packages)
    sys.orig_argv = []
    os.environ.clear()
    if packages:  # numerical libraries would start a thread for each core they see and reserve memory for each
        os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    confine(libc, rules, flags, bytes.fromhex(code))
    return source


def main() -> None:
    """Prepare, announce, run."""
    report, text = int(sys.argv[1]), sys.argv[2]
    try:
        runner = types.ModuleType("runner")
        exec(compile(text, "<runner>", "exec"), runner.__dict__)
        source = prepare(sys.argv[3:])
        runner.open_streams()
        os.write(report, b"ok")
        os.close(report)
    except BaseException as problem:  # noqa: BLE001  whatever it is, no program runs in a box that is not closed
        os.write(report, ascii(problem).encode()[:500])
        os._exit(FAILED)
    os._exit(runner.run_program(source))


if __name__ == "__main__":
    main()
