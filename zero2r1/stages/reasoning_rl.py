"""RL stage 1 of DeepSeek-R1: the cold-started model learns to reason, in one language (Dev1 to Dev2).

Source: DeepSeek-R1, first RL stage: R1-Zero's settings with clip ratio 10, and the language consistency reward,
computed on the thinking, added directly to the final reward. `stages.<name>.rewards.language=0` switches it off: the
paper's own ablation.
"""

from zero2r1.stages.config import ReasoningRLStage
from zero2r1.stages.context import Context
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.reinforcement import train


def run(context: Context, stage: ReasoningRLStage) -> Outcome:
    """Reinforcement learning with rule rewards and language consistency."""
    return train(context, stage)
