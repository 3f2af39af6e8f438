"""Is a final answer right? One rule a kind of answer: exact where that is possible, math-verify for expressions.

number, sequence, choice and countdown are decided here, in microseconds and exactly. An expression whose reference is a
plain number is a number too, so that an answer which merely restates the question (`6\\cdot7` for 42) is wrong. Other
expressions first pass `hedging`, the rules against answers that math-verify would accept and a teacher would not, then
go to the worker.

What is not here: partial credit (none is given), and finding the answer in a reply (`answers.py`).
"""

import re
from collections.abc import Callable

from zero2r1.core.types import AnswerKind, Verdict
from zero2r1.rewards.choice import read_choice
from zero2r1.rewards.countdown import CountdownProblem, check, parse_reference
from zero2r1.rewards.expressions import compare_shapes, compare_values
from zero2r1.rewards.formula import names, read_formula
from zero2r1.rewards.numerals import ASSIGNED, MAX_ANSWER_CHARS, VARIABLE, Number, parse_number, undress
from zero2r1.rewards.pool import Grade
from zero2r1.rewards.structures import INFINITY, MINUS_INFINITY, Kind, read_shape
from zero2r1.rewards.tidy import hidden_character, latexed, packed
from zero2r1.rewards.units import is_other_unit, sign_of_unit, without_unit, without_wrapped_unit

RIGHT = Grade(Verdict.RIGHT)
INFINITE = (INFINITY, MINUS_INFINITY)
UNREAD = (
    ("gcd, max and their like", re.compile(r"\\(?:gcd|lcm|max|min|operatorname|partial|nabla)(?![A-Za-z])|∂")),
    ("primes", re.compile(r"'")),
    ("chains of equations", re.compile(r"=.*=", re.DOTALL)),
    ("membership", re.compile(r"\\in(?![A-Za-z])|∈")),
)
LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z]")
BINDER = re.compile(r"\\(?:sum|prod|int|lim)(?![A-Za-z])")
SPACED_SEPARATOR = re.compile(r"(?<=[,;、])(?:\s|\\[,;: ]|~|\\q?quad(?![A-Za-z]))+")
SEPARATOR = re.compile(r"\s*[,;、]\s*|\s+")
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("\\{", "\\}"))
ALTERNATIVES = re.compile(r"\b(?:or|and|either|maybe)\b|\\(?:lor|vee|wedge|land)(?![A-Za-z])|[或和]|还是|∨")
UNEVALUATED = re.compile(
    r"\\(?:sum|prod|int|iint|oint|lim|limsup|liminf|binom|dbinom|tbinom|choose|gcd|lcm|max|min|sup|inf|det|Gamma"
    r"|operatorname|bmod|pmod|mod|lfloor|lceil|partial)(?![A-Za-z])|\\frac\s*\{\s*(?:d|\\mathrm\{d\})\s*\}|[!∑∏∫]"
)
RELATION = re.compile(
    r"\\(?:leq?|geq?|lt|gt|neq?|approx|equiv|sim|in|notin|subset|cup|cap|implies|to|rightarrow|Rightarrow)(?![A-Za-z])|[<>≤≥≠≈∈]"
)
NAMED = re.compile(r"(^|[,;]\s*)(?:[A-Za-z]|\\[a-z]+)(?:_\{?\w{1,3}\}?|'|\([a-z]\))?\s*=\s*")
THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
SUBSCRIPT = re.compile(r"(?<=[0-9])\s*_\s*\{?\s*(\w+)")
PLUS_MINUS = re.compile(r"\\[pm]{2}\b|[±∓]")


def grade(answer: str, reference: str, kind: AnswerKind, *, compare: Callable[[str, str], Grade]) -> Grade:
    """The verdict on one final answer.

    Args:
        answer: as extracted from the reply.
        reference: what it is compared with, in the form its kind names.
        kind: how to compare.
        compare: equality of two expressions, (reference, answer) -> Grade; called for expressions only.

    Returns:
        right; wrong with a reason (the model's fault); or error with a reason (not the model's fault).
    """
    if len(answer) > MAX_ANSWER_CHARS:
        return _wrong(f"the answer is longer than {MAX_ANSWER_CHARS} characters")
    said = undress(answer)
    if not said:
        return _wrong("the answer is empty")
    match kind:
        case AnswerKind.NUMBER:
            return grade_number(said, undress(reference))
        case AnswerKind.SEQUENCE:
            return grade_sequence(said, undress(reference))
        case AnswerKind.CHOICE:
            return grade_choice(answer, reference)
        case AnswerKind.COUNTDOWN:
            return grade_countdown(said, reference)
        case AnswerKind.EXPRESSION:
            return grade_expression(said, undress(reference), compare)
    return Grade(Verdict.ERROR, "the prompt has no checkable answer")


def grade_number(said: str, reference: str) -> Grade:
    """Exact equality of two plain numbers; a percent sign stands in both or in neither; quotients are worked out.

    A unit of the closed list (`units.py`) may follow. When both have one it must be the same; units are not converted.
    """
    expected, wanted_unit = _measured(reference)
    if expected is None:
        return Grade(Verdict.ERROR, f"the reference is not a plain number: {reference[:80]!r}")
    number, unit = _measured(said)
    if number is None:
        return _wrong("the answer is not one plain number")
    if number.value != expected.value or number.is_percent != expected.is_percent:
        return _wrong("another number than the reference")
    if is_other_unit(unit, wanted_unit):
        return _wrong(f"another unit ({unit}) than the reference ({wanted_unit})")
    if unit is not None and number.is_percent:
        return _wrong("a percentage with a unit")
    if not number.is_worked_out and packed(said) != packed(reference):
        return _wrong("a quotient that was not worked out")
    return RIGHT


def grade_sequence(said: str, reference: str) -> Grade:
    """The same plain numbers in the same order; separators are commas, semicolons or spaces, brackets are optional."""
    expected = [parse_number(item) for item in _items(reference)]
    if not expected or any(number is None for number in expected):
        return Grade(Verdict.ERROR, f"the reference is not a sequence of numbers: {reference[:80]!r}")
    items = [parse_number(item) for item in _items(said)]
    if any(number is None for number in items):
        return _wrong("the answer is not a sequence of plain numbers")
    return RIGHT if items == expected else _wrong("another sequence than the reference")


def grade_choice(answer: str, reference: str) -> Grade:
    """The same letter or word, whatever its case, brackets or final full stop.

    The text of the option may follow its letter (`B. Paris`), as long as it names no other option.
    """
    (expected, wanted_text), (said, text) = read_choice(reference), read_choice(answer)
    if not expected:
        return Grade(Verdict.ERROR, f"the reference is not a choice: {reference[:80]!r}")
    if said != expected:
        return _wrong("another choice than the reference, or more than one")
    if text and wanted_text and text != wanted_text:
        return _wrong("the letter of the reference with another text")
    return RIGHT


def grade_countdown(said: str, reference: str) -> Grade:
    """An expression over the given numbers, each used once, that reaches the target (see `countdown.py`)."""
    try:
        target, numbers = parse_reference(reference)
    except CountdownProblem as problem:
        return Grade(Verdict.ERROR, str(problem))
    try:
        check(said, target, numbers)
    except CountdownProblem as problem:
        return _wrong(f"the expression {problem}")
    return RIGHT


def grade_expression(said: str, reference: str, compare: Callable[[str, str], Grade]) -> Grade:
    """Equal to the reference: as a number if it is one, by identity, shape by shape, or by math-verify (`compare`)."""
    if not reference:
        return Grade(Verdict.ERROR, "the reference is empty")
    if _measured(reference)[0] is not None:
        is_renamed = _name(said) != _name(reference) and _name(said) and _name(reference)
        return _wrong("the value of another name") if is_renamed else grade_number(said, reference)
    if packed(latexed(said)) == packed(latexed(reference)):
        return RIGHT
    if (hidden := hidden_character(said)) and not hidden_character(reference):
        return _wrong(f"a character that has no place in an answer: {hidden}")
    if said.count("%") != reference.count("%"):
        return _wrong("a percent sign that the reference does not have, or lacks")
    said, unit = without_wrapped_unit(said)
    reference, wanted_unit = without_wrapped_unit(reference)
    if is_other_unit(unit, wanted_unit):
        return _wrong(f"another unit ({unit}) than the reference ({wanted_unit})")
    expected, shape = read_shape(reference), read_shape(said)
    if packed(expected.text) == packed(shape.text):
        return RIGHT
    if expected.kind is Kind.OTHER:
        return _hedged(shape.text, expected.text, compare)

    def value(wanted: str, text: str) -> Grade:
        return _grade_value(text, wanted, wanted_unit, compare)

    return compare_shapes(expected, shape, value, compare)


def _grade_value(said: str, reference: str, wanted_unit: str | None, compare: Callable[[str, str], Grade]) -> Grade:
    """One single value against another; both tidied, the reference without its unit."""
    bare, wanted = packed(said).removeprefix("+"), packed(reference).removeprefix("+")
    if bare == wanted:
        return RIGHT
    if wanted in INFINITE or bare in INFINITE:
        return _wrong("not the same infinity, or only one of both")
    if parse_number(reference) is not None:
        return grade_number(said, reference)
    formula = read_formula(reference)
    if formula is None:
        return _hedged(said, reference, compare)
    if not names(formula):
        said, unit = without_unit(said)
        if is_other_unit(unit, wanted_unit):
            return _wrong(f"another unit ({unit}) than the reference ({wanted_unit})")
    return compare_values(reference, THOUSANDS.sub("", said), compare)


def _hedged(said: str, reference: str, compare: Callable[[str, str], Grade]) -> Grade:
    """math-verify's word on what is no formula, once `hedging` has nothing against it."""
    problem = hedging(said, reference)
    if problem:
        return _wrong(problem)
    grade = compare(reference, said if "=" in reference else _unnamed(said))
    if grade.verdict is Verdict.RIGHT and (unread := _unread(said, reference)):
        return Grade(Verdict.ERROR, f"math-verify takes it for equal, but reads no {unread}")
    return grade


def _unread(said: str, reference: str) -> str:
    """What in two texts math-verify skips over, or "": where it does, a wrong answer would pass for the reference.

    Ours: seen in math-verify 0.9. It reads `\\gcd(k, p-1)` without its arguments, the last side of `a = b = c = 0`,
    `f''(0)` without its primes, and no name to the left of \\in.
    """
    for mark, pattern in UNREAD:
        if pattern.search(reference) or pattern.search(said):
            return mark
    letters = set(LETTER.findall(said)) - set(LETTER.findall(reference))
    return "other letters" if letters and not BINDER.search(reference) else ""


def hedging(said: str, reference: str) -> str:
    """Why an expression is no definite answer to a question with this reference, or "" when it may be compared.

    Each rule is lifted when the reference itself has the feature: `x=1 \\text{ or } x=2` may be answered so.

    Ours: every rule stands for an answer that math-verify 0.9 accepts although it is wrong or evades the question.
    """
    if _open_braces(said) != 0:
        return "the braces do not match"
    for pattern, problem in (
        (ALTERNATIVES, "more than one answer"),
        (UNEVALUATED, "an expression that was not worked out"),
        (RELATION, "a relation where an expression is asked for"),
        (PLUS_MINUS, "two answers in one (plus or minus)"),
    ):
        if pattern.search(said) and not pattern.search(reference):
            return problem
    if said.count("%") != reference.count("%"):
        return "a percent sign that the reference does not have, or lacks"
    if _num_separators(said) != _num_separators(reference):
        return "another number of answers than the reference has"
    if SUBSCRIPT.findall(said) != SUBSCRIPT.findall(reference):
        return "a number in another base than the reference"
    allowed = reference.count("=")
    if (said if allowed else _unnamed(said)).count("=") > allowed:
        return "an equation where a value is asked for"
    if allowed > 1 and said.count("=") != allowed:
        return "another chain of equations than the reference"
    return ""


def _measured(text: str) -> tuple[Number | None, str | None]:
    """A plain number and its unit, or (None, None)."""
    number = parse_number(text)
    if number is not None:
        return number, sign_of_unit(text)
    value, unit = without_unit(text)
    if unit is None or is_other_unit(sign_of_unit(value), unit):  # `$42 cm`
        return None, None
    return parse_number(value), unit


def _name(text: str) -> str:
    named = VARIABLE.match(text) or ASSIGNED.match(text)
    return "" if named is None else packed(named.group())


def _wrong(note: str) -> Grade:
    return Grade(Verdict.WRONG, note)


def _unnamed(text: str) -> str:
    """`x=1, y=2` as `1, 2`: one name before each value is no second answer."""
    return NAMED.sub(r"\1", text)


def _items(text: str) -> list[str]:
    text = SPACED_SEPARATOR.sub(" ", text.replace("\\left", "").replace("\\right", ""))
    for opening, closing in BRACKETS:
        if text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)].strip()
            break
    return SEPARATOR.split(text) if text else []


def _open_braces(text: str) -> int:
    bare = text.replace("\\{", "").replace("\\}", "")
    return bare.count("{") - bare.count("}")


def _num_separators(text: str) -> int:
    """Commas and semicolons outside every bracket, thousands separators left out."""
    text = THOUSANDS.sub("", text.replace("{,}", "").replace("\\,", "").replace("\\;", ""))
    depth = separators = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        separators += character in ",;、" and depth <= 0
    return separators
