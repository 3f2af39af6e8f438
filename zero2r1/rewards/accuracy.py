"""Is the final answer right? Asked of the verifier that the kind of the answer calls for.

number, sequence, choice, countdown and expression go to the rules of `math_answer.py`, programs to the sandbox
(`code/`), free text with a reference to a language model (`judges/`). What each needs (a worker process, a sandbox, a
connection) starts when it is first needed.

What is not here: weights, format, language (`base.py`).
"""

from dataclasses import dataclass
from pathlib import Path

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Prompt, Verdict
from zero2r1.rewards.answers import final_answer
from zero2r1.rewards.code.grader import CodeGrader
from zero2r1.rewards.config import VerdictConfig
from zero2r1.rewards.judges.correctness import CorrectnessJudge, judged_grade
from zero2r1.rewards.judges.endpoint import EndpointVoice
from zero2r1.rewards.judges.record import JudgeStore
from zero2r1.rewards.judges.voice import Voice
from zero2r1.rewards.math_answer import grade
from zero2r1.rewards.pool import WorkerPool
from zero2r1.sandbox.tiers import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """A verdict on one reply and what it is worth."""

    verdict: Verdict
    value: float | None
    """1 for right, 0 for wrong, None for an error; between 0 and 1 only for programs scored by the share of tests."""
    note: str = ""
    """Why, unless it is right."""


class AccuracyJudge:
    """Judges final answers. Usable from any thread; close it.

    Args:
        config: sandbox and judge.
        dialect: how replies are written.
        prefilled: True when the prompt already ends with `<think>`.
        timeout_s: seconds one comparison of expressions may take.
        records: file that keeps what a judge was asked and said; in memory when None.
        voice: the judge's model, instead of the one `config.judge` names.
        report: hears which sandbox was chosen.

    Raises:
        ConfigError: the judge's key cannot be had (Z105).
    """

    def __init__(
        self,
        config: VerdictConfig,
        *,
        dialect: Dialect,
        prefilled: bool = False,
        timeout_s: float | int = 5.0,
        records: Path | None = None,
        voice: Voice | None = None,
        report: Report | None = None,
    ) -> None:
        self.dialect = dialect
        self.prefilled = prefilled
        self._pool = WorkerPool(timeout_s)
        self._code = CodeGrader(config.code, report=report)
        if voice is None and config.judge is not None:
            voice = EndpointVoice(config.judge)
        self._judge: CorrectnessJudge | None = None
        if voice is not None:
            store = JudgeStore(records)
            limit = {} if config.judge is None else {"max_answer_chars": config.judge.max_answer_chars}
            self._judge = CorrectnessJudge(voice, store, **limit)

    @property
    def tier(self) -> str:
        """Tier of the sandbox that is in use; empty before a program was judged."""
        return self._code.open_tier

    def __call__(self, prompt: Prompt, text: str) -> Accuracy:
        """The verdict on one reply.

            value = [the final answer matches the reference]

        Raises:
            RewardError: a program is to be judged and no sandbox can be had (Z144), or the worker process that compares
                expressions cannot be started (Z142).

        Source: DeepSeek-R1 (arXiv 2501.12948v2), R1-Zero reward design, accuracy reward.
        """
        match prompt.answer_kind:
            case AnswerKind.NONE:
                return Accuracy(verdict=Verdict.ERROR, value=None, note="the prompt has no checkable answer")
            case AnswerKind.CODE:
                judged = self._code.grade(prompt, text, self.dialect, prefilled=self.prefilled)
                return Accuracy(verdict=judged.verdict, value=self._code.value_of(judged), note=judged.note)
            case AnswerKind.JUDGED:
                if self._judge is None:
                    return Accuracy(verdict=Verdict.ERROR, value=None, note="no judge is configured (verdicts.judge)")
                found = judged_grade(prompt, text, self._judge, prefilled=self.prefilled)
                return Accuracy(verdict=found.verdict, value=_value(found.verdict), note=found.note)
        answer = final_answer(text, self.dialect, prefilled=self.prefilled)
        if answer.answer is None:
            return Accuracy(verdict=Verdict.WRONG, value=0.0, note=answer.problem)
        found = grade(answer.answer, prompt.reference, prompt.answer_kind, compare=self._pool.compare)
        return Accuracy(verdict=found.verdict, value=_value(found.verdict), note=found.note)

    def close(self) -> None:
        """End the worker process and the sandbox, if they were started."""
        self._pool.close()
        self._code.close()


def _value(verdict: Verdict) -> float | None:
    return None if verdict is Verdict.ERROR else float(verdict is Verdict.RIGHT)
