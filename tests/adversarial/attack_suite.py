"""All attacks by name, the tiers they run against, and the programs that only crash.

`findings` is what a test calls, here or in a process of another user.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from attack_judge import Attack, Verdict, assail
from attack_targets import BareLauncher
from attack_world import a_world
from attacks import USING_UP
from attacks_kernel import KERNEL
from attacks_reaching import REACHING

from zero2r1.sandbox.base import Launcher
from zero2r1.sandbox.confined import ConfinedLauncher
from zero2r1.sandbox.namespaces import NamespaceLauncher
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.unsafe import UnsafeLauncher

ATTACKS: Mapping[str, Attack] = MappingProxyType({**USING_UP, **REACHING, **KERNEL})
SLOW = frozenset(
    {
        "sleep with closed output", "endless loop, signals ignored", "many empty files", "memory by children",
        "a tree nobody can remove", "disk by removed files", "disk by many files", "disk behind a bustle",
        "thread bomb",
    }
)  # fmt: skip
"""Half a second and more each, somewhere."""
HELD_BY_THE_TRUSTED_SIDE = frozenset(
    {"endless loop, signals ignored", "sleep with closed output", "200 MB of output", "200 MB of complaints"}
)
"""No launcher is needed for these: the session reads no more, looks at the clock, and kills."""
HELD_BY_C = HELD_BY_THE_TRUSTED_SIDE | {"memory of one process", "guess descriptors", "write to all descriptors"}

CRASHES: Mapping[str, str] = MappingProxyType(
    {
        "segmentation fault": "import ctypes\nctypes.string_at(0)",
        "abort": "import os\nos.abort()",
        "endless recursion": "import sys\nsys.setrecursionlimit(10**9)\ndef f(): f()\nf()",
        "endless recursion in C": "x = []\nfor _ in range(10**6): x = [x]\nrepr(x)",
        "deep nesting": "(" * 100_000 + ")" * 100_000,
        "nested code": "\n".join(" " * n + "if 1:" for n in range(2000)),
        "huge number": "print(len(str(10**(10**7))))",
        "out of memory": "x = [0]\nwhile True: x = x * 2",
        "no source": "\x00",
        "exit in a thread": "import threading, os\nthreading.Thread(target=os._exit, args=(3,)).start()\nwhile 1: pass",
        "bad end": "class A:\n  def __del__(self):\n    while True: pass\na = A()",
        "end that raises": "import atexit, sys\natexit.register(lambda: 1/0)\nsys.exit(2**80)",
        "closed streams": "import os, sys\nos.closerange(0, 100)\nprint(1)\nsys.stdout.flush()",
        "hostile streams": "import sys\nclass S:\n  def __getattr__(self, n): 1 / 0\nsys.stdout = sys.stderr = S()",
        "no modules": "import sys\nsys.modules.clear()\nsys.path.clear()\nimport json",
        "broken builtins": "import builtins\nbuiltins.__dict__.clear()",
    }
)


def launcher(tier: str, slots: int = 2) -> Launcher:
    """A launcher of this tier; `bare`: without any wall.

    Raises:
        OSError: not on this machine.
    """
    if tier == "bare":
        return BareLauncher()
    if tier == "C":
        return UnsafeLauncher()
    return NamespaceLauncher(slots=slots) if tier == "A" else ConfinedLauncher(slots=slots)


def promised(tier: str) -> list[str]:
    """Attacks that a tier holds, and that may be tried on it."""
    in_box = tier in ("A", "B")
    return [
        name
        for name, attack in ATTACKS.items()
        if (in_box or not attack.boxes_only) and not (tier == "B" and attack.needs_names)
    ]


def findings(tier: str, names: Sequence[str] = ()) -> dict[str, tuple[Verdict, str]]:
    """Each attack against a fresh sandbox of a tier; all that it promises by default."""
    with Sandbox(launcher(tier)) as sandbox, a_world(sandbox, inside=tier in ("A", "B")) as world:
        found = {name: assail(ATTACKS[name], world) for name in names or promised(tier)}
    return {name: (finding.verdict, finding.detail) for name, finding in found.items()}
