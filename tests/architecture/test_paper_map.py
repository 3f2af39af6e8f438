"""Each row of docs/paper_map.md names a file, a symbol in it and a test that exist."""

import ast
import re

from source_tree import ROOT, tree

PAPER_MAP = ROOT / "docs" / "paper_map.md"
COLUMNS = ("statement", "section", "file", "symbol", "test")
CODE = re.compile(r"`([^`]+)`")


def rows(text: str) -> list[dict[str, str]]:
    """The rows of every table whose header has our columns."""
    found: list[dict[str, str]] = []
    header: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] if "|" in line else []
        if [cell.lower() for cell in cells] == list(COLUMNS):
            header = list(COLUMNS)
        elif not cells:
            header = []
        elif header and not set("".join(cells)) <= set("-: "):
            found.append(dict(zip(header, cells, strict=True)))
    return found


def names_in(text: str) -> list[str]:
    """The `code` names of a cell; the whole cell when nothing is marked as code."""
    return CODE.findall(text) or [part for part in re.split(r"[,\s]+", text) if part]


def symbols_of(module: ast.Module) -> set[str]:
    """Top-level names, `Class.member` for members, and recipe-like attribute names."""
    found: set[str] = set()
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{name}" for name in symbols_of(ast.Module(body=node.body, type_ignores=[]))}
    return found


def problems(row: dict[str, str]) -> list[str]:
    """What of a row cannot be found."""
    path = ROOT / names_in(row["file"])[0]
    if not path.is_file():
        return [f"no file {row['file']}"]
    if path.suffix == ".py":
        known = symbols_of(tree(path))
        missing = [f"no {name} in {row['file']}" for name in names_in(row["symbol"]) if name not in known]
    else:
        text = path.read_text(encoding="utf-8")
        missing = [f"no {name} in {row['file']}" for name in names_in(row["symbol"]) if name not in text]
    for test in names_in(row["test"]):
        file_name, _, function = test.partition("::")
        test_file = ROOT / file_name
        if not test_file.is_file():
            missing.append(f"no test file {file_name}")
        elif function and function not in symbols_of(tree(test_file)):
            missing.append(f"no test {test}")
    return missing


def mapped() -> list[dict[str, str]]:
    return rows(PAPER_MAP.read_text(encoding="utf-8")) if PAPER_MAP.is_file() else []


def test_every_statement_of_the_paper_leads_to_code_and_to_a_test():
    found = mapped()
    assert len(found) >= 20
    assert {row["statement"]: problems(row) for row in found if problems(row)} == {}


def test_a_row_that_leads_nowhere_is_noticed():
    header = "| statement | section | file | symbol | test |\n|---|---|---|---|---|\n"
    good = "| prompt | Table 1 | `zero2r1/core/types.py` | `Prompt`, `Prompt.question` | `tests/conftest.py::root` |\n"
    assert problems(rows(header + good)[0]) == []
    for old, new in (("types.py", "nowhere.py"), ("Prompt.question", "Prompt.nothing"), ("::root", "::nothing")):
        assert problems(rows(header + good.replace(old, new))[0]) != []
