"""A second verdict on final answers, by other means than the reward's, to see whether the reward can be fooled.

Numbers are read by a pattern and compared as fractions, expressions by their values at points, countdown answers by
floating point, choices as sets of words. No code is shared with the graders of the rewards room, and the place of the
answer is found anew. Where both agree, two different mistakes would have had to meet.

What it does not do: decide rewards, judge programs or proofs (their verdict is error: not judged), or take over the
rule of the reward that an answer inside a sentence is none. A disagreement is a case to read, not a proof.
"""

import re
import unicodedata
from collections import Counter
from fractions import Fraction
from functools import partial

from zero2r1.core.dialogue import Dialect, last_boxed
from zero2r1.core.types import AnswerKind, Prompt, Verdict
from zero2r1.rl.pointwise import Unreadable, value_at

NUMBER = re.compile(
    r"(?P<sign>(?<![0-9)}A-Za-z])[-+])?\s*(?:(?P<whole>[0-9]+)?\s*\\[dt]?frac\s*\{(?P<top>-?[0-9]+)\}\s*\{(?P<bottom>[0-9]+)\}"
    r"|(?P<over>[0-9]+)\s*/\s*(?P<under>[0-9]+)|(?P<plain>[0-9]+(?:\.[0-9]+)?|\.[0-9]+))"
)
GROUPED = re.compile(r"(?<=[0-9])(?:,|\{,\}|\\,|\\!)(?=[0-9]{3}(?![0-9]))")
TAGGED = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.DOTALL)
BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")
STATED = re.compile(r"answer\s+is|答案[是为]", re.IGNORECASE)
WORD = re.compile(r"[A-Za-z0-9]+|[^\W_A-Za-z0-9]+")
FILLER = frozenset(
    {"the", "answer", "final", "is", "option", "choice", "text", "so", "选项", "选择", "选", "答案", "答案是"}
)
PLAIN_ARITHMETIC = re.compile(
    r"(?:[0-9+/(){}\s×÷·$−–-]|\*(?!\*)|\\(?:[dt]?frac|times|cdot|div|left|right)(?![A-Za-z]))*"
)
IMPLICIT_PRODUCT = re.compile(r"[0-9)]\s*\(|\)\s*[0-9]")
DECIDING = frozenset(
    {"not", "no", "maybe", "or", "and", "about", "between", "to", "plus", "hundred", "thousand", "million", "billion",
     "dozen", "half", "double", "twice", "或", "和", "不是", "十", "百", "千", "万", "亿", "约"}
)  # fmt: skip
"""Words that change a number or take it back."""
IN_WORDS = re.compile("[零〇一二两三四五六七八九十百千万亿]|百分之|分之")
"""A number in Chinese words: read by the reward, not by this verifier."""
LETTER_FIRST = re.compile(r"\W*(?P<letter>[A-Za-z])\W*[.:)）、．：](?P<rest>.*)", re.DOTALL)
UNDONE = re.compile(r"(?<![\^0-9])[0-9]+\s*(?:[-+*]|\\(?:cdot|times))\s*[0-9]+(?![0-9A-Za-z\\])")
"""Arithmetic of two plain numbers."""
SUPERSCRIPT = re.compile("[¹²³⁰⁴-⁹]+")
MAX_ANSWER_CHARS = 200
"""A longer answer is none. Ours."""
EXPRESSION_POINTS = (0.731, 1.913, 2.377)
"""Points at which two expressions are compared. Ours: no zeros or periods of usual functions."""
RELATIVE_TOLERANCE = 1e-9


def second_verdict(prompt: Prompt, text: str, dialect: Dialect, *, prefilled: bool = False) -> Verdict:
    """Right, wrong, or error for "not judged", of the final answer of a reply. Never raises for what a model wrote.

    Args:
        prompt: with its reference and the kind of its answer.
        text: the response as the model wrote it.
        dialect: where the answer stands.
        prefilled: True when the prompt already ended with `<think>`.
    """
    answer = last_answer(text, dialect, prefilled=prefilled)
    judge = {
        AnswerKind.NUMBER: number_verdict,
        AnswerKind.SEQUENCE: sequence_verdict,
        AnswerKind.CHOICE: choice_verdict,
        AnswerKind.COUNTDOWN: countdown_verdict,
        AnswerKind.EXPRESSION: expression_verdict,
    }.get(prompt.answer_kind)
    if judge is None:
        return Verdict.ERROR
    if len(prompt.reference) > 10 * MAX_ANSWER_CHARS:
        return Verdict.ERROR
    if answer is None or len(answer) > MAX_ANSWER_CHARS:
        return Verdict.WRONG
    return judge(answer, prompt.reference)


def last_answer(text: str, dialect: Dialect, *, prefilled: bool = False) -> str | None:
    """The answer after the thinking: the last `<answer>` or box; in plain also what follows "the answer is", or a line.

    None when the thinking never ends, no answer stands where the dialect wants it, or several differ.
    """
    _, closing, region = text.rpartition("</think>")
    if "<think>" in region or (prefilled and not closing and dialect is not Dialect.PLAIN):
        return None
    said = text.partition("</think>")[2] or region  # an answer between two endings was given to the reader as well
    tagged = TAGGED.findall(region)
    if any(len({found.strip() for found in several}) > 1 for several in (TAGGED.findall(said), BOXED.findall(said))):
        return None
    boxed = last_boxed(tagged[-1] if tagged else region)
    if dialect is Dialect.R1:
        return boxed
    if tagged:
        return boxed if boxed is not None else str(tagged[-1])
    if dialect is Dialect.R1_ZERO:
        return None
    lines = [line for line in region.splitlines() if line.strip()]
    if boxed is not None or not lines:
        return boxed
    stated = STATED.split(lines[-1])[1:]
    return lines[-1] if not stated else stated[0] if len(stated) == 1 else None


def number_verdict(answer: str, reference: str) -> Verdict:
    """Right when every number of the answer has the reference's value and nothing else is said that could change it.

    A percent sign stands in both or neither. Words beside the number may be filling words, the name of a variable, or
    those of the reference; a word of `DECIDING` is wrong, and any other (a unit, as a rule) is not judged.

    Ours: an equation `41 = 42` or a product `6 * 7` has a number of another value; `42 million` has a word.
    """
    wanted, said = numbers(reference), numbers(answer)
    if len(wanted) != 1 or (not said and IN_WORDS.search(answer)):
        return Verdict.ERROR
    if set(said) != set(wanted) or ("%" in answer) != ("%" in reference) or "!" in answer:
        return Verdict.WRONG
    beside, given = _beside(answer), _beside(reference)
    if beside == given:
        return Verdict.RIGHT
    return Verdict.WRONG if given or beside & DECIDING else Verdict.ERROR


def sequence_verdict(answer: str, reference: str) -> Verdict:
    """Right when the numbers of answer and reference are the same, in order."""
    wanted = numbers(reference, is_list=True)
    if not wanted:
        return Verdict.ERROR
    return Verdict.RIGHT if numbers(answer, is_list=True) == wanted else Verdict.WRONG


def choice_verdict(answer: str, reference: str) -> Verdict:
    """Right when the words of both, filling words left out, are the same set; a letter with its text is not judged."""
    wanted, said = (_words(text) for text in (reference, answer))
    first = LETTER_FIRST.fullmatch(answer)
    if not wanted or (first and {first["letter"].casefold()} == wanted and len(first["rest"].strip()) > 1):
        return Verdict.ERROR
    return Verdict.RIGHT if said == wanted else Verdict.WRONG


def countdown_verdict(answer: str, reference: str) -> Verdict:
    """Right when the answer's numbers are the given ones and its value, in floating point, is the target."""
    target, bar, given = reference.partition("|")
    left, equals, right = unicodedata.normalize("NFKC", answer).partition("=")
    try:
        wanted = float(target)
        pool = Counter(int(number) for number in given.split(","))
    except ValueError:
        return Verdict.ERROR
    if not bar:
        return Verdict.ERROR
    try:
        value = value_at(left, _no_variable)
        reached = value_at(right, _no_variable) if equals else wanted
    except Unreadable:
        return Verdict.WRONG
    is_plain = PLAIN_ARITHMETIC.fullmatch(left) is not None and IMPLICIT_PRODUCT.search(left) is None
    used = Counter(int(number) for number in re.findall(r"[0-9]+", left))
    agrees = is_plain and used == pool and abs(value - wanted) < 1e-9 and reached == wanted
    return Verdict.RIGHT if agrees else Verdict.WRONG


def expression_verdict(answer: str, reference: str) -> Verdict:
    """Right when both have the same value at every point of `EXPRESSION_POINTS`; error when the reference has none.

        |a - r| <= 1e-9 * max(1, |r|) at each point

    An answer that cannot be read is not judged unless it is the reference to the letter, nor is one with arithmetic
    left undone, which a value cannot show.

    Ours: two different formulas of the size of a final answer do not meet at all three points.
    """
    if "".join(answer.split()) == "".join(reference.split()):
        return Verdict.RIGHT
    name, equals, rest = answer.partition("=")
    if equals and "=" not in reference and re.fullmatch(r"\s*\$?\s*[A-Za-z]\s*", name):
        answer = rest
    is_done = UNDONE.search(answer) is None or UNDONE.search(reference) is not None
    for shift in EXPRESSION_POINTS:
        try:
            wanted, said = (value_at(text, partial(_value, shift)) for text in (reference, answer))
        except Unreadable:
            return Verdict.ERROR
        if abs(said - wanted) > RELATIVE_TOLERANCE * max(1.0, abs(wanted)):
            return Verdict.WRONG
    return Verdict.RIGHT if is_done else Verdict.ERROR


def numbers(text: str, *, is_list: bool = False) -> list[Fraction]:
    """Every number of a text in order, as exact fractions; `1,234` is one number unless the text is a list."""
    text = SUPERSCRIPT.sub(lambda power: f"^{power[0]}", text)  # else 4² would read as 42
    text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("\u2044", "/")
    text = text if is_list else GROUPED.sub("", text)
    return [value for found in NUMBER.finditer(text) for value in _values(found)]


def _values(found: re.Match[str]) -> list[Fraction]:
    """The value of one match; an unreduced quotient gives its two numbers, because it was not worked out."""
    sign = -1 if found["sign"] == "-" else 1
    if found["plain"] is not None:
        return [sign * Fraction(found["plain"])]
    top, bottom = int(found["top"] or found["over"]), int(found["bottom"] or found["under"])
    value = Fraction(top, bottom) if bottom else Fraction(0)
    if value.denominator != bottom or bottom == 1:
        return [Fraction(top), Fraction(bottom)]
    return [sign * (int(found["whole"] or 0) + value)]


def _beside(text: str) -> set[str]:
    """The words beside the numbers: no digits, no commands, no filling words, no names of variables."""
    words = {word for word in _words(re.sub(r"\\[A-Za-z]+", " ", text)) if not word.isdigit()} - FILLER
    return {word for word in words if len(word) > 1 or not word.isascii()}


def _words(text: str) -> set[str]:
    found = {word.casefold() for word in WORD.findall(unicodedata.normalize("NFKC", text))}
    return found - FILLER or found


def _no_variable(name: str) -> float:
    raise Unreadable(f"a variable {name!r}")


def _value(shift: float, name: str) -> float:
    """The value of a variable: different names, different values."""
    return shift + 0.137 * (sum(map(ord, name)) % 29)
