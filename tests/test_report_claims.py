"""The paper's claims against known numbers."""

import json
import shutil

import pytest
from report_world import STAGES, result, write_json, write_run

from zero2r1.report import build
from zero2r1.report.claims import Outcome, claims, judge, roles, summary
from zero2r1.report.scores import Estimate, difference

OLD_TO_NEW = {name: f"s{index}" for index, (name, _, _) in enumerate(STAGES)}


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


def test_the_claims_of_the_paper_hold_on_numbers_that_say_so(run):
    found = claims(build(run))
    assert [(claim.before.name, claim.after.name, claim.metric) for claim in found] == [
        ("base", "r1_zero", "pass@1"),
        ("r1_zero", "dev1", "readable"),
        ("dev1", "dev2", "pass@1"),
        ("dev1", "dev2", "language"),
        ("dev2", "dev3", "pass@1"),
        ("student_rl", "student_a", "pass@1"),
    ]
    # Dev3 is 1 point below Dev2 with an interval of about +-1.7 points: within the margin of 3 points.
    assert {claim.verdict for claim in found} == {Outcome.HOLDS}
    assert summary(found) == "6 of 6 claims hold."


def test_stages_are_found_by_what_they_are_not_by_their_names(run):
    for name, new in OLD_TO_NEW.items():
        folder = run / "stages" / name
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["parents"] = {role: OLD_TO_NEW[parent] for role, parent in manifest["parents"].items()}
        write_json(folder / "manifest.json", {**manifest, "stage": new})
        folder.rename(folder.with_name(new))
    (run / "config.resolved.yaml").unlink()
    part = roles(build(run))
    found = [part.base, part.zero, part.dev1, part.dev2, part.dev3, *part.students[0]]
    names = ["base", "r1_zero", "dev1", "dev2", "dev3", "student_rl", "student_a"]
    assert [stage.name for stage in found] == [OLD_TO_NEW[name] for name in names]


def test_a_student_trained_by_rl_is_never_taken_for_r1_zero(tmp_path):
    chosen = tuple(stage for stage in STAGES if stage[0] in ("student_base", "student_a", "student_rl", "dev3"))
    part = roles(build(write_run(tmp_path, chosen)))
    assert [stage.name for stage in part.students[0]] == ["student_rl", "student_a"]


def test_a_drop_is_said_plainly(run):
    write_json(run / "stages" / "student_a" / "evals" / "test.json", result("student_base"))
    claim = claims(build(run))[-1]
    assert claim.verdict is Outcome.FAILS
    assert claim.change.estimate.mean == pytest.approx(0.02 - 0.15)
    assert claim.why == "the whole interval lies below 0"


def test_a_missing_measurement_cannot_be_told(run):
    shutil.rmtree(run / "stages" / "dev2" / "evals")
    found = {claim.title: claim for claim in claims(build(run))}
    claim = found["Reasoning RL after the cold start improves reasoning"]
    assert (claim.verdict, claim.why) == (Outcome.UNKNOWN, "no pass@1 measured for dev2")
    assert claim.is_in_run


def test_a_run_of_r1_zero_alone_leaves_the_other_claims_out(tmp_path):
    found = claims(build(write_run(tmp_path, STAGES[:2])))
    assert [claim.is_in_run for claim in found] == [True, False, False, False, False, False]


def test_a_switched_off_language_reward_is_remarked(run):
    path = run / "stages" / "dev2" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["rewards"]["language"] = 0.0
    write_json(path, manifest)
    claim = claims(build(run))[3]
    assert "the language reward is switched off in this run" in claim.remarks


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.01, 0.2, 0.0, Outcome.HOLDS),
        (-0.01, 0.2, 0.0, Outcome.UNKNOWN),
        (-0.2, -0.01, 0.0, Outcome.FAILS),
        (0.0, 0.2, 0.0, Outcome.UNKNOWN),
        (-0.02, 0.01, -0.03, Outcome.HOLDS),
        (-0.05, 0.01, -0.03, Outcome.UNKNOWN),
        (-0.09, -0.04, -0.03, Outcome.FAILS),
        (None, None, 0.0, Outcome.UNKNOWN),
    ],
)
def test_the_verdict_is_where_the_interval_lies(low, high, margin, verdict):
    assert judge(Estimate(mean=0.0, low=low, high=high, n=9), margin)[0] is verdict
    assert judge(None, margin)[0] is Outcome.UNKNOWN


def two(tmp_path, before, after):
    run = write_run(tmp_path, STAGES[:2])
    write_json(run / "stages" / "base" / "evals" / "test.json", before)
    write_json(run / "stages" / "r1_zero" / "evals" / "test.json", after)
    data = build(run)
    return difference(data.stage("base"), data.stage("r1_zero"), "pass@1", "test")


def questions(*scores):
    return [{"prompt_id": f"q{index}", "accuracy": score} for index, score in enumerate(scores)]


def test_a_difference_is_paired_by_question(tmp_path):
    # Shared questions q0, q1: differences 0.2 and 0.4. Mean 0.3, s = 0.141421, half width 1.96 * s / sqrt(2) = 0.196.
    found = two(
        tmp_path,
        result("base", questions=questions(0.1, 0.5)),
        result("r1_zero", questions=questions(0.3, 0.9, 1.0)),
    )
    assert found.is_paired
    assert found.estimate.mean == pytest.approx(0.3)
    assert found.estimate.half_width == pytest.approx(0.195996, abs=1e-6)
    assert found.estimate.n == 2


def test_without_shared_questions_the_intervals_add_up(tmp_path):
    # Means 0.10 and 0.60 with half widths 0.02 each: 0.5 +- sqrt(0.02^2 + 0.02^2) = 0.0283.
    found = two(tmp_path, result("base", questions=[]), result("r1_zero", temperature=1.0))
    assert not found.is_paired
    assert found.estimate.half_width == pytest.approx(0.0282843, abs=1e-6)
    assert found.remarks == ("temperature differs: 0.6 and 1.0", "not the same questions: unpaired interval")


def test_equal_changes_everywhere_are_not_certain(tmp_path):
    # All of 4 questions go from 0 to 1. w = z^2 / (4 + z^2) = 3.8415 / 7.8415 = 0.48989: [1 - 2 w, 1].
    found = two(
        tmp_path,
        result("base", questions=questions(0.0, 0.0, 0.0, 0.0)),
        result("r1_zero", questions=questions(1.0, 1.0, 1.0, 1.0)),
    )
    assert found.estimate.low == pytest.approx(1 - 2 * 0.489893, abs=1e-5)
    assert found.estimate.high == pytest.approx(1.0)


def test_one_question_has_no_interval(tmp_path):
    found = two(tmp_path, result("base", questions=questions(0.1)), result("r1_zero", questions=questions(0.9)))
    assert (found.estimate.low, found.estimate.high) == (None, None)
