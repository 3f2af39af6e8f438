"""From one row of a file to a prompt, or to the reason why not.

The language is the column's, or the script most of the question is written in; languages that share a script are not
told apart (Latin counts as English).
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping

from zero2r1.core.dialogue import last_boxed
from zero2r1.core.types import AnswerKind, Message, Prompt

QUESTION_COLUMNS = ("question", "prompt", "messages")
ROLES = ("system", "user", "assistant")
PLAIN_NUMBER = re.compile(r"[-+]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?(/\d+)?")
CHOICE_LETTER = re.compile(r"\(?[A-J]\)?")
SCRIPTS = (("HIRAGANA", "ja"), ("KATAKANA", "ja"), ("CJK", "zh"), ("HANGUL", "ko"), ("CYRILLIC", "ru"))


class RefusedRowError(ValueError):
    """This row cannot be a prompt. `reason` names the rule and never the value, so that rows can be counted by it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_prompt(values: Mapping[str, object], columns: Mapping[str, str], answer_kind: str) -> Prompt:
    """A prompt from the columns of one row.

    Args:
        values: the row, column name -> value.
        columns: expected name -> the file's name.
        answer_kind: an `AnswerKind` value or `auto`.

    Raises:
        RefusedRowError: with a reason, e.g. `null in 'answer'`.
    """
    messages = _messages(values, columns)
    answer = final_answer(_answer_text(values, columns.get("answer", "answer")))
    if not answer:
        raise RefusedRowError("no final answer in the solution")
    question = messages[-1].content
    return Prompt(
        messages=messages,
        reference=answer,
        gold=answer,
        answer_kind=kind_of(answer) if answer_kind == "auto" else AnswerKind(answer_kind),
        domain=_optional_text(values, columns, "domain") or "file",
        language=_language(values, columns) or detect_language(question),
        level=_level(values, columns),
    )


def final_answer(text: str) -> str:
    r"""The final answer of a solution: the last `\boxed{...}`, else what follows `####`, else the whole text."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed.strip()
    return text.rsplit("####", 1)[-1].strip()


def kind_of(answer: str) -> AnswerKind:
    """Number, choice (one letter A to J) or, for everything else, expression."""
    if PLAIN_NUMBER.fullmatch(answer):
        return AnswerKind.NUMBER
    return AnswerKind.CHOICE if CHOICE_LETTER.fullmatch(answer) else AnswerKind.EXPRESSION


def detect_language(text: str) -> str:
    """`zh`, `ja`, `ko`, `ru` or `en` by the script of most letters; kana decide for Japanese; no letters: `en`."""
    letters: Counter[str] = Counter()
    for character in text:
        if character.isascii():
            letters["en"] += character.isalpha()
            continue
        name = unicodedata.name(character, "")
        letters[next((language for script, language in SCRIPTS if name.startswith(script)), "")] += 1
    letters.pop("", None)
    if letters["ja"]:
        letters["ja"] += letters.pop("zh", 0)
    # A Chinese character says about as much as three Latin letters.
    weights = {language: count * (1 if language in ("en", "ru") else 3) for language, count in letters.items()}
    return max(weights, key=lambda language: weights[language]) if any(weights.values()) else "en"


def _messages(values: Mapping[str, object], columns: Mapping[str, str]) -> tuple[Message, ...]:
    for expected in QUESTION_COLUMNS:
        column = columns.get(expected, expected)
        if column not in values:
            continue
        value = values[column]
        if isinstance(value, list):
            return _turns(value, column)
        return (Message(role="user", content=_text(value, column)),)
    mapped = next((columns[expected] for expected in QUESTION_COLUMNS if expected in columns), "question")
    raise RefusedRowError(f"missing column '{mapped}'")


def _turns(value: list[object], column: str) -> tuple[Message, ...]:
    turns = []
    for turn in value:
        if not isinstance(turn, dict) or turn.get("role") not in ROLES:
            raise RefusedRowError(f"bad turn in '{column}'")
        turns.append(Message(role=turn["role"], content=_text(turn.get("content"), column)))
    while turns and turns[-1].role == "assistant":
        turns.pop()
    if not turns or turns[-1].role != "user":
        raise RefusedRowError(f"no user turn at the end of '{column}'")
    return tuple(turns)


def _text(value: object, column: str) -> str:
    if value is None:
        raise RefusedRowError(f"null in '{column}'")
    if not isinstance(value, str):
        raise RefusedRowError(f"wrong type in '{column}'")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RefusedRowError("not UTF-8")
    if not value.strip():
        raise RefusedRowError(f"empty '{column}'")
    return value.strip()


def _answer_text(values: Mapping[str, object], column: str) -> str:
    if column not in values:
        raise RefusedRowError(f"missing column '{column}'")
    value = values[column]
    if isinstance(value, bool):
        raise RefusedRowError(f"wrong type in '{column}'")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RefusedRowError(f"not a finite number in '{column}'")
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value) if isinstance(value, int) else _text(value, column)


def _optional_text(values: Mapping[str, object], columns: Mapping[str, str], expected: str) -> str:
    column = columns.get(expected, expected)
    # A CSV cannot say null; its empty field means the same.
    return "" if values.get(column) in (None, "") else _text(values[column], column)


def _language(values: Mapping[str, object], columns: Mapping[str, str]) -> str:
    code = _optional_text(values, columns, "language")
    if code and not re.fullmatch("[a-z]{2}", code):
        raise RefusedRowError(f"no two-letter code in '{columns.get('language', 'language')}'")
    return code


def _level(values: Mapping[str, object], columns: Mapping[str, str]) -> int:
    column = columns.get("level", "level")
    value = values.get(column)
    if value in (None, ""):
        return 1
    # A CSV holds text only.
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value[:9])
    if type(value) is not int or not 1 <= value <= 5:
        raise RefusedRowError(f"'{column}' is not 1 to 5")
    return value
