"""Tests in one box, the program in another, and a trusted relay between them.

The tests see the program through stand-ins and plain values only; the program sees arguments only. The report of the
tests counts only when the program's box was there to the end. Serves two forms: asserts (statements, or a function
`check(candidate)`) and repair (a test module over the files of a project).

Ours, where a choice had to be made: objects of the program are equal to nothing but themselves; tests that want to pass
on what cannot cross (a function, a mock) judge nobody and are an error; the free names of asserts are the problem's
entry points and modules of the standard library, and any other is an error.
"""

import ast
import builtins
import re
import sys
from collections.abc import Mapping

from zero2r1.core.problems import CodeProblem
from zero2r1.rewards.code.boxes import first_line, line, message_of, problem_in, reply_of, source_of
from zero2r1.rewards.code.verdict import CodeGrade, end_of, judged, limits_of, unjudged, wrong
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.session import Session

MAX_ASKED = 20_000
"""Ours: questions of the tests to the program. An endless iterator of the program reaches it in seconds."""
NUM_ANSWERS = 100
"""Ours: the backstop for a whole conversation allows as many answers at their full CPU time."""
PING = {"do": "str", "with": [""]}


class UnfitError(ValueError):
    """The tests of the problem cannot judge anybody."""


def grade_asserts(program: str, problem: CodeProblem, sandbox: Sandbox, *, is_partial: bool) -> CodeGrade:
    """Run assert tests on a program. Arguments and errors as in `grade_repair`; the setup runs in both boxes."""
    try:
        entries, imports = names_of(problem)
    except (UnfitError, SyntaxError, ValueError, RecursionError, MemoryError) as unfit:
        return unjudged(f"the tests of the problem: {unfit}")
    tests = {"form": "asserts", "setup": problem.setup, "entries": entries, "imports": imports, "modules": []}
    theirs = first_line([problem.setup, program], {}, keeps=True)
    return _relay(theirs, {**tests, "tests": problem.test_code, "stops": not is_partial}, problem, sandbox)


def grade_repair(files: Mapping[str, str], problem: CodeProblem, sandbox: Sandbox, *, is_partial: bool) -> CodeGrade:
    """Run unit tests on a project.

    Args:
        files: the files that the reply replaces; the others are the problem's.
        problem: of the form repair.
        sandbox: with two free slots.
        is_partial: go on after a failure, to count.

    Raises:
        BrokenError: the sandbox failed.
        OSError: no box could be made.
    """
    project = {**problem.files, **files}
    modules = sorted({path.partition("/")[0].removesuffix(".py") for path in project})
    tests = {"form": "repair", "setup": "", "entries": [], "imports": [], "modules": modules}
    theirs = first_line([""], project, keeps=True)
    return _relay(theirs, {**tests, "tests": problem.test_code, "stops": not is_partial}, problem, sandbox)


def names_of(problem: CodeProblem) -> tuple[list[str], list[str]]:
    """Names the tests take from the program, and modules of the standard library they use without importing them.

    A problem names its entry points, separated by commas or spaces. Only when it names none, every free name of its
    tests is one: a test that compares by a function it forgot to import would otherwise ask the program to compare.

    Raises:
        UnfitError: the tests use a name from nowhere.
        SyntaxError, ValueError: they are no Python.
    """
    declared = [name for name in re.split(r"[\s,]+", problem.entry_point) if name]
    trees = [ast.parse(problem.setup), ast.parse(problem.test_code)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    bound |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)}
    bound |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    bound |= {node.name for node in nodes if isinstance(node, ast.ExceptHandler) and node.name}
    imports = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    bound |= {alias.asname or alias.name.partition(".")[0] for alias in imports}
    is_known = bound | set(dir(builtins)) | set(declared) | {"__name__"}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    free = sorted(name for name in used - is_known if not any(alias.name == "*" for alias in imports))
    modules = [name for name in free if name in sys.stdlib_module_names]
    others = [name for name in free if name not in modules]
    if others and declared:
        raise UnfitError(f"they use {', '.join(others)}, which neither they nor the problem define")
    return declared or others, modules


def _relay(theirs: bytes, tests: Mapping[str, object], problem: CodeProblem, sandbox: Sandbox) -> CodeGrade:
    """Let the tests ask the program until they report."""
    limits = limits_of(problem, NUM_ANSWERS)
    ours = {**tests, "values": source_of("values.py"), "handles": source_of("inside/handles.py")}
    with sandbox.open(source_of("inside/caller.py"), source_of("inside/tester.py"), limits=limits) as (box, judge):
        box.send(theirs)
        judge.send(line(ours))
        reply = reply_of(box)
        if reply is None:
            return wrong(end_of(box) or "it ended while it was loaded")
        if problem_in(reply):
            return wrong(problem_in(reply))
        for num_asked in range(MAX_ASKED):
            raw = judge.receive()
            message = message_of(raw) if raw is not None else None
            if message is None:
                return _no_report(judge, num_asked)
            if "report" in message:
                return _grade(message["report"], box)
            answer = _answer(line({"do": "", **_request(message)}), box)
            if answer is None:
                return wrong(end_of(box) or "it ended before it answered")
            judge.send(answer)
    return wrong("the tests asked it more than they may: an endless iterator?")


def _request(message: Mapping[str, object]) -> dict[str, object]:
    """The question in a line of the tests."""
    request = message.get("ask")
    return request if isinstance(request, dict) else {}


def _answer(request: bytes, box: Session) -> bytes | None:
    """One question to the program; its line travels unread, the other box can only take it for a value."""
    return box.receive() if box.send(request) else None


def _no_report(judge: Session, num_asked: int) -> CodeGrade:
    """The tests ended without a report: of themselves, or of what the program gave them."""
    why = end_of(judge) or "they ended without a report"
    return wrong(f"the tests could not cope with its results: {why}") if num_asked else unjudged(f"the tests: {why}")


def _grade(report: object, box: Session) -> CodeGrade:
    """What the tests report, if the program is still there."""
    if not isinstance(report, dict):
        return unjudged("the tests reported nothing")
    if _answer(line(PING), box) is None:
        return wrong(end_of(box) or "it ended before the tests did")
    if report.get("bad"):
        return unjudged(f"the tests of the problem: {report['bad']}")
    return judged(int(report["passed"]), int(report["total"]), str(report["note"]))
