"""Small word problems: a story with numbers, worked one operation at a time.

Each template is written twice, in English and in Chinese; names and things change, the template and the numbers decide
which problem it is. Level 1 needs one operation, level 5 four. Units, fractions and percentages are not here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.synthetic import Family, Problem, Step, conclusion

NAMES = (("Tom", "小明"), ("Anna", "小红"), ("Ben", "小刚"), ("Lucy", "小丽"))
THINGS = (("apples", "苹果"), ("eggs", "鸡蛋"), ("balls", "球"), ("cups", "杯子"), ("lemons", "柠檬"))
MAX_TRIES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One story. `{who}`, `{thing}` and the slots a, b, c, d are filled in."""

    name: str
    en: str
    zh: str
    slots: Mapping[str, tuple[int, int]]
    """Range of each number, both ends included."""
    plan: tuple[tuple[str, str, str], ...]
    """English words, Chinese words, `left op right`; r1, r2 ... name the results so far."""


def _template(
    name: str, en: str, zh: str, slots: Mapping[str, tuple[int, int]], *plan: tuple[str, str, str]
) -> Template:
    return Template(name=name, en=en, zh=zh, slots=MappingProxyType(dict(slots)), plan=plan)


TEMPLATES: Mapping[int, tuple[Template, ...]] = MappingProxyType(
    {
        1: (
            _template(
                "buy",
                "{who} has {a} {thing} and buys {b} more. How many {thing} does {who} have now?",
                "{who}有{a}个{thing}，又买了{b}个。{who}现在有多少个{thing}？",
                {"a": (2, 60), "b": (2, 39)},
                ("now there are", "现在有", "a + b"),
            ),
            _template(
                "give",
                "{who} has {a} {thing} and gives away {b}. How many {thing} are left?",
                "{who}有{a}个{thing}，送出{b}个。还剩多少个{thing}？",
                {"a": (11, 99), "b": (2, 60)},
                ("there are left", "还剩", "a - b"),
            ),
        ),
        2: (
            _template(
                "buy-give",
                "{who} has {a} {thing}, buys {b} more and gives away {c}. How many {thing} are left?",
                "{who}有{a}个{thing}，又买了{b}个，再送出{c}个。还剩多少个{thing}？",
                {"a": (2, 60), "b": (2, 39), "c": (2, 60)},
                ("now there are", "现在有", "a + b"),
                ("there are left", "还剩", "r1 - c"),
            ),
            _template(
                "compare",
                "{who} has {a} {thing}. A friend has {b} fewer. How many {thing} do they have together?",
                "{who}有{a}个{thing}，朋友比{who}少{b}个。两人一共有多少个{thing}？",
                {"a": (11, 60), "b": (2, 50)},
                ("the friend has", "朋友有", "a - b"),
                ("together there are", "一共有", "a + r1"),
            ),
        ),
        3: (
            _template(
                "boxes",
                "{who} has {a} boxes with {b} {thing} each and {c} loose {thing}. How many {thing} are there?",
                "{who}有{a}箱{thing}，每箱{b}个，另外还有{c}个。一共有多少个{thing}？",
                {"a": (2, 9), "b": (2, 30), "c": (2, 60)},
                ("the boxes hold", "箱里有", "a * b"),
                ("together there are", "一共有", "r1 + c"),
            ),
            _template(
                "change",
                "{who} buys {a} {thing} at {b} coins each and pays with {c} coins. How many coins come back?",
                "{who}买了{a}个{thing}，每个{b}元，付了{c}元。应找回多少元？",
                {"a": (2, 9), "b": (2, 20), "c": (20, 200)},
                ("the price is", "总价是", "a * b"),
                ("there come back", "找回", "c - r1"),
            ),
        ),
        4: (
            _template(
                "two-rates",
                "{who} packs {a} {thing} a day for {b} days, then {c} a day for {d} days. How many {thing} is that?",
                "{who}先用{b}天每天装{a}个{thing}，再用{d}天每天装{c}个。一共装了多少个{thing}？",
                {"a": (2, 30), "b": (2, 9), "c": (2, 30), "d": (2, 9)},
                ("first days make", "先装了", "a * b"),
                ("later days make", "后装了", "c * d"),
                ("together there are", "一共有", "r1 + r2"),
            ),
            _template(
                "broken",
                "{who} has {a} boxes with {b} {thing} each. In each box {c} {thing} are broken, and {d} good ones are "
                "sold. How many good {thing} are left?",
                "{who}有{a}箱{thing}，每箱{b}个，每箱坏了{c}个，又卖出{d}个好的。还剩多少个好的{thing}？",
                {"a": (2, 9), "b": (11, 30), "c": (2, 10), "d": (2, 60)},
                ("good each box", "每箱好的", "b - c"),
                ("good in all", "共有好的", "a * r1"),
                ("there are left", "还剩", "r2 - d"),
            ),
        ),
        5: (
            _template(
                "share",
                "{who} has {a} boxes with {b} {thing} each and buys {c} more. All are shared equally by {d} children. "
                "Each child loses 2. How many {thing} does each child have in the end?",
                "{who}有{a}箱{thing}，每箱{b}个，又买了{c}个，平均分给{d}个孩子，每个孩子丢了2个。每个孩子最后有多少个{thing}？",
                {"a": (2, 9), "b": (4, 30), "c": (2, 60), "d": (2, 9)},
                ("the boxes hold", "箱里有", "a * b"),
                ("together there are", "一共有", "r1 + c"),
                ("each child gets", "每人得到", "r2 / d"),
                ("each child keeps", "每人剩下", "r3 - 2"),
            ),
            _template(
                "average",
                "{who} collects {a} {thing} a day for {b} days, then {c} a day for as many days, and divides them all "
                "equally into {d} bags. How many {thing} are in each bag?",
                "{who}先用{b}天每天收集{a}个{thing}，再用同样多的天数每天收集{c}个，全部平均装进{d}个袋子。每袋有多少个{thing}？",
                {"a": (2, 30), "b": (2, 9), "c": (2, 30), "d": (2, 9)},
                ("first days make", "先有", "a * b"),
                ("later days make", "后有", "c * b"),
                ("together there are", "一共有", "r1 + r2"),
                ("each bag gets", "每袋有", "r3 / d"),
            ),
        ),
    }
)


def make(stream: Stream, level: int, language: str, operations: Sequence[str]) -> Problem:
    """One story with numbers for which every result is a whole number of at least 1."""
    template = stream.choice(TEMPLATES[level])
    for _ in range(MAX_TRIES):
        values = {slot: stream.integer(low, high) for slot, (low, high) in template.slots.items()}
        solved = solve(template, values)
        if solved is not None:
            break
    else:
        raise AssertionError(f"template {template.name} found no numbers in {MAX_TRIES} tries")
    steps, answer = solved
    side = 1 if language == "zh" else 0
    story = template.zh if language == "zh" else template.en
    who, thing = stream.choice(NAMES)[side], stream.choice(THINGS)[side]
    return Problem(
        family="word_problems",
        level=level,
        language=language,
        question=story.format(who=who, thing=thing, **values),
        answer=str(answer),
        reference=str(answer),
        answer_kind=AnswerKind.NUMBER,
        steps=(*steps, conclusion(str(answer))),
        identity=f"{template.name}:{','.join(str(values[slot]) for slot in template.slots)}",
    )


WORD_PROBLEMS = Family(name="word_problems", make=make)


def solve(template: Template, values: Mapping[str, int]) -> tuple[list[Step], int] | None:
    """The steps and the answer, or None when a result is below 1 or not whole."""
    known = dict(values)
    steps: list[Step] = []
    result = 0
    for number, (english, chinese, operation) in enumerate(template.plan, start=1):
        left_name, op, right_name = operation.split()
        left, right = (known[name] if name in known else int(name) for name in (left_name, right_name))
        if op == "/" and left % right:
            return None
        result = {"+": left + right, "-": left - right, "*": left * right, "/": left // right}[op]
        if result < 1:
            return None
        known[f"r{number}"] = result
        formula = f"{left}{op}{right}={result}"
        steps.append(Step(en=f"{english} {formula}", zh=f"{chinese}{formula}"))
    return steps, result
