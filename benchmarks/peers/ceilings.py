"""What an accelerator could do at best, and what a decoding step and an update ask of it.

The formulas are pure; the two ceilings are also measured, on the device and in the run they are compared with.
"""

import time
from collections.abc import Callable
from typing import Any

from peers.products import layer_shapes

DATASHEET = {"H100 80GB HBM3": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}
"""By part of the device's name: operations a second (bfloat16, dense) and bytes a second. Source: NVIDIA, SXM."""
BYTES = 2
"""Of a bfloat16 number."""


def settle(device: str) -> None:
    """Waits until the device has done all it was told."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()


def timed(work: Callable[[], Any], device: str) -> float:
    """Seconds of one call, from an idle device to an idle device."""
    settle(device)
    began = time.perf_counter()
    work()
    settle(device)
    return time.perf_counter() - began


def described(device: str) -> dict[str, Any]:
    """The device and the numbers of its datasheet, where they are known."""
    import torch

    name = torch.cuda.get_device_name() if device.startswith("cuda") else device
    peak, bandwidth = next((both for part, both in DATASHEET.items() if part in name), (None, None))
    return {"name": name, "datasheet_flops": peak, "datasheet_bytes_per_s": bandwidth}


def copied_bytes_per_s(device: str, num_bytes: int, *, repeats: int = 10) -> float:
    """Bytes read and written a second by copies inside the device's memory."""
    import torch

    source, target = (torch.empty(num_bytes, dtype=torch.uint8, device=device) for _ in range(2))

    def work() -> None:
        for _ in range(repeats):
            target.copy_(source)

    work()
    return 2 * num_bytes * repeats / timed(work, device)


def product_flops(device: str, size: int, *, repeats: int = 20) -> float:
    """Operations a second of a square bfloat16 product."""
    import torch

    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))

    def work() -> None:
        for _ in range(repeats):
            left @ right

    work()
    return 2 * size**3 * repeats / timed(work, device)


def step_bytes(config: Any, *, parameters: int, cached_tokens: float) -> float:
    """Bytes that one decoding step must read: every weight once, keys and values of all cached tokens once.

    parameters: numbers in the model, a tied embedding once. cached_tokens: a prompt's tokens count once, however many
    samples it has. Ours: a lower bound; activations and what is written are left out.
    """
    return BYTES * (parameters + cached_tokens * 2 * config.num_hidden_layers * _heads(config)[1])


def update_flops(config: Any, *, tokens: int, head_tokens: int, pairs: int) -> float:
    """Operations of forward and backward: 6 a weight and token, 12 a query head's number and pair in attention.

    tokens: that go through the layers, shared prompts once. head_tokens: that get logits. pairs: (token, token it
    attends to), itself included. The embedding's lookup and what is computed again count nothing.
    Source: the usual count of model operations (PaLM, arXiv 2204.02311, appendix B), causal attention halved.
    """
    matrices = config.num_hidden_layers * sum(rows * columns for rows, columns in layer_shapes(config))
    head = config.vocab_size * config.hidden_size
    return 6 * (matrices * tokens + head * head_tokens) + 12 * config.num_hidden_layers * _heads(config)[0] * pairs


def _heads(config: Any) -> tuple[int, int]:
    """Numbers of a token's queries, and of its keys, in one layer."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return size * config.num_attention_heads, size * config.num_key_value_heads
