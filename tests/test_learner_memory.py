"""Freed memory stays with the process where the C library is glibc."""

import platform
import subprocess
import sys

import pytest

from zero2r1.learner.memory import keep_freed_memory

PROGRAM = """
import resource, sys, torch
if sys.argv[1] == "keep":
    from zero2r1.learner.memory import keep_freed_memory
    assert keep_freed_memory()
faults = 0
for megabytes in (6, 16, 31):
    for turn in range(6):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(megabytes * 2**18)  # freed at once
        faults += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before if turn else 0
print(faults)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_memory_is_not_asked_for_again():
    faults = {
        mode: int(subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, check=True).stdout)
        for mode in ("keep", "leave")
    }
    assert faults["leave"] > 1000 > faults["keep"]
    assert keep_freed_memory()
