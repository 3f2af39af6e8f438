"""A reward on cases of one's own and on the stored samples of a run."""

import json
from pathlib import Path

import pytest

from zero2r1.cli import main
from zero2r1.cli.rejudging import from_run
from zero2r1.core.run import RunFolder

GOOD = "<think> six sevens </think> <answer> 42 </answer>"
BAD = "<think> six sevens </think> <answer> 41 or 42 </answer>"


def case_file(folder: Path, *rows: dict) -> Path:
    path = folder / "cases.jsonl"
    path.write_text("\n".join(json.dumps({"question": "What is 6*7?", "answer": "42"} | row) for row in rows) + "\n\n")
    return path


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict]:
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def stored(identity: str, text: str, verdict: str, **more: object) -> dict:
    row = {"id": identity, "prompt": "What is 6*7?", "gold": "42", "language": "en", "text": text, "verdict": verdict}
    return row | more


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two stored rollouts and one evaluation sample; the verdict of the second is an old grader's mistake."""
    folder = RunFolder(tmp_path / "old").create()
    place = folder.stage("zero").create()
    rollouts = [stored("one", GOOD, "right"), stored("two", BAD, "right")]
    (place.rollouts / "step_000001.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rollouts))
    sample = stored("three", GOOD, "right", answer_kind="expression", reference="6\\cdot7", prompt="Say it\u2028again")
    (place.evals / "held_out.samples.jsonl").write_text(json.dumps(sample, ensure_ascii=False) + "\n")
    return tmp_path / "old"


def test_cases_that_hold_are_counted_and_give_exit_code_0(capsys, tmp_path):
    path = case_file(tmp_path, {"text": GOOD, "expect": "right"}, {"completion": BAD, "expect": "wrong"}, {"text": BAD})
    code, found = answer(capsys, "reward", "test", "tiny", "--cases", str(path))
    assert code == 0
    assert [row["agrees"] for row in found["cases"]] == [True, True, None]
    assert (found["summary"]["compared"], found["summary"]["disagreements"]) == (2, 0)
    assert found["summary"]["verdicts"] == {"right": 1, "wrong": 2, "error": 0}


def test_a_case_that_does_not_hold_is_shown_and_gives_exit_code_1(capsys, tmp_path):
    # accuracy 1 + format 1 + language 1 is no 2.5
    path = case_file(tmp_path, {"text": GOOD, "expect": 2.5, "case": "too much"}, {"text": GOOD, "expect": "wrong"})
    assert main(["reward", "test", "tiny", "--cases", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "too much" in shown
    assert "2 of 2 not as expected" in shown
    assert "wrong -> right" in shown


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "Z133"),
        ('{"question": "?", "answer": "1"}', "text"),
        ('{"question": "?", "answer": "1", "text": "1", "expect": "good"}', "good"),
        ('{"question": "?", "answer": "1", "text": "1", "kind": "countdown"}', "reference"),
        ('{"question": "?", "answer": "1", "text": "1", "dialect": "klingon"}', "klingon"),
        ("[1]", "Z133"),
    ],
)
def test_a_line_that_is_no_case_is_named(capsys, tmp_path, line, why):
    path = tmp_path / "cases.jsonl"
    path.write_text(f"\n{line}\n")
    assert main(["reward", "test", "tiny", "--cases", str(path)]) == 2
    told = capsys.readouterr().err
    assert "cases.jsonl:2" in told
    assert why in told


def test_old_verdicts_that_no_longer_hold_are_found(capsys, run):
    code, found = answer(capsys, "reward", "test", "tiny", "--on", str(run))
    assert code == 0
    assert found["summary"]["changes"] == {"right -> wrong": 1}
    assert [row["case"] for row in found["cases"] if row["agrees"] is False] == ["two"]


def test_the_disagreements_of_a_run_are_shown_to_people(capsys, run):
    assert main(["reward", "test", "tiny", "--on", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "two" in shown
    assert "1 of 3 with another verdict than before" in shown
    assert "three" not in shown


def test_a_stored_sample_is_judged_against_its_own_reference(run):
    by_name = {sample.name: sample.prompt for sample in from_run(run)}
    assert (by_name["three"].reference, by_name["three"].answer_kind.value) == ("6\\cdot7", "expression")
    assert (by_name["one"].reference, by_name["one"].answer_kind.value) == ("42", "number")


def test_a_sample_of_a_run_is_spread_over_all_of_it(run):
    assert [sample.name for sample in from_run(run, limit=2)] == ["one", "two"]
    assert [sample.name for sample in from_run(run, limit=99)] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--on", "no-such-run"], "Z400"),
        (["--cases", "no-such-file"], "Z130"),
        (["--cases", "a", "--on", "b"], "Z110"),
        (["--cases", "a", "--sample", "3"], "Z110"),
    ],
)
def test_what_cannot_be_asked_is_refused(capsys, words, code):
    assert main(["reward", "test", "tiny", *words]) in (1, 2)
    assert code in capsys.readouterr().err


def test_a_run_without_samples_says_so(capsys, tmp_path):
    RunFolder(tmp_path / "empty").create().stage("base").create()
    assert main(["reward", "test", "tiny", "--on", str(tmp_path / "empty")]) == 1
    assert "Z413" in capsys.readouterr().err
