"""Programming problems from files: rows of HumanEval, of MBPP, or problems of one's own.

    humaneval   prompt, canonical_solution, test, entry_point         the prompt is source with a docstring
    mbpp        text, code, test_list, test_setup_code, challenge_test_list
    problems    question, problem (fields of `CodeProblem`), solution, optional language, level, domain

All but the last become assert tests. The name that tests call is read from their syntax tree. Nothing is run here, so
a solution that fails its own tests is found by `gold.py`. What a question shows of the tests: MBPP's first one, because
its texts do not name the function; of HumanEval none but the examples in its docstring.
"""

import ast
import json
import warnings
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType

from zero2r1.core.problems import CodeProblem, Form
from zero2r1.core.types import AnswerKind, Message, Prompt
from zero2r1.tasks.rows import RefusedRowError, detect_language

QUESTIONS, HUMANEVAL, MBPP, PROBLEMS = "questions", "humaneval", "mbpp", "problems"
MARKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        HUMANEVAL: ("canonical_solution", "test", "entry_point"),
        MBPP: ("test_list", "code"),
        PROBLEMS: ("problem", "solution", "question"),
    }
)
"""Columns by which `auto` knows a format."""
HUMANEVAL_QUESTION = "Complete this Python function:\n\n```python\n{prompt}\n```\n\n{form}"
MBPP_QUESTION = "{text}\n\nThe function must pass tests such as this one:\n\n```python\n{example}\n```\n\n{form}"
ANSWER_FORM = "Put the whole program, with its imports, into one block that begins with ```python and ends with ```."

FIELDS = tuple(field.name for field in fields(CodeProblem))
LARGEST = 10**6
"""Ours: seconds or MiB above this are a mistake of the file."""

Row = Mapping[str, object]


def row_format(values: Row, columns: Mapping[str, str]) -> str:
    """The format of a row by its columns; `questions` when it is none of ours."""
    for name, marks in MARKS.items():
        if all(columns.get(mark, mark) in values for mark in marks):
            # A word problem may have a column `problem` too; ours is an object, or JSON of one in a CSV.
            if name == PROBLEMS and not _looks_like_object(values[columns.get("problem", "problem")]):
                continue
            return name
    return QUESTIONS


def read_code_prompt(values: Row, columns: Mapping[str, str], format: str) -> Prompt:
    """A prompt with a `CodeProblem` as its reference.

    Args:
        values: the row, column name -> value.
        columns: expected name -> the file's name.
        format: `humaneval`, `mbpp` or `problems`.

    Raises:
        RefusedRowError: with a reason that names the rule, never the value.
    """
    row = _Columns(values, columns)
    if format == HUMANEVAL:
        return _humaneval(row)
    return _mbpp(row) if format == MBPP else _problem(row)


def called_name(tests: str, code: str) -> str:
    """The function that `tests` call and `code` defines at its top level; empty when there is none.

    Calls inside the arguments of such a call do not count (`f([Pair(1, 2)])` is about `f`). Of several names the one
    called most often; of equals the one defined last (helpers come first).

    Raises:
        RefusedRowError: one of the two is no Python.
    """
    defined = _defined(code)
    called: list[str] = []
    waiting: list[ast.AST] = [_parsed(tests)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in defined:
            called.append(node.func.id)
        else:
            waiting += ast.iter_child_nodes(node)
    return max(dict.fromkeys(reversed(defined)), key=called.count) if called else ""


class _Columns:
    """The columns of one row, with a reason for each that cannot be used."""

    def __init__(self, values: Row, columns: Mapping[str, str]) -> None:
        self._values, self._columns = values, columns

    def value(self, name: str) -> object:
        column = self._columns.get(name, name)
        if column not in self._values:
            raise RefusedRowError(f"missing column '{column}'")
        value = self._values[column]
        if value is None:
            raise RefusedRowError(f"null in '{column}'")
        return value

    def text(self, name: str, *, default: str | None = None) -> str:
        column = self._columns.get(name, name)
        if default is not None and self._values.get(column) in (None, ""):
            return default
        value = self.value(name)
        if not isinstance(value, str):
            raise RefusedRowError(f"wrong type in '{column}'")
        _check_text(value)
        if not value.strip():
            raise RefusedRowError(f"empty '{column}'")
        return value.replace("\r\n", "\n")

    def texts(self, name: str) -> list[str]:
        column = self._columns.get(name, name)
        value = self._values.get(column)
        items = _loaded(value) if isinstance(value, str) and value else value
        if items in (None, ""):
            return []
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise RefusedRowError(f"'{column}' is no list of texts")
        for item in items:
            _check_text(item)
        return [item.replace("\r\n", "\n") for item in items]

    def level(self) -> int:
        level = self._values.get(self._columns.get("level", "level"))
        if level in (None, ""):
            return 1
        if isinstance(level, str) and level.strip() in ("1", "2", "3", "4", "5"):
            return int(level)
        if type(level) is not int or not 1 <= level <= 5:
            raise RefusedRowError("'level' is not 1 to 5")
        return level


def _humaneval(row: _Columns) -> Prompt:
    source, test, entry = row.text("prompt"), row.text("test"), row.text("entry_point").strip()
    gold = source + row.text("canonical_solution")
    if entry not in _defined(gold):
        raise RefusedRowError("the solution does not define 'entry_point'")
    _parsed(test)
    problem = CodeProblem(form=Form.ASSERTS, entry_point=entry, setup=source, test_code=test)
    question = HUMANEVAL_QUESTION.format(prompt=source.strip("\n"), form=ANSWER_FORM)
    return _prompt(row, question, problem, gold, HUMANEVAL)


def _mbpp(row: _Columns) -> Prompt:
    code, setup = row.text("code"), row.text("test_setup_code", default="")
    tests = row.texts("test_list")
    if not tests:
        raise RefusedRowError("no tests")
    test_code = "\n".join((*tests, *row.texts("challenge_test_list")))
    entry = called_name(test_code, code)
    if not entry:
        raise RefusedRowError("the tests call nothing that the solution defines")
    problem = CodeProblem(form=Form.ASSERTS, entry_point=entry, setup=setup, test_code=test_code)
    # `prompt` is the name of the same column in the sanitized edition.
    text = row.text("text", default="") or row.text("prompt")
    question = MBPP_QUESTION.format(text=text.strip(), example=tests[0].strip(), form=ANSWER_FORM)
    return _prompt(row, question, problem, code, MBPP)


def _problem(row: _Columns) -> Prompt:
    value = row.value("problem")
    stated = _loaded(value) if isinstance(value, str) else value
    if not isinstance(stated, Mapping):
        raise RefusedRowError("'problem' is no object")
    if wrong_field := next((name for name, item in stated.items() if not _fits(name, item)), ""):
        known = wrong_field in FIELDS
        raise RefusedRowError(f"wrong type in 'problem.{wrong_field}'" if known else "unknown field in 'problem'")
    reference = json.dumps(stated, ensure_ascii=False)
    _check_text(reference)
    try:
        problem = CodeProblem.from_reference(reference)
    except ValueError as wrong:
        raise RefusedRowError("'problem' has no form of ours, or no tests") from wrong
    return _prompt(row, row.text("question").strip(), problem, row.text("solution"), "code")


def _fits(name: str, value: object) -> bool:
    """True when a field of a stated problem exists and has its type and a sensible size."""
    if name == "io_tests":
        return isinstance(value, list) and all(map(_is_io_test, value))
    if name == "files":
        return isinstance(value, Mapping) and all(isinstance(item, str) for item in value.values())
    if name == "any_order":
        return isinstance(value, bool)
    if name == "memory_mib":
        return type(value) is int and 0 < value < LARGEST
    if name in ("cpu_s", "tolerance"):
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < LARGEST
    return name in FIELDS and isinstance(value, str)


def _prompt(row: _Columns, question: str, problem: CodeProblem, gold: str, domain: str) -> Prompt:
    language = row.text("language", default="") or detect_language(question)
    if not (len(language) == 2 and language.isascii() and language.islower()):
        raise RefusedRowError("no two-letter code in 'language'")
    return Prompt(
        messages=(Message(role="user", content=question),),
        reference=problem.to_reference(),
        gold=gold,
        answer_kind=AnswerKind.CODE,
        domain=row.text("domain", default=domain),
        language=language,
        level=row.level(),
    )


def _is_io_test(value: object) -> bool:
    keys = {"given", "expected"}
    return isinstance(value, Mapping) and set(value) == keys and all(isinstance(item, str) for item in value.values())


def _looks_like_object(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, str) and value.lstrip().startswith("{"))


def _loaded(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as wrong:
        raise RefusedRowError("a column that should hold JSON does not") from wrong


def _check_text(value: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise RefusedRowError("not UTF-8")


def _defined(code: str) -> list[str]:
    """Names of the functions and classes at the top level."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node.name for node in _parsed(code).body if isinstance(node, kinds)]


def _parsed(code: str) -> ast.Module:
    try:
        # An invalid escape in somebody's program is theirs to be warned of.
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
        raise RefusedRowError("a program that is no Python") from wrong
