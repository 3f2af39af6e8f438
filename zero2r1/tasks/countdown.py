"""Countdown: reach a target from given numbers, each used exactly once.

The target is the value of an expression built first, so each problem is solvable, and the answer is evaluated again
by an independent reader (`value_of`) before it leaves. The worked solution is a short search: expressions that miss,
then one that hits. The verdict on a model's expression is not made here (rewards).
"""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from zero2r1.core.errors import DataError
from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.synthetic import Family, Problem, Step, conclusion

NUM_NUMBERS = {1: 2, 2: 3, 3: 3, 4: 4, 5: 5}
LARGEST_NUMBER = {1: 30, 2: 20, 3: 20, 4: 20, 5: 25}
LARGEST_TARGET = {1: 900, 2: 60, 3: 100, 4: 200, 5: 500}
DEFAULT_OPERATIONS = {1: "+-*", 2: "+-", 3: "+-*", 4: "+-*", 5: "+-*/"}
MAX_MISSES = 2
"""Ours: at most so many expressions that miss are shown, to keep the text short."""
MAX_TRIES = 20_000
EVALUATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = MappingProxyType(
    {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
)


@dataclass(frozen=True, slots=True)
class Built:
    """An expression over some of the numbers: its text, its value, and its outermost operation ("" for a number)."""

    text: str
    value: int
    operation: str = ""


def make(stream: Stream, level: int, language: str, operations: Sequence[str]) -> Problem:
    """One problem; reference `target|n1,n2,...`, answer an expression."""
    allowed = [op for op in DEFAULT_OPERATIONS[level] if op in operations] or list(operations)
    numbers, solution = _solvable(stream, level, allowed)
    target = solution.value
    if not is_solution(solution.text, numbers, target):
        raise AssertionError(f"{solution.text} does not make {target} from {numbers}")
    listed = ",".join(map(str, numbers))
    return Problem(
        family="countdown",
        level=level,
        language=language,
        question=_question(stream, listed, target, language),
        answer=solution.text,
        reference=f"{target}|{listed}",
        answer_kind=AnswerKind.COUNTDOWN,
        steps=(*_search(stream, level, numbers, solution, allowed), conclusion(solution.text)),
        identity=f"{target}|{','.join(map(str, sorted(numbers)))}",
    )


COUNTDOWN = Family(
    name="countdown", make=make, operations=("+", "-", "*", "/"), default_operations=("+", "-", "*", "/")
)


def value_of(expression: str) -> Fraction:
    """Exact value of an expression of whole numbers, + - * / and brackets.

    Raises:
        ValueError: anything else, or a division by zero.
    """
    try:
        return _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ZeroDivisionError, RecursionError, MemoryError) as problem:
        raise ValueError(f"no value: {expression[:80]!r}") from problem


def numbers_in(expression: str) -> list[int]:
    """The whole numbers of an expression, in order of appearance."""
    spaced = "".join(character if character.isdigit() else " " for character in expression)
    return [int(number) for number in spaced.split()]


def is_solution(expression: str, numbers: Sequence[int], target: int) -> bool:
    """True when the expression uses each number exactly once and equals the target."""
    return sorted(numbers_in(expression)) == sorted(numbers) and value_of(expression) == target


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in EVALUATORS:
        return EVALUATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError(f"not arithmetic: {ast.dump(node)[:80]}")


def _solvable(stream: Stream, level: int, allowed: Sequence[str]) -> tuple[list[int], Built]:
    for _ in range(MAX_TRIES):
        numbers = [stream.integer(2, LARGEST_NUMBER[level]) for _ in range(NUM_NUMBERS[level])]
        solution = _combine_all(stream, numbers, allowed)
        if solution is not None and solution.value <= LARGEST_TARGET[level]:
            return numbers, solution
    raise DataError(
        "Z136",
        f"no countdown of level {level} with only {' '.join(allowed)}",
        why=f"none was found in {MAX_TRIES} tries",
        fix="allow more operations or lower levels",
    )


def _combine_all(stream: Stream, numbers: Sequence[int], allowed: Sequence[str]) -> Built | None:
    """A random expression over all numbers, or None when one of its values is not a whole number above 0."""
    pool = [Built(str(number), number) for number in numbers]
    while len(pool) > 1:
        left = pool.pop(stream.integer(0, len(pool) - 1))
        right = pool.pop(stream.integer(0, len(pool) - 1))
        combined = _combine(left, stream.choice(allowed), right)
        if combined is None:
            return None
        pool.append(combined)
    return pool[0]


def _combine(left: Built, operation: str, right: Built) -> Built | None:
    if operation == "/":
        if right.value == 1 or left.value % right.value:
            return None
        value = left.value // right.value
    elif operation == "*":
        value = left.value * right.value
    else:
        value = left.value + right.value if operation == "+" else left.value - right.value
    if value <= 0:
        return None
    first = f"({left.text})" if operation in "*/" and left.operation in ("+", "-") else left.text
    needs_brackets = right.operation in ("+", "-") if operation in "-*/" else False
    if operation == "/" and right.operation in ("*", "/"):
        needs_brackets = True
    if operation == "*" and right.operation == "/":
        needs_brackets = True
    second = f"({right.text})" if needs_brackets else right.text
    return Built(f"{first}{operation}{second}", value, operation)


def _search(
    stream: Stream, level: int, numbers: Sequence[int], solution: Built, allowed: Sequence[str]
) -> Iterator[Step]:
    """Some expressions that miss, then the one that hits. With two numbers: every operation in turn until the hit."""
    if len(numbers) == 2:
        larger, smaller = (Built(str(number), number) for number in sorted(numbers, reverse=True))
        tries = [_combine(larger, operation, smaller) for operation in allowed]
    else:
        tries = [_combine_all(stream, numbers, allowed) for _ in range(stream.integer(0, MAX_MISSES))]
    for attempt in tries:
        if attempt is None:
            continue
        if attempt.value == solution.value:
            break
        formula = f"{attempt.text}={attempt.value}"
        yield Step(en=f"try {formula} no", zh=f"试{formula}不对")
    formula = f"{solution.text}={solution.value}"
    yield Step(en=f"try {formula} yes", zh=f"试{formula}对了")


def _question(stream: Stream, listed: str, target: int, language: str) -> str:
    if language == "zh":
        return stream.choice((f"用{listed}各一次，得到{target}。", f"怎样用{listed}（各用一次）算出{target}？"))
    return stream.choice((f"Use {listed} once each to make {target}.", f"Make {target} from {listed}, each used once."))
