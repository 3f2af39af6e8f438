"""The outer walls of a fork server, built once: own mounts, network, hostname and IPC, and no privileges.

What is seen inside afterwards: the standard library, the folders of the shared libraries that the interpreter uses,
the folders named by the caller, /dev/null, /dev/zero and /dev/urandom, all read-only, and empty folders /tmp and
/dev/shm for the runs to mount on. No /proc, no /sys, no /etc, no home.

Order matters. A launcher that is root binds first and drops its user id then: the interpreter may lie below a folder
that only root can enter, and a box whose user is root outside would be a way out. A launcher that is not root first
becomes powerful in a user namespace of its own.

Runs inside the fork server, which is sent as text: it imports nothing of the package.
"""

import os
import socket
import sys
from collections.abc import Sequence

from . import kernel

NOBODY = 65534
DEVICES = ("null", "zero", "urandom")
MASKED = ("site-packages", "dist-packages")
"""Folders below the standard library with packages that nobody asked to show."""


def build(linux: kernel.Kernel, packages: Sequence[str]) -> None:
    """Build the walls around this process, and give up its privileges.

    Args:
        packages: folders that are bound read-only and added to the module path.

    Raises:
        OSError: the kernel refuses one of the steps.
    """
    private = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC
    was_root = os.geteuid() == 0
    uid, gid = os.geteuid(), os.getegid()
    linux.unshare(private if was_root else private | kernel.CLONE_NEWUSER)
    if not was_root:
        map_ids(os.open("/proc", os.O_PATH), uid, uid, gid, gid)
    shown = _folders(packages)
    sys.path[:] = [os.path.realpath(place) for place in sys.path if os.path.isdir(place)]
    sys.path += [os.path.realpath(place) for place in packages]
    _mount_all(linux, shown)
    socket.sethostname("box")
    if was_root:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    linux.drop_capabilities()
    linux.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    # A change of ids makes a process's files in /proc root's; the children have to write their id maps there.
    linux.prctl(kernel.PR_SET_DUMPABLE, 1)


def map_ids(proc: int, uid: int, outer_uid: int, gid: int, outer_gid: int) -> None:
    """Name the one user and the one group of this process's new user namespace.

    Args:
        proc: descriptor of the /proc of the process namespace in which the fork server lives.
        uid, gid: as seen inside; outer_uid, outer_gid: as seen outside.
    """
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        file = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)


def _folders(packages: Sequence[str]) -> list[str]:
    """What a box may read, real paths: standard library, shared libraries, packages. Folders of others come first."""
    wanted = {os.path.realpath(place) for place in sys.path if os.path.isdir(place)} | _library_folders()
    wanted |= {os.path.realpath(place) for place in packages}
    return sorted(wanted)


def _library_folders() -> set[str]:
    """Folders of the shared libraries that this interpreter has loaded; more of them lie beside those."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if line.count("/")}
    return {os.path.realpath(os.path.dirname(path)) for path in paths if ".so" in os.path.basename(path)}


def _mount_all(linux: kernel.Kernel, shown: Sequence[str]) -> None:
    linux.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    base = next(place for place in ("/tmp", "/var", "/mnt", "/dev") if os.path.isdir(place))
    linux.mount("box", base, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    os.mkdir(f"{base}/old")
    linux.pivot_root(base, f"{base}/old")
    os.chdir("/")
    for folder in shown:
        _bind(linux, folder, is_folder=True)
        linux.protect(folder, kernel.ATTR_NODEV)
        for name in MASKED:
            place = f"{folder}/{name}"
            if os.path.isdir(place) and place not in shown:
                linux.mount("none", place, "tmpfs", kernel.MS_NODEV, "size=1m,mode=755")
    for name in DEVICES:
        _bind(linux, f"/dev/{name}", is_folder=False)
    for folder in ("/tmp", "/dev/shm"):
        os.mkdir(folder)
    linux.unmount("/old")
    os.rmdir("/old")
    linux.protect("/", kernel.ATTR_RDONLY | kernel.ATTR_NOSUID)


def _bind(linux: kernel.Kernel, path: str, *, is_folder: bool) -> None:
    """Show a folder or file of the old root at the same place of the new one."""
    if not os.path.exists(path):
        os.makedirs(path if is_folder else os.path.dirname(path), exist_ok=True)
        if not is_folder:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    linux.mount(f"/old{path}", path, "", kernel.MS_BIND | kernel.MS_REC)
