"""What the compiled functions take: C types, the names of data types, addresses, numbers of threads."""

import ctypes

import torch
from torch import Tensor

LANES = 16
"""Tokens of a page of the cache, and numbers of a vector: widths are multiples of it."""
ROWS_PER_THREAD = 8
"""Ours: with fewer rows than this a second thread costs more than it does."""

REAL = ctypes.c_float
COUNT = ctypes.c_int64
THREADS = ctypes.c_int
TENSOR = ctypes.c_void_p
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""As the compiled functions are called by the dtype they are for."""


def at(tensor: Tensor | None) -> int | None:
    """Where its numbers begin."""
    return None if tensor is None else tensor.data_ptr()


def check(*tensors: Tensor) -> None:
    """Every compiled function takes contiguous tensors of the CPU, unless it says otherwise."""
    assert all(tensor.is_contiguous() and tensor.device.type == "cpu" for tensor in tensors)


def threads_for(rows: int) -> int:
    """How many share this many rows."""
    return max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))
