"""The matrix products of one decoding step and nothing else: what is left of a step when all the rest is free.

Every layer has weights of its own, so that they come from memory and not from a cache, as in the network.
"""

import time
from collections.abc import Callable
from typing import Any


def layer_shapes(config: Any) -> list[tuple[int, int]]:
    """(outputs, inputs) of a layer's products: queries+keys+values, output, gate+up, down; the fused forms.

    config: of a model of Llama's kind.
    """
    width, inner = config.hidden_size, config.intermediate_size
    head = getattr(config, "head_dim", None) or width // config.num_attention_heads
    queries, keys = head * config.num_attention_heads, head * config.num_key_value_heads
    return [(queries + 2 * keys, width), (width, queries), (2 * inner, width), (width, inner)]


def step_products(config: Any, rows: int, *, is_packed: bool) -> Callable[[], float]:
    """Work for `rows` tokens in bfloat16; each call does one step's products and returns its seconds.

    Args:
        is_packed: weights laid out ahead of time for this number of rows (oneDNN), which a sampler whose weights
            change once a rollout can do; otherwise as they stand in the model.
    """
    import torch
    from torch.nn.functional import linear

    shapes = layer_shapes(config) * config.num_hidden_layers + [(config.vocab_size, config.hidden_size)]
    weights = [torch.randn(shape, dtype=torch.bfloat16) for shape in shapes]
    inputs = {width: torch.randn(rows, width, dtype=torch.bfloat16) for _, width in shapes}
    if is_packed:
        weights = [torch.ops.mkldnn._reorder_linear_weight(weight, rows) for weight in weights]
    jobs = [(inputs[width], weight) for (_, width), weight in zip(shapes, weights, strict=True)]

    def work() -> float:
        with torch.inference_mode():
            began = time.perf_counter()
            for given, weight in jobs:
                if is_packed:
                    torch.ops.mkldnn._linear_pointwise(given, weight, None, "none", [], "")
                else:
                    linear(given, weight)
            return time.perf_counter() - began

    return work
