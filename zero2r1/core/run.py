"""The run folder: where a run writes, and the only thing that anything showing a run reads.

    runs/<name>/  config.resolved.yaml cmd.txt env.json status.json events.jsonl run.lock report.html report.md
      stages/<stage>/  manifest.json metrics.jsonl timings.jsonl events.jsonl rollouts/ checkpoints/ evals/ data/ model/

A stage is finished when its manifest is there: the manifest is the last thing written. Writing that survives a crash
is in `core/atomic.py`. What stages put into their folders is theirs; nothing here knows torch.
"""

import fcntl
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from zero2r1.core import jsonl
from zero2r1.core.atomic import (
    MANIFEST,
    commit_directory,
    directory_hash,
    read_json,
    remove_leftovers,
    verify_directory,
    write_atomic,
    write_json_atomic,
)
from zero2r1.core.errors import RunError
from zero2r1.core.jsonl import SCHEMA_VERSION

__all__ = [
    "MANIFEST",
    "Events",
    "RunFolder",
    "StageFolder",
    "Status",
    "commit_directory",
    "directory_hash",
    "name_is_safe",
    "read_json",
    "verify_directory",
    "write_atomic",
    "write_json_atomic",
]

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "1 to 64 letters, digits, '.', '-', '_'; the first a letter or digit"


def name_is_safe(name: str) -> bool:
    """True for names that cannot leave the folder they are put in: `^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`."""
    return SAFE_NAME.fullmatch(name) is not None


class Events:
    """What happened, one JSON object a line, in order. Holds a clock, so it is not part of what resumes bit-equal."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, **fields: object) -> None:
        """Add one event; it is on disk when this returns."""
        jsonl.append(self.path, {"time": round(time.time(), 3), "kind": kind, **fields})

    def read(self) -> list[dict[str, object]]:
        """All events so far. Raises RunError Z410 for a damaged log."""
        return jsonl.read(self.path)


class Status:
    """What a run does now: `status.json`, replaced whole, with a heartbeat."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **fields: object) -> None:
        """Replace the status; `time` (seconds since 1970) and `pid` are added."""
        row = {"schema_version": SCHEMA_VERSION, "time": round(time.time(), 3), "pid": os.getpid(), **fields}
        write_json_atomic(self.path, row)

    def read(self) -> dict[str, object]:
        """The last status, empty when there is none."""
        if not self.path.exists():
            return {}
        status = read_json(self.path)
        return status if isinstance(status, dict) else {}


class StageFolder:
    """The paths of one stage. Making the object writes nothing; `create()` makes the folders."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self.manifest = root / "manifest.json"
        self.metrics = root / "metrics.jsonl"
        self.timings = root / "timings.jsonl"
        self.events = Events(root / "events.jsonl")
        self.rollouts = root / "rollouts"
        self.checkpoints = root / "checkpoints"
        self.evals = root / "evals"
        self.data = root / "data"
        self.model = root / "model"

    def create(self) -> "StageFolder":
        """Make the folders that do not exist yet."""
        for folder in (self.rollouts, self.checkpoints, self.evals, self.data):
            folder.mkdir(parents=True, exist_ok=True)
        return self

    @property
    def is_finished(self) -> bool:
        """A manifest is written last, so it is there when and only when the stage is whole."""
        return self.manifest.exists()

    def read_manifest(self) -> dict[str, object] | None:
        """The manifest, None for a stage that is not finished."""
        if not self.is_finished:
            return None
        manifest = read_json(self.manifest)
        if not isinstance(manifest, dict):
            raise RunError("Z411", "stage manifest is not a mapping", where=str(self.manifest))
        return manifest

    def write_manifest(self, manifest: Mapping[str, object]) -> None:
        """Declare the stage finished."""
        write_json_atomic(self.manifest, {"schema_version": SCHEMA_VERSION, "stage": self.name, **manifest})


class RunLock:
    """The right to write into a run folder: held by one process, given back by the kernel when it dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file_descriptor: int | None = None

    def acquire(self) -> "RunLock":
        """Take the lock.

        Raises:
            RunError: Z401 when another process (or another lock object of this one) holds it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 64, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise RunError(
                "Z401",
                f"run is in use by process {holder or '(unknown)'}",
                where=str(self.path),
                why="two writers would mix their metrics and checkpoints",
                fix="wait for it or end it; watching and reporting need no lock",
            ) from None
        remove_leftovers(self.path.parent / "stages")  # nobody else writes now: what is half-written is nobody's
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._file_descriptor = descriptor
        return self

    def release(self) -> None:
        """Give the lock back; the file stays, because removing it would race with the next holder."""
        if self._file_descriptor is not None:
            os.close(self._file_descriptor)
            self._file_descriptor = None

    def __enter__(self) -> "RunLock":
        return self.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class RunFolder:
    """The paths of one run."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        if not name_is_safe(self.root.resolve().name):
            raise RunError("Z402", f"unsafe run name {self.root.resolve().name!r}", where=str(root), fix=NAME_RULE)
        self.config = self.root / "config.resolved.yaml"
        self.command = self.root / "cmd.txt"
        self.environment = self.root / "env.json"
        self.status = Status(self.root / "status.json")
        self.events = Events(self.root / "events.jsonl")
        self.report_html = self.root / "report.html"
        self.report_markdown = self.root / "report.md"
        self.stages = self.root / "stages"

    def create(self) -> "RunFolder":
        """Make the folder when it does not exist yet."""
        self.stages.mkdir(parents=True, exist_ok=True)
        return self

    def lock(self) -> RunLock:
        """The run's lock, to be used as `with run.lock(): ...`."""
        return RunLock(self.root / "run.lock")

    def stage(self, name: str) -> StageFolder:
        """The folder of a stage (not made yet).

        Raises:
            RunError: Z402 for a name that could leave the run folder.
        """
        if not name_is_safe(name):
            raise RunError("Z402", f"unsafe stage name {name!r}", where=str(self.root), fix=NAME_RULE)
        return StageFolder(self.stages / name, name)

    def stage_names(self) -> list[str]:
        """Stages that have a folder, by name."""
        if not self.stages.is_dir():
            return []
        return sorted(entry.name for entry in self.stages.iterdir() if entry.is_dir() and name_is_safe(entry.name))
