"""`zero2r1 run --profile` writes where the time went, and changes nothing else."""

import json
from pathlib import Path

import pytest

from zero2r1.cli import main

SMALL = (
    "micro", "stages.base.steps=3", "rl.steps=4", "rl.max_new_tokens=12", "eval.max_new_tokens=12", "eval.questions=2",
    "--only", "base", "--only", "r1_zero", "--json",
)  # fmt: skip
STAGES = ("base", "r1_zero")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run without a profile and with one."""
    plain, measured = (tmp_path_factory.mktemp("runs") / name for name in ("plain", "measured"))
    assert main(["run", *SMALL, "--run-dir", str(plain)]) == 0
    assert main(["run", *SMALL, "--run-dir", str(measured), "--profile"]) == 0
    return plain, measured


def hash_of(run: Path, stage: str) -> str:
    return json.loads((run / "stages" / stage / "manifest.json").read_text(encoding="utf-8"))["outputs"]["weights_hash"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_profile_changes_no_result(runs, stage):
    plain, measured = runs
    assert hash_of(plain, stage) == hash_of(measured, stage)
    for name in ("metrics.jsonl", "evals/test.samples.jsonl"):
        assert (plain / "stages" / stage / name).read_bytes() == (measured / "stages" / stage / name).read_bytes()


def test_it_is_off_unless_asked_for(runs):
    assert list(runs[0].rglob("profile.*")) == []


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_has_both_files(runs, stage):
    folder = runs[1] / "stages" / stage
    found = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
    assert (found["stage"], found["is_finished"], found["not_found"]) == (stage, True, [])
    assert "## Operators: one 'update'" in (folder / "profile.md").read_text(encoding="utf-8")


def test_the_phases_of_reinforcement_learning_are_all_there(runs):
    found = json.loads((runs[1] / "stages" / "r1_zero" / "profile.json").read_text(encoding="utf-8"))
    calls = {row["phase"]: row["calls"] for row in found["phases"]}
    # 4 updates in 2 rollouts of 2 mini-batches
    assert {name: calls[name] for name in ("sampling", "update", "waiting for rewards")} == {
        "sampling": 2, "update": 4, "waiting for rewards": 2,
    }  # fmt: skip
    inside = ("sampling / decode", "update / forward", "update / backward", "update / collect", "update / optimizer")
    assert all(calls[name] >= 2 for name in inside)
    assert {"save", "hash", "evaluation", "load"} <= set(calls)
    assert any(name.endswith("/ prefill") for name in calls)
    assert any(name.endswith("/ admission") for name in calls)
    judged = {row["phase"]: row["calls"] for row in found["beside"]}
    # 2 rollouts of 2 questions x 2 mini-batches x 4 samples, then 2 questions x 2 samples: 32 + 4
    assert judged == {"rewards": 36}
    assert sum(row["self_seconds"] for row in found["phases"]) <= found["seconds"]
    assert set(found["operators"]) == {"sampling", "update", "optimizer"}
    assert found["means"]["time/update"] > 0
