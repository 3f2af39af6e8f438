"""The files of this repository as the architecture tests see them: what git would carry, found without git."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "zero2r1"
CODE_FOLDERS = ("zero2r1", "tests", "benchmarks", "examples")
TEXT_ENDINGS = (".py", ".md", ".yaml", ".toml", ".txt", ".j2", ".cfg", ".json", ".html")
NOT_OURS = {".git", "runs", "build", "dist", "__pycache__"}
ENVIRONMENT = ".venv"
"""What the names of all environments begin with."""


def python_files(*folders: str) -> list[Path]:
    """Every Python file below the given top folders (all code folders when none is given)."""
    found = [path for folder in folders or CODE_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert found, f"no Python files below {folders or CODE_FOLDERS}: the test would look at nothing"
    return sorted(path for path in found if "__pycache__" not in path.parts)


def text_files() -> list[Path]:
    """Every text file a clone would have, except the licence."""
    named = [ROOT / name for name in ("Makefile", ".ci/run", ".gitignore")]
    found = [path for path in ROOT.rglob("*") if path.suffix in TEXT_ENDINGS and path.is_file()]
    kept = [path for path in found if not _is_foreign(path.relative_to(ROOT))]
    return sorted({*kept, *(path for path in named if path.is_file())})


def _is_foreign(path: Path) -> bool:
    endings = ("_cache", ".egg-info", ".hypothesis")
    return any(part in NOT_OURS or part.startswith(ENVIRONMENT) or part.endswith(endings) for part in path.parts)


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(module: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def relative(path: Path) -> str:
    """A path as a person would type it from the root."""
    return path.relative_to(ROOT).as_posix()
