"""A plain reply may be one true equation; anything that merely ends in the right number is no answer."""

import pytest

from zero2r1.core.dialogue import Dialect
from zero2r1.core.types import AnswerKind, Verdict
from zero2r1.rewards.answers import final_answer
from zero2r1.rewards.equations import worked_out
from zero2r1.rewards.math_answer import grade
from zero2r1.rewards.pool import Grade


def _never(reference: str, answer: str) -> Grade:
    raise AssertionError(f"a plain number needs no worker: {reference} {answer}")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("4 + 7 = 11", "11"),
        ("4+7=11.", "11"),
        ('"4 + 7 = 11."', "11"),
        ("６×７＝４２", "42"),
        ("(2+3)*4 = 20", "20"),
        ("$12 - 15 = -3$", "-3"),
    ],
)
def test_a_true_equation_gives_its_right_side(text: str, right: str) -> None:
    assert worked_out(text) == right


@pytest.mark.parametrize(
    "text",
    [
        "41 = 42",
        "42 = 42",
        "3 + 3 = 42",
        "4 + 7 = 12",
        "4 + 7 = 11 = 11",
        "4 + 7 = 11 or 12",
        "x + 7 = 11",
        "4 + 7 = 11 is a common rounding",
        "1/0 = 11",
        "= 11",
        "4 + 7 =",
        "4 + 7 = 1100%",
        "1+" * 200 + "1 = 201",
    ],
)
def test_anything_else_names_no_answer(text: str) -> None:
    assert worked_out(text) is None


def test_only_the_plain_dialect_takes_equations() -> None:
    plain = final_answer("4 + 7 = 11", Dialect.PLAIN)
    assert plain.answer is not None
    assert grade(plain.answer, "11", AnswerKind.NUMBER, compare=_never).verdict is Verdict.RIGHT
    tagged = final_answer("<think> x </think> <answer> 4 + 7 = 11 </answer>", Dialect.R1_ZERO)
    assert tagged.answer is not None
    assert grade(tagged.answer, "11", AnswerKind.NUMBER, compare=_never).verdict is Verdict.WRONG
