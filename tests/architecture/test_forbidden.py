"""Constructs that have no place here: unsafe loading, shells, open binds, silent excepts, hidden randomness.

The rules are read from the syntax tree, so that a word in a docstring is no offence. Each rule is proven on a
line that breaks it.
"""

import ast
from collections.abc import Callable

import pytest
from source_tree import python_files, relative, tree

Rule = Callable[[ast.AST], bool]


def name_of(node: ast.AST) -> str:
    """`torch.load` for the callee of `torch.load(...)`; empty for anything without a dotted name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = name_of(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def is_import_of(node: ast.AST, *modules: str) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        names = [node.module or ""]
    return any(name.split(".")[0] in modules for name in names)


def is_call_of(node: ast.AST, *callees: str) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) in callees


def has_argument(node: ast.AST, name: str, *, true: bool = True) -> bool:
    if not isinstance(node, ast.Call):
        return False
    given = [word.value for word in node.keywords if word.arg == name]
    return any(isinstance(value, ast.Constant) and value.value is true for value in given)


def is_silent_except(node: ast.AST) -> bool:
    """`except:` and `except Exception:` outside an untrusted border; the border says so with noqa (ruff BLE)."""
    return isinstance(node, ast.ExceptHandler) and node.type is None


def is_unsafe_torch_load(node: ast.AST) -> bool:
    return is_call_of(node, "torch.load") and not has_argument(node, "weights_only")


def uses_global_randomness(node: ast.AST) -> bool:
    if is_import_of(node, "random"):
        return True
    if not isinstance(node, ast.Call):
        return False
    name = name_of(node.func)
    if name in ("torch.manual_seed", "torch.seed", "torch.cuda.manual_seed", "torch.cuda.manual_seed_all"):
        return True
    return name.startswith(("np.random.", "numpy.random.")) and not name.endswith("Generator")


RULES: dict[str, tuple[Rule, str]] = {
    "eval and exec run text": (lambda node: is_call_of(node, "eval", "exec", "compile"), "eval(text)"),
    "a shell reads what it should not": (lambda node: has_argument(node, "shell"), "subprocess.run(x, shell=True)"),
    "os.system is a shell": (lambda node: is_call_of(node, "os.system", "os.popen"), "os.system(x)"),
    "a model never brings its own code": (
        lambda node: has_argument(node, "trust_remote_code"),
        "load(x, trust_remote_code=True)",
    ),
    "servers bind to this machine only": (
        lambda node: isinstance(node, ast.Constant) and node.value == ".".join("0000"),
        f"bind({'.'.join('0000')!r})",
    ),
    "yaml.load can make objects": (lambda node: is_call_of(node, "yaml.load", "yaml.unsafe_load"), "yaml.load(x)"),
    "torch.load wants weights_only=True": (is_unsafe_torch_load, "torch.load(path)"),
    "a bare except hides everything": (is_silent_except, "try:\n    x\nexcept:\n    pass"),
    "postponed annotations break run-time shape checks": (
        lambda node: isinstance(node, ast.ImportFrom) and node.module == "__future__",
        "from __future__ import annotations",
    ),
}

PACKAGE_RULES: dict[str, tuple[Rule, str]] = {
    "pickle runs what it reads": (
        lambda node: is_import_of(node, "pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"),
        "import pickle",
    ),
    "core/random.py is the only source of randomness": (uses_global_randomness, "import random"),
    "nothing asks a question": (lambda node: is_call_of(node, "input"), "input()"),
    "globals are state": (lambda node: isinstance(node, ast.Global), "def f():\n    global x"),
}


def breaches(rules: dict[str, tuple[Rule, str]], module: ast.Module) -> list[str]:
    return [
        f"line {getattr(node, 'lineno', '?')}: {why}"
        for node in ast.walk(module)
        for why, (is_breach, _) in rules.items()
        if is_breach(node)
    ]


def runs_programs(name: str) -> bool:
    """True for what is sent into a box: running text is its purpose, and a test holds that nothing imports it."""
    return name.startswith("zero2r1/sandbox/inside/")


def offenders(rules: dict[str, tuple[Rule, str]], *folders: str) -> dict[str, list[str]]:
    names = [(path, relative(path)) for path in python_files(*folders)]
    found = {name: breaches(rules, tree(path)) for path, name in names if not runs_programs(name)}
    return {name: wrong for name, wrong in found.items() if wrong}


def test_nothing_unsafe_is_used():
    assert offenders(RULES) == {}


def test_the_package_has_no_hidden_state():
    assert offenders(PACKAGE_RULES, "zero2r1", "benchmarks", "examples") == {}


@pytest.mark.parametrize("why", [*RULES, *PACKAGE_RULES])
def test_each_rule_notices_a_breach(why):
    rules = RULES | PACKAGE_RULES
    assert breaches({why: rules[why]}, ast.parse(rules[why][1])) != []
