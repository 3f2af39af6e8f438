"""A decoding step on an accelerator: its seconds, and its bytes as a share of what the memory can move meanwhile."""

import statistics
import time
from functools import partial
from typing import Any

from peers.ceilings import described, step_bytes, timed
from peers.gpu_rollout import make_engine, many, sample

SAMPLES = 8


def decode(
    name: str, rows: int, *, device: str, tokens: int, pairs: int, limit_s: float, bytes_per_s: float
) -> dict[str, Any]:
    """All samples run to `tokens` tokens, and to 1: the difference is tokens - 1 steps, without prefill and hashing.

    bytes_per_s: of copies inside the device's memory.
    """
    began = time.perf_counter()
    model, engine = make_engine(name, device, rows=rows, tokens=tokens, is_endless=True)
    asked = many(rows // SAMPLES)
    seconds: dict[int, list[float]] = {1: [], tokens: []}
    for pair in range(-1, pairs):
        if pair > 0 and time.perf_counter() - began > limit_s:
            break
        for length, times in seconds.items():
            taken = timed(partial(sample, engine, asked, SAMPLES, tokens=length, step=pair + 1), device)
            if pair >= 0:  # the first turn warms up
                times.append(taken)
    steps = [(long - short) / (tokens - 1) for short, long in zip(*seconds.values(), strict=True)]
    step = statistics.median(steps)
    # A prompt is cached once for all its samples; of a sample half of its tokens on average.
    cached = sum(len(engine.encode(prompt)) for prompt in asked) + rows * tokens / 2
    count = sum(parameter.numel() for parameter in model.parameters())
    moved = step_bytes(model.config, parameters=count, cached_tokens=cached)
    found = {
        "step_ms": round(1e3 * step, 3),
        "step_ms_range": [round(1e3 * one, 3) for one in (min(steps), max(steps))],
        "prefill_and_once_s": round(statistics.median(seconds[1]), 3),
        "tokens_per_s": round(rows / step, 1),
        "megabytes": round(moved / 1e6, 1),
        "share": round(moved / bytes_per_s / step, 3),
    }
    sheet = described(device)["datasheet_bytes_per_s"]
    return found | ({"share_of_datasheet": round(moved / sheet / step, 3)} if sheet else {})
