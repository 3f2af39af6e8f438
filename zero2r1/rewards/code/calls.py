"""Functions that are called with arguments: one conversation, one call a test.

Results cross as typed trees and are compared here. Iterators, ranges, views and deques come as lists, because no
literal can state them; what a function does to its arguments does not matter.

What is not here: expected results inside a box. The program sees arguments only.
"""

import ast

from zero2r1.core.problems import CodeProblem, IOTest
from zero2r1.rewards.code.boxes import MAX_LINE_BYTES, first_line, line, problem_in, reply_of, source_of
from zero2r1.rewards.code.compare import same_value
from zero2r1.rewards.code.verdict import CodeGrade, end_of, judged, limits_of, unjudged
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.session import Session
from zero2r1.sandbox.values import NotCarriedError, encode

MAX_RESTARTS = 20
"""Ours: a program that ends in more tests than this has failed the rest too."""


def grade_calls(program: str, problem: CodeProblem, sandbox: Sandbox, *, is_partial: bool) -> CodeGrade:
    """Call a function on every test's arguments.

    Args:
        program: source that defines the problem's entry point.
        problem: of the form function.
        sandbox: where it runs.
        is_partial: go on after a failure, to count. A program that ended is started again for the next test.

    Raises:
        BrokenError: the sandbox failed.
        OSError: no box could be made.
    """
    try:
        calls = [(_call(problem, test), _tree(test.expected)) for test in problem.io_tests]
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as unreadable:
        return unjudged(f"a test of the problem is no Python literal: {unreadable}")
    if any(len(line({"ok": expected})) > MAX_LINE_BYTES for _, expected in calls):
        return unjudged("a test of the problem expects a result larger than any reply may be")
    results: list[str] = []
    for _ in range(MAX_RESTARTS):
        results += _talk(program, problem, sandbox, calls[len(results) :], is_partial=is_partial)
        if len(results) == len(calls) or not is_partial:
            break
    notes = [f"test {number}: {why}" for number, why in enumerate(results, start=1) if why]
    return judged(results.count(""), len(calls), notes[0] if notes else "it ended in too many tests")


def _talk(
    program: str, problem: CodeProblem, sandbox: Sandbox, calls: list[tuple[bytes, object]], *, is_partial: bool
) -> list[str]:
    """Why each test failed (empty: passed), up to the one in which the program ended."""
    results: list[str] = []
    with sandbox.open(source_of("inside/caller.py"), limits=limits_of(problem, len(calls))) as (session,):
        session.send(first_line([problem.setup, program], {}, keeps=False))
        why = _loaded(session)
        if why:
            return [why] * len(calls)
        for call, expected in calls:
            session.send(call)
            reply = reply_of(session)
            if reply is None:
                return [*results, end_of(session) or "it ended before it answered"]
            why = problem_in(reply)
            is_same = not why and same_value(
                expected, reply["ok"], tolerance=problem.tolerance, any_order=problem.any_order
            )
            results.append(why or ("" if is_same else "another result"))
            if results[-1] and not is_partial:
                return results
    return results


def _loaded(session: Session) -> str:
    """Why the program could not be loaded; empty when it was."""
    reply = reply_of(session)
    return problem_in(reply) if reply is not None else end_of(session) or "it ended while it was loaded"


def _call(problem: CodeProblem, test: IOTest) -> bytes:
    """The request of one test."""
    arguments = ast.literal_eval(test.given)
    if not isinstance(arguments, list | tuple):
        raise ValueError("the arguments are neither a list nor a tuple")
    return line({"do": "run", "with": [problem.entry_point, *(encode(argument) for argument in arguments)]})


def _tree(literal: str) -> object:
    """The tree of an expected result."""
    try:
        return encode(ast.literal_eval(literal))
    except NotCarriedError as unknown:
        raise ValueError(str(unknown)) from unknown
