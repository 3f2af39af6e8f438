"""Test cases for problems without public tests, made on the command line."""

import json
from pathlib import Path

import pytest

from zero2r1.cli import main

LONGEST_RUN = {
    "question": "Print the length of the longest run of equal characters.",
    "generators": [
        "import random\nprint(''.join(random.choice('abcdefgh') for _ in range(20)))",
        "import random\nprint(random.choice('xyz') * random.randint(20, 40))",
        "print('not', 'closed'",
    ],
    "correct": ["from itertools import groupby\nprint(max(len(list(g)) for _, g in groupby(input())))"],
    "wrong": [
        "from itertools import groupby\nprint(min(9, max(len(list(g)) for _, g in groupby(input()))))",
        "from itertools import groupby\nprint(max(len(list(g)) for _, g in groupby(input())))  # no flaw at all",
    ],
}


def written(folder: Path, *rows: object) -> Path:
    path = folder / "problems.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def test_tests_are_made_read_back_and_scored(capsys, tmp_path):
    source, out = written(tmp_path, LONGEST_RUN), tmp_path / "cases.jsonl"
    assert main(["data", "cases", str(source), "--out", str(out), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["problems"]
    # random letters never make a run of ten; only the generator of one repeated character exposes the cap at nine
    assert report["num_exposing"] == 1
    assert report["unexposed"] == [1]
    assert sum(report["no_input"].values()) >= 4
    assert report["tier"] in ("A", "B")
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert row["solution"] == LONGEST_RUN["correct"][0]
    assert len(row["problem"]["io_tests"]) == report["num_kept"]
    assert main(["data", "check", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gold answers"] == "1 scored 1"


def test_a_problem_without_a_valid_input_is_told_of(capsys, tmp_path):
    source = written(tmp_path, LONGEST_RUN | {"correct": ["raise SystemExit(1)"]})
    assert main(["data", "cases", str(source), "--out", str(tmp_path / "out.jsonl")]) == 1
    assert "0 valid" in capsys.readouterr().out
    assert (tmp_path / "out.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([], "object"),
        ({"question": "?"}, "at least one"),
        ({"question": "?", "generators": "print(1)", "correct": []}, "generators"),
        ({"question": "?", "generators": ["print(1)"], "correct": [1]}, "correct"),
    ],
)
def test_a_row_that_is_no_problem_is_named(capsys, tmp_path, row, why):
    assert main(["data", "cases", str(written(tmp_path, row)), "--out", str(tmp_path / "out.jsonl")]) == 2
    told = capsys.readouterr().err
    assert "problems.jsonl:1" in told
    assert why in told


def test_nothing_is_overwritten(capsys, tmp_path):
    source = written(tmp_path, LONGEST_RUN)
    assert main(["data", "cases", str(source), "--out", str(source)]) == 1
    assert "Z412" in capsys.readouterr().err
