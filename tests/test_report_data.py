"""Reading run folders: whole, unfinished, damaged."""

import json
import shutil

import pytest
from report_world import STAGES, result, write_json, write_run

from zero2r1.core.errors import RunError
from zero2r1.report import build, stage_table, write
from zero2r1.report.read import number, visible
from zero2r1.report.tables import ends, phase_table, series


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_a_finished_run_is_read_parents_first(run):
    data = build(run)
    assert [stage.name for stage in data.stages] == [name for name, _, _ in STAGES]
    assert all(stage.state == "finished" for stage in data.stages)
    assert data.problems == ()
    assert data.suite == "test"


def test_parents_come_before_children_whatever_the_order_on_disk(run):
    (run / "config.resolved.yaml").unlink()
    data = build(run)
    seen: set[str] = set()
    for stage in data.stages:
        assert set(stage.parents.values()) <= seen
        seen.add(stage.name)
    assert len(seen) == len(STAGES)


def test_the_stage_table_has_every_number(run):
    row = next(row for row in stage_table(build(run)) if row["stage"] == "r1_zero")
    assert row["pass@1"] == {"mean": 0.6, "low": 0.58, "high": 0.62, "n": 40}
    assert row["cons"]["mean"] == pytest.approx(0.65)
    assert (row["kind"], row["seconds"], row["updates"], row["k"]) == ("zero_rl", 60.0, 60, 16)
    assert row["parents"] == {"base": "base"}
    assert row["reward_first"] < row["reward_last"]
    json.dumps(stage_table(build(run)), allow_nan=False)


def test_stages_that_have_not_started_are_known_from_the_recipe(run):
    for name in ("dev3", "student_a"):
        shutil.rmtree(run / "stages" / name)
    (run / "stages" / "dev2" / "manifest.json").unlink()
    write_json(run / "status.json", {"state": "running", "stage": "dev2"})
    data = build(run)
    assert {stage.name: stage.state for stage in data.stages if stage.state != "finished"} == {
        "dev2": "running",
        "dev3": "not started",
        "student_a": "not started",
    }
    dev2 = data.stage("dev2")
    assert (dev2.kind, dict(dev2.parents), dev2.updates) == ("reasoning_rl", {"base": "dev1"}, 60)
    row = next(row for row in stage_table(data) if row["stage"] == "dev3")
    assert row["pass@1"] is None
    assert row["reward_first"] is None


def test_a_circle_of_parents_does_not_hang(run):
    for name, parent in (("base", "dev1"), ("dev1", "base")):
        path = run / "stages" / name / "manifest.json"
        write_json(path, {**json.loads(path.read_text()), "parents": {"base": parent}})
    assert len(build(run).stages) == len(STAGES)
    write(run)


def test_links_and_unsafe_names_are_left_alone(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (run / "stages" / "linked").symlink_to(tmp_path / "elsewhere")
    (run / "stages" / "-rf").mkdir()
    assert {stage.name for stage in build(run).stages} == {name for name, _, _ in STAGES}


def test_a_torn_last_line_costs_that_line_only(run):
    path = run / "stages" / "r1_zero" / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole[: whole.rstrip().rfind("\n") + 20], encoding="utf-8")
    data = build(run)
    assert len(data.stage("r1_zero").metrics) == 59
    assert data.problems == ("r1_zero: metrics.jsonl: 1 unreadable line left out",)


DAMAGES = {
    "deleted": None,
    "empty": b"",
    "not text": b"\x00\xff\xfe",
    "a list": b"[1, 2]\n",
    "wrong types": b'{"metrics": 3, "questions": 5, "parents": [1], "stages": "x", "step": "x", "k": []}\n',
    "nothing inside": b'{"metrics": {"pass@1": {}}, "parts": 3, "prompt_id": null, "stages": {"a": 1}}\n',
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_kind_of_damaged_file_stops_the_report(tmp_path, damage):
    run = write_run(tmp_path / "run", STAGES[:2])
    files = [path for path in sorted(run.rglob("*")) if path.is_file()]
    names = sorted({path.name for path in files})
    assert len(names) == 12
    for name in names:
        kept = {path: path.read_bytes() for path in files if path.name == name}
        for path in kept:
            if DAMAGES[damage] is None:
                path.unlink()
            else:
                path.write_bytes(DAMAGES[damage])
        html, markdown = write(run)
        assert html.stat().st_size > 5000
        assert markdown.stat().st_size > 500
        for path, content in kept.items():
            path.write_bytes(content)


def test_an_empty_run_folder_has_a_page(tmp_path):
    (tmp_path / "stages").mkdir()
    html, _ = write(tmp_path)
    assert "No stage has started" in html.read_text(encoding="utf-8")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="no run here"):
        write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_suite_is_the_one_most_stages_share(run):
    write_json(run / "stages" / "base" / "evals" / "aaa.json", result("base", "aaa"))
    assert build(run).suite == "test"


def test_the_first_metric_that_was_logged_is_drawn_and_nulls_are_left_out():
    rows = [{"step": 1, "b": 2.0}, {"step": 2, "b": None}, {"step": 3, "b": 4}, {"b": 9}]
    assert series(rows, "a", "b") == [(1.0, 2.0), (3.0, 4.0)]
    assert series(rows, "a") == []


def test_the_ends_of_a_curve_are_means_over_a_tenth():
    # 20 points 1..20: a tenth is 2 points, (1 + 2) / 2 and (19 + 20) / 2.
    assert ends([(float(x), float(x)) for x in range(1, 21)]) == (1.5, 19.5)
    assert ends([(1.0, 7.0)]) == (7.0, 7.0)
    assert ends([]) == (None, None)


def test_time_that_no_phase_claims_is_other(run):
    # 60 updates at 0.5 + 0.25 s of a stage of 60 s.
    assert phase_table(build(run).stage("r1_zero")) == pytest.approx({"rollout": 30.0, "train": 15.0, "other": 15.0})


@pytest.mark.parametrize("value", [None, True, "1", float("nan"), float("inf"), 10**400, [1]])
def test_only_finite_numbers_are_numbers(value):
    assert number(value) is None


def test_invisible_characters_are_shown():
    assert visible("a\u202eb\x00\ud800\u200b") == "a⟨U+202E⟩b⟨U+0000⟩⟨U+D800⟩⟨U+200B⟩"
    assert visible("tab\tline\n中文é") == "tab\tline\n中文é"
