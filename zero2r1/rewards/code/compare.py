"""Are two results the same? Printed text and typed values, judged on the trusted side.

Rules (ours; no standard states them):

* printed text: white space at the end of lines and blank lines at the end do not count, everything else does;
* with a tolerance, text is compared word by word, and words that are both numbers may differ by it;
* values: types must agree, with two exceptions. A number counts by value, so 1 equals 1.0 (but True is no 1). Where a
  list is expected a tuple will do, because tests that come from JSON cannot state tuples; a tuple wants a tuple;
* NaN equals NaN, so that a test can ask for it.

Values are JSON trees (`sandbox/values.py`); a stranger's value is never built here.
"""

import json
import math
import re
from collections import Counter

NUMBER = re.compile(r"[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,4})?", re.ASCII)
WHOLE = re.compile(r"[-+]?\d+", re.ASCII)
HEXADECIMAL = re.compile(r"-?[0-9a-f]+", re.ASCII)
NUMBER_TAGS = ("i", "f", "q", "D", "c")
MAX_DEPTH = 150
MAX_MATCHED = 500
"""Ours: bags whose items are not the same to the letter are matched pair by pair up to this length."""


def is_close(expected: float | int, got: float | int, tolerance: float | int) -> bool:
    """True when two numbers differ by at most the tolerance, absolutely or relatively.

        |got - expected| <= tolerance * max(1, |expected|)

    Ours: the usual rule of programming contests. NaN is close to NaN only, an infinity to itself only.
    """
    if math.isnan(expected) or math.isnan(got):
        return math.isnan(expected) and math.isnan(got)
    if math.isinf(expected) or math.isinf(got):
        return expected == got
    return abs(got - expected) <= tolerance * max(1.0, abs(expected))


def same_text(expected: str, got: str, *, tolerance: float = 0.0) -> bool:
    """True when a program printed what was expected."""
    wanted, printed = _lines(expected), _lines(got)
    if wanted == printed:
        return True
    if tolerance <= 0.0 or len(wanted) != len(printed):
        return False
    return all(_same_words(left.split(), right.split(), tolerance) for left, right in zip(wanted, printed, strict=True))


def same_value(expected: object, got: object, *, tolerance: float = 0.0, any_order: bool = False) -> bool:
    """True when two trees state the same value.

    Args:
        expected: tree of what a test wants.
        got: tree of what a program says; any JSON at all.
        tolerance: see `is_close`; whole numbers are exact.
        any_order: the outermost list may come in any order.
    """
    if any_order and isinstance(expected, list):
        items = _items(got, "t")
        return items is not None and _same_bag(expected, items, tolerance)
    return _same(expected, got, tolerance, 0)


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _same_words(wanted: list[str], printed: list[str], tolerance: float) -> bool:
    return len(wanted) == len(printed) and all(
        left == right or _same_number_words(left, right, tolerance) for left, right in zip(wanted, printed, strict=True)
    )


def _same_number_words(left: str, right: str, tolerance: float) -> bool:
    if not NUMBER.fullmatch(left) or not NUMBER.fullmatch(right):
        return False
    if WHOLE.fullmatch(left) and WHOLE.fullmatch(right):
        return int(left) == int(right)
    return is_close(float(left), float(right), tolerance)


def _same(expected: object, got: object, tolerance: float, depth: int) -> bool:
    if depth > MAX_DEPTH:
        return False
    if expected is None or isinstance(expected, bool | str):
        return type(got) is type(expected) and got == expected
    if _is_number(expected):
        return _is_number(got) and _same_number(expected, got, tolerance)
    if isinstance(expected, list):
        items = _items(got, "t")
        return items is not None and _same_items(expected, items, tolerance, depth)
    if not isinstance(expected, dict) or not isinstance(got, dict) or expected.keys() != got.keys():
        return False
    ((tag, wanted),) = expected.items()
    content = got[tag]
    if not isinstance(wanted, list) or not isinstance(content, list):
        return type(wanted) is type(content) and wanted == content
    if tag in ("s", "S"):
        return _same_bag(wanted, content, tolerance)
    return (
        _same_pairs(wanted, content, tolerance, depth) if tag == "d" else _same_items(wanted, content, tolerance, depth)
    )


def _same_items(wanted: list[object], items: list[object], tolerance: float, depth: int) -> bool:
    pairs = zip(wanted, items, strict=False)
    return len(wanted) == len(items) and all(_same(left, right, tolerance, depth + 1) for left, right in pairs)


def _same_pairs(wanted: list[object], pairs: list[object], tolerance: float, depth: int) -> bool:
    """Dictionaries: the same keys, exactly, and the same values."""
    if len(wanted) != len(pairs) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return False
    claimed = {_key(pair[0]): pair[1] for pair in pairs if isinstance(pair, list)}
    stated = {_key(pair[0]): pair[1] for pair in wanted if isinstance(pair, list)}
    return stated.keys() == claimed.keys() and all(
        _same(value, claimed[key], tolerance, depth + 1) for key, value in stated.items()
    )


def _same_bag(wanted: list[object], items: list[object], tolerance: float) -> bool:
    """The same items in any order."""
    if len(wanted) != len(items):
        return False
    if Counter(map(_key, wanted)) == Counter(map(_key, items)):
        return True
    if len(wanted) > MAX_MATCHED:
        return False
    left = list(wanted)
    for item in items:
        found = next((place for place, each in enumerate(left) if _same(each, item, tolerance, 0)), None)
        if found is None:
            return False
        del left[found]
    return True


def _key(tree: object, depth: int = 0) -> str:
    """A text that is the same for equal trees. Texts, because a stranger can choose integers that collide."""
    if depth > MAX_DEPTH:
        return "too deep"
    if isinstance(tree, float) and tree.is_integer():
        tree = int(tree)
    if isinstance(tree, int) and not isinstance(tree, bool):
        return f"{tree:x}"
    items = _items(tree, "t")
    if items is not None and depth > 0 and isinstance(tree, dict):
        return f"({','.join(_key(item, depth + 1) for item in items)})"
    if isinstance(tree, list):
        return f"[{','.join(_key(item, depth + 1) for item in tree)}]"
    if isinstance(tree, dict) and len(tree) == 1:
        ((tag, content),) = tree.items()
        return _tagged_key(tag, content, depth)
    return json.dumps(tree)


def _tagged_key(tag: str, content: object, depth: int) -> str:
    if tag == "i" and isinstance(content, str) and HEXADECIMAL.fullmatch(content):
        return content
    if not isinstance(content, list):
        return f"{tag}:{json.dumps(content)}"
    parts = [_key(part, depth + 1) for part in content]
    return f"{tag}:{','.join(sorted(parts) if tag in ('s', 'S', 'd') else parts)}"


def _items(tree: object, tag: str) -> list[object] | None:
    """The items of a list or of a tagged array; None for anything else."""
    if isinstance(tree, dict) and len(tree) == 1 and tag in tree:
        tree = tree[tag]
    return tree if isinstance(tree, list) else None


def _is_number(tree: object) -> bool:
    if isinstance(tree, dict):
        return len(tree) == 1 and next(iter(tree)) in NUMBER_TAGS
    return isinstance(tree, int | float) and not isinstance(tree, bool)


def _same_number(expected: object, got: object, tolerance: float) -> bool:
    left, right = _value(expected), _value(got)
    if left is None or right is None:
        return expected == got
    if isinstance(left, float) or isinstance(right, float):
        exact = left == right or (left != left and right != right)  # NaN; math.isnan fails for huge integers
        return exact or (tolerance > 0.0 and _is_near(left, right, tolerance))
    return left == right


def _is_near(left: float | int, right: float | int, tolerance: float) -> bool:
    try:
        return is_close(float(left), float(right), tolerance)
    except OverflowError:  # a whole number beyond every float
        return False


def _value(tree: object) -> float | int | None:
    """The value of a real number's tree; None for fractions, decimals and complex numbers: compared as stated."""
    if isinstance(tree, int | float):
        return tree
    if isinstance(tree, dict):
        ((tag, content),) = tree.items()
        if tag == "i" and isinstance(content, str) and HEXADECIMAL.fullmatch(content):
            return int(content, 16)
        if tag == "f" and content in ("nan", "inf", "-inf"):
            return float(content)
    return None
