"""The benchmark harness: one JSON line last, and a missed goal is an exit code."""

import argparse
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def report(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_report", root / "benchmarks" / "report.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def claim(report: ModuleType) -> object:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--speed", type=float, default=2.0)

    return report.Claim(name="toy", goal="at least 2", meets=lambda found: found["speed"] >= 2, add_arguments=add)


@pytest.mark.parametrize(
    ("arguments", "code", "is_met"),
    [([], 0, True), (["--check"], 0, True), (["--speed", "1"], 0, False), (["--check", "--speed", "1"], 1, False)],
)
def test_only_a_missed_goal_that_is_checked_fails(report, capsys, arguments, code, is_met):
    with pytest.raises(SystemExit) as ended:
        report.run(claim(report), lambda settings: {"speed": settings.speed}, arguments)
    assert ended.value.code == code
    row = report.last_report("some chatter\n" + capsys.readouterr().out)
    assert row["is_met"] is is_met
    assert {"name", "goal", "measured", "settings", "seconds", "machine"} <= set(row)
    assert {"cpu", "cores", "load_before", "versions"} <= set(row["machine"])


def test_a_script_without_a_report_is_noticed(report):
    for output in ("", "[]", "done"):
        with pytest.raises(ValueError):
            report.last_report(output)


def test_the_report_is_json(report, capsys):
    with pytest.raises(SystemExit):
        report.run(claim(report), lambda settings: {"speed": 3.0}, [])
    assert json.loads(capsys.readouterr().out)["settings"] == {"speed": 2.0, "threads": 1}
