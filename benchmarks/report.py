"""How a benchmark reports: what machine it ran on, its settings, its numbers, and whether its goal is met.

    from report import Claim, run

    def measure(arguments) -> dict: ...

    if __name__ == "__main__":
        run(Claim(name="engine", goal="at least 500 tokens/s", meets=lambda found: found["speed"] >= 500), measure)

The last line of every script is one JSON object; with `--check` the exit code is 1 when the goal is missed.
`python benchmarks/report.py --all` runs every script with `--check` and shows the outcome of each.

What it does not do: keep baselines, or judge a number by itself. Nothing is timed well while something else runs: the
load of the machine is part of what is reported.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIBRARIES = ("torch", "transformers", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a benchmark wants to show."""

    name: str
    goal: str
    """In words, with the number."""
    meets: Callable[[Mapping[str, Any]], bool]
    """Whether what was measured meets the goal."""
    add_arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    """Settings of the script's own, as command-line arguments with defaults."""


Measure = Callable[[argparse.Namespace], Mapping[str, Any]]


def run(claim: Claim, measure: Measure, arguments: list[str] | None = None) -> None:
    """Measure, print the report as the last line, and exit: 1 when `--check` was given and the goal is missed."""
    parser = argparse.ArgumentParser(description=f"{claim.name}: {claim.goal}")
    parser.add_argument("--check", action="store_true", help="exit 1 when the goal is missed")
    parser.add_argument("--threads", type=int, default=1, help="compute threads (default 1)")
    claim.add_arguments(parser)
    settings = parser.parse_args(arguments)
    _settle(settings.threads)
    load_before = os.getloadavg()[0]
    began = time.perf_counter()
    found = dict(measure(settings))
    row = {
        "name": claim.name,
        "goal": claim.goal,
        "is_met": bool(claim.meets(found)),
        "measured": found,
        "settings": {name: value for name, value in vars(settings).items() if name != "check"},
        "seconds": round(time.perf_counter() - began, 2),
        "machine": machine() | {"load_before": round(load_before, 2)},
    }
    print(json.dumps(row, ensure_ascii=False, sort_keys=True, default=str))
    sys.exit(1 if settings.check and not row["is_met"] else 0)


def machine() -> dict[str, Any]:
    """What a number depends on besides the code."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in LIBRARIES},
    }


def scripts() -> list[Path]:
    """Every benchmark: the Python files beside this one."""
    return sorted(path for path in HERE.glob("*.py") if path != Path(__file__).resolve())


def last_report(output: str) -> dict[str, Any]:
    """The JSON object in the last line of a script's output. Raises ValueError when there is none."""
    lines = output.strip().splitlines()
    row = json.loads(lines[-1]) if lines else None
    if not isinstance(row, dict):
        raise ValueError("a benchmark's last line is one JSON object")
    return row


def run_all() -> int:
    """Run every script with `--check`, one after another; 0 when all goals are met."""
    missed = []
    for script in scripts():
        result = subprocess.run([sys.executable, str(script), "--check"], stdout=subprocess.PIPE, text=True)
        print(result.stdout, end="", flush=True)
        if result.returncode != 0:
            missed.append(script.name)
    print(json.dumps({"scripts": len(scripts()), "missed": missed}))
    return 1 if missed else 0


def _settle(threads: int) -> None:
    """As a run does; a peer's environment has no zero2r1."""
    try:
        from zero2r1.pipeline.process import settle
    except ImportError:
        import torch

        torch.set_num_threads(threads)
    else:
        settle(threads)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", required=True, help="run every benchmark with --check")
    parser.parse_args()
    sys.exit(run_all())
