"""Plain numbers read exactly: integers, decimals, fractions, scientific notation, in ASCII or full width.

A text is a plain number or it is not: `41 = 42`, `6*7`, `41 or 42` and `42 km` are not; `$42`, `42°`, 四十二, 4.2万 and
`1 1/2` are. `84/2` is one that was not worked out. Values are `fractions.Fraction`, so 0.1 is one tenth and 1/3 is not
0.333333 but 0.\\overline{3}.

What is not here: units (`units.py`), English number words, complex numbers, expressions (`math_answer.py`).
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

from zero2r1.rewards.chinese_numerals import chinese_number

MAX_ANSWER_CHARS = 200
"""Ours: a final answer longer than this is no final answer (and long ones are what makes graders hang)."""

FULL_WIDTH = str.maketrans(
    "０１２３４５６７８９＋－＝．，：；％／（）｛｝［］＜＞＊＾｜−﹣‐‑–﹢﹪\u00a0\u2009\u202f\u3000",
    "0123456789+-=.,:;%/(){}[]<>*^|-----+%    ",
)

LEAD_IN = re.compile(
    r"(?:(?:so|thus|hence|therefore|所以|因此)[,，]?\s*)?"
    r"(?:(?:the\s+)?(?:final\s+|correct\s+)?answer(?:\s+is\b|\s*[:=])\s*[:=]?|(?:最终|正确)?答案(?:是|为)?\s*[:=]?|答\s*:)\s*",
    re.IGNORECASE,
)
VARIABLE = re.compile(r"(?:[A-Za-z]|\\(?:theta|alpha|beta|lambda|mu|phi))\s*=\s*(?=[^=\s])")
DEGREES = re.compile(r"\s*(?:°|\\degree|\^\s*\\circ|\^\s*\{\s*\\circ\s*\}|\\text\s*\{\s*°\s*\})$")
CURRENCY = re.compile(r"(?P<sign>[+-]?)\s*(?:\\text\s*\{\s*\\?\$\s*\}|\\?(?P<mark>[$¥￥€£]))\s*(?=\S)")
SPACING = re.compile(r"\\(?:displaystyle|textstyle)(?![A-Za-z])|^(?:\\[,;:! ]|~)|\\[,;:! ]$")
BOLD = re.compile(r"\\(?:boldsymbol|mathbf|textbf|bm)\s*\{([^{}]*)\}$")
WRAPPED = re.compile(
    r"\$\$(?P<a>[^$]*)\$\$|\$(?P<b>(?:\\\$|[^$])*)\$|\\\((?P<c>.*)\\\)|\\\[(?P<d>.*)\\\]"
    r"|\*\*(?P<e>[^*]+)\*\*|`(?P<f>[^`]+)`|\\(?:text|mathrm|mathbf|textbf|boldsymbol|bm)\s*\{(?P<g>[^{}]*)\}",
    re.DOTALL,
)
SEVERAL_WRAPPED = re.compile(r"\$[^$]+\$(?:\s*(?:[,;、，]\s*(?:and|or)?|and|or|和|或)\s*\$[^$]+\$)+")

_INTEGER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_INTEGER}(?:\.[0-9]+)?|\.[0-9]+)"
_SIGN = r"(?P<sign>[+-]?)\s*"
DECIMAL = re.compile(rf"{_SIGN}(?P<number>{_DECIMAL})(?:[eE](?P<exponent>[+-]?[0-9]{{1,2}}))?")
TIMES_TEN = re.compile(
    rf"{_SIGN}(?P<number>{_DECIMAL})\s*(?:\\times|\\cdot|×|·|\*)\s*10\s*\^\s*\{{?(?P<exponent>[+-]?[0-9]{{1,2}})\}}?"
)
QUOTIENT = re.compile(rf"{_SIGN}(?P<top>{_INTEGER})\s*/\s*(?P<bottom>{_INTEGER})")
MIXED = re.compile(rf"{_SIGN}(?P<whole>{_INTEGER}) +(?P<top>{_INTEGER})/(?P<bottom>{_INTEGER})")
SHORT_FRACTION = re.compile(r"\\[dt]?frac\s*(?:([0-9])|\{\s*([0-9]+)\s*\})\s*(?:([0-9])(?![0-9])|\{\s*([0-9]+)\s*\})")
OVER = re.compile(r"\{\s*(-?[0-9]+)\s*\\over\s*([0-9]+)\s*\}")
PERCENT_WORD = re.compile(r"(?:\\?%|\s*\b(?:percent|per cent)|\s*\\(?:text|mathrm)\s*\{\s*(?:percent|\\?%)\s*\})$")
THIN_SPACE = re.compile(r"\\[,;:]")
THIN_SPACE_AS_COMMA = re.compile(r"(?<=[0-9])\\,(?=[0-9])")
ASSIGNED = re.compile(
    r"(?:[A-Z]{2,3}|\|[A-Z]{2}\||\\angle\s*[A-Z]{1,3}|[A-Za-z]_\{?[A-Za-z0-9]{1,2}\}?|[A-Za-z]'{0,3}\([A-Za-z0-9]\)"
    r"|\\overline\s*\{[A-Z]{2}\}|[A-Z]_\{\s*\\triangle\s*[A-Z]{3}\s*\}|(?:\\text\s*\{\s*)?(?i:area|volume|perimeter|length|distance|total|sum|mean|median|slope|radius|height|width|speed)\s*\}?)"
    r"\s*=\s*(?=[^=\s])"
)
LATEX_FRACTION = re.compile(
    rf"{_SIGN}(?P<whole>{_INTEGER})?\s*\\[dt]?frac\s*\{{\s*(?P<inner>[+-]?)\s*(?P<top>{_INTEGER})\s*\}}\s*\{{\s*(?P<bottom>{_INTEGER})\s*\}}"
)
REPEATING = re.compile(
    rf"{_SIGN}(?P<whole>{_INTEGER})\.(?P<fixed>[0-9]*)\\(?:overline|bar|dot)\s*(?:\{{(?P<period>[0-9]+)\}}|(?P<digit>[0-9]))"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A plain number and how it was written."""

    value: Fraction
    """The exact value; for `10%` it is 10."""
    is_percent: bool
    """True when a percent sign follows."""
    is_worked_out: bool
    """False for a quotient that can still be reduced, such as 84/2 or 2/4."""


def undress(text: str) -> str:
    """The answer without what only dresses it: math delimiters, bold, `\\text{}`, "the answer is", a final full stop.

    Full-width digits and signs become ASCII; superscripts do not (4² is not 42).
    """
    text = text.translate(FULL_WIDTH).strip()
    for _ in range(4):
        before = text
        if text.endswith(("。", ".")) and not text.endswith(".."):
            text = text[:-1].rstrip()
        if (lead_in := LEAD_IN.match(text)) is not None:
            text = text[lead_in.end() :].strip()
        if (wrapped := WRAPPED.fullmatch(text)) is not None:
            text = next(inner for inner in wrapped.groups() if inner is not None).strip()
        elif len(text) <= MAX_ANSWER_CHARS and SEVERAL_WRAPPED.fullmatch(text) is not None:
            text = text.replace("$", "")
        if text == before:
            break
    return text


def parse_number(text: str) -> Number | None:
    """The plain number that `text` is, or None when it is anything else.

    Args:
        text: already undressed; at most `MAX_ANSWER_CHARS` characters, else None.
    """
    if not text or len(text) > MAX_ANSWER_CHARS:
        return None
    if "\\" in text or "{" in text:
        text = BOLD.sub(r"\1", SPACING.sub("", text).strip())
        text = text.replace(",\\!", ",").replace("{,}", ",").replace("\\!", "")
        text = THIN_SPACE.sub("", THIN_SPACE_AS_COMMA.sub(",", text))
        text = text.replace("\\left(", "(").replace("\\right)", ")")
        text = SHORT_FRACTION.sub(_full_fraction, OVER.sub(r"\\frac{\1}{\2}", text))
    text, is_percent = _without_percent(_without_currency(_without_variable(DEGREES.sub("", text))))
    if (plain := DECIMAL.fullmatch(text)) is not None:
        return Number(_scaled(plain, Fraction(_digits(plain["number"]))), is_percent, True)
    if (quotient := QUOTIENT.fullmatch(text)) is not None:
        return _fraction(
            quotient["sign"], 0, int(_digits(quotient["top"])), int(_digits(quotient["bottom"])), is_percent
        )
    if (mixed := MIXED.fullmatch(text)) is not None:
        whole, top, bottom = (int(_digits(mixed[part])) for part in ("whole", "top", "bottom"))
        return _fraction(mixed["sign"], whole, top, bottom, is_percent)
    if (latex := LATEX_FRACTION.fullmatch(text)) is not None:
        return _latex_fraction(latex, is_percent)
    if (repeating := REPEATING.fullmatch(text)) is not None:
        period = repeating["period"] or repeating["digit"]
        value = repeating_decimal(int(_digits(repeating["whole"])), repeating["fixed"], period)
        return Number(-value if repeating["sign"] == "-" else value, is_percent, True)
    if (scientific := TIMES_TEN.fullmatch(text)) is not None:
        mantissa = Fraction(_digits(scientific["number"]))
        return Number(_scaled(scientific, mantissa), is_percent, 1 <= mantissa < 10)
    return None if text.isascii() else _chinese(text, is_percent)


def _without_variable(text: str) -> str:
    named = VARIABLE.match(text) or ASSIGNED.match(text)
    return text if named is None else text[named.end() :].strip()


def repeating_decimal(whole: int, fixed: str, period: str) -> Fraction:
    """The value of a decimal whose last digits repeat for ever.

        whole + (int(fixed period) - int(fixed)) / (10^len(fixed) (10^len(period) - 1))

    Ours: the sum of the geometric series.

    Args:
        whole: in front of the point.
        fixed: digits behind the point that do not repeat; may be empty.
        period: the digits that do, at least one.
    """
    top = int(fixed + period) - int(fixed or "0")
    return whole + Fraction(top, 10 ** len(fixed) * (10 ** len(period) - 1))


def _full_fraction(short: re.Match[str]) -> str:
    return f"\\frac{{{short[1] or short[2]}}}{{{short[3] or short[4]}}}"


def _without_currency(text: str) -> str:
    mark = CURRENCY.match(text)
    return text if mark is None else mark["sign"] + text[mark.end() :]


def _without_percent(text: str) -> tuple[str, bool]:
    sign = PERCENT_WORD.search(text) if text[-1:] in ("%", "t", "}") else None
    return (text, False) if sign is None else (text[: sign.start()].rstrip().removesuffix("\\"), True)


def _chinese(text: str, is_percent: bool) -> Number | None:
    found = chinese_number(text)
    if found is None or (is_percent and found[1]):
        return None
    value, says_percent, is_worked_out = found
    return Number(value, is_percent or says_percent, is_worked_out)


def _digits(text: str) -> str:
    return text.replace(",", "")


def _scaled(match: re.Match[str], magnitude: Fraction) -> Fraction:
    exponent = int(match["exponent"] or 0)
    value = magnitude * Fraction(10) ** exponent
    return -value if match["sign"] == "-" else value


def _latex_fraction(match: re.Match[str], is_percent: bool) -> Number | None:
    whole, inner = match["whole"], match["inner"]
    if whole is not None and inner:
        return None
    sign = "-" if (match["sign"] == "-") != (inner == "-") else ""
    top, bottom = int(_digits(match["top"])), int(_digits(match["bottom"]))
    return _fraction(sign, int(_digits(whole or "0")), top, bottom, is_percent)


def _fraction(sign: str, whole: int, top: int, bottom: int, is_percent: bool) -> Number | None:
    if bottom == 0:
        return None
    value = whole + Fraction(top, bottom)
    is_worked_out = bottom > 1 and gcd(top, bottom) == 1 and (whole == 0 or top < bottom)
    return Number(-value if sign == "-" else value, is_percent, is_worked_out)
