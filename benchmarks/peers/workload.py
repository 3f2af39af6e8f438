"""The work that all sides are given: eight questions, a reward that costs nothing, and how a rollout is described.

The peers import this file too, so it needs nothing but Python until `prompts` is called.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

QUESTIONS = (
    "What is 7 + 5? Say the number only.",
    "A hen lays 5 eggs a week. How many eggs do 12 hens lay in 3 weeks? Think step by step.",
    "Tom is 4 years older than Ann. Together they are 20 years old. How old is Tom? Show your work.",
    "A train leaves at 9:40 and arrives at 12:15. How many minutes does the journey take?",
    "Explain to a child why the sky is blue.",
    "Explain how a bicycle stays upright while it is moving, in two or three paragraphs.",
    "Name three fruits that are red.",
    "Write a short story about the keeper of a lighthouse.",
)
"""Sums, word problems, explanations, short tasks, a story."""


def prompts() -> list[Any]:
    """The questions as prompts of zero2r1, without an answer to check."""
    from zero2r1.core.types import AnswerKind, Message, Prompt

    return [
        Prompt(
            messages=(Message(role="user", content=question),),
            reference="",
            gold="",
            answer_kind=AnswerKind.NONE,
            domain="benchmark",
            language="en",
        )
        for question in QUESTIONS
    ]


class Fixed:
    """The same questions for every rollout, the first ones where fewer are asked for. A `Task`."""

    name = "benchmark"

    def draw(self, count: int, *, start: int = 0, split: str = "train") -> list[Any]:
        return prompts()[:count]


def coin(text: str) -> float:
    """The reward: 1.0 for an even number of characters, else 0.0.

    Nearly every group gets both, so nearly every row has a gradient: a side that leaves out rows without one wins
    nothing by that here.
    """
    return float(len(text) % 2 == 0)


def turn(lengths: Sequence[int], seconds: float) -> dict[str, Any]:
    """One rollout as every side reports it: seconds, and the response tokens of each sample."""
    return {"seconds": seconds, "lengths": list(lengths)}


def summary(turns: Sequence[Mapping[str, Any]], *, cap: int) -> dict[str, float]:
    """Of several rollouts: median tokens/s, its range, mean tokens of a sample, and the share that reached the cap."""
    speeds = [sum(one["lengths"]) / one["seconds"] for one in turns]
    lengths = [length for one in turns for length in one["lengths"]]
    return {
        "tokens_per_s": round(statistics.median(speeds), 1),
        "slowest": round(min(speeds), 1),
        "fastest": round(max(speeds), 1),
        "mean_length": round(statistics.fmean(lengths), 1),
        "share_at_cap": round(sum(length >= cap for length in lengths) / len(lengths), 3),
    }


def described(turns: Sequence[Mapping[str, Any]], *, cap: int) -> dict[str, float]:
    """Of the steps of one side: the rollout's figures over the whole step, its seconds, and rows with advantage 0."""
    flat = [statistics.fmean(row["advantage"] == 0.0 for row in one["rows"]) for one in turns]
    return {
        "seconds": round(statistics.median(one["seconds"] for one in turns), 2),
        "rows_without_gradient": round(statistics.fmean(flat), 3),
        **summary(turns, cap=cap),
    }
