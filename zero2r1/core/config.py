"""Config: YAML files with inheritance and overrides, checked against pydantic models, errors with their place.

A config model is a class `XConfig(Strict)` beside the code that uses it, one docstring a field. A file may say
`extends: other` (or a list of them, later ones win): mappings are merged, the child wins, lists are replaced. The
command line may say `a.b=c`. Every key is checked and every problem is reported with file, line and column.

What is not here: environment variables, interpolation, includes inside a file. A resolved config is plain data.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from zero2r1.core.config_errors import config_error
from zero2r1.core.document import Document, Mark, kind_of
from zero2r1.core.errors import ConfigError
from zero2r1.core.fields import FieldInfo, describe, walk
from zero2r1.core.overrides import apply_overrides, deep_merge, parse_override
from zero2r1.core.types import content_id
from zero2r1.core.yaml_reader import load_yaml

__all__ = [
    "Document",
    "FieldInfo",
    "Mark",
    "Strict",
    "apply_overrides",
    "config_hash",
    "deep_merge",
    "describe",
    "load",
    "load_yaml",
    "parse_override",
    "validate",
    "walk",
]

Model = TypeVar("Model", bound=BaseModel)

EXTENDS = "extends"


class Strict(BaseModel):
    """Base of every config: unknown keys are errors, objects never change, numbers are finite."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )


def load(path: Path | str, overrides: Sequence[str] = (), *, resolve_base: Callable[[str, Path], Path]) -> Document:
    """Read a config file with everything it extends, then apply overrides in order.

    Args:
        path: the file.
        overrides: texts `a.b=value`, the value in YAML.
        resolve_base: the file meant by the name behind `extends:` in a given file; it may raise a ConfigError itself.

    Raises:
        ConfigError: what `load_yaml` raises; Z105 `extends` is no name, Z107 bad override, Z108 a circle of
            `extends`, Z109 base not found.
    """
    return apply_overrides(_with_bases(Path(path), (), resolve_base), overrides)


def validate(model: type[Model], document: Document) -> Model:
    """The config object that a document describes.

    Types are taken strictly: a text is no number, true is no integer; a whole number is a float where one is wanted.

    Raises:
        ConfigError: the first problem in detail with its place, all others in a line each.
    """
    try:
        # JSON mode, because strict Python mode would want tuples and enum members, which YAML has not.
        return model.model_validate_json(json.dumps(document.data), strict=True)
    except ValidationError as error:
        raise config_error(model, document, error) from None


def config_hash(config: BaseModel) -> str:
    """Identity of a config: content hash over every value, defaults included. 16 hex digits."""
    return content_id(config.model_dump(mode="json"))


def _with_bases(path: Path, below: tuple[Path, ...], resolve_base: Callable[[str, Path], Path]) -> Document:
    document = load_yaml(path)
    if EXTENDS not in document.data:
        return document
    chain = (*below, path.resolve())
    bases = document.data[EXTENDS]
    merged = Document({})
    for name in bases if isinstance(bases, list) else [bases]:
        if not isinstance(name, str) or not name:
            raise _extends_error("Z105", f"'extends' names a config, got {kind_of(name)}", document)
        base = Path(resolve_base(name, path))
        if not base.is_file():
            raise _extends_error("Z109", f"no config {name!r} to extend", document, why=f"looked for {base}")
        if base.resolve() in chain:
            circle = [each.name for each in (*chain[chain.index(base.resolve()) :], base)]
            raise _extends_error("Z108", "'extends' goes round in a circle", document, why=" -> ".join(circle))
        merged = _merge(merged, _with_bases(base, chain, resolve_base))
    own = {name: value for name, value in document.data.items() if name != EXTENDS}
    return _merge(merged, replace(document, data=own))


def _extends_error(code: str, what: str, document: Document, *, why: str = "") -> ConfigError:
    fixes = {"Z108": "remove one of the links", "Z105": "extends: name, or extends: [name, name]"}
    fix = fixes.get(code, "name a file beside this one, or one of: zero2r1 recipes ls")
    key = document.mark((EXTENDS,))
    mark = None if key is None else key.at_value()
    return ConfigError(code, what, where=str(mark or ""), excerpt=document.excerpt(mark), why=why, fix=fix)


def _merge(base: Document, child: Document) -> Document:
    # Marks of what the child replaced stay in the table; nothing looks them up, for their places are gone.
    return Document(deep_merge(base.data, child.data), {**base.marks, **child.marks}, {**base.lines, **child.lines})
