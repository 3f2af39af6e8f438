"""Recipes: every one that ships loads, sections reach the stages, and nothing is ignored in silence."""

from pathlib import Path

import pytest
from policy_world import tokenizer

from zero2r1.core.errors import ConfigError
from zero2r1.models.fused import refusal
from zero2r1.models.tiny import make_tiny
from zero2r1.recipes import load, names
from zero2r1.stages.config import ReasoningRLStage, ZeroRLStage, parents_of


def _write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_loads_and_has_an_order(name: str) -> None:
    recipe = load(name)
    order = recipe.order()
    assert sorted(order) == sorted(recipe.stages)
    for position, stage in enumerate(order):
        assert all(order.index(parent) < position for parent in parents_of(recipe.stages[stage]).values())


def test_a_section_is_the_default_of_every_stage_and_a_stage_wins() -> None:
    recipe = load("tiny", ["rl.kl_coef=0.25", "stages.dev2.rl.kl_coef=0.5"])
    zero, dev2 = recipe.stages["r1_zero"], recipe.stages["dev2"]
    assert isinstance(zero, ZeroRLStage)
    assert isinstance(dev2, ReasoningRLStage)
    assert (zero.rl.kl_coef, dev2.rl.kl_coef) == (0.25, 0.5)


def test_the_language_reward_is_one_override_away_from_off() -> None:
    on, off = load("tiny"), load("tiny", ["stages.dev2.rewards.language=0"])
    assert isinstance(on.stages["dev2"], ReasoningRLStage)
    assert isinstance(off.stages["dev2"], ReasoningRLStage)
    assert (on.stages["dev2"].rewards.language, off.stages["dev2"].rewards.language) == (1.0, 0.0)


def test_another_algorithm_brings_its_whole_row_into_a_stage() -> None:
    stage = load("tiny", ["rl.algorithm=dapo"]).stages["r1_zero"]
    assert isinstance(stage, ZeroRLStage)
    assert (stage.rl.aggregation, stage.rl.clip_high, stage.rl.dynamic_sampling) == ("token_mean", 0.28, True)
    assert stage.rl.kl_coef == 0.001  # the recipe says this one itself, so the row does not win


def test_the_paper_recipe_says_the_papers_numbers() -> None:
    stage = load("paper-r1-zero").stages["r1_zero"]
    assert isinstance(stage, ZeroRLStage)
    rl = stage.rl
    assert (rl.prompts_per_step, rl.samples_per_prompt, rl.minibatches, rl.steps) == (32, 16, 16, 10_400)
    assert (rl.kl_coef, rl.reference_every, rl.temperature, stage.learner.lr) == (0.001, 400, 1.0, 3e-6)
    assert (rl.cap_at(8_199), rl.cap_at(8_200)) == (32_768, 65_536)
    assert rl.prompts_per_step * rl.samples_per_prompt * rl.minibatches == 8_192


def test_an_override_that_every_stage_shadows_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        load("tiny", ["rl.steps=3"])
    assert caught.value.code == "Z115"
    assert "stages.r1_zero.rl.steps=3" in caught.value.fix


def test_a_circle_of_stages_is_named(tmp_path: Path) -> None:
    text = """
name: mine
stages:
  a: {kind: reasoning_rl, init: b}
  b: {kind: reasoning_rl, init: a}
"""
    with pytest.raises(ConfigError, match="in a circle: a, b"):
        load(_write(tmp_path, text))


def test_an_unknown_parent_is_named_with_the_known_stages(tmp_path: Path) -> None:
    text = """
extends: micro
name: mine
stages:
  dev2: {init: dev0}
"""
    with pytest.raises(ConfigError, match=r"stage 'dev2' wants 'dev0' as its base.*\(base, r1_zero"):
        load(_write(tmp_path, text))


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no recipe 'tinny'") as caught:
        load("tinny")
    assert "tiny" in caught.value.fix


def test_the_resolved_recipe_reads_back_as_the_same_recipe(tmp_path: Path) -> None:
    import yaml

    recipe = load("tiny", ["stages.dev2.rewards.language=0"])
    path = tmp_path / "config.resolved.yaml"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False))
    assert load(str(path)) == recipe


def test_the_networks_of_the_demo_are_ones_that_compiled_code_takes() -> None:
    recipe, words = load("tiny"), tokenizer()
    configs = [recipe.model, *(getattr(stage, "model", None) for stage in recipe.stages.values())]
    shapes = [config.tiny for config in configs if config is not None and config.tiny is not None]
    assert len(shapes) == 3
    for shape in shapes:
        model = make_tiny(shape.model_copy(update={"vocab_size": len(words)}), words, seed=0)
        assert refusal(model) is None
