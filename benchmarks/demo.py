"""The demo keeps its promises: what each stage must show on held-out questions, and the time of the whole pipeline.

With `--run DIR` a finished run is judged; without it the demo is run in a folder of its own (minutes). The goals are
points of pass@1 (or shares, where named) between point estimates; the intervals are in the report of the run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report import Claim, run

GOALS: Mapping[str, float] = {
    "r1_zero_minus_base": 0.20,
    "dev1_format": 0.95,
    "dev1_minus_r1_zero_readable": 0.0,
    "dev2_minus_dev1": 0.10,
    "dev2_language": 0.95,
    "dev3_minus_dev2": -0.03,
    "student_minus_student_by_rl": 0.0,
}
"""Figure -> what it must reach at least."""
LONGEST_S = 420.0


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """The figures of a finished run, or of a fresh one and its time."""
    if arguments.run is not None:
        return figures(arguments.run) | {"seconds": None}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "demo"
        began = time.perf_counter()
        command = [sys.executable, "-m", "zero2r1", "demo", "--run-dir", str(place)]
        subprocess.run(command, check=True, stdout=sys.stderr)
        return figures(place) | {"seconds": round(time.perf_counter() - began, 1)}


def figures(folder: Path) -> dict[str, Any]:
    """The goals' figures of a finished run."""

    def score(stage: str, metric: str) -> float:
        content = json.loads((folder / "stages" / stage / "evals" / "test.json").read_text(encoding="utf-8"))
        return float(content["metrics"][metric]["mean"])

    base, zero, dev1, dev2, dev3 = (score(name, "pass@1") for name in ("base", "r1_zero", "dev1", "dev2", "dev3"))
    return {
        "r1_zero_minus_base": zero - base,
        "dev1_format": score("dev1", "format"),
        "dev1_minus_r1_zero_readable": score("dev1", "readable") - score("r1_zero", "readable"),
        "dev2_minus_dev1": dev2 - dev1,
        "dev2_language": score("dev2", "language"),
        "dev3_minus_dev2": dev3 - dev2,
        "student_minus_student_by_rl": score("student_a", "pass@1") - score("student_a_rl", "pass@1"),
    }


def meets(found: Mapping[str, Any]) -> bool:
    """Whether every goal is reached, within the time if it was taken."""
    in_time = found["seconds"] is None or found["seconds"] <= LONGEST_S
    return in_time and all(found[name] >= goal for name, goal in GOALS.items())


if __name__ == "__main__":
    run(
        Claim(
            name="demo",
            goal=f"{dict(GOALS)}, at most {LONGEST_S:.0f} s",
            meets=meets,
            add_arguments=lambda parser: parser.add_argument("--run", type=Path, default=None),
        ),
        measure,
    )
