"""No program passes that computes nothing; every honest one does. The same attacks do pass a grader of another make.

The mutant grader runs program and tests in one process and believes the exit code, as many published graders do.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from code_world import some_sandbox, square_plus_seven
from grader_exploits import EXPLOITS, HONEST, PRINTED_RIGHT

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import Form
from zero2r1.core.types import Verdict
from zero2r1.rewards.code.grade import grade_program, grade_reply
from zero2r1.rewards.code.verdict import CodeGrade
from zero2r1.sandbox.base import Limits
from zero2r1.sandbox.sandbox import Sandbox

CPU_S = 0.4

IN_PROCESS = """
def main():
    names = {{"__name__": "solution"}}
    tests = [(3, 16), (8, 71), (12, 151)]
    exec({program!r}, names)
    for given, expected in tests:
        assert names["f"](given) == expected
main()
"""


@pytest.fixture(scope="module")
def sandbox():
    with some_sandbox() as opened:
        yield opened


def graded(source: str, form: Form, sandbox: Sandbox, cpu_s: float = CPU_S) -> CodeGrade:
    """The grade of a module with a function f, as each form wants it written."""
    problem = square_plus_seven(form, cpu_s)
    if form is Form.REPAIR:
        reply = f"```python path=calc/core.py\n{source}\n```"
        return grade_reply(reply, problem, sandbox, dialect=Dialect.PLAIN)
    program = f"{source}\nprint(f(int(input())))\n" if form is Form.STDIN else source
    return grade_program(program, problem, sandbox)


def passed(sources: dict[str, str], form: Form, sandbox: Sandbox) -> dict[str, CodeGrade]:
    """The grades of the programs that passed, two at a time."""
    with ThreadPoolExecutor(2) as threads:
        grades = list(threads.map(lambda source: graded(source, form, sandbox), sources.values()))
    errors = {name: grade for name, grade in zip(sources, grades, strict=True) if grade.verdict is Verdict.ERROR}
    assert errors == {}, "an exploit that makes itself unjudgeable escapes its verdict"
    return {name: grade for name, grade in zip(sources, grades, strict=True) if grade.verdict is Verdict.RIGHT}


@pytest.mark.parametrize("form", list(Form))
def test_no_exploit_passes(form, sandbox):
    known = PRINTED_RIGHT if form is Form.STDIN else ()
    chosen = {name: source for name, source in EXPLOITS.items() if name not in known}
    assert len(chosen) >= 50
    assert passed(chosen, form, sandbox) == {}


@pytest.mark.parametrize("form", list(Form))
def test_every_honest_program_passes(form, sandbox):
    grades = {name: graded(source, form, sandbox, 4.0) for name, source in HONEST.items()}
    assert {name: grade for name, grade in grades.items() if grade.verdict is not Verdict.RIGHT} == {}


@pytest.mark.slow
def test_two_hundred_honest_programs_pass_under_load(sandbox):
    """10 programs x 4 forms x 5 times, 8 threads on the slots of one sandbox."""
    jobs = [(source, form) for source in HONEST.values() for form in Form for _ in range(5)]
    with ThreadPoolExecutor(8) as threads:
        grades = list(threads.map(lambda job: graded(job[0], job[1], sandbox, 4.0), jobs))
    assert [grade.verdict for grade in grades] == [Verdict.RIGHT] * 200


def test_the_same_exploits_pass_a_grader_in_one_process(sandbox):
    """Proof that the suite can catch: if these did not pass a naive grader, they would prove nothing of ours."""
    limits = Limits(cpu_s=CPU_S)
    fooled = [
        name
        for name, source in EXPLOITS.items()
        if sandbox.run(IN_PROCESS.format(program=source), limits=limits).is_clean
    ]
    assert {"sys.exit at import", "os._exit in the call", "always equal", "a list that is equal", "frames"} <= set(
        fooled
    )
    assert len(fooled) >= 6
    honest = IN_PROCESS.format(program=HONEST["plain"])
    assert sandbox.run(honest, limits=limits).is_clean
    assert not sandbox.run(honest.replace("+ 7", "+ 8"), limits=limits).is_clean


OTHER_FILES = ("conftest.py", "tests/test_core.py", "sitecustomize.py", "../calc/core.py", "/calc/core.py", "calc/n.py")


@pytest.mark.parametrize("path", OTHER_FILES)
def test_a_repair_touches_no_other_file(path, sandbox):
    right = "```python path=calc/core.py\ndef f(n): return n * n + 7\n```\n"
    problem = square_plus_seven(Form.REPAIR)
    assert grade_reply(right, problem, sandbox, dialect=Dialect.PLAIN).verdict is Verdict.RIGHT
    other = f"```python path={path}\nimport os\nos._exit(0)\n```\n"
    assert grade_reply(right + other, problem, sandbox, dialect=Dialect.PLAIN).verdict is Verdict.WRONG


def test_no_exploit_is_a_right_program():
    """Each is wrong as a plain function too, so a pass would be a theft."""
    assert not [name for name, source in EXPLOITS.items() if "n * n" in source or "n ** 2" in source]
    assert len(EXPLOITS) >= 27
