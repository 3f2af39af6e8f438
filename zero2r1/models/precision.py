"""Which data type a device computes fastest in, products of bfloat16 numbers that are not rounded to bfloat16, and sums
in a fixed order.

bfloat16 only pays where the processor multiplies it itself (AVX512-BF16 or AMX, or a GPU of NVIDIA's Ampere and later);
elsewhere it is emulated and slower than float32.

What it does not do: measure, or change a model. The answer depends on the machine, so it is asked for once, when a
recipe is read, and written down with the recipe (`recipes.load`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def settled(dtype: str, device: torch.device | str | None = None) -> str:
    """A data type by name, `auto` replaced by the one that is fastest here; any other name as it is."""
    return fast_dtype(device) if dtype == "auto" else dtype


def fast_dtype(device: torch.device | str | None = None) -> str:
    """`bfloat16` where this device computes with it in hardware, else `float32`.

    Args:
        device: None: where torch puts a tensor unless it is told otherwise.

    Ours: the two names that `learner.compute_dtype` knows.
    """
    kind = (torch.get_default_device() if device is None else torch.device(device)).type
    if kind == "cuda":
        has_bfloat16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bfloat16 = kind == "cpu" and cpu_has_bfloat16()
    return "bfloat16" if has_bfloat16 else "float32"


def cpu_has_bfloat16() -> bool:
    """Whether the processor has AVX512-BF16 or AMX. False where this torch cannot tell."""
    return _says("_is_avx512_bf16_supported") or cpu_has_tiles()


def cpu_has_tiles() -> bool:
    """Whether the processor multiplies bfloat16 tiles (AMX), as oneDNN does. False where this torch cannot tell."""
    return _says("_is_amx_tile_supported")


def _says(name: str) -> bool:
    ask = getattr(torch.cpu, name, None)
    return ask is not None and bool(ask())


@contextmanager
def bfloat16_factors() -> Iterator[None]:
    """Inside, a CPU multiplies float32 matrices as if they were bfloat16, and sums and returns float32.

    For factors that hold bfloat16 numbers this is the exact product; a product of bfloat16 tensors would be rounded to
    eight bits at the end. On a processor without bfloat16 it is an ordinary float32 product. The setting is the
    process's: another thread's float32 products are affected meanwhile.
    """
    products: Any = getattr(torch.backends.mkldnn, "matmul", None)
    before = getattr(products, "fp32_precision", None)
    if before is None:  # an older torch multiplies in float32: the same numbers, slower
        yield
        return
    try:
        products.fp32_precision = "bf16"
        yield
    finally:
        products.fp32_precision = before


@contextmanager
def deterministic(*, warn_only: bool = False) -> Iterator[None]:
    """Inside, torch's operations on a GPU add up in a fixed order where they have the choice: runs repeat bit by bit.

    The setting is the process's, and changes nothing on a CPU.

    Args:
        warn_only: an operation without such an order warns instead of raising. Flash attention takes it then, too.
    """
    settings: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fills = settings.fill_uninitialized_memory
    try:
        settings.fill_uninitialized_memory = False  # new memory is written to before it is read here
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = fills
