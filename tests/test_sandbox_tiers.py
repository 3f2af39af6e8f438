"""The self-test and the choice of a tier: on this machine, where namespaces are denied, where everything is."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zero2r1.core.errors import RewardError
from zero2r1.sandbox import tiers
from zero2r1.sandbox.base import Tier
from zero2r1.sandbox.config import SandboxConfig
from zero2r1.sandbox.landlock import version
from zero2r1.sandbox.probes import NO_ANSWER, PROMISES, ProbeResult, broken_promises, self_test
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.tiers import open_sandbox
from zero2r1.sandbox.unsafe import UnsafeLauncher

pytestmark = pytest.mark.skipif(version() < 1, reason="no Landlock here")


@pytest.fixture
def open_results(monkeypatch, tmp_path: Path) -> Iterator[list[ProbeResult]]:
    """The self-test of a sandbox that isolates nothing, which runs where it may spoil what it likes."""
    monkeypatch.chdir(tmp_path)
    with Sandbox(UnsafeLauncher()) as made:
        yield self_test(made)


def test_the_probes_tell_an_open_sandbox_from_a_closed_one(open_results):
    assert len(open_results) >= 50
    for tier in (Tier.A, Tier.B):
        open_ = {result.name for result in broken_promises(tier, open_results)}
        # The rest holds for an ordinary process too, or needs rights that this user may lack.
        assert len(open_) >= 25, sorted(open_)
        assert {"fork", "execute", "sockets", "connect to the machine", "read a file", "write a file"} <= open_
        assert {"the caller's files", "signal the caller", "remove a file", "link out", "next run"} - open_ <= {
            "link out"
        }


def test_the_probes_do_not_tell_what_they_read(open_results):
    told = json.dumps([[result.name, result.detail] for result in open_results])
    assert "bait of" not in told
    assert os.environ["PATH"] not in told


@pytest.mark.parametrize("tier", ["A", "B"])
def test_each_tier_keeps_its_promises_in_less_than_a_second(tier):
    if tier == "A" and subprocess.run(["unshare", "--user", "--pid", "--mount", "--fork", "true"]).returncode:
        pytest.skip("no namespaces here")
    heard = []
    with open_sandbox(SandboxConfig(tier=tier), report=lambda kind, **fields: heard.append((kind, fields))) as made:
        assert made.tier == tier
        began = time.monotonic()
        results = self_test(made)
        assert time.monotonic() - began < (1.0 if os.getloadavg()[0] < 2 else 10.0)
        assert broken_promises(made.tier, results) == []
        assert {result.name for result in results} >= PROMISES[made.tier]
    assert heard == [("sandbox", {"tier": tier, "slots": 2})]


def test_a_probe_that_says_nothing_did_not_hold():
    kept = [ProbeResult(name=name, is_held=True) for name in sorted(PROMISES[Tier.B])]
    assert broken_promises(Tier.B, kept) == []
    assert [each.name for each in broken_promises(Tier.B, kept[1:])] == [kept[0].name]
    lost = [ProbeResult(name="fork", is_held=False, detail="it worked")]
    assert broken_promises(Tier.B, [*(each for each in kept if each.name != "fork"), *lost]) == lost
    assert {each.detail for each in broken_promises(Tier.A, [])} == {NO_ANSWER}
    assert len(broken_promises(Tier.A, [])) == len(PROMISES[Tier.A]) >= 20
    assert broken_promises(Tier.C, []) == []


def test_no_isolation_only_on_the_users_word():
    with pytest.raises(RewardError) as refused:
        open_sandbox(SandboxConfig(tier="C"))
    assert (refused.value.code, refused.value.exit_code) == ("Z144", 2)
    heard = []
    with open_sandbox(
        SandboxConfig(tier="C", unsafe_local_exec=True), report=lambda kind, **fields: heard.append((kind, fields))
    ) as made:
        assert made.tier is Tier.C
    assert heard == [("weak_sandbox", {"tier": "C", "slots": 2, "code": "Z146", "reasons": []})]


def test_a_strong_tier_is_kept_although_the_weak_one_is_allowed():
    with open_sandbox(SandboxConfig(unsafe_local_exec=True)) as made:
        assert made.tier in (Tier.A, Tier.B)


def test_a_tier_that_lies_is_refused_and_closed(monkeypatch, tmp_path: Path):
    """The mutant: tier B without walls must not pass, alone or as the fallback."""
    closed = []

    class Lying(UnsafeLauncher):
        tier = Tier.B

        def close(self) -> None:
            closed.append(True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tiers, "ConfinedLauncher", lambda **_: Lying())
    with pytest.raises(RewardError) as refused:
        open_sandbox(SandboxConfig(tier="B"))
    assert closed == [True]
    text = str(refused.value)
    assert "fork (it worked)" in text
    assert "connect to the machine (it worked)" in text
    assert "--unsafe-local-exec" in text


DENIED = """
import ctypes, json, os, platform, struct, sys
LOAD, AND, EQUAL, RETURN, EPERM = 0x20, 0x54, 0x15, 0x06, 0x00050001
NUMBERS = {
    "x86_64": {"clone": 56, "clone3": 435, "prctl": 157, "unshare": 272, "mount": 165, "setns": 308, "seccomp": 317},
    "aarch64": {"clone": 220, "clone3": 435, "prctl": 167, "unshare": 97, "mount": 40, "setns": 268, "seccomp": 277},
}[platform.machine()]
code = [(LOAD, 0, 0, 0)]
for call in ("unshare", "mount", "setns"):
    code += [(EQUAL, 0, 1, NUMBERS[call]), (RETURN, 0, 0, EPERM)]
code += [(EQUAL, 0, 1, NUMBERS["clone3"]), (RETURN, 0, 0, 0x00050026)]
# clone with any flag of a new namespace
code += [(EQUAL, 0, 5, NUMBERS["clone"]), (LOAD, 0, 0, 16), (AND, 0, 0, 0x7E020000), (EQUAL, 1, 0, 0),
         (RETURN, 0, 0, EPERM), (LOAD, 0, 0, 0)]
if sys.argv[1] == "all":
    for number in (444, 445, 446, NUMBERS["seccomp"]):
        code += [(EQUAL, 0, 1, number), (RETURN, 0, 0, EPERM)]
    code += [(EQUAL, 0, 3, NUMBERS["prctl"]), (LOAD, 0, 0, 16), (EQUAL, 0, 1, 22), (RETURN, 0, 0, EPERM)]
code.append((RETURN, 0, 0, 0x7FFF0000))
packed = b"".join(struct.pack("<HBBI", *each) for each in code)
held = ctypes.create_string_buffer(packed, len(packed))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(held)), 16)
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.c_void_p(ctypes.addressof(program)), 0, 0) == 0, ctypes.get_errno()
assert libc.unshare(0) == -1  # the denial is real

from zero2r1.core.errors import UserError
from zero2r1.sandbox.config import SandboxConfig
from zero2r1.sandbox.tiers import open_sandbox

heard = []
config = SandboxConfig(**json.loads(sys.argv[2]))
try:
    made = open_sandbox(config, report=lambda kind, **fields: heard.append([kind, fields]))
except UserError as refused:
    print(json.dumps({"error": str(refused), "heard": heard}))
    sys.exit(refused.exit_code)
with made:
    said = made.run("import os\\ntry: os.fork(); print('forked')\\nexcept OSError: print('held')").stdout.decode()
    print(json.dumps({"tier": made.tier, "heard": heard, "said": said}))
"""


def under(denied: str, **settings: object) -> tuple[int, dict]:
    ended = subprocess.run(
        [sys.executable, "-c", DENIED, denied, json.dumps(settings)], capture_output=True, text=True, timeout=120
    )
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_without_namespaces_there_is_tier_b_and_a_warning():
    code, said = under("namespaces")
    assert (code, said["tier"], said["said"]) == (0, "B", "held\n")
    [[kind, fields]] = said["heard"]
    assert (kind, fields["tier"], fields["code"]) == ("weak_sandbox", "B", "Z146")
    assert len(fields["reasons"]) == 1
    assert fields["reasons"][0].startswith("tier A: ")


def test_a_tier_that_was_asked_for_is_never_replaced():
    code, said = under("namespaces", tier="A")
    assert code == 2
    assert said["error"].startswith("error Z144 ")
    assert said["heard"] == []


def test_with_nothing_there_is_a_refusal_and_no_run():
    code, said = under("all")
    assert code == 2
    assert said["heard"] == []
    assert "Z144" in said["error"]
    assert "tier A: " in said["error"]
    assert "tier B: " in said["error"]
    assert "--unsafe-local-exec" in said["error"]


def test_with_nothing_and_the_users_word_there_is_no_isolation_and_a_warning():
    code, said = under("all", unsafe_local_exec=True)
    assert (code, said["tier"]) == (0, "C")
    assert said["said"].splitlines().count("forked") == 2  # twice, by parent and child: nothing is held
    [[kind, fields]] = said["heard"]
    assert (kind, fields["tier"], len(fields["reasons"])) == ("weak_sandbox", "C", 2)
