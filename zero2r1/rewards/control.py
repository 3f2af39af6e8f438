"""The random control: a reward that knows nothing, to see what a run gains from a reward at all.

A gain under this reward comes from somewhere else: from the format, from sampling, or from a leak. It is no part of the
paper's recipe.
"""

from zero2r1.core.random import Address, Stream, key


def coin(completion_id: str, seed: int) -> float:
    """0.0 or 1.0 by a fair coin that belongs to the completion: the same id and seed, the same side.

        P(coin = 1) = 1 / 2

    Args:
        completion_id: `Completion.id`.
        seed: seed of the run.

    Ours: a control. Qwen models are known to gain from random rewards on mathematics (Shao et al., "Spurious Rewards",
    arXiv 2506.10947), so a gain proves something only beside this one.
    """
    return float(Stream(key(Address(seed=seed, stage="control", step=0), completion_id)).integer(0, 1))
