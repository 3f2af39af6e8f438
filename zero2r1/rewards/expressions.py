"""Two expressions compared shape by shape; math-verify is asked only about single values that look equal.

    set, list of solutions   as many elements, in any order, each matched once
    tuple, interval, ratio   the same brackets, the same ends in the same order; 3:2 may be written 3/2
    matrix                   the same rows and columns, entry by entry
    equation                 the same up to a constant factor that is not 0, else the same solutions
    value                    not provably different (`numeric.py`), worked out, and equal by math-verify

A value must be a formula when the reference is one: what `formula.py` cannot read is wrong, so no gap in a parser is
worth anything. A reference that is no formula itself is left to math-verify behind `hedging` (`math_answer.py`).

What is not here: numbers (`numerals.py`), whose comparison is passed in.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from zero2r1.core.types import Verdict
from zero2r1.rewards.formula import Node, families, names, read_formula
from zero2r1.rewards.numeric import NoValue, Value, differ, evaluate, is_apart, is_huge, points
from zero2r1.rewards.pool import Grade
from zero2r1.rewards.structures import INFINITY, MINUS_INFINITY, Kind, Shape
from zero2r1.rewards.tidy import packed
from zero2r1.rewards.unfinished import is_unfinished

Compare = Callable[[str, str], Grade]
RIGHT = Grade(Verdict.RIGHT)
SIDES = (Kind.EQUATION, Kind.NAMED)
VALUED = (Kind.VALUE, Kind.SET, Kind.TUPLE, Kind.MATRIX, Kind.EMPTY, Kind.UNION)


def compare_shapes(reference: Shape, answer: Shape, value: Compare, equal: Compare) -> Grade:
    """Whether an answer is the same object as the reference.

    Args:
        reference: of any kind but `OTHER`.
        answer: of any kind.
        value: how two single values are judged, (reference, answer) -> Grade.
        equal: math-verify on two texts, for equations that neither are proportional nor provably differ.
    """
    kinds = (reference.kind, answer.kind)
    if kinds == (Kind.NAMED, Kind.NAMED) and _are_one_name(reference.names[0], answer.names[0]):
        return compare_shapes(reference.parts[0], answer.parts[0], value, equal)
    if reference.kind in SIDES and answer.kind in SIDES:
        if answer.kind is Kind.EQUATION and _is_constant(reference):
            return _wrong("an equation that was not solved")
        return _equations(reference, answer, equal)
    if answer.kind is Kind.NAMED and reference.kind in VALUED:
        return compare_shapes(reference, answer.parts[0], value, equal)
    if reference.kind is Kind.NAMED and answer.kind in VALUED:
        return compare_shapes(reference.parts[0], answer, value, equal)
    if reference.kind is Kind.RECORD and answer.names == (f"({','.join(reference.names)})",):
        reference, answer = replace(reference, kind=Kind.TUPLE, brackets="()", names=()), answer.parts[0]
    reference, answer = _alike(reference, answer)
    if reference.kind is not answer.kind:
        return _wrong(
            f"the answer is of another kind ({answer.kind.value}) than the reference ({reference.kind.value})"
        )

    def pair(expected: Shape, said: Shape) -> Grade:
        return compare_shapes(expected, said, value, equal)

    match reference.kind:
        case Kind.VALUE:
            return value(reference.text, answer.text)
        case Kind.EMPTY:
            return RIGHT
        case Kind.WORDS:
            is_same = packed(reference.text).casefold() == packed(answer.text).casefold().rstrip(".!")
            return RIGHT if is_same else _wrong("other words than the reference")
        case Kind.TUPLE | Kind.MATRIX | Kind.RECORD:
            return _in_order(reference, answer, pair)
        case Kind.SET | Kind.UNION | Kind.WITHOUT:
            return _in_any_order(reference.parts, answer.parts, pair)
    return _wrong("the answer cannot be compared")


def _in_order(reference: Shape, answer: Shape, pair: Callable[[Shape, Shape], Grade]) -> Grade:
    if len(reference.parts) != len(answer.parts) or reference.width != answer.width:
        return _wrong("another number of entries than the reference has")
    if reference.brackets != answer.brackets:
        return _wrong("other brackets than the reference")
    if set(reference.names) != set(answer.names):
        return _wrong("other names than the reference")
    said = answer.parts
    if reference.names:
        said = tuple(answer.parts[answer.names.index(name)] for name in reference.names)
    worst = RIGHT
    for expected, part in zip(reference.parts, said, strict=True):
        grade = pair(expected, part)
        if grade.verdict is Verdict.WRONG:
            return grade
        worst = worst if grade.verdict is Verdict.RIGHT else grade
    return worst


def _in_any_order(expected: Sequence[Shape], said: Sequence[Shape], pair: Callable[[Shape, Shape], Grade]) -> Grade:
    if len(expected) != len(said):
        return _wrong("another number of elements than the reference has")
    left = list(said)
    for wanted in expected:
        lost = None
        for index, candidate in enumerate(left):
            grade = pair(wanted, candidate)
            if grade.verdict is Verdict.RIGHT:
                del left[index]
                break
            lost = grade if grade.verdict is Verdict.ERROR else lost
        else:
            return lost or _wrong("an element of the reference is missing")
    return RIGHT


def _alike(reference: Shape, answer: Shape) -> tuple[Shape, Shape]:
    """Shapes that mean the same written as one kind: a set of one value, named coordinates, the reals without some."""
    kinds = (reference.kind, answer.kind)
    if reference.kind is Kind.SET and len(reference.parts) == 1 and answer.kind is Kind.VALUE:
        return reference.parts[0], answer
    if reference.brackets == "::" and len(reference.parts) == 2 and answer.kind is Kind.VALUE:
        above, below = (part.text for part in reference.parts)
        return Shape(Kind.VALUE, f"\\frac{{{above}}}{{{below}}}"), answer
    if kinds == (Kind.TUPLE, Kind.RECORD):
        return reference, _as_tuple(answer)
    if kinds == (Kind.RECORD, Kind.TUPLE):
        return _as_tuple(reference), answer
    if kinds == (Kind.WITHOUT, Kind.UNION):
        return _as_union(reference), answer
    if kinds == (Kind.UNION, Kind.WITHOUT):
        return reference, _as_union(answer)
    return reference, answer


def _as_tuple(record: Shape) -> Shape:
    """`x = 1, y = 2` as (1, 2), when the names come in their order."""
    if list(record.names) != sorted(record.names):
        return record
    return Shape(Kind.TUPLE, record.text, record.parts, "()")


def _as_union(shape: Shape) -> Shape:
    """`x \\neq 1, 3` as three open intervals, when the numbers can be put in order."""
    placed = []
    for part in shape.parts:
        formula = read_formula(part.text)
        value = _value_at(formula, {}) if formula is not None and not names(formula) else None
        if value is None:
            return shape
        placed.append((value.z.real, part))
    placed.sort(key=lambda item: item[0])
    ends = [Shape(Kind.VALUE, MINUS_INFINITY), *(part for _, part in placed), Shape(Kind.VALUE, INFINITY)]
    intervals = (Shape(Kind.TUPLE, shape.text, (low, high), "()") for low, high in pairwise(ends))
    return Shape(Kind.UNION, shape.text, tuple(intervals))


def _is_constant(shape: Shape) -> bool:
    """A name whose value is one number: an equation was solved to find it."""
    if shape.kind is not Kind.NAMED or shape.parts[0].kind is not Kind.VALUE:
        return False
    formula = read_formula(shape.parts[0].text)
    return formula is not None and not names(formula)


def _are_one_name(first: str, second: str) -> bool:
    """The same name, or a function and what it is commonly called: `f(x)` and `y`; a derivative is another one."""
    is_called = "(" in (first[1:2], second[1:2]) and {first[1:2], second[1:2]} <= {"(", ""}
    return first == second or (is_called and {first[:1], second[:1]} <= set("fghy"))


def compare_values(reference: str, answer: str, equal: Compare) -> Grade:
    """Two single values that are no plain numbers: refused when it can be seen, else by math-verify.

    Args:
        reference: a formula.
        answer: anything.
        equal: math-verify, (reference, answer) -> Grade.
    """
    expected, said = read_formula(reference), read_formula(answer)
    if expected is None:
        return Grade(Verdict.ERROR, f"the reference cannot be read as a formula: {reference[:80]!r}")
    if said is None:
        return _wrong("the answer is no formula")
    problem = _evasion(expected, said)
    if problem:
        return _wrong(problem)
    if expected == said:
        return RIGHT
    if is_huge(said) and not is_huge(expected):
        return _wrong("a number far too large")
    if differ(expected, said):
        return _wrong("not equal to the reference")
    return equal(reference, answer)


def _evasion(expected: Node, said: Node) -> str:
    if is_unfinished(said) and not is_unfinished(expected):
        return "arithmetic that was not worked out"
    if not names(said) and not families(said) <= families(expected):
        return "a function value that was not worked out"
    return ""


def _equations(reference: Shape, answer: Shape, equal: Compare) -> Grade:
    """Two equations: proportional, provably different, or math-verify's to decide."""
    expected, said = _sides(reference), _sides(answer)
    if expected is None:
        return equal(reference.text, answer.text)
    if said is None:
        return _wrong("the answer is no equation between formulas")
    if any(is_unfinished(side) for side in said) and not any(is_unfinished(side) for side in expected):
        return _wrong("arithmetic that was not worked out")
    used = frozenset().union(*(names(side) for side in (*expected, *said)))
    values = [(_gap(expected, point), _gap(said, point)) for point in points(used)]
    known = [(a, b) for a, b in values if a is not None and b is not None]
    if known and not any(is_apart(b, Value(0j)) for _, b in known):
        return _wrong("an equation that always holds")
    factor = _factor(known)
    if factor is not None:
        left, right = (_difference(shape) for shape in (reference, answer))
        scale = f"\\frac{{{factor.numerator}}}{{{factor.denominator}}}"
        return equal(left, f"{scale}*({right})")
    if _misses(expected, said, used) or _misses(said, expected, used):
        return _wrong("an equation with other solutions")
    return equal(reference.text, answer.text)


def _sides(shape: Shape) -> tuple[Node, Node] | None:
    texts = shape.text.split("=")
    left, right = (read_formula(text) for text in texts) if len(texts) == 2 else (None, None)
    return None if left is None or right is None else (left, right)


def _difference(shape: Shape) -> str:
    left, right = shape.text.split("=")
    return f"{left.strip()}-({right.strip()})"


def _value_at(formula: Node, point: dict[str, complex]) -> Value | None:
    try:
        return evaluate(formula, point)
    except (NoValue, OverflowError, ValueError, ZeroDivisionError):
        return None


def _gap(sides: tuple[Node, Node], point: dict[str, complex]) -> Value | None:
    """Left minus right at a point, or None."""
    return _value_at(Node("add", (sides[0], Node("neg", (sides[1],)))), point)


def _factor(known: list[tuple[Value, Value]]) -> Fraction | None:
    """The rational c with first = c * second at every point, as far as can be seen; None when there is none."""
    if len(known) < 2 or any(abs(b.z) <= b.error for _, b in known):
        return None
    ratios = [a.z / b.z for a, b in known]
    guess = Fraction(ratios[0].real).limit_denominator(10**4)
    is_constant = all(abs(ratio - ratios[0]) <= 1e-8 * abs(ratios[0]) for ratio in ratios)
    is_rational = guess != 0 and abs(ratios[0] - float(guess)) <= 1e-8 * abs(ratios[0])
    return guess if is_constant and is_rational else None


def _misses(first: tuple[Node, Node], second: tuple[Node, Node], used: frozenset[str]) -> bool:
    """Whether the second equation provably fails at a solution of the first, which is solved for a name."""
    name, solved = first
    if name.kind != "name" or name.name in names(solved):
        return False
    for point in points(used):
        value = _value_at(solved, point)
        if value is None or value.error > 1e-9 * abs(value.z):
            continue
        gap = _gap(second, point | {name.name: value.z})
        scale = sum(abs(side.z) for side in (_value_at(node, point) for node in second) if side is not None)
        if gap is not None and abs(gap.z) > gap.error + 1e-6 * (1 + scale):
            return True
    return False


def _wrong(note: str) -> Grade:
    return Grade(Verdict.WRONG, note)
