"""Runs a recipe in a process of its own and kills it with SIGKILL when it has come a given way.

Progress is counted in things written, not in seconds, so that a kill lands at the same place on any machine.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

DEADLINE_S = 1200.0


def command(recipe: str, run_dir: Path, overrides: Sequence[str] = ()) -> list[str]:
    return [sys.executable, "-m", "zero2r1", "run", recipe, *overrides, "--run-dir", str(run_dir)]


def start(recipe: str, run_dir: Path, overrides: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        command(recipe, run_dir, overrides), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(recipe: str, run_dir: Path, overrides: Sequence[str] = ()) -> None:
    """Run to the end; fail with what it said when it does not end well."""
    process = start(recipe, run_dir, overrides)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, said.decode("utf-8", "replace")[-4000:]


def kill_at(recipe: str, run_dir: Path, progress: int, overrides: Sequence[str] = ()) -> bool:
    """Kill the run once `ticks(run_dir)` reaches `progress`. False when it was over before."""
    process = start(recipe, run_dir, overrides)
    ends = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < ends:
        if ticks(run_dir) >= progress:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            assert process.returncode == -signal.SIGKILL
            return True
        time.sleep(0.002)
    process.communicate()
    return False


def ticks(run_dir: Path) -> int:
    """Things written so far: metrics rows, sample chunks, checkpoints, model directories, evaluations, manifests."""
    stages = run_dir / "stages"
    if not stages.is_dir():
        return 0
    rows = sum(path.read_bytes().count(b"\n") for path in stages.glob("*/metrics.jsonl"))
    names = ("*/data/*.jsonl", "*/checkpoints/.step*", "*/checkpoints/step*", "*/model", "*/evals/*", "*/manifest.json")
    return rows + sum(len(list(stages.glob(name))) for name in names)


def fingerprint(run_dir: Path) -> dict[str, str]:
    """What must be equal after any number of kills: weights, metrics rows, supervised rows and scores of each stage."""
    marks: dict[str, str] = {}
    for stage in sorted((run_dir / "stages").iterdir()):
        manifest = json.loads((stage / "manifest.json").read_text())
        marks[f"{stage.name}/weights_hash"] = manifest["outputs"]["weights_hash"]
        patterns = ("metrics.jsonl", "model/*.safetensors", "data/*.jsonl", "evals/*", "rollouts/*")
        for path in sorted(found for pattern in patterns for found in stage.glob(pattern)):
            marks[str(path.relative_to(run_dir))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return marks


def members_of(session: int) -> list[str]:
    """Live processes of a session."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own_session = stat.read_text().rpartition(") ")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(own_session) == session and state != "Z":
            members.append(stat.parent.name)
    return members
