"""Which kernels a device has.

What it does not do: say whether a model can use them (`models.layers`, `models.fused`).
"""

import torch

from zero2r1.models.gpu.ops import gpu_kernels
from zero2r1.models.kernels.build import NoKernelsError
from zero2r1.models.kernels.ops import local_kernels
from zero2r1.models.kernels.protocol import AnyKernels


def kernels_for(device: torch.device) -> AnyKernels:
    """The compiled kernels for a CPU, Triton's for a GPU of NVIDIA's.

    Raises:
        NoKernelsError: this kind of device has none, or they cannot be had here.
    """
    if device.type == "cpu":
        return local_kernels()
    if device.type == "cuda":
        return gpu_kernels()
    raise NoKernelsError(f"there are none for {device.type}")
