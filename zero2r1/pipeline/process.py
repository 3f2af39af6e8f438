"""What a process sets for itself before it trains: its threads, that it keeps memory it has had, a GPU's products.

What it does not do: set anything back.
"""

import ctypes
import os
import platform

from zero2r1.models.device import require_device

KEPT_BYTES = 2**30
"""Ours: glibc asks the system for blocks above this size one by one, and gives those back when they are freed."""
NEVER = -1
"""Ours: what lies free at the end is not given back. By default both sizes start at 128 KiB, so each pass of an update
gave hundreds of megabytes back and got them again as zeroed pages: 4 to 8 % of its time with SmolLM2-135M on a CPU.
With 1 GiB here it still did where a pass had more and its last block happened to be freed (docs/log.md)."""
CUBLAS_WORKSPACE = ":4096:8"
"""Eight blocks of 4096 KiB, one of two sizes with which NVIDIA promises that cuBLAS gives equal products equal bits."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_* of malloc.h


def settle(threads: int | None, device: str = "cpu") -> None:
    """Sets this process up for training; again and again without harm.

    Args:
        threads: of torch; None leaves them as they are.
        device: where it computes, `cpu` or `cuda`.

    Raises:
        ConfigError: there is no GPU here (Z116).
    """
    settle_device(device)
    _keep_memory()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def settle_device(device: str) -> None:
    """Refuses a GPU that is not here (ConfigError, Z116) and has one compute equal products alike.

    To be called before the first product on a GPU: cuBLAS reads its setting once. What the environment says wins.
    """
    require_device(device)
    if device == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)


def _keep_memory() -> None:
    """Libraries other than glibc have rules of their own and are left alone; so is what the environment says."""
    is_told = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if platform.libc_ver()[0] == "glibc" and not is_told:
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, NEVER)
        libc.mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
