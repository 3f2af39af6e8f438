"""The examples run as their first lines say, and show what they claim."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))


def output_of(path: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(path.parent.parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def named(start: str) -> Path:
    return next(path for path in EXAMPLES if path.name.startswith(start))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_to_run_it(path: Path):
    assert f"python examples/{path.name}" in path.read_text(encoding="utf-8")


def test_the_right_and_readable_reply_gets_the_most_credit():
    lines = output_of(named("01")).splitlines()[1:]
    credits = [float(line.split()[0]) for line in lines]
    assert credits[0] == max(credits) > 0
    # The advantages of a group sum to 0 (each is shown with two digits).
    assert abs(sum(credits)) < 0.03


def test_grpo_on_one_page_learns():
    rewards = [float(reward) for reward in re.findall(r"reward (\d\.\d\d)", output_of(named("02")))]
    assert len(rewards) == 4
    assert rewards[-1] > rewards[0] + 0.5


def test_a_reward_of_ones_own_shows_what_it_pays_for():
    shown = output_of(named("03"))
    assert re.search(r"right only in the thinking +brevity 1\.00 +wrong", shown)
