"""Imports go down: import-linter holds the contracts, and a breach is proven to be noticed."""

import shutil
import subprocess
import sys
from pathlib import Path

from source_tree import PACKAGE, ROOT

LINT = (
    "import sys; from importlinter.cli import lint_imports; "
    "sys.path.insert(0, '.'); sys.exit(lint_imports(no_cache=True, no_logo=True))"
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True, timeout=120)


def copy_of_the_package(folder: Path) -> Path:
    shutil.copytree(PACKAGE, folder / "zero2r1", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder / "zero2r1"


def test_every_import_goes_down_a_floor():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_import_that_goes_up_is_noticed(tmp_path: Path):
    package = copy_of_the_package(tmp_path)
    (package / "core" / "breach.py").write_text('"""Goes up."""\n\nimport zero2r1.tasks\n')
    result = lint(tmp_path)
    assert result.returncode != 0
    assert "zero2r1.core is not allowed to import zero2r1.tasks" in result.stdout


def test_a_new_room_without_a_floor_is_noticed(tmp_path: Path):
    package = copy_of_the_package(tmp_path)
    (package / "attic.py").write_text('"""On no floor."""\n')
    result = lint(tmp_path)
    assert result.returncode != 0
    assert "attic" in result.stdout
