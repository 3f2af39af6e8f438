"""The box of the tests: runs tests on a program that lives in another box, one JSON line a question.

First line in: `{"values": source, "handles": source, "form": "asserts" or "repair", "setup": source, "tests": source,
"entries": names, "imports": names, "modules": names, "stops": bool}`. Out: `{"ask": request}`, answered by a line of
the caller's, and at the end `{"report": {"total": n, "passed": n, "note": text, "bad": text}}`, where `bad` says that
the tests themselves are wrong and judge nobody.

What is not here: expected values of any other problem, and any way by which the program could reach this process.
"""

import ast
import json
import os
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

NAME = "tests_of_the_project"
MAX_TEXT = 300


class Outcome:
    """How many tests there are, how many passed, and what the first failure was."""

    def __init__(self, far: Any, unsupported: type[Exception], modules: list[str]) -> None:
        self.far, self.unsupported, self.modules = far, unsupported, modules
        self.total, self.passed, self.note = 0, 0, ""

    def failed(self, error: BaseException) -> None:
        """Take down a failure; one that the tests brought about themselves is no verdict on the program."""
        text = f"{type(error).__name__}: {text_of(error)}" if text_of(error) else type(error).__name__
        self.note = self.note or text
        is_own = not any(error is raised for raised in self.far.raised)
        if isinstance(error, self.unsupported) or (is_own and self.is_unfit(error)):
            self.far.bad = self.far.bad or text
        if is_own and not self.far.num_asked:
            self.far.bad = self.far.bad or f"the tests fail before they call the program: {text}"

    def is_unfit(self, error: BaseException) -> bool:
        """True for what no program can bring about: a name that the tests forgot, a package that this box lacks."""
        if isinstance(error, ModuleNotFoundError):
            return (error.name or "").partition(".")[0] not in self.modules
        return isinstance(error, NameError | SyntaxError) and not isinstance(error, UnboundLocalError)

    def run(self, test: Callable[[], Any]) -> bool:
        """Run one test."""
        try:
            test()
        except Exception as error:  # noqa: BLE001  untrusted border: a failed test is an outcome
            self.failed(error)
            return False
        return True


def text_of(error: BaseException) -> str:
    """What an exception says, cut."""
    try:
        return str(error)[:MAX_TEXT]
    except Exception:  # noqa: BLE001  untrusted border: an argument of it may be a handle
        return ""


def run_asserts(first: dict[str, Any], far: Any, outcome: Outcome) -> None:
    """Statements, each top-level assert a test of its own, and then `check(candidate)` where there is one."""
    names: dict[str, Any] = {"__name__": "tests"}
    entries: dict[str, Any] = {}
    statements = ast.parse(first["tests"], "tests").body
    calls = [each.value.func for each in statements if isinstance(each, ast.Expr) and isinstance(each.value, ast.Call)]
    is_called = any(isinstance(call, ast.Name) and call.id == "check" for call in calls)
    is_defined = any(isinstance(each, ast.FunctionDef) and each.name == "check" for each in statements)
    has_check = is_defined and not is_called and bool(first["entries"])
    outcome.total = max(sum(isinstance(each, ast.Assert) for each in statements) + has_check, 1)

    def prepare() -> None:
        names.update({name: __import__(name) for name in first["imports"]})
        entries.update({name: far.ask("name", None, (name,), {}) for name in first["entries"]})
        names.update(entries)
        exec(compile(first["setup"], "setup", "exec"), names)
        names.update(entries)  # a prompt defines its function without a body

    def execute(statement: ast.stmt) -> Callable[[], None]:
        return lambda: exec(compile(ast.Module([statement], []), "tests", "exec"), names)

    if not outcome.run(prepare):
        return
    for statement in statements:
        is_passed = outcome.run(execute(statement))
        outcome.passed += is_passed and isinstance(statement, ast.Assert)
        if not is_passed and (first["stops"] or not isinstance(statement, ast.Assert)):
            return
    if has_check:
        outcome.passed += outcome.run(lambda: names["check"](entries[first["entries"][0]]))
    elif outcome.total == 1 and not any(isinstance(each, ast.Assert) for each in statements):
        outcome.passed = 1


def run_module(first: dict[str, Any], far: Any, outcome: Outcome) -> None:
    """A test module: plain functions `test_...` without parameters, and cases of unittest. Every one must pass."""
    module = ModuleType(NAME)
    sys.modules[NAME] = module
    outcome.total = 1
    if not outcome.run(lambda: exec(compile(first["tests"], "tests", "exec"), module.__dict__)):
        return
    functions = [each for name, each in vars(module).items() if name.startswith("test") and type(each) is FunctionType]
    if any(each.__code__.co_argcount for each in functions):
        far.bad = "a test function with parameters"
    if any(name.startswith("Test") and not is_case(each) for name, each in classes(module)):
        far.bad = "a class of tests that is no unittest.TestCase"
    cases = any(is_case(each) for _, each in classes(module))
    outcome.total = len(functions)
    for function in functions:
        outcome.passed += outcome.run(function)
    if cases:
        run_cases(module, outcome)
    if not outcome.total:
        far.bad = "the test module has no test"


def classes(module: ModuleType) -> list[tuple[str, type]]:
    """The classes that a test module defines itself."""
    found = [(name, each) for name, each in vars(module).items() if isinstance(each, type)]
    return [(name, each) for name, each in found if each.__module__ == NAME]


def is_case(kind: type) -> bool:
    """True for a case of unittest."""
    return "unittest" in sys.modules and issubclass(kind, sys.modules["unittest"].TestCase)


def run_cases(module: ModuleType, outcome: Outcome) -> None:
    """Run the cases of unittest. A skipped test has not passed."""
    import unittest

    class Result(unittest.TestResult):
        """Counts what passed and takes down what did not."""

        def addError(self, test: Any, err: Any) -> None:
            outcome.failed(err[1])

        def addFailure(self, test: Any, err: Any) -> None:
            outcome.failed(err[1])

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            if err is not None:
                outcome.failed(err[1])

        def addSkip(self, test: Any, reason: str) -> None:
            outcome.failed(AssertionError(f"skipped: {reason}"))

        def addExpectedFailure(self, test: Any, err: Any) -> None:
            outcome.passed += 1

        def addUnexpectedSuccess(self, test: Any) -> None:
            outcome.failed(AssertionError("it was expected to fail"))

        def addSuccess(self, test: Any) -> None:
            outcome.passed += 1

    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    outcome.total += suite.countTestCases()
    suite.run(Result())


def loaded(name: str, source: str) -> Any:
    """A module of this package whose text was sent along. Not importable: a project may have one of the same name."""
    module = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    return module


def main() -> None:
    """Run the tests and report."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    first = json.loads(requests.readline())
    handles = loaded("handles", first["handles"])
    far = handles.Far(requests, replies, loaded("values", first["values"]))
    outcome = Outcome(far, handles.UnsupportedError, first["modules"])
    if first["modules"]:
        sys.meta_path.insert(0, handles.Project(far, first["modules"]))
    outcome.run(lambda: (run_asserts if first["form"] == "asserts" else run_module)(first, far, outcome))
    far.say({"report": {"total": outcome.total, "passed": outcome.passed, "note": outcome.note, "bad": far.bad}})


if __name__ == "__main__":
    main()
