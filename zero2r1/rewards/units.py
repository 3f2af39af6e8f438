"""Units behind a number: which words may follow one without changing what it is worth.

The list is closed. A word that is not on it spoils the answer, and no word on it multiplies: `42 million`, `42万`,
`42 dozen`, `42x` and `42!` never pass for 42. A unit of one letter needs a space or `\\text{}` in front, because
`42m` may be 42 times m. A currency sign in front of a number and a degree sign behind it are units too.

What is not here: conversion. `42 km` and `42000 m` are different answers.
"""

import re
from types import MappingProxyType

from zero2r1.rewards.numerals import CURRENCY, DEGREES

_SAME = (
    "km kilometer kilometers kilometre kilometres 千米 公里",
    "m meter meters metre metres 米",
    "dm decimeter decimeters 分米",
    "cm centimeter centimeters centimetre centimetres 厘米",
    "mm millimeter millimeters millimetre millimetres 毫米",
    "mile miles mi 英里",
    "ft foot feet 英尺",
    "inch inches 英寸",
    "yd yard yards",
    "kg kilogram kilograms 千克 公斤",
    "g gram grams 克",
    "mg milligram milligrams 毫克",
    "lb lbs pound pounds 磅",
    "oz ounce ounces",
    "ton tons tonne tonnes 吨",
    "L l liter liters litre litres 升",
    "mL ml milliliter milliliters 毫升",
    "gallon gallons",
    "s sec second seconds 秒 秒钟",
    "min mins minute minutes 分钟",
    "h hr hrs hour hours 小时 时",
    "day days 天 日",
    "week weeks 周 星期",
    "month months 月 个月",
    "year years 年 岁",
    "dollar dollars USD 美元",
    "cent cents",
    "euro euros EUR 欧元",
    "yuan RMB CNY 元 块 块钱 元钱",
    "角",
    "分",
    "degree degrees 度",
    "radian radians rad",
    "°C ℃ 摄氏度",
    "°F ℉",
    "unit units 单位",
    "N newton newtons",
    "J joule joules",
    "W watt watts",
    "V volt volts",
    "Hz hertz",
    "mph",
    "acre acres",
    "hectare hectares 公顷",
)
_COUNTED = (
    "people persons person students student children child boys girls men women workers teachers friends members "
    "cup player box bag piece slice book page pencil apple orange egg ticket cookie game card "
    "players apples oranges bananas eggs cookies cakes candies marbles balls cards books pages pencils pens stamps "
    "coins toys flowers trees birds dogs cats fish cows chickens horses cars buses seats tickets boxes bags bottles "
    "cups glasses rooms houses points goals games times ways steps rows columns sides edges vertices faces pieces "
    "slices items shells seashells stickers crayons balloons peaches meals words questions problems "
    "solutions numbers integers elements subsets permutations combinations arrangements triangles squares"
)
_MEASURE_WORDS = (
    "个 只 本 支 枝 条 张 件 辆 棵 头 匹 朵 颗 粒 箱 袋 盒 瓶 杯 碗 页 次 倍 组 排 层 台 套 把 根 筐 盆 间 名 位 人 岁 "
    "种 段 步 座 块 束 艘 架 幅 道 题 份 户 桶 罐 包 串 株 群 个人 名同学 名学生 个苹果 个桃 "
    "个同学 个学生 本书 只鸡 只兔 棵树 朵花 支铅笔 辆车"
)
_POWERS = MappingProxyType({"2": "^2", "3": "^3", "²": "^2", "³": "^3"})

_WRAPPER = re.compile(r"\\(?:text|mathrm|textrm|mbox|rm|operatorname)\s*\{([^{}]*)\}")
_WRAPPED_TAIL = re.compile(r"(?:\\[,;: ]|\s)*\\(?:text|mathrm|textrm|mbox)\s*\{([^{}]*)\}\s*(\^\s*\{?\s*[23]\s*\}?)?$")
_CURRENCIES = MappingProxyType({"$": "dollar", "¥": "yuan", "￥": "yuan", "€": "euro", "£": "lb"})
"""Sign -> unit; a pound of money and one of weight share their word."""
_CELSIUS = re.compile(r"(?:\^\s*\{?\s*\\circ\s*\}?|°|\\degree)\s*(?:\\(?:text|mathrm)\s*\{\s*([CF])\s*\}|([CF])$)")
_WRAPPED_VALUE = re.compile(r"\$([^$]+)\$(?=\s*[^\s$])")
_SPACE = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|~|\s+")
_TAIL = re.compile(
    r"(?P<word>[A-Za-z°℃℉]+|[\u4e00-\u9fff]+)\s*\.?(?:\s*\^\s*\{?\s*(?P<power>[23])\s*\}?|(?P<raised>[²³]))?"
)
_AREA = re.compile(r"(?:(square|sq\.?|cubic)\s+|(平方|立方))(.+)", re.DOTALL)


def _vocabulary() -> dict[str, str]:
    """Every word with the name of its unit."""
    words = {word: group.split()[0] for group in _SAME for word in group.split()}
    words |= {word: "count" for word in (*_COUNTED.split(), *_MEASURE_WORDS.split()) if word not in words}
    return words


WORDS = MappingProxyType(_vocabulary())


def unit_name(text: str) -> str | None:
    """The unit that `text` writes, in one spelling (`km`, `cm^2`, `km/h`, `count`), or None when it writes none.

    Args:
        text: what follows a number, without LaTeX wrappers; one unit, or two with `/`, `per` or 每 between them.
    """
    text = text.strip()
    for bar in ("/", " per ", "每"):
        if bar in text:
            first, _, second = text.partition(bar)
            above, below = unit_name(first), unit_name(second)
            return f"{above}/{below}" if above and below and "/" not in above + below else None
    if (area := _AREA.fullmatch(text)) is not None:
        inner = unit_name(area[3])
        power = "^3" if area[1] == "cubic" or area[2] == "立方" else "^2"
        return f"{inner}{power}" if inner and not set("^/") & set(inner) else None
    tail = _TAIL.fullmatch(text)
    if tail is None:
        return None
    word = tail["word"]
    name = WORDS.get(word) or WORDS.get(word.casefold() if len(word) > 2 else "")
    if name is None:
        return None
    power = tail["power"] or tail["raised"]
    return name + (_POWERS[power] if power else "")


def without_unit(text: str) -> tuple[str, str | None]:
    """A number and the unit behind it: `42\\text{ km}` as ("42", "km"); (text, None) when nothing on the list follows.

    Args:
        text: undressed.
    """
    text = _CELSIUS.sub(lambda sign: f" °{sign[1] or sign[2]}", _WRAPPED_VALUE.sub(r"\1", text, count=1))
    bare = _SPACE.sub(" ", _WRAPPER.sub(r" \1", text)).strip()
    for at in _word_starts(bare):
        name = unit_name(bare[at:])
        value = bare[:at].rstrip()
        if name is None or not value:
            continue
        is_letter = bare[at].isascii() and bare[at].isalpha() and not bare[at + 1 : at + 2].isalpha()
        if is_letter and not bare[at - 1].isspace():
            continue
        if not value.isascii() and "千" in (bare[at], bare[at - 1]) and bare[-1] in "米克":
            continue  # 二千米 may be two kilometres or two thousand metres
        return value, name
    return text, None


def without_wrapped_unit(text: str) -> tuple[str, str | None]:
    """The same behind an expression, where only a unit in `\\text{}` counts: `5\\pi\\text{ cm}` as ("5\\pi", "cm")."""
    found = _WRAPPED_TAIL.search(text)
    if found is None or found.start() == 0:
        return text, None
    name = unit_name(found[1] + (found[2] or ""))
    return (text, None) if name is None else (text[: found.start()].rstrip(), name)


def sign_of_unit(text: str) -> str | None:
    """The unit that a sign writes: `$42` is in dollars, `42^\\circ` in degrees. None without a sign.

    Args:
        text: undressed, a number without the words of a unit.
    """
    named = text.rpartition("=")[2].strip()
    if (currency := CURRENCY.match(named)) is not None:
        return _CURRENCIES[currency["mark"] or "$"]
    return "degree" if DEGREES.search(named) is not None else None


def is_other_unit(said: str | None, wanted: str | None) -> bool:
    """Whether two units contradict each other. No unit contradicts none; a degree sign may stand for 20 °C."""
    if said is None or wanted is None or said == wanted:
        return False
    return not (said == "degree" and wanted.startswith("°"))


def _word_starts(text: str) -> list[int]:
    """Where a unit may start behind a value, from the left, so that the longest unit is tried first."""
    return [
        at
        for at in range(1, len(text))
        if not text[at].isascii() or (text[at].isalpha() and (text[at - 1] in " )}" or text[at - 1].isdigit()))
    ]
