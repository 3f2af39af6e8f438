"""YAML as plain data: what is read, what is refused, and where it says so."""

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.document import Mark
from zero2r1.core.errors import ConfigError
from zero2r1.core.yaml_reader import load_yaml, parse_yaml

GOLDEN: dict[str, tuple[str, str]] = {
    "duplicate key": (
        "rl:\n  steps: 1\n  lr: 2\n  steps: 3\n",
        """\
error Z102 duplicate key 'rl.steps'   my.yaml:4:3
    3 │   lr: 2
    4 │   steps: 3
      │   ^^^^^ already set on line 2
  fix: keep one of the two""",
    ),
    "tab": (
        "rl:\n\tsteps: 3\n",
        """\
error Z101 not YAML: found character '\\t' that cannot start any token   my.yaml:2:1
    1 │ rl:
    2 │  steps: 3
      │ ^
  fix: indent with spaces, not with tabs""",
    ),
    "indentation": (
        "rl:\n  steps: 3\n lr: 2\n",
        """\
error Z101 not YAML: expected <block end>, but found '<block mapping start>'   my.yaml:3:2
    2 │   steps: 3
    3 │  lr: 2
      │  ^
  fix: keys of one mapping start in the same column""",
    ),
    "colon in a text": (
        "name: a: b\n",
        """\
error Z101 not YAML: mapping values are not allowed here   my.yaml:1:8
    1 │ name: a: b
      │        ^
  fix: check the indentation here and above; quote a text that holds ': '""",
    ),
    "open bracket": (
        "a: [1, 2\n",
        """\
error Z101 not YAML: expected ',' or ']', but got '<stream end>'   my.yaml:1:9
    1 │ a: [1, 2
      │         ^
  fix: close the bracket or quote that is open, or quote the text""",
    ),
    "tag": (
        "a: !!python/object/apply:os.system [echo]\n",
        """\
error Z103 the tag !!python/object/apply:os.system is refused   my.yaml:1:4
    1 │ a: !!python/object/apply:os.system [echo]
      │    ^
  fix: a recipe is plain data: remove the tag""",
    ),
    "harmless tag": (
        "a: !!int 3\n",
        """\
error Z103 the tag !!int is refused   my.yaml:1:4
    1 │ a: !!int 3
      │    ^
  fix: a recipe is plain data: remove the tag""",
    ),
    "alias": (
        "a: &x 1\nb: *x\n",
        """\
error Z103 aliases (*name) are refused   my.yaml:2:4
    1 │ a: &x 1
    2 │ b: *x
      │    ^
  fix: write the values out, or share them by 'extends:'""",
    ),
    "merge key": (
        "a:\n  <<: {b: 1}\n",
        """\
error Z103 merge keys (<<) are refused   my.yaml:2:3
    1 │ a:
    2 │   <<: {b: 1}
      │   ^^
  fix: write the values out, or share them by 'extends:'""",
    ),
    "two documents": (
        "a: 1\n---\nb: 2\n",
        """\
error Z101 not YAML: but found another document   my.yaml:2:1
    1 │ a: 1
    2 │ ---
      │ ^
  fix: one document a file: remove the line '---'""",
    ),
    "a list": (
        "- a\n- b\n",
        """\
error Z111 a config is a mapping of keys, this is a list   my.yaml:1:1
    1 │ - a
      │ ^^^
  fix: write lines of 'key: value'""",
    ),
    "a key that is a list": (
        "[a, b]: 1\n",
        """\
error Z101 not YAML: a key is text, not a list or a mapping   my.yaml:1:1
    1 │ [a, b]: 1
      │ ^""",
    ),
    "a control character": (
        "a: \x00\n",
        "error Z101 not YAML: unacceptable character #x0000: special characters are not allowed   my.yaml\n"
        "  fix: remove the character",
    ),
    "half a surrogate pair": (
        'a: "\\ud800"\n',
        """\
error Z101 not YAML: half of a surrogate pair   my.yaml:1:4
    1 │ a: "\\ud800"
      │    ^""",
    ),
}


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load_yaml(path)
    return str(raised.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("case", GOLDEN)
def test_a_text_that_is_no_recipe_is_explained(tmp_path, case):
    text, expected = GOLDEN[case]
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    assert complaint(tmp_path / "my.yaml") == expected


def test_a_file_that_cannot_be_read_is_explained(tmp_path):
    path = tmp_path / "my.yaml"
    missing = "error Z100 cannot read the config file: no such file or directory   my.yaml\n  fix: check the path"
    assert complaint(path) == missing
    path.mkdir()
    assert "Z100 cannot read the config file: is a directory" in complaint(path)


def test_a_file_that_is_no_text_is_explained(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_bytes(b"a: \xff\n")
    assert complaint(path) == "error Z101 config file is not UTF-8 text (byte 3)   my.yaml\n  fix: save it as UTF-8"
    path.write_bytes(b"#" * 1_000_001)
    assert "Z101 config file is larger than 1000000 bytes" in complaint(path)


def test_deep_nesting_and_long_numbers_are_refused_and_not_crashes():
    for text, code in [("[" * 5000, "Z103"), ("a: " + "{b: " * 40, "Z103"), ("a: " + "9" * 5000, "Z101")]:
        with pytest.raises(ConfigError, match=code):
            parse_yaml(text, "my.yaml")


def test_scalars_are_read_as_yaml_1_2_reads_them():
    text = """
    rates: [1e-6, 1.0e-6, 3E5, .5, 5., -0.0, +1]
    whole: [0, -7, 0x1F, 0o17, 007]
    words: [no, yes, on, off, y, 1_000, 2020-01-01, 12:30:00, '1', "true", a b]
    truth: [true, False, TRUE]
    nothing: [~, null, ]
    edges: [.inf, -.inf, .nan]
    empty:
    """
    data, _ = parse_yaml(text, "my.yaml")
    assert isinstance(data, dict)
    assert data["rates"] == [1e-6, 1e-6, 3e5, 0.5, 5.0, 0.0, 1]
    assert [type(value) for value in data["rates"]] == [float] * 6 + [int]
    assert data["whole"] == [0, -7, 31, 15, 7]
    words = ["no", "yes", "on", "off", "y", "1_000", "2020-01-01", "12:30:00", "1", "true", "a b"]
    assert data["words"] == words
    assert data["truth"] == [True, False, True]
    assert data["nothing"] == [None, None]
    assert data["edges"][:2] == [math.inf, -math.inf]
    assert math.isnan(data["edges"][2])
    assert data["empty"] is None


def test_marks_say_where_keys_values_and_items_stand(tmp_path):
    (tmp_path / "my.yaml").write_text("# a comment\nrl:\n  lr: 1e-6\nnames: [a, bc]\n")
    document = load_yaml(tmp_path / "my.yaml")
    file = str(tmp_path / "my.yaml")
    assert document.marks["rl", "lr"] == Mark(file, 3, 3, 2, (3, 7, 4))
    assert document.marks["rl", "lr"].at_value() == Mark(file, 3, 7, 4)
    assert document.marks["names", 1] == Mark(file, 4, 12, 2)
    assert str(document.marks["names", 1]) == f"{file}:4:12"
    assert document.mark(("rl", "absent", 3)) == document.marks["rl",]
    assert str(document.mark(("absent",))) == file


@pytest.mark.parametrize("text", ["", "\n", "# only a comment\n", "\ufeff"])
def test_an_empty_file_is_an_empty_mapping(tmp_path, text):
    (tmp_path / "my.yaml").write_text(text, encoding="utf-8")
    assert load_yaml(tmp_path / "my.yaml").data == {}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc_", min_size=1), PLAIN, max_size=4))
@settings(max_examples=80, deadline=None)
def test_what_pyyaml_writes_is_read_back(data):
    class NoAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    assert parse_yaml(yaml.dump(data, Dumper=NoAliases, allow_unicode=True), "my.yaml")[0] == data


def test_reading_changes_nothing_in_pyyaml():
    parse_yaml("a: no", "my.yaml")
    assert yaml.safe_load("a: no") == {"a": False}
