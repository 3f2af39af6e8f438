"""What the package imports is declared, what is declared is pinned, and each dependency has its reason."""

import ast
import re
import sys
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from source_tree import ROOT, python_files, tree

MODULE_OF = {"pyyaml": "yaml", "types-pyyaml": "yaml"}
"""Distributions whose module has another name than theirs."""

PARTS_OF = {"pydantic_core": "pydantic", "markupsafe": "jinja2", "sympy": "math_verify", "triton": "torch"}
"""Modules that are a declared dependency's own, in its public interface; or that come with its builds for CUDA."""


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(*extras: str) -> list[Requirement]:
    names = list(project()["dependencies"])
    for extra in extras:
        names += project()["optional-dependencies"][extra]
    return [Requirement(name) for name in names]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in found}


def imported() -> set[str]:
    """Top-level modules imported anywhere in the package that neither Python nor the package itself has."""
    found: set[str] = set()
    for path in python_files("zero2r1"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"zero2r1"}


def test_what_the_package_imports_is_declared():
    extras = [name for name in project()["optional-dependencies"] if name not in ("dev", "parity")]
    names = [canonicalize_name(requirement.name) for requirement in declared(*extras)]
    modules = {MODULE_OF.get(name, name.replace("-", "_")) for name in names}
    assert imported() <= modules | {module for module, owner in PARTS_OF.items() if owner in modules}


def test_every_declared_dependency_has_an_exact_pin_that_satisfies_it():
    for requirement in declared(*project()["optional-dependencies"]):
        name = canonicalize_name(requirement.name)
        assert name in pins(), f"{name} is not in constraints.txt"
        assert requirement.specifier.contains(pins()[name]), f"{requirement} against {pins()[name]}"


def test_development_uses_one_torch():
    assert pins()["torch"] == "2.13.0"


def test_every_dependency_has_its_reason():
    text = (ROOT / "docs" / "decisions" / "0005-dependencies.md").read_text(encoding="utf-8").lower()
    for requirement in declared(*project()["optional-dependencies"]):
        assert re.search(rf"`{re.escape(requirement.name.lower())}`", text), f"no reason for {requirement.name}"


def test_the_version_is_said_once():
    assert "version" in project()["dynamic"]


def test_doctor_checks_the_declared_versions():
    from zero2r1.cli.machine import NEEDED

    least = {requirement.name: str(requirement.specifier).removeprefix(">=") for requirement in declared()}
    assert {name: least[name] for name in NEEDED} == NEEDED
