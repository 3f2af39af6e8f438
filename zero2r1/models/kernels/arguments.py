"""What the compiled functions take: C types, the names of data types, addresses, numbers of threads."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

LANES = 16
"""Tokens of a page of the cache, and numbers of a vector: widths are multiples of it."""
ROWS_PER_THREAD = 8
"""Ours: with fewer rows than this a second thread costs more than it does."""
WORK_PER_THREAD = 2**16
"""Ours: the same, in multiplications of a product."""

REAL = ctypes.c_float
COUNT = ctypes.c_int64
THREADS = ctypes.c_int
TENSOR = ctypes.c_void_p
NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
"""As the compiled functions are called by the dtype they are for."""


def typed(
    library: ctypes.CDLL, shapes: Mapping[str, Sequence[Any]], names: Mapping[Any, str] = NAMES
) -> dict[tuple[str, Any], "ctypes._NamedFuncPointer"]:
    """The library's functions by name and key of `names`, with their arguments; none returns anything."""
    functions = {}
    for name, arguments in shapes.items():
        for key, suffix in names.items():
            function = functions[name, key] = getattr(library, f"{name}_{suffix}")
            function.argtypes, function.restype = arguments, None
    return functions


def at(tensor: Tensor | None) -> int | None:
    """Where its numbers begin."""
    return None if tensor is None else tensor.data_ptr()


def check(*tensors: Tensor) -> None:
    """Every compiled function takes contiguous tensors of the CPU, unless it says otherwise."""
    assert all(tensor.is_contiguous() and tensor.device.type == "cpu" for tensor in tensors)


def threads_for(rows: int) -> int:
    """How many share this many rows."""
    return max(1, min(torch.get_num_threads(), rows // ROWS_PER_THREAD))


def work_threads(multiplications: int) -> int:
    """How many share a product of this many."""
    return max(1, min(torch.get_num_threads(), multiplications // WORK_PER_THREAD))
