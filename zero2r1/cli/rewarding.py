"""`zero2r1 reward test`: what a reward says of fixed cases, good and hostile, with its reasons and its time.

A reward that pays the wrong rows here will be exploited in training; a reward that raises shows where.
"""

import time
from collections.abc import Mapping
from typing import Any

from zero2r1.cli.output import UNSAFE_OVERRIDE
from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import ConfigError
from zero2r1.core.types import AnswerKind, Message, Prompt
from zero2r1.rewards.base import RewardConfig, SumReward, VerdictConfig, make_reward
from zero2r1.rewards.code.config import CodeConfig
from zero2r1.sandbox.config import SandboxConfig
from zero2r1.tasks.gold import gold_completion

QUESTION = Prompt(
    messages=(Message(role="user", content="What is 37+48?"),),
    reference="85",
    gold="85",
    answer_kind=AnswerKind.NUMBER,
    domain="arithmetic",
    language="en",
)

THINKING = "ones 7+8=15 carry 1, tens 3+4+1=8"
LONG = " ".join([THINKING] * 40)

REPLIES: Mapping[Dialect, Mapping[str, str]] = {
    Dialect.R1_ZERO: {
        "right": f"<think> {THINKING} </think> <answer> 85 </answer>",
        "right, other spelling": f"<think> {THINKING} </think> <answer> 85.0 </answer>",
        "right, very long": f"<think> {LONG} </think> <answer> 85 </answer>",
        "right, languages mixed": "<think> 个位7+8=15进1, tens 3+4+1=8 </think> <answer> 85 </answer>",
        "wrong": f"<think> {THINKING} </think> <answer> 86 </answer>",
        "right, no tags": f"{THINKING}. The answer is 85.",
        "no thinking": "<think> </think> <answer> 85 </answer>",
        "right only in the thinking": "<think> so 85 </think> <answer> I do not know </answer>",
        "two answers": f"<think> {THINKING} </think> <answer> 85 or 86 </answer>",
        "two closing tags": f"<think> {THINKING} </think> 86 </think> <answer> 85 </answer>",
        "the question again": "<think> easy </think> <answer> 37+48 </answer>",
        "nothing": "",
    },
    Dialect.R1: {
        "right": f"<think>\n{THINKING}\n</think>\n\nThe sum is \\boxed{{85}}.",
        "right, other spelling": f"<think>\n{THINKING}\n</think>\n\nThe sum is \\boxed{{85.0}}.",
        "right, very long": f"<think>\n{LONG}\n</think>\n\nThe sum is \\boxed{{85}}.",
        "right, languages mixed": "<think>\n个位7+8=15进1, tens 3+4+1=8\n</think>\n\nThe sum is \\boxed{85}.",
        "wrong": f"<think>\n{THINKING}\n</think>\n\nThe sum is \\boxed{{86}}.",
        "right, no tags": f"{THINKING}. The answer is 85.",
        "no thinking": "<think>\n\n</think>\n\nThe sum is \\boxed{85}.",
        "right only in the thinking": "<think>\nso \\boxed{85}\n</think>\n\nI do not know.",
        "two answers": f"<think>\n{THINKING}\n</think>\n\n\\boxed{{85}} or \\boxed{{86}}",
        "two closing tags": f"<think>\n{THINKING}\n</think>\n86\n</think>\n\n\\boxed{{85}}",
        "the question again": "<think>\neasy\n</think>\n\n\\boxed{37+48}",
        "nothing": "",
    },
}


def score_cases(source: str) -> list[dict[str, Any]]:
    """Each case with its reward, verdict, parts, notes and milliseconds.

    Args:
        source: `file.py::function`, or a recipe, whose last stage with rewards is taken.

    Raises:
        RewardError: the function is missing (Z140) or has a wrong signature (Z141).
    """
    config, dialect, verdicts = reward_of(source)
    with make_reward(config, dialect=dialect, verdicts=verdicts) as reward:
        reward(QUESTION, gold_completion(QUESTION, ""))  # starts what has to be started, so that times are fair
        return [_scored(reward, case, text) for case, text in REPLIES[dialect].items()]


def reward_of(source: str, *, unsafe: bool = False) -> tuple[RewardConfig, Dialect, VerdictConfig]:
    """The settings of a reward named on the command line, and the dialect its replies are in.

    Args:
        source: `file.py::function`, or a recipe, whose last stage with rewards is taken.
        unsafe: programs may run without isolation where no sandbox can be had.

    Raises:
        ConfigError: no stage of the recipe has rewards (Z140).
    """
    from zero2r1 import recipes

    if "::" in source:
        rewards = RewardConfig(accuracy=0.0, format=0.0, custom={source: 1.0})
        return rewards, Dialect.R1_ZERO, VerdictConfig(code=CodeConfig(sandbox=SandboxConfig(unsafe_local_exec=unsafe)))
    recipe = recipes.load(source, [UNSAFE_OVERRIDE] if unsafe else ())
    for stage in reversed(recipe.stages.values()):
        own, dialect = getattr(stage, "rewards", None), getattr(stage, "dialect", "")
        if own is not None and dialect in REPLIES:
            return own, Dialect(dialect), stage.verdicts
    raise ConfigError(
        "Z140", f"no stage of recipe '{recipe.name}' has rewards", fix="zero2r1 reward test FILE::FUNCTION"
    )


def _scored(reward: SumReward, case: str, text: str) -> dict[str, Any]:
    began = time.perf_counter()
    score = reward(QUESTION, gold_completion(QUESTION, text))
    milliseconds = 1000 * (time.perf_counter() - began)
    return {
        "case": case,
        "text": text,
        "value": score.value,
        "verdict": score.verdict.value,
        "parts": {name.rpartition("::")[2]: part for name, part in score.parts.items()},
        "notes": [note.rpartition("::")[2] for note in score.notes],
        "ms": round(milliseconds, 3),
    }
