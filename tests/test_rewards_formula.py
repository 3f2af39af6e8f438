"""Formulas: what is read as what, what was left undone, and when two values prove a difference."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rewards.formula import families, has_constant, literal, names, read_formula
from zero2r1.rewards.numeric import NoValue, differ, evaluate, is_huge, points
from zero2r1.rewards.tidy import hidden_character, latexed, packed, tidy
from zero2r1.rewards.unfinished import is_unfinished


def tree(text):
    found = read_formula(tidy(text))
    assert found is not None, text
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", 14),
        ("-2^2", -4),  # the sign comes last
        ("2^3^2", 512),  # 2^(3^2)
        ("1/2/2", 0.25),  # from the left
        (r"\frac12", 0.5),
        (r"\frac{1}{2}3", None),  # a number right behind a fraction is no product
        (r"2\frac{1}{4}", 2.25),  # a mixed number
        (r"2\sqrt{9}", 6),
        (r"\sqrt[3]{8}", 2),
        ("√(16)", 4),
        (r"\ln e^2", 2),
        (r"\log_2 8", 3),
        (r"\lg 100", 2),
        (r"\sin\frac{\pi}{6}", 0.5),
        (r"\cos^2 0", 1),
        (r"\arctan 1", math.pi / 4),
        (r"\sin^{-1}(1)", math.pi / 2),
        (r"|3-5|", 2),
        (r"2(3)(4)", 24),
        (r"e^{\ln 3}", 3),
        (r"\cosh 0", 1),
        ("2 3", None),
        ("1,2", None),
        ("x = 2", None),
        ("5!", None),
        (r"\sum_{k=1}^2 k", None),
        ("(1", None),
        ("", None),
        ("+", None),
        ("f'(x)", None),
        ("{" * 60 + "1" + "}" * 60, None),
        ("1" * 201, None),
    ],
)
def test_a_formula_has_its_value(text, value):
    found = read_formula(tidy(text))
    if value is None:
        assert found is None
    else:
        assert found is not None
        assert evaluate(found, {}).z.real == pytest.approx(value, rel=1e-12)


def test_names_are_free_and_constants_are_not():
    assert names(tree(r"ax^2 + b_1 \theta + e^{i\pi}")) == {"a", "x", "b_1", "theta"}
    assert has_constant(tree("3+2i"), "i")
    assert not has_constant(tree("3x"), "i")
    assert families(tree(r"\sin x + \ln 2")) == {0, 2}


@pytest.mark.parametrize(
    "text",
    ["2^2", "3+9", "4/2", r"\frac{4}{2}x", "2*3x", "x+0", "1*x", r"\sqrt{4}", r"\sqrt{\frac{1}{4}}", r"\sqrt[3]{27}x",
     "|2|", "(1+1)x", "x^{2+1}", r"2^{-1}\pi", "3x+2x", r"9\pi-4\pi", r"2\sqrt{3}+\sqrt{3}", "xy-2yx",
     r"\frac{10\pi}{2}", r"\frac{4x}{6y}", "0y", "(1-i)^2", "2i^3", "(1+i)(2-i)", r"\frac{2}{i}",
     r"\frac{x}{2}+\frac{x}{3}"],
)  # fmt: skip
def test_arithmetic_left_undone_is_seen(text):
    assert is_unfinished(tree(text))


@pytest.mark.parametrize(
    "text",
    ["2x+1", r"\frac{3}{4}x", r"\sqrt{12}", r"\frac{\sqrt{3}}{3}", "(x+1)^2", r"\frac{-1}{2}", "-3", "0.5", "2^n",
     "x^2", r"3^{-\frac{1}{2}}", r"2\frac{1}{2}", "x^2+2x", r"\sqrt{2}+\sqrt{3}", r"\frac{6}{\sqrt{3}}",
     r"(1+\sqrt{2})^2", "x(x+2)+1", r"\frac{1+i}{2}", "3-2i", "e^{2i}", r"\frac{1}{z-i}", r"\pi+2k\pi",
     r"\frac{n(n+1)}{2}"],
)  # fmt: skip
def test_a_finished_formula_is_left_alone(text):
    assert not is_unfinished(tree(text))


def test_a_called_function_is_no_product():
    assert read_formula("2f(0)") is None  # 2 * f * 0 would equal every other multiple of f(0)
    assert read_formula("g(3)+1") is None
    assert read_formula("f(x+1)") is not None
    assert read_formula("n(0)") is not None


def test_a_literal_is_a_number_as_a_result_is_written():
    assert literal(tree(r"-\frac{3}{4}")) == Fraction(-3, 4)
    assert literal(tree("0.50")) == Fraction(1, 2)
    assert literal(tree(r"\frac{6}{8}")) is None
    assert literal(tree("--3")) is None if read_formula("--3") else True


@pytest.mark.parametrize(
    ("first", "second"),
    [("x+1", "x+2"), (r"\sqrt{3}", "1.7320508"), (r"\frac{\pi}{4}", r"\frac{\pi}{3}"), ("ab", "a+b"), ("3+2i", "3-2i"),
     (r"e^{2x}", r"e^{x^2}"), ("x", "y"), (r"\ln 2", r"\ln 3")],
)  # fmt: skip
def test_different_values_prove_a_difference(first, second):
    assert differ(tree(first), tree(second))
    assert differ(tree(second), tree(first))


@pytest.mark.parametrize(
    ("first", "second"),
    [("x^2+2x+1", "(x+1)^2"), (r"\sqrt{12}", r"2\sqrt{3}"), (r"\sin^2 x", r"1-\cos^2 x"), ("(a+b)(a-b)", "a^2-b^2"),
     (r"\sqrt{-4}", "2i"), (r"\ln(xy)", r"\ln x+\ln y"), ("2^{99}", "633825300114114700748351602689"),
     (r"\log 5", r"\ln 5"), (r"\frac{1}{x-x}", "7"), (r"\sqrt[3]{-8}", "-2"), ("(10^9+x)-10^9", "x"),
     (r"\tan^2 x + 1", r"\sec^2 x")],
)  # fmt: skip
def test_values_that_may_be_equal_prove_nothing(first, second):
    assert not differ(tree(first), tree(second))


def test_the_error_bound_covers_cancellation():
    # 10^15 + pi - 10^15: doubles near 10^15 are 1/8 apart, so the result is off by up to 0.0625
    value = evaluate(tree(r"10^{15} + \pi - 10^{15}"), {})
    assert abs(value.z.real - math.pi) <= value.error
    assert 0.01 < value.error < 100


def test_points_are_the_same_in_every_run_and_differ_by_name():
    first = points(frozenset(("x", "y")))
    assert first == points(frozenset(("y", "x")))
    assert all(point["x"] != point["y"] and 0.2 <= point["x"].real <= 2.2 for point in first)
    assert points(frozenset()) == [{}]


@pytest.mark.parametrize("text", ["2^{2^{99}}", "10^{10^{10}}", "e^{e^{e^e}}", "999^{999}"])
def test_a_huge_number_is_seen_without_computing_it(text):
    assert is_huge(tree(text))


def test_a_number_of_usual_size_is_not_huge():
    assert not any(is_huge(tree(text)) for text in ("2^{99}", r"10^{100}\pi", "x^{500}", r"\frac{1}{0}"))


@pytest.mark.parametrize("text", ["1/0", r"\ln 0", r"0^{-1}", r"(-1)^{0.5}", r"\arcsin 2"])
def test_a_point_without_a_value_says_so(text):
    with pytest.raises((NoValue, ZeroDivisionError, ValueError)):
        evaluate(tree(text), {})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=4), st.lists(st.integers(-9, 9), min_size=2, max_size=4))
def test_the_expanded_product_of_two_polynomials_never_differs_from_the_product(first, second):
    def written(coefficients):
        return "+".join(f"({c})x^{{{power}}}" for power, c in enumerate(coefficients))

    product = [0] * (len(first) + len(second) - 1)
    for i, a in enumerate(first):
        for j, b in enumerate(second):
            product[i + j] += a * b
    expanded, factored = tree(written(product)), tree(f"({written(first)})({written(second)})")
    assert not differ(expanded, factored)
    assert differ(expanded, tree(f"({written(first)})({written(second)})+0.001"))


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="x12+-*/^(){}|\\ frac sqrt_,=\x00٤²", max_size=40))
def test_reading_any_text_never_raises(text):
    read_formula(tidy(text))


def test_one_spelling_is_kept_of_several():
    assert tidy(r"\dfrac{1}{2} \cdot \left( x \right)") == r"\frac{1}{2} * ( x )"
    assert packed(tidy(r"x \leqslant 3\text{ or }x \geq 5")) == r"x\le3orx\ge5"
    assert tidy(r"\begin{pmatrix}1\\ 2\end{pmatrix}") == r"\begin{pmatrix}1\\ 2\end{pmatrix}"
    assert latexed("x<=3") == r"x\le 3"


@pytest.mark.parametrize("text", ["4\u200b2", "\u202e24", "٤٢", "𝟒𝟐", "⁴", "\x00", "\ud800", "④"])
def test_characters_that_hide_something_are_named(text):
    assert hidden_character(text)


def test_characters_of_honest_answers_hide_nothing():
    assert hidden_character("x² + 四十二 \\frac{1}{2} ≤ π√3\n") == ""
