"""Shapes of expressions, how they are compared, units and Chinese number words."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.types import AnswerKind, Verdict
from zero2r1.rewards.chinese_numerals import chinese_number
from zero2r1.rewards.math_answer import grade
from zero2r1.rewards.pool import Grade
from zero2r1.rewards.structures import Kind, read_shape, split
from zero2r1.rewards.units import unit_name, without_unit, without_wrapped_unit


@pytest.mark.parametrize(
    ("text", "kind", "num_parts"),
    [
        (r"\{1,2\}", Kind.SET, 2),
        ("1, 2", Kind.SET, 2),
        (r"x=1 \text{ or } x=2", Kind.SET, 2),
        (r"\pm\sqrt{2}", Kind.SET, 2),
        (r"\{0, \pm 1\}", Kind.SET, 3),
        ("(1,2)", Kind.TUPLE, 2),
        ("[0,1)", Kind.TUPLE, 2),
        (r"0 \le x < 1", Kind.TUPLE, 2),
        (r"x > 3", Kind.TUPLE, 2),
        (r"\{x \mid x > 3\}", Kind.TUPLE, 2),
        (r"\mathbb{R}", Kind.TUPLE, 2),
        (r"x<1 \text{ or } x>3", Kind.UNION, 2),
        (r"(0,1)\cup\{2\}", Kind.UNION, 2),
        (r"x \neq 1", Kind.WITHOUT, 1),
        (r"\mathbb{R}\setminus\{1,2\}", Kind.WITHOUT, 2),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", Kind.MATRIX, 4),
        ("[[1,2],[3,4]]", Kind.MATRIX, 4),
        ("[[1,2],[3]]", Kind.OTHER, 0),
        ("y = 2x+1", Kind.NAMED, 1),
        ("x = x + 1", Kind.EQUATION, 2),
        ("2x + y = 3", Kind.EQUATION, 2),
        ("a = b = c", Kind.OTHER, 0),
        ("A = B", Kind.EQUATION, 2),
        ("x=1, y=2", Kind.RECORD, 2),
        (r"\emptyset", Kind.EMPTY, 0),
        ("no solution", Kind.EMPTY, 0),
        ("Yes", Kind.WORDS, 0),
        (r"2\sqrt{3}", Kind.VALUE, 0),
        ("", Kind.OTHER, 0),
        ("((((((((1,2),3),4),5),6),7),8),9)", Kind.TUPLE, 2),
    ],
)
def test_an_expression_has_its_shape(text, kind, num_parts):
    shape = read_shape(text)
    assert (shape.kind, len(shape.parts)) == (kind, num_parts)


def test_inequalities_become_intervals_with_the_right_brackets():
    for text, brackets in ((r"0 \le x < 1", "[)"), (r"1 \ge x > 0", "(]"), ("x < 3", "()"), (r"3 \le x", "[)")):
        assert read_shape(text).brackets == brackets
    assert [part.text for part in read_shape(r"5 > x \ge 2").parts] == ["2", "5"]


def test_splitting_leaves_brackets_whole():
    assert split("(1,2),[3,4),{5,6}", ",") == ["(1,2)", "[3,4)", "{5,6}"]


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="x12,;=<>()[]{}\\ orpm|&或和\x00", max_size=40))
def test_reading_the_shape_of_any_text_never_raises(text):
    read_shape(text)


def equal_or_error(reference: str, answer: str) -> Grade:
    return Grade(Verdict.ERROR, "killed") if "z" in answer else Grade(Verdict.RIGHT)


def verdict(answer, reference):
    return grade(answer, reference, AnswerKind.EXPRESSION, compare=equal_or_error).verdict


def test_one_part_that_cannot_be_judged_is_an_error_unless_another_is_wrong():
    assert verdict("(b+a, z+a)", "(a+b, a+z)") is Verdict.ERROR
    assert verdict("(b+a, z+a)", "(a+c, a+z)") is Verdict.WRONG
    assert verdict(r"\{z+a, b+a\}", r"\{a+b, a+z\}") is Verdict.ERROR


def test_each_element_of_a_set_is_matched_once():
    assert verdict(r"\{b, a\}", r"\{a, b\}") is Verdict.RIGHT
    assert verdict(r"\{a, a\}", r"\{a, b\}") is Verdict.WRONG
    assert verdict(r"\{a, b, b\}", r"\{a, b\}") is Verdict.WRONG


def test_an_equation_times_zero_is_no_equation():
    for answer in ("0=0", "x=x", "0(y-2x-3)=0", "(y-2x-3)-(y-2x-3)=0"):
        assert verdict(answer, "y=2x+3") is Verdict.WRONG


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("42 km", "42", "km"),
        (r"42\text{ km}", "42", "km"),
        (r"42\,\mathrm{kilometers}", "42", "km"),
        ("42公里", "42", "km"),
        ("42 cm^2", "42", "cm^2"),
        ("42 cm²", "42", "cm^2"),
        ("42 square centimeters", "42", "cm^2"),
        ("42平方厘米", "42", "cm^2"),
        ("60 km/h", "60", "km/h"),
        ("60 kilometers per hour", "60", "km/h"),
        ("60千米每小时", "60", "km/h"),
        ("四十二个", "四十二", "count"),
        ("3 m", "3", "m"),
        ("42个苹果", "42", "count"),
    ],
)
def test_a_unit_of_the_list_is_taken_off(text, value, unit):
    assert without_unit(text) == (value, unit)


@pytest.mark.parametrize(
    "text",
    ["42", "42 million", "42万", "42m", "42x", "42 dozen", "42 cm 3", "42 km 7", "42 m/s/s", "二千米",
     "二千克", "km", "42!"],
)  # fmt: skip
def test_anything_else_keeps_what_stands_behind_the_number(text):
    assert without_unit(text) == (text, None)


def test_behind_an_expression_a_unit_counts_only_when_it_is_marked_as_text():
    assert without_wrapped_unit(r"5\pi\text{ cm}^2") == (r"5\pi", "cm^2")
    assert without_wrapped_unit(r"5\pi m") == (r"5\pi m", None)
    assert unit_name("furlong") is None


DIGITS = "零一二三四五六七八九"


def spoken(value: int) -> str:
    """An integer below 10**12 in Chinese characters, by the rules of the language: the other direction."""
    if value >= 10**8:
        high, low = divmod(value, 10**8)
        return spoken(high) + "亿" + ("" if low == 0 else ("零" if low < 10**7 else "") + spoken(low))
    if value >= 10**4:
        high, low = divmod(value, 10**4)
        return spoken(high) + "万" + ("" if low == 0 else ("零" if low < 1000 else "") + spoken(low))
    for scale, mark in ((1000, "千"), (100, "百"), (10, "十")):
        if value >= scale:
            high, low = divmod(value, scale)
            return DIGITS[high] + mark + ("" if low == 0 else ("零" if low < scale // 10 else "") + spoken(low))
    return DIGITS[value]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.integers(0, 99999), st.integers(0, 10**12 - 1)))
def test_every_number_is_read_back_from_chinese(value):
    assert chinese_number(spoken(value)) == (Fraction(value), False, True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("百分之五十", (Fraction(50), True, True)),
        ("三分之一", (Fraction(1, 3), False, True)),
        ("四分之二", (Fraction(1, 2), False, False)),
        ("一又二分之一", (Fraction(3, 2), False, True)),
        ("负三点一四", (Fraction(-314, 100), False, True)),
        ("两百零五", (Fraction(205), False, True)),
        ("二〇二六", (Fraction(2026), False, True)),
        ("壹佰贰拾", (Fraction(120), False, True)),
        ("4.2万", (Fraction(42000), False, True)),
        ("三四", None),
        ("一百五", None),
        ("一万二", None),
        ("十几", None),
        ("两三百", None),
        ("百百", None),
        ("一千零", None),
        ("零分之一", None),
        ("万", None),
        ("", None),
        ("一" * 41, None),
    ],
)
def test_chinese_number_words(text, found):
    assert chinese_number(text) == found


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="零〇一二两三十百千万亿点又分之负1.", max_size=14))
def test_reading_any_characters_never_raises(text):
    chinese_number(text)
