"""Config: inheritance, overrides, strict types, hashes, and what the models say of their keys."""

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from zero2r1.core.config import (
    Document,
    FieldInfo,
    Strict,
    apply_overrides,
    config_hash,
    deep_merge,
    describe,
    load,
    parse_override,
    validate,
    walk,
)
from zero2r1.core.errors import ConfigError


class Part(Strict):
    lr: float = Field(default=3e-6, gt=0)
    """Learning rate, per update.  Source: the paper's
    training configuration."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Adam's."""


class Whole(Strict):
    """A recipe."""

    name: str
    """Its name."""
    part: Part = Part()
    """A part."""
    many: dict[str, Part] = Field(default={})
    """By name."""
    listed: tuple[Part, ...] = ()
    """In order."""
    folder: Path | None = None
    """Where."""
    mode: Literal["a", "b"] = "a"
    """Which."""


def beside(name: str, child: Path) -> Path:
    return child.parent / f"{name}.yaml"


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def test_a_config_is_read_with_its_types(tmp_path):
    write(tmp_path, my="name: x\npart: {lr: 1e-6, betas: [1, 0.5]}\nfolder: a/b\nlisted: [{}, {lr: 2}]\nmode: b\n")
    config = validate(Whole, load(tmp_path / "my.yaml", resolve_base=beside))
    assert config.part == Part(lr=1e-6, betas=(1.0, 0.5))
    assert isinstance(config.part.betas[0], float)
    assert config.folder == Path("a/b")
    assert config.listed == (Part(), Part(lr=2.0))
    assert config.mode == "b"


def test_configs_are_frozen_and_strict_in_python_too():
    with pytest.raises(ValidationError, match="frozen"):
        Part().lr = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="extra"):
        Part(lrr=1.0)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="finite"):
        Part(lr=float("inf"))


def test_defaults_have_the_type_they_claim():
    class Sloppy(Strict):
        rate: float = 1
        """A whole number was written where a float is meant."""

    assert isinstance(Sloppy().rate, float)


def test_a_child_extends_its_base_and_wins(tmp_path):
    write(tmp_path, base="name: base\npart: {lr: 0.5, betas: [0.1, 0.2]}\nlisted: [{lr: 1}, {lr: 2}]\n")
    write(tmp_path, my="extends: base\npart: {lr: 0.25}\nlisted: [{lr: 3}]\n")
    document = load(tmp_path / "my.yaml", resolve_base=beside)
    assert document.data == {
        "name": "base",
        "part": {"lr": 0.25, "betas": [0.1, 0.2]},
        "listed": [{"lr": 3}],
    }
    assert str(document.marks["part", "lr"]) == f"{tmp_path}/my.yaml:2:8"
    assert str(document.marks["part", "betas"]) == f"{tmp_path}/base.yaml:2:17"


def test_of_several_bases_the_later_wins(tmp_path):
    write(tmp_path, one="name: one\nmode: b\n", two="name: two\n", my="extends: [one, two]\n")
    assert load(tmp_path / "my.yaml", resolve_base=beside).data == {"name": "two", "mode": "b"}


def test_two_paths_to_the_same_base_are_no_circle(tmp_path):
    write(tmp_path, top="name: top\n", one="extends: top\n", two="extends: top\n", my="extends: [one, two]\n")
    assert load(tmp_path / "my.yaml", resolve_base=beside).data == {"name": "top"}


def test_a_circle_is_told_with_its_links(tmp_path):
    write(tmp_path, my="extends: other\n", other="name: x\nextends: third\n", third="extends: other\n")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "my.yaml", resolve_base=beside)
    assert str(raised.value).replace(f"{tmp_path}/", "") == (
        "error Z108 'extends' goes round in a circle   third.yaml:1:10\n"
        "    1 │ extends: other\n"
        "      │          ^^^^^\n"
        "  other.yaml -> third.yaml -> other.yaml\n"
        "  fix: remove one of the links"
    )


def test_a_base_that_is_not_there_is_told_with_its_place(tmp_path):
    write(tmp_path, my="name: x\nextends: nope\n")
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "my.yaml", resolve_base=beside)
    assert str(raised.value).replace(f"{tmp_path}/", "") == (
        "error Z109 no config 'nope' to extend   my.yaml:2:10\n"
        "    1 │ name: x\n"
        "    2 │ extends: nope\n"
        "      │          ^^^^\n"
        "  looked for nope.yaml\n"
        "  fix: name a file beside this one, or one of: zero2r1 recipes ls"
    )


@pytest.mark.parametrize("value", ["5", "{a: 1}", "[a, 3]", "''", "null"])
def test_extends_takes_names(tmp_path, value):
    write(tmp_path, my=f"extends: {value}\n", a="name: a\n")
    with pytest.raises(ConfigError, match="Z105 'extends' names a config, got"):
        load(tmp_path / "my.yaml", resolve_base=beside)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a=1", ("a",), 1),
        ("a.b=1e-6", ("a", "b"), 1e-6),
        ("a.0.b=[x, y]", ("a", "0", "b"), ["x", "y"]),
        ("a={b: {c: true}}", ("a",), {"b": {"c": True}}),
        ("a=", ("a",), None),
        ("a='1'", ("a",), "1"),
        ("a=b=c", ("a",), "b=c"),
        ('reward."my.py::f"=0.5', ("reward", "my.py::f"), 0.5),
    ],
)
def test_overrides_are_paths_and_yaml_values(text, path, value):
    assert parse_override(text) == (path, value)


OVERRIDE_ERRORS = {
    "rl.steps": "Z107 not an override: 'rl.steps'   command line\n  fix: write key.key=value without spaces",
    "=3": "Z107 not an override: '=3'",
    "": "Z107 not an override: ''",
    "rl..steps=3": "Z107 not an override: 'rl..steps=3'",
    "rl.=3": "Z107 not an override",
    "rl steps=3": "Z107 not an override",
    "--rl.steps=3": "fix: write it without dashes: rl.steps=3",
    "name=[1": "Z107 value is not YAML: expected ',' or ']', but got '<stream end>'   override 'name=[1'",
    "name=!!int 3": "Z107 value is the tag !!int is refused",
    "name.x=1": "Z107 'name' is the text 'x', it has no key 'x'   override 'name.x=1'",
    "listed.2.lr=1": "Z107 'listed' is a list of 1, it has no item '2'   override 'listed.2.lr=1'\n  fix: items are "
    "numbered 0 to 0",
    "listed.x=1": "Z107 'listed' is a list of 1, it has no item 'x'",
}


@pytest.mark.parametrize("text", OVERRIDE_ERRORS)
def test_a_bad_override_is_explained(text):
    with pytest.raises(ConfigError) as raised:
        apply_overrides(Document({"name": "x", "listed": [{"lr": 3}]}), [text])
    assert OVERRIDE_ERRORS[text] in str(raised.value)


def test_overrides_are_applied_in_order_and_merge_mappings():
    document = Document({"part": {"lr": 1, "betas": [1, 2]}, "listed": [{"lr": 1}, {"lr": 2}]})
    overridden = apply_overrides(
        document, ["part={lr: 2}", "part.lr=3", "listed.1.lr=9", "many.new.lr=4", "part.betas=[5, 6]"]
    )
    assert overridden.data == {
        "part": {"lr": 3, "betas": [5, 6]},
        "listed": [{"lr": 1}, {"lr": 9}],
        "many": {"new": {"lr": 4}},
    }
    assert str(overridden.marks["listed", 1, "lr"]) == "override 'listed.1.lr=9'"
    assert str(overridden.mark(("many", "new"))) == "override 'many.new.lr=4'"
    assert str(overridden.marks["part", "betas", 0]) == "override 'part.betas=[5, 6]'"
    assert document.data == {"part": {"lr": 1, "betas": [1, 2]}, "listed": [{"lr": 1}, {"lr": 2}]}


TREES = st.dictionaries(
    st.sampled_from("abc"),
    st.integers() | st.lists(st.integers(), max_size=2) | st.dictionaries(st.sampled_from("xy"), st.integers()),
    max_size=3,
)
LEAVES = st.fixed_dictionaries({}, optional={"x": st.integers(), "y": st.lists(st.integers(), max_size=2)})
ALIKE = st.fixed_dictionaries({}, optional={"a": LEAVES, "b": LEAVES, "c": st.integers()})


@given(TREES, TREES)
@settings(max_examples=50, deadline=None)
def test_merging_keeps_all_keys_lets_the_child_win_and_changes_no_argument(base, child):
    before = repr((base, child))
    merged = deep_merge(base, child)
    assert merged.keys() == base.keys() | child.keys()
    for name, value in child.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            assert merged[name] == {**base[name], **value}
        else:
            assert merged[name] == value
    assert all(merged[name] == base[name] for name in base.keys() - child.keys())
    assert deep_merge(base, {}) == deep_merge({}, base) == deep_merge(base, base) == base
    assert deep_merge(merged, child) == merged
    assert repr((base, child)) == before


@given(ALIKE, ALIKE, ALIKE)
@settings(max_examples=50, deadline=None)
def test_merging_three_configs_of_one_shape_takes_brackets_either_way(a, b, c):
    assert deep_merge(deep_merge(a, b), c) == deep_merge(a, deep_merge(b, c))


def test_the_hash_of_a_config_is_over_values_and_not_over_how_they_were_written():
    assert config_hash(Whole(name="x")) == config_hash(Whole(name="x", part=Part(lr=3e-6), mode="a"))
    assert config_hash(Whole(name="x")) != config_hash(Whole(name="x", mode="b"))
    assert len(config_hash(Part())) == 16


def test_a_key_is_described_by_its_docstring_default_and_type():
    assert describe(Whole, "part.lr") == FieldInfo(
        path="part.lr",
        doc="Learning rate, per update. Source: the paper's training configuration.",
        default="3e-06",
        type="float",
    )
    assert describe(Whole, "name").default == "(required)"
    assert describe(Whole, "many.any.lr").doc == describe(Whole, "listed.3.lr").doc == describe(Whole, "part.lr").doc
    assert describe(Whole, "mode").type == "a | b"
    assert describe(Whole, "folder") == FieldInfo(path="folder", doc="Where.", default="null", type="Path | null")
    assert describe(Whole, "many.any").type == "Part"


def test_describing_an_unknown_key_suggests_one():
    with pytest.raises(ConfigError, match=r"(?s)Z104 no config key 'part.lrr'.*did you mean 'lr'\?"):
        describe(Whole, "part.lrr")


def test_walking_lists_every_key_once_in_order():
    assert [info.path for info in walk(Whole)] == [
        "name",
        "part",
        "part.lr",
        "part.betas",
        "many",
        "many.*.lr",
        "many.*.betas",
        "listed",
        "listed.*.lr",
        "listed.*.betas",
        "folder",
        "mode",
    ]
