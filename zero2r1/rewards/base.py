"""The reward of a stage: a weighted sum of named parts, each with its reason.

    value = w_accuracy * accuracy + w_format * format + w_language * language + w_random * coin + sum of w * custom

Accuracy, format and language are always measured, also at weight 0, so that switching one off still shows its effect.
A part that cannot judge for a reason that is not the model's makes the value None (masked, counted), never 0.

What is not here: advantage, masking, overlong shaping (rl), learned reward models.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Completion, Prompt, Score, Verdict
from zero2r1.rewards.accuracy import Accuracy, AccuracyJudge
from zero2r1.rewards.answers import thinking_text
from zero2r1.rewards.config import RewardConfig, VerdictConfig
from zero2r1.rewards.control import coin
from zero2r1.rewards.custom import Opinion
from zero2r1.rewards.custom_pool import CustomPool
from zero2r1.rewards.format import format_reward
from zero2r1.rewards.judges.voice import Voice
from zero2r1.rewards.language import SCRIPTS, language_consistency, make_detector
from zero2r1.sandbox.tiers import Report

__all__ = ["Part", "RewardConfig", "SumReward", "VerdictConfig", "make_reward"]


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
        accuracy: judges final answers, and says how replies are written; closed together with this one.
        custom: rewards of one's own; closed together with this one.
        languages: tells languages of one script apart; empty: by script alone.
    """

    def __init__(
        self,
        config: RewardConfig,
        *,
        accuracy: AccuracyJudge,
        custom: CustomPool | None = None,
        languages: Sequence[str] = (),
    ) -> None:
        self.config = config
        self.dialect = accuracy.dialect
        self.prefilled = accuracy.prefilled
        self._accuracy = accuracy
        self._custom = custom
        self._detector = make_detector(*languages) if languages else None
        self._lock = threading.Lock()
        self._num_scored = 0
        self._num_errors = 0
        self._reasons: Counter[str] = Counter()

    def __call__(self, prompt: Prompt, completion: Completion) -> Score:
        """Score one completion, as a group of one; never raises for what a model wrote."""
        return self.score_group(prompt, [completion])[0]

    @property
    def needs_group(self) -> bool:
        """True when a reward of one's own compares the completions of a question with one another."""
        return self._custom is not None and self._custom.needs_group

    @property
    def sandbox_tier(self) -> str:
        """Tier of the sandbox that programs run in; empty while none was needed."""
        return self._accuracy.tier

    @property
    def workers(self) -> int:
        """Judgements that may run at once."""
        return self.config.workers

    def score_group(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Score]:
        """[G] the scores of completions of one question; never raises for what a model wrote."""
        opinions: dict[str, list[Opinion]] = {}
        if self._custom is not None:
            opinions = {name: self._custom.judge(name, prompt, completions) for name in self._custom.sources}
        return [
            self._score(prompt, completion, {name: of_group[index] for name, of_group in opinions.items()})
            for index, completion in enumerate(completions)
        ]

    def _score(self, prompt: Prompt, completion: Completion, opinions: dict[str, Opinion]) -> Score:
        accuracy = self._accuracy(prompt, completion.text)
        random = float(coin(completion.id, 0)) if self.config.random else None
        parts = {
            "accuracy": _accuracy_part(accuracy, prompt),
            "format": Part(*format_reward(completion.text, self.dialect, prefilled=self.prefilled)),
            "language": self._language(prompt, completion.text),
        }
        if random is not None:
            parts["random"] = Part(random)
        parts |= {name: Part(one.value, one.note, one.is_error) for name, one in opinions.items()}
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
        """End the worker processes and the sandbox, if any were started."""
        self._accuracy.close()
        if self._custom is not None:
            self._custom.close()

    def __enter__(self) -> "SumReward":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _language(self, prompt: Prompt, text: str) -> Part:
        if prompt.language not in SCRIPTS:
            return Part(None, f"no script is known for the language {prompt.language!r}", is_error=True)
        thinking = thinking_text(text, prefilled=self.prefilled)
        if not thinking.strip():
            # Neutral here would pay for saying nothing: a policy that found no right answer collapsed into that.
            return Part(0.0, "there is no thinking")
        share = language_consistency(thinking, prompt.language, question=prompt.question, detector=self._detector)
        return Part(share, "" if share == 1.0 else f"{share:.0%} of the words are {prompt.language}")

    def _weights(self) -> dict[str, float]:
        config = self.config
        return {
            "accuracy": config.accuracy,
            "format": config.format,
            "language": config.language,
            "random": config.random,
            **config.custom,
        }

    def _count(self, value: float | None, reasons: list[str]) -> None:
        with self._lock:
            self._num_scored += 1
            self._num_errors += value is None
            self._reasons.update(reasons)


def make_reward(
    config: RewardConfig,
    *,
    dialect: Dialect,
    prefilled: bool = False,
    folder: Path | str = ".",
    verdicts: VerdictConfig | None = None,
    records: Path | None = None,
    voice: Voice | None = None,
    report: Report | None = None,
) -> SumReward:
    """Build the reward of a stage.

    Args:
        config: weights and custom rewards.
        dialect: how the stage's replies are written.
        prefilled: True when the prompt already ends with `<think>`.
        folder: where the paths of custom rewards start.
        verdicts: sandbox, judge, languages; the defaults when left out.
        records: file that keeps what a judge was asked and said.
        voice: the judge's model (a local policy), instead of the endpoint of `verdicts.judge`.
        report: hears which sandbox was chosen, as report(kind, **fields).

    Raises:
        RewardError: a custom reward is missing (Z140) or has a wrong signature (Z141), or its process cannot be
            started (Z142).
        ConfigError: the judge's key cannot be had (Z105).
    """
    verdicts = verdicts or VerdictConfig()
    accuracy = AccuracyJudge(
        verdicts, dialect=dialect, prefilled=prefilled, timeout_s=config.timeout_s, records=records, voice=voice,
        report=report,
    )  # fmt: skip
    custom = None
    if config.custom:
        custom = CustomPool(
            list(config.custom),
            folder=folder,
            trl_format=config.trl_format,
            timeout_s=config.custom_timeout_s,
            max_at_once=config.workers,
        )
    return SumReward(config, accuracy=accuracy, custom=custom, languages=verdicts.languages)


def measuring() -> RewardConfig:
    """The reward of an evaluation: every part that the package measures, with weight 1, and none of the user's own."""
    return RewardConfig(language=1.0)


def _accuracy_part(accuracy: Accuracy, prompt: Prompt) -> Part:
    """Without a checkable answer the part does not apply; an error is no number."""
    is_error = accuracy.verdict is Verdict.ERROR and prompt.answer_kind is not AnswerKind.NONE
    return Part(accuracy.value, accuracy.note, is_error=is_error)
