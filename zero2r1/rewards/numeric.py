"""Formulas evaluated at chosen points, with a bound on the rounding error: a quick proof that two are different.

Two formulas whose values at one point differ by more than both bounds are different; math-verify need not be asked.
Values that look equal prove nothing here, and neither does a point where a formula has no value (a pole, a branch cut,
an overflow): then math-verify decides.

What is not here: a proof of equality.
"""

import cmath
import math
import zlib
from dataclasses import dataclass

from zero2r1.rewards.formula import Node, names

EPSILON = 2.0**-50
"""Ours: four times the spacing of doubles, for functions that are not rounded exactly."""
NUM_POINTS = 4
MARGIN = 1e-11
"""Ours: relative difference below which nothing is claimed, whatever the bounds say."""


class NoValue(ArithmeticError):
    """The formula has no trustworthy value at this point."""


class TooLarge(NoValue):
    """A part of the formula is far beyond what anyone writes as an answer."""


@dataclass(frozen=True, slots=True)
class Value:
    """A complex number and a bound on the distance to the exact one."""

    z: complex
    error: float = 0.0


def differ(first: Node, second: Node) -> bool:
    """True when the two formulas provably have different values at some point.

        |a - b| > error_a + error_b + margin (|a| + |b|)

    Ours: running error bounds make the claim a proof up to the accuracy of the math library.
    """
    if _mixes_logarithms(first, second):
        return False
    for point in points(names(first) | names(second)):
        try:
            a, b = evaluate(first, point), evaluate(second, point)
        except (NoValue, OverflowError, ValueError, ZeroDivisionError):
            continue
        if is_apart(a, b):
            return True
    return False


def is_huge(node: Node) -> bool:
    """Whether a constant formula holds a number beyond about 1e217, such as `2^{2^{99}}`.

    Ours: computing it exactly can take for ever, so it is refused where the reference is of usual size.
    """
    try:
        evaluate(node, {})
    except (TooLarge, OverflowError):
        return True
    except (NoValue, ValueError, ZeroDivisionError, KeyError):
        return False
    return False


def is_apart(a: Value, b: Value) -> bool:
    """Whether two values are certainly not the same number."""
    return abs(a.z - b.z) > a.error + b.error + MARGIN * (abs(a.z) + abs(b.z))


def points(variables: frozenset[str]) -> list[dict[str, complex]]:
    """[NUM_POINTS] an assignment of a positive number to each name; the same names get the same points in every run."""
    if not variables:
        return [{}]
    return [{name: complex(_coordinate(name, index)) for name in variables} for index in range(NUM_POINTS)]


def _coordinate(name: str, index: int) -> float:
    """Between 0.2 and 2.2, by a checksum of the name: fixed, and unlike those of other names."""
    return 0.2 + zlib.crc32(f"{index}:{name}".encode()) % 10007 / 5003.5


def evaluate(node: Node, point: dict[str, complex]) -> Value:
    """The value of a formula at a point.

    Raises:
        NoValue: undefined or too inexact there; OverflowError, ValueError, ZeroDivisionError: likewise.
    """
    args = [evaluate(arg, point) for arg in node.args]
    match node.kind:
        case "number":
            number = float(node.value)
            return Value(complex(number), EPSILON * abs(number))
        case "constant":
            return Value({"pi": complex(math.pi), "e": complex(math.e), "i": 1j}[node.name], EPSILON)
        case "name":
            return Value(point[node.name])
        case "neg":
            return _clean(-args[0].z, args[0].error)
        case "add":
            total = sum((arg.z for arg in args), 0j)
            largest = sum(abs(arg.z) for arg in args)
            return _clean(total, sum(arg.error for arg in args) + EPSILON * largest)
        case "mul":
            product = args[0]
            for arg in args[1:]:
                product = _times(product, arg)
            return product
        case "div":
            return _over(args[0], args[1])
        case "pow":
            return _power(args[0], args[1])
        case "root":
            return _root(args[0], args[1])
        case "abs":
            return Value(complex(abs(args[0].z)), args[0].error + EPSILON * abs(args[0].z))
    return _call(node.name, args)


def _clean(z: complex, error: float) -> Value:
    """A finite value; a real one gets a positive zero as its imaginary part, which picks the usual branch."""
    if not (math.isfinite(z.real) and math.isfinite(z.imag) and math.isfinite(error)):
        raise NoValue
    return Value(complex(z.real, 0.0) if z.imag == 0 else z, error)


def _times(a: Value, b: Value) -> Value:
    z = a.z * b.z
    return _clean(z, abs(a.z) * b.error + abs(b.z) * a.error + a.error * b.error + EPSILON * abs(z))


def _over(a: Value, b: Value) -> Value:
    if 2 * b.error >= abs(b.z):
        raise NoValue
    z = a.z / b.z
    return _clean(z, (a.error + abs(z) * b.error) / (abs(b.z) - b.error) + EPSILON * abs(z))


def _log(a: Value) -> Value:
    """The principal logarithm, away from its branch cut."""
    is_at_cut = a.z.real < 0 and abs(a.z.imag) <= a.error and a.z.imag != 0
    if 2 * a.error >= abs(a.z) or is_at_cut:
        raise NoValue
    z = cmath.log(a.z)
    return _clean(z, a.error / (abs(a.z) - a.error) + EPSILON * (1 + abs(z)))


def _exp(a: Value) -> Value:
    if a.z.real > 500:
        raise TooLarge
    if a.error > 0.1:
        raise NoValue
    z = cmath.exp(a.z)
    return _clean(z, abs(z) * (math.expm1(a.error) + EPSILON * (1 + abs(a.z))))


def _power(a: Value, b: Value) -> Value:
    whole = b.z.real
    if b.z.imag == 0 and whole == int(whole) and abs(whole) <= 1000 and b.error <= EPSILON * abs(whole):
        if whole == 0:
            return Value(1 + 0j)
        if a.z == 0 and whole > 0 and a.error == 0:
            return Value(0j)
        if 2 * a.error >= abs(a.z):
            raise NoValue
        z = a.z ** int(whole)
        ratio = abs(whole) * a.error / (abs(a.z) - a.error)
        if ratio > 0.1:
            raise NoValue
        return _clean(z, abs(z) * (math.expm1(ratio) + EPSILON * (1 + abs(whole))))
    if a.z.real < 0 and a.z.imag == 0:
        raise NoValue  # roots of negative numbers have several conventions
    return _exp(_times(b, _log(a)))


def _root(a: Value, degree: Value) -> Value:
    if a.z == 0 and a.error == 0:
        return Value(0j)
    is_square = degree.z == 2
    if a.z.real < 0 and a.z.imag == 0 and is_square:
        real = _root(Value(-a.z, a.error), degree)
        return Value(complex(0.0, real.z.real), real.error)
    return _power(a, _over(Value(1 + 0j), degree))


def _call(name: str, args: list[Value]) -> Value:
    a = args[0]
    if name in ("ln", "log", "lg"):
        if a.z.imag == 0 and a.z.real <= 0:
            raise NoValue
        base = args[1] if len(args) > 1 else Value(10 + 0j) if name == "lg" else None
        return _log(a) if base is None else _over(_log(a), _log(base))
    if name == "exp":
        return _exp(a)
    if a.z.imag != 0 or a.error > 0.01:
        raise NoValue
    x = a.z.real
    if name in ("sinh", "cosh", "tanh", "coth"):
        return _hyperbolic(name, x, a.error)
    if name.startswith("arc"):
        return _inverse(name, x, a.error)
    error = a.error + EPSILON * (1 + abs(x))
    sine, cosine = Value(complex(math.sin(x)), error), Value(complex(math.cos(x)), error)
    one = Value(1 + 0j)
    pairs = {"sin": (sine, one), "cos": (cosine, one), "tan": (sine, cosine), "cot": (cosine, sine)}
    pairs |= {"sec": (one, cosine), "csc": (one, sine)}
    return _over(*pairs[name])


def _hyperbolic(name: str, x: float, error: float) -> Value:
    if abs(x) > 300:
        raise NoValue
    bound = math.cosh(abs(x) + error) * (error + EPSILON * (1 + abs(x)))
    sine, cosine = Value(complex(math.sinh(x)), bound), Value(complex(math.cosh(x)), bound)
    match name:
        case "sinh":
            return sine
        case "cosh":
            return cosine
        case "tanh":
            return _over(sine, cosine)
    return _over(cosine, sine)


def _inverse(name: str, x: float, error: float) -> Value:
    if name in ("arcsin", "arccos"):
        room = 1 - (abs(x) + error) ** 2
        if abs(x) > 1 or (room <= 1e-9 and error > EPSILON):
            raise NoValue
        slope = 1.0 if error == 0 else 1 / math.sqrt(max(room, 1e-9))
        z = math.asin(x) if name == "arcsin" else math.acos(x)
        return Value(complex(z), 2e-8 if room <= 1e-9 and error else error * slope + 4 * EPSILON)
    if name == "arctan":
        return Value(complex(math.atan(x)), error + 4 * EPSILON)
    raise NoValue  # arccot, arcsec and arccsc have several conventions


def _mixes_logarithms(first: Node, second: Node) -> bool:
    """`\\log` without a base is natural or decimal: with `\\ln` or `\\lg` on the other side, values prove nothing."""
    bare, named = zip(*(_logarithms(node) for node in (first, second)), strict=True)
    return any(bare) and (any(named) or bare[0] != bare[1])


def _logarithms(node: Node) -> tuple[bool, bool]:
    """Whether a bare `\\log` occurs, and whether another logarithm does."""
    found = [_logarithms(arg) for arg in node.args]
    is_log = node.kind == "call" and node.name in ("ln", "log", "lg")
    is_bare = is_log and node.name == "log" and len(node.args) == 1
    return is_bare or any(bare for bare, _ in found), (is_log and not is_bare) or any(named for _, named in found)
