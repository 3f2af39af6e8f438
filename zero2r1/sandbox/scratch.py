"""The private directory of a box that has no mounts of its own: made empty, measured while in use, removed after.

A program may try to fill the disk with many files, with files it has removed but holds open, or with trees so deep
that removing them fails. So measuring is bounded, and removing goes step by step: no recursion, no long paths.
"""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

MAX_ENTRIES = 4096
"""Ours: more files than this count as too much, whatever their size."""
MAX_DEPTH = 64
"""Ours: directories in directories, more than any project has."""
FALLBACKS = (Path("/tmp"), Path("/var/tmp"))
"""Where TMPDIR is closed to others."""
BLOCK = 512
"""Bytes in a unit of st_blocks."""


class Scratch:
    """One private directory.

    Args:
        owner: uid that may use it; None: our own.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, owner: int | None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="box-", dir=None if owner is None else _place_for_others()))
        if owner is not None:
            os.chown(self.path, owner, owner)
        os.utime(self.path, ns=(0, 0))  # so that any use shows, however coarse the clock of the disk
        self._disk = self.path.stat().st_dev

    def is_over(self, limit: int, pid: int) -> bool:
        """Whether it holds more bytes than allowed, those of removed files that process `pid` holds open included."""
        try:
            if self.path.stat().st_mtime_ns == 0:
                return False  # nothing was ever made here
            size, num_left, places = self._held_open(pid), MAX_ENTRIES, [(0, self.path)]
            while places:
                depth, place = places.pop()
                if depth > MAX_DEPTH:
                    return True
                with suppress(FileNotFoundError), os.scandir(place) as entries:
                    for entry in entries:
                        num_left -= 1
                        if entry.is_dir(follow_symlinks=False):
                            places.append((depth + 1, Path(entry.path)))
                        with suppress(FileNotFoundError):  # removed while we looked
                            size += entry.stat(follow_symlinks=False).st_blocks * BLOCK
                        if size > limit or num_left < 0:
                            return True
        except FileNotFoundError:
            return False  # all of it is gone
        except OSError:
            return True  # unreadable: nothing an honest program makes
        return size > limit

    def remove(self) -> None:
        """Remove it and all it holds. The process that used it is gone, so nothing changes meanwhile."""
        with suppress(FileNotFoundError):
            top = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                _empty(top)
            finally:
                os.close(top)
            self.path.rmdir()

    def _held_open(self, pid: int) -> int:
        """Bytes of removed files on the same disk that a process holds open; 0 where we may not look."""
        size = 0
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    found = os.stat(f"/proc/{pid}/fd/{name}")
                    is_ours = found.st_dev == self._disk and stat.S_ISREG(found.st_mode)
                    size += found.st_blocks * BLOCK if is_ours and not found.st_nlink else 0
        return size


def can_walk_to(path: Path) -> bool:
    """Whether any user may enter all directories above this one."""
    return all(parent.stat().st_mode & 0o1 for parent in path.resolve().parents)


def _place_for_others() -> Path:
    """Where another user can use a directory by its path: programs make temporary files by absolute names.

    Raises:
        OSError: there is no such place.
    """
    for place in (Path(tempfile.gettempdir()), *FALLBACKS):
        if place.is_dir() and place.stat().st_mode & 0o1 and can_walk_to(place):
            return place
    raise OSError(f"no directory for temporary files that every user may enter; TMPDIR is {tempfile.gettempdir()}")


def _empty(top: int) -> None:
    """Remove everything in an open directory, deepest first, with one descriptor and names of one step."""
    here, names, waiting = os.dup(top), [""], [_without_files(top)]
    try:
        while names:
            if waiting[-1]:
                names.append(waiting[-1].pop())
                os.chmod(names[-1], 0o700, dir_fd=here)
                here = _step(here, names[-1])
                waiting.append(_without_files(here))
            elif len(names) > 1:
                here = _step(here, "..")
                waiting.pop()
                os.rmdir(names.pop(), dir_fd=here)
            else:
                names.pop()
    finally:
        os.close(here)


def _step(here: int, name: str) -> int:
    """The directory of this name, opened in place of `here`."""
    there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
    os.close(here)
    return there


def _without_files(place: int) -> list[str]:
    """Remove all that is no directory; the names of the directories."""
    directories = []
    for name in os.listdir(place):
        if _is_directory(name, place):
            directories.append(name)
        else:
            os.unlink(name, dir_fd=place)
    return directories


def _is_directory(name: str, place: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)
