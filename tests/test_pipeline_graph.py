"""The plan: a finished stage is never redone, and a change redoes what depends on it and nothing else."""

from pathlib import Path

import pytest

from zero2r1.core.errors import ConfigError
from zero2r1.core.run import RunFolder, write_json_atomic
from zero2r1.pipeline.graph import STARTED, eval_key, plan, stage_keys
from zero2r1.recipes import Recipe, load


def _finish(run: RunFolder, recipe: Recipe, *stages: str) -> None:
    keys = stage_keys(recipe)
    for name in stages:
        folder = run.stage(name).create()
        folder.write_manifest({"key": keys[name], "eval_key": eval_key(recipe.stages[name])})


def _actions(recipe: Recipe, run: RunFolder, **options: object) -> dict[str, str]:
    return {item.name: item.action for item in plan(recipe, run, **options)}  # type: ignore[arg-type]


@pytest.fixture
def recipe() -> Recipe:
    return load("micro")


@pytest.fixture
def run(tmp_path: Path, recipe: Recipe) -> RunFolder:
    run = RunFolder(tmp_path / "run").create()
    _finish(run, recipe, *recipe.stages)
    return run


def test_a_fresh_folder_runs_everything(tmp_path: Path, recipe: Recipe) -> None:
    assert set(_actions(recipe, RunFolder(tmp_path / "new")).values()) == {"run"}


def test_a_finished_run_does_nothing(run: RunFolder, recipe: Recipe) -> None:
    assert set(_actions(recipe, run).values()) == {"skip"}


def test_a_changed_stage_redoes_itself_and_its_descendants_only(run: RunFolder) -> None:
    changed = load("micro", ["stages.dev1.sft.epochs=3"])
    assert {name for name, action in _actions(changed, run).items() if action == "run"} == {"dev1", "dev2"}


def test_a_changed_base_redoes_all(run: RunFolder) -> None:
    assert set(_actions(load("micro", ["stages.base.steps=201"]), run).values()) == {"run"}


def test_changed_evaluation_settings_measure_again_and_train_nothing(run: RunFolder) -> None:
    assert set(_actions(load("micro", ["eval.samples=3"]), run).values()) == {"measure"}


def test_how_often_a_stage_saves_changes_no_key(run: RunFolder) -> None:
    assert set(_actions(load("micro", ["save.keep=5"]), run).values()) == {"skip"}


def test_an_interrupted_stage_is_resumed_but_not_under_another_config(tmp_path: Path, recipe: Recipe) -> None:
    run = RunFolder(tmp_path / "run").create()
    folder = run.stage("base").create()
    write_json_atomic(folder.root / STARTED, {"key": stage_keys(recipe)["base"]})
    assert _actions(recipe, run)["base"] == "resume"
    assert _actions(load("micro", ["seed=9"]), run)["base"] == "run"


def test_from_redoes_a_stage_and_what_depends_on_it(run: RunFolder, recipe: Recipe) -> None:
    redone = {name for name, action in _actions(recipe, run, from_stage="dev3").items() if action == "run"}
    assert redone == {"dev3", "student"}


def test_only_leaves_the_others_alone(tmp_path: Path, recipe: Recipe) -> None:
    actions = _actions(recipe, RunFolder(tmp_path / "new"), only=["base"])
    assert {name for name, action in actions.items() if action == "run"} == {"base"}


def test_an_unknown_stage_is_named(run: RunFolder, recipe: Recipe) -> None:
    with pytest.raises(ConfigError, match="no stage 'dev9'") as caught:
        plan(recipe, run, only=["dev9"])
    assert "dev1" in caught.value.fix
