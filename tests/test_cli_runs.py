"""Verbs over a run folder: plan, watch, report. The folder is made by hand; nothing is trained here."""

import json

import pytest

from zero2r1 import recipes
from zero2r1.cli import main
from zero2r1.cli.tables import NOTHING, score_cells, scores_for, settings_line

ESTIMATE = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 20}


@pytest.fixture
def run(tmp_path):
    """A run with one finished stage and one that is in the middle."""
    folder = tmp_path / "mine"
    done, going = folder / "stages" / "base", folder / "stages" / "zero"
    (done / "evals").mkdir(parents=True)
    going.mkdir(parents=True)
    (folder / "config.resolved.yaml").write_text(
        "name: mine\nstages:\n  base: {kind: pretrain}\n  zero: {kind: zero_rl, init: base}\n"
    )
    (folder / "status.json").write_text(json.dumps({"state": "running", "stage": "zero", "step": 30, "total": 60}))
    manifest = {"kind": "pretrain", "seconds": 61.0, "updates": 5, "outputs": {"weights_hash": "a" * 16}}
    (done / "manifest.json").write_text(json.dumps(manifest))
    length = {"mean": 40.2, "low": 39.0, "high": 41.4, "n": 20}
    result = {
        "schema_version": 1, "suite": "test", "n": 20, "k": 4, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 80,
        "metrics": {"pass@1": ESTIMATE, "cons@4": ESTIMATE, "length/mean": length},
        "questions": [], "groups": {},
    }  # fmt: skip
    (done / "evals" / "test.json").write_text(json.dumps(result))
    rows = [{"step": step, "reward/mean": step / 100, "reward/zero_std_frac": 0.95} for step in range(1, 31)]
    (going / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_watch_shows_the_stage_the_curve_and_what_is_wrong(run, capsys):
    assert main(["watch", str(run), "--once"]) == 0
    shown = capsys.readouterr().out
    assert "zero 30/60" in shown
    assert "reward 0.30" in shown
    assert "█" in shown
    assert "warning Z310 no learning signal: 95%" in shown


def test_watch_gives_everything_to_programs_and_changes_nothing(run, capsys):
    before = sorted((path.as_posix(), path.stat().st_mtime_ns) for path in run.rglob("*"))
    assert main(["watch", str(run), "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert (seen["state"], seen["stage"], seen["metrics"]["step"]) == ("running", "zero", 30)
    assert sorted((path.as_posix(), path.stat().st_mtime_ns) for path in run.rglob("*")) == before


def test_watch_ends_when_the_run_has(run, capsys):
    (run / "status.json").write_text('{"state": "finished"}')
    assert main(["watch", str(run)]) == 0
    assert "finished" in capsys.readouterr().out


def test_report_writes_the_page_and_shows_the_stage_table(run, capsys):
    assert main(["report", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "50.0 ±10.0" in shown
    assert "1:01" in shown
    assert "20 held-out questions × 4 samples" in shown
    assert (run / "report.html").is_file()
    assert (run / "report.md").is_file()


def test_report_gives_the_stage_table_to_programs(run, capsys):
    assert main(["report", str(run), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["stage"] for stage in stages] == ["base", "zero"]
    assert stages[0]["pass@1"]["mean"] == 0.5
    assert stages[1]["pass@1"] is None


@pytest.mark.parametrize("verb", ["watch", "report", "resume"])
def test_a_folder_that_is_no_run_is_told(verb, tmp_path, capsys):
    assert main([verb, str(tmp_path / "nothing")]) == 1
    assert "error Z4" in capsys.readouterr().err


def test_eval_wants_to_know_whose_questions(tmp_path, capsys):
    assert main(["eval", str(tmp_path)]) == 2
    assert "--recipe" in capsys.readouterr().err


def test_eval_refuses_a_stage_that_is_not_there(run, capsys):
    (run / "config.resolved.yaml").write_text(recipes.path("tiny").read_text())
    assert main(["eval", str(run), "--stage", "nonsense"]) == 2
    assert "r1_zero" in capsys.readouterr().err


def test_a_plan_says_what_would_be_done_and_does_nothing(tmp_path, capsys):
    folder = tmp_path / "plan"
    assert main(["run", "tiny", "--plan", "--run-dir", str(folder), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)["stages"]
    assert [stage["stage"] for stage in planned] == recipes.load("tiny").order()
    assert {stage["action"] for stage in planned} == {"run"}
    assert not (folder / "stages").exists()


def test_a_missing_score_is_a_dash_and_never_a_zero():
    assert set(score_cells({})) == {NOTHING}
    assert score_cells({"pass@1": ESTIMATE, "cons": {"mean": None}})[:2] == ["50.0 ±10.0", NOTHING]


def test_an_interval_that_ends_at_a_bound_is_shown_by_its_other_end():
    assert score_cells({"pass@1": {"mean": 0.0, "low": 0.0, "high": 0.324}})[0] == "0.0 ≤32"
    assert score_cells({"pass@1": {"mean": 0.99, "low": 0.961, "high": 1.0}})[0] == "99.0 ≥96"


def test_a_narrow_terminal_gets_fewer_columns():
    assert list(scores_for(80)) == ["pass@1", "cons", "format", "language"]
    assert len(scores_for(120)) == 6


def test_scores_never_stand_without_their_settings():
    assert settings_line([]) == "nothing measured yet"
    row = {"n": 20, "k": 4, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 80}
    assert settings_line([row, row]).count("|") == 0
    assert settings_line([row, row | {"k": 8}]).count("|") == 1
