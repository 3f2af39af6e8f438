"""From a question to a verdict, by hand: a task, a reply, a reward, and the credit each reply gets.

    python examples/01_sample_and_score.py

Needs no model: the replies are written here, the way a model might write them.
"""

from zero2r1.core.dialogue import Dialect
from zero2r1.rewards.base import RewardConfig, make_reward
from zero2r1.rl.advantage import group_advantages
from zero2r1.tasks.base import TaskConfig, make_task
from zero2r1.tasks.gold import gold_completion


def main() -> None:
    task = make_task([TaskConfig(family="arithmetic", languages=("en",))], seed=1)
    (prompt,) = task.draw(1)
    print(f"{prompt.question}   (gold {prompt.gold}, {prompt.answer_kind}, id {prompt.id})")

    replies = [
        f"<think> step by step </think> <answer> {prompt.gold} </answer>",
        f"The answer is {prompt.gold}.",
        "<think> a guess </think> <answer> 7 </answer>",
        "<think> 一步一步 and step by step </think> <answer> 7 </answer>",
    ]
    with make_reward(RewardConfig(language=1.0), dialect=Dialect.R1_ZERO) as reward:
        scores = [reward(prompt, gold_completion(prompt, reply)) for reply in replies]

    # The group is the baseline: what counts is how much better a reply is than the others to the same question.
    advantages = group_advantages([score.value for score in scores])
    for reply, score, advantage in zip(replies, scores, advantages, strict=True):
        parts = "  ".join(f"{name} {value}" for name, value in score.parts.items())
        print(f"{advantage:+.2f}  {score.verdict:<6} {parts}   {reply}")


if __name__ == "__main__":
    main()
