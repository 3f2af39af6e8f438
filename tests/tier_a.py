"""What tier A tests share: a sandbox where the machine allows one, and whether processes live."""

import time
from pathlib import Path

import pytest

from zero2r1.sandbox.namespaces import NamespaceLauncher
from zero2r1.sandbox.sandbox import Sandbox

LOOP = "while True: pass"


def open_here(**settings) -> Sandbox:
    """A tier A sandbox, or no test where namespaces are forbidden."""
    try:
        return Sandbox(NamespaceLauncher(**settings))
    except OSError as refused:
        pytest.skip(f"no namespaces here: {refused}")


def lives(pid: int) -> bool:
    """True for a process that runs; a zombie that waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def all_gone(pids, seconds: float = 2.0) -> bool:
    """Whether all processes end within the time."""
    until = time.monotonic() + seconds
    while any(lives(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
