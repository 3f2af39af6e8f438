"""Comparing and sorting whole numbers.

Level 1: the larger or smaller of two two-digit numbers, worked digit by digit. Levels 2 to 5: three to six numbers
in order, worked by taking the smallest (or largest) number left. Answers of yes/no questions can be guessed, so there
are none here.
"""

from collections.abc import Iterator, Sequence

from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.synthetic import Family, Problem, Step, conclusion

NUM_NUMBERS = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6}
LARGEST = {1: 99, 2: 99, 3: 99, 4: 999, 5: 9999}


def make(stream: Stream, level: int, language: str, operations: Sequence[str]) -> Problem:
    """One comparison (level 1) or one list to sort."""
    numbers = _distinct_numbers(stream, NUM_NUMBERS[level], LARGEST[level])
    wants_large = stream.choice((False, True))
    if level == 1:
        answer = str(max(numbers) if wants_large else min(numbers))
        question = _compare_question(stream, numbers, wants_large, language)
        kind, steps = AnswerKind.NUMBER, list(_compare_steps(numbers[0], numbers[1]))
    else:
        ordered = sorted(numbers, reverse=wants_large)
        answer = ", ".join(map(str, ordered))
        question = _sort_question(stream, numbers, wants_large, language)
        kind, steps = AnswerKind.SEQUENCE, [_take_step(number, wants_large) for number in ordered]
    return Problem(
        family="ordering",
        level=level,
        language=language,
        question=question,
        answer=answer,
        reference=answer,
        answer_kind=kind,
        steps=(*steps, conclusion(answer)),
        identity=f"{'large' if wants_large else 'small'}:{','.join(map(str, sorted(numbers)))}",
    )


ORDERING = Family(name="ordering", make=make)


def _distinct_numbers(stream: Stream, count: int, largest: int) -> list[int]:
    numbers: list[int] = []
    while len(numbers) < count:
        number = stream.integer(10, largest)
        if number not in numbers:
            numbers.append(number)
    return numbers


def _compare_steps(left: int, right: int) -> Iterator[Step]:
    """Tens first; ones only when the tens are equal."""
    for english, chinese, unit in (("tens", "十位", 10), ("ones", "个位", 1)):
        first, second = left // unit % 10, right // unit % 10
        sign = "=" if first == second else "<" if first < second else ">"
        yield Step(en=f"compare {english} {first}{sign}{second}", zh=f"比较{chinese}{first}{sign}{second}")
        if sign != "=":
            return


def _take_step(number: int, wants_large: bool) -> Step:
    if wants_large:
        return Step(en=f"largest left {number}", zh=f"剩下最大{number}")
    return Step(en=f"smallest left {number}", zh=f"剩下最小{number}")


def _compare_question(stream: Stream, numbers: Sequence[int], wants_large: bool, language: str) -> str:
    left, right = numbers
    if language == "zh":
        which = "大" if wants_large else "小"
        return stream.choice((f"{left}和{right}哪个更{which}？", f"{left}与{right}中较{which}的数是哪个？"))
    which = "larger" if wants_large else "smaller"
    return stream.choice((f"Which is {which}, {left} or {right}?", f"Name the {which} of {left} and {right}."))


def _sort_question(stream: Stream, numbers: Sequence[int], wants_large: bool, language: str) -> str:
    listed = ", ".join(map(str, numbers))
    if language == "zh":
        order = "从大到小" if wants_large else "从小到大"
        return stream.choice((f"把{listed}{order}排列。", f"将{listed}按{order}的顺序写出。"))
    order = "from largest to smallest" if wants_large else "from smallest to largest"
    return stream.choice((f"Sort {listed} {order}.", f"Write {listed} in order {order}."))
