"""Attacks by using up: processes, threads, memory, disk, time, output; and by living on after the run.

Sizes are small enough for a run without any wall. Each text goes on from the names of `attack_judge.PRELUDE`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attack_judge import Attack
from attack_world import LIMITS, World

from zero2r1.sandbox.base import MIB, Execution, Limits, Status

LONG = Limits(cpu_s=0.3, memory_bytes=LIMITS.memory_bytes, tmp_bytes=LIMITS.tmp_bytes)
MANY_THREADS, MANY_FILES = 200, 20_000
PLACES = ["/tmp/", "/dev/shm/", "/var/tmp/", "./"]
KILLED = frozenset({Status.SIGNALLED, Status.CPU, Status.WALL, Status.OUTPUT})


def said_more_than(name: str, most: int) -> Any:
    return lambda _, __, said: said.get(name, 0) > most and f"{name}: {said[name]}"


def not_stopped_by(status: Status) -> Any:
    def landed(world: World, execution: Execution, said: dict[str, Any]) -> str:
        return "" if execution.status is status else f"ended by {execution.status}"

    return landed


def too_much_heard(world: World, execution: Execution, said: dict[str, Any]) -> bool:
    return max(len(execution.stdout), len(execution.stderr)) > LIMITS.output_bytes


def seen_by_the_next(world: World, execution: Execution, said: dict[str, Any]) -> str:
    """Look from the same slot, until a run has been in each."""
    mark, places = "m" + world.mark, [*PLACES, f"{world.playground}/"]
    seen = f"[p for p in {places} if os.path.lexists(p + '{mark}')], hasattr(json, '{mark}'), '{mark}' in sys.path"
    for _ in range(2):
        heard = world.sandbox.run(f"import json, os, sys\nprint({seen})", limits=LIMITS).stdout
        assert heard, "the look itself failed"
        if heard != b"[] False False\n":
            return f"the next run sees {heard!r}"
    return ""


USING_UP: Mapping[str, Attack] = MappingProxyType(
    {
        "fork bomb": Attack(
            program="""
import time
born = 0
for _ in range(20):
    try:
        pid = os.fork()
    except OSError:
        continue
    if pid == 0:
        time.sleep(0.2)
        os._exit(0)
    born += 1
say(born=born)
""",
            landed=said_more_than("born", 0),
        ),
        "vfork and spawn": Attack(
            program="""
import subprocess
spawned = tries(os.posix_spawn, "/bin/true", ["true"], {})
say(born=(spawned is not None) + (tries(subprocess.run, ["/bin/true"]) is not None))
""",
            landed=said_more_than("born", 0),
        ),
        "thread bomb": Attack(
            program="""
import threading
threading.stack_size(32768)
gate, born = threading.Event(), 0
for _ in range(400):
    if tries(threading.Thread(target=gate.wait, daemon=True).start) is None:
        break
    born += 1
    if born % 50 == 0:
        __import__("time").sleep(0.08)
say(threads=born)
gate.set()
""",
            landed=said_more_than("threads", MANY_THREADS),
            may_end=KILLED,
        ),
        "memory of one process": Attack(
            program="""
held = []
while len(held) < 20 and (piece := tries(bytearray, b"x" * 2**23)):
    held.append(piece)
say(mib=8 * len(held))
""",
            landed=said_more_than("mib", LIMITS.memory_bytes // MIB),
        ),
        "memory by children": Attack(
            program="""
import mmap
total = 0
hear, tell = os.pipe()
hold, let = os.pipe()
for _ in range(4):
    if (pid := tries(os.fork)) is None:
        continue
    if pid == 0:
        os.close(let)
        held = bytearray(b"x" * (40 * 2**20))
        os.write(tell, b"x")
        os.read(hold, 1)
        os._exit(0)
    total += len(os.read(hear, 1)) * 40
os.close(let)
say(mib=total)
""",
            landed=said_more_than("mib", LIMITS.memory_bytes // MIB),
        ),
        "memory in nameless files": Attack(
            program="""
total = 0
for _ in range(32):
    if (file := tries(lambda: os.memfd_create("x") + 1)):
        total += (tries(os.write, file - 1, bytes(5 * 2**20)) or 0) / 2**20
say(mib=total)
""",
            landed=said_more_than("mib", LIMITS.memory_bytes // MIB),
        ),
        "memory that outlives": Attack(
            program="""
made = LIBC.shmget(int(WORLD["mark"][:7], 16), 4096, 0o1600)
say(made=int(made >= 0))
LIBC.shmctl(made, 0, None)
""",
            landed=said_more_than("made", 0),
        ),
        "disk by many files": Attack(
            program="""
import time
total = 0
for number in range(16):
    with open(f"{number}", "wb", buffering=0) as file:
        total += (tries(file.write, bytes(2**22)) or 0) / 2**20
    time.sleep(0.03)
say(mib=total)
""",
            landed=said_more_than("mib", 2 * LIMITS.tmp_bytes // MIB),
            may_end=KILLED,
        ),
        "disk by removed files": Attack(
            program="""
import time
total, held = 0, []
for number in range(16):
    file = open("removed", "wb", buffering=0)
    os.unlink("removed")
    total += (tries(file.write, bytes(2**22)) or 0) / 2**20
    held.append(file)
    time.sleep(0.03)
say(mib=total)
""",
            landed=said_more_than("mib", 2 * LIMITS.tmp_bytes // MIB),
            may_end=KILLED,
        ),
        "disk behind a bustle": Attack(
            program="""
import threading
busy = True
def bustle():
    while busy:
        for number in range(300):
            tries(os.mkdir, f"d{number}")
        for number in range(300):
            tries(os.rmdir, f"d{number}")
thread = threading.Thread(target=bustle)
thread.start()
total = 0
for number in range(16):
    with open(f"f{number}", "wb", buffering=0) as file:
        total += (tries(file.write, bytes(2**22)) or 0) / 2**20
    __import__("time").sleep(0.03)
busy = False
thread.join()
say(mib=total)
""",
            landed=said_more_than("mib", 2 * LIMITS.tmp_bytes // MIB),
            may_end=KILLED,
        ),
        "many empty files": Attack(
            program="""
made = 0
for number in range(20_001):
    made += tries(lambda: os.close(os.open(f"e{number}", os.O_CREAT | os.O_WRONLY))) is not None
say(files=made)
""",
            landed=said_more_than("files", MANY_FILES),
            limits=Limits(memory_bytes=LIMITS.memory_bytes, tmp_bytes=LIMITS.tmp_bytes),
            may_end=KILLED,
        ),
        "a tree nobody can remove": Attack(
            program="""
for _ in range(1500):
    try:
        os.mkdir("d" * 100, 0o700)
        os.chdir("d" * 100)
    except OSError:
        break
os.umask(0o777)
tries(os.mkdir, "closed")
""",
            landed=lambda world, _, __: any(each.is_dir() for each in world.playground.iterdir()),
            may_end=KILLED,
        ),
        "endless loop, signals ignored": Attack(
            program="""
import signal
for number in range(1, 65):
    tries(signal.signal, number, signal.SIG_IGN)
while True:
    pass
""",
            landed=not_stopped_by(Status.CPU),
            limits=LONG,
            may_end=KILLED,
        ),
        "sleep with closed output": Attack(
            program="""
import time
os.close(1)
os.close(2)
tries(os.kill, os.getpid(), 19)
time.sleep(20)
""",
            landed=not_stopped_by(Status.WALL),
            limits=LONG,
            may_end=KILLED,
        ),
        "200 MB of output": Attack(
            program="for _ in range(25):\n    os.write(1, bytes(2**23))\n",
            landed=too_much_heard,
            may_end=KILLED,
        ),
        "200 MB of complaints": Attack(
            program="for _ in range(25):\n    os.write(2, bytes(2**23))\n",
            landed=too_much_heard,
            may_end=KILLED,
        ),
        "daemon": Attack(
            program="""
import time
if tries(os.fork) == 0:
    os.setsid()
    if tries(os.fork) == 0:
        os.closerange(0, 3)
        time.sleep(5)
        os._exit(0)
    os._exit(0)
""",
            landed=lambda *_: "",  # whoever lives on is found by name
        ),
        "disarmed": Attack(
            program="say(disarmed=int(LIBC.prctl(1, 0, 0, 0, 0) == 0))\n",
            landed=said_more_than("disarmed", 0),
        ),
        "left for the next run": Attack(
            program=f"""
mark = "m" + WORLD["mark"]
for place in {PLACES!r}:
    if WORLD["inside"] or place == "./":
        tries(lambda: open(place + mark, "w").close())
setattr(json, mark, 1)
sys.path.append(mark)
""",
            landed=seen_by_the_next,
        ),
        "raised limits": Attack(
            program="""
import resource
raised = 0
for kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU):
    hard = resource.getrlimit(kind)[1]
    raised += hard == -1 or tries(resource.setrlimit, kind, (hard, hard + 1)) is not None
say(raised=raised)
""",
            landed=said_more_than("raised", 0),
            needs_root=True,
        ),
    }
)
