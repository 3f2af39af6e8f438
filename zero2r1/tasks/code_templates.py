"""What a template of a programming problem is: its arguments, its tests, and its right and wrong programs.

A template is stated once and asked in two ways: as a function, and as a program between standard input and output. Its
expected results come from `oracle`, a function of ours that runs here; the program text `body` says the same once more
and runs only in a sandbox, so each checks the other. `mutant` is one edit that makes the program wrong: the tests of
every template have to notice it.

`@a`, `@b` ... stand for parameters drawn per problem, in statements and programs alike. What is not here: the templates
themselves (`code_numbers.py` and its neighbours) and the wording around a statement (`code_wording.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from zero2r1.core.problems import IOTest
from zero2r1.core.random import Address, Stream, key

NUM_RANDOM = 9
"""Random inputs of a problem beside its edge cases; one of them is the example of the statement. Ours."""


class Kind(StrEnum):
    """What an argument or a result is."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TEXT = "text"
    INTS = "ints"
    WORDS = "words"
    GRID = "grid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arg:
    """One argument and the inputs drawn for it."""

    name: str
    kind: Kind
    low: int = 0
    high: int = 0
    """Range of its numbers, both ends included."""
    shortest: int = 0
    longest: int = 0
    """Characters, items or rows."""
    alphabet: str = ""
    """text, words: the characters it is made of."""
    width: int = 0
    """grid: columns; 0 draws the width too."""


def num(name: str, low: int, high: int) -> Arg:
    """An integer."""
    return Arg(name=name, kind=Kind.INT, low=low, high=high)


def text(name: str = "text", alphabet: str = "abcd", shortest: int = 0, longest: int = 12) -> Arg:
    """One line of text."""
    return Arg(name=name, kind=Kind.TEXT, alphabet=alphabet, shortest=shortest, longest=longest)


def ints(name: str = "numbers", low: int = -20, high: int = 20, shortest: int = 0, longest: int = 10) -> Arg:
    """A list of integers."""
    return Arg(name=name, kind=Kind.INTS, low=low, high=high, shortest=shortest, longest=longest)


def words(name: str = "words", alphabet: str = "abc", longest: int = 8) -> Arg:
    """A list of words of one to four letters."""
    return Arg(name=name, kind=Kind.WORDS, alphabet=alphabet, longest=longest)


def grid(name: str = "grid", low: int = 0, high: int = 9, shortest: int = 1, longest: int = 5, width: int = 0) -> Arg:
    """Rows of integers, all of one width."""
    return Arg(name=name, kind=Kind.GRID, low=low, high=high, shortest=shortest, longest=longest, width=width)


Params = Mapping[str, object]
"""Parameter name -> value of one problem."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """One programming problem with parameters left open. Two templates are never equal."""

    name: str
    """Name of the function that is asked for."""
    level: int
    en: str
    zh: str
    """What is to be computed, in terms of the arguments."""
    args: tuple[Arg, ...]
    out: Kind
    params: Mapping[str, Sequence[object]]
    """Parameter -> the values it is drawn from."""
    oracle: Callable[..., object]
    """(*parameters, *arguments) -> the right result."""
    body: str
    """Right program: the lines of the function, not indented."""
    mutant: tuple[str, str]
    """What in the body is replaced by what to make it wrong."""
    edges: Callable[..., Sequence[tuple[object, ...]]] = field(default=lambda *params: ())
    """(*parameters) -> arguments that random inputs rarely hit."""
    tolerance: float = 0.0


def template(
    name: str,
    level: int,
    en: str,
    zh: str,
    args: Sequence[Arg],
    out: Kind,
    params: Mapping[str, Sequence[object]],
    oracle: Callable[..., object],
    body: str,
    mutant: tuple[str, str],
    edges: Callable[..., Sequence[tuple[object, ...]]] = lambda *params: (),
    tolerance: float = 0.0,
) -> Template:
    """A `Template` in the order of its fields, so that a table of them stays short."""
    if mutant[0] not in body:
        raise ValueError(f"{name}: the mutant replaces what is not there: {mutant[0]!r}")
    return Template(
        name=name, level=level, en=en, zh=zh, args=tuple(args), out=out, params=MappingProxyType(dict(params)),
        oracle=oracle, body=body.strip("\n"), mutant=mutant, edges=edges, tolerance=tolerance,
    )  # fmt: skip


def filled(pattern: str, params: Params) -> str:
    """A text with `@name` replaced by the parameter's value."""
    for name, value in params.items():
        pattern = pattern.replace(f"@{name}", str(value))
    return pattern


def draw_params(stream: Stream, made: Template) -> Params:
    """One value for each parameter."""
    return {name: stream.choice(values) for name, values in made.params.items()}


def identity_of(made: Template, params: Params) -> str:
    """The problem without wording, language and form, e.g. `sum_above:a=3`; it decides split and hidden tests."""
    return f"{made.name}:{','.join(f'{name}={value}' for name, value in params.items())}"


@dataclass(frozen=True, slots=True)
class Case:
    """Arguments and the right result."""

    args: tuple[object, ...]
    result: object

    def as_call(self) -> IOTest:
        """Both as Python literals."""
        return IOTest(given=repr(list(self.args)), expected=repr(self.result))

    def as_lines(self, made: Template) -> IOTest:
        """Both as the lines a program reads and prints."""
        given = "".join(lines_of(value, arg.kind) for value, arg in zip(self.args, made.args, strict=True))
        return IOTest(given=given, expected=printed(self.result))


def cases_of(made: Template, params: Params) -> list[Case]:
    """The example (first) and the hidden tests of a problem: edge cases and random inputs, each once.

    A pure function of the problem: its tests are the same in every language, form and run.
    """
    stream = Stream(key(Address(seed=0, stage="code_tests", step=0), identity_of(made, params)))
    drawn = [tuple(_drawn(stream, arg) for arg in made.args) for _ in range(NUM_RANDOM)]
    # A long input makes a better example than the empty one.
    drawn.sort(key=lambda args: -len(repr(args)))
    middle = len(drawn) // 2
    chosen = [drawn[middle], *made.edges(*params.values()), *_edge_inputs(made), *drawn[:middle], *drawn[middle + 1 :]]
    unique = list({repr(args): args for args in chosen}.values())
    return [Case(args, made.oracle(*params.values(), *args)) for args in unique]


def lines_of(value: object, kind: Kind) -> str:
    """An argument as input lines; see the wording of each kind in `code_wording.py`."""
    match value, kind:
        case list(), Kind.INTS:
            return f"{len(value)}\n{' '.join(map(str, value))}\n"
        case list(), Kind.WORDS:
            return "".join(f"{line}\n" for line in (len(value), *value))
        case list(), Kind.GRID:
            rows = [" ".join(map(str, row)) for row in value]
            return "".join(f"{line}\n" for line in (f"{len(value)} {len(value[0]) if value else 0}", *rows))
        case _:
            return f"{value}\n"


def printed(result: object) -> str:
    """A result as the lines a program prints."""
    if isinstance(result, bool):
        return "yes\n" if result else "no\n"
    if isinstance(result, list):
        rows = result if result and isinstance(result[0], list) else [result]
        return "".join(f"{' '.join(map(str, row))}\n" for row in rows)
    return f"{result}\n"


def _edge_inputs(made: Template) -> list[tuple[object, ...]]:
    """Every argument at its first extreme, every one at its second, and so on, the shorter lists starting over."""
    columns = [_extremes(arg) for arg in made.args]
    return [tuple(column[i % len(column)] for column in columns) for i in range(max(map(len, columns)))]


def _extremes(arg: Arg) -> list[object]:
    """Smallest, largest, shortest, longest and uniform values."""
    match arg.kind:
        case Kind.INT:
            return [arg.low, arg.high, arg.low + 1]
        case Kind.TEXT:
            return [arg.alphabet[0] * arg.shortest, arg.alphabet[-1] * arg.longest, arg.alphabet[: arg.longest]]
        case Kind.WORDS:
            return [[], [arg.alphabet[0]], [arg.alphabet[-1] * 2] * arg.longest]
        case Kind.GRID:
            width = arg.width or 2
            rows = max(arg.shortest, 1)
            return [[[arg.low] * width] * arg.shortest, [[arg.high] * width] * arg.longest, [[arg.high] * width] * rows]
        case _:
            rising = [arg.low + i for i in range(max(arg.shortest, min(arg.longest, 5)))]
            return [[arg.low] * arg.shortest, [arg.high] * arg.longest, rising, rising[::-1]]


def _drawn(stream: Stream, arg: Arg) -> object:
    """One random value."""
    if arg.kind is Kind.INT:
        return stream.integer(arg.low, arg.high)
    length = stream.integer(arg.shortest, arg.longest)
    match arg.kind:
        case Kind.TEXT:
            return "".join(stream.choice(arg.alphabet) for _ in range(length))
        case Kind.WORDS:
            sizes = [stream.integer(1, 4) for _ in range(length)]
            return ["".join(stream.choice(arg.alphabet) for _ in range(size)) for size in sizes]
        case Kind.GRID:
            width = arg.width or stream.integer(1, arg.longest)
            return [[stream.integer(arg.low, arg.high) for _ in range(width)] for _ in range(length)]
        case _:
            return [stream.integer(arg.low, arg.high) for _ in range(length)]
