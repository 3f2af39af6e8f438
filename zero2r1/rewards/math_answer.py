"""Is a final answer right? One rule a kind of answer: exact where that is possible, math-verify for expressions.

number, sequence, choice and countdown are decided here, in microseconds and exactly. An expression whose reference is a
plain number is a number too, so that an answer which merely restates the question (`6\\cdot7` for 42) is wrong. Other
expressions first pass `hedging`, the rules against answers that math-verify would accept and a teacher would not, then
go to the worker.

What is not here: partial credit (none is given), and finding the answer in a reply (`answers.py`).
"""

import re
import unicodedata
from collections.abc import Callable
from types import MappingProxyType

from zero2r1.core.types import AnswerKind, Verdict
from zero2r1.rewards.countdown import CountdownProblem, check, parse_reference
from zero2r1.rewards.numerals import MAX_ANSWER_CHARS, parse_number, undress
from zero2r1.rewards.pool import Grade

RIGHT = Grade(Verdict.RIGHT)
SEPARATOR = re.compile(r"\s*[,;、]\s*|\s+")
BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("\\{", "\\}"))
CHOICE_DRESS = " \t\n.:,;()[]{}【】「」\"'“”"
CHOICE_LEAD_IN = re.compile(r"(?:option|choice|选项|选择|选)\s*[:(]?\s*(?=\S)", re.IGNORECASE)

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
ASCII_NAMES = re.compile(
    r"(?<![\\A-Za-z])(pi|sqrt|sin|cos|tan|log|ln|exp|theta|alpha|beta|lambda|infty|infinity|oo)(?![A-Za-z])"
)
SYMBOLS = MappingProxyType(
    {
        "**": "^",
        "π": "\\pi ",
        "∞": "\\infty ",
        "×": "\\times ",
        "·": "\\cdot ",
        "÷": "\\div ",
        "²": "^{2}",
        "\\varnothing": "\\emptyset",
        "³": "^{3}",
    }
)
SQUARE_ROOT = re.compile(r"\\?sqrt\s*\(([^()]*)\)")
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
    """Exact equality of two plain numbers; a percent sign stands in both or in neither; quotients are worked out."""
    expected = parse_number(reference)
    if expected is None:
        return Grade(Verdict.ERROR, f"the reference is not a plain number: {reference[:80]!r}")
    number = parse_number(said)
    if number is None:
        return _wrong("the answer is not one plain number")
    if number.value != expected.value or number.is_percent != expected.is_percent:
        return _wrong("another number than the reference")
    if not number.is_worked_out and _packed(said) != _packed(reference):
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
    """The same letter or word, whatever its case, brackets or final full stop; nothing may stand beside it."""
    expected = _choice(reference)
    if not expected:
        return Grade(Verdict.ERROR, f"the reference is not a choice: {reference[:80]!r}")
    return RIGHT if _choice(answer) == expected else _wrong("another choice than the reference, or more than one")


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
    """Equal to the reference: as a number if the reference is one, by identity, else by math-verify after `hedging`."""
    if not reference:
        return Grade(Verdict.ERROR, "the reference is empty")
    if parse_number(reference) is not None:
        return grade_number(said, reference)
    if _packed(latexed(said)) == _packed(latexed(reference)):
        return RIGHT
    problem = hedging(said, reference)
    if problem:
        return _wrong(problem)
    if "=" not in reference:
        said = _unnamed(said)
    return compare(latexed(reference), latexed(said))


def latexed(text: str) -> str:
    """An expression typed without LaTeX, `pi/4` or `2*x**2`, as LaTeX would write it; LaTeX stays as it is."""
    for symbol, latex in SYMBOLS.items():
        text = text.replace(symbol, latex)
    text = SQUARE_ROOT.sub(r"\\sqrt{\1}", text)
    return ASCII_NAMES.sub(lambda name: "\\infty" if name[1] in ("oo", "infinity") else f"\\{name[1]}", text)


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
    return ""


def _wrong(note: str) -> Grade:
    return Grade(Verdict.WRONG, note)


def _unnamed(text: str) -> str:
    """`x=1, y=2` as `1, 2`: one name before each value is no second answer."""
    return NAMED.sub(r"\1", text)


def _packed(text: str) -> str:
    return "".join(text.split())


def _items(text: str) -> list[str]:
    for opening, closing in BRACKETS:
        if text.startswith(opening) and text.endswith(closing):
            text = text[len(opening) : -len(closing)].strip()
            break
    return SEPARATOR.split(text) if text else []


def _choice(text: str) -> str:
    said = undress(unicodedata.normalize("NFKC", text))
    bare = said.strip(CHOICE_DRESS) or said
    if (lead_in := CHOICE_LEAD_IN.match(bare)) is not None:
        bare = bare[lead_in.end() :].strip(CHOICE_DRESS)
    return undress(bare).casefold()


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
