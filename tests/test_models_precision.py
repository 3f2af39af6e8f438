"""Which data type `auto` becomes, and that a run says which."""

from pathlib import Path

import pytest
import torch
from learning_world import tiny_model

from zero2r1 import recipes
from zero2r1.core.run import RunFolder
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner
from zero2r1.models.precision import cpu_has_bfloat16, deterministic, fast_dtype, settled
from zero2r1.pipeline.graph import stage_keys
from zero2r1.pipeline.run import _describe

AVX, AMX = "_is_avx512_bf16_supported", "_is_amx_tile_supported"


@pytest.fixture
def processor(monkeypatch):
    """A processor that has what is named."""

    def has(*, avx512_bf16: bool = False, amx: bool = False) -> None:
        monkeypatch.setattr(torch.cpu, AVX, lambda: avx512_bf16, raising=False)
        monkeypatch.setattr(torch.cpu, AMX, lambda: amx, raising=False)

    return has


@pytest.mark.parametrize(
    ("has", "dtype"),
    [({}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({"amx": True}, "bfloat16")],
)
def test_a_processor_with_either_multiplies_bfloat16(processor, has, dtype):
    processor(**has)
    assert fast_dtype("cpu") == dtype


def test_a_torch_that_cannot_tell_is_float32(monkeypatch):
    for name in (AVX, AMX):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not cpu_has_bfloat16()
    assert fast_dtype("cpu") == "float32"


@pytest.mark.parametrize(
    ("is_there", "has_bfloat16", "dtype"),
    [(True, True, "bfloat16"), (True, False, "float32"), (False, True, "float32")],
)
def test_a_gpu_is_asked_for_hardware_not_for_emulation(monkeypatch, processor, is_there, has_bfloat16, dtype):
    def supported(*, including_emulation: bool) -> bool:
        assert not including_emulation
        return has_bfloat16

    processor(avx512_bf16=True, amx=True)  # of the CPU beside it: does not count
    monkeypatch.setattr(torch.cuda, "is_available", lambda: is_there)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert fast_dtype("cuda:0") == dtype


def test_a_device_nobody_knows_computes_in_float32(processor):
    processor(avx512_bf16=True, amx=True)
    assert fast_dtype("meta") == "float32"


def test_only_auto_is_settled(processor):
    processor(amx=True)
    assert [settled(name, "cpu") for name in ("auto", "float32", "bfloat16")] == ["bfloat16", "float32", "bfloat16"]


@pytest.mark.parametrize(("amx", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_learner_settles_it_for_itself(processor, amx, dtype):
    processor(amx=amx)
    subject = Learner(tiny_model(), LearnerConfig(compute_dtype="auto"), total_steps=1)
    assert {parameter.dtype for parameter in subject.model.parameters()} == {dtype}
    assert subject.config.compute_dtype == str(dtype).removeprefix("torch.")


def test_a_recipe_is_keyed_by_what_is_computed_with(processor):
    """`auto` has the key of the data type it becomes: never one key for two results."""
    keys = {
        dtype: stage_keys(recipes.load("micro", [f"learner.compute_dtype={dtype}"]))
        for dtype in ("float32", "bfloat16")
    }
    assert set(keys["float32"].values()).isdisjoint(keys["bfloat16"].values())
    for amx, dtype in ((True, "bfloat16"), (False, "float32")):
        processor(amx=amx)
        recipe = recipes.load("micro", ["learner.compute_dtype=auto"])
        assert stage_keys(recipe) == keys[dtype]
        assert {stage.learner.compute_dtype for stage in recipe.stages.values()} == {dtype}


def test_a_run_that_is_resumed_keeps_the_data_type_it_began_with(tmp_path: Path, processor):
    processor(amx=True)
    begun = recipes.load("micro", ["learner.compute_dtype=auto"])
    folder = RunFolder(tmp_path / "run").create()
    _describe(folder, begun, "")
    processor(amx=False)
    assert "compute_dtype: auto" not in folder.config.read_text(encoding="utf-8")
    assert stage_keys(recipes.load(str(folder.config))) == stage_keys(begun)


@pytest.mark.parametrize("warn_only", [False, True])
def test_a_fixed_order_ends_with_its_block(warn_only):
    settings = torch.utils.deterministic
    before = settings.fill_uninitialized_memory
    with deterministic(warn_only=warn_only):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() == warn_only
        assert not settings.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()
    assert settings.fill_uninitialized_memory == before
