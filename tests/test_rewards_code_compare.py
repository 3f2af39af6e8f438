"""When two results are the same: text, numbers, typed values. And what may cross the border of a box."""

import json
import math
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.rewards.code.boxes import message_of
from zero2r1.rewards.code.compare import is_close, same_text, same_value
from zero2r1.sandbox.values import NotCarriedError, decode, encode


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "is_close_"),
    [
        (2.0, 2.5, 0.5, True),  # |0.5| <= 0.5 * max(1, 2)
        (0.25, 0.5, 0.25, True),  # absolutely: 0.25 <= 0.25 * max(1, 0.25)
        (100.0, 150.0, 0.5, True),  # relatively: 50 <= 0.5 * 100
        (100.0, 151.0, 0.5, False),
        (0.0, 0.6, 0.5, False),
        (math.nan, math.nan, 0.0, True),
        (math.nan, 0.0, 1.0, False),
        (math.inf, math.inf, 0.0, True),
        (math.inf, 1e308, 1.0, False),
        (1.0, math.inf, 1.0, False),
    ],
)
def test_close_numbers(expected, got, tolerance, is_close_):
    assert is_close(expected, got, tolerance) is is_close_


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "is_same"),
    [
        ("1 2\n3\n", "1 2  \n3\n\n\n", 0.0, True),
        ("1 2\n3\n", "1 2\r\n3", 0.0, True),
        ("", "\n\n", 0.0, True),
        ("1 2", "1  2", 0.0, False),
        ("1 2", " 1 2", 0.0, False),
        ("a\n\nb", "a\nb", 0.0, False),
        ("YES", "yes", 0.0, False),
        ("0.5", "0.50", 0.0, False),
        ("0.5", "0.50", 1e-9, True),
        ("0.5 x", "0.5000001 x", 1e-6, True),
        ("0.5", "0.51", 1e-6, False),
        ("5", "6", 0.5, False),  # whole numbers are exact
        ("5", "5.0", 1e-9, True),
        ("1e3", "1000.0", 1e-9, True),
        ("0.5", "nan", 1e9, False),
        ("0.5", "inf", 1e9, False),
        ("0.5", "0_5", 1e9, False),
        ("0.5", "\u0661", 1e9, False),  # an Arabic one is no digit here
        ("0.5", "0.5 0.5", 1e-6, False),
        ("0.5", "0.5\n0.5", 1e-6, False),
        ("12", "1" * 5000, 1e-6, False),
    ],
)
def test_printed_text(expected, got, tolerance, is_same):
    assert same_text(expected, got, tolerance=tolerance) is is_same


SAME = [
    (1, 1.0), (1.0, 1), (2**80, 2**80), (float(2**80), 2**80), (math.nan, math.nan), (-0.0, 0), (None, None),
    ([1, 2], (1, 2)), ([[1]], ((1,),)), ((1, 2), (1, 2)), ({1: "a"}, {1.0: "a"}), ({1, 2}, {2, 1}), (b"x", b"x"),
    ({(1, 2): [3]}, {(1, 2): (3,)}), (frozenset({1}), frozenset({1})), (Fraction(1, 3), Fraction(2, 6)), (1j, 1j),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ([], ()), ({1.0, 2}, {1, 2.0}), (math.inf, math.inf),
]  # fmt: skip
DIFFERENT = [
    (1, True), (True, 1), (0, None), (1, "1"), ("1", 1), ([1, 2], [2, 1]), ((1, 2), [1, 2]), ([1], [1, 1]), ([1], 1),
    ({1: 2}, {1: 3}), ({1: 2}, {}), ({1}, frozenset({1})), ({1}, [1]), ({1, 2}, {1}), ("a", b"a"), (0.3, 0.1 + 0.2),
    (2**80, float(2**80) * 2), (1.5, Fraction(3, 2)), ([], {}), ([], ""), (None, []), (2**80, 2**80 + 1),
    (1, 1 + 1e-12),
    ({True: 1}, {1: 1}), (10**400, math.inf), (b"x", bytearray(b"x")), ({(1, 2)}, {(1, 3)}), ([None], []),
]  # fmt: skip


def tree(value):
    """As it arrives: encoded, written, read."""
    return json.loads(json.dumps(encode(value)))


@pytest.mark.parametrize(("expected", "got"), SAME)
def test_same_values(expected, got):
    assert same_value(tree(expected), tree(got))


@pytest.mark.parametrize(("expected", "got"), DIFFERENT)
def test_different_values(expected, got):
    assert not same_value(tree(expected), tree(got))


def test_a_tolerance_reaches_into_values():
    assert same_value(tree([0.5, {"a": 1.0}]), tree([0.5000001, {"a": 1}]), tolerance=1e-6)
    assert not same_value(tree([0.5]), tree([0.51]), tolerance=1e-6)
    assert not same_value(tree([5]), tree([6]), tolerance=0.5), "whole numbers are exact"
    assert not same_value(tree(10**400), tree(0.5), tolerance=0.5)


def test_any_order_is_a_bag_and_only_outside():
    assert same_value(tree([1, 2, 2]), tree([2, 1, 2.0]), any_order=True)
    assert same_value(tree([[1, 2], [3]]), tree(((3,), [1, 2])), any_order=True)
    assert not same_value(tree([1, 2, 2]), tree([1, 1, 2]), any_order=True)
    assert not same_value(tree([[1, 2]]), tree([[2, 1]]), any_order=True)
    assert not same_value(tree([1]), tree({1}), any_order=True)
    assert same_value(tree([0.5, 1.5]), tree([1.5000001, 0.5]), tolerance=1e-6, any_order=True)


@pytest.mark.parametrize(
    "forged",
    [{}, {"h": 1}, {"t": 1}, {"d": [[1]]}, {"d": [1]}, {"s": None}, {"i": "zz"}, {"f": []}, {"q": 1}, {"i": [1]},
     {"x": {}}, {"ok": 1, "t": [1]}, {"d": {"1": 1}}, {"t": {"t": [1]}}],
)  # fmt: skip
def test_a_forged_tree_is_different_and_no_value(forged):
    for expected in (None, 1, 1.5, "a", [1], (1,), {1: 2}, {1}, b"a", 2**80, Fraction(1, 2)):
        assert not same_value(tree(expected), forged)
    with pytest.raises(NotCarriedError):
        decode(forged)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["ff", "nan", "-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["t", "d", "s", "S", "i", "f", "q", "c", "b", "D", "h", "x"]), inner, max_size=2
        )
    ),
    max_leaves=12,
)


@given(anything, anything, st.sampled_from([0.0, 0.5]), st.booleans())
def test_no_json_raises(expected, got, tolerance, any_order):
    """Both sides arbitrary: what is expected is one of ours only by accident here."""
    if isinstance(expected, dict) and len(expected) != 1:
        expected = None
    same_value(tree([1, {2: (3, "a")}, {4}, 0.5, 2**90, None]), got, tolerance=tolerance, any_order=any_order)
    same_value(tree({1: [2.5], "a": {1}}), {"d": [[1, got], ["a", expected]]}, tolerance=tolerance)
    same_value([tree(10**400)], [got], tolerance=tolerance, any_order=any_order)
    same_value(tree({1, 2.5}), {"s": [got, expected]}, tolerance=tolerance)


def test_colliding_integers_cost_nothing():
    """Multiples of 2**61 - 1 have the hash 0: a set of them would take minutes to build."""
    colliding = {"s": [{"i": f"{(2**61 - 1) * n:x}"} for n in range(5_000)]}
    assert not same_value(tree(set(range(5_000))), colliding)
    assert same_value(colliding, colliding)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[1]", b"{", b"\xff", b"[" * 100_000, b'{"ok": ' + b"9" * 10_000 + b"}", b"{}" + b" " * 3_000_000, b"null"],
)
def test_a_line_that_is_no_message_is_none(raw):
    assert message_of(raw) is None


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(plain)
def test_plain_values_survive_the_border(value):
    back = decode(tree(value))
    assert back == value
    assert type(back) is type(value)
    assert same_value(tree(value), tree(value))


def test_rarer_types_survive_the_border():
    for value in (
        Fraction(1, 3),
        Decimal("1.10"),
        1j,
        frozenset({1}),
        {1, (2, 3)},
        bytearray(b"a"),
        -(2**70),
        math.inf,
    ):
        back = decode(tree(value))
        assert back == value
        assert type(back) is type(value)


def test_an_instance_of_a_subclass_crosses_as_the_builtin():
    class Loud(list):
        def __eq__(self, other):
            return True

        def __iter__(self):
            return iter([99])

        __hash__ = None

    color = IntEnum("color", "RED")
    name = StrEnum("name", "BLUE")
    assert tree(Loud([1, 2])) == [1, 2]
    assert type(encode(color.RED)) is int
    assert (tree(color.RED), tree(name.BLUE)) == (1, "blue")


@pytest.mark.parametrize("value", [object(), lambda: 1, iter([]), type, range(3)])
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(NotCarriedError):
        encode(value)


def test_endless_values_are_refused():
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(NotCarriedError, match="nested deeper"):
        encode(loop)
