"""The harness is killed with SIGKILL while programs loop: two seconds later no process of its boxes lives.

Half of the kills come while two programs loop and try to disarm whatever would end them; half at some moment while
runs start and end one after another.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from attack_suite import launcher
from attack_targets import descendants, lives, named, started

from zero2r1.core.random import Address, Stream, key

GONE_AFTER_S = 2.0

HARNESS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from attack_suite import launcher
from zero2r1.sandbox.base import Limits
from zero2r1.sandbox.sandbox import Sandbox

LOOP = '''
import ctypes, signal
libc = ctypes.CDLL(None)
libc.prctl(15, b"MARK", 0, 0, 0)
libc.prctl(1, 0, 0, 0, 0)
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
print("looping", flush=True)
while True:
    pass
'''.replace("MARK", sys.argv[3])
with Sandbox(launcher(sys.argv[2])) as sandbox:
    if sys.argv[4] == "loops":
        with sandbox.open(LOOP, LOOP, limits=Limits(cpu_s=60)) as sessions:
            assert [session.receive() for session in sessions] == [b"looping"] * 2
            print("ready", flush=True)
            threading.Event().wait(60)
    sandbox.run("print(1)")
    print("ready", flush=True)
    short = [threading.Thread(target=lambda: [sandbox.run(LOOP, limits=Limits(cpu_s=0.02)) for _ in range(999)])
             for _ in range(2)]
    for thread in short:
        thread.start()
    for thread in short:
        thread.join()
"""


def kill_one(tier: str, number: int, folder: Path) -> int:
    """Start a harness, kill it, wait for the end of its boxes; returns how many processes it took along."""
    mark, way = f"k{os.urandom(5).hex()}", "loops" if number % 2 == 0 else "starts"
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(Path(__file__).parent), tier, mark, way],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(folder)},
    )  # fmt: skip
    assert harness.stdout is not None
    heard = harness.stdout.readline()
    assert heard == b"ready\n", harness.communicate()
    if way == "starts":
        time.sleep(0.3 * Stream(key(Address(seed=1, stage="kills", step=number))).random())
    else:
        assert len(named(mark)) == 2
    born = {pid: started(pid) for pid in descendants(harness.pid)}
    harness.kill()
    harness.communicate()
    assert harness.returncode == -signal.SIGKILL
    until = time.monotonic() + GONE_AFTER_S
    while left := [pid for pid, when in born.items() if lives(pid) and started(pid) == when] + named(mark):
        assert time.monotonic() < until, f"{way}: {left} live on"
        time.sleep(0.02)
    return len(born)


@pytest.mark.parametrize("tier", ["A", "B"])
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_nothing_outlives_the_harness(tier, kills):
    try:
        launcher(tier).close()
    except OSError as refused:
        pytest.skip(f"no tier {tier} here: {refused}")
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        os.chmod(name, 0o755)
        taken = [kill_one(tier, number, Path(name)) for number in range(kills)]
    assert min(taken[::2]) >= 2, "there was nothing to take along"
