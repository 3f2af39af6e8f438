"""The verbs that train, on one stage of the micro recipe: run, do nothing twice, resume, change, measure."""

import json
from pathlib import Path

import pytest

from zero2r1.cli import main

SMALL = ("micro", "stages.base.steps=2", "--only", "base")


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1  # one object; progress is on stderr
    return json.loads(captured.out)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["run", *SMALL, "--run-dir", str(folder), "--json"]) == 0
    return folder


def test_a_run_leaves_a_model_a_report_and_a_command_that_repeats_it(run_dir):
    assert (run_dir / "stages" / "base" / "model" / "config.json").is_file()
    assert "<html" in (run_dir / "report.html").read_text(encoding="utf-8").lower()
    assert (run_dir / "cmd.txt").read_text(encoding="utf-8") == "zero2r1 run micro stages.base.steps=2\n"


def test_the_same_command_again_does_nothing(run_dir, capsys):
    before = (run_dir / "stages" / "base" / "manifest.json").read_bytes()
    found = answer(capsys, "run", *SMALL, "--run-dir", str(run_dir))
    assert (run_dir / "stages" / "base" / "manifest.json").read_bytes() == before
    assert next(row for row in found["stages"] if row["stage"] == "base")["updates"] == 2


def test_a_plan_sees_what_is_done_and_what_a_change_would_redo(run_dir, capsys):
    words = ("run", "micro", "--plan", "--run-dir", str(run_dir))
    same = {row["stage"]: row["action"] for row in answer(capsys, *words, "stages.base.steps=2")["stages"]}
    changed = {row["stage"]: row["action"] for row in answer(capsys, *words, "stages.base.steps=3")["stages"]}
    assert (same["base"], same["r1_zero"], changed["base"]) == ("skip", "run", "run")


def test_a_finished_stage_is_measured_with_other_settings(run_dir, capsys):
    found = answer(capsys, "eval", str(run_dir), "--stage", "base", "eval.samples=3", "eval.questions=4")
    assert (found["k"], found["n"]) == (3, 4)


def test_a_model_is_measured_with_a_recipes_questions(run_dir, capsys):
    model = str(run_dir / "stages" / "base" / "model")
    assert main(["eval", model, "--recipe", "micro", "--stage", "base", "eval.questions=4"]) == 0
    shown = capsys.readouterr().out
    assert "n=4×2" in shown
    assert "pass@1" in shown


def test_an_unknown_stage_is_told(capsys, tmp_path):
    assert main(["run", "micro", "--only", "nonsense", "--run-dir", str(tmp_path / "x")]) == 2
    assert "base" in capsys.readouterr().err
