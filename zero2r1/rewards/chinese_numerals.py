"""Chinese number words read exactly: 四十二, 两百零五, 三点一四, 负七, 三分之一, 一又二分之一, 百分之五十, 二〇二六.

Both the everyday and the formal characters (壹贰叁) are read, and 4.2万 as a digit form with a scale. What could mean
two numbers is none: 三四 (three or four), 一百五 (150 in speech, 105 by the letter), 十几, 两三百.

What is not here: traditional-only forms beyond 萬 and 億, and ordinals (第三).
"""

import re
from fractions import Fraction
from types import MappingProxyType

DIGITS = MappingProxyType(
    {character: value for value, group in enumerate(("零〇", "一壹", "二贰两", "三叁", "四肆", "五伍", "六陆", "七柒",
                                                     "八捌", "九玖")) for character in group}
)  # fmt: skip
SMALL = MappingProxyType({"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000})
LARGE = MappingProxyType({"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8})
ALPHABET = re.compile(r"[负正]?[零〇一壹二贰两三叁四肆五伍六陆七柒八捌九玖十拾百佰千仟万萬亿億点又分之]+")
SPELLED = re.compile(r"[零〇一二三四五六七八九]{4,}")
SCALED = re.compile(r"([+-]?[0-9]+(?:\.[0-9]+)?)\s*(万亿|[万亿])")
MAX_CHARACTERS = 40


def chinese_number(text: str) -> tuple[Fraction, bool, bool] | None:
    """The value of a Chinese number word, whether it is a percentage, and whether it is in lowest terms; or None.

    Args:
        text: without spaces around it. 百分之五十 gives (50, True, True), 四分之二 gives (1/2, False, False).
    """
    if len(text) > MAX_CHARACTERS:
        return None
    if (scaled := SCALED.fullmatch(text)) is not None:
        scale = {"万": 10**4, "亿": 10**8, "万亿": 10**12}[scaled[2]]
        return Fraction(scaled[1]) * scale, False, True
    if ALPHABET.fullmatch(text) is None:
        return None
    sign = -1 if text[0] == "负" else 1
    body = text.lstrip("负正")
    whole_text, again, part = body.rpartition("又")
    below, divided, above = part.partition("分之")
    if not divided:
        value = None if again else _decimal(body)
        return None if value is None else (sign * value, False, True)
    if below == "百":
        value = None if again else Fraction(100) if above == "百" else _decimal(above)
        return None if value is None else (sign * value, True, True)
    bottom, top, whole = _integer(below), _integer(above), _integer(whole_text) if again else 0
    if not bottom or top is None or whole is None:
        return None
    fraction = Fraction(top, bottom)
    is_lowest = bottom > 1 and fraction.denominator == bottom and (not again or top < bottom)
    return sign * (whole + fraction), False, is_lowest


def _decimal(text: str) -> Fraction | None:
    whole_text, point, digits = text.partition("点")
    whole = _integer(whole_text)
    if whole is None or not point:
        return None if whole is None else Fraction(whole)
    if not digits or any(character not in DIGITS for character in digits):
        return None
    return whole + Fraction(int("".join(str(DIGITS[character]) for character in digits)), 10 ** len(digits))


def _integer(text: str) -> int | None:
    """Section by section: what stands before 亿, before 万, and the rest; scales must fall from left to right."""
    if SPELLED.fullmatch(text):
        return int("".join(str(DIGITS[character]) for character in text))
    total, limit, rest = 0, 10**12, text
    for scale, marks in ((10**8, "亿億"), (10**4, "万萬")):
        before, mark, after = next(
            (found for found in (rest.partition(sign) for sign in marks) if found[1]), ("", "", rest)
        )
        if not mark:
            continue
        section = _section(before)
        if not section:
            return None
        if after and after[0] not in "零〇" and section * scale < limit and not _starts_full(after, scale):
            return None
        total, limit, rest = total + section * scale, scale, after
        if not rest:
            return total
    section = _section(rest)
    return None if section is None or (total and section == 0) else total + section


def _starts_full(text: str, scale: int) -> bool:
    """After a scale the next place follows without 零 only when it is the highest one: 一万二千, and not 一万二."""
    return len(text) >= 2 and (text[1] in ("千", "仟") if scale == 10**4 else text[1] in "千仟" or "万" in text)


def _section(text: str) -> int | None:
    """A number below 10,000; None for anything ambiguous or misplaced."""
    if not text:
        return None
    text = text[1:] if len(text) > 1 and text[0] in "零〇" else text
    total, digit, last, has_gap = 0, None, 10**4, False
    for character in text:
        if character in DIGITS:
            if digit is not None:
                if digit != 0 or DIGITS[character] == 0:
                    return None
                has_gap = True
            digit = DIGITS[character]
            has_gap = has_gap or digit == 0
            continue
        scale = SMALL.get(character, 0)
        if not 0 < scale < last or (digit in (None, 0) and (scale != 10 or (total and digit is None))):
            return None
        total, digit, last, has_gap = total + (digit or 1) * scale, None, scale, False
    if digit is None:
        return total
    if (digit == 0 and len(text) > 1) or (total and last > 10 and not has_gap):
        return None
    return total + digit
