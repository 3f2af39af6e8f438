"""Rows of HumanEval, of MBPP and of one's own problems become prompts, or are refused by name."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.core.problems import CodeProblem, Form, IOTest
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.base import TaskConfig, make_task
from zero2r1.tasks.code_files import called_name, read_code_prompt, row_format
from zero2r1.tasks.files import read_file
from zero2r1.tasks.rows import RefusedRowError

HUMANEVAL = {
    "task_id": "X/1",
    "prompt": 'def double(x):\n    """Twice x.\n    >>> double(2)\n    4\n    """\n',
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n",
    "entry_point": "double",
}
MBPP = {
    "text": "Write a function to double a number.",
    "code": "def half(x):\r\n    return x / 2\r\ndef double(x):\r\n    return 2 * x",
    "test_list": ["assert double(3) == 6", "assert double(half(3)) == 3"],
    "test_setup_code": "import math",
    "challenge_test_list": ["assert double(0) == 0"],
}
PROBLEM = {
    "question": "Print twice the number.",
    "problem": {"form": "stdin", "io_tests": [{"given": "3\n", "expected": "6\n"}]},
    "solution": "print(2 * int(input()))",
    "level": 2,
}


def write(path: Path, *rows: dict) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def test_a_humaneval_row_asks_to_complete_the_function(tmp_path: Path) -> None:
    [prompt] = read_file(write(tmp_path / "HumanEval.jsonl.gz", HUMANEVAL)).prompts
    problem = CodeProblem.from_reference(prompt.reference)
    assert problem == CodeProblem(
        form=Form.ASSERTS, entry_point="double", setup=HUMANEVAL["prompt"], test_code=HUMANEVAL["test"]
    )
    assert prompt.gold == HUMANEVAL["prompt"] + HUMANEVAL["canonical_solution"]
    assert (prompt.answer_kind, prompt.domain, prompt.language) == (AnswerKind.CODE, "humaneval", "en")
    assert ">>> double(2)" in prompt.question
    assert "candidate" not in prompt.question
    assert "return 2" not in prompt.question


def test_an_mbpp_row_shows_one_test_and_finds_the_name(tmp_path: Path) -> None:
    [prompt] = read_file(write(tmp_path / "mbpp.jsonl", MBPP)).prompts
    problem = CodeProblem.from_reference(prompt.reference)
    assert problem.entry_point == "double"
    assert problem.test_code == "\n".join([*MBPP["test_list"], *MBPP["challenge_test_list"]])
    assert problem.setup == "import math"
    assert "assert double(3) == 6" in prompt.question
    assert "half(3)" not in prompt.question
    assert "\r" not in prompt.gold


def test_a_problem_of_ones_own_keeps_all_its_fields(tmp_path: Path) -> None:
    chinese = {**PROBLEM, "question": "打印这个数的两倍。", "domain": "mine"}
    first, second = read_file(write(tmp_path / "own.jsonl", PROBLEM, chinese)).prompts
    assert CodeProblem.from_reference(first.reference).io_tests == (IOTest(given="3\n", expected="6\n"),)
    assert (first.language, first.level, first.domain, first.gold) == ("en", 2, "code", PROBLEM["solution"])
    assert (second.language, second.domain) == ("zh", "mine")


def test_a_problem_may_be_a_column_of_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    problem = json.dumps(PROBLEM["problem"]).replace('"', '""')
    path.write_text(f'question,problem,solution\nDouble it.,"{problem}",print(1)\n', encoding="utf-8")
    [prompt] = read_file(path).prompts
    assert prompt.answer_kind is AnswerKind.CODE


def test_a_config_names_the_format_and_columns_are_mapped(tmp_path: Path) -> None:
    row = {("description" if name == "text" else name): value for name, value in MBPP.items()}
    write(tmp_path / "mine.jsonl", row)
    config = TaskConfig(family="file", file="mine.jsonl", format="mbpp", columns={"text": "description"}, split="test")
    [prompt] = make_task([config], 0, folder=tmp_path).draw(1, split="test")
    assert prompt.question.startswith("Write a function to double a number.")
    asked = {"question": "2+2?", "answer": "4", "problem": "sum", "solution": "4"}
    assert row_format(asked, {}) == "questions"


def test_damaged_gzip_data_is_one_refused_row(tmp_path: Path) -> None:
    # Two rows of a few MB of incompressible text: the first survives a cut near the end.
    long = {**HUMANEVAL, "task_id": "".join(chr(33 + i * i % 89) for i in range(300_000))}
    path = write(tmp_path / "cut.jsonl.gz", HUMANEVAL, long)
    path.write_bytes(path.read_bytes()[:-20])
    data = read_file(path)
    assert (len(data.prompts), data.refused) == (1, {"damaged gzip data": 1})


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        ("humaneval", {"entry_point": "triple"}, "the solution does not define 'entry_point'"),
        ("humaneval", {"test": "def check(:"}, "a program that is no Python"),
        ("humaneval", {"prompt": None}, "null in 'prompt'"),
        ("humaneval", {"canonical_solution": 5}, "wrong type in 'canonical_solution'"),
        ("mbpp", {"test_list": []}, "no tests"),
        ("mbpp", {"test_list": [1]}, "'test_list' is no list of texts"),
        ("mbpp", {"test_list": "[1"}, "a column that should hold JSON does not"),
        ("mbpp", {"code": "def other(x): pass"}, "the tests call nothing that the solution defines"),
        ("mbpp", {"code": "def f(: pass"}, "a program that is no Python"),
        ("mbpp", {"code": "x = " + "(" * 5000}, "a program that is no Python"),
        ("mbpp", {"code": "def double(x): return '\ud800'"}, "not UTF-8"),
        ("problems", {"problem": {"form": "stdin"}}, "'problem' has no form of ours, or no tests"),
        ("problems", {"problem": {"form": "dance"}}, "'problem' has no form of ours, or no tests"),
        ("problems", {"problem": []}, "'problem' is no object"),
        ("problems", {"problem": {**PROBLEM["problem"], "evil": 1}}, "unknown field in 'problem'"),
        ("problems", {"problem": {**PROBLEM["problem"], "cpu_s": "4"}}, "wrong type in 'problem.cpu_s'"),
        ("problems", {"problem": {**PROBLEM["problem"], "cpu_s": -1}}, "wrong type in 'problem.cpu_s'"),
        (
            "problems",
            {"problem": {"form": "stdin", "io_tests": [{"given": 3, "expected": "6"}]}},
            "wrong type in 'problem.io_tests'",
        ),
        ("problems", {"level": 9}, "'level' is not 1 to 5"),
        ("problems", {"solution": ""}, "empty 'solution'"),
        ("problems", {"language": "English"}, "no two-letter code in 'language'"),
    ],
)
def test_a_wrong_row_is_refused_by_name(kind: str, change: dict, reason: str) -> None:
    row = {"humaneval": HUMANEVAL, "mbpp": MBPP, "problems": PROBLEM}[kind] | change
    with pytest.raises(RefusedRowError) as caught:
        read_code_prompt(row, {}, kind)
    assert caught.value.reason == reason


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(["humaneval", "mbpp", "problems"]), st.data())
def test_any_row_gives_a_prompt_or_a_reason(kind: str, data: st.DataObject) -> None:
    row = dict({"humaneval": HUMANEVAL, "mbpp": MBPP, "problems": PROBLEM}[kind])
    row[data.draw(st.sampled_from(sorted(row)))] = data.draw(ANY)
    try:
        prompt = read_code_prompt(row, {}, kind)
    except RefusedRowError:
        return
    CodeProblem.from_reference(prompt.reference)


@given(ANY)
def test_any_problem_gives_a_prompt_or_a_reason(fields: object) -> None:
    changed = ({**PROBLEM["problem"], name: fields} for name in ("files", "any_order", "io_tests", "cpu_s"))
    for stated in (fields, *changed):
        try:
            read_code_prompt({**PROBLEM, "problem": stated}, {}, "problems")
        except RefusedRowError:
            continue


@pytest.mark.parametrize(
    ("tests", "code", "name"),
    [
        ("assert f(1) == 2", "def f(x): return 2", "f"),
        ("assert longest([Pair(1, 2), Pair(3, 4)]) == 2", "class Pair: pass\ndef longest(x): pass", "longest"),
        ("assert set(f([1])) == {1}", "def g(): pass\ndef f(x): pass", "f"),
        ("assert helper(1)\nassert f(1)", "def helper(x): pass\ndef f(x): pass", "f"),
        ("assert len([]) == 0", "def f(x): pass", ""),
        ("assert f(1)", "f = lambda x: x", ""),
    ],
)
def test_the_name_that_tests_call(tests: str, code: str, name: str) -> None:
    assert called_name(tests, code) == name
