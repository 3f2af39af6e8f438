"""Is a formula worked out, or does it still hold arithmetic that was left to the reader?

    2^2    3+9    4/2    2 * 3x    x+0    |{-2}|    \\sqrt{9}     plain numbers that could be put together
    3x+2x    9\\pi-4\\pi                                          like terms that were not collected
    \\frac{10\\pi}{2}                                            a fraction that can be reduced
    (1-i)^2    \\frac{2}{i}    2i^3                              arithmetic with the imaginary unit

Ours: an answer must not restate the question, and a calculation is what is most often asked for. What a teacher takes
either way is finished: factored and expanded polynomials, \\frac{6}{\\sqrt{3}}, (1+\\sqrt{2})^2.

What is not here: whether two formulas are equal (`numeric.py`, `math_judge.py`).
"""

from fractions import Fraction
from itertools import combinations
from math import gcd

from zero2r1.rewards.formula import Node, has_constant, literal, names

EXPONENTS = frozenset((0, 1, *range(2, 10**4), *range(-(10**3), 0)))
"""Ours: 2^{99999} is an answer, 2^{9} is a calculation."""


def is_unfinished(node: Node) -> bool:
    """Whether arithmetic was left undone somewhere in a formula."""
    return _is_undone(node) or any(is_unfinished(arg) for arg in node.args)


def _is_undone(node: Node) -> bool:
    """Whether this node itself could be put together; its parts are not looked into."""
    plain = [value for value in map(literal, node.args) if value is not None]
    if has_constant(node, "i") and not names(node) and _is_complex_arithmetic(node):
        return True
    match node.kind:
        case "add":
            return len(plain) > 1 or 0 in plain or _has_like_terms(node)
        case "mul":
            return len(plain) > 1 or 0 in plain or 1 in plain
        case "abs":
            return not names(node)
        case "div":
            return (len(plain) == 2 and literal(node) is None) or _can_be_reduced(node)
        case "pow":
            return len(plain) == 2 and plain[1] in EXPONENTS
        case "root":
            return _is_exact_root(node)
    return False


def _is_complex_arithmetic(node: Node) -> bool:
    """A product, a quotient or a whole power of complex numbers."""
    complexes = [arg for arg in node.args if has_constant(arg, "i") and arg.kind != "call"]
    match node.kind:
        case "mul":
            return len([arg for arg in complexes if arg.kind != "pow"]) > 1
        case "div":
            return has_constant(node.args[1], "i") and node.args[1].kind != "pow"
        case "pow":
            return has_constant(node.args[0], "i") and literal(node.args[1]) is not None
    return False


def _has_like_terms(node: Node) -> bool:
    """Whether two terms of a sum differ by a number as a factor only."""
    parts = [_without_coefficient(arg)[1] for arg in node.args]
    return any(first == second and first is not None for first, second in combinations(parts, 2))


def _can_be_reduced(node: Node) -> bool:
    """Whether whole factors of the two sides of a fraction have a divisor in common."""
    top, bottom = (_without_coefficient(arg)[0] for arg in node.args)
    return top.denominator == bottom.denominator == 1 and gcd(top.numerator, bottom.numerator) > 1


def _without_coefficient(node: Node) -> tuple[Fraction, Node | None]:
    """The number in front of a term, and the rest of it; a plain number has no rest."""
    value = literal(node)
    if value is not None:
        return value, None
    if node.kind == "neg":
        coefficient, rest = _without_coefficient(node.args[0])
        return -coefficient, rest
    if node.kind == "div" and (divisor := literal(node.args[1])):
        coefficient, rest = _without_coefficient(node.args[0])
        return coefficient / divisor, rest
    if node.kind != "mul":
        return Fraction(1), node
    plain = [value for value in map(literal, node.args) if value is not None]
    others = sorted((arg for arg in node.args if literal(arg) is None), key=repr)
    coefficient = plain[0] if len(plain) == 1 else Fraction(1)
    return coefficient, others[0] if len(others) == 1 else Node("mul", tuple(others))


def _is_exact_root(node: Node) -> bool:
    value, degree = literal(node.args[0]), literal(node.args[1])
    if value is None or degree is None or degree.denominator != 1 or not 2 <= degree <= 64 or value < 0:
        return False
    return all(_has_root(part, int(degree)) for part in (value.numerator, value.denominator))


def _has_root(whole: int, degree: int) -> bool:
    low, high = 0, 1 << (whole.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < whole:
            low = middle + 1
        else:
            high = middle
    return low**degree == whole
