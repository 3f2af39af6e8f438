"""math-verify as a judge of two expressions, for the children of the answer worker.

A text that `formula.py` reads becomes a sympy expression directly: faster than by the LaTeX grammar of math-verify, and
read by the same rules as in the strict layer. Whatever else there is goes through that grammar. Equality is
math-verify's own in both cases.

Deviation from math-verify: a decimal is the exact fraction it writes, so it never equals an irrational number.

What is not here: processes and deadlines (`worker.py`), and the rules that come first (`math_answer.py`).
"""

from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

from zero2r1.rewards.formula import Node, has_constant, read_formula
from zero2r1.rewards.tidy import tidy

DECIMALS = 10
"""Ours: where math-verify compares decimals, this many digits count; its own 6 would take 1.414214 for a root of 2."""
NUM_REFERENCES = 64
"""Ours: references kept read; the samples of a group share one."""
WARM_UP = (
    ("x^2 + 2x + 1", "(x + 1)^2"),
    (r"2\sqrt{3}", r"\sqrt{12}"),
    (r"\frac{1}{x-1} + \ln(2x)", r"\frac{1}{x-1} + \ln 2 + \ln x"),
    (r"e^{2x}\sin(x)\cos(x)", r"\frac{e^{2x}}{2}\sin(2x)"),
    (r"\binom{n}{2}", r"\binom{n}{3}"),
)
"""Compared once before any child is born, so that each child inherits the parser's and sympy's caches."""

Judge = Callable[[str, str], tuple[str, str]]


def load_judge() -> Judge:
    """math-verify as a function (reference, answer) -> (verdict, note). Imports it.

    Raises:
        ImportError: math-verify is not installed.
    """
    import sympy
    from math_verify import LatexExtractionConfig, parse, verify

    latex = [LatexExtractionConfig(boxed_match_priority=0)]

    def read(text: str, is_real: bool) -> list[Any]:
        tree = read_formula(tidy(text))
        if tree is not None:
            return [as_sympy(tree, sympy, is_real=is_real)]
        return parse(f"\\boxed{{{text}}}", extraction_config=latex, fallback_mode="no_fallback", parsing_timeout=None)

    read_reference = lru_cache(maxsize=NUM_REFERENCES)(read)

    def judge(reference: str, answer: str) -> tuple[str, str]:
        is_real = not (_is_complex(reference) or _is_complex(answer))
        gold = read_reference(reference, is_real)
        if not gold:
            return "error", f"the reference cannot be read as an expression: {reference[:80]!r}"
        said = read(answer, is_real)
        if not said:
            return "wrong", "the answer cannot be read as an expression"
        is_equal = verify(gold, said, float_rounding=DECIMALS, timeout_seconds=None, raise_on_error=True)
        return ("right", "") if is_equal else ("wrong", "not equal to the reference")

    for reference, answer in WARM_UP:
        judge(reference, answer)
    return judge


def as_sympy(node: Node, sympy: ModuleType, *, is_real: bool) -> Any:
    """A formula as a sympy expression.

    Args:
        node: the tree.
        sympy: the module, imported by the caller because it is heavy.
        is_real: whether names stand for real numbers, as math-verify assumes unless there is an imaginary unit.
    """
    args = [as_sympy(arg, sympy, is_real=is_real) for arg in node.args]
    match node.kind:
        case "number":
            return sympy.Rational(node.value.numerator, node.value.denominator)
        case "constant":
            return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I}[node.name]
        case "name":
            return sympy.Symbol(node.name, real=True) if is_real else sympy.Symbol(node.name)
        case "neg":
            return -args[0]
        case "add":
            return sympy.Add(*args)
        case "mul":
            return sympy.Mul(*args)
        case "div":
            return args[0] / args[1]
        case "pow":
            return sympy.Pow(*args)
        case "root":
            return sympy.root(*args)
        case "abs":
            return sympy.Abs(*args)
    if node.name in ("ln", "log", "lg"):
        base = args[1:] or ([sympy.Integer(10)] if node.name == "lg" else [])
        return sympy.log(args[0], *base)
    names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot"}
    return getattr(sympy, names.get(node.name, node.name))(*args)


def _is_complex(text: str) -> bool:
    tree = read_formula(tidy(text))
    return tree is not None and has_constant(tree, "i")
