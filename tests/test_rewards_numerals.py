"""Plain numbers: what is one, what is not, and what it is worth."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rewards.numerals import parse_number, repeating_decimal, undress
from zero2r1.rewards.units import is_other_unit, sign_of_unit

VALUES = {
    "42": Fraction(42),
    "+42": Fraction(42),
    "- 42": Fraction(-42),
    "−42": Fraction(-42),
    "－４２": Fraction(-42),
    "042": Fraction(42),
    "1,234,567": Fraction(1234567),
    "1，234": Fraction(1234),
    "1{,}234": Fraction(1234),
    r"1,\!234": Fraction(1234),
    "12.50": Fraction(25, 2),
    ".5": Fraction(1, 2),
    "1,234.5": Fraction(2469, 2),
    "3/4": Fraction(3, 4),
    "-3/4": Fraction(-3, 4),
    r"\frac{3}{4}": Fraction(3, 4),
    r"-\dfrac{3}{4}": Fraction(-3, 4),
    r"\tfrac{-3}{4}": Fraction(-3, 4),
    r"-\frac{-3}{4}": Fraction(3, 4),
    r"1\frac{1}{2}": Fraction(3, 2),
    r"0.\overline{3}": Fraction(1, 3),
    r"-1.1\overline{6}": Fraction(-7, 6),
    r"0.\dot{9}": Fraction(1),
    r"\frac{1}3": Fraction(1, 3),
    r"{3 \over 4}": Fraction(3, 4),
    r"\displaystyle 42": Fraction(42),
    r"x = \boldsymbol{42}": Fraction(42),
    r"-\$42": Fraction(-42),
    "答：42": Fraction(42),
    "1e3": Fraction(1000),
    "1.5e-2": Fraction(3, 200),
    r"1.5 \times 10^{3}": Fraction(1500),
    "x = 42": Fraction(42),
    "$42$": Fraction(42),
    r"\$42": Fraction(42),
    r"\text{42}": Fraction(42),
    "**42**": Fraction(42),
    "42.": Fraction(42),
    "42。": Fraction(42),
    r"42^{\circ}": Fraction(42),
    "The final answer is: 42.": Fraction(42),
    "所以，答案是：４２。": Fraction(42),
    "四十二": Fraction(42),
    "负三分之一": Fraction(-1, 3),
    "4.2万": Fraction(42000),
    "1 1/2": Fraction(3, 2),
    r"\frac12": Fraction(1, 2),
    "AB = 42": Fraction(42),
    r"$\$42$": Fraction(42),
    r"f\left(3\right) = 42": Fraction(42),
    "f(3) = 42": Fraction(42),
}

NO_NUMBERS = (
    "", "forty-two", "三四", "十几", "一百五", "42 km", "42 43", "41, 42", "1,2", "12,34", "1,2345", "1.2.3",
    "41 or 42", "41=42", "6*7", r"6\cdot 7", "40+2", "42!", "4²", "42x", "(42)", "[42]", "{42}", "42..", "0.333...",
    "--42", "1/0", "1/2/3", r"\frac{1}{0}", r"\frac{6\cdot 7}{1}", r"\sqrt{4}", "1e1000", "1e999999999", "٤٢",
    "42\n43", "nan", "inf", "0x2a", "4_2",
    "x = y = 42", "42 = x", r"4\,2", "\x0042", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_a_plain_number_has_its_exact_value(text):
    number = parse_number(undress(text))
    assert number is not None
    assert number.value == VALUES[text]
    assert number.is_worked_out


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_anything_else_is_no_number(text):
    assert parse_number(undress(text)) is None


@pytest.mark.parametrize("text", ["84/2", "2/4", r"\frac{84}{2}", "42/1", r"1\frac{4}{3}", r"42 \times 10^{1}"])
def test_a_quotient_that_can_be_reduced_is_not_worked_out(text):
    number = parse_number(text)
    assert number is not None
    assert not number.is_worked_out


def test_a_percent_sign_is_remembered_and_not_computed_with():
    number = parse_number(r"4200\%")
    assert number is not None
    assert number.value == 4200
    assert number.is_percent


def test_a_number_longer_than_the_cap_is_none():
    assert parse_number("9" * 200) is not None
    assert parse_number("9" * 201) is None


@settings(max_examples=100)
@given(st.fractions(max_denominator=10**6))
def test_every_fraction_reads_as_itself(value):
    for text in (f"{value.numerator}/{value.denominator}", rf"\frac{{{value.numerator}}}{{{value.denominator}}}"):
        number = parse_number(text)
        assert number is not None
        assert number.value == value


@settings(max_examples=100)
@given(st.integers(-(10**15), 10**15))
def test_every_integer_reads_as_itself_however_it_is_written(value):
    full_width = str(value).translate(str.maketrans("-0123456789", "−０１２３４５６７８９"))
    for text in (str(value), f"{value:,}", f"{value:+}", f"{value}.0", full_width):
        number = parse_number(undress(text))
        assert number is not None
        assert number.value == value


@settings(max_examples=200)
@given(st.text(max_size=250))
def test_reading_any_text_never_raises(text):
    parse_number(undress(text))


def test_a_repeating_decimal_is_the_sum_of_its_series():
    assert repeating_decimal(0, "", "45") == Fraction(5, 11)  # 45/99
    assert repeating_decimal(1, "1", "6") == Fraction(7, 6)  # 1 + (16 - 1)/90 = 1 + 1/6
    assert repeating_decimal(0, "08", "3") == Fraction(1, 12)  # (83 - 8)/900 = 75/900


def test_a_sign_is_a_unit_that_others_may_contradict():
    assert [sign_of_unit(text) for text in ("$42", "-\\$42", "x = €42", "¥42", r"42^\circ", "42")] == [
        "dollar", "dollar", "euro", "yuan", "degree", None,
    ]  # fmt: skip
    assert is_other_unit("euro", "dollar")
    assert is_other_unit("cm", "degree")
    assert not is_other_unit(None, "dollar")
    assert not is_other_unit("dollar", None)
    assert not is_other_unit("degree", "°C")
    assert is_other_unit("°F", "°C")


def test_a_megabyte_of_blanks_costs_nothing():
    """`undress` sees whole replies: two patterns of blanks side by side would take hours here."""
    text = "$1$," + " " * 2**20 + "x"
    assert undress(text) == text
    assert undress("$1$, $2$ and $3$") == "1, 2 and 3"
