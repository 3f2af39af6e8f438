"""The program in a reply: which block counts, and which replies have none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem, Form
from zero2r1.rewards.code.answer import MAX_PROGRAM_CHARS, blocks_of, program_of
from zero2r1.rewards.code.files import files_of

CODE = "def f(n):\n    return n\n"
BLOCK = f"```python\n{CODE}```"


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        (Dialect.PLAIN, BLOCK),
        (Dialect.PLAIN, CODE),
        (Dialect.PLAIN, f"First try:\n```python\nwrong\n```\nBetter:\n{BLOCK}\nDone."),
        (Dialect.PLAIN, f"{BLOCK}\nIt prints:\n```\n16\n```\n"),
        (Dialect.PLAIN, f"{BLOCK}\nRun it:\n```bash\npython f.py\n```\n"),
        (Dialect.PLAIN, f"```\n{CODE}```"),
        (Dialect.PLAIN, f"~~~py\n{CODE}~~~"),
        (Dialect.PLAIN, f"````python\n{CODE}````"),
        (Dialect.PLAIN, "1. So:\n   ```python\n   def f(n):\n       return n\n   ```"),
        (Dialect.PLAIN, f"```Python3 title=x\n{CODE}"),
        (Dialect.R1, f"<think>\n```python\nno\n```\n</think>\n\nThe program:\n{BLOCK}"),
        (Dialect.R1_ZERO, f"<think> a </think> <answer>\n{BLOCK}\n</answer>"),
        (Dialect.R1_ZERO, f"<think> a </think> <answer>\n{CODE}</answer>"),
    ],
)
def test_the_program_is_found(dialect, text):
    found = program_of(text, dialect)
    assert (found.answer or "").strip() == CODE.strip()


@pytest.mark.parametrize(
    ("dialect", "prefilled", "text", "problem"),
    [
        (Dialect.R1, False, f"<think>\n{BLOCK}", "never ends"),
        (Dialect.R1, True, BLOCK, "never ends"),
        (Dialect.R1, False, f"<think> a </think> <think> {BLOCK}", "opened again"),
        (Dialect.R1, False, f"<think>\n{BLOCK}\n</think>\n", "empty"),
        (Dialect.R1_ZERO, False, f"<think> a </think> {BLOCK}", "no single <answer>"),
        (
            Dialect.R1_ZERO,
            False,
            f"<think> a </think> <answer>{BLOCK}</answer><answer>b</answer>",
            "no single <answer>",
        ),
        (Dialect.PLAIN, False, "```cpp\nint main() {}\n```", "no block of Python"),
        (Dialect.PLAIN, False, "```python\n\n```", "empty"),
        (Dialect.PLAIN, False, "", "empty"),
        (Dialect.PLAIN, False, "x" * (MAX_PROGRAM_CHARS + 1), "longer than"),
    ],
)
def test_a_reply_without_a_program_says_why(dialect, prefilled, text, problem):
    found = program_of(text, dialect, prefilled=prefilled)
    assert found.answer is None
    assert problem in found.problem


def test_a_fence_inside_a_longer_fence_is_text():
    (block,) = blocks_of('````python\ns = """\n```\n"""\n````')
    assert block.text == 's = """\n```\n"""\n'


@given(st.text(alphabet="`~\n pyx#<>/answerthink\r\u2028\x00", max_size=200), st.sampled_from(Dialect), st.booleans())
def test_no_text_raises(text, dialect, prefilled):
    found = program_of(text, dialect, prefilled=prefilled)
    assert (found.answer is None) == bool(found.problem)


TWO = CodeProblem(form=Form.REPAIR, files={"calc/core.py": "a", "calc/more.py": "b"}, test_code="def test_x(): pass")
ONE = CodeProblem(form=Form.REPAIR, files={"core.py": "a"}, test_code="def test_x(): pass")


@pytest.mark.parametrize(
    "text",
    [
        "```python path=calc/core.py\nx = 1\n```",
        '```python title="calc/core.py"\nx = 1\n```',
        "```python calc/core.py\nx = 1\n```",
        "### `calc/core.py`\n\n```python\nx = 1\n```",
        "File: calc/core.py\n```\nx = 1\n```",
        "**calc/core.py**:\n```py\nx = 1\n```",
        "The bug:\n```python\nreturn a - b\n```\n\ncalc/core.py\n```python\nx = 1\n```",
    ],
)
def test_a_block_names_its_file(text):
    files = files_of(text, TWO, Dialect.PLAIN).files
    assert files == {"calc/core.py": "x = 1\n"}


def test_a_first_line_names_its_file_and_stays():
    files = files_of("```python\n# file: calc/more.py\nx = 1\n```", TWO, Dialect.PLAIN).files
    assert files == {"calc/more.py": "# file: calc/more.py\nx = 1\n"}


def test_several_files_are_replaced_at_once():
    text = "```python path=calc/core.py\nx = 1\n```\n```python path=calc/more.py\ny = 2\n```"
    assert files_of(text, TWO, Dialect.PLAIN).files == {"calc/core.py": "x = 1\n", "calc/more.py": "y = 2\n"}


def test_one_block_without_a_name_is_enough_for_one_file():
    assert files_of("```python\nx = 1\n```", ONE, Dialect.PLAIN).files == {"core.py": "x = 1\n"}
    assert files_of("```python\nx = 1\n```", TWO, Dialect.PLAIN).files is None


@pytest.mark.parametrize(
    "path", ["new.py", "../core.py", "/core.py", "./core.py", "tests/test_core.py", "core.py/../x.py"]
)
def test_a_path_that_is_no_file_of_the_project_spoils_the_reply(path):
    found = files_of(f"```python path=core.py\nx = 1\n```\n```python path={path}\ny\n```", ONE, Dialect.PLAIN)
    assert found.files is None
    assert "no file of the project" in found.problem
