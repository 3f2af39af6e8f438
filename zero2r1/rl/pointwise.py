"""The value of a formula at a point, in floating point: LaTeX or plain text in, a complex number out.

The second opinion of `second_opinion.py` compares values, where the reward compares symbols, so that one mistake is
unlikely to be made by both. It shares no code with the graders of the rewards room.

What it does not do: equations, sets, intervals, units, sums, integrals. `Unreadable` says so; nothing is guessed.
"""

import cmath
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

MAX_CHARS = 300
MAX_DEPTH = 40

TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<command>\\[A-Za-z]+)"
    r"|(?P<name>arcsin|arccos|arctan|sqrt|sin|cos|tan|log|exp|ln|pi|[A-Za-z])|(?P<sign>\*\*|[-+*/^(){}\[\]|]))"
)
REWRITTEN = (
    (re.compile(r"\\left|\\right|\\displaystyle|\\[,;!: ]|\$|\\\(|\\\)|\\\[|\\\]"), ""),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\(?:cdot|times)(?![A-Za-z])|[×·∙]"), "*"),
    (re.compile(r"\\div(?![A-Za-z])|÷"), "/"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"π"), r"\\pi "),
    (re.compile(r"√"), r"\\sqrt "),
    (re.compile(r"²"), "^2"),
    (re.compile(r"³"), "^3"),
    (re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))|\{,\}"), ""),
    (re.compile(r"\\frac\s*([0-9])\s*([0-9])"), r"\\frac{\1}{\2}"),
)
FUNCTIONS: Mapping[str, Callable[[complex], complex]] = MappingProxyType(
    {
        "sqrt": cmath.sqrt, "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "exp": cmath.exp, "ln": cmath.log,
        "log": cmath.log, "arcsin": cmath.asin, "arccos": cmath.acos, "arctan": cmath.atan,
    }
)  # fmt: skip
CONSTANTS: Mapping[str, complex] = MappingProxyType({"pi": complex(math.pi), "e": complex(math.e), "i": 1j})
GREEK = frozenset({"alpha", "beta", "gamma", "delta", "theta", "lambda", "mu", "phi", "omega"})


class Unreadable(ValueError):
    """The text is no formula of this grammar, or has no value at this point."""


def value_at(text: str, point: Callable[[str], float]) -> complex:
    """The value of a formula.

    Args:
        text: LaTeX or plain text of at most `MAX_CHARS` characters; `2x` and `(a)(b)` are products,
            `log` is the natural one.
        point: the value of a variable by its name.

    Raises:
        Unreadable: outside the grammar, or without a finite value there.

    Ours: precedence climbing over floating point.
    """
    if len(text) > MAX_CHARS:
        raise Unreadable(f"longer than {MAX_CHARS} characters")
    for pattern, plain in REWRITTEN:
        text = pattern.sub(plain, text)
    reader = _Reader(text, point)
    try:
        value = reader.sum()
    except (ArithmeticError, ValueError) as problem:
        raise Unreadable(str(problem)) from None
    if reader.tokens[reader.place :]:
        raise Unreadable(f"unexpected {reader.tokens[reader.place]!r}")
    if not cmath.isfinite(value):
        raise Unreadable("not finite")
    return value


class _Reader:
    """Reads tokens from left to right; a method a level of precedence."""

    def __init__(self, text: str, point: Callable[[str], float]) -> None:
        self.tokens: list[str] = []
        self.place = 0
        self.depth = 0
        self.point = point
        end, place = len(text.rstrip()), 0
        while place < end:
            token = TOKEN.match(text, place)
            if token is None:
                raise Unreadable(f"unexpected {text[place : place + 10]!r}")
            word = token.group().strip().removeprefix("\\")
            self.tokens.append("^" if word == "**" else word)
            place = token.end()

    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def expect(self, sign: str) -> None:
        if self.next() != sign:
            raise Unreadable(f"expected {sign!r}, got {self.next()!r}")
        self.place += 1

    def sum(self) -> complex:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deep")
        value = self.product()
        while (sign := self.next()) in ("+", "-") and sign:
            self.place += 1
            value = value + self.product() if sign == "+" else value - self.product()
        self.depth -= 1
        return value

    def product(self) -> complex:
        value = self.signed()
        while (sign := self.next()) not in ("", "+", "-", ")", "}", "]", "|", "^"):
            self.place += sign in ("*", "/")
            factor = self.signed() if sign in ("*", "/") else self.power()
            value = value / factor if sign == "/" else value * factor
        return value

    def signed(self) -> complex:
        negative = False
        while (sign := self.next()) in ("+", "-") and sign:
            self.place += 1
            negative ^= sign == "-"
        return -self.power() if negative else self.power()

    def power(self) -> complex:
        base = self.atom()
        if self.next() != "^":
            return base
        self.place += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deep")
        exponent = self.group() if self.next() == "{" else self.signed()
        self.depth -= 1
        return base**exponent

    def group(self) -> complex:
        self.expect("{")
        value = self.sum()
        self.expect("}")
        return value

    def atom(self) -> complex:
        token = self.next()
        self.place += 1
        if token[:1].isdigit() or token.startswith("."):
            value = complex(float(token))
            # A mixed number: 2\frac{1}{3} is a sum, the only product that is not one.
            return value + self.atom() if self.next() == "frac" and token.isdigit() else value
        if token in ("(", "{", "[", "|"):
            value = self.sum()
            self.expect({"(": ")", "{": "}", "[": "]", "|": "|"}[token])
            return complex(abs(value)) if token == "|" else value
        if token == "frac":
            top = self.group()
            return top / self.group()
        if token in FUNCTIONS:
            return self.function(token)
        if token in CONSTANTS:
            return CONSTANTS[token]
        if token in GREEK or (len(token) == 1 and token.isalpha()):
            return complex(self.point(token))
        raise Unreadable(f"unexpected {token!r}")

    def function(self, name: str) -> complex:
        if name == "sqrt" and self.next() == "[":
            self.place += 1
            degree = self.sum()
            self.expect("]")
            return self.group() ** (1 / degree)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("nested too deep")
        value = FUNCTIONS[name](self.atom() if self.next() in ("(", "{") else self.power())
        self.depth -= 1
        return value
