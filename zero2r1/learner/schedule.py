"""The learning rate as a pure function of the step number.

What it does not do: hold state. A resumed run asks for the same step and gets the same number.
"""

import math
from typing import Literal

Schedule = Literal["constant", "cosine"]


def lr_at(
    step: int, *, peak: float, schedule: Schedule, warmup_steps: int, total_steps: int, min_lr_frac: float
) -> float:
    """Learning rate of update `step` (counted from 0).

    warm-up   lr = peak * (step + 1) / warmup_steps                                   for step < warmup_steps
    constant  lr = peak
    cosine    lr = low + (peak - low) * (1 + cos(pi * x)) / 2,   low = peak * min_lr_frac,
              x = (step - warmup_steps) / (total_steps - warmup_steps - 1), kept in [0, 1]

    The first update after the warm-up has the peak and the last one exactly `low`.
    Source: DeepSeek-R1 (arXiv 2501.12948v2) training details of SFT and distillation: cosine from the initial rate to a
    tenth of it; a constant rate in RL. Ours: the warm-up, and the exact end points.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    if schedule == "constant":
        return peak
    span = total_steps - warmup_steps - 1
    progress = min(1.0, (step - warmup_steps) / span) if span > 0 else 1.0
    low = peak * min_lr_frac
    return low + (peak - low) * 0.5 * (1.0 + math.cos(math.pi * progress))
