"""Where a model computes: on the processor or on an NVIDIA GPU.

torch is imported only where the GPU's driver is here to be asked: without a GPU a recipe is read without torch.

What it does not do: several GPUs, a part of a model here and a part there, accelerators of other makers. Which GPU of
several it is, the environment says (CUDA_VISIBLE_DEVICES).
"""

import ctypes
import importlib.util
from importlib import metadata

from zero2r1.core.errors import ConfigError

DRIVER = "libcuda.so.1"
"""What the driver of an NVIDIA GPU puts on a machine, and nothing else does: without it torch has no GPU either."""


def settled_device(name: str) -> str:
    """A device by name, `auto` replaced by `cuda` where torch can compute there, else by `cpu`."""
    if name != "auto":
        return name
    return "cuda" if has_cuda() else "cpu"


def has_cuda() -> bool:
    """Whether this torch can compute on a GPU of this machine."""
    if not has_driver():
        return False
    import torch

    return bool(torch.cuda.is_available())


def has_driver() -> bool:
    """Whether there is a driver to ask."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def require_device(name: str) -> None:
    """ConfigError (Z116) when a model is to be put on a GPU that is not here."""
    if not name.startswith("cuda") or has_cuda():
        return
    if has_driver():
        why = f"the driver is here, but torch {metadata.version('torch')} finds no GPU that it can use"
        fix = "install a torch built for CUDA, or look at CUDA_VISIBLE_DEVICES; or compute here with device=cpu"
    else:
        why = f"there is no NVIDIA driver ({DRIVER})"
        fix = "device=cpu, or device=auto in the recipe (a run that was begun with cuda goes on where there is a GPU)"
    raise ConfigError("Z116", "no GPU to compute on", where=f"device={name}", why=why, fix=fix)


def gpu_name() -> str:
    """What the GPU calls itself that `cuda` stands for. Only where there is one."""
    import torch

    return str(torch.cuda.get_device_name())


def gpu_facts() -> str:
    """In words: each GPU, its memory, and whether there is Triton for kernels; or why there is none to compute on."""
    if not has_driver():
        return "none (not needed)"
    if not has_cuda():
        return f"not usable: torch {metadata.version('torch')} finds none that it can compute on"
    import torch

    found = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    cards = ", ".join(f"{card.name} {card.total_memory / 2**30:.0f} GiB" for card in found)
    has_triton = importlib.util.find_spec("triton") is not None
    return f"{cards}; Triton {metadata.version('triton') if has_triton else 'missing'}"
