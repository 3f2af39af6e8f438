"""A recipe run in this process: every stage leaves what it promises, and a second call does only what is left."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from transformers import AutoModelForCausalLM

from zero2r1 import pipeline
from zero2r1.core.errors import MissingExtraError, RunError
from zero2r1.learner import lora
from zero2r1.report import build, stage_table


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline") / "run"
    pipeline.run(pipeline.load_recipe("micro"), run_dir=folder)
    return folder


def _written(folder: Path) -> dict[str, int]:
    patterns = ("manifest.json", "metrics.jsonl", "model/model.safetensors")
    found = (path for pattern in patterns for path in (folder / "stages").glob(f"*/{pattern}"))
    return {str(path): path.stat().st_mtime_ns for path in found}


def test_every_stage_leaves_a_model_scores_and_a_manifest(finished: Path) -> None:
    for stage in pipeline.load_recipe("micro").order():
        folder = finished / "stages" / stage
        manifest = json.loads((folder / "manifest.json").read_text())
        score = json.loads((folder / "evals" / "test.json").read_text())
        assert manifest["outputs"]["weights_hash"] == score["weights_hash"]
        assert (score["n"], score["k"], score["max_new_tokens"]) == (8, 2, 48)
        assert manifest["cost"]["seconds_per_update"] > 0
    AutoModelForCausalLM.from_pretrained(finished / "stages" / "student" / "model")
    assert (finished / "report.html").is_file()
    assert len(stage_table(build(finished))) == 6


def test_metrics_hold_no_clock_and_timings_do(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "stages/r1_zero/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert not any("time" in name for row in rows for name in row)
    assert rows[0]["gap/max"] <= 1e-5
    timed = json.loads((finished / "stages/r1_zero/timings.jsonl").read_text().splitlines()[0])
    assert {"time/rollout", "time/reward", "time/train", "tokens_per_s", "memory/peak_gib"} <= set(timed)


def test_stored_rollouts_have_a_row_and_its_tokens_for_each_sample(finished: Path) -> None:
    path = finished / "stages/r1_zero/rollouts/step_000001.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    arrays = safetensors.numpy.load_file(path.with_suffix(".safetensors"))
    assert len(rows) == 8
    assert list(np.diff(arrays["offsets"])) == [row["tokens"] for row in rows]
    assert arrays["token_ids"].shape == arrays["logp"].shape == (arrays["offsets"][-1],)
    assert (arrays["logp"] <= 0).all()


def test_a_second_call_does_nothing_and_resume_needs_only_the_folder(finished: Path) -> None:
    before = _written(finished)
    pipeline.run(pipeline.load_recipe("micro"), run_dir=finished)
    result = pipeline.resume(finished)
    assert {stage.action for stage in result.stages} == {"skip"}
    assert _written(finished) == before


def test_a_changed_stage_is_redone_and_the_old_one_kept_aside(finished: Path) -> None:
    changed = pipeline.load_recipe("micro", ["stages.student.sft.epochs=1", "stages.dev2.eval.samples=3"])
    result = pipeline.run(changed, run_dir=finished)
    done = {stage.name: stage.action for stage in result.stages if stage.action != "skip"}
    assert done == {"student": "run", "dev2": "measure"}
    assert (finished / "replaced" / "student-1" / "model").is_dir()
    assert json.loads((finished / "stages/dev2/evals/test.json").read_text())["k"] == 3


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        pipeline.resume(tmp_path / "nothing")
    assert caught.value.code == "Z400"


def test_a_stage_whose_parent_is_missing_says_which(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="stage 'r1_zero' needs 'base', which is not finished"):
        pipeline.run(pipeline.load_recipe("micro"), run_dir=tmp_path / "run", only=["r1_zero"])


def test_a_missing_extra_is_told_before_the_first_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora.importlib.util, "find_spec", lambda name: None)
    recipe = pipeline.load_recipe("micro", ["stages.dev2.learner.lora.rank=4"])
    with pytest.raises(MissingExtraError, match="lora"):
        pipeline.run(recipe, run_dir=tmp_path / "run")
    assert not list((tmp_path / "run").glob("stages/*"))
