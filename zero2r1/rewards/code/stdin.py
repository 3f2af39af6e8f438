"""Programs that read standard input and print: one box a test.

What is not here: expected outputs inside a box. The program sees its input only.
"""

from collections.abc import Sequence

from zero2r1.core.problems import CodeProblem, IOTest
from zero2r1.rewards.code.compare import same_text
from zero2r1.rewards.code.verdict import CodeGrade, how, judged, limits_of, unjudged
from zero2r1.sandbox.sandbox import Sandbox


def grade_stdin(program: str, problem: CodeProblem, sandbox: Sandbox, *, is_partial: bool) -> CodeGrade:
    """Run a program on every input.

    Args:
        program: source.
        problem: of the form stdin.
        sandbox: where it runs.
        is_partial: go on after a failure, to count.

    Raises:
        BrokenError: the sandbox failed.
    """
    limits = limits_of(problem)
    if any(len(test.expected.encode("utf-8", "surrogatepass")) > limits.output_bytes for test in problem.io_tests):
        return unjudged("a test of the problem expects a longer output than any program may write")
    passed, note = 0, ""
    tests: Sequence[IOTest] = problem.io_tests
    for number, test in enumerate(tests, start=1):
        stdin = test.given.encode("utf-8", "surrogatepass")
        execution = sandbox.run(program, stdin=stdin, limits=limits)
        why = how(execution)
        if not why:
            printed = execution.stdout.decode("utf-8", "replace")
            why = "" if same_text(test.expected, printed, tolerance=problem.tolerance) else "another output"
        passed += not why
        note = note or (f"test {number}: {why}" if why else "")
        if note and not is_partial:
            break
    return judged(passed, len(tests), note)
