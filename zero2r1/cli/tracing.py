"""`zero2r1 trace ID`: follow one row through a run.

Every row carries content-hash ids: of its prompt, of the completion, of the supervised row it became. The search
reads the JSON lines of a run folder and keeps those that mention the id; it needs no index and changes nothing.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zero2r1.core.errors import RunError

LIMIT = 200
"""Rows returned at most: a prompt of a long run appears in many rollouts."""

KINDS = {"rollouts": "rollout", "data": "row", "evals": "evaluation"}
"""Folder of a stage -> what its rows are."""


def trace(identifier: str, runs: Path) -> list[dict[str, Any]]:
    """Rows of the runs below `runs` (or of the run folder `runs` itself) that mention an id, in stage order of time.

    Raises:
        RunError: no run there (Z400), or no row has the id (Z413).
    """
    folders = (
        [runs] if (runs / "stages").is_dir() else sorted(path for path in runs.glob("*") if (path / "stages").is_dir())
    )
    if not folders:
        raise RunError("Z400", "no run here", where=str(runs), fix="--runs FOLDER, where the runs are")
    found: list[dict[str, Any]] = []
    for folder in folders:
        for row in rows_with(identifier, folder):
            found.append(row)
            if len(found) == LIMIT:
                return found
    if not found:
        raise RunError("Z413", f"no row has the id {identifier!r}", where=str(runs),
                       why="only stored rollouts, supervised rows and evaluation samples can be traced")  # fmt: skip
    return found


def rows_with(identifier: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of one run that have the id as a value, stage by stage."""
    stages = [path for path in (folder / "stages").iterdir() if path.is_dir()]
    for stage in sorted(stages, key=lambda path: path.stat().st_ctime):
        for part, kind in KINDS.items():
            for path in sorted((stage / part).glob("*.jsonl")):
                for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
                    if identifier in line and (row := _parsed(line)) is not None and mentions(row, identifier):
                        yield {"run": folder.name, "stage": stage.name, "kind": _kind_of(path, kind),
                               "where": f"{path.relative_to(folder)}:{number}", "row": row}  # fmt: skip


def mentions(value: object, identifier: str) -> bool:
    """True when a value anywhere in the row equals the id (a text that merely contains it does not count)."""
    if isinstance(value, Mapping):
        return any(mentions(item, identifier) for item in value.values())
    if isinstance(value, list):
        return any(mentions(item, identifier) for item in value)
    return value == identifier


def one_line(found: Mapping[str, Any]) -> str:
    """A traced row for a person: where, when, and what became of it."""
    row = found["row"]
    facts = [
        f"{name} {row[name]}" for name in ("step", "sample", "verdict", "reward", "advantage", "id") if name in row
    ]
    if isinstance(row.get("rewards"), Mapping):
        facts.append(" ".join(f"{name}={value}" for name, value in row["rewards"].items()))
    source = row.get("source")
    if isinstance(source, Mapping):
        facts.append("from " + " ".join(f"{name}={value}" for name, value in source.items()))
    return f"{found['stage']:<16} {found['kind']:<10} {found['where']}  {'  '.join(facts)}"


def _kind_of(path: Path, kind: str) -> str:
    return "sample" if path.name.startswith("samples") else kind


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None  # a torn last line of a run that is being written
    return row if isinstance(row, dict) else None
