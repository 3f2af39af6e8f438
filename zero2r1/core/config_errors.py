"""From pydantic's list of problems to one message in the user's terms, with place and suggestion."""

import difflib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zero2r1.core.document import Document, Mark, Place, dotted, kind_of, value_at
from zero2r1.core.errors import ConfigError, UserError
from zero2r1.core.fields import known_key, suggest

MAPPING = "a mapping (lines of 'key: value')"
EXPECTED: Mapping[str, str] = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen": "a list",
    "dict": MAPPING,
    "mapping": MAPPING,
    "model": MAPPING,
    "dataclass": MAPPING,
    "none": "null",
}
"""By the first word of pydantic's error type (`int_type`, `int_parsing`, `int_from_float`, ...)."""
COMPARED: Mapping[str, tuple[str, str]] = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong, told for the user."""

    code: str
    name: str
    """Dotted place of the key that is wrong, missing or unknown."""
    what: str
    mark: Mark | None
    note: str = ""
    """Said at the caret."""
    fix: str = ""


def config_error(model: type[BaseModel], document: Document, error: ValidationError) -> ConfigError:
    """All problems in one error, overrides first, then in the order of the file: one with its lines, the rest short."""
    reader = _Reader(model, document)
    found = [reader.problem(detail) for detail in error.errors(include_url=False)]
    # One mistake can be met at several places (a section that several stages inherit): told once, at the shortest.
    found.sort(key=lambda problem: len(problem.name), reverse=True)
    once = {(problem.code, problem.mark, problem.name.rpartition(".")[2]): problem for problem in found}
    ranks = {file: rank for rank, file in enumerate(reversed(tuple(document.lines)))}
    first, *rest = sorted(once.values(), key=lambda problem: _position(problem, ranks))
    shown = document.excerpt(first.mark, first.note)
    why = [first.note] if first.note and not shown else []
    why += [f"also {each.code} {each.what}   {each.mark or ''}".rstrip() for each in rest]
    where = str(first.mark or "")
    return ConfigError(first.code, first.what, where=where, excerpt=shown, why="\n".join(why), fix=first.fix)


def _position(problem: Problem, ranks: Mapping[str, int]) -> tuple[int, int, int, str]:
    mark = problem.mark or Mark("")
    # A missing key has no line: behind the unknown key that was probably meant to be it.
    return (ranks.get(mark.file, -1), mark.line or sys.maxsize, mark.column, problem.name)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one of pydantic's problems as a `Problem` of a document."""

    model: type[BaseModel]
    document: Document

    def problem(self, detail: ErrorDetails) -> Problem:
        place, rest = self._existing(detail["loc"])
        context: dict[str, Any] = detail.get("ctx", {})
        match detail["type"]:
            case "extra_forbidden":
                return self._unknown(place)
            case "missing":
                return self._missing(place, str(rest[-1]))
            case "union_tag_not_found":
                return self._missing(place, str(context["discriminator"]).strip("'"))
            case "value_error" | "assertion_error":
                return self._refused(place, context["error"])
            case "union_tag_invalid":
                tag = str(context["discriminator"]).strip("'")
                return self._wrong((*place, tag), *_one_of(context["tag"], context["expected_tags"]))
            case "literal_error" | "enum":
                return self._wrong(place, *_one_of(detail["input"], context["expected"]))
            case kind if kind in COMPARED:
                limit, words = COMPARED[kind]
                return self._wrong(place, f"must be {words} {context[limit]}")
            case kind if kind.partition("_")[0] in EXPECTED:
                return self._wrong(place, f"must be {EXPECTED[kind.partition('_')[0]]}")
            case _:
                return self._wrong(place, f"is refused ({detail['msg']})")

    def _existing(self, location: tuple[int | str, ...]) -> tuple[Place, list[int | str]]:
        """The part of pydantic's place that the document has, and what it has not (union tags, missing keys)."""
        place: Place = ()
        rest: list[int | str] = []
        for part in location:
            try:
                value_at(self.document.data, (*place, part))
            except KeyError:
                rest.append(part)
            else:
                place = (*place, part)
        return place, rest

    def _unknown(self, place: Place) -> Problem:
        name = dotted(place)
        suggestion = suggest(self.model, place, self.document.data)
        look_up = suggestion.path or known_key(self.model, place, self.document.data)
        return Problem(
            code="Z104",
            name=name,
            what=f"unknown key {name!r}",
            mark=self.document.mark(place),
            note=suggestion.text,
            fix=f"rename or remove the key, or see: zero2r1 config explain {look_up}".rstrip(),
        )

    def _missing(self, place: Place, key: str) -> Problem:
        name = dotted((*place, key))
        return Problem(
            code="Z106",
            name=name,
            what=f"missing key {name!r}",
            mark=self.document.mark(place),
            note=f"needs the key {key!r}" if place else "",
            fix=f"set it: {name}=..., or see: zero2r1 config explain {name}",
        )

    def _refused(self, place: Place, cause: Exception) -> Problem:
        """A validator of ours said no: its words, at the value or, for several keys together, at their mapping."""
        mark = self.document.mark(place)
        is_value = bool(place) and not isinstance(value_at(self.document.data, place), dict)
        text = cause.what if isinstance(cause, UserError) else str(cause)
        fix = cause.fix if isinstance(cause, UserError) else ""
        return Problem(
            code="Z105" if is_value else "Z110",
            name=dotted(place),
            what=f"'{dotted(place)}': {text}" if place else text,
            mark=mark.at_value() if mark is not None and is_value else mark,
            fix=fix or self._explain(place),
        )

    def _wrong(self, place: Place, claim: str, note: str = "") -> Problem:
        mark = self.document.mark(place)
        return Problem(
            code="Z105",
            name=dotted(place),
            what=f"'{dotted(place)}' {claim}, got {kind_of(value_at(self.document.data, place))}",
            mark=None if mark is None else mark.at_value(),
            note=note,
            fix=self._explain(place),
        )

    def _explain(self, place: Place) -> str:
        return f"see: zero2r1 config explain {known_key(self.model, place, self.document.data)}".rstrip()


def _one_of(given: object, expected: str) -> tuple[str, str]:
    """From what pydantic lists as `'a', 'b' or 'c'`: our claim, and the entry nearest to what was given."""
    choices = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(str(given), choices, n=1)
    return f"must be one of {', '.join(choices) or expected}", f"did you mean {near[0]!r}?" if near else ""
