"""A reward of one's own, tried out before any training: shorter thinking is better, but only when the answer is right.

    python examples/03_your_own_reward.py

In a recipe the same function is one line:

    rewards: {custom: {"examples/03_your_own_reward.py::brevity": 0.2}}
"""

from zero2r1.cli.rewarding import score_cases
from zero2r1.core.types import Completion, Prompt

ROOM = 200
"""Characters of a reply that cost nothing."""


def brevity(prompt: Prompt, completion: Completion) -> float:
    """1 for a reply of up to `ROOM` characters that names the gold answer, falling to 0 at four times that length."""
    if prompt.gold not in completion.text:
        return 0.0
    return max(0.0, min(1.0, 1.0 - (len(completion.text) - ROOM) / (3 * ROOM)))


def main() -> None:
    for row in score_cases(f"{__file__}::brevity"):
        print(f"{row['case']:<28} brevity {row['value']:.2f}   {row['verdict']}")
    print("it pays for the right answer hidden in the thinking, so on its own it would be exploited")


if __name__ == "__main__":
    main()
