"""Addition, subtraction and multiplication, worked digit by digit with carries.

Level n has numbers of up to n + 1 digits (level 1: two digits with one or two). Every step is one short line with the
same form each time: `ones 7+8=15 carry 1`, `个位7+8=15进1`. Products of two longer numbers add up partial products
instead of digits, so that the text stays short. Answers are never negative; division is not here.
"""

from collections.abc import Sequence

from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.synthetic import Family, Problem, Step, conclusion

PLACES = (
    ("ones", "个位"),
    ("tens", "十位"),
    ("hundreds", "百位"),
    ("thousands", "千位"),
    ("ten-thousands", "万位"),
    ("hundred-thousands", "十万位"),
)
WORDS = {"+": ("plus", "加"), "-": ("minus", "减"), "*": ("times", "乘")}
FRACTION_SHORTER = 0.25
"""Ours: share of sums whose second number has one digit fewer, so that a level holds some easier ones."""


def make(stream: Stream, level: int, language: str, operations: Sequence[str]) -> Problem:
    """One problem `a op b`."""
    operation = stream.choice(operations)
    left, right = _factors(stream, level) if operation == "*" else _terms(stream, level, operation)
    return _problem("arithmetic", stream, level, language, operation, left, right)


def make_fact(stream: Stream, level: int, language: str, operations: Sequence[str]) -> Problem:
    """One problem over numbers from 1 to 10 (level 1), 14, 18, 22 or 26: what a small real model may know by heart."""
    operation = stream.choice(operations)
    largest = 6 + 4 * level
    left, right = stream.integer(1, largest), stream.integer(1, largest)
    if operation == "-":
        left, right = max(left, right), min(left, right)
    return _problem("number_facts", stream, level, language, operation, left, right)


def _problem(family: str, stream: Stream, level: int, language: str, operation: str, left: int, right: int) -> Problem:
    if operation == "+":
        answer, steps = left + right, add_steps(left, right)
    elif operation == "-":
        answer, steps = left - right, subtract_steps(left, right)
    else:
        answer, steps = left * right, multiply_steps(left, right)
    ordered = (left, right) if operation == "-" else (min(left, right), max(left, right))
    return Problem(
        family=family,
        level=level,
        language=language,
        question=question(stream, left, operation, right, language),
        answer=str(answer),
        reference=str(answer),
        answer_kind=AnswerKind.NUMBER,
        steps=(*steps, conclusion(str(answer))),
        identity=f"{ordered[0]}{operation}{ordered[1]}",
    )


ARITHMETIC = Family(name="arithmetic", make=make, operations=("+", "-", "*"), default_operations=("+", "-", "*"))
NUMBER_FACTS = Family(
    name="number_facts", make=make_fact, operations=("+", "-", "*"), default_operations=("+", "-", "*")
)


def question(stream: Stream, left: int, operation: str, right: int, language: str) -> str:
    """One of three wordings, e.g. `What is 37+48?`, `37加48等于多少？`."""
    symbols = f"{left}{operation}{right}"
    english, chinese = WORDS[operation]
    if language == "zh":
        return stream.choice((f"{symbols}等于多少？", f"计算{symbols}。", f"{left}{chinese}{right}等于多少？"))
    return stream.choice((f"What is {symbols}?", f"Compute {symbols}.", f"What is {left} {english} {right}?"))


def add_steps(left: int, right: int) -> tuple[Step, ...]:
    """Column addition: digit + digit (+ carry, from the second column on) = sum, carry 0 or 1."""
    steps: list[Step] = []
    carry = 0
    for place in range(max(len(str(left)), len(str(right)))):
        first, second = _digit(left, place), _digit(right, place)
        total = first + second + carry
        terms = f"{first}+{second}+{carry}" if place else f"{first}+{second}"
        carry = total // 10
        steps.append(_place_step(place, f"{terms}={total}", "carry", "进", carry))
    return tuple(steps)


def subtract_steps(left: int, right: int) -> tuple[Step, ...]:
    """Column subtraction for left >= right: digit - digit (- borrow) = difference, with ten borrowed where needed."""
    steps: list[Step] = []
    borrow = 0
    for place in range(len(str(left))):
        first, second = _digit(left, place), _digit(right, place)
        owed = borrow
        borrow = 1 if first < second + owed else 0
        first += 10 * borrow
        terms = f"{first}-{second}-{owed}" if place else f"{first}-{second}"
        steps.append(_place_step(place, f"{terms}={first - second - owed}", "borrow", "借", borrow))
    return tuple(steps)


def multiply_steps(left: int, right: int) -> tuple[Step, ...]:
    """Digit by digit when `right` has one digit, else partial products and their running sum."""
    steps: list[Step] = []
    if right < 10:
        carry = 0
        for place in range(len(str(left))):
            digit = _digit(left, place)
            total = digit * right + carry
            terms = f"{digit}*{right}+{carry}" if place else f"{digit}*{right}"
            carry = total // 10
            steps.append(_place_step(place, f"{terms}={total}", "carry", "进", carry))
        return tuple(steps)
    running = 0
    for place in range(len(str(right))):
        factor = _digit(right, place) * 10**place
        part = left * factor
        english, chinese = PLACES[place]
        steps.append(Step(en=f"{english} part {left}*{factor}={part}", zh=f"{chinese}部分{left}*{factor}={part}"))
        if place:
            sum_text = f"{running}+{part}={running + part}"
            steps.append(Step(en=f"running sum {sum_text}", zh=f"累加{sum_text}"))
        running += part
    return tuple(steps)


def _place_step(place: int, formula: str, english_word: str, chinese_word: str, carried: int) -> Step:
    english, chinese = PLACES[place]
    return Step(en=f"{english} {formula} {english_word} {carried}", zh=f"{chinese}{formula}{chinese_word}{carried}")


def _digit(number: int, place: int) -> int:
    return number // 10**place % 10


def _with_digits(stream: Stream, num_digits: int) -> int:
    return stream.integer(10 ** (num_digits - 1), 10**num_digits - 1)


def _terms(stream: Stream, level: int, operation: str) -> tuple[int, int]:
    shorter = stream.random() < FRACTION_SHORTER
    left = _with_digits(stream, level + 1)
    right = _with_digits(stream, level if shorter else level + 1)
    return (max(left, right), min(left, right)) if operation == "-" else (left, right)


def _factors(stream: Stream, level: int) -> tuple[int, int]:
    """Digits of the two factors by level: 2x1, 3x1, 2x2, 3x2, 3x3."""
    left_digits, right_digits = ((2, 1), (3, 1), (2, 2), (3, 2), (3, 3))[level - 1]
    left = _with_digits(stream, left_digits)
    right = stream.integer(2, 9) if right_digits == 1 else _with_digits(stream, right_digits)
    return left, right
