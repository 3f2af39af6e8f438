"""What a config model knows: its keys by dotted path, their docs, defaults and types.

Works on the annotations of pydantic models, through optional, union, list and mapping types. It feeds `config explain`
and the suggestions of error messages; it validates nothing.
"""

import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from zero2r1.core.document import value_at
from zero2r1.core.errors import ConfigError

REQUIRED = "(required)"
MAX_PATH_DEPTH = 8
MAX_LISTED_KEYS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldInfo:
    """One key of a config, as `config explain` shows it."""

    path: str
    """Dotted, e.g. `rl.kl_coef`; `*` stands for a name or a list index of one's own."""
    doc: str
    """The attribute docstring: meaning, unit, and where the default comes from."""
    default: str
    """As YAML writes it; `(required)` when there is none."""
    type: str
    """E.g. `int`, `list[str]`, `grpo | dapo`."""


def describe(model: type[BaseModel], path: str) -> FieldInfo:
    """Doc, default and type of one key.

    Raises:
        ConfigError: Z104 with a suggestion when the model has no such key.
    """
    place: list[str | int] = [int(part) if part.isdecimal() else part for part in path.split(".")]
    owners = [owner for owner in models_at(model, place[:-1]) if place[-1] in owner.model_fields]
    if owners:
        return _info(owners[0], str(place[-1]), path)
    entries = models_at(model, place)
    if entries:  # an item of a list, or an entry of a mapping with free names
        doc = _one_line(entries[0].__doc__)
        return FieldInfo(path=path, doc=doc, default=REQUIRED, type=" | ".join(entry.__name__ for entry in entries))
    suggestion = suggest(model, place)
    raise ConfigError(
        "Z104", f"no config key {path!r}", why=suggestion.text, fix="zero2r1 config explain lists all keys"
    )


def walk(model: type[BaseModel], prefix: str = "", depth: int = 0) -> Iterator[FieldInfo]:
    """Every key of a model and of the models inside it, depth first in the order they are written."""
    for name in model.model_fields:
        path = f"{prefix}{name}"
        yield _info(model, name, path)
        if depth < MAX_PATH_DEPTH:
            for inner, suffix in _inner_models(model.model_fields[name].annotation):
                yield from walk(inner, f"{path}{suffix}.", depth + 1)


def models_at(model: type[BaseModel], place: Sequence[str | int], data: object = None) -> list[type[BaseModel]]:
    """The models that may stand at a place of a document; several where a union is not told apart by the data."""
    candidates: list[object] = [model]
    for part in place:
        candidates = [inner for each in _fitting(candidates, data) for inner in _descend(each, part)]
        data = _child(data, part)
    return [each for each in _fitting(candidates, data) if isinstance(each, type) and issubclass(each, BaseModel)]


def known_key(model: type[BaseModel], place: Sequence[str | int], data: object = None) -> str:
    """Dotted path of the nearest key around a place that has a docstring; empty at the top."""
    for end in range(len(place), 0, -1):
        owners = models_at(model, place[: end - 1], data)
        if any(place[end - 1] in owner.model_fields for owner in owners):
            return ".".join(str(part) for part in place[:end])
    return ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What an unknown key was probably meant to be."""

    text: str
    """E.g. `did you mean 'kl_coef'?`; empty when nothing is near."""
    path: str = ""
    """Dotted path of the key that is meant, when there is one."""


def suggest(model: type[BaseModel], place: Sequence[str | int], data: object = None) -> Suggestion:
    """The nearest key at the same place, else a key of that very name elsewhere, else the keys that exist there."""
    *above, key = [str(part) for part in place]
    names = [name for owner in models_at(model, place[:-1], data) for name in owner.model_fields]
    close = difflib.get_close_matches(key.lower(), names, n=1, cutoff=0.6)
    if close:
        return Suggestion(f"did you mean {close[0]!r}?", ".".join((*above, close[0])))
    elsewhere = sorted((info.path for info in walk(model) if info.path.rpartition(".")[2] == key), key=len)
    if elsewhere:
        return Suggestion(f"it belongs elsewhere: {elsewhere[0]!r}", elsewhere[0])
    return Suggestion(f"the keys here: {', '.join(names)}" if 0 < len(names) <= MAX_LISTED_KEYS else "")


def type_name(annotation: object) -> str:
    """A type as a reader of YAML says it."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_name(each) for each in arguments)
    if origin is typing.Literal:
        return " | ".join(str(each) for each in arguments)
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and hasattr(annotation, "__members__"):
        return " | ".join(str(each.value) for each in annotation.__members__.values())
    if _is_mapping(origin):
        return f"mapping of {type_name(arguments[1])}"
    if _is_list(origin):
        return f"list of {type_name(arguments[0])}"
    return getattr(annotation, "__name__", str(annotation))


def _info(owner: type[BaseModel], name: str, path: str) -> FieldInfo:
    field = owner.model_fields[name]
    if field.is_required():
        default = REQUIRED
    else:
        value = field.get_default(call_default_factory=True, validated_data={})
        default = REQUIRED if value is PydanticUndefined else _shown(value)
    return FieldInfo(path=path, doc=_one_line(field.description), default=default, type=type_name(field.annotation))


def _shown(value: object) -> str:
    if isinstance(value, BaseModel):
        return "(see its keys)"
    if isinstance(value, str) and value:
        return str(value)
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _is_mapping(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_list(origin: object) -> bool:
    return isinstance(origin, type) and issubclass(origin, Sequence | set | frozenset) and origin is not str


def _flatten(candidates: Sequence[object]) -> list[object]:
    """Union members, without Annotated and None."""
    flat: list[object] = []
    for candidate in candidates:
        origin = typing.get_origin(candidate)
        if origin is typing.Annotated:
            flat += _flatten(typing.get_args(candidate)[:1])
        elif origin in (typing.Union, types.UnionType):
            flat += _flatten(typing.get_args(candidate))
        elif candidate is not type(None):
            flat.append(candidate)
    return flat


def _descend(candidate: object, part: str | int) -> list[object]:
    """The types behind one key or index of a type; empty when it has no such thing."""
    found: list[object] = []
    for each in _flatten([candidate]):
        origin, arguments = typing.get_origin(each), typing.get_args(each)
        if isinstance(each, type) and issubclass(each, BaseModel):
            if part in each.model_fields:
                found.append(each.model_fields[str(part)].annotation)
        elif _is_mapping(origin) and len(arguments) == 2:
            found.append(arguments[1])
        elif _is_list(origin) and isinstance(part, int):
            found.append(arguments[min(part, len(arguments) - 1)] if Ellipsis not in arguments else arguments[0])
    return found


def _fitting(candidates: Sequence[object], data: object) -> list[object]:
    """Union members laid open; where the data names one by a Literal field (`kind: sft`), only that one."""
    flat = _flatten(candidates)
    if len(flat) < 2 or not isinstance(data, Mapping):
        return flat
    return [each for each in flat if _may_be(each, data)] or flat


def _may_be(candidate: object, data: Mapping[str, object]) -> bool:
    if not (isinstance(candidate, type) and issubclass(candidate, BaseModel)):
        return True
    literals = {
        name: typing.get_args(field.annotation)
        for name, field in candidate.model_fields.items()
        if typing.get_origin(field.annotation) is typing.Literal
    }
    return all(name not in data or data[name] in values for name, values in literals.items())


def _child(data: object, part: str | int) -> object:
    try:
        return value_at(data, (part,))
    except KeyError:
        return None


def _inner_models(annotation: object) -> Iterator[tuple[type[BaseModel], str]]:
    for each in _flatten([annotation]):
        origin, arguments = typing.get_origin(each), typing.get_args(each)
        if isinstance(each, type) and issubclass(each, BaseModel):
            yield each, ""
        elif _is_mapping(origin) and len(arguments) == 2:
            yield from ((inner, f".*{suffix}") for inner, suffix in _inner_models(arguments[1]))
        elif _is_list(origin) and arguments:
            yield from ((inner, f".*{suffix}") for inner, suffix in _inner_models(arguments[0]))
