"""Test-case construction: every input is accounted for, and adversarial generators find what random ones miss."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.sandbox.base import Limits
from zero2r1.sandbox.sandbox import Sandbox
from zero2r1.sandbox.unsafe import UnsafeLauncher
from zero2r1.tasks.case_prompt import EXAMPLE_GENERATORS, EXAMPLE_QUESTION, generator_prompt, generators_of
from zero2r1.tasks.cases import construct, cover, invalid_reason, normalised, seeded

QUESTION = "Print how often the most frequent letter of the line occurs."
RIGHT = "line = input()\nprint(max(map(line.count, line)))"
RIGHT_TOO = "from collections import Counter\nprint(max(Counter(input()).values()))"
ONE_DIGIT = "line = input()\nprint(min(9, max(map(line.count, line))))"
FIRST_LETTER = "line = input()\nprint(line.count(line[0]))"
RANDOM = "import random\nprint(''.join(random.choice('abcdefgh') for _ in range(12)))"
REPEATED = "import random\nprint(random.choice('ab') * 30)"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(UnsafeLauncher()) as made:
        yield made


def test_a_repeated_character_exposes_what_random_inputs_miss(sandbox: Sandbox) -> None:
    """12 letters out of 8 hardly ever repeat one 10 times, so a count cut at 9 passes all random tests."""
    plain = construct(QUESTION, [RANDOM], [RIGHT, RIGHT_TOO], [ONE_DIGIT, FIRST_LETTER], sandbox, num_others=1)
    assert plain.report.unexposed == (0,)
    assert plain.report.correct_failures == (0, 0)
    both = construct(QUESTION, [RANDOM, REPEATED], [RIGHT, RIGHT_TOO], [ONE_DIGIT, FIRST_LETTER], sandbox, num_others=1)
    report = both.report
    assert report.unexposed == ()
    assert report.num_runs == 8
    assert report.num_inputs + sum(report.no_input.values()) == 8
    # Only two repeated inputs exist, so at least two of their four runs give nothing new.
    assert report.no_input["the input was there before"] >= 2
    assert report.num_valid == report.num_inputs
    assert report.num_exposing == 2
    assert report.num_kept == len(both.io_tests) == 3
    assert any(test.expected == "30\n" for test in both.io_tests)


def test_the_same_call_gives_the_same_tests_and_another_seed_others(sandbox: Sandbox) -> None:
    first, again, other = (
        construct(QUESTION, [RANDOM], [RIGHT], [], sandbox, num_runs=2, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.io_tests != other.io_tests
    assert first.report.num_exposing == 0
    assert len(first.io_tests) == 2


def test_invalid_tests_are_dropped_and_counted_by_reason(sandbox: Sandbox) -> None:
    generators = [f"print({line!r})" for line in ("aab", "abc", "x", "slow")]
    picky = "line = input()\nassert line != 'abc'\nwhile line == 'slow': pass\nprint(max(map(line.count, line)))"
    other = "line = input()\nprint(2 if line == 'x' else max(map(line.count, line)))"
    made = construct(QUESTION, generators, [picky, other], [], sandbox, num_runs=1, limits=Limits(cpu_s=0.3))
    assert dict(made.report.invalid) == {
        "it failed": 1,
        "the correct submissions disagree": 1,
        "it took too long": 1,
    }
    assert made.report.correct_failures == (2, 0)
    assert [(test.given, test.expected) for test in made.io_tests] == [("aab\n", "2\n")]


def test_generators_that_give_no_input_are_counted_by_reason(sandbox: Sandbox) -> None:
    generators = ["print()", "1 / 0", "this is no Python", "print('x' * 100)", "print('ok')", "print('ok')"]
    made = construct(QUESTION, generators, [RIGHT], [RIGHT], sandbox, num_runs=1, max_input_bytes=50)
    assert dict(made.report.no_input) == {
        "the generator printed nothing": 1,
        "it failed": 2,
        "the input is too large": 1,
        "the input was there before": 1,
    }
    assert [test.given for test in made.io_tests] == ["ok\n"]
    assert made.report.unexposed == (0,)  # a right program among the wrong ones stays unexposed


def test_without_a_correct_submission_nothing_is_expected(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="without a correct submission"):
        construct(QUESTION, [RANDOM], [], [], sandbox)


def test_the_cover_is_greedy() -> None:
    # 1 exposes {0, 1, 2}; then only 3 is missing, which 2 exposes first.
    assert cover([frozenset({0}), frozenset({0, 1, 2}), frozenset({3}), frozenset({2, 3})]) == [1, 2]
    # Greedy is not the smallest: {1,2,3,4} first, then two more, though the last two would do.
    sets = [frozenset({1, 2, 3, 4}), frozenset({1, 2, 5}), frozenset({3, 4, 6})]
    assert cover(sets) == [0, 1, 2]
    assert cover([]) == cover([frozenset()]) == []


@given(st.lists(st.frozensets(st.integers(0, 9))))
def test_the_cover_exposes_all_and_each_of_its_tests_is_needed_when_chosen(sets: list[frozenset[int]]) -> None:
    chosen = cover(sets)
    exposed: frozenset[int] = frozenset()
    for place in chosen:
        assert sets[place] - exposed
        exposed |= sets[place]
    assert exposed == frozenset().union(*sets)


def test_outputs_are_compared_without_white_space_at_the_ends() -> None:
    assert normalised("1 \n2\t\n\n\n") == normalised("1\n2") == "1\n2\n"
    assert normalised(" 1") == " 1\n"
    assert invalid_reason([("1\n", ""), ("1\n", "")]) == ""
    assert invalid_reason([("1\n", ""), ("2\n", "")]) == "the correct submissions disagree"
    assert invalid_reason([("1\n", ""), ("", "it failed")]) == "it failed"


def test_the_seed_stands_behind_what_must_come_first() -> None:
    assert seeded("import random\nprint(1)", 7) == "import random; random.seed(7)\nimport random\nprint(1)"
    program = '"""Doc\nstring."""\nfrom __future__ import annotations\nx = 1'
    assert seeded(program, 7).split("\n")[3] == "import random; random.seed(7)"
    assert seeded("no Python here", 7) == "no Python here"


# --- the prompt ----------------------------------------------------------------------------------------------


def test_the_prompt_has_an_example_a_request_and_six_labelled_generators() -> None:
    example, answer, asked = generator_prompt("Add two numbers.")
    assert [turn.role for turn in (example, answer, asked)] == ["user", "assistant", "user"]
    assert EXAMPLE_QUESTION in example.content
    assert "EXACTLY ONE input" in example.content
    assert asked.content == example.content.replace(EXAMPLE_QUESTION, "Add two numbers.")
    assert generators_of(answer.content) == [f"{program}\n" for _, program in EXAMPLE_GENERATORS]
    assert len(EXAMPLE_GENERATORS) == 6


def test_the_example_generators_print_one_input_each(sandbox: Sandbox) -> None:
    overlap = (
        "s, t = input(), input()\nassert s.islower() and t.islower() and max(len(s), len(t)) <= 200000\nprint(len(s))"
    )
    programs = [program for _, program in EXAMPLE_GENERATORS]
    made = construct(EXAMPLE_QUESTION, programs, [overlap], [], sandbox, num_runs=1, max_input_bytes=500_000)
    assert made.report.num_valid == 6


@pytest.mark.parametrize(
    ("reply", "programs"),
    [
        ("```python\na\n```\ntext\n```\nb\n```", ["a\n", "b\n"]),
        ("```PYTHON\na\n```\n```python\na\n```", ["a\n"]),
        ("```text\n1 2\n```\n```bash\nls\n```", []),
        ("```python\nnever closed", []),
        ("```python\n\n```", []),
        ("  ```py\r\na\n  ```", ["a\n"]),
        ("no code", []),
    ],
)
def test_generators_are_the_closed_python_blocks(reply: str, programs: list[str]) -> None:
    assert generators_of(reply) == programs


@given(st.text())
def test_reading_generators_never_raises(reply: str) -> None:
    assert isinstance(generators_of(reply), list)
