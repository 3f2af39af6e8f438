"""Where a recipe computes: `auto` is settled once and written down, and a GPU that is not here is refused."""

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from learning_world import tiny_model, tokenizer

from zero2r1 import pipeline, recipes
from zero2r1.cli import machine, main
from zero2r1.core.errors import ConfigError
from zero2r1.core.metrics import read
from zero2r1.models import device as devices
from zero2r1.models import load
from zero2r1.models.device import gpu_facts, has_driver, require_device, settled_device
from zero2r1.models.save import save_model
from zero2r1.pipeline import evaluate
from zero2r1.pipeline.graph import stage_keys
from zero2r1.pipeline.process import CUBLAS_WORKSPACE, settle, settle_device
from zero2r1.stages import fine_tune, finish, pretrain, reinforcement, traces

GIB = 2**30
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch):
    """A machine with or without a driver, and a torch that can or cannot compute on its two GPUs."""

    def has(*, driver: bool, torch_can: bool) -> None:
        monkeypatch.setattr(devices, "has_driver", lambda: driver)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: torch_can)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Card")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        found = SimpleNamespace(name="A Card", total_memory=80 * GIB)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: found)
        monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * GIB // 2)

    return has


@pytest.fixture
def environment_of_cublas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is set during the test is gone after it."""
    monkeypatch.setenv(CUBLAS, "")
    monkeypatch.delenv(CUBLAS)


@pytest.mark.parametrize(
    ("driver", "torch_can", "device"), [(False, True, "cpu"), (True, False, "cpu"), (True, True, "cuda")]
)
def test_auto_is_a_gpu_where_torch_can_compute_on_one(card, driver, torch_can, device):
    card(driver=driver, torch_can=torch_can)
    assert settled_device("auto") == device
    assert [settled_device(name) for name in ("cpu", "cuda")] == ["cpu", "cuda"]


def test_a_machine_without_the_library_has_no_driver(monkeypatch):
    monkeypatch.setattr(devices, "DRIVER", "libnobodyhasthis.so.1")
    assert not has_driver()
    monkeypatch.setattr(devices, "DRIVER", None)  # of the process itself, which is there
    assert has_driver()


def test_a_recipe_names_the_device_it_got_and_its_data_type_is_settled_for_that(card, monkeypatch):
    monkeypatch.setattr("zero2r1.models.precision.cpu_has_bfloat16", lambda: False)
    card(driver=True, torch_can=True)

    def read_as(*overrides: str) -> tuple[str, set[str]]:
        recipe = recipes.load("micro", ["learner.compute_dtype=auto", "device=auto", *overrides])
        return recipe.device, {stage.learner.compute_dtype for stage in recipe.stages.values()}

    assert read_as() == ("cuda", {"bfloat16"})
    assert read_as("device=cpu") == ("cpu", {"float32"})
    card(driver=False, torch_can=False)
    assert read_as() == ("cpu", {"float32"})


def test_a_recipe_for_a_gpu_can_be_read_where_there_is_none(card):
    card(driver=False, torch_can=False)
    assert recipes.load("micro", ["device=cuda"]).device == "cuda"
    assert main(["recipes", "validate", "micro", "device=cuda"]) == 0
    with pytest.raises(ConfigError, match="Z105"):
        recipes.load("micro", ["device=tpu"])


def test_the_device_is_part_of_a_key_but_the_processor_adds_nothing(card):
    """What runs made before there was a choice has the keys of the processor."""
    card(driver=False, torch_can=False)
    auto, here, there = (stage_keys(recipes.load("micro", [f"device={name}"])) for name in ("auto", "cpu", "cuda"))
    unsettled = recipes.load("micro").model_copy(update={"device": "auto"})
    assert auto == here == stage_keys(unsettled)
    assert set(here.values()).isdisjoint(there.values())
    card(driver=True, torch_can=True)
    assert stage_keys(recipes.load("micro", ["device=auto"])) == stage_keys(unsettled) == there
    assert stage_keys(recipes.load("micro")) == here


@pytest.mark.parametrize(
    ("driver", "why", "fix"), [(False, "no NVIDIA driver", "device=cpu"), (True, "finds no GPU", "built for CUDA")]
)
def test_a_gpu_that_is_not_here_is_refused_with_a_remedy(card, driver, why, fix):
    card(driver=driver, torch_can=False)
    require_device("cpu")
    with pytest.raises(ConfigError, match="Z116 no GPU to compute on") as caught:
        require_device("cuda")
    assert why in caught.value.why
    assert fix in caught.value.fix


def test_a_run_is_refused_before_it_touches_its_folder(card, tmp_path: Path, capsys):
    card(driver=False, torch_can=False)
    with pytest.raises(ConfigError, match="Z116"):
        pipeline.run(recipes.load("micro", ["device=cuda"]), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    save_model(tiny_model(), tokenizer(), tmp_path / "model")
    assert main(["eval", str(tmp_path / "model"), "device=cuda", "--recipe", "micro"]) == 2
    assert "Z116" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="Z116"):
        load.load_model(tmp_path / "model", device="cuda")


def test_a_loaded_model_is_tried_where_it_was_put(tmp_path: Path, monkeypatch):
    """torch's meta device stands for a GPU: it has tensors and is not the processor."""
    save_model(tiny_model(), tokenizer(), tmp_path)
    tried = []
    monkeypatch.setattr(load, "check_model", lambda model: tried.append({each.device.type for each in tensors(model)}))
    for device in ("cpu", "meta"):
        model = load.load_model(tmp_path, device=device)
        assert {each.device.type for each in tensors(model)} == {device}
    assert tried == [{"cpu"}, {"meta"}]


def tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]


def test_products_of_a_gpu_are_to_come_out_alike(card, monkeypatch, environment_of_cublas):
    card(driver=True, torch_can=True)
    settle(None)
    assert CUBLAS not in os.environ
    settle(None, "cuda")
    assert os.environ[CUBLAS] == CUBLAS_WORKSPACE
    monkeypatch.setenv(CUBLAS, ":16:8")
    settle_device("cuda")
    assert os.environ[CUBLAS] == ":16:8"


@pytest.mark.parametrize(
    ("driver", "torch_can", "said"),
    [
        (False, False, "none (not needed)"),
        (True, False, "not usable: torch "),
        (True, True, "A Card 80 GiB, A Card 80 GiB; Triton "),
    ],
)
def test_doctor_names_the_gpus_that_torch_can_use(card, driver, torch_can, said):
    card(driver=driver, torch_can=torch_can)
    assert gpu_facts().startswith(said)
    assert machine.gpu() == gpu_facts()


class Placed:
    """A model that can be told where to go, and stays."""

    def __init__(self, model: Any, told: list[str]) -> None:
        self._model, self._told = model, told

    def to(self, device: str) -> Any:
        self._told.append(device)
        return self._model


def test_every_stage_puts_its_models_on_the_recipes_device(
    card, tmp_path: Path, monkeypatch, environment_of_cublas
) -> None:
    """All of it computes on the processor; what is watched is where each model was asked to be."""
    card(driver=True, torch_can=True)
    told: dict[str, list[str]] = {}
    for module in (reinforcement, fine_tune, finish, traces, evaluate):
        asked = told.setdefault(module.__name__.rpartition(".")[2], [])

        def watched(source: Any, *, device: str = "cpu", asked: list[str] = asked) -> Any:
            asked.append(device)
            return load.load_model(source)

        monkeypatch.setattr(module, "load_model", watched)
    made, make_tiny = told.setdefault("pretrain", []), pretrain.make_tiny
    monkeypatch.setattr(pretrain, "make_tiny", lambda *given, **named: Placed(make_tiny(*given, **named), made))
    run = tmp_path / "run"
    pipeline.run(recipes.load("micro", ["device=auto"]), run_dir=run)
    again = recipes.load("micro", ["device=auto", "eval.samples=3"])
    pipeline.run(again, run_dir=run, only=["r1_zero"])  # measures again
    pipeline.evaluate_model(str(run / "stages/r1_zero/model"), again, stage="r1_zero")
    assert {name: set(asked) for name, asked in told.items()} == {name: {"cuda"} for name in told}
    assert {name: len(asked) for name, asked in told.items()} == {
        "reinforcement": 2, "fine_tune": 3, "finish": 1, "traces": 2, "evaluate": 1, "pretrain": 1,
    }  # fmt: skip
    assert yaml.safe_load((run / "config.resolved.yaml").read_text())["device"] == "cuda"
    found = json.loads((run / "env.json").read_text())
    assert (found["device"], found["gpu"]) == ("cuda", "A Card")
    rows = list(read(run / "stages/r1_zero/timings.jsonl"))
    assert {row["memory/peak_device_gib"] for row in rows} == {1.5}
