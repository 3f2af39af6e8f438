"""A run that is killed at any moment and started again by the same command ends as if nothing had happened."""

import json
import random
from pathlib import Path

import pytest

from tests.killing import fingerprint, finish, kill_at, ticks


def _killed_often(
    recipe: str, folder: Path, kills: int, seed: int, overrides: tuple[str, ...] = ()
) -> tuple[Path, Path]:
    """An undisturbed run and one that was killed `kills` times, both finished."""
    calm, rough = folder / "calm", folder / "rough"
    finish(recipe, calm, overrides)
    chance = random.Random(seed)
    goals = sorted(chance.sample(range(1, ticks(calm)), kills))
    landed = sum(kill_at(recipe, rough, goal, overrides) for goal in goals)
    # A kill that never landed would prove nothing: at most one goal in five may be passed between two looks.
    assert landed >= kills - kills // 5
    finish(recipe, rough, overrides)
    return calm, rough


def _is_equal(calm: Path, rough: Path) -> None:
    expected, found = fingerprint(calm), fingerprint(rough)
    assert {name for name in expected if expected[name] != found.get(name)} == set()
    assert set(found) == set(expected)


def test_a_run_killed_three_times_ends_with_the_same_weights_and_metrics(tmp_path: Path) -> None:
    calm, rough = _killed_often("micro", tmp_path, kills=3, seed=1)
    _is_equal(calm, rough)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_demo_killed_twenty_times_ends_with_the_same_weights_and_metrics(tmp_path: Path) -> None:
    calm, rough = _killed_often("tiny", tmp_path, kills=20, seed=2, overrides=("threads=1",))
    _is_equal(calm, rough)


@pytest.mark.slow
def test_the_fingerprint_notices_another_seed(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    finish("micro", one)
    finish("micro", two, ("seed=4",))
    assert fingerprint(one) != fingerprint(two)
    manifest = json.loads((one / "stages" / "base" / "manifest.json").read_text())
    assert manifest["outputs"]["weights_hash"]
