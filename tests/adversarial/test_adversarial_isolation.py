"""Every attack is held by tiers A and B, for root and for nobody; every one lands where there is no wall.

The second half proves the first: an attack that cannot land anywhere, or that says nothing, proves no wall.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from as_nobody import run_as_nobody
from attack_judge import Verdict, assail
from attack_suite import ATTACKS, HELD_BY_C, HELD_BY_THE_TRUSTED_SIDE, SLOW, findings, launcher, promised
from attack_world import World, a_world

from zero2r1.sandbox.sandbox import Sandbox

HANDFUL = [
    "fork bomb", "memory of one process", "daemon", "left for the next run", "write outside", "read a secret",
    "read environments", "TCP", "kill", "read memory", "trace", "own namespaces", "every other call",
]  # fmt: skip
IS_ROOT = os.geteuid() == 0


def cases(tiers: tuple[str, ...]) -> list:
    """Every attack that may be tried on each tier."""
    return [
        pytest.param(tier, name, id=f"{tier}-{name}", marks=[pytest.mark.slow] if name in SLOW else [])
        for tier in tiers
        for name in promised(tier)
    ]


@pytest.fixture(scope="module")
def world_of() -> Iterator[Callable[[str], World]]:
    """Tier -> its world, which stays open for the whole module."""
    with ExitStack() as stack:

        @cache
        def opened(tier: str) -> World:
            try:
                sandbox = stack.enter_context(Sandbox(launcher(tier)))
            except OSError as refused:
                pytest.skip(f"no tier {tier} here: {refused}")
            return stack.enter_context(a_world(sandbox, inside=tier in ("A", "B")))

        yield opened


@pytest.mark.parametrize(("tier", "name"), cases(("A", "B")))
def test_it_is_held(tier, name, world_of):
    found = assail(ATTACKS[name], world_of(tier))
    assert found.verdict is Verdict.HELD, found.detail


@pytest.mark.parametrize(("tier", "name"), cases(("bare",)))
def test_without_a_wall_it_lands(tier, name, world_of):
    if ATTACKS[name].needs_root and not IS_ROOT:
        pytest.skip("it lands for root only")
    expected = Verdict.HELD if name in HELD_BY_THE_TRUSTED_SIDE else Verdict.LANDED
    found = assail(ATTACKS[name], world_of(tier))
    assert found.verdict is expected, found.detail


@pytest.mark.parametrize("name", sorted(HELD_BY_THE_TRUSTED_SIDE))
def test_without_the_trusted_side_it_goes_on(name, world_of):
    """As a plain process it uses more than a second, or says more than the limit."""
    command = [sys.executable, "-I", "-S", "-B", "-c", ATTACKS[name].text]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            heard, _ = process.communicate(world_of("bare").told(), timeout=1)
            assert len(heard) > 200 * 2**20
        except subprocess.TimeoutExpired:
            assert "output" not in name or name == "sleep with closed output"
        finally:
            process.kill()


@pytest.mark.slow
def test_tier_c_holds_what_is_listed_and_nothing_else():
    found = findings("C")
    assert {name for name, (verdict, _) in found.items() if verdict is Verdict.UNTRIED} == set()
    held = {name for name, (verdict, _) in found.items() if verdict is Verdict.HELD}
    depends = {"raised limits", *(name for name in ATTACKS if ATTACKS[name].needs_root and not IS_ROOT)}
    assert held - depends == HELD_BY_C


@pytest.mark.parametrize("tier", ["A", "B"])
@pytest.mark.parametrize("names", [HANDFUL, pytest.param([], marks=pytest.mark.slow)], ids=["some", "all"])
def test_nobody_holds_it_too(tier, names):
    """In a process of uid 65534; boxes of tier B then run as the harness's own user."""
    script = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from attack_suite import findings
print(json.dumps(findings({tier!r}, {names!r})))
"""
    ended = run_as_nobody(script)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert len(found) == len(names or promised(tier))
    assert {name: each for name, each in found.items() if each[0] != "held"} == {}
