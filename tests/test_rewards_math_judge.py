"""Our shortcuts against math-verify itself: where both have an opinion it is the same, but for named exceptions."""

import logging
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.types import AnswerKind, Verdict
from zero2r1.rewards.math_answer import grade
from zero2r1.rewards.math_judge import DECIMALS, load_judge
from zero2r1.rewards.pool import Grade

Judge = Callable[[str, str], tuple[str, str]]


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


@pytest.fixture(scope="module")
def math_verify() -> Iterator[Callable[[str, str], bool]]:
    from math_verify import LatexExtractionConfig, parse, verify

    latex = [LatexExtractionConfig(boxed_match_priority=0)]

    def equal(reference: str, answer: str) -> bool:
        read = [
            parse(f"\\boxed{{{text}}}", extraction_config=latex, fallback_mode="no_fallback", parsing_timeout=None)
            for text in (reference, answer)
        ]
        assert all(read), (reference, answer)
        return verify(*read, float_rounding=DECIMALS, timeout_seconds=None)

    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield equal
    logging.disable(logging.NOTSET)


def never(reference: str, answer: str) -> Grade:
    raise AssertionError(f"the worker was asked about {answer!r}")


def spellings(value: Fraction) -> list[str]:
    """A number the ways both sides read it."""
    top, bottom = abs(value.numerator), value.denominator
    sign = "-" if value < 0 else ""
    if bottom > 1:
        written = [f"{sign}\\frac{{{top}}}{{{bottom}}}", f"{sign}\\dfrac{{{top}}}{{{bottom}}}", f"{sign}{top}/{bottom}"]
        return [*written, f"{sign}{top / bottom}"] if 10**4 % bottom == 0 else written
    return [f"{sign}{top}", f"{sign}{top}.0", f"{sign}{top:,}", f"x = {sign}{top}", f"{sign}{top}^{{\\circ}}"]


VALUES = st.one_of(
    st.integers(-(10**6), 10**6).map(Fraction),
    st.fractions(-50, 50, max_denominator=12),
    st.integers(-(10**5), 10**5).map(lambda number: Fraction(number, 10**4)),
)


@settings(max_examples=150, deadline=None)
@given(VALUES, VALUES, st.data())
def test_the_fast_path_for_numbers_agrees_with_math_verify(math_verify, first, second, data):
    # Where the fast path is stricter on purpose: percent signs, quotients left undone, 0.3333333333 for 1/3.
    reference = data.draw(st.sampled_from(spellings(first)))
    answer = data.draw(st.sampled_from(spellings(second if data.draw(st.booleans()) else first)))
    ours = grade(answer, reference, AnswerKind.NUMBER, compare=never).verdict
    assert (ours is Verdict.RIGHT) == math_verify(reference, answer), (reference, answer)


PAIRS = (
    (
        r"2\sqrt{3}",
        (r"\sqrt{12}", r"\frac{6}{\sqrt{3}}", r"3\sqrt{2}", r"2\sqrt{3}+1", r"\sqrt{3}\cdot 2", r"-2\sqrt{3}"),
    ),
    ("x^2+2x+1", ("(x+1)^2", "x(x+2)+1", "x^2+2x", "(x+1)^3", "1+x^2+2x")),
    (r"\frac{x+1}{x-1}", (r"1+\frac{2}{x-1}", r"\frac{-x-1}{1-x}", r"\frac{x-1}{x+1}")),
    (r"\sin^2 x", (r"1-\cos^2 x", r"\cos^2 x", r"\frac{1-\cos(2x)}{2}")),
    (r"\frac{\pi}{4}", (r"\frac{1}{4}\pi", r"\frac{\pi}{3}", r"\pi")),
    ("e^{-1}", (r"\frac{1}{e}", "e", "e^{-2}")),
    (r"\ln 4", (r"2\ln 2", r"\ln 2", r"\ln 8-\ln 2")),
    ("3+2i", ("2i+3", "3-2i", "2+3i")),
    ("a^2-b^2", ("(a+b)(a-b)", "(a-b)^2", "b^2-a^2")),
    (r"\sqrt[3]{2}", (r"2^{\frac{1}{3}}", r"\sqrt{2}")),
    ("2^{99}", ("633825300114114700748351602688", "633825300114114700748351602689")),
    (r"|x|", (r"\sqrt{x^2}", "x")),
)


@pytest.mark.parametrize(
    ("reference", "answer"), [(reference, said) for reference, all_said in PAIRS for said in all_said]
)
def test_reading_formulas_ourselves_changes_no_verdict(judge, math_verify, reference, answer):
    assert (judge(reference, answer)[0] == "right") == math_verify(reference, answer)


@pytest.mark.parametrize(
    ("reference", "answer"), [(reference, said) for reference, all_said in PAIRS for said in all_said]
)
def test_a_proven_difference_is_one_for_math_verify_too(math_verify, reference, answer):
    asked = []

    def listen(wanted: str, said: str) -> Grade:
        asked.append(said)
        return Grade(Verdict.RIGHT if math_verify(reference, answer) else Verdict.WRONG)

    found = grade(answer, reference, AnswerKind.EXPRESSION, compare=listen)
    assert (found.verdict is Verdict.RIGHT) == math_verify(reference, answer)
    assert asked or found.verdict is Verdict.WRONG or answer == reference


def test_a_decimal_is_no_irrational_number_however_many_digits_it_has(judge):
    # math-verify compares to 10 digits and takes it
    assert judge(r"2\sqrt{3}", "3.4641016151377546")[0] == "wrong"
    assert judge(r"\frac{\pi}{2}", r"0.5\pi")[0] == "right"


def test_what_is_no_formula_goes_through_the_grammar_of_math_verify(judge):
    assert judge(r"\binom{n}{2}", r"\binom{n}{2}") == ("right", "")
    assert judge(r"\begin{cases", "x")[0] == "error"
    assert judge(r"2\sqrt{3}", r"\begin{cases")[0] == "wrong"
