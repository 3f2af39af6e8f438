"""YAML as plain data, with the place of every key.

What is read is the plain-data part of YAML 1.2: `1e-6` is a number, `no` is text. Tags, aliases, merge keys, duplicate
keys and deep nesting are refused, each with its place: a file cannot name a Python object, and cannot grow when it is
expanded. One document a file.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from zero2r1.core.document import Document, Mark, Place, dotted, kind_of
from zero2r1.core.errors import ConfigError
from zero2r1.core.excerpt import excerpt

MAX_DEPTH = 32
MAX_BYTES = 1_000_000
TAG = "tag:yaml.org,2002:"
NO_ALIASES = "write the values out, or share them by 'extends:'"
PLAIN_DATA = "a recipe is plain data: remove the tag"


def load_yaml(path: Path | str) -> Document:
    """Read a YAML file as plain data with marks; an empty file is an empty mapping.

    Raises:
        ConfigError: Z100 no such file, Z101 not YAML, Z102 duplicate key, Z103 refused feature, Z111 not a mapping.
    """
    file = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ConfigError("Z100", f"cannot read the config file: {reason}", where=file, fix="check the path") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError("Z101", f"config file is larger than {MAX_BYTES} bytes", where=file, fix="is it a recipe?")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"config file is not UTF-8 text (byte {error.start})"
        raise ConfigError("Z101", what, where=file, fix="save it as UTF-8") from None
    data, marks = parse_yaml(text, file)
    lines = tuple(text.splitlines())
    if not isinstance(data, dict):
        what = f"a config is a mapping of keys, this is {kind_of(data)}"
        shown = excerpt(lines, 1, 1, len(lines[0]))
        raise ConfigError("Z111", what, where=f"{file}:1:1", excerpt=shown, fix="write lines of 'key: value'")
    return Document(data, marks, {file: lines})


def parse_yaml(text: str, file: str) -> tuple[object, dict[Place, Mark]]:
    """Plain data of a YAML text, and marks that name it `file`.

    Raises:
        ConfigError: as `load_yaml`.
    """
    reader = _Reader(file, tuple(text.splitlines()))
    composer = None
    try:
        composer = _Composer(text)
        node = composer.get_single_node()
    except _RefusedError as refused:
        raise reader.error("Z103", refused.what, refused.mark, fix=refused.fix) from None
    except yaml.MarkedYAMLError as error:
        problem = " ".join((error.problem or error.context or "unreadable").split())
        mark = error.problem_mark or error.context_mark
        raise reader.error("Z101", f"not YAML: {problem}", mark, fix=reader.remedy(error)) from None
    except yaml.YAMLError as error:  # the reader's: a character that no YAML text may hold
        what = f"not YAML: {str(error).splitlines()[0]}"
        raise ConfigError("Z101", what, where=file, fix="remove the character") from None
    finally:
        if composer is not None:
            composer.dispose()
    return ({} if node is None else reader.read(node, ())), reader.marks


class _RefusedError(Exception):
    """A YAML feature that recipes do without."""

    def __init__(self, what: str, mark: Any, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.mark = mark
        self.fix = fix


class _Composer(yaml.SafeLoader):
    """PyYAML's composer with the scalar rules of YAML 1.2's core schema, no tags, no aliases and a depth limit."""

    # A table of its own, looked up by first character: PyYAML's YAML 1.1 rules read `no` as false and `1e-6` as text.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            (f"{TAG}{kind}", re.compile(pattern))
            for kind, pattern, firsts in (
                ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
                ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
                ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
                ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
                ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
            )
            if first in firsts
        ]
        for first in ["", *"~nNtTfF-+.0123456789"]
    }
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _RefusedError("aliases (*name) are refused", event.start_mark, NO_ALIASES)
        tag = getattr(event, "tag", None)
        if tag is not None and tag != "!":
            raise _RefusedError(f"the tag {tag.replace(TAG, '!!')} is refused", event.start_mark, PLAIN_DATA)
        if self.depth == MAX_DEPTH:
            raise _RefusedError(f"more than {MAX_DEPTH} levels of nesting", event.start_mark, "write it flatter")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Turns YAML nodes into plain data, noting where each stood."""

    def __init__(self, file: str, lines: tuple[str, ...]) -> None:
        self.file = file
        self.lines = lines
        self.marks: dict[Place, Mark] = {(): Mark(file)}

    def read(self, node: yaml.Node, place: Place) -> object:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.marks[*place, index] = self._mark(item)
            return [self.read(item, (*place, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, object]:
        data: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error("Z101", "not YAML: a key is text, not a list or a mapping", key.start_mark)
            name: str = key.value
            if name == "<<" and key.style is None:
                raise self.error("Z103", "merge keys (<<) are refused", key.start_mark, width=2, fix=NO_ALIASES)
            if name in data:
                note = f"already set on line {self.marks[*place, name].line}"
                what = f"duplicate key {dotted((*place, name))!r}"
                width = len(name)
                raise self.error("Z102", what, key.start_mark, width=width, note=note, fix="keep one of the two")
            self.marks[*place, name] = self._mark(key, value)
            data[name] = self.read(value, (*place, name))
        return data

    def _scalar(self, node: yaml.Node) -> object:
        text: str = node.value
        match node.tag.removeprefix(TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                try:
                    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
                except ValueError:  # Python refuses to convert thousands of digits
                    raise self.error("Z101", "not YAML: a number with too many digits", node.start_mark) from None
            case "float":
                plain = text.lower().replace(".inf", "inf").replace(".nan", "nan")
                return math.nan if plain == "nan" else float(plain)
            case _:
                if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
                    raise self.error("Z101", "not YAML: half of a surrogate pair", node.start_mark)
                return text

    def _mark(self, node: yaml.Node, value: yaml.Node | None = None) -> Mark:
        line, column, width = _span(node)
        return Mark(self.file, line, column, width, None if value is None else _span(value))

    def error(
        self, code: str, what: str, mark: yaml.Mark | None, *, width: int = 1, note: str = "", fix: str = ""
    ) -> ConfigError:
        if mark is None:
            return ConfigError(code, what, where=self.file, fix=fix)
        line, column = mark.line + 1, mark.column + 1
        if line > len(self.lines) > 0:  # the scanner stands behind the last line when a text ends too early
            line, column = len(self.lines), len(self.lines[-1]) + 1
        shown = excerpt(self.lines, line, column, width, note)
        return ConfigError(code, what, where=f"{self.file}:{line}:{column}", excerpt=shown, fix=fix)

    def remedy(self, error: yaml.MarkedYAMLError) -> str:
        """What most often helps with one of PyYAML's complaints."""
        problem, mark = error.problem or "", error.problem_mark
        line = self.lines[mark.line] if mark is not None and mark.line < len(self.lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return "indent with spaces, not with tabs"
        remedies = {
            "mapping values are not allowed": "check the indentation here and above; quote a text that holds ': '",
            "could not find expected ':'": "write 'key: value', with a space behind the colon",
            "block end": "keys of one mapping start in the same column",
            "another document": "one document a file: remove the line '---'",
        }
        found = [fix for part, fix in remedies.items() if part in problem]
        return found[0] if found else "close the bracket or quote that is open, or quote the text"


def _span(node: yaml.Node) -> tuple[int, int, int]:
    """Line and column from 1, and the characters on that line (1 for a value of several lines)."""
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return start.line + 1, start.column + 1, max(width, 1)
