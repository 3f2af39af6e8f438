"""Files and directories that are whole or absent, whatever moment the power goes.

The order is always: write aside, fsync what was written, rename, fsync the directory that holds the name. A directory
carries `MANIFEST.json` with the sha256 of each of its files, so that damage is found and named.

Not promised: survival of a disk that lies about fsync; locking (core/run.py).
"""

import errno
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from zero2r1.core.errors import RunError

MANIFEST = "MANIFEST.json"
CHUNK_BYTES = 1 << 20


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace a file so that a reader, or a crash, sees the old one or the new one and nothing between.

    Raises:
        RunError: Z406 when the disk is full; the old file is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    raw = data.encode("utf-8") if isinstance(data, str) else data
    try:
        with temporary.open("wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _no_space(path) from None
        raise
    _sync(path.parent)


def write_json_atomic(path: Path, value: object) -> None:
    """`write_atomic` of readable JSON with sorted keys; NaN and infinity are refused (ValueError)."""
    write_atomic(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> object:
    """Parse a JSON file.

    Raises:
        RunError: Z403 when it is missing, Z411 when it is not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise RunError("Z403", "file is missing", where=str(path)) from None
    except ValueError as error:
        raise RunError(
            "Z411", f"not JSON: {error}", where=str(path), fix="restore the file or remove its folder"
        ) from None


def directory_hash(directory: Path) -> dict[str, str]:
    """sha256 (64 hex digits) of every file below a directory by its relative POSIX path; `MANIFEST.json` left out.

    Raises:
        RunError: Z403 for a symbolic link: what it points to could change unseen.
    """
    directory = Path(directory)
    hashes: dict[str, str] = {}
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory).as_posix()
        if path.is_symlink():
            raise RunError("Z403", f"symbolic link {relative!r} in a committed directory", where=str(directory))
        if path.is_file() and relative != MANIFEST:
            hashes[relative] = file_hash(path)
    return hashes


def file_hash(path: Path) -> str:
    """sha256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def commit_directory(
    temporary: Path,
    final: Path,
    before_rename: Callable[[], None] | None = None,
) -> None:
    """Turn a directory written aside into a finished one, all at once.

    Every file is fsynced, `MANIFEST.json` (sha256 and size of every file) is written last, directories are fsynced,
    then comes the rename and the fsync of the parent. After a crash `final` is whole or absent.

    Args:
        temporary: the directory, on the same file system as `final`.
        final: must not exist.
        before_rename: called just before the rename; tests crash here.

    Raises:
        RunError: Z412 when `final` exists.
    """
    temporary, final = Path(temporary), Path(final)
    if final.exists():
        raise RunError(
            "Z412", "output exists already", where=str(final), fix="remove it, or resume the run that made it"
        )
    files = directory_hash(temporary)
    for relative in files:
        _sync(temporary / relative)
    manifest = {
        "schema_version": 1,
        "files": {
            relative: {"sha256": value, "bytes": (temporary / relative).stat().st_size}
            for relative, value in files.items()
        },
    }
    write_json_atomic(temporary / MANIFEST, manifest)
    for folder in sorted((path for path in temporary.rglob("*") if path.is_dir()), reverse=True):
        _sync(folder)
    _sync(temporary)
    if before_rename is not None:
        before_rename()
    os.rename(temporary, final)
    _sync(final.parent)


def verify_directory(directory: Path) -> dict[str, object]:
    """Check a committed directory against its manifest and give the manifest back.

    Raises:
        RunError: Z403 naming the first file that is missing, added or changed, or the manifest itself.
    """
    directory = Path(directory)
    manifest = read_json(directory / MANIFEST)
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(manifest, dict) or not isinstance(listed, dict):
        raise RunError("Z403", f"{MANIFEST} lists no files", where=str(directory / MANIFEST))
    found = directory_hash(directory)
    for relative in sorted(listed.keys() | found.keys()):
        entry = listed.get(relative)
        expected = entry.get("sha256") if isinstance(entry, dict) else None
        if relative not in found:
            reason = "is missing"
        elif expected is None:
            reason = "is not in the manifest"
        elif found[relative] != expected:
            reason = "is damaged"
        else:
            continue
        raise RunError(
            "Z403",
            f"file {relative!r} {reason}",
            where=str(directory / relative),
            why=f"its sha256 should be {expected}" if expected else "",
            fix="remove the directory; the one before it will be used",
        )
    return manifest


def remove_directory(directory: Path) -> None:
    """Remove a committed directory so that a crash leaves it whole or without its name: renamed aside first."""
    directory = Path(directory)
    aside = directory.with_name(f".{directory.name}.removed")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(directory, aside)
    _sync(directory.parent)
    shutil.rmtree(aside)


def remove_leftovers(directory: Path) -> list[Path]:
    """Remove what killed writers left below a directory: hidden names that end in `.tmp` or `.removed`.

    Only for the one process that may write there; returns what was removed.
    """
    left = [path for end in ("tmp", "removed") for path in Path(directory).rglob(f".*.{end}")]
    for path in left:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)  # one leftover may lie inside another
        else:
            path.unlink(missing_ok=True)
    return left


def _no_space(path: Path) -> RunError:
    return RunError(
        "Z406",
        "no space left on the disk",
        where=str(path),
        why="nothing was replaced: the file of before, and the last checkpoint, are whole",
        fix="free some space and give the same command again",
    )


def _sync(path: Path) -> None:
    """fsync a file, or a directory, which makes the names in it durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
