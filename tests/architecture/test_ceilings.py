"""Files of at most 300 lines, functions of at most 60, and no rooms for leftovers."""

import ast

from source_tree import ROOT, functions, python_files, relative, tree

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
LEFTOVER_NAMES = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "stuff", "base_utils"}


def long_functions(module: ast.Module) -> list[str]:
    """`name (n lines)` of every function above the ceiling, counted from `def` to its last line."""
    lengths = [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in functions(module)]
    return [f"{name} ({length} lines)" for name, length in lengths if length > MAX_FUNCTION_LINES]


def test_a_file_fits_on_a_few_screens():
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_a_function_fits_on_a_screen():
    found = {relative(path): long_functions(tree(path)) for path in python_files()}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_no_module_is_a_drawer_for_leftovers():
    parts = {relative(path): {path.stem, *path.relative_to(ROOT).parts} for path in python_files()}
    assert [name for name, names in parts.items() if names & LEFTOVER_NAMES] == []


def test_the_function_ceiling_can_fail():
    body = "\n".join("    pass" for _ in range(MAX_FUNCTION_LINES))
    assert long_functions(ast.parse(f"def long():\n{body}\n")) == ["long (61 lines)"]
