"""The proof that a task fits its reward: every gold answer, well said, scores 1. Done before step 0.

What is not here: the judging itself; the reward is handed in.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import DataError
from zero2r1.core.types import AnswerKind, Completion, Finish, Prompt, Reward, Score, Task, Verdict
from zero2r1.tasks.replies import well_formed, well_formed_code
from zero2r1.tasks.splits import TRAIN

THINKING = {"en": "checked by hand", "zh": "已经检查"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """What `validate` looked at."""

    num_prompts: int
    num_right: int
    """Gold answers that scored 1."""
    num_unchecked: int
    """Prompts without a checkable answer."""
    domains: Mapping[str, int]
    """Prompts by domain."""


def validate(
    task: Task,
    reward: Reward,
    count: int = 64,
    *,
    dialect: Dialect = Dialect.R1_ZERO,
    prefilled: bool = False,
    split: str = TRAIN,
) -> ValidationReport:
    """Prove before step 0 that gold answers score 1: each as a well-formed reply, the accuracy part must be full.

    Args:
        task: draws the first `count` prompts of `split`.
        reward: the reward of the stage, built for the same dialect.
        count: prompts to look at.
        dialect: how the reply is written.
        prefilled: the prompt already ends with `<think>`, so the reply starts inside.
        split: which prompts.

    Raises:
        DataError: Z134, naming prompt, gold answer and verdict of the first one that fails, and how many do.
    """
    prompts = task.draw(count, split=split)
    failures: list[tuple[Prompt, str]] = []
    unchecked = 0
    for prompt in prompts:
        if prompt.answer_kind == AnswerKind.NONE:
            unchecked += 1
            continue
        problem = _gold_problem(prompt, reward, dialect, prefilled)
        if problem:
            failures.append((prompt, problem))
    if failures:
        prompt, problem = failures[0]
        raise DataError(
            "Z134",
            f"{len(failures)} of {len(prompts)} gold answers do not score 1",
            where=f"task '{task.name}', prompt {prompt.id}",
            why=f"question: {prompt.question[:200]}\n"
            f"gold answer: {prompt.gold[:200]} ({prompt.answer_kind})\n{problem}",
            fix="correct the answer, or set answer_kind for the file",
        )
    domains = Counter(prompt.domain for prompt in prompts)
    return ValidationReport(
        num_prompts=len(prompts),
        num_right=len(prompts) - unchecked,
        num_unchecked=unchecked,
        domains=MappingProxyType(dict(domains)),
    )


def _gold_problem(prompt: Prompt, reward: Reward, dialect: Dialect, prefilled: bool) -> str:
    try:
        text = gold_text(prompt, dialect)
    except ValueError as problem:
        return str(problem)
    if prefilled:
        text = text.removeprefix("<think>")
    score = reward(prompt, gold_completion(prompt, text))
    if score.verdict == Verdict.RIGHT and score.parts.get("accuracy", 1.0) == 1.0:
        return ""
    return _verdict_text(score)


def gold_text(prompt: Prompt, dialect: Dialect) -> str:
    """The gold answer as a well-formed reply; a program stands in a fenced block.

    Raises:
        ValueError: it holds a tag of the dialects.
    """
    thinking = THINKING["zh" if prompt.language == "zh" else "en"]
    if prompt.answer_kind is AnswerKind.CODE:
        return well_formed_code(thinking, prompt.gold, dialect=dialect)
    return well_formed(thinking, prompt.gold, language=prompt.language, dialect=dialect)


def _verdict_text(score: Score) -> str:
    notes = f": {'; '.join(score.notes)}" if score.notes else ""
    return f"verdict: {score.verdict}, accuracy {score.parts.get('accuracy')}{notes}"


def gold_completion(prompt: Prompt, text: str) -> Completion:
    """A text as if a model had said it: no tokens, version 0."""
    return Completion(
        prompt=prompt,
        sample=0,
        prompt_token_ids=(),
        token_ids=(),
        logprobs=(),
        text=text,
        finish=Finish.STOP,
        policy_version=0,
        weights_hash="0" * 16,
    )
