"""Verdicts of the four forms on small programs: right, wrong with its reason, and an error when nobody could judge."""

from types import SimpleNamespace

import pytest
from code_world import some_sandbox, square_plus_seven

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem, Form, IOTest
from zero2r1.core.types import AnswerKind, Message, Prompt, Verdict
from zero2r1.rewards.code.config import CodeConfig
from zero2r1.rewards.code.grade import grade_program, grade_reply
from zero2r1.rewards.code.grader import CodeGrader
from zero2r1.rewards.code.verdict import BrokenError, CodeGrade, how, judged, unjudged
from zero2r1.sandbox.base import Execution, Status
from zero2r1.sandbox.config import SandboxConfig

RIGHT, WRONG, ERROR = Verdict.RIGHT, Verdict.WRONG, Verdict.ERROR
F = "def f(n): return n * n + 7"


@pytest.fixture(scope="module")
def sandbox():
    with some_sandbox() as opened:
        yield opened


def function(*tests: tuple[str, str], name: str = "f", **more: object) -> CodeProblem:
    io_tests = tuple(IOTest(given=given, expected=expected) for given, expected in tests)
    return CodeProblem(form=Form.FUNCTION, entry_point=name, io_tests=io_tests, cpu_s=1.0, **more)


def stdin(*tests: tuple[str, str], **more: object) -> CodeProblem:
    io_tests = tuple(IOTest(given=given, expected=expected) for given, expected in tests)
    return CodeProblem(form=Form.STDIN, io_tests=io_tests, cpu_s=1.0, **more)


def test_a_fraction_is_passed_over_total():
    assert judged(1, 4, "x").fraction == 0.25  # 1 / 4
    assert judged(4, 4, "").fraction == 1.0
    assert judged(0, 0, "no tests").verdict is WRONG
    assert unjudged("x").fraction is None


@pytest.mark.parametrize("form", [Form.STDIN, Form.FUNCTION, Form.ASSERTS])
def test_partial_scoring_counts_and_the_verdict_stays_all_or_nothing(form, sandbox):
    half = "def f(n): return 16 if n == 3 else (151 if n == 12 else 0)"
    end = "\nprint(f(int(input())))" if form is Form.STDIN else ""
    grade = grade_program(half + end, square_plus_seven(form), sandbox, scoring="fraction")
    assert (grade.verdict, grade.passed, grade.total) == (WRONG, 2, 3)
    stopped = grade_program(half + end, square_plus_seven(form), sandbox)
    assert (stopped.verdict, stopped.passed, stopped.total) == (WRONG, 1, 3)


@pytest.mark.parametrize(
    ("program", "verdict", "note"),
    [
        ("print(sum(map(int, input().split())))", RIGHT, ""),
        ("import sys\nprint(sum(map(int, sys.stdin.read().split())))\nsys.exit(0)", RIGHT, ""),
        ("print(3)", WRONG, "test 2: another output"),
        ("print(3); 1/0", WRONG, "ZeroDivisionError"),
        ("print(sum(map(int, input().split())))\nraise SystemExit(1)", WRONG, "exit code 1"),
        ("while True: pass", WRONG, "CPU time"),
        ("print('x' * 20_000_000)", WRONG, "wrote more than"),
        ("x = 'a' * 10**10", WRONG, "MemoryError"),
        ("def", WRONG, "SyntaxError"),
        ("\x00", WRONG, "exit code 1"),
        ("import os; os.abort()", WRONG, "signal"),
    ],
)
def test_stdin(program, verdict, note, sandbox):
    grade = grade_program(program, stdin(("1 2\n", "3\n"), ("20 3\n", "23\n")), sandbox)
    assert grade.verdict is verdict
    assert note in grade.note


def test_stdin_reads_big_input_and_compares_with_a_tolerance(sandbox):
    numbers = " ".join(map(str, range(200_000)))
    program = "print(sum(map(int, input().split())) / 3)"
    # 0 + ... + 199,999 = 199,999 * 200,000 / 2 = 19,999,900,000; a third of it is 6,666,633,333.33...
    problem = stdin((numbers, "6666633333.333"), tolerance=1e-9)
    assert grade_program(program, problem, sandbox).verdict is RIGHT
    assert grade_program(program, stdin((numbers, "6666633333.333")), sandbox).verdict is WRONG


@pytest.mark.parametrize(
    ("program", "verdict", "note"),
    [
        ("def f(a, b): return sorted(a) + [b]", RIGHT, ""),
        ("def f(a, b):\n    a.sort()\n    yield from a\n    yield b", RIGHT, ""),
        ("def f(a, b): return tuple(sorted(a)) + (b,)", RIGHT, ""),
        ("print('hello')\ndef f(a, b):\n    print(a)\n    return sorted(a) + [b]", RIGHT, ""),
        ("from collections import deque\ndef f(a, b): return deque(sorted(a) + [b])", RIGHT, ""),
        ("def f(a, b): return {*a, b}", WRONG, "another result"),
        ("def f(a): return a", WRONG, "TypeError"),
        ("def g(a, b): return a", WRONG, "AttributeError"),
        ("def f(a, b): return object()", WRONG, "type object"),
        ("def f(a, b): return input()", WRONG, "EOFError"),
        ("async def f(a, b): return sorted(a) + [b]", WRONG, "coroutine"),
        ("raise KeyError(1)", WRONG, "KeyError"),
    ],
)
def test_function(program, verdict, note, sandbox):
    grade = grade_program(program, function(("[[2, 1], 'x']", "[1, 2, 'x']"), ("([], 'y')", "['y']")), sandbox)
    assert grade.verdict is verdict
    assert note in grade.note


def test_function_calls_a_method_of_a_fresh_object(sandbox):
    program = (
        "class Solution:\n    seen = ()\n    def f(self, n):\n        self.seen += (n,)\n        return len(self.seen)"
    )
    problem = function(("[5]", "1"), ("[6]", "1"), name="Solution.f")
    assert grade_program(program, problem, sandbox).verdict is RIGHT


def test_function_settings(sandbox):
    assert (
        grade_program("def f(n): return [2, 1]", function(("[0]", "[1, 2]"), any_order=True), sandbox).verdict is RIGHT
    )
    close = function(("[0]", "0.3"), tolerance=1e-9)
    assert grade_program("def f(n): return 0.1 + 0.2", close, sandbox).verdict is RIGHT
    assert grade_program("def f(n): return 0.1 + 0.2", function(("[0]", "0.3")), sandbox).verdict is WRONG


def test_function_goes_on_after_an_end_only_to_count(sandbox):
    program = "def f(n):\n    if n == 8: raise SystemExit\n    return n * n + 7"
    grade = grade_program(program, square_plus_seven(Form.FUNCTION), sandbox, scoring="fraction")
    assert (grade.verdict, grade.passed) == (WRONG, 2)


@pytest.mark.parametrize("test", [("[1]", "nonsense("), ("1", "2"), ("[1]", "f(2)"), ("[" * 5000, "1")])
def test_a_test_that_cannot_be_read_is_an_error(test, sandbox):
    assert grade_program("def f(n): return 2", function(test), sandbox).verdict is ERROR


def test_a_repair_wants_files(sandbox):
    problem = square_plus_seven(Form.REPAIR)
    with pytest.raises(ValueError, match="answered by files"):
        grade_program(F, problem, sandbox)
    reply = f"```python path=calc/core.py\n{F}\n```"
    assert grade_reply(reply, problem, sandbox, dialect=Dialect.PLAIN).verdict is RIGHT
    assert grade_reply("I cannot.", problem, sandbox, dialect=Dialect.PLAIN).verdict is WRONG


def test_a_broken_sandbox_is_an_error_and_tried_twice():
    broken = Execution(status=Status.BROKEN, exit_code=None, signal=None, stdout=b"", stderr=b"", cpu_s=0.0, wall_s=0.0,
                       peak_bytes=0, problem="lost")  # fmt: skip
    with pytest.raises(BrokenError, match="lost"):
        how(broken)


class Failing:
    """Stands in for a sandbox that makes no boxes."""

    def __init__(self) -> None:
        self.num_asked = 0

    def run(self, *_: object, **__: object) -> Execution:
        self.num_asked += 1
        raise OSError("no more processes")

    open = run


@pytest.mark.parametrize("form", [Form.STDIN, Form.FUNCTION, Form.ASSERTS])
def test_no_box_is_an_error_never_wrong(form, sandbox, monkeypatch):
    failing = Failing()
    monkeypatch.setattr(sandbox, "run", failing.run)
    monkeypatch.setattr(sandbox, "open", failing.open)
    grade = grade_program(F, square_plus_seven(form), sandbox)
    assert grade == CodeGrade(verdict=ERROR, note="the sandbox failed: no more processes")
    assert failing.num_asked == 2


def prompt_of(reference: str) -> Prompt:
    user = Message(role="user", content="f?")
    return Prompt(
        messages=(user,), reference=reference, gold=F, answer_kind=AnswerKind.CODE, domain="code", language="en"
    )


def test_a_grader_opens_its_sandbox_when_first_used():
    config = CodeConfig(sandbox=SandboxConfig(unsafe_local_exec=True))
    prompt = prompt_of(square_plus_seven(Form.FUNCTION).to_reference())
    with CodeGrader(config) as grader:
        reply = f"<think> a square </think> <answer>\n```python\n{F}\n```\n</answer>"
        assert grader.grade(prompt, reply, Dialect.R1_ZERO).verdict is RIGHT
        assert grader.grade(prompt, reply.replace("7", "8"), Dialect.R1_ZERO).verdict is WRONG
        assert grader.grade(prompt, F, Dialect.R1_ZERO).verdict is WRONG
        assert grader.grade(prompt_of("{}"), reply, Dialect.R1_ZERO).verdict is ERROR
        assert grader.tier in ("A", "B", "C")


def test_a_reference_without_a_problem_needs_no_sandbox():
    grader = CodeGrader(CodeConfig())
    assert grader.grade(prompt_of("no json"), F, Dialect.PLAIN).verdict is ERROR
    grader.close()
    assert SimpleNamespace(**grader.config.model_dump()).scoring == "all"


def test_a_result_that_no_reply_can_hold_judges_nobody(sandbox):
    long = "x" * (3 * 2**20)  # beyond the 2 MiB of a reply
    grade = grade_program("def f(n): return 'x' * n", function((f"[{len(long)}]", repr(long))), sandbox)
    assert grade.verdict is ERROR
    assert "larger than any reply" in grade.note
    longer = long * 3  # beyond the 8 MiB of an output
    assert grade_program(f"print('x' * {len(longer)})", stdin(("", longer)), sandbox).verdict is ERROR
    fits = long * 2
    assert grade_program(f"print('x' * {len(fits)})", stdin(("", fits)), sandbox).verdict is RIGHT
