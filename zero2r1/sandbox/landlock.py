"""Landlock: which files a box may read, and the one directory it may write, without mounts or privileges.

A ruleset is built here, by the trusted side, and handed to a box as a file descriptor; the box binds itself to it. So
a rule can name a place that the box itself could no longer reach by its path. What a ruleset does not name is denied.

Newer kernels can deny more (truncating by path, connecting, signalling other processes, abstract sockets); `ruleset`
asks for all that this kernel has. seccomp denies the same calls, so that an older kernel is no weaker where it
matters. What Landlock cannot deny at all: to look at the name, size and times of a file.
"""

import ctypes
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the three system calls, on every architecture."""
ASK_VERSION = 1
BENEATH_PATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
TRUNCATE = 1 << 14

READ = READ_FILE | READ_DIR
"""Shared libraries are mapped, which is reading; nothing in a box is ever executed."""
SCRATCH = READ_FILE | READ_DIR | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | TRUNCATE
"""Plain files and directories, read, written, removed; no sockets, pipes, devices or links."""
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
"""Rights that a rule about a single file may name."""

HANDLED_FS: Mapping[int, int] = MappingProxyType({1: 2**13 - 1, 2: 2**14 - 1, 3: 2**15 - 1, 5: 2**16 - 1})
"""Version -> rights over files it knows: 2 adds linking across directories, 3 truncating, 5 ioctl on devices."""
NET_SINCE, NET = 4, 0b11
"""Binding and connecting TCP ports."""
SCOPES_SINCE, SCOPES = 6, 0b11
"""Abstract unix sockets and signals to anything outside the box."""
QUIET_SINCE, QUIET = 7, 0b1
"""Do not fill the system's audit log with what a program was denied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a box may reach."""

    readable: Sequence[Path]
    """Directories and files; what does not exist is passed over."""
    scratch: Path
    """The directory it may write in."""
    devices: Sequence[Path] = field(default=(Path("/dev/null"),))
    """Files that may be read and written."""


def version() -> int:
    """The version of Landlock this kernel offers; 0 where there is none or it is forbidden."""
    return max(_call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(ASK_VERSION)), 0)


def handled(abi: int) -> tuple[int, int, int]:
    """Rights over files, over TCP ports, and scopes that a ruleset of this version denies unless a rule allows them."""
    files = max((since, rights) for since, rights in HANDLED_FS.items() if since <= abi)[1]
    return files, NET if abi >= NET_SINCE else 0, SCOPES if abi >= SCOPES_SINCE else 0


def attributes(abi: int) -> bytes:
    """struct landlock_ruleset_attr for a version: as many 8-byte words as that version knows."""
    files, net, scopes = handled(abi)
    words = (files, net, scopes) if abi >= SCOPES_SINCE else (files, net) if abi >= NET_SINCE else (files,)
    return struct.pack(f"={len(words)}Q", *words)


def restrict_flags(abi: int) -> int:
    """What a box passes to landlock_restrict_self."""
    return QUIET if abi >= QUIET_SINCE else 0


def ruleset(access: Access) -> tuple[int, int]:
    """A ruleset as (file descriptor, flags for landlock_restrict_self). The caller closes the descriptor.

    Raises:
        OSError: Landlock cannot be had here, or a rule was refused.
    """
    abi = version()
    if abi < 1:
        raise OSError("this kernel offers no Landlock, or it is forbidden here")
    content = attributes(abi)
    made = _call(CREATE_RULESET, content, ctypes.c_size_t(len(content)), ctypes.c_uint32(0))
    if made < 0:
        raise _problem("no Landlock ruleset")
    try:
        for path in access.readable:
            _allow(made, path, READ, handled(abi)[0])
        for path in access.devices:
            _allow(made, path, READ_FILE | WRITE_FILE | TRUNCATE, handled(abi)[0])
        _allow(made, access.scratch, SCRATCH, handled(abi)[0])
    except OSError:
        os.close(made)
        raise
    return made, restrict_flags(abi)


def _allow(made: int, path: Path, rights: int, known: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights &= known if path.is_dir() else known & OF_FILES
        rule = struct.pack("=Qi", rights, place)
        if _call(ADD_RULE, ctypes.c_int(made), ctypes.c_int(BENEATH_PATH), rule, ctypes.c_uint32(0)) < 0:
            raise _problem(f"no Landlock rule for {path}")
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    """A system call; -1 and ctypes' errno on failure."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    return int(libc.syscall(ctypes.c_long(number), *arguments))


def _problem(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")
