"""The verdict on a reply that should hold a program: find it, run it in boxes, compare outside of them.

    reply  ->  program (answer.py) or files (files.py)  ->  stdin.py | calls.py | split.py  ->  verdict and reason

A sandbox that fails is asked once more; if it fails again the verdict is ERROR, never WRONG.

What is not here: the sandbox's life (`grader.py`), and rewards: a stage weighs the verdict.
"""

from collections.abc import Callable

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem, Form
from zero2r1.rewards.code.answer import program_of
from zero2r1.rewards.code.calls import grade_calls
from zero2r1.rewards.code.files import files_of
from zero2r1.rewards.code.split import grade_asserts, grade_repair
from zero2r1.rewards.code.stdin import grade_stdin
from zero2r1.rewards.code.verdict import BrokenError, CodeGrade, Scoring, unjudged, wrong
from zero2r1.sandbox.sandbox import Sandbox

NUM_TRIES = 2


def grade_program(program: str, problem: CodeProblem, sandbox: Sandbox, *, scoring: Scoring = "all") -> CodeGrade:
    """Judge a program by the tests of a problem of the form stdin, function or asserts.

    Args:
        program: Python source, whatever it may be.
        problem: what it has to pass.
        sandbox: where it runs; asserts take two slots at once.
        scoring: all stops at the first failure, fraction runs every test.

    Raises:
        ValueError: the problem is of the form repair (see `grade_reply`).
    """
    graders = {Form.STDIN: grade_stdin, Form.FUNCTION: grade_calls, Form.ASSERTS: grade_asserts}
    if problem.form not in graders:
        raise ValueError(f"a problem of the form {problem.form} is answered by files, not by one program")
    grade = graders[problem.form]
    return _tried(lambda: grade(program, problem, sandbox, is_partial=scoring == "fraction"))


def grade_reply(
    text: str,
    problem: CodeProblem,
    sandbox: Sandbox,
    *,
    dialect: Dialect,
    prefilled: bool = False,
    scoring: Scoring = "all",
) -> CodeGrade:
    """Judge the program, or the files, in a reply. Never raises for what a model wrote.

    Args:
        text: the response as the model wrote it.
        problem: what the program has to pass.
        sandbox: where it runs.
        dialect: says where the answer stands.
        prefilled: True when the prompt already ended with `<think>`.
        scoring: see `grade_program`.
    """
    if problem.form is Form.REPAIR:
        found = files_of(text, problem, dialect, prefilled=prefilled)
        files = found.files
        if files is None:
            return wrong(found.problem)
        return _tried(lambda: grade_repair(files, problem, sandbox, is_partial=scoring == "fraction"))
    program = program_of(text, dialect, prefilled=prefilled)
    if program.answer is None:
        return wrong(program.problem)
    return grade_program(program.answer, problem, sandbox, scoring=scoring)


def _tried(grade: Callable[[], CodeGrade]) -> CodeGrade:
    """A grade, once more if the sandbox failed."""
    reason = ""
    for _ in range(NUM_TRIES):
        try:
            return grade()
        except (BrokenError, OSError) as problem:
            reason = str(problem)
    return unjudged(f"the sandbox failed: {reason}")
