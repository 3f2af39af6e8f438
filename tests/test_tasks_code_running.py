"""Right programs pass their hidden tests and planted wrong ones fail, by running both: a sample here, all in `slow`."""

from collections.abc import Iterator, Mapping

import pytest

from zero2r1.core.problems import CodeProblem, Form
from zero2r1.sandbox.base import Limits, Status
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.unsafe import UnsafeLauncher
from zero2r1.tasks.code import REPAIRS, TEMPLATES, problems_of
from zero2r1.tasks.code_repair import RepairTemplate, changed_files, repair_prompt
from zero2r1.tasks.code_templates import Params, Template
from zero2r1.tasks.code_wording import program_of, prompt_of

QUICK = Limits(cpu_s=5.0)
CALLS = """
import ast
for given, expected in {tests!r}:
    result, wanted = {name}(*ast.literal_eval(given)), ast.literal_eval(expected)
    same = abs(result - wanted) < 1e-6 if type(wanted) is float else result == wanted and type(result) is type(wanted)
    assert same, (given, result, wanted)
"""
UNIT_TESTS = """
import pathlib, sys, tempfile
with tempfile.TemporaryDirectory() as folder:
    for path, text in {files!r}.items():
        place = pathlib.Path(folder, path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    sys.path.insert(0, folder)
    space = {{}}
    exec({tests!r}, space)
    found = [value for name, value in space.items() if name.startswith("test_")]
    assert len(found) >= 2
    for test in found:
        test()
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(UnsafeLauncher()) as made:
        yield made


def passes(sandbox: Sandbox, program: str, stdin: str = "") -> bool:
    """True when the program ends well. Only our own programs run here."""
    execution = sandbox.run(program, stdin=stdin.encode(), limits=QUICK)
    assert execution.status is not Status.BROKEN, execution.problem
    return execution.status is Status.EXITED and execution.exit_code == 0


def function_passes(sandbox: Sandbox, made: Template, params: Params, *, is_mutant: bool) -> bool:
    problem = CodeProblem.from_reference(prompt_of(made, params, Form.FUNCTION, "en").reference)
    tests = [(test.given, test.expected) for test in problem.io_tests]
    program = program_of(made, params, Form.FUNCTION, is_mutant=is_mutant)
    return passes(sandbox, program + CALLS.format(tests=tests, name=problem.entry_point))


def stdin_passes(sandbox: Sandbox, made: Template, params: Params, *, is_mutant: bool) -> bool:
    problem = CodeProblem.from_reference(prompt_of(made, params, Form.STDIN, "en").reference)
    program = program_of(made, params, Form.STDIN, is_mutant=is_mutant)
    for test in problem.io_tests:
        execution = sandbox.run(program, stdin=test.given.encode(), limits=QUICK)
        said = execution.stdout.decode().split()
        if execution.exit_code != 0 or said != test.expected.split():
            return bool(made.tolerance) and abs(float(said[0]) - float(test.expected)) < made.tolerance
    return True


def repair_passes(sandbox: Sandbox, made: RepairTemplate, params: Params, changed: Mapping[str, str]) -> bool:
    problem = CodeProblem.from_reference(repair_prompt(made, params, "en").reference)
    files = {**problem.files, **changed}
    return passes(sandbox, UNIT_TESTS.format(files=files, tests=problem.test_code))


@pytest.mark.parametrize("made", TEMPLATES[::8], ids=lambda made: made.name)
def test_a_sample_of_functions(sandbox: Sandbox, made: Template) -> None:
    params = problems_of(made, "train")[0]
    assert function_passes(sandbox, made, params, is_mutant=False)
    assert not function_passes(sandbox, made, params, is_mutant=True)


@pytest.mark.parametrize("made", TEMPLATES[3::13], ids=lambda made: made.name)
def test_a_sample_of_programs(sandbox: Sandbox, made: Template) -> None:
    params = problems_of(made, "train")[-1]
    assert stdin_passes(sandbox, made, params, is_mutant=False)
    assert not stdin_passes(sandbox, made, params, is_mutant=True)


@pytest.mark.parametrize("made", REPAIRS, ids=lambda made: made.name)
def test_every_repair(sandbox: Sandbox, made: RepairTemplate) -> None:
    params = problems_of(made, "train")[0]
    assert repair_passes(sandbox, made, params, changed_files(made, params))
    assert not repair_passes(sandbox, made, params, {}), "the mistake is not noticed"
    assert not repair_passes(sandbox, made, params, changed_files(made, params, is_half=True))


@pytest.mark.slow
@pytest.mark.parametrize("made", TEMPLATES, ids=lambda made: made.name)
def test_every_template_accepts_the_right_and_rejects_the_wrong_program(sandbox: Sandbox, made: Template) -> None:
    every = [params for split in ("train", "test") for params in problems_of(made, split)]
    for params in every[:: max(1, len(every) // 6)]:
        assert function_passes(sandbox, made, params, is_mutant=False), params
        assert not function_passes(sandbox, made, params, is_mutant=True), params
    for params in every[:: max(1, len(every) // 2)]:
        assert stdin_passes(sandbox, made, params, is_mutant=False), params
        assert not stdin_passes(sandbox, made, params, is_mutant=True), params


@pytest.mark.slow
@pytest.mark.parametrize("made", REPAIRS, ids=lambda made: made.name)
def test_every_parameter_of_a_repair(sandbox: Sandbox, made: RepairTemplate) -> None:
    for params in [params for split in ("train", "validation", "test") for params in problems_of(made, split)][::4]:
        assert repair_passes(sandbox, made, params, changed_files(made, params)), params
        assert not repair_passes(sandbox, made, params, {}), params
        assert not repair_passes(sandbox, made, params, changed_files(made, params, is_half=True)), params


@pytest.mark.slow
def test_a_slow_solution_of_a_large_input_runs_out_of_time(sandbox: Sandbox) -> None:
    made = next(made for made in TEMPLATES if made.name == "multiples_of_either")
    params = problems_of(made, "train")[0]
    problem = CodeProblem.from_reference(prompt_of(made, params, Form.STDIN, "en").reference)
    large = next(test for test in problem.io_tests if len(test.given) > 10)
    loop = f"n = int(input())\nprint(sum(k % {params['a']} == 0 or k % {params['b']} == 0 for k in range(1, n + 1)))"
    execution = sandbox.run(loop, stdin=large.given.encode(), limits=Limits(cpu_s=1.0))
    assert execution.status is Status.CPU
