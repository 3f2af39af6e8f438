"""An exact calculator for the tests: whole numbers, + - * / and brackets, by recursive descent.

It shares nothing with the package, so it can contradict it.
"""

import re
from fractions import Fraction


def calculate(expression: str) -> Fraction:
    """The exact value; ValueError for anything that is not an expression."""
    tokens = re.findall(r"\d+|[-+*/()]", expression)
    if "".join(tokens) != expression.replace(" ", ""):
        raise ValueError(expression)
    value = _sum(tokens)
    if tokens:
        raise ValueError(expression)
    return value


def _sum(tokens: list[str]) -> Fraction:
    value = _product(tokens)
    while tokens and tokens[0] in "+-":
        value = value + _product(tokens) if tokens.pop(0) == "+" else value - _product(tokens)
    return value


def _product(tokens: list[str]) -> Fraction:
    value = _atom(tokens)
    while tokens and tokens[0] in "*/":
        value = value * _atom(tokens) if tokens.pop(0) == "*" else value / _atom(tokens)
    return value


def _atom(tokens: list[str]) -> Fraction:
    if not tokens:
        raise ValueError("the expression ends too early")
    token = tokens.pop(0)
    if token != "(":
        return Fraction(token)
    value = _sum(tokens)
    if not tokens or tokens.pop(0) != ")":
        raise ValueError("a bracket is not closed")
    return value
