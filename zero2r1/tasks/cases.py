"""Test cases for a programming problem whose own tests are not public.

    generator programs -> inputs -> filter 1: known-correct submissions agree -> filter 2: tests that expose wrong ones

Generators and submissions are Python programs and run in the sandbox only. Source: DeepSeek-R1 (arXiv 2501.12948v2),
RL data, code: test cases from generator programs, invalid ones removed by correct submissions, and subsets chosen that
expose flaws of wrong submissions. Sizes, seeds and the greedy choice are ours.

What is not here: asking a language model for generators (`case_prompt.py` has the prompt), checkers for problems with
several right outputs (their correct submissions disagree, so all their inputs are dropped and counted).
"""

import ast
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from zero2r1.core.problems import IOTest
from zero2r1.core.random import Address, Stream, key
from zero2r1.sandbox.base import Execution, Limits, Status
from zero2r1.sandbox.sandbox import Sandbox

NUM_RUNS = 4
"""Times each generator runs, each with a seed of its own. Ours."""
NUM_OTHERS = 8
"""Tests kept beside those that expose wrong submissions, since no list of wrong submissions is complete. Ours."""
MAX_INPUT_BYTES = 256 * 1024
"""Ours: larger inputs are dropped and counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CasesReport:
    """What became of every input."""

    num_runs: int
    """Runs of generators."""
    no_input: Mapping[str, int]
    """Runs that gave no new input, by reason; together with `num_inputs` these are all runs."""
    num_inputs: int
    """Different inputs."""
    invalid: Mapping[str, int]
    """Inputs dropped by filter 1, by reason; together with `num_valid` these are all inputs."""
    correct_failures: tuple[int, ...]
    """For each correct submission: inputs on which it failed. One that fails on many is not correct."""
    num_valid: int
    num_exposing: int
    """Tests that filter 2 chose because they expose wrong submissions."""
    num_kept: int
    """Tests in the end: the exposing ones and random others."""
    unexposed: tuple[int, ...]
    """Indices of the wrong submissions that pass every valid test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Tests of the form stdin, and how they came about."""

    io_tests: tuple[IOTest, ...]
    report: CasesReport


def construct(
    question: str,
    generators: Sequence[str],
    correct: Sequence[str],
    wrong: Sequence[str],
    sandbox: Sandbox,
    *,
    num_runs: int = NUM_RUNS,
    num_others: int = NUM_OTHERS,
    max_input_bytes: int = MAX_INPUT_BYTES,
    limits: Limits | None = None,
    seed: int = 0,
) -> Cases:
    """Make tests for a problem that reads standard input and prints.

    Args:
        question: its text; with `seed` it decides every random choice.
        generators: programs that print exactly one input each; `random` is seeded for them.
        correct: submissions known to be right, at least one.
        wrong: submissions known to be wrong.
        sandbox: runs all of them.
        num_runs: times each generator runs.
        num_others: random tests kept beside the exposing ones.
        max_input_bytes: larger inputs are dropped.
        limits: of one run; a correct submission has to keep them too.
        seed: other seeds give other inputs.

    Raises:
        ValueError: no correct submission: nothing says what is expected.
    """
    if not correct:
        raise ValueError("without a correct submission nobody knows the expected outputs")
    limits = limits or Limits()
    stream = Stream(key(Address(seed=seed, stage="cases", step=0), question))
    roomy = replace(limits, output_bytes=max(limits.output_bytes, max_input_bytes))
    programs = [program for program in generators for _ in range(num_runs)]
    inputs, no_input = _inputs(programs, sandbox, stream, max_input_bytes, roomy)
    tests, invalid, failures = _valid(inputs, correct, sandbox, limits)
    exposed = [frozenset(_exposed(test, wrong, sandbox, limits)) for test in tests]
    exposing = cover(exposed)
    others = stream.shuffle([place for place in range(len(tests)) if place not in exposing])[:num_others]
    kept = sorted({*exposing, *others})
    report = CasesReport(
        num_runs=len(programs),
        no_input=MappingProxyType(dict(no_input)),
        num_inputs=len(inputs),
        invalid=MappingProxyType(dict(invalid)),
        correct_failures=tuple(failures),
        num_valid=len(tests),
        num_exposing=len(exposing),
        num_kept=len(kept),
        unexposed=tuple(place for place in range(len(wrong)) if not any(place in found for found in exposed)),
    )
    return Cases(io_tests=tuple(tests[place] for place in kept), report=report)


def cover(exposed: Sequence[frozenset[int]]) -> list[int]:
    """Few tests that expose every wrong submission that any test exposes.

    Args:
        exposed: for each test the wrong submissions it exposes.

    Returns:
        Places of the chosen tests, in the order chosen: always the one that exposes most of what is still unexposed,
        of equals the first. Ours: greedy set cover; the smallest set would cost exponential time.
    """
    missing = frozenset().union(*exposed)
    chosen: list[int] = []
    while missing:
        best = max(range(len(exposed)), key=lambda place: len(exposed[place] & missing))
        chosen.append(best)
        missing -= exposed[best]
    return chosen


def invalid_reason(outputs: Sequence[tuple[str, str]]) -> str:
    """Why filter 1 drops an input, in words; empty for a valid one.

    Args:
        outputs: (output, problem) of each correct submission; the problem is empty when it ran well.
    """
    problem = next((problem for _, problem in outputs if problem), "")
    if problem:
        return problem
    return "the correct submissions disagree" if len({output for output, _ in outputs}) > 1 else ""


def normalised(output: str) -> str:
    """An output without white space at the ends of its lines and without empty lines at its end, as judges compare."""
    lines = [line.rstrip() for line in output.split("\n")]
    return "\n".join(lines).rstrip("\n") + "\n"


def seeded(program: str, seed: int) -> str:
    """The program with `random` seeded first, behind its docstring and its `__future__` imports.

    A program that is no Python stays as it is: it fails when it runs. The order of sets of texts is not fixed.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            body = ast.parse(program).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return program
    first = 0
    for node in body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not is_docstring and not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
            break
        first = node.end_lineno or 0
    lines = program.split("\n")
    return "\n".join((*lines[:first], f"import random; random.seed({seed})", *lines[first:]))


def _inputs(
    programs: Sequence[str], sandbox: Sandbox, stream: Stream, max_bytes: int, limits: Limits
) -> tuple[list[str], Counter[str]]:
    """Different inputs in the order they came, and why other runs gave none."""
    found: dict[str, None] = {}
    refused: Counter[str] = Counter()
    for program in programs:
        execution = sandbox.run(seeded(program, stream.integer(0, 2**31 - 1)), limits=limits)
        text, problem = _read(execution)
        if len(execution.stdout) > max_bytes:
            problem = "the input is too large"
        elif not problem and not text.strip():
            problem = "the generator printed nothing"
        elif not problem and text in found:
            problem = "the input was there before"
        if problem:
            refused[problem] += 1
        else:
            found[text] = None
    return list(found), refused


def _valid(
    inputs: Sequence[str], correct: Sequence[str], sandbox: Sandbox, limits: Limits
) -> tuple[list[IOTest], Counter[str], list[int]]:
    """Filter 1: the tests that stay, why others went, and how often each correct submission failed."""
    tests: list[IOTest] = []
    invalid: Counter[str] = Counter()
    failures = [0] * len(correct)
    for given in inputs:
        outputs = [_output(program, given, sandbox, limits) for program in correct]
        for place, (_, problem) in enumerate(outputs):
            failures[place] += bool(problem)
        reason = invalid_reason(outputs)
        if reason:
            invalid[reason] += 1
        else:
            tests.append(IOTest(given=given, expected=outputs[0][0]))
    return tests, invalid, failures


def _output(program: str, given: str, sandbox: Sandbox, limits: Limits) -> tuple[str, str]:
    """(normalised output, problem) of a submission on an input."""
    text, problem = _read(sandbox.run(program, stdin=given.encode("utf-8"), limits=limits))
    return normalised(text), problem


def _exposed(test: IOTest, wrong: Sequence[str], sandbox: Sandbox, limits: Limits) -> list[int]:
    """Which wrong submissions do not pass a test. A failure of the sandbox exposes nobody."""
    found = []
    for place, program in enumerate(wrong):
        execution = sandbox.run(program, stdin=test.given.encode("utf-8"), limits=limits)
        text, problem = _read(execution)
        if execution.status is not Status.BROKEN and (problem or normalised(text) != test.expected):
            found.append(place)
    return found


def _read(execution: Execution) -> tuple[str, str]:
    """(output, problem) of a run; the problem names the rule, never the program's own words, so it can be counted."""
    if execution.status is Status.BROKEN:
        return "", "the sandbox failed"
    if execution.status in (Status.CPU, Status.WALL):
        return "", "it took too long"
    if execution.status is not Status.EXITED or execution.exit_code != 0:
        return "", "it failed"
    try:
        return execution.stdout.decode("utf-8"), ""
    except UnicodeDecodeError:
        return "", "its output is not UTF-8"
