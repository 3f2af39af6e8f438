"""Programming tasks made here: enough templates, the same prompts every time, splits that share no problem."""

import ast
import json

import pytest

from zero2r1.core.dialogue import Dialect, parse
from zero2r1.core.errors import DataError
from zero2r1.core.problems import CodeProblem, Form
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.base import TaskConfig, make_task
from zero2r1.tasks.code import CODE_FAMILIES, REPAIRS, TEMPLATES, CodeTask, problems_of
from zero2r1.tasks.code_repair import blocks_of, changed_files, repair
from zero2r1.tasks.code_templates import Kind, cases_of, filled, identity_of, lines_of, printed, template, text
from zero2r1.tasks.code_wording import program_of, prompt_of
from zero2r1.tasks.corpus import CorpusConfig, documents
from zero2r1.tasks.gold import gold_text
from zero2r1.tasks.splits import SPLITS

LEVELS = (1, 2, 3, 4, 5)
BY_NAME = {made.name: made for made in TEMPLATES}


def task(name: str, **settings: object) -> CodeTask:
    made = make_task([TaskConfig(family=name, **{"levels": LEVELS, **settings})], 3)
    assert isinstance(made, CodeTask)
    return made


def test_there_are_many_distinct_templates_at_every_level() -> None:
    assert len({made.name for made in TEMPLATES}) == len(TEMPLATES) >= 50
    assert len({made.en for made in TEMPLATES}) == len({made.zh for made in TEMPLATES}) == len(TEMPLATES)
    assert len({made.name for made in REPAIRS}) == len(REPAIRS) >= 10
    for level in LEVELS:
        assert sum(made.level == level for made in TEMPLATES) >= 10
        assert sum(made.level == level for made in REPAIRS) >= 2
    assert all(len(made.files) >= 2 for made in REPAIRS)


@pytest.mark.parametrize("name", CODE_FAMILIES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_template_makes_a_whole_prompt(name: str, language: str) -> None:
    golds = set()
    for made in CODE_FAMILIES[name].templates:
        prompt = CODE_FAMILIES[name].prompt(made, problems_of(made, "train")[0], language)
        problem = CodeProblem.from_reference(prompt.reference)
        assert problem.to_reference() == prompt.reference
        assert f"code_{problem.form.value}" == name == prompt.domain
        assert (prompt.answer_kind, prompt.language, prompt.level) == (AnswerKind.CODE, language, made.level)
        assert "@" not in prompt.question.replace("'@'", "")
        assert "```python" in prompt.question
        assert any("\u4e00" <= character <= "\u9fff" for character in prompt.question) == (language == "zh")
        if problem.form is not Form.REPAIR:
            ast.parse(prompt.gold)
            assert len({test.given for test in problem.io_tests}) == len(problem.io_tests) >= 5, made.name
        golds.add(prompt.gold)
    assert len(golds) == len(CODE_FAMILIES[name].templates)


@pytest.mark.parametrize("name", CODE_FAMILIES)
def test_prompt_i_is_the_same_however_it_is_drawn(name: str) -> None:
    first, second = task(name), task(name)
    whole = first.draw(20)
    assert whole == [second.draw(1, start=i)[0] for i in reversed(range(20))][::-1]
    assert {prompt.level for prompt in first.draw(40)} == set(LEVELS)
    held_out = first.draw(30, split="test")
    assert held_out == second.draw(10, split="test") + second.draw(20, start=10, split="test")
    assert len({prompt.id for prompt in held_out}) == 30


def test_a_problem_has_one_split_and_every_template_trains() -> None:
    for made in (*TEMPLATES, *REPAIRS):
        by_split = {split: [json.dumps(params) for params in problems_of(made, split)] for split in SPLITS}
        together = [one for found in by_split.values() for one in found]
        assert len(together) == len(set(together))
        assert by_split["train"], made.name


def test_functions_programs_and_languages_share_splits() -> None:
    tested = {prompt.gold for prompt in task("code_function").draw(120, split="test")}
    trained = [prompt.gold for prompt in task("code_stdin").draw(150)]
    # The program of a problem begins with its function.
    assert tested
    assert not [gold for gold in trained if gold.split("\n\n\n")[0] + "\n" in tested]


def test_hidden_tests_do_not_depend_on_language_or_form() -> None:
    made, params = BY_NAME["sum_above"], {"a": 3}
    english, chinese = (prompt_of(made, params, Form.FUNCTION, language) for language in ("en", "zh"))
    assert english.reference == chinese.reference
    assert english.question != chinese.question


def test_a_held_out_split_ends() -> None:
    made = task("code_repair", levels=(1,), languages=("en",))
    size = made.num_prompts("test")
    assert size == len({prompt.id for prompt in made.draw(size, split="test")}) > 0
    assert made.num_prompts("train") is None
    with pytest.raises(DataError, match=f"Z135 the test split of 'code_repair' has {size} questions"):
        made.draw(size + 1, split="test")
    with pytest.raises(ValueError, match="no split 'dev'"):
        made.draw(1, split="dev")


def test_a_code_task_has_no_worked_solutions_for_a_corpus() -> None:
    with pytest.raises(DataError, match="Z136 task 'code_stdin' has no worked solutions"):
        documents(task("code_stdin"), CorpusConfig(), 1, 0, 0)


# --- the parts, by hand -------------------------------------------------------------------------------------


def test_a_call_and_its_lines_are_written_as_stated() -> None:
    made = BY_NAME["only_in_first"]
    case = next(case for case in cases_of(made, {"a": 0}) if case.args == ([1, 1, 0], []))
    assert (case.as_call().given, case.as_call().expected) == ("[[1, 1, 0], []]", "[1]")
    assert (case.as_lines(made).given, case.as_lines(made).expected) == ("3\n1 1 0\n0\n\n", "1\n")


@pytest.mark.parametrize(
    ("value", "kind", "lines"),
    [
        (7, Kind.INT, "7\n"),
        ("a b", Kind.TEXT, "a b\n"),
        ([], Kind.INTS, "0\n\n"),
        (["ab", "c"], Kind.WORDS, "2\nab\nc\n"),
        ([[1, 2], [3, 4]], Kind.GRID, "2 2\n1 2\n3 4\n"),
        ([], Kind.GRID, "0 0\n"),
    ],
)
def test_input_lines(value: object, kind: Kind, lines: str) -> None:
    assert lines_of(value, kind) == lines


@pytest.mark.parametrize(
    ("result", "lines"),
    [(True, "yes\n"), (False, "no\n"), (1, "1\n"), ([], "\n"), ([1, 2], "1 2\n"), ([[1], [2]], "1\n2\n"), ("", "\n")],
)
def test_output_lines(result: object, lines: str) -> None:
    assert printed(result) == lines


@pytest.mark.parametrize(
    ("name", "params", "args", "result"),
    [
        ("capped_steps", {"a": 5}, [6], 5),  # 6 3 10 5 16 8 ...: capped
        ("capped_steps", {"a": 9}, [6], 8),  # 6 3 10 5 16 8 4 2 1
        ("digits_in_base", {"a": 2}, [6], [1, 1, 0]),
        ("shifted_roman", {"a": 0}, [1499], "MCDXCIX"),
        ("climb_ways", {"a": 2}, [4], 5),  # 1111 112 121 211 22
        ("factorial_exponent", {"a": 2}, [4], 3),  # 24 = 8 * 3
        ("last_in_circle", {"a": 2}, [5], 3),  # 2 4 1 5 leave
        ("multiples_of_either", {"a": 6, "b": 4}, [12], 4),  # 4 6 8 12
        ("fibonacci_modulo", {"a": 11}, [10], 0),  # 55
        ("numbers_without_digit", {"a": 1}, [12], 8),  # 2 to 9
        ("smooth_stretch", {"a": 1}, [[1, 2, 4, 5, 5]], 3),
        ("sum_apart", {"a": 2}, [[3, 4, 3]], 6),
        ("fair_cut", {"a": 2}, [[1, 2, 3, 4]], 6),  # 1 2 3 | 4
        ("is_nested", {"a": 1}, ["([])"], False),
        ("wrapped_lines", {"a": 5}, [["ab", "cd", "e"]], 2),  # "ab cd", "e"
        ("edit_cost", {"a": 2, "b": 3}, ["ab", "b"], 2),
        ("mirror_cost", {"c": "a", "a": 1}, ["ab"], 1),  # a b -> b a b
        ("count_regions", {"a": 1}, [[[1, 0], [0, 1]]], 2),
        ("shortest_way", {"a": 2}, [[[0, 9], [0, 0]]], 2),
        ("quarter_turns", {"a": 1}, [[[1, 2], [3, 4]]], [[3, 1], [4, 2]]),
        ("covered_length", {"a": 1}, [[[5, 3], [6, 8]]], 7),  # 2 to 6 and 5 to 9
        ("count_payments", {"a": 2, "b": 7}, [4], 3),  # 22 211 1111
        ("largest_square", {"a": 1}, [[[1, 1], [1, 0]]], 1),
    ],
)
def test_an_oracle_gives_what_a_hand_gives(name: str, params: dict, args: list, result: object) -> None:
    assert BY_NAME[name].oracle(*params.values(), *args) == result


def test_parameters_are_filled_in() -> None:
    assert filled("between @a and @b", {"a": 1, "b": "x"}) == "between 1 and x"
    assert identity_of(BY_NAME["clamp"], {"a": -3, "b": 4}) == "clamp:a=-3,b=4"


def test_a_program_is_whole_and_its_mutant_differs() -> None:
    made = BY_NAME["sum_above"]
    assert program_of(made, {"a": 3}, Form.STDIN) == (
        "def sum_above(numbers):\n    return sum(n for n in numbers if n > 3)\n\n\n"
        "input()\nnumbers = [int(item) for item in input().split()]\nprint(sum_above(numbers))\n"
    )
    assert "n >= 3" in program_of(made, {"a": 3}, Form.FUNCTION, is_mutant=True)


def test_an_edit_of_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="t: the mutant replaces what is not there: 'x'"):
        template("t", 1, "", "", [text()], Kind.TEXT, {}, str, "return 1", ("x", "y"))
    with pytest.raises(ValueError, match=r"t: an edit of a.py replaces what is not there: 'x'"):
        repair("t", 1, "", "", {"a.py": "pass"}, [("a.py", "x", "y")], [], "", {})


def test_the_answer_of_a_repair_holds_the_changed_files_only() -> None:
    made = next(made for made in REPAIRS if made.name == "discount_limit")
    assert blocks_of(changed_files(made, {"a": 40})) == (
        "```python path=shop/prices.py\ndef total(prices):\n    return sum(prices)\n\n\n"
        "def reduced(amount):\n    if amount >= 40:\n        return amount - 10\n    return amount\n```"
    )


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("name", CODE_FAMILIES)
def test_a_gold_program_is_well_formed_in_every_dialect(name: str, dialect: Dialect) -> None:
    for prompt in task(name).draw(8):
        said = gold_text(prompt, dialect)
        parsed = parse(said, dialect)
        assert parsed.is_well_formed, parsed.problem
        region = parsed.reply.summary if dialect is Dialect.R1 else parsed.reply.answer
        assert region is not None
        assert region.startswith("```python")
        assert region.endswith("```")
        assert prompt.gold.strip() in region
