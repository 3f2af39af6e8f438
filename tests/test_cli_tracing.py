"""Following an id through a run folder."""

import json

import pytest

from zero2r1.cli import main
from zero2r1.cli.tracing import mentions, trace
from zero2r1.core.errors import RunError

PROMPT, COMPLETION, ROW = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"


@pytest.fixture
def run(tmp_path):
    stages = tmp_path / "runs" / "mine" / "stages"
    rollouts, data = stages / "zero" / "rollouts", stages / "dev1" / "data"
    rollouts.mkdir(parents=True)
    data.mkdir(parents=True)
    rollout = {
        "id": COMPLETION,
        "prompt_id": PROMPT,
        "step": 1,
        "verdict": "right",
        "reward": 2.0,
        "rewards": {"format": 1.0},
    }
    other = {"id": "d" * 16, "prompt_id": "e" * 16, "text": f"it only talks of {COMPLETION}"}
    (rollouts / "step_000001.jsonl").write_text(json.dumps(rollout) + "\n" + json.dumps(other) + "\n")
    row = {"id": ROW, "source": {"prompt": PROMPT, "completion": COMPLETION, "stage": "zero"}}
    (data / "sft.jsonl").write_text(json.dumps(row) + "\n" + '{"id": "torn')
    return tmp_path / "runs"


def test_a_completion_is_found_where_it_was_sampled_and_where_it_taught(run):
    assert [(found["stage"], found["kind"], found["where"]) for found in trace(COMPLETION, run)] == [
        ("zero", "rollout", "stages/zero/rollouts/step_000001.jsonl:1"),
        ("dev1", "row", "stages/dev1/data/sft.jsonl:1"),
    ]


def test_a_prompt_is_found_through_its_rows(run):
    assert len(trace(PROMPT, run / "mine")) == 2


def test_a_text_that_contains_an_id_is_not_that_id():
    assert not mentions({"text": f"see {PROMPT}"}, PROMPT)
    assert mentions({"a": [{"b": PROMPT}]}, PROMPT)


def test_an_unknown_id_and_a_missing_run_are_told(run, tmp_path):
    with pytest.raises(RunError, match="Z413"):
        trace("0" * 16, run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="Z400"):
        trace(PROMPT, tmp_path / "empty")


def test_the_verb_shows_a_line_a_row(run, capsys):
    assert main(["trace", COMPLETION, "--runs", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "verdict right" in lines[0]
    assert "reward 2.0" in lines[0]
    assert "from prompt=" in lines[1]


def test_the_verb_gives_rows_to_programs(run, capsys):
    assert main(["trace", PROMPT, "--runs", str(run), "--json"]) == 0
    assert [row["stage"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["zero", "dev1"]
