"""DeepSeek-R1-Zero: GRPO on a base model with rule rewards and nothing else. No SFT before, no reward model.

Source: DeepSeek-R1, R1-Zero: reward = accuracy + format, same weight; the prompt of Table 1.
"""

from zero2r1.stages.config import ZeroRLStage
from zero2r1.stages.context import Context
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.reinforcement import train


def run(context: Context, stage: ZeroRLStage) -> Outcome:
    """Reinforcement learning alone."""
    return train(context, stage)
