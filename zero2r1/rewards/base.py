"""The reward of a stage: a weighted sum of named parts, each with its reason.

    value = accuracy * w_accuracy + format * w_format + language * w_language + sum of custom * w_custom

Accuracy, format and language are always measured, also at weight 0, so that switching one off still shows its effect.
A part that cannot judge for a reason that is not the model's makes the value None (masked, counted), never 0.

What is not here: advantage, masking, overlong shaping (rl), learned reward models.
"""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType

from pydantic import Field

from zero2r1.core.config import Strict
from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Completion, Prompt, Score, Verdict
from zero2r1.rewards.answers import final_answer, thinking_text
from zero2r1.rewards.custom import CustomReward, TRLFormat, as_number, load_custom
from zero2r1.rewards.format import format_reward
from zero2r1.rewards.language import SCRIPTS, language_consistency
from zero2r1.rewards.math_answer import grade
from zero2r1.rewards.pool import Grade, WorkerPool


class RewardConfig(Strict):
    """Which parts a reward has, and how much each weighs."""

    accuracy: float = 1.0
    """Weight of "the final answer is right", 0 or 1. DeepSeek-R1, R1-Zero reward design: the same weight as format."""
    format: float = 1.0
    """Weight of "the reply keeps the dialect's grammar", 0 or 1. DeepSeek-R1, R1-Zero reward design; size: ours."""
    language: float = 0.0
    """Weight of the share of target-language words in the thinking. DeepSeek-R1, RL stage 1: added with weight 1."""
    custom: dict[str, float] = Field(default_factory=dict)
    """Weights of rewards of one's own by `file.py::function`. Ours."""
    trl_format: TRLFormat = "auto"
    """How a TRL-style reward gets prompts and completions: text, messages, or auto (one user turn is text). Ours."""
    timeout_s: float = Field(default=5.0, gt=0.0, le=600.0)
    """Seconds one comparison of expressions may take before its process is killed. Ours: the usual one takes 5 ms."""


@dataclass(frozen=True, slots=True)
class Part:
    """One term of the sum for one completion."""

    value: float | None
    """None when it does not apply or could not judge."""
    note: str = ""
    is_error: bool = False
    """True when it could not judge though it should have."""


class SumReward:
    """A `Reward`: judges one completion by every part. Usable from any thread; close it, or use it in a `with`.

    Args:
        config: the weights.
        dialect: how replies are written.
        prefilled: True when the prompt already ends with `<think>`.
        custom: rewards of one's own by name.
    """

    def __init__(
        self,
        config: RewardConfig,
        *,
        dialect: Dialect,
        prefilled: bool = False,
        custom: Mapping[str, CustomReward] = MappingProxyType({}),
    ) -> None:
        self.config = config
        self.dialect = dialect
        self.prefilled = prefilled
        self._custom = dict(custom)
        self._pool = WorkerPool(config.timeout_s)
        self._lock = threading.Lock()
        self._num_scored = 0
        self._num_errors = 0
        self._reasons: Counter[str] = Counter()

    def __call__(self, prompt: Prompt, completion: Completion) -> Score:
        """Score one completion; never raises for what a model wrote."""
        accuracy = self._accuracy(prompt, completion.text)
        parts = {
            "accuracy": _accuracy_part(accuracy, prompt),
            "format": Part(*format_reward(completion.text, self.dialect, prefilled=self.prefilled)),
            "language": self._language(prompt, completion.text),
        }
        for name, reward in self._custom.items():
            parts[name] = _custom_part(name, reward, prompt, completion)
        weights = self._weights()
        counted = {name: part for name, part in parts.items() if weights[name] != 0.0}
        is_error = any(part.is_error for part in counted.values())
        judged = [weights[name] * part.value for name, part in counted.items() if part.value is not None]
        value = None if is_error or not judged else sum(judged)
        self._count(value, [f"{name}: {part.note}" for name, part in counted.items() if part.is_error])
        return Score(
            value=value,
            verdict=Verdict.ERROR if is_error else accuracy.verdict,
            parts={name: part.value for name, part in parts.items()},
            notes=tuple(f"{name}: {part.note}" for name, part in parts.items() if part.note),
        )

    @property
    def error_frac(self) -> float:
        """Share of the completions scored so far that got no value."""
        with self._lock:
            return self._num_errors / self._num_scored if self._num_scored else 0.0

    @property
    def error_reasons(self) -> dict[str, int]:
        """How often each reason for an error was given, most frequent first."""
        with self._lock:
            return dict(self._reasons.most_common())

    def close(self) -> None:
        """End the worker process, if one was started."""
        self._pool.close()

    def __enter__(self) -> "SumReward":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accuracy(self, prompt: Prompt, text: str) -> Grade:
        if prompt.answer_kind is AnswerKind.NONE:
            return Grade(Verdict.ERROR, "the prompt has no checkable answer")
        found = final_answer(text, self.dialect, prefilled=self.prefilled)
        if found.answer is None:
            return Grade(Verdict.WRONG, found.problem)
        return grade(found.answer, prompt.reference, prompt.answer_kind, compare=self._pool.compare)

    def _language(self, prompt: Prompt, text: str) -> Part:
        if prompt.language not in SCRIPTS:
            return Part(None, f"no script is known for the language {prompt.language!r}", is_error=True)
        thinking = thinking_text(text, prefilled=self.prefilled)
        if not thinking.strip():
            # Neutral here would pay for saying nothing: a policy that found no right answer collapsed into that.
            return Part(0.0, "there is no thinking")
        share = language_consistency(thinking, prompt.language)
        return Part(share, "" if share == 1.0 else f"{share:.0%} of the words are {prompt.language}")

    def _weights(self) -> dict[str, float]:
        config = self.config
        return {"accuracy": config.accuracy, "format": config.format, "language": config.language, **config.custom}

    def _count(self, value: float | None, reasons: list[str]) -> None:
        with self._lock:
            self._num_scored += 1
            self._num_errors += value is None
            self._reasons.update(reasons)


def make_reward(
    config: RewardConfig, *, dialect: Dialect, prefilled: bool = False, folder: Path | str = "."
) -> SumReward:
    """Build the reward of a stage.

    Args:
        config: weights and custom rewards.
        dialect: how the stage's replies are written.
        prefilled: True when the prompt already ends with `<think>`.
        folder: where the paths of custom rewards start.

    Raises:
        RewardError: a custom reward is missing (Z140) or has a wrong signature (Z141).
    """
    custom = {source: load_custom(source, folder=folder, trl_format=config.trl_format) for source in config.custom}
    return SumReward(config, dialect=dialect, prefilled=prefilled, custom=custom)


def _accuracy_part(accuracy: Grade, prompt: Prompt) -> Part:
    """The verdict as a number. Without a checkable answer the part does not apply; an error is no number.

        Reward_acc = [the final answer matches the reference]

    Source: DeepSeek-R1 (arXiv 2501.12948v2), R1-Zero reward design, accuracy reward.
    """
    if accuracy.verdict is Verdict.ERROR:
        return Part(None, accuracy.note, is_error=prompt.answer_kind is not AnswerKind.NONE)
    return Part(1.0 if accuracy.verdict is Verdict.RIGHT else 0.0, accuracy.note)


def _custom_part(name: str, reward: CustomReward, prompt: Prompt, completion: Completion) -> Part:
    """What a reward of the user's own says; whatever it raises becomes an error with the reason."""
    try:
        judged = reward(prompt, completion)
        if isinstance(judged, Score):
            is_error = judged.verdict is Verdict.ERROR or judged.value is None
            return Part(as_number(judged.value), "; ".join(judged.notes), is_error=is_error)
        return Part(as_number(judged), "" if judged is not None else "does not judge this completion")
    except Exception as problem:  # noqa: BLE001  untrusted border: the failure becomes a counted verdict
        return Part(None, f"raised {type(problem).__name__}: {str(problem)[:300]}", is_error=True)
