"""Every family: answers computed again from the question text alone, steps that hold, both languages."""

import itertools
import re
from fractions import Fraction

import pytest
from calculator import calculate
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.errors import DataError
from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.arithmetic import add_steps, multiply_steps, subtract_steps
from zero2r1.tasks.base import FAMILIES
from zero2r1.tasks.chain import expression_text, reduce
from zero2r1.tasks.countdown import is_solution, value_of
from zero2r1.tasks.synthetic import Problem

SIGNS = {"plus": "+", "minus": "-", "times": "*", "加": "+", "减": "-", "乘": "*"}

keys = st.integers(0, 2**64 - 1)
levels = st.integers(1, 5)
languages = st.sampled_from(("en", "zh"))
laws = settings(max_examples=25, deadline=None)


def make(name: str, key: int, level: int, language: str) -> Problem:
    family = FAMILIES[name]
    return family.make(Stream(key), level, language, family.default_operations)


def symbols_of(question: str) -> str:
    """The expression in a question, words turned into signs: `What is 37 plus 48?` -> `37+48`."""
    for word, sign in SIGNS.items():
        question = question.replace(word, sign)
    return "".join(re.findall(r"[\d+\-*()]", question))


@pytest.mark.parametrize("name", ["arithmetic", "chain"])
@laws
@given(key=keys, level=levels, language=languages)
def test_a_calculator_gets_the_answer_from_the_question(name: str, key: int, level: int, language: str) -> None:
    problem = make(name, key, level, language)
    assert int(problem.answer) == calculate(symbols_of(problem.question))
    assert int(problem.answer) >= 0


@laws
@given(key=keys, level=levels, language=languages)
def test_sorting_the_numbers_of_the_question_gives_the_answer(key: int, level: int, language: str) -> None:
    problem = make("ordering", key, level, language)
    numbers = [int(number) for number in re.findall(r"\d+", problem.question)]
    descends = re.search("largest to smallest|从大到小|larger|更大|较大", problem.question) is not None
    ordered = sorted(numbers, reverse=descends)
    expected = ordered[:1] if level == 1 else ordered
    assert [int(number) for number in problem.answer.split(", ")] == expected
    assert problem.answer_kind is (AnswerKind.NUMBER if level == 1 else AnswerKind.SEQUENCE)


STORIES = {
    # What a reader of the story computes, numbers in the order of the English text.
    "buy": lambda a, b: a + b,
    "give": lambda a, b: a - b,
    "buy-give": lambda a, b, c: a + b - c,
    "compare": lambda a, b: a + (a - b),
    "boxes": lambda a, b, c: a * b + c,
    "change": lambda a, b, c: c - a * b,
    "two-rates": lambda a, b, c, d: a * b + c * d,
    "broken": lambda a, b, c, d: a * (b - c) - d,
    "share": lambda a, b, c, d, lost: Fraction(a * b + c, d) - lost,
    "average": lambda a, b, c, d: Fraction((a + c) * b, d),
}


@laws
@given(key=keys, level=levels)
def test_a_reader_of_the_story_gets_the_answer(key: int, level: int) -> None:
    problem = make("word_problems", key, level, "en")
    numbers = [int(number) for number in re.findall(r"\d+", problem.question)]
    name = problem.identity.split(":")[0]
    assert STORIES[name](*numbers) == int(problem.answer)


@laws
@given(key=keys, level=levels)
def test_a_chinese_story_has_the_numbers_and_steps_of_the_english_one(key: int, level: int) -> None:
    english, chinese = (make("word_problems", key, level, language) for language in ("en", "zh"))
    assert (english.identity, english.answer, english.steps) == (chinese.identity, chinese.answer, chinese.steps)
    assert sorted(re.findall(r"\d+", english.question)) == sorted(re.findall(r"\d+", chinese.question))
    assert not re.search("[a-zA-Z]", chinese.question)


def reachable(numbers: tuple[Fraction, ...]) -> set[Fraction]:
    """Every value that uses each number once, by brute force."""
    if len(numbers) == 1:
        return {numbers[0]}
    values: set[Fraction] = set()
    for first, second in itertools.permutations(range(len(numbers)), 2):
        rest = tuple(number for place, number in enumerate(numbers) if place not in (first, second))
        left, right = numbers[first], numbers[second]
        results = {left + right, left - right, left * right} | ({left / right} if right else set())
        values = values.union(*(reachable((*rest, result)) for result in results))
    return values


@settings(max_examples=10, deadline=None)
@given(key=keys, level=st.integers(1, 4), language=languages)
def test_brute_force_finds_each_countdown_solvable(key: int, level: int, language: str) -> None:
    problem = make("countdown", key, level, language)
    target, numbers = problem.reference.split("|")
    assert Fraction(target) in reachable(tuple(Fraction(number) for number in numbers.split(",")))


@laws
@given(key=keys, level=levels, language=languages)
def test_a_countdown_answer_uses_each_number_once_and_reaches_the_target(key: int, level: int, language: str) -> None:
    problem = make("countdown", key, level, language)
    target, numbers = problem.reference.split("|")
    used = re.findall(r"\d+", problem.answer)
    assert sorted(used) == sorted(numbers.split(","))
    assert calculate(problem.answer) == int(target)
    asked = re.findall(r"\d+", problem.question)
    assert sorted(asked) == sorted([*numbers.split(","), target])


@pytest.mark.parametrize("name", list(FAMILIES))
@laws
@given(key=keys, level=levels, language=languages)
def test_every_equation_of_every_step_holds_and_the_last_step_says_the_answer(
    name: str, key: int, level: int, language: str
) -> None:
    problem = make(name, key, level, language)
    for step in problem.steps:
        equations = re.findall(r"([\d+\-*/()]*\d\)?)=(\d+)", step.en)
        assert equations == re.findall(r"([\d+\-*/()]*\d\)?)=(\d+)", step.zh)
        assert all(calculate(left) == value_of(left) == int(right) for left, right in equations)
        assert re.findall(r"\d+", step.en) == re.findall(r"\d+", step.zh)
    assert problem.steps[-1].en == f"so we get {problem.answer}"
    assert problem.steps[-1].zh == f"所以得到{problem.answer}"
    assert problem.level == level
    assert problem.language == language


@pytest.mark.parametrize("name", list(FAMILIES))
@laws
@given(key=keys, level=levels)
def test_a_step_holds_words_of_its_language_only(name: str, key: int, level: int) -> None:
    for step in make(name, key, level, "en").steps:
        assert 2 <= len(re.findall("[a-z]{2,}", step.en)) <= 4
        assert not re.search("[\u4e00-\u9fff]", step.en)
        assert len(re.findall("[\u4e00-\u9fff]", step.zh)) >= 2
        assert not re.search("[a-zA-Z]", step.zh)


@laws
@given(key=keys)
def test_a_step_of_the_easiest_sums_is_at_most_thirteen_tokens(key: int) -> None:
    problem = FAMILIES["arithmetic"].make(Stream(key), 1, "en", ("+", "-"))
    assert len(problem.steps) == 3
    for step in problem.steps:
        for text in (step.en, step.zh):
            # A token a word, digit, sign and Chinese character, and one for the space before a digit.
            assert len(re.findall(r" ?[a-z]+| (?=\d)|\d|[^\sa-z\d]", text)) <= 13


def test_the_sum_worked_by_hand() -> None:
    # 37 + 48: 7+8 = 15, write 5 carry 1; 3+4+1 = 8. 67 + 48: 7+8 = 15; 6+4+1 = 11.
    assert [step.en for step in add_steps(37, 48)] == ["ones 7+8=15 carry 1", "tens 3+4+1=8 carry 0"]
    assert [step.zh for step in add_steps(67, 48)] == ["个位7+8=15进1", "十位6+4+1=11进1"]


def test_the_difference_worked_by_hand() -> None:
    # 502 - 17: 12-7 = 5 borrow; 0-1-1 < 0, so 10-1-1 = 8 borrow; 5-0-1 = 4.
    expected = ["ones 12-7=5 borrow 1", "tens 10-1-1=8 borrow 1", "hundreds 5-0-1=4 borrow 0"]
    assert [step.en for step in subtract_steps(502, 17)] == expected


def test_the_products_worked_by_hand() -> None:
    # 37*4: 7*4 = 28, carry 2; 3*4+2 = 14. 37*48 = 37*8 + 37*40 = 296 + 1480 = 1776.
    assert [step.en for step in multiply_steps(37, 4)] == ["ones 7*4=28 carry 2", "tens 3*4+2=14 carry 1"]
    assert [step.en for step in multiply_steps(37, 48)] == [
        "ones part 37*8=296",
        "tens part 37*40=1480",
        "running sum 296+1480=1776",
    ]


@laws
@given(left=st.integers(0, 999_999), right=st.integers(0, 999_999))
def test_the_digits_of_column_work_make_up_the_result(left: int, right: int) -> None:
    larger, smaller = max(left, right), min(left, right)
    worked = [(add_steps(left, right), left + right), (subtract_steps(larger, smaller), larger - smaller)]
    for steps, expected in worked:
        results = [re.fullmatch(r"\S+ [^=]+=(\d+) \w+ (\d)", step.en) for step in steps]
        columns = [(int(match[1]) % 10, int(match[2])) for match in results if match]
        assert len(columns) == len(steps)
        value = sum(digit * 10**place for place, (digit, _) in enumerate(columns))
        assert value + columns[-1][1] * 10 ** len(columns) == expected


def test_the_calculator_of_these_tests_is_right() -> None:
    # 12+(7-5)*3-8/4 = 12 + 6 - 2 = 16; 8-3-2 = 3 from the left; 2/3/4 = 1/6.
    assert [calculate(text) for text in ("12+(7-5)*3-8/4", "8-3-2", "2/3/4")] == [16, 3, Fraction(1, 6)]


def test_a_chain_is_reduced_in_the_order_of_precedence() -> None:
    # 12+(7-5)*3-4: the bracket 7-5=2, the product 2*3=6, then from the left 12+6=18, 18-4=14.
    terms, ops = (12, 7, 5, 3, 4), ("+", "-", "*", "-")
    assert expression_text(terms, ops, 1) == "12+(7-5)*3-4"
    assert [value for *_, value in reduce(terms, ops, 1)] == [2, 6, 18, 14]


@laws
@given(key=keys, level=levels, operation=st.sampled_from("+-*"))
def test_restricted_operations_are_the_only_ones(key: int, level: int, operation: str) -> None:
    arithmetic = FAMILIES["arithmetic"].make(Stream(key), level, "en", (operation,))
    assert set(symbols_of(arithmetic.question)) & set("+-*") == {operation}
    chain = FAMILIES["chain"].make(Stream(key), min(level, 4), "en", ("+", operation))
    assert set(symbols_of(chain.question)) & set("+-*") <= {"+", operation}


def test_operations_that_can_make_no_problem_are_the_user_s_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # Four random numbers almost never divide one another; five tries keep the test quick.
    monkeypatch.setattr("zero2r1.tasks.countdown.MAX_TRIES", 5)
    with pytest.raises(DataError, match="no countdown of level 4 with only /"):
        FAMILIES["countdown"].make(Stream(1), 4, "en", ("/",))


@pytest.mark.parametrize("text", ["", "1/0", "__import__('os')", "2**9", "x", "1.5+2", "(" * 500, "True+1"])
def test_a_text_that_is_no_arithmetic_has_no_value(text: str) -> None:
    with pytest.raises(ValueError):
        value_of(text)


def test_a_solution_that_leaves_out_or_repeats_a_number_is_none() -> None:
    assert is_solution("6*4", [4, 6], 24)
    assert not is_solution("6*4", [4, 6, 1], 24)
    assert not is_solution("6*4*1*1", [4, 6, 1], 24)
    assert not is_solution("6+4", [4, 6], 24)
