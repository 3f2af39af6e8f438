"""Countdown: an arithmetic expression over given numbers that must reach a target, checked exactly.

Grammar: `+ - * / ( )` with the usual precedence, `×`, `÷`, `\\times`, `\\cdot`, `\\div` and `\\frac{a}{b}` as other
ways to write them; integers only; no unary minus. `(3 + 5) * 3 = 24` is accepted when what stands right of
`=` is the target. Each given number is used exactly once.

What is not here: any call of `eval`; a recursive-descent parser over at most 200 characters does the work.
"""

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from zero2r1.rewards.numerals import MAX_ANSWER_CHARS, undress

LATEX = {"\\times": "*", "\\cdot": "*", "\\div": "/", "×": "*", "·": "*", "÷": "/", "\\left": "", "\\right": ""}
FRAC = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
TOKENS = re.compile(r"\s*(?:([0-9]{1,12})|([-+*/()]))")
MAX_DEPTH = 50


class CountdownProblem(ValueError):
    """What is wrong with an answer, or with a reference, in words."""


def parse_reference(reference: str) -> tuple[int, tuple[int, ...]]:
    """`24|3,5,3` as (24, (3, 5, 3)).

    Raises:
        CountdownProblem: the reference does not have that form.
    """
    target, bar, numbers = reference.partition("|")
    try:
        parsed = int(target), tuple(int(number) for number in numbers.split(","))
    except ValueError:
        parsed = (0, ())
    if not bar or not parsed[1]:
        raise CountdownProblem(f"a countdown reference looks like `24|3,5,3`, got {reference[:80]!r}")
    return parsed


def check(answer: str, target: int, numbers: Sequence[int]) -> None:
    """Return quietly when `answer` uses exactly the given numbers and reaches the target.

    Raises:
        CountdownProblem: saying what is wrong.

    Ours: every given number exactly once, as the question asks; a literal that was not given is refused.
    """
    if len(answer) > MAX_ANSWER_CHARS:
        raise CountdownProblem(f"longer than {MAX_ANSWER_CHARS} characters")
    text = undress(answer)
    for latex, plain in LATEX.items():
        text = text.replace(latex, plain)
    text = FRAC.sub(r"((\1)/(\2))", text)
    expression, equals, right = text.partition("=")
    if equals and right.strip() != str(target):
        raise CountdownProblem(f"what stands right of '=' is not the target {target}")
    value, used = evaluate(expression)
    if Counter(used) != Counter(numbers):
        raise CountdownProblem(f"uses {sorted(used)}, but the given numbers are {sorted(numbers)}")
    if value != target:
        raise CountdownProblem(f"reaches {value}, not {target}")


def evaluate(expression: str) -> tuple[Fraction, list[int]]:
    """The exact value of an expression and the integers in it, in order.

    Raises:
        CountdownProblem: a character outside the grammar, unbalanced parentheses, or a division by zero.
    """
    parser = _Parser(expression)
    value = parser.sum(0)
    if parser.peek():
        raise CountdownProblem(f"unexpected {parser.peek()!r}")
    return value, parser.used


class _Parser:
    """One pass over the tokens; a method a level of precedence."""

    def __init__(self, expression: str) -> None:
        self.tokens: list[str] = []
        self.used: list[int] = []
        self.position = 0
        place, end = 0, len(expression.rstrip())
        while place < end:
            token = TOKENS.match(expression, place)
            if token is None:
                raise CountdownProblem(f"unexpected {expression[place : place + 10]!r}")
            self.tokens.append(token.group().strip())
            place = token.end()

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while self.peek() in ("+", "-"):
            value = value + self.product(depth) if self.take() == "+" else value - self.product(depth)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.atom(depth)
        while self.peek() in ("*", "/"):
            if self.take() == "*":
                value *= self.atom(depth)
                continue
            divisor = self.atom(depth)
            if divisor == 0:
                raise CountdownProblem("divides by zero")
            value /= divisor
        return value

    def atom(self, depth: int) -> Fraction:
        token = self.take()
        if token.isdigit():
            self.used.append(int(token))
            return Fraction(int(token))
        if token != "(" or depth >= MAX_DEPTH:
            raise CountdownProblem(f"expected a number or '(', got {token!r}")
        value = self.sum(depth + 1)
        if self.take() != ")":
            raise CountdownProblem("a parenthesis is never closed")
        return value
