"""`zero2r1 data cases`: tests for programming problems whose own tests are not public.

A row of the input: `question`, `generators` (programs that print one input each), `correct` and `wrong` (submissions,
both lists). A row of the output is a question for training: the problem with its tests, and the first correct
submission as the gold answer (`tasks: [{family: file, file: ..., format: problems}]` reads it).

What is not here: the construction (`tasks/cases.py`), and asking a language model for generators.
"""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from zero2r1.core.atomic import write_atomic
from zero2r1.core.errors import DataError, RunError
from zero2r1.core.problems import CodeProblem, Form
from zero2r1.sandbox.config import SandboxConfig
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.tiers import open_sandbox
from zero2r1.tasks.cases import CasesReport, construct
from zero2r1.tasks.tables import read_jsonl

LISTS = ("generators", "correct", "wrong")


def make_cases(source: Path, out: Path, *, num_runs: int, seed: int, unsafe: bool) -> list[dict[str, Any]]:
    """Make and write the tests; the report of each problem in the order of the file.

    Raises:
        DataError: no such file (Z130), or a row that is no problem (Z133).
        RunError: `out` exists (Z412).
        RewardError: no sandbox can be had (Z144).
    """
    if out.exists():
        raise RunError("Z412", "the file exists already", where=str(out), fix="name another, or move it away")
    rows = _rows(source)
    made, reports = [], []
    with open_sandbox(SandboxConfig(unsafe_local_exec=unsafe)) as sandbox:
        for number, row in rows:
            problem, report = _made(row, sandbox, num_runs, seed)
            reports.append({"row": number, "tier": sandbox.tier.value, **report})
            if problem is not None:
                made.append(problem)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made)
    write_atomic(out, text.encode("utf-8"))
    return reports


def _made(
    row: Mapping[str, Any], sandbox: Sandbox, num_runs: int, seed: int
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The question with its tests, None when no valid input was found; and what became of every input."""
    cases = construct(
        row["question"], row["generators"], row["correct"], row["wrong"], sandbox, num_runs=num_runs, seed=seed
    )
    report = _plain(cases.report)
    if not cases.io_tests:
        return None, report
    problem = CodeProblem(form=Form.STDIN, io_tests=cases.io_tests)
    kept = {name: value for name, value in row.items() if name not in LISTS}
    return {**kept, "problem": json.loads(problem.to_reference()), "solution": row["correct"][0]}, report


def _plain(report: CasesReport) -> dict[str, Any]:
    """A report as JSON can hold it."""
    values = {field.name: getattr(report, field.name) for field in fields(report)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _rows(source: Path) -> list[tuple[int, Mapping[str, Any]]]:
    """Line number and content of every row."""
    if not source.is_file():
        raise DataError("Z130", "the file of problems is not there", where=str(source))
    found: list[tuple[int, Mapping[str, Any]]] = []
    for row in read_jsonl(source):
        values = dict(row.values or {})
        if problem := row.problem or _problem_of(values):
            raise DataError(
                "Z133",
                "the line is no problem with submissions",
                where=f"{source}:{row.number}",
                why=problem,
                fix='{"question": "...", "generators": ["print(1)"], "correct": ["..."], "wrong": ["..."]}',
            )
        found.append((row.number, values))
    return found


def _problem_of(row: dict[str, Any]) -> str:
    """Why a row cannot be used, empty when it can."""
    if not isinstance(row.get("question"), str):
        return "'question' is no text"
    for name in LISTS:
        value = row.setdefault(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return f"'{name}' is no list of programs"
    if not row["generators"] or not row["correct"]:
        return "it needs at least one generator and one correct submission"
    return ""
