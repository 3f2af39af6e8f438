"""Format reward: 1 when a reply follows its dialect's grammar, else 0, with the reason.

The grammar itself is in `core/dialogue.py`; a prefilled `<think>` belongs to the prompt, so the response then begins
inside the thinking.

Deviation: the paper does not state the size of the format reward; here it is 0 or 1, and
`RewardConfig.format` weighs it.
"""

from zero2r1.core.dialogue import Dialect, parse


def format_reward(text: str, dialect: Dialect, *, prefilled: bool = False) -> tuple[float, str]:
    """1.0 for a well-formed reply, else 0.0 with one sentence saying what is wrong.

        Reward_format = [the reply follows the grammar]

    Args:
        text: the response as the model wrote it.
        dialect: the grammar.
        prefilled: True when the prompt already ended with `<think>`.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), R1-Zero reward design, format reward.
    """
    parsed = parse(text, dialect, prefilled=prefilled)
    return (1.0, "") if parsed.is_well_formed else (0.0, parsed.problem)
