"""Hostile programs through one sandbox, each followed by an honest one whose output must be right.

At the end nothing has grown: processes, descriptors, mounts, temporary files.
"""

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from attack_suite import ATTACKS, CRASHES, SLOW, launcher, promised
from attack_targets import descendants
from attack_world import LIMITS, World, a_world, temporary_files_in

from zero2r1.core.random import Address, Stream, key
from zero2r1.sandbox import namespaces
from zero2r1.sandbox.base import MIB, Limits, Status
from zero2r1.sandbox.sandbox import Sandbox

SHORT = Limits(cpu_s=0.2, memory_bytes=LIMITS.memory_bytes, tmp_bytes=LIMITS.tmp_bytes)
HONEST = Limits(cpu_s=4.0, memory_bytes=128 * MIB)
SETTLED_AFTER_S = 0.3
WAITS = "sleep with closed output"


def counted(world: World) -> dict[str, object]:
    time.sleep(SETTLED_AFTER_S)  # the guard of the last box may be on its way out
    return {
        "processes": len(descendants(os.getpid())),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": Path("/proc/self/mountinfo").read_text(),
        "temporary": len(os.listdir(world.temporary)),
        "rights": (os.getresuid(), os.getcwd(), dict(os.environ)),
    }


@pytest.mark.parametrize("tier", ["A", "B"])
@pytest.mark.parametrize(
    "rounds", [30, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])], ids=["short", "long"]
)
def test_after_every_hostile_run_an_honest_one_is_right(tier, rounds, monkeypatch):
    made: list[int] = []
    start = namespaces.ForkServer.__init__

    def noted(self, world):
        start(self, world)
        made.append(self.pid)

    monkeypatch.setattr(namespaces.ForkServer, "__init__", noted)
    avoided = SLOW if rounds < 100 else {WAITS}
    hostile = {name: ATTACKS[name].text for name in promised(tier) if name not in avoided} | CRASHES
    statuses: Counter[Status] = Counter()
    wrong = []
    try:
        opened = launcher(tier)
    except OSError as refused:
        pytest.skip(f"no tier {tier} here: {refused}")
    with Sandbox(opened) as sandbox, a_world(sandbox) as world, temporary_files_in(world.temporary):
        sandbox.run("print(1)")
        num_made, before, told = len(made), counted(world), world.told()
        for step in range(rounds):
            name = Stream(key(Address(seed=1, stage="soak", step=step))).choice(sorted(hostile))
            statuses[sandbox.run(hostile[name], stdin=told, limits=SHORT).status] += 1
            honest = sandbox.run(f"import json\nprint(json.dumps(sum(range({step}))))", limits=HONEST)
            if honest.stdout != b"%d\n" % (step * (step - 1) // 2):
                wrong.append((step, name, honest))
        assert wrong == []
        assert statuses[Status.BROKEN] == 0, statuses
        assert counted(world) == before
        assert world.harm() == ""
        assert len(made) == num_made, "no program can make a fork server end"
        assert len(statuses) >= 3, "the programs end in different ways"
