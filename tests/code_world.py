"""A sandbox for the tests of the code graders, and problems small enough to know by heart."""

from collections.abc import Iterator
from contextlib import contextmanager

from zero2r1.core.problems import CodeProblem, Form, IOTest
from zero2r1.sandbox.config import SandboxConfig
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.tiers import open_sandbox

CPU_S = 1.0


@contextmanager
def some_sandbox(slots: int = 4) -> Iterator[Sandbox]:
    """The strongest tier of this machine; where it has none, plain processes (the tests run programs of ours only)."""
    with open_sandbox(SandboxConfig(slots=slots, unsafe_local_exec=True)) as sandbox:
        yield sandbox


def square_plus_seven(form: Form, cpu_s: float = CPU_S) -> CodeProblem:
    """f(n) = n * n + 7, in every form: 3 -> 16, 8 -> 71, 12 -> 151."""
    results = {3: 16, 8: 71, 12: 151}
    if form is Form.STDIN:
        tests = tuple(IOTest(given=f"{n}\n", expected=f"{result}\n") for n, result in results.items())
        return CodeProblem(form=form, io_tests=tests, cpu_s=cpu_s)
    if form is Form.FUNCTION:
        tests = tuple(IOTest(given=f"[{n}]", expected=str(result)) for n, result in results.items())
        return CodeProblem(form=form, entry_point="f", io_tests=tests, cpu_s=cpu_s)
    if form is Form.ASSERTS:
        asserts = "\n".join(f"assert f({n}) == {result}" for n, result in results.items())
        return CodeProblem(form=form, entry_point="f", test_code=asserts, cpu_s=cpu_s)
    checks = "\n".join(f"        self.assertEqual(f({n}), {result})" for n, result in results.items())
    head = "import unittest\nfrom calc.core import f\n\nclass TestF(unittest.TestCase):\n    def test_f(self):\n"
    files = {"calc/core.py": "def f(n):\n    return n * n + 8\n"}
    return CodeProblem(form=form, files=files, test_code=head + checks, cpu_s=cpu_s)
