"""System calls that Python's standard library does not offer, by ctypes. Linux on x86-64 and aarch64.

Runs inside the fork server, which is sent as text: it imports nothing of the package. What is not here: any decision.
"""

import ctypes
import os
import struct
from contextlib import suppress

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
SECCOMP_MODE_FILTER = 2
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
EINVAL = 22
M_ARENA_MAX = -8

# Numbers of the calls by machine; mount_setattr and close_range are the same on every architecture.
CALLS = {
    "x86_64": {"clone": 56, "capset": 126, "pivot_root": 155},
    "aarch64": {"clone": 220, "capset": 91, "pivot_root": 41},
}
CLOSE_RANGE, MOUNT_SETATTR = 436, 442


class Kernel:
    """The calls, bound to this process's libc. Every method raises OSError when the kernel refuses.

    Raises:
        OSError: on a machine whose call numbers are not in the table.
    """

    def __init__(self) -> None:
        machine = os.uname().machine
        if machine not in CALLS:
            raise OSError(f"no table of system calls for {machine}")
        self._calls = CALLS[machine]
        # PyDLL keeps the interpreter's lock held across the call: after `clone` the child goes on with it.
        self._libc = ctypes.PyDLL(None, use_errno=True)

    def clone(self, namespaces: int, signal: int) -> int:
        """Fork into new namespaces: 0 in the child, its process id in the parent. `signal` tells the parent its end.

        os.fork cannot take namespaces, and unshare + fork would cost one more process a run. libc's idea of the
        thread id is stale in the child; the child may only set up and fork again, it starts no thread.
        """
        ctypes.pythonapi.PyOS_BeforeFork()
        pid = int(self._libc.syscall(self._calls["clone"], ctypes.c_long(namespaces | signal), 0, 0, 0, 0))
        if pid == 0:
            ctypes.pythonapi.PyOS_AfterFork_Child()
        else:
            wrong = ctypes.get_errno()
            ctypes.pythonapi.PyOS_AfterFork_Parent()
            if pid < 0:
                raise OSError(wrong, f"clone: {os.strerror(wrong)}")
        return pid

    def spare_address_space(self) -> None:
        """One heap for all threads: glibc's default reserves 64 MiB a thread. Other C libraries need no such word."""
        with suppress(AttributeError):
            self._libc.mallopt(M_ARENA_MAX, 1)

    def unshare(self, namespaces: int) -> None:
        """Move this process into new namespaces."""
        self._check("unshare", self._libc.unshare(namespaces))

    def mount(self, source: str, target: str, kind: str, flags: int, options: str = "") -> None:
        """mount(2)."""
        words = [word.encode() or None for word in (source, target, kind)]
        code = self._libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None)
        self._check(f"mount {kind or 'bind'} on {target}", code)

    def protect(self, target: str, attributes: int) -> None:
        """Set attributes of a mount and of all mounts below it (mount_setattr, Linux 5.12)."""
        wanted = ctypes.create_string_buffer(struct.pack("QQQQ", attributes, 0, 0, 0), 32)
        code = self._libc.syscall(MOUNT_SETATTR, AT_FDCWD, target.encode(), AT_RECURSIVE, wanted, ctypes.c_size_t(32))
        self._check(f"mount_setattr {target}", code)

    def unmount(self, target: str) -> None:
        """Take a mount and all below it out of sight."""
        self._check(f"umount {target}", self._libc.umount2(target.encode(), MNT_DETACH))

    def pivot_root(self, new: str, old: str) -> None:
        """Make the mount `new` the root; the former root is at `old`, a folder below it."""
        self._check("pivot_root", self._libc.syscall(self._calls["pivot_root"], new.encode(), old.encode()))

    def prctl(self, option: int, value: int, buffer: "ctypes.Array[ctypes.c_char] | None" = None) -> None:
        """prctl(2) with a number and perhaps the address of a buffer."""
        zero = ctypes.c_ulong(0)
        code = self._libc.prctl(option, ctypes.c_ulong(value), zero if buffer is None else buffer, zero, zero)
        self._check(f"prctl {option}", code)

    def die_with_parent(self, signal: int) -> None:
        """Ask for a signal when the parent ends. Changing the user or group id clears it: ask again after that."""
        self.prctl(PR_SET_PDEATHSIG, signal)

    def bound_capabilities(self) -> None:
        """No capability after any exec. Needs CAP_SETPCAP."""
        for capability in range(64):
            try:
                self.prctl(PR_CAPBSET_DROP, capability)
            except OSError as refused:
                if refused.errno == EINVAL:  # beyond the last capability of this kernel
                    break
                raise

    def drop_capabilities(self) -> None:
        """No capability from now on."""
        self.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        header = ctypes.create_string_buffer(struct.pack("II", 0x20080522, 0), 8)
        nothing = ctypes.create_string_buffer(bytes(24), 24)
        self._check("capset", self._libc.syscall(self._calls["capset"], header, nothing))

    def filter_calls(self, program: bytes) -> None:
        """Install a seccomp filter, 8 bytes an instruction, for this process and all it starts. It never comes off."""
        self.prctl(PR_SET_NO_NEW_PRIVS, 1)
        code = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
        self.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header, len(header)))

    def close_from(self, first: int) -> None:
        """Close every descriptor from `first` on."""
        self._check("close_range", self._libc.syscall(CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(2**32 - 1), 0))

    def _check(self, what: str, code: int) -> None:
        if code != 0:
            wrong = ctypes.get_errno()
            raise OSError(wrong, f"{what}: {os.strerror(wrong)}")
