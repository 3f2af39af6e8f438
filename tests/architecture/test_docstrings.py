"""Every module says what it is for; every formula says where it comes from; every setting says what it does."""

import ast
import re

import pytest
from source_tree import PACKAGE, python_files, relative, tree

FORMULA_FILES = ("rl/advantage.py", "rl/loss.py", "rl/rollout.py", "rewards/format.py", "rewards/language.py")
"""Files of formulas: each of their public functions names its source."""

FORMULA_LINE = re.compile(r"^\s*\S+(?:\(.*\))? = .*[-+*/(^|].*\S", re.MULTILINE)
"""A docstring line such as `A_i = (r_i - mean(r)) / std(r)`."""

SOURCE = re.compile(r"\b(Source|Ours):")


def public_functions(module: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in module.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


def formulas_without_source(module: ast.Module) -> list[str]:
    """Public functions whose docstring writes a formula without saying where it comes from."""
    documented = [(node.name, ast.get_docstring(node) or "") for node in public_functions(module)]
    return [name for name, text in documented if FORMULA_LINE.search(text) and not SOURCE.search(text)]


def config_classes(module: ast.Module) -> list[ast.ClassDef]:
    return [
        node
        for node in module.body
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") in ("Strict", "StageBase") for base in node.bases)
    ]


def undocumented_fields(node: ast.ClassDef) -> list[str]:
    """Fields not followed by their docstring. `kind` tags and `model_config` speak for themselves."""
    missing = []
    for index, item in enumerate(node.body):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        if item.target.id in ("kind", "model_config") or item.target.id.startswith("_"):
            continue
        following = node.body[index + 1] if index + 1 < len(node.body) else None
        is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if not is_text or not isinstance(following.value.value, str):
            missing.append(f"{node.name}.{item.target.id}")
    return missing


def test_a_module_says_what_it_is_for():
    assert [relative(path) for path in python_files() if not ast.get_docstring(tree(path))] == []


def test_a_formula_names_its_source():
    rooms = python_files(*(f"zero2r1/{room}" for room in ("rl", "rewards", "sft", "evals", "learner", "core")))
    found = {relative(path): formulas_without_source(tree(path)) for path in rooms}
    assert {name: functions for name, functions in found.items() if functions} == {}


@pytest.mark.parametrize("name", FORMULA_FILES)
def test_the_files_of_formulas_name_sources(name):
    module = tree(PACKAGE / name)
    text = (PACKAGE / name).read_text(encoding="utf-8")
    assert public_functions(module), f"{name} has no public function: the test would look at nothing"
    assert SOURCE.search(text), name


def test_every_setting_has_a_docstring():
    classes = [node for path in python_files("zero2r1") for node in config_classes(tree(path))]
    assert len(classes) > 10
    assert [field for node in classes for field in undocumented_fields(node)] == []


def test_the_rules_can_fail():
    formula = 'def f(x):\n    """A mean.\n\n    m = sum(x) / n\n    """\n'
    assert formulas_without_source(ast.parse(formula)) == ["f"]
    assert formulas_without_source(ast.parse(formula.replace("/ n", "/ n\n    Ours: plain."))) == []
    config = ast.parse('class C(Strict):\n    a: int = 1\n    b: int = 2\n    """Says."""\n')
    assert undocumented_fields(config_classes(config)[0]) == ["C.a"]
