"""A programming problem and its tests, as data: what a task states and a verifier runs.

Four forms, each a way in which benchmarks and judges state tests:

* stdin: the program reads standard input and prints; a test is (input, expected output);
* function: a function is called; a test is (arguments, expected result), both as Python literals;
* asserts: a test program asserts on the function (HumanEval, MBPP);
* repair: some files of a project are replaced by the model's; unit tests that failed must pass.

The whole problem travels as the reference of a prompt. What is not here: running anything, or finding the program in
a reply.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType

EMPTY: Mapping[str, str] = MappingProxyType({})


class Form(StrEnum):
    """How the tests of a problem are stated."""

    STDIN = "stdin"
    FUNCTION = "function"
    ASSERTS = "asserts"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True, kw_only=True)
class IOTest:
    """One input and what must come of it."""

    given: str
    """stdin: the input. function: the arguments as a Python literal of a list or tuple, e.g. `[[1, 2], 3]`."""
    expected: str
    """stdin: the output. function: the result as a Python literal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeProblem:
    """What a program has to pass."""

    form: Form
    io_tests: tuple[IOTest, ...] = ()
    """Tests of the forms stdin and function."""
    entry_point: str = ""
    """function, asserts: the name that is called; `Class.method` for a method of an argument-less class."""
    setup: str = ""
    """asserts: source that the tests need beside the function, such as a prompt with helper functions. No answers."""
    test_code: str = ""
    """asserts: statements, or a `check(candidate)` function. repair: one test module, unittest or plain functions."""
    files: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    """repair: the project's sources as the question shows them, path -> text; the reply replaces some of them."""
    cpu_s: float = 4.0
    """CPU seconds a test may take."""
    memory_mib: int = 512
    """Address space of the program."""
    tolerance: float = 0.0
    """stdin, function: numbers may differ by this much, absolutely or relatively."""
    any_order: bool = False
    """function: a result that is a list may come in any order."""

    def to_reference(self) -> str:
        """As canonical JSON, for `Prompt.reference`."""
        defaults = CodeProblem(form=self.form)
        stated: dict[str, object] = {"form": self.form.value}
        for each in fields(self):
            value = getattr(self, each.name)
            if value != getattr(defaults, each.name):
                stated[each.name] = value
        if self.io_tests:
            stated["io_tests"] = [asdict(test) for test in self.io_tests]
        stated |= {"files": dict(self.files)} if self.files else {}
        return json.dumps(stated, ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_reference(reference: str) -> "CodeProblem":
        """The problem a reference states.

        Raises:
            ValueError: it is not one, or it has no test.
        """
        try:
            stated = json.loads(reference)
            tests = tuple(IOTest(**test) for test in stated.pop("io_tests", ()))
            problem = CodeProblem(form=Form(stated.pop("form")), io_tests=tests, **stated)
        except (TypeError, KeyError, AttributeError) as wrong:
            raise ValueError(f"no programming problem: {wrong}") from wrong
        needs_io = problem.form in (Form.STDIN, Form.FUNCTION)
        if not (problem.io_tests if needs_io else problem.test_code):
            raise ValueError(f"a problem of the form {problem.form} without tests")
        return problem
