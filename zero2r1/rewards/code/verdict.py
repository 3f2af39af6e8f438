"""The words of the code graders: what a grading says, and how a box that ended is blamed.

What is not here: running anything.
"""

from dataclasses import dataclass
from typing import Literal

from zero2r1.core.problems import CodeProblem
from zero2r1.core.types import Verdict
from zero2r1.sandbox.base import MIB, Execution, Limits, Status
from zero2r1.sandbox.session import Session

Scoring = Literal["all", "fraction"]
"""all: every test or nothing, stop at the first failure. fraction: run every test and count."""
OUTPUT_BYTES = 8 * MIB
"""Ours: all lines of a conversation together; the results of a hundred tests fit."""
MIN_TOTAL_CPU_S = 60.0


class BrokenError(RuntimeError):
    """The sandbox failed, or the machine starved it: says nothing about the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeGrade:
    """A verdict on one program."""

    verdict: Verdict
    """RIGHT only when every test passed; ERROR when nobody could judge."""
    passed: int = 0
    """Tests passed; with `scoring="all"` those before the first failure."""
    total: int = 0
    note: str = ""
    """Why, unless it is right."""

    @property
    def fraction(self) -> float | None:
        """Share of the tests passed, None when nobody could judge.

            fraction = passed / total

        Ours: a softer score for easy starts; the verdict stays all or nothing.
        """
        if self.verdict is Verdict.ERROR:
            return None
        return self.passed / self.total if self.total else 0.0


def judged(passed: int, total: int, note: str) -> CodeGrade:
    """The grade of a program whose tests were run."""
    if total > 0 and passed == total:
        return CodeGrade(verdict=Verdict.RIGHT, passed=passed, total=total)
    return CodeGrade(verdict=Verdict.WRONG, passed=passed, total=total, note=note[:500])


def wrong(note: str, *, total: int = 0) -> CodeGrade:
    """The grade of a program that passed nothing."""
    return judged(0, total, note)


def unjudged(note: str) -> CodeGrade:
    """The grade when it is not the program's fault."""
    return CodeGrade(verdict=Verdict.ERROR, note=note[:500])


def limits_of(problem: CodeProblem, num_answers: int = 1) -> Limits:
    """What a program may use in a conversation of so many answers. CPU time of each answer decides."""
    return Limits(
        cpu_s=problem.cpu_s,
        total_cpu_s=max(MIN_TOTAL_CPU_S, problem.cpu_s * (num_answers + 1)),
        memory_bytes=problem.memory_mib * MIB,
        output_bytes=OUTPUT_BYTES,
    )


def end_of(session: Session) -> str:
    """How a program ended that stopped answering.

    Raises:
        BrokenError: the sandbox failed.
    """
    return how(session.finish())


def how(execution: Execution) -> str:
    """How a program ended, in words; empty for a clean end.

    Raises:
        BrokenError: the sandbox failed.
    """
    if execution.status is Status.BROKEN:
        raise BrokenError(execution.problem)
    if execution.is_clean:
        return ""
    if execution.status is not Status.EXITED:
        return execution.problem
    last = execution.stderr[-2000:].decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"it ended with exit code {execution.exit_code}" + (f": {last[:300]}" if last else "")
