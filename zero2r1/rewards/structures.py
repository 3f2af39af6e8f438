"""What an expression is before what it is worth: a value, a set, a tuple, an interval, a union, a matrix, an equation.

    x=1 \\text{ or } x=2    \\{1, 2\\}    1, 2    \\pm ...     one shape: a set, order free, each element once
    (1, 2)    [1, 2)    1 \\le x < 2                         a pair with its brackets: point or interval
    (-\\infty,1)\\cup(3,\\infty)    x<1 or x>3               a union, order free
    \\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}   [[1,2],[3,4]]  a matrix
    3:2                                                   a ratio
    y = 2x+3                                              a named value; 2x-y+3 = 0 is an equation

Reading never computes. What fits no shape is `OTHER` and left to math-verify.

What is not here: comparison (`expressions.py`).
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from zero2r1.rewards.tidy import is_enclosed, packed, split, tidy

EMPTY_WORDS = frozenset(("nosolution", "nosolutions", "emptyset", "theemptyset", "无解", "空集"))
SHORT_WORDS = frozenset(("yes", "no", "odd", "all", "dne"))
WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}|[\u4e00-\u9fff]")
MATRIX = re.compile(r"\\begin\{([pbB]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}", re.DOTALL)
RELATION = re.compile(r"\\(?:le|ge|neq|in)(?![A-Za-z])|[<>=]")
NAME = re.compile(
    r"(?:[A-Za-z]|\\[a-z]+)(?:\s*_\s*\{?\s*\w{1,3}\s*\}?|'{1,3}|\s*\^\s*\{\s*-\s*1\s*\}(?=\s*\())?(?:\s*\(\s*[a-z](?:\s*,\s*[a-z])*\s*\)|\s*\^\s*\{?\s*(?:-\s*1|T)\s*\}?)?"
    r"|\\frac\s*\{\s*d\s*[a-z]\s*\}\s*\{\s*d\s*[a-z]\s*\}|[A-Z]\s*_\s*\{\s*\\triangle\s*[A-Z]{3}\s*\}"
    r"|\\angle\s*[A-Z]{1,3}|\|?\s*[A-Z]{2,3}\s*\|?|P\s*\(\s*[A-Z]\s*\)"
    r"|\(\s*(?:[a-z]|\\[a-z]+)(?:\s*,\s*(?:[a-z]|\\[a-z]+))+\s*\)"
)
BUILDER = re.compile(r"([a-z])(?:\s*\\in\s*\\RR)?\s*[|:]\s*(.*)", re.DOTALL)
REALS_WITHOUT = re.compile(r"\\RR\s*(?:\\setminus|\\backslash|-|\\)\s*(\\\{.*\\\})", re.DOTALL)
FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
INFINITY, MINUS_INFINITY = "\\infty", "-\\infty"


class Kind(StrEnum):
    """What an expression is."""

    VALUE = "value"
    EMPTY = "empty set"
    WORDS = "words"
    SET = "set"
    TUPLE = "tuple"
    UNION = "union"
    WITHOUT = "reals without some"
    MATRIX = "matrix"
    NAMED = "named value"
    RECORD = "several named values"
    EQUATION = "equation"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Shape:
    """An expression taken apart; which fields count depends on `kind`, `text` is what it was read from, tidied."""

    kind: Kind
    text: str
    parts: tuple["Shape", ...] = ()
    """Elements, components, ends of an interval, entries of a matrix row by row, or the two sides of an equation."""
    brackets: str = ""
    """Of a tuple or an interval: two characters, `()`, `[)`, ..."""
    names: tuple[str, ...] = ()
    """Of a named value or a record, in the order of `parts`."""
    width: int = 0
    """Columns of a matrix."""


def read_shape(text: str) -> Shape:
    """The shape of an expression; never raises.

    Args:
        text: undressed, at most a few thousand characters.
    """
    return _read(tidy(text), 0)


def _read(text: str, depth: int) -> Shape:
    text = text.strip()
    bare = packed(text)
    if depth > 6 or not bare:
        return Shape(Kind.OTHER, text)
    if bare in ("\\emptyset", "\\{\\}") or bare.casefold() in EMPTY_WORDS:
        return Shape(Kind.EMPTY, text)
    for read in (_matrix, _alternatives, _listed, _union, _bracketed, _related, _plus_minus):
        shape = read(text, depth)
        if shape is not None:
            return shape
    if "\\begin" in text:
        return Shape(Kind.OTHER, text)
    if len(sides := split(text, ":")) > 1 and all(side and not WORD.search(side) for side in sides):
        return Shape(Kind.TUPLE, text, tuple(_read(side, depth + 1) for side in sides), "::")
    if WORD.search(text) or bare.casefold() in SHORT_WORDS:
        return Shape(Kind.WORDS, text)
    if bare == "\\RR":
        return _interval(text, "()", MINUS_INFINITY, INFINITY)
    return Shape(Kind.VALUE, text)


def _interval(text: str, brackets: str, low: str, high: str) -> Shape:
    ends = (Shape(Kind.VALUE, low), Shape(Kind.VALUE, high))
    return Shape(Kind.TUPLE, text, ends, brackets)


def _matrix(text: str, depth: int) -> Shape | None:
    bare = text[1:-1].strip() if text[:1] + text[-1:] in ("()", "[]") else text
    if (latex := MATRIX.fullmatch(text) or MATRIX.fullmatch(bare)) is not None:
        rows = [split(row, "&") for row in split(latex[2].strip().removesuffix("\\\\"), r"\\\\")]
    elif re.match(r"\[\s*\[", text) and is_enclosed(text):
        inner = split(text[1:-1], ",")
        if not all(row.startswith("[") and is_enclosed(row) for row in inner):
            return None
        rows = [split(row[1:-1], ",") for row in inner]
    else:
        return None
    if len({len(row) for row in rows}) != 1:
        return Shape(Kind.OTHER, text)
    entries = tuple(_read(entry, depth + 1) for row in rows for entry in row)
    return Shape(Kind.MATRIX, text, entries, width=len(rows[0]))


def _alternatives(text: str, depth: int) -> Shape | None:
    """`A or B`: a union of intervals, or a set of values."""
    pieces = split(text, r"(?<![A-Za-z])or(?![A-Za-z])|或者?|(?<![A-Za-z])and(?![A-Za-z])|和")
    if len(pieces) == 1:
        return None
    if "and" in text and any(re.search(r"[<>]|\\[lg]e(?![A-Za-z])", piece) for piece in pieces):
        return Shape(Kind.OTHER, text)
    pieces = [piece for whole in pieces for piece in split(whole.strip(", "), ",")]
    shape = _gathered(text, [_read(piece, depth + 1) for piece in pieces])
    is_doubtful = shape.kind is Kind.RECORD and re.search(r"(?<![A-Za-z])or(?![A-Za-z])|或", text) is not None
    return Shape(Kind.OTHER, text) if is_doubtful else shape  # `x=1 or y=2` does not say both


def _listed(text: str, depth: int) -> Shape | None:
    """`1, 2` without brackets around the whole."""
    pieces = split(text, "[,;、]")
    if len(pieces) == 1:
        return None
    return _gathered(text, [_read(piece, depth + 1) for piece in pieces])


def _gathered(text: str, shapes: list[Shape]) -> Shape:
    """Several shapes as one: named values of one name are a set, of several names a record, intervals a union."""
    kinds = {shape.kind for shape in shapes}
    if kinds == {Kind.NAMED}:
        names = tuple(shape.names[0] for shape in shapes)
        letters = {name.partition("_")[0] for name in names}
        values = tuple(shape.parts[0] for shape in shapes)
        if len(letters) == 1:
            return _flat_set(text, values)
        if len(set(names)) == len(names):
            return Shape(Kind.RECORD, text, values, names=names)
        return Shape(Kind.OTHER, text)
    first, *others = shapes
    if first.kind is Kind.NAMED and {first.parts[0].kind} == {shape.kind for shape in others} <= {
        Kind.VALUE,
        Kind.TUPLE,
    }:
        return _flat_set(text, (first.parts[0], *others))
    if kinds == {Kind.TUPLE} and any(_is_relation(shape) for shape in shapes):
        return Shape(Kind.UNION, text, tuple(shapes)) if all(map(_is_relation, shapes)) else Shape(Kind.OTHER, text)
    if kinds <= {Kind.VALUE, Kind.SET, Kind.TUPLE, Kind.MATRIX, Kind.WORDS}:
        return _flat_set(text, tuple(shapes))
    return Shape(Kind.OTHER, text)


def _is_relation(shape: Shape) -> bool:
    return shape.kind is Kind.TUPLE and RELATION.search(shape.text) is not None


def _flat_set(text: str, shapes: tuple[Shape, ...]) -> Shape:
    """A set; `\\pm 2` among the elements stands for two of them."""
    elements: list[Shape] = []
    for shape in shapes:
        elements.extend(shape.parts if shape.kind is Kind.SET and "\\pm" in shape.text else (shape,))
    return Shape(Kind.SET, text, tuple(elements))


def _union(text: str, depth: int) -> Shape | None:
    pieces = split(text, r"\\cup(?![A-Za-z])")
    if len(pieces) == 1:
        return None
    named = re.match(r"([a-z])\s*\\in(?![A-Za-z])", pieces[0])
    if named is not None:
        pieces[0] = pieces[0][named.end() :]
    parts = tuple(_read(piece, depth + 1) for piece in pieces)
    if not {part.kind for part in parts} <= {Kind.TUPLE, Kind.SET}:
        return Shape(Kind.OTHER, text)
    return Shape(Kind.UNION, text, parts)


def _bracketed(text: str, depth: int) -> Shape | None:
    if (reals := REALS_WITHOUT.fullmatch(text)) is not None:
        inner = _read(reals[1], depth + 1)
        return Shape(Kind.WITHOUT, text, inner.parts) if inner.kind is Kind.SET else Shape(Kind.OTHER, text)
    if text.startswith("\\{") and text.endswith("\\}") and is_enclosed("{" + text[2:-2] + "}"):
        content = text[2:-2].strip()
        if (builder := BUILDER.fullmatch(content)) is not None:
            built = _read(builder[2], depth + 1)
            return built if built.kind in (Kind.TUPLE, Kind.UNION, Kind.WITHOUT) else Shape(Kind.OTHER, text)
        elements = tuple(_read(piece, depth + 1) for piece in split(content, "[,;]"))
        return _flat_set(text, elements)
    if text[0] in "([" and text[-1] in ")]" and is_enclosed(text):
        pieces = split(text[1:-1], "[,;]")
        if len(pieces) > 1:
            parts = tuple(_read(piece, depth + 1) for piece in pieces)
            return Shape(Kind.TUPLE, text, parts, text[0] + text[-1])
    return None


def _related(text: str, depth: int) -> Shape | None:
    """Equations, named values and inequalities in one name."""
    signs, sides = [found.group() for found in RELATION.finditer(text)], split(text, RELATION.pattern)
    if len(sides) == 1:
        return None
    if len(signs) != len(sides) - 1 or not all(sides):
        return Shape(Kind.OTHER, text)
    if signs == ["\\in"] and NAME.fullmatch(sides[0]):
        return _read(sides[1], depth + 1)
    if signs == ["="]:
        return _equation(text, sides, depth)
    if len(signs) == 1:
        return _inequality(text, sides[0], signs[0], sides[1])
    is_rising = len(signs) == 2 and set(signs) <= {"<", "\\le"}
    is_falling = len(signs) == 2 and set(signs) <= {">", "\\ge"}
    if not (is_rising or is_falling) or not NAME.fullmatch(sides[1]):
        return Shape(Kind.OTHER, text)
    if is_falling:
        sides, signs = sides[::-1], [FLIPPED[sign] for sign in signs[::-1]]
    return _interval(text, ("(" if signs[0] == "<" else "[") + (")" if signs[1] == "<" else "]"), sides[0], sides[2])


def _equation(text: str, sides: list[str], depth: int) -> Shape:
    left, right = sides
    is_statement = re.fullmatch("[A-Z]=[A-Z]", packed(text)) is not None  # `A = B` says more than `B`
    if NAME.fullmatch(left) and not is_statement and not _mentions(right, left):
        value = _read(right, depth + 1)
        if value.kind is Kind.SET and "\\pm" in value.text:
            return value
        if value.kind in (Kind.VALUE, Kind.SET, Kind.TUPLE, Kind.MATRIX, Kind.EMPTY):
            return Shape(Kind.NAMED, text, (value,), names=(packed(left),))
    if WORD.search(text):
        return Shape(Kind.OTHER, text)
    return Shape(Kind.EQUATION, text, tuple(Shape(Kind.VALUE, side) for side in sides))


def _mentions(text: str, name: str) -> bool:
    if name.startswith("("):
        return False
    bare = re.escape(packed(name).partition("(")[0])
    return re.search(rf"(?<![A-Za-z\\]){bare}(?![A-Za-z])", packed(text)) is not None


def _inequality(text: str, left: str, sign: str, right: str) -> Shape:
    if not NAME.fullmatch(left) and NAME.fullmatch(right) and sign in FLIPPED:
        left, sign, right = right, FLIPPED[sign], left
    if not NAME.fullmatch(left) or re.search(r"(?<!\\)(?<![A-Za-z])[a-df-hj-z](?![A-Za-z])", right):
        return Shape(Kind.OTHER, text)
    match sign:
        case "\\neq":
            return Shape(Kind.WITHOUT, text, (Shape(Kind.VALUE, right),))
        case "<" | "\\le":
            return _interval(text, "()" if sign == "<" else "(]", MINUS_INFINITY, right)
        case ">" | "\\ge":
            return _interval(text, "()" if sign == ">" else "[)", right, INFINITY)
    return Shape(Kind.OTHER, text)


def _plus_minus(text: str, depth: int) -> Shape | None:
    """`a \\pm b` as the set of both, when the sign stands once."""
    if text.count("\\pm") != 1 or "\\mp" in text or re.search(r"\\pm(?=[A-Za-z])", text):
        return None
    both = tuple(_read(text.replace("\\pm", sign), depth + 1) for sign in ("+", "-"))
    return Shape(Kind.SET, text, both) if {shape.kind for shape in both} == {Kind.VALUE} else None
