"""Countdown expressions: exact values, each number once, nothing evaluated by Python."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rewards.countdown import CountdownProblem, check, evaluate, parse_reference


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("3 + 5 * 3", 18),  # 5 * 3 first
        ("(3 + 5) * 3", 24),
        ("10 - 4 - 3", 3),  # from left to right
        ("24 / 4 / 3", 2),
        ("8 / 3 * 3", 8),  # exact: no rounding on the way
        ("1 / 3", Fraction(1, 3)),
        ("((7))", 7),
    ],
)
def test_an_expression_has_its_exact_value(expression, value):
    assert evaluate(expression)[0] == value


@pytest.mark.parametrize(
    "expression",
    ["", "3 +", "+ 3", "-3", "3 3", "(3", "3)", "3 ** 2", "3 // 2", "3.5", "3e2", "1 / 0", "1 / (2 - 2)",
     "x", "3 = 3", "()"],
)  # fmt: skip
def test_what_is_no_expression_is_a_problem(expression):
    with pytest.raises(CountdownProblem):
        evaluate(expression)


@pytest.mark.parametrize(
    "answer",
    ["(3+5)*3", "3*(5+3)", "(3 + 5) × 3 = 24", r"$(3+5)\times 3$", r"(3+5)\cdot 3", "（3＋5）＊3",
     "The answer is (3+5)*3."],
)  # fmt: skip
def test_a_solution_is_accepted_however_it_is_typed(answer):
    check(answer, 24, (3, 5, 3))


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("24", "uses"),
        ("3 * 5 + 9", "uses"),
        ("(3 + 5) * 3 * 1", "uses"),
        ("3 + 5 + 3", "reaches 11"),
        ("(3 + 5) * 3 = 25", "right of"),
        ("24 = (3 + 5) * 3", "right of"),
        ("(3 + 5) * 3 = 24 = 24", "right of"),
        ("(" * 100 + "3" + ")" * 99, "expected"),
        ("3+" * 101, "longer"),
        ("(3+5)*3; import os", "unexpected"),
        ("__import__('os')", "unexpected"),
    ],
)
def test_a_wrong_answer_says_why(answer, problem):
    with pytest.raises(CountdownProblem, match=problem):
        check(answer, 24, (3, 5, 3))


def test_a_fraction_in_latex_is_a_division():
    check(r"\frac{8}{4} + 3", 5, (8, 4, 3))


def test_a_reference_is_a_target_and_numbers():
    assert parse_reference("24|3,5,3") == (24, (3, 5, 3))
    for reference in ("24", "|3", "24|", "x|3", "24|3,x"):
        with pytest.raises(CountdownProblem, match="looks like"):
            parse_reference(reference)


@settings(max_examples=150)
@given(st.recursive(st.integers(0, 99).map(str), lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
    lambda parts: f"({parts[0]}{parts[1]}{parts[2]})"), max_leaves=8))  # fmt: skip
def test_the_value_is_pythons_value(expression):
    import ast

    def value(node):
        if isinstance(node, ast.Constant):
            return node.value
        left, right = value(node.left), value(node.right)
        return {ast.Add: left + right, ast.Sub: left - right, ast.Mult: left * right}[type(node.op)]

    assert evaluate(expression)[0] == value(ast.parse(expression, mode="eval").body)


@settings(max_examples=200)
@given(st.text(alphabet="0123456789+-*/() =\\x", max_size=60))
def test_any_text_is_a_value_or_a_problem(text):
    with suppress(CountdownProblem):
        check(text, 24, (3, 5, 3))
        assert evaluate(text.partition("=")[0])[0] == 24
