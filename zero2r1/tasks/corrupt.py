"""Mistakes on purpose: a step with a wrong figure, an answer that is certainly wrong.

The tiny base reads them, so that it is wrong in ways that look like thinking. Never used on data of a later stage.
"""

import re

from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.countdown import is_solution
from zero2r1.tasks.synthetic import Problem

DIGIT = re.compile(r"\d")
RESULT = re.compile(r"=(\d+)")
MAX_TRIES = 50


def corrupt_step(text: str, stream: Stream) -> str:
    """The step with one digit of its result (behind the last `=`), else of any number, replaced by another."""
    results = list(RESULT.finditer(text))
    first, last = results[-1].span(1) if results else (0, len(text))
    return text[:first] + change_digit(text[first:last], stream) + text[last:]


def change_digit(text: str, stream: Stream) -> str:
    """One digit replaced by a different one; a number never starts with 0 unless it is 0. Text without digits stays."""
    places = [match.start() for match in DIGIT.finditer(text)]
    if not places:
        return text
    place = stream.choice(places)
    starts_long_number = not text[place - 1 : place].isdigit() and text[place + 1 : place + 2].isdigit()
    others = [digit for digit in "0123456789" if digit != text[place] and not (digit == "0" and starts_long_number)]
    return text[:place] + stream.choice(others) + text[place + 1 :]


def wrong_answer(problem: Problem, stream: Stream) -> str:
    """An answer of the same form that does not solve the problem."""
    if problem.answer_kind == AnswerKind.SEQUENCE:
        return _swapped(problem.answer, stream)
    if problem.answer_kind == AnswerKind.COUNTDOWN:
        return _missed(problem, stream)
    return change_digit(problem.answer, stream)


def _swapped(answer: str, stream: Stream) -> str:
    """Two neighbours of a sequence of distinct numbers change places."""
    numbers = answer.split(", ")
    place = stream.integer(0, len(numbers) - 2)
    numbers[place], numbers[place + 1] = numbers[place + 1], numbers[place]
    return ", ".join(numbers)


def _missed(problem: Problem, stream: Stream) -> str:
    """The expression with one operation replaced so that it misses the target (or, failing that, one digit)."""
    target, listed = problem.reference.split("|")
    numbers = [int(number) for number in listed.split(",")]
    places = [place for place, character in enumerate(problem.answer) if character in "+-*/"]
    for _ in range(MAX_TRIES):
        place = stream.choice(places)
        text = problem.answer[:place] + stream.choice("+-*") + problem.answer[place + 1 :]
        if not is_solution(text, numbers, int(target)):
            return text
    return change_digit(problem.answer, stream)
