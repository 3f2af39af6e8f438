"""From a judge's reply to its verdict. Total: any text gives a verdict or an error with a reason, never a guess.

Only what carries the case's seal counts, so a verdict quoted from an answer decides nothing. Several sealed verdicts
count when they agree; where they do not, it is an error. Thinking of the judge is left out.

What is not here: asking (`record.py`) and what a verdict is worth (`correctness.py`, `preference.py`).
"""

import json
import re
from dataclasses import dataclass

from zero2r1.core.types import Verdict

MAX_REPLY_CHARS = 200_000
"""Ours: a longer reply is no reply of a judge."""
MAX_OBJECTS = 500
"""Ours: so many opening braces are tried, the last ones of a reply."""
MARKS = ("A>>B", "A>B", "A=B", "B>A", "B>>A")
ERROR = "error"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
BACKSLASH = re.compile(r'\\(\\|["/bfnrt]|u[0-9a-fA-F]{4})?')


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says."""

    verdict: str
    """`right`, `wrong`, one of the five marks, or `error`."""
    reason: str = ""
    """The judge's analysis in short, or why there is no verdict."""


def read_correctness(text: str, case: str) -> Reading:
    """`right`, `wrong` or `error` from a reply that ends in a JSON object.

    Args:
        text: the reply.
        case: the seal that the object must carry under `case`.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), Listing 4: the keys and the two values. How to read them: ours.
    """
    said = _said(text)
    if isinstance(said, Reading):
        return said
    complete = [found for found in _objects(said) if {"analysis", "correctness"} <= set(found)]
    if not complete:
        return Reading(ERROR, "the reply holds no JSON object with 'analysis' and 'correctness'")
    sealed = [found for found in complete if str(found.get("case", "")).strip().lower() == case]
    if not sealed:
        return Reading(ERROR, "no verdict of the reply carries the number of the case")
    values = {str(found["correctness"]).strip().lower() for found in sealed}
    if len(values) > 1:
        return Reading(ERROR, "the reply holds verdicts that contradict each other")
    verdict = {"correct": Verdict.RIGHT.value, "incorrect": Verdict.WRONG.value}.get(values.pop())
    if verdict is None:
        return Reading(ERROR, "the verdict is neither correct nor incorrect")
    return Reading(verdict, " ".join(str(sealed[-1]["analysis"]).split())[:300])


def read_preference(text: str, case: str) -> Reading:
    """One of the five marks, or `error`, from a reply that ends in `Verdict <case>: [[A>B]]`.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), B.2: the five marks, exactly one of them. How to read them: ours.
    """
    said = _said(text)
    if isinstance(said, Reading):
        return said
    found = {
        "".join(mark.upper().split())
        for place in re.finditer(rf"{re.escape(case)}[\s*_`:\"']{{0,20}}(\[\[[^\n]*)", said, re.IGNORECASE)
        for mark in re.findall(r"\[\[([^\[\]]{1,40})\]\]", place.group(1))
    }
    if not found:
        is_unsealed = any(f"[[{mark}]]" in said for mark in MARKS)
        where = "no mark stands behind the number of the case" if is_unsealed else "the reply holds no mark"
        return Reading(ERROR, where)
    if len(found) > 1:
        return Reading(ERROR, "the reply holds verdicts that contradict each other")
    mark = found.pop()
    return Reading(mark) if mark in MARKS else Reading(ERROR, f"{mark[:8]!r} is none of the five marks")


def _said(text: str) -> str | Reading:
    """The reply without its thinking, or the error it is."""
    if len(text) > MAX_REPLY_CHARS:
        return Reading(ERROR, f"the reply is longer than {MAX_REPLY_CHARS} characters")
    end = text.rfind(THINK_CLOSE)
    said = text if end < 0 else text[end + len(THINK_CLOSE) :]
    if THINK_OPEN in said:
        return Reading(ERROR, "the judge's thinking never ends")
    return said if said.strip() else Reading(ERROR, "the reply is empty")


def _objects(text: str) -> list[dict[str, object]]:
    """The JSON objects of a text, in order. Objects inside an object without the two keys are looked at as well."""
    repaired = BACKSLASH.sub(lambda match: match.group() if match.group(1) else "\\\\", text)
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_without_doubt)
    starts = [match.start() for match in re.finditer(r'\{\s*"', repaired)][-MAX_OBJECTS:]
    found: list[dict[str, object]] = []
    behind = 0
    for start in starts:
        if start < behind:
            continue
        try:
            value, end = decoder.raw_decode(repaired, start)
        except (ValueError, RecursionError):
            continue
        found.append(value)
        if {"analysis", "correctness"} <= set(value):
            behind = end
    return found


def _without_doubt(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; a key that is given twice with two values has neither."""
    seen: dict[str, object] = {}
    for name, value in pairs:
        seen[name] = value if seen.get(name, value) == value else None
    return seen
