"""Overrides from the command line: `a.b=value`, the value in YAML.

List items are named by number (`stages.0.steps=5`), keys that hold a dot are quoted (`custom."my.py::f"=1`). Mappings
are merged, anything else is replaced. There is no way to remove a key; null is a value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from zero2r1.core.document import Document, Mark, Place, dotted, kind_of
from zero2r1.core.errors import ConfigError
from zero2r1.core.yaml_reader import parse_yaml

SEGMENT = r'(?:"[^"]+"|[^\s."=]+)'
OVERRIDE = re.compile(rf"({SEGMENT}(?:\.{SEGMENT})*)=(.*)", re.DOTALL)
SYNTAX = "write key.key=value without spaces, e.g. rl.steps=30"


def deep_merge(base: Mapping[str, object], child: Mapping[str, object]) -> dict[str, object]:
    """Both mappings in one, nested ones key by key; where both say something the child wins.

    Lists are values: the child's replaces the base's. The arguments stay as they are.
    """
    merged = dict(base)
    for name, value in child.items():
        ours = merged.get(name)
        both = isinstance(ours, Mapping) and isinstance(value, Mapping)
        merged[name] = deep_merge(ours, value) if both else value  # type: ignore[arg-type]
    return merged


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """A document with overrides applied in order; what they set is marked as theirs.

    Raises:
        ConfigError: Z107.
    """
    for text in overrides:
        path, value = parse_override(text)
        mark = Mark(f"override '{text}'")
        data, place = _set(document.data, path, value, (), mark)
        marks = dict(document.marks)
        for length in range(1, len(place)):
            marks.setdefault(place[:length], mark)  # a mapping on the way keeps its place in the file
        marks.update(((*place, *inner), mark) for inner in _places(value))
        document = Document(data, marks, document.lines)  # type: ignore[arg-type]
    return document


def parse_override(text: str) -> tuple[tuple[str, ...], object]:
    """Split `a.b=value` into its path and its value.

    Raises:
        ConfigError: Z107.
    """
    match = OVERRIDE.fullmatch(text)
    if match is None or text.startswith("-"):
        bare = text.lstrip("-")
        fix = f"write it without dashes: {bare}" if text.startswith("-") and "=" in bare else SYNTAX
        raise ConfigError("Z107", f"not an override: {text!r}", where="command line", fix=fix)
    path = [part.strip('"') for part in re.findall(SEGMENT, match[1])]
    written = match[2]
    if not written.strip():
        return tuple(path), None
    try:
        value, _ = parse_yaml(written, f"override '{text}'")
    except ConfigError as error:
        fix = "quote the value once for the shell and once for YAML, e.g. key='\"a: b\"'"
        raise ConfigError("Z107", f"value is {error.what}", where=f"override '{text}'", fix=fix) from None
    return tuple(path), value


def _set(data: object, path: Sequence[str], value: object, above: Place, mark: Mark) -> tuple[object, Place]:
    """`data` with `value` at `path` (nothing changed in place), and the path with list indices as numbers."""
    if not path:
        both = isinstance(data, dict) and isinstance(value, dict)
        return (deep_merge(data, value) if both else value), above  # type: ignore[arg-type]
    part, rest = path[0], path[1:]
    if data is None or isinstance(data, dict):
        ours = data or {}
        inner, place = _set(ours.get(part), rest, value, (*above, part), mark)
        return {**ours, part: inner}, place
    if isinstance(data, list) and part.isdecimal() and int(part) < len(data):
        index = int(part)
        inner, place = _set(data[index], rest, value, (*above, index), mark)
        return [*data[:index], inner, *data[index + 1 :]], place
    if isinstance(data, list):
        what = f"{dotted(above)!r} is a list of {len(data)}, it has no item {part!r}"
        fix = f"items are numbered 0 to {len(data) - 1}" if data else f"give the whole list: {dotted(above)}=[...]"
    else:
        what = f"{dotted(above)!r} is {kind_of(data)}, it has no key {part!r}"
        fix = f"see: zero2r1 config explain {dotted(above)}"
    raise ConfigError("Z107", what, where=str(mark), fix=fix)


def _places(value: object) -> Iterator[Place]:
    """Every place inside a value, itself first."""
    yield ()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from ((name, *place) for place in _places(inner))
