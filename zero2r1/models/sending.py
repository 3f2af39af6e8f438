"""Tensors from the host to a device, without waiting for what the device still computes.

What it does not do: the way back.
"""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on the device.

    Ours: from pinned memory a copy to a GPU is queued; from other memory the host waits until everything before it has
    been computed, and the GPU then waits for the host.
    """
    if torch.device(device).type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
