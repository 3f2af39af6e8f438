"""A recipe on a GPU: from its base to its reinforcement learning, killed at a checkpoint, with the same weights."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.killing import DEADLINE_S, fingerprint, finish, start
from zero2r1 import pipeline, recipes
from zero2r1.models.device import gpu_name

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """`micro`, cut down to two stages, with a checkpoint after every update."""
    content = yaml.safe_load(recipes.path("micro").read_text(encoding="utf-8"))
    content["name"] = "gpu"
    content["save"] = {"checkpoint_every": 1, "keep": 1}
    content["rl"] |= {"steps": 4, "minibatches": 1}
    content["stages"] = {name: content["stages"][name] for name in ("base", "r1_zero")}
    content["stages"]["base"] |= {"steps": 40, "save": {"checkpoint_every": 20}}
    path = tmp_path / "gpu.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def kill_after_a_checkpoint(recipe: Path, run: Path, overrides: tuple[str, ...]) -> None:
    """SIGKILL when two updates of reinforcement learning are kept and the stage is not finished."""
    stage, process = run / "stages" / "r1_zero", start(str(recipe), run, overrides)
    ends = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < ends:
        if (stage / "checkpoints" / "step_000002").is_dir():
            process.send_signal(signal.SIGKILL)
        time.sleep(0.002)
    _, said = process.communicate()
    assert process.returncode == -signal.SIGKILL, said.decode("utf-8", "replace")[-4000:]
    assert not (stage / "manifest.json").exists()


def rows_of(run: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "stages" / "r1_zero" / name).read_text().splitlines()]


@pytest.mark.parametrize(
    "overrides",
    [
        ("learner.compute_dtype=float32",),
        ("learner.compute_dtype=bfloat16",),
        ("learner.compute_dtype=bfloat16", "learner.offload=cpu"),
    ],
    ids=["float32", "bfloat16", "offload"],
)
def test_a_run_on_a_gpu_that_is_killed_ends_with_the_same_weights(recipe: Path, tmp_path: Path, overrides):
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    finish(str(recipe), calm, ("device=cuda", *overrides))
    kill_after_a_checkpoint(recipe, rough, ("device=cuda", *overrides))
    finish(str(recipe), rough, ("device=cuda", *overrides))
    expected, found = fingerprint(calm), fingerprint(rough)
    assert {name for name in expected if expected[name] != found.get(name)} == set()
    assert json.loads((calm / "env.json").read_text())["gpu"] == gpu_name()
    assert all(row["memory/peak_device_gib"] > 0 for row in rows_of(calm, "timings.jsonl"))
    assert [row["step"] for row in rows_of(rough, "metrics.jsonl")] == [1, 2, 3, 4]
    assert max(row["gap/max"] for row in rows_of(calm, "metrics.jsonl")) < (1e-4 if "float32" in overrides[0] else 0.5)


def test_auto_is_the_gpu_and_its_models_can_be_measured_on_either_device(recipe: Path, tmp_path: Path):
    run = tmp_path / "run"
    finish(str(recipe), run, ("stages.r1_zero.rl.steps=2",))
    assert yaml.safe_load((run / "config.resolved.yaml").read_text())["device"] == "cuda"
    model, settings = str(run / "stages" / "r1_zero" / "model"), str(run / "config.resolved.yaml")
    hashes = {
        pipeline.evaluate_model(model, recipes.load(settings, [f"device={device}"]), stage="r1_zero").weights_hash
        for device in ("cpu", "cuda")
    }
    manifest = json.loads((run / "stages" / "r1_zero" / "manifest.json").read_text())
    assert hashes == {manifest["outputs"]["weights_hash"]}
