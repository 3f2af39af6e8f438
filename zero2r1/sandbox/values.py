"""Plain typed values as JSON trees, so that they can cross the border of a box without losing their types.

JSON has no tuple, set, bytes or big integer; a list is a tree by itself and everything else that JSON lacks is an
object with one key, its type: `{"t": [1, 2]}` is the tuple `(1, 2)`. Only exact builtin types cross. An instance of a
subclass crosses as the builtin it extends, so no method of a stranger's class ever travels.

The text of this module is also sent into boxes: it imports nothing of this package and little of the standard library.

What is not here: comparison. The trusted side compares trees (`rewards/code/compare.py`) and never builds a stranger's
value: even a set of well-chosen integers can cost minutes.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any

MAX_DEPTH = 100
"""Ours: values nested deeper are not carried; it also ends values that contain themselves."""
NUM_DIRECT_BITS = 63
"""Ours: larger integers travel in hexadecimal, because reading long decimal ones is slow and limited."""

Carry = Callable[[Any], Any]


class NotCarriedError(TypeError):
    """A value that is not plain, or a tree that is none of ours."""


def encode(value: Any, carry: Carry | None = None, *, depth: int = 0) -> object:
    """The JSON tree of a value.

    Args:
        value: None, bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict, Fraction,
            Decimal, numbers and arrays of numpy, or something made of these.
        carry: makes a tree of what is not plain; None refuses it.
        depth: how deep the value lies inside another.

    Raises:
        NotCarriedError: it is not plain, or nested too deeply.
    """
    if depth > MAX_DEPTH:
        raise NotCarriedError(f"a value nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    number = _number(value, kind)
    if number is not None:
        return number
    for base, tag, parts in CONTAINERS:
        if issubclass(kind, base):
            trees = [encode(part, carry, depth=depth + 1) for part in parts(value)]
            return trees if tag == "l" else {tag: _pairs(trees) if tag == "d" else trees}
    if issubclass(kind, str):
        return str.__str__(value)  # a string enumeration has a __str__ of its own
    if issubclass(kind, bytes | bytearray):
        return {"b" if issubclass(kind, bytes) else "B": bytes(memoryview(value)).hex()}
    if kind.__module__ == "numpy" and hasattr(kind, "tolist"):
        return encode(value.tolist(), carry, depth=depth + 1)
    if carry is None:
        raise NotCarriedError(f"a value of the type {kind.__name__}")
    return carry(value)


def decode(tree: Any, carried: Carry | None = None) -> Any:
    """The value of a tree.

    Args:
        tree: what `encode` made, as `json.loads` gives it back.
        carried: the value of an object with the key `h`.

    Raises:
        NotCarriedError: the tree is none of ours (also an unhashable member of a set).
    """
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, list):
        return [decode(part, carried) for part in tree]
    if not isinstance(tree, dict) or len(tree) != 1:
        raise NotCarriedError("a tree that is no value")
    ((tag, content),) = tree.items()
    try:
        if tag == "h" and carried is not None:
            return carried(content)
        if tag in ("d", *COLLECTIONS) and not isinstance(content, list):
            raise NotCarriedError("items are missing")
        if tag == "d":
            return {decode(key, carried): decode(value, carried) for key, value in content}
        if tag in COLLECTIONS:
            return COLLECTIONS[tag](decode(part, carried) for part in content)
        return _scalar(tag, content)
    except (TypeError, ValueError, ArithmeticError) as problem:
        raise NotCarriedError(f"a tree that is no value: {problem}") from problem


def _number(value: Any, kind: type) -> object:
    """The tree of a number, None for anything else."""
    if issubclass(kind, int):
        whole = int.__int__(value)
        return whole if whole.bit_length() <= NUM_DIRECT_BITS else {"i": f"{whole:x}"}
    if issubclass(kind, float):
        real = float.__float__(value)
        return real if -sys.float_info.max <= real <= sys.float_info.max else {"f": repr(real)}
    if issubclass(kind, complex):
        both = complex.__complex__(value)
        return {"c": [encode(both.real), encode(both.imag)]}
    if kind.__module__ == "fractions" and kind.__name__ == "Fraction":
        return {"q": [encode(value.numerator), encode(value.denominator)]}
    if kind.__module__ == "decimal" and kind.__name__ == "Decimal":
        return {"D": str(value)}
    return None


def _pairs(trees: list[object]) -> list[object]:
    """[key, value] trees: a dictionary's items are tuples, here plain arrays."""
    return [pair["t"] for pair in trees if isinstance(pair, dict)]


def _scalar(tag: str, content: Any) -> Any:
    """The value of a tagged tree that holds no other values."""
    if tag == "i":
        return int(_text(content), 16)
    if tag == "f":
        return float(_text(content))
    if tag in ("b", "B"):
        raw = bytes.fromhex(_text(content))
        return raw if tag == "b" else bytearray(raw)
    if tag == "c" and isinstance(content, list):
        real, imaginary = (decode(part) for part in content)
        return complex(real, imaginary)
    if tag == "q" and isinstance(content, list):
        from fractions import Fraction

        above, below = (decode(part) for part in content)
        return Fraction(above, below)
    if tag == "D":
        from decimal import Decimal

        return Decimal(_text(content))
    raise NotCarriedError(f"an unknown type {tag!r}")


def _text(content: Any) -> str:
    if not isinstance(content, str):
        raise NotCarriedError("a text is missing")
    return content


CONTAINERS: tuple[tuple[type, str, Callable[..., Iterable[object]]], ...] = (
    (list, "l", list.__iter__),
    (tuple, "t", tuple.__iter__),
    (dict, "d", dict.items),
    (set, "s", set.__iter__),
    (frozenset, "S", frozenset.__iter__),
)
"""Type, tag, and how its parts are found without asking a subclass."""

COLLECTIONS: dict[str, type] = {"t": tuple, "s": set, "S": frozenset}
