"""Plain data with a memory: where each key and value of a config was written.

A `Document` is what a YAML file becomes (`core/yaml_reader.py`), what files are merged into (`core/config.py`) and
what error messages point into (`core/config_errors.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from zero2r1.core.excerpt import excerpt

Place = tuple[str | int, ...]
"""Place inside a document: keys and list indices from the top; () is the document itself."""

SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a key stands, and where its value does. Lines and columns count from 1.

    Line 0 means that `file` says all there is to say: an override, or a file as a whole.
    """

    file: str
    line: int = 0
    column: int = 0
    width: int = 1
    """Characters to underline."""
    value: tuple[int, int, int] | None = None
    """Line, column and width of the value; None where it is not another place."""

    def at_value(self) -> "Mark":
        """The mark of the value instead of the key."""
        if self.value is None:
            return self
        line, column, width = self.value
        return replace(self, line=line, column=column, width=width, value=None)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data (mappings, lists, text, numbers, true/false, null) and the marks of its pieces."""

    data: dict[str, object]
    marks: Mapping[Place, Mark] = field(default_factory=dict)
    """By place; a mark may speak of a place that a merge has removed."""
    lines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Source lines by file, for excerpts; the file read last is the one that was asked for."""

    def mark(self, place: Place) -> Mark | None:
        """The mark of a place, or of the nearest place around it that has one."""
        while place not in self.marks:
            if not place:
                return None
            place = place[:-1]
        return self.marks[place]

    def excerpt(self, mark: Mark | None, note: str = "") -> str:
        """Source lines at a mark with a caret; empty when there is nothing to show."""
        if mark is None or not mark.line or mark.file not in self.lines:
            return ""
        return excerpt(self.lines[mark.file], mark.line, mark.column, mark.width, note)


def dotted(place: Place) -> str:
    """A place as overrides write it: `stages.0.steps`; keys that hold a dot are quoted."""
    return ".".join(f'"{part}"' if isinstance(part, str) and "." in part else str(part) for part in place)


def value_at(data: object, place: Place) -> object:
    """The value at a place; KeyError where there is none."""
    for part in place:
        match data:
            case dict() if part in data:
                data = data[part]
            case list() if isinstance(part, int) and 0 <= part < len(data):
                data = data[part]
            case _:
                raise KeyError(part)
    return data


def kind_of(value: object) -> str:
    """What a plain value is called in messages."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 3] + '...'!r}"
        case list():
            return "a list"
        case _:
            return "a mapping"
