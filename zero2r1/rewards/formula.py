"""Formulas read into a tree: the part of LaTeX, and of plain typing, in which final answers are written.

    sum      = [+-] product { (+|-) product }
    product  = power { (*|/|nothing) power }
    power    = atom [ ^ exponent ]
    atom     = number | name [_subscript] | \\frac | \\sqrt | function | ( sum ) | { sum } | | sum |

A text outside this grammar is no formula here (None): relations, lists, words, sums with \\sum, factorials, primes. The
strict rules for expressions lean on that: what cannot be read cannot be judged equal by accident.

What is not here: evaluation (`numeric.py`), what counts as worked out (`unfinished.py`), sets and equations
(`structures.py`).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from zero2r1.rewards.numerals import MAX_ANSWER_CHARS

MAX_DEPTH = 40
TOKEN = re.compile(r"\s*(\\[A-Za-z]+|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|[A-Za-z]|[-+*/^_(){}\[\]|])")
GREEK = re.compile(
    "alpha|beta|gamma|delta|(?:var)?epsilon|zeta|eta|(?:var)?theta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau"
    "|(?:var)?phi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Phi|Psi|Omega|hbar|ell"
)
TRIGONOMETRIC = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
INVERSE = frozenset(["arcsin", "arccos", "arctan", "arccot"])
HYPERBOLIC = frozenset(["sinh", "cosh", "tanh", "coth"])
LOGARITHMS = frozenset(["ln", "log", "lg"])
FUNCTIONS = TRIGONOMETRIC | INVERSE | HYPERBOLIC | LOGARITHMS | {"exp"}
CALLED = frozenset("fghFGH")
FAMILIES = (TRIGONOMETRIC | INVERSE, HYPERBOLIC, LOGARITHMS)
STOPS = frozenset(("", "+", "-", ")", "}", "]", "|", "*", "/"))


class NoFormula(ValueError):
    """The text is outside the grammar."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node: `number` (value), `name`, `add`, `mul`, `div`, `neg`, `pow`, `root` (argument, degree), `abs`, or a
    function (`call`, its name, its arguments: the argument and, for a logarithm, the base)."""

    kind: str
    args: tuple["Node", ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


def read_formula(text: str) -> Node | None:
    """The tree of a formula, or None when the text is none.

    Args:
        text: tidied (`tidy.py`), at most `MAX_ANSWER_CHARS` characters.
    """
    if len(text) > MAX_ANSWER_CHARS:
        return None
    try:
        parser = _Parser(text)
        tree = parser.sum(0)
        return tree if parser.peek() == "" else None
    except NoFormula:
        return None


def names(node: Node) -> frozenset[str]:
    """The free names of a formula; e, i and pi are none."""
    own = frozenset((node.name,)) if node.kind == "name" else frozenset()
    return own.union(*(names(arg) for arg in node.args)) if node.args else own


def has_constant(node: Node, name: str) -> bool:
    """Whether a formula uses the constant `pi`, `e` or `i`."""
    return (node.kind == "constant" and node.name == name) or any(has_constant(arg, name) for arg in node.args)


def families(node: Node) -> frozenset[int]:
    """Which families of functions a formula uses (trigonometric, hyperbolic, logarithms), by their index."""
    own = frozenset(index for index, family in enumerate(FAMILIES) if node.kind == "call" and node.name in family)
    return own.union(*(families(arg) for arg in node.args)) if node.args else own


def literal(node: Node) -> Fraction | None:
    """The value of a number as one writes a result: 3, -3, 0.5, 3/4 in lowest terms; None for anything else."""
    if node.kind == "number":
        return node.value
    if node.kind == "neg":
        value = literal(node.args[0])
        return None if value is None or node.args[0].kind == "neg" else -value
    if node.kind == "div":
        top, bottom = literal(node.args[0]), literal(node.args[1])
        if top is None or bottom is None or "div" in (node.args[0].kind, node.args[1].kind):
            return None
        if top.denominator == bottom.denominator == 1 and bottom > 1 and gcd(top.numerator, bottom.numerator) == 1:
            return top / bottom
    return None


class _Parser:
    """Recursive descent over the tokens; every method leaves `position` behind what it read."""

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        self.position = 0
        place, end = 0, len(text.rstrip())
        while place < end:
            token = TOKEN.match(text, place)
            if token is None:
                raise NoFormula
            self.tokens.append(token[1])
            place = token.end()

    def peek(self, ahead: int = 0) -> str:
        at = self.position + ahead
        return self.tokens[at] if at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise NoFormula
        self.position += 1
        return token

    def sum(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise NoFormula
        terms = [self.term(depth)]
        while self.peek() in ("+", "-"):
            terms.append(self.term(depth))
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def term(self, depth: int) -> Node:
        sign = self.take() if self.peek() in ("+", "-") else "+"
        product = self.product(depth)
        return Node("neg", (product,)) if sign == "-" else product

    def product(self, depth: int) -> Node:
        factors = [self.power(depth)]
        while True:
            token = self.peek()
            if token in ("*", "/"):
                self.take()
                is_negative = self.peek() == "-" and bool(self.take())
                factor = self.power(depth)
                factor = Node("neg", (factor,)) if is_negative else factor
                if token == "/":
                    factors = [Node("div", (_product(factors), factor))]
                    continue
            elif token in STOPS or token in ("^", "_") or token[0].isdigit() or token[0] == ".":
                break
            else:
                factor = self.power(depth)
            factors.append(factor)
        return _product(factors)

    def power(self, depth: int) -> Node:
        base = self.atom(depth)
        if self.peek() != "^":
            return base
        self.take()
        return Node("pow", (base, self.exponent(depth)))

    def exponent(self, depth: int) -> Node:
        is_negative = self.peek() == "-" and bool(self.take())
        inner = self.power(depth + 1) if depth < MAX_DEPTH else self.take("")
        if isinstance(inner, str):
            raise NoFormula
        return Node("neg", (inner,)) if is_negative else inner

    def atom(self, depth: int) -> Node:
        token = self.take()
        if token in ("(", "{", "[", "|"):
            inner = self.sum(depth + 1)
            self.take({"(": ")", "{": "}", "[": "]", "|": "|"}[token])
            return Node("abs", (inner,)) if token == "|" else inner
        if token[0].isdigit() or token[0] == ".":
            return self.number(Fraction(token))
        if token == "\\frac":
            return Node("div", (self.argument(depth), self.argument(depth)))
        if token == "\\sqrt":
            degree = Node("number", value=Fraction(2))
            if self.peek() == "[":
                self.take()
                degree = self.sum(depth + 1)
                self.take("]")
            return Node("root", (self.argument(depth), degree))
        bare = token.removeprefix("\\")
        if bare == "pi" or token in ("e", "i"):
            return Node("constant", name=bare)
        if token != bare and bare in FUNCTIONS:
            return self.call(bare, depth)
        if token in CALLED and self.peek() == "(" and self.peek(1).isdigit() and self.peek(2) == ")":
            raise NoFormula  # f(0) is a value of f, not f times 0
        if len(token) == 1 or GREEK.fullmatch(bare):
            return Node("name", name=bare + self.subscript())
        raise NoFormula

    def number(self, value: Fraction) -> Node:
        """A number, or a mixed one: `2\\frac{1}{3}` is 2 + 1/3."""
        whole = Node("number", value=value)
        tokens = self.tokens[self.position : self.position + 7]
        if len(tokens) == 7 and tokens[0] == "\\frac" and (tokens[1], tokens[3], tokens[4], tokens[6]) == tuple("{}{}"):
            top, bottom = tokens[2], tokens[5]
            if top.isdigit() and bottom.isdigit() and value.denominator == 1 and int(top) < int(bottom):
                self.position += 7
                return Node("number", value=value + Fraction(int(top), int(bottom)))
        return whole

    def argument(self, depth: int) -> Node:
        """What `\\frac` and `\\sqrt` take: a group, or one character, so that `\\frac12` is a half."""
        token = self.peek()
        if token.isdigit() and len(token) > 1:
            self.tokens[self.position] = token[1:]
            return Node("number", value=Fraction(int(token[0])))
        return self.atom(depth + 1)

    def subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.take()
        if self.peek() != "{":
            return "_" + self.take()
        self.take()
        parts = []
        while self.peek() != "}":
            parts.append(self.take())
        self.take()
        return "_" + "".join(parts)

    def call(self, name: str, depth: int) -> Node:
        exponent: Node | None = None
        base: tuple[Node, ...] = ()
        while self.peek() in ("^", "_"):
            if self.take() == "^" and exponent is None:
                exponent = self.exponent(depth)
            elif name in LOGARITHMS and not base:
                base = (self.argument(depth),)
            else:
                raise NoFormula
        if self.peek() in ("(", "{", "|"):
            argument = self.atom(depth + 1)
        else:
            factors = []
            while self.peek() not in STOPS and self.peek().removeprefix("\\") not in FUNCTIONS:
                factors.append(self.power(depth + 1))
            if not factors:
                raise NoFormula
            argument = _product(factors)
        if exponent is not None and literal(exponent) == -1 and name in TRIGONOMETRIC:
            return Node("call", (argument, *base), name=f"arc{name}")
        called = Node("call", (argument, *base), name=name)
        return called if exponent is None else Node("pow", (called, exponent))


def _product(factors: list[Node]) -> Node:
    return factors[0] if len(factors) == 1 else Node("mul", tuple(factors))
