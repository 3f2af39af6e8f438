"""Chained operations: several terms, worked one operation at a time.

Level 1 has three terms, level 5 six; multiplication comes with level 3, one pair of brackets with level 4. No
intermediate value is negative or above 9999. Single operations are not spelled out in digits here (`arithmetic.py`).
"""

from collections.abc import Iterator, Sequence

from zero2r1.core.errors import DataError
from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.synthetic import Family, Problem, Step, conclusion

NUM_TERMS = {1: 3, 2: 4, 3: 4, 4: 5, 5: 6}
FIRST_LEVEL_WITH_PRODUCTS = 3
FIRST_LEVEL_WITH_BRACKETS = 4
MAX_VALUE = 9999
MAX_TRIES = 50_000
"""Expressions tried until no intermediate value is negative or too large (six terms with minus alone: one in ~720)."""

Reduction = tuple[int, str, int, int]
"""left, operation, right, value."""


def make(stream: Stream, level: int, language: str, operations: Sequence[str]) -> Problem:
    """One expression with its reductions in the order of precedence."""
    allowed = [op for op in operations if op != "*" or level >= FIRST_LEVEL_WITH_PRODUCTS] or list(operations)
    for _ in range(MAX_TRIES):
        terms, ops, bracket = _expression(stream, level, allowed)
        reductions = list(reduce(terms, ops, bracket))
        if all(0 <= value <= MAX_VALUE for *_, value in reductions):
            break
    else:
        raise DataError(
            "Z136",
            f"no chain of level {level} with only {' '.join(allowed)}",
            why=f"none was found in {MAX_TRIES} tries",
            fix="allow more operations or lower levels",
        )
    text = expression_text(terms, ops, bracket)
    answer = str(reductions[-1][-1])
    return Problem(
        family="chain",
        level=level,
        language=language,
        question=_question(stream, text, language),
        answer=answer,
        reference=answer,
        answer_kind=AnswerKind.NUMBER,
        steps=(*_steps(reductions), conclusion(answer)),
        identity=text,
    )


CHAIN = Family(name="chain", make=make, operations=("+", "-", "*"), default_operations=("+", "-", "*"))


def reduce(terms: Sequence[int], ops: Sequence[str], bracket: int | None) -> Iterator[Reduction]:
    """The operations one by one: the bracket first, then products, then sums, each from the left."""
    values, left_ops = list(terms), list(ops)
    while left_ops:
        if bracket is not None:
            at, bracket = bracket, None
        else:
            at = left_ops.index("*") if "*" in left_ops else 0
        left, right, op = values[at], values[at + 1], left_ops.pop(at)
        value = left + right if op == "+" else left - right if op == "-" else left * right
        values[at : at + 2] = [value]
        yield left, op, right, value


def expression_text(terms: Sequence[int], ops: Sequence[str], bracket: int | None) -> str:
    """E.g. `12+(7-5)*3`; the bracket closes around the two terms of operation `bracket`."""
    parts: list[str] = []
    for index, term in enumerate(terms):
        opening = "(" if index == bracket else ""
        closing = ")" if bracket is not None and index == bracket + 1 else ""
        parts.append(f"{ops[index - 1] if index else ''}{opening}{term}{closing}")
    return "".join(parts)


def _expression(stream: Stream, level: int, allowed: Sequence[str]) -> tuple[list[int], list[str], int | None]:
    num_terms = NUM_TERMS[level]
    ops = [stream.choice(allowed) for _ in range(num_terms - 1)]
    terms = []
    for index in range(num_terms):
        beside_product = "*" in ops[max(index - 1, 0) : index + 1]
        terms.append(stream.integer(2, 9 if beside_product else 49))
    sums = [index for index, op in enumerate(ops) if op != "*"]
    has_bracket = level >= FIRST_LEVEL_WITH_BRACKETS and sums
    return terms, ops, stream.choice(sums) if has_bracket else None


def _steps(reductions: Sequence[Reduction]) -> Iterator[Step]:
    for index, (left, op, right, value) in enumerate(reductions):
        formula = f"{left}{op}{right}={value}"
        english, chinese = ("then compute", "再算") if index else ("first compute", "先算")
        yield Step(en=f"{english} {formula}", zh=f"{chinese}{formula}")


def _question(stream: Stream, text: str, language: str) -> str:
    if language == "zh":
        return stream.choice((f"{text}等于多少？", f"计算{text}。"))
    return stream.choice((f"What is {text}?", f"Compute {text}."))
