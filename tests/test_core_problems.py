"""Programming problems travel as text and come back whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.core.problems import CodeProblem, Form, IOTest

TEXTS = st.text(max_size=20)
TESTS = st.builds(IOTest, given=TEXTS, expected=TEXTS)
# Plain fields: run-time type checks draw random items of a mapping, which hypothesis forbids while it generates.
FIELDS = st.fixed_dictionaries(
    {
        "form": st.sampled_from(Form),
        "io_tests": st.lists(TESTS, min_size=1, max_size=3).map(tuple),
        "entry_point": TEXTS,
        "setup": TEXTS,
        "test_code": st.text(min_size=1, max_size=20),
        "files": st.dictionaries(TEXTS, TEXTS, max_size=2),
        "cpu_s": st.floats(min_value=0.1, max_value=60),
        "memory_mib": st.integers(min_value=1, max_value=4096),
        "tolerance": st.floats(min_value=0, max_value=1),
        "any_order": st.booleans(),
    }
)


@given(FIELDS)
def test_a_problem_survives_its_reference(fields):
    problem = CodeProblem(**fields)
    assert CodeProblem.from_reference(problem.to_reference()) == problem


def test_a_reference_holds_only_what_was_stated():
    problem = CodeProblem(form=Form.STDIN, io_tests=(IOTest(given="1\n", expected="2\n"),))
    assert problem.to_reference() == '{"form":"stdin","io_tests":[{"expected":"2\\n","given":"1\\n"}]}'


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "42",
        "[]",
        "null",
        "{}",
        '{"form": "poem", "test_code": "x"}',
        '{"form": "stdin"}',
        '{"form": "stdin", "test_code": "x"}',
        '{"form": "asserts", "io_tests": [{"given": "", "expected": ""}]}',
        '{"form": "stdin", "io_tests": [{"given": ""}]}',
        '{"form": "stdin", "io_tests": [{"given": "", "expected": ""}], "color": "red"}',
        '{"form": "stdin", "io_tests": 3}',
    ],
)
def test_what_is_no_problem_is_a_value_error(reference):
    with pytest.raises(ValueError):
        CodeProblem.from_reference(reference)


def test_equal_problems_have_equal_references_whatever_the_order_of_files():
    one = CodeProblem(form=Form.REPAIR, test_code="x", files={"a": "1", "b": "2"})
    other = CodeProblem(form=Form.REPAIR, test_code="x", files={"b": "2", "a": "1"})
    assert one.to_reference() == other.to_reference()
    assert json.loads(one.to_reference())["files"] == {"a": "1", "b": "2"}
