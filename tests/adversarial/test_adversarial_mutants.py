"""A sandbox with one wall less is noticed: the attacks that this wall holds land.

Each mutant takes away what is named and nothing else. It is attacked with harmless attacks only.
"""

import platform
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from attack_judge import Verdict, assail
from attack_suite import ATTACKS
from attack_world import a_world

from zero2r1.sandbox import confined, forkserver
from zero2r1.sandbox.base import Tier
from zero2r1.sandbox.confined import ConfinedLauncher
from zero2r1.sandbox.landlock import Access
from zero2r1.sandbox.namespaces import NamespaceLauncher
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.scratch import Scratch
from zero2r1.sandbox.seccomp import filter_program
from zero2r1.sandbox.unsafe import UnsafeLauncher

ALLOW_ALL = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
SEMGET = {"x86_64": 64, "aarch64": 190}[platform.machine()]
ONE_MORE = struct.pack("<HBBIHBBI", 0x15, 0, 1, SEMGET, 0x06, 0, 0, 0x7FFF0000)
"""If the call's number is that of semget, allow."""

A_MUTANTS = {
    "every call": (ALLOW_ALL, (), {"fork bomb", "listen", "calls of the kernel", "memory in nameless files"}),
    "one call more": (filter_program()[:-8] + ONE_MORE + filter_program()[-8:], (), {"every other call"}),
    "every call, one network": (
        ALLOW_ALL,
        (("private = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET |", "private = kernel.CLONE_NEWNS |"),),
        {"TCP", "UDP", "abstract socket"},
    ),
    "every call, one table of processes": (
        ALLOW_ALL,
        (("kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID |", "kernel.CLONE_NEWUSER |"),),
        {"daemon", "signal without harm"},
    ),
    "open descriptors": (filter_program(), (("linux.close_from(3)", "pass"),), {"write to all descriptors"}),
    "any memory": (filter_program(), (("(resource.RLIMIT_AS, memory),", ""),), {"memory of one process"}),
    "any number of threads": (filter_program(), (("(resource.RLIMIT_NPROC, MAX_TASKS),", ""),), {"thread bomb"}),
}
"""Filter, changes of the texts that are sent inside, and what lands then."""


QUICK = ("one call more", "every call, one network", "open descriptors", "every file", "nobody cleans")


def some(mutants: Iterable[str]) -> list:
    """The quick ones in every run, all of them in the long one."""
    return [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in mutants]


def assert_all_land(sandbox: Sandbox, names: set[str], *, inside: bool = True) -> None:
    assert not any(ATTACKS[name].boxes_only for name in names - {"every other call"})
    with sandbox, a_world(sandbox, inside=inside) as world:
        found = {name: assail(ATTACKS[name], world) for name in sorted(names)}
    assert {name: each for name, each in found.items() if each.verdict is not Verdict.LANDED} == {}


@pytest.mark.parametrize("name", some(A_MUTANTS))
def test_tier_a_with_a_wall_less(name, monkeypatch):
    calls, changes, names = A_MUTANTS[name]
    whole = forkserver._settings

    def settings(world):
        made = whole(world)
        for old, new in changes:
            assert sum(old in text for _, text in made["modules"]) == 1, "the mutant does not fit the code any more"
            made["modules"] = [(module, text.replace(old, new)) for module, text in made["modules"]]
        return made

    monkeypatch.setattr(forkserver, "_settings", settings)
    monkeypatch.setattr(forkserver, "filter_program", lambda: calls)
    try:
        sandbox = Sandbox(NamespaceLauncher())
    except OSError as refused:
        pytest.skip(f"no namespaces here: {refused}")
    assert_all_land(sandbox, names)


def every_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(confined, "filter_program", lambda: ALLOW_ALL)


def every_file(patch: pytest.MonkeyPatch) -> None:
    whole = confined.ruleset
    patch.setattr(confined, "ruleset", lambda it: whole(Access(readable=[Path("/")], scratch=it.scratch)))


def any_memory(patch: pytest.MonkeyPatch) -> None:
    whole = confined._resource_limits
    patch.setattr(confined, "_resource_limits", lambda *a, **k: whole(*a, **k).replace(f"{confined.RLIMIT_AS}:", "13:"))


def nobody_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scratch, "is_over", lambda *_: False)


def nobody_cleans(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scratch, "remove", lambda _: None)


B_MUTANTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], set[str]]] = {
    "every call": (every_call, {"fork bomb", "memory in nameless files", "calls of the kernel", "disarmed"}),
    "every file": (every_file, {"read a secret", "read the project", "read accounts and settings"}),
    "any memory": (any_memory, {"memory of one process"}),
    "nobody counts": (nobody_counts, {"disk by many files"}),
    "nobody cleans": (nobody_cleans, {"fork bomb"}),
}


@pytest.mark.parametrize("name", some(B_MUTANTS))
def test_tier_b_with_a_wall_less(name, monkeypatch):
    change, names = B_MUTANTS[name]
    change(monkeypatch)
    try:
        sandbox = Sandbox(ConfinedLauncher())
        sandbox.run("")
    except OSError as refused:
        pytest.skip(f"no Landlock here: {refused}")
    assert_all_land(sandbox, names)


class Dressed(UnsafeLauncher):
    """Tier C that says it is A."""

    tier = Tier.A


def test_a_dressed_up_tier_c():
    assert_all_land(Sandbox(Dressed()), {"fork bomb", "daemon", "read a secret", "TCP", "kill"}, inside=False)
