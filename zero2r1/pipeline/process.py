"""What a process sets for itself before it trains: its threads, and that it keeps memory it has had.

What it does not do: change a result, or set anything back.
"""

import ctypes
import os
import platform

KEPT_BYTES = 2**30
"""Ours: glibc asks the system for blocks above this size one by one, and gives back what lies free at the end above it.
By default both start at 128 KiB, so each pass of an update gave hundreds of megabytes back and got them again as zeroed
pages: 4 to 8 % of its time with SmolLM2-135M on a CPU (docs/log.md)."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_* of malloc.h


def settle(threads: int | None) -> None:
    """Sets this process up for training; again and again without harm.

    Args:
        threads: of torch; None leaves them as they are.
    """
    _keep_memory()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _keep_memory() -> None:
    """Libraries other than glibc have rules of their own and are left alone; so is what the environment says."""
    is_told = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] == "glibc" and not is_told:
        libc = ctypes.CDLL(None)
        for setting in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(setting, KEPT_BYTES)
