"""Verdicts by kind of answer. Equality by math-verify is tested in test_rewards_pool.py; here it is a fake."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.types import AnswerKind, Verdict
from zero2r1.rewards.math_answer import grade, hedging, latexed
from zero2r1.rewards.pool import Grade

NUMBER, EXPRESSION, SEQUENCE, CHOICE = (
    AnswerKind.NUMBER,
    AnswerKind.EXPRESSION,
    AnswerKind.SEQUENCE,
    AnswerKind.CHOICE,
)


def never(reference: str, answer: str) -> Grade:
    raise AssertionError(f"the worker was asked about {answer!r}")


def say_right(reference: str, answer: str) -> Grade:
    return Grade(Verdict.RIGHT)


def verdict(answer, reference, kind, compare=never):
    return grade(answer, reference, kind, compare=compare).verdict


def test_numbers_are_equal_by_value_and_only_by_value():
    assert verdict("0.50", "1/2", NUMBER) is Verdict.RIGHT
    assert verdict(r"\frac{1}{2}", "0.5", NUMBER) is Verdict.RIGHT
    assert verdict("0.333333", "1/3", NUMBER) is Verdict.WRONG
    assert verdict("9007199254740993", "9007199254740992", NUMBER) is Verdict.WRONG  # equal as floats: 2**53 + 1


def test_a_quotient_counts_only_when_it_is_worked_out_or_is_the_reference():
    assert verdict("84/2", "42", NUMBER) is Verdict.WRONG
    assert verdict("2/4", "1/2", NUMBER) is Verdict.WRONG
    assert verdict("2 / 4", "2/4", NUMBER) is Verdict.RIGHT


def test_a_percent_sign_must_stand_where_the_reference_has_one():
    assert verdict("10%", "10%", NUMBER) is Verdict.RIGHT
    assert verdict("10", "10%", NUMBER) is Verdict.WRONG
    assert verdict("10%", "0.1", NUMBER) is Verdict.WRONG


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("forty-two", NUMBER),
        ("3, x", SEQUENCE),
        ("", SEQUENCE),
        ("", CHOICE),
        ("24", AnswerKind.COUNTDOWN),
        ("", EXPRESSION),
        ("", AnswerKind.NONE),
    ],
)
def test_a_useless_reference_is_an_error_and_never_right_or_wrong(reference, kind):
    result = grade("42", reference, kind, compare=never)
    assert result.verdict is Verdict.ERROR
    assert result.note


@pytest.mark.parametrize("kind", [NUMBER, EXPRESSION, SEQUENCE, CHOICE, AnswerKind.COUNTDOWN])
def test_an_empty_or_endless_answer_is_wrong_before_anything_is_computed(kind):
    assert verdict(" $ $ ", "24|3,5,3", kind) is Verdict.WRONG
    assert verdict("1" * 201, "24|3,5,3", kind) is Verdict.WRONG


def test_a_unit_may_follow_and_must_be_the_one_of_the_reference():
    for answer in ("42 km", r"42\text{ km}", "42", "42公里"):
        assert verdict(answer, "42 km", NUMBER) is Verdict.RIGHT
        assert verdict(answer, "42", NUMBER) is Verdict.RIGHT
    for answer in ("42 m", "42 km^2", "42 km/h", "42 million", "42万", "42x", "42 km or 43 km", "42% km"):
        assert verdict(answer, "42 km", NUMBER) is Verdict.WRONG


@pytest.mark.parametrize("character", ["\u200b", "\u202e", "\x00", "𝟐", "٤"])
def test_a_hidden_character_spoils_an_expression_before_anyone_is_asked(character):
    assert verdict(r"\binom{n}{2}" + character, r"\binom{n}{2}", EXPRESSION, say_right) is Verdict.WRONG


def test_the_value_of_another_name_is_another_answer():
    assert verdict("x = 3", "x=3", EXPRESSION) is Verdict.RIGHT
    assert verdict("3", "x=3", EXPRESSION) is Verdict.RIGHT
    assert verdict("y = 3", "x=3", EXPRESSION) is Verdict.WRONG


def test_a_sequence_is_its_numbers_in_order():
    for answer in ("3, 5, 8", "3 5 8", "3，5，8", "3、5、8", "[3; 5; 8]", r"\{3, 5, 8\}", "(3,5.0,8)", "$3, 5, 8$"):
        assert verdict(answer, "3,5,8", SEQUENCE) is Verdict.RIGHT
    for answer in ("3, 5", "3, 5, 8, 8", "8, 5, 3", "3, 5, 8 or 8, 5, 3", "3 < 5 < 8", "358", "3, 10/2, 8", "3,,5,8"):
        assert verdict(answer, "3,5,8", SEQUENCE) is Verdict.WRONG


def test_a_choice_is_one_letter_or_word():
    for answer in ("B", "b", "(B)", "B.", r"\text{B}", "**B**", "选B", "option B", "Ｂ", "The answer is B."):
        assert verdict(answer, "B", CHOICE) is Verdict.RIGHT
    for answer in ("A or B", "A, B", "AB", "not B", "B) C", "B. not this", "C", "D"):
        assert verdict(answer, "B", CHOICE) is Verdict.WRONG
    for answer in ("B) 42", "B. Paris", "(B) the second one", "B：四十二"):  # the text of the option may follow
        assert verdict(answer, "B", CHOICE) is Verdict.RIGHT
    assert verdict("B. Paris", "B. Rome", CHOICE) is Verdict.WRONG
    assert verdict("B", "B. Rome", CHOICE) is Verdict.RIGHT
    assert verdict("Yes.", "yes", CHOICE) is Verdict.RIGHT
    assert verdict("yes or no", "yes", CHOICE) is Verdict.WRONG
    assert verdict("<", "<", CHOICE) is Verdict.RIGHT


def test_an_expression_with_a_number_as_reference_is_judged_as_a_number():
    assert verdict("42.0", "42", EXPRESSION) is Verdict.RIGHT
    assert verdict(r"6\cdot7", "42", EXPRESSION) is Verdict.WRONG
    assert verdict(r"\sum_{k=1}^{6} 7", "42", EXPRESSION) is Verdict.WRONG


def test_identical_expressions_never_reach_the_worker():
    assert verdict(r"2 \sqrt{3}", r"2\sqrt{3}", EXPRESSION) is Verdict.RIGHT


@pytest.mark.parametrize(
    "answer",
    [
        r"2\sqrt3 \text{ or } 1", "2√3或1", r"\pm 2\sqrt3", r"±2\sqrt3", r"2\sqrt3, 1", r"2\sqrt3; 1", r"1 = 2\sqrt3",
        r"x = 1 = 2\sqrt3", r"200\sqrt3 \%", r"x \in \{2\sqrt3\}", r"x \leq 2\sqrt3", r"x \approx 2\sqrt3",
        r"\int_0^1 x dx", r"\lim_{x \to 0} x", r"\binom{4}{2}\sqrt3", r"2\sqrt3 + 0!", r"\max(1, 2\sqrt3)",
        r"\frac{d}{dx} 2x", "{2", "2}", r"2\sqrt{3} + 1_4",
    ],
)  # fmt: skip
def test_a_hedging_expression_is_wrong_without_asking_the_worker(answer):
    assert hedging(answer, r"2\sqrt{3}")
    assert verdict(answer, r"2\sqrt{3}", EXPRESSION, say_right) is Verdict.WRONG


def test_what_the_reference_does_the_answer_may_do():
    for reference in (r"x=1 \text{ or } x=2", r"\pm\sqrt{2}", "1,2", r"x \leq 3", "y=2x+1", r"5x\%", "n!", "101_2"):
        assert hedging(reference + " ", reference) == ""
    assert hedging("101_3", "101_2")


def test_a_name_before_a_value_is_dropped():
    asked = []

    def listen(reference: str, answer: str) -> Grade:
        asked.append((reference, answer))
        return Grade(Verdict.RIGHT)

    verdict("f(x) = 2x+1", "1+2x", EXPRESSION, listen)
    verdict("x_1 = a, x_2 = b", "b, a", EXPRESSION, listen)
    verdict("y = 2x+1", "y=1+2x", EXPRESSION, listen)
    assert asked == [("1+2x", "2x+1"), ("1+2x", "2x+1")]  # a and b are the reference's own, in another order


def test_expressions_typed_without_latex_become_latex():
    assert latexed("pi/4") == r"\pi/4"
    assert latexed("2*x**2") == "2*x^2"
    assert latexed("sqrt(2)") == r"\sqrt{2}"
    assert latexed(r"\sqrt{2}\pi + spin") == r"\sqrt{2}\pi + spin"
    assert latexed("x²") == "x^{2}"


def test_the_worker_error_stays_an_error():
    def lost(reference: str, answer: str) -> Grade:
        return Grade(Verdict.ERROR, "killed")

    assert grade("x+1", "1+x", EXPRESSION, compare=lost) == Grade(Verdict.ERROR, "killed")


@settings(max_examples=200)
@given(st.text(max_size=220), st.sampled_from(list(AnswerKind)))
def test_any_answer_gets_the_same_verdict_twice_and_a_reason_when_it_is_not_right(answer, kind):
    reference = {AnswerKind.COUNTDOWN: "24|3,5,3", CHOICE: "B", SEQUENCE: "3, 5, 8"}.get(kind, "x+1")
    first = grade(answer, reference, kind, compare=say_right)
    assert first == grade(answer, reference, kind, compare=say_right)
    assert first.note or first.verdict is Verdict.RIGHT


@settings(max_examples=200)
@given(st.integers(-999, 999), st.integers(-999, 999), st.sampled_from([" or ", ", ", " = ", "或", " ", "; ", " and "]))
def test_a_number_beside_another_never_scores(first, second, joint):
    assert verdict(f"{first}{joint}{second}", str(second), NUMBER) is Verdict.WRONG


SPEED = """
import time
from zero2r1.core.types import AnswerKind
from zero2r1.rewards.math_answer import grade
answers = ["1,085", "-3/4", r"\\boxed{7}", "The answer is 42.", "41 or 42"] * 1000
start_s = time.process_time()
for answer in answers:
    grade(answer, "1085", AnswerKind.NUMBER, compare=None)
print(len(answers) / (time.process_time() - start_s))
"""


def test_plain_numbers_are_judged_five_thousand_times_a_second(root):
    # In a process of its own, because type checks at run time make every call here several times slower.
    finished = subprocess.run([sys.executable, "-c", SPEED], cwd=root, capture_output=True, text=True, check=True)
    assert float(finished.stdout) > 5000


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        (r"\gcd(k, p-1)", r"\gcd(k, p+1)"),
        ("f'(0)", "f''(0)"),
        (r"\frac{\partial f}{\partial x}", r"\frac{\partial f}{\partial y}"),
        (r"\lfloor x\rfloor", r"\lfloor w\rfloor"),
    ],
)
def test_what_math_verify_skips_over_is_never_right_by_its_word(reference, answer):
    assert verdict(answer, reference, EXPRESSION, say_right) is Verdict.ERROR
    assert verdict(reference, reference, EXPRESSION) is Verdict.RIGHT


def test_a_bound_name_may_be_another():
    assert verdict(r"\sum_{i=1}^n i^2", r"\sum_{k=1}^n k^2", EXPRESSION, say_right) is Verdict.RIGHT


def test_two_units_in_one_answer_are_no_measure():
    assert verdict("$12 kg", "12", NUMBER) is Verdict.WRONG
    assert verdict("$12 dollars", "12", NUMBER) is Verdict.RIGHT
