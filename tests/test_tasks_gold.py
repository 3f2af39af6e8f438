"""`validate` accepts a reward that pays for gold answers and names the first one that does not score."""

import pytest

from zero2r1.core.dialogue import Dialect, parse
from zero2r1.core.errors import DataError
from zero2r1.core.types import AnswerKind, Completion, Message, Prompt, Score, Verdict
from zero2r1.tasks.base import FAMILIES, TaskConfig, make_task, validate
from zero2r1.tasks.files import FileTask
from zero2r1.tasks.general import general_rows

EVERYTHING = make_task([TaskConfig(family=name, levels=(1, 2, 3, 4, 5)) for name in FAMILIES], 1)


class Exact:
    """Pays for the gold answer, word for word, where a dialect's parser finds it."""

    def __init__(self, dialect: Dialect, *, prefilled: bool = False, deaf_to: str = "") -> None:
        self.dialect = dialect
        self.prefilled = prefilled
        self.deaf_to = deaf_to

    def __call__(self, prompt: Prompt, completion: Completion) -> Score:
        parsed = parse(completion.text, self.dialect, prefilled=self.prefilled)
        answer = (parsed.reply.answer or "").removeprefix("The answer is \\boxed{").removesuffix("}.")
        answer = answer.removeprefix("答案是\\boxed{").removesuffix("}。")
        right = parsed.is_well_formed and answer == prompt.gold and prompt.domain != self.deaf_to
        return Score(
            value=float(right),
            verdict=Verdict.RIGHT if right else Verdict.WRONG,
            parts={"accuracy": float(right)},
            notes=() if right else (f"read {answer!r}",),
        )


@pytest.mark.parametrize("dialect", list(Dialect))
def test_gold_answers_of_every_family_score_in_every_dialect(dialect: Dialect) -> None:
    report = validate(EVERYTHING, Exact(dialect), 100, dialect=dialect)
    assert (report.num_prompts, report.num_right, report.num_unchecked) == (100, 100, 0)
    assert set(report.domains) == set(FAMILIES)


@pytest.mark.parametrize("dialect", [Dialect.R1_ZERO, Dialect.R1])
def test_a_prefilled_prompt_gets_a_reply_that_starts_inside_the_thinking(dialect: Dialect) -> None:
    assert validate(EVERYTHING, Exact(dialect, prefilled=True), 20, dialect=dialect, prefilled=True).num_right == 20


def test_a_gold_answer_that_does_not_score_is_named() -> None:
    task = make_task([TaskConfig(family="chain", languages=("en",))], 0)
    prompt = task.draw(1)[0]
    with pytest.raises(DataError) as caught:
        validate(task, Exact(Dialect.R1_ZERO, deaf_to="chain"), 5)
    assert str(caught.value) == (
        f"error Z134 5 of 5 gold answers do not score 1   task 'chain', prompt {prompt.id}\n"
        f"  question: {prompt.question}\n"
        f"  gold answer: {prompt.gold} (number)\n"
        f"  verdict: wrong, accuracy 0.0: read '{prompt.gold}'\n"
        "  fix: correct the answer, or set answer_kind for the file"
    )


def test_a_gold_answer_that_cannot_be_said_in_the_dialect_is_named() -> None:
    prompt = Prompt(
        messages=(Message(role="user", content="Which tag opens the thinking?"),),
        reference="<think>",
        gold="<think>",
        answer_kind=AnswerKind.EXPRESSION,
        domain="file",
        language="en",
    )
    with pytest.raises(DataError, match="holds the tag <think>"):
        validate(FileTask([prompt], name="mine", seed=0, split="train"), Exact(Dialect.R1_ZERO), 1)


def test_a_prompt_without_a_checkable_answer_is_counted_apart() -> None:
    rows = FileTask([prompt for prompt, _ in general_rows(5, 0, 0)], name="general", seed=0, split="train")
    report = validate(rows, Exact(Dialect.R1_ZERO), 5)
    assert (report.num_right, report.num_unchecked) == (0, 5)
