"""Tests in one box, the program in another: what crosses, what is never asked of the program, who is blamed."""

import pytest
from code_world import some_sandbox

from zero2r1.core.dialogue import Dialect
from zero2r1.core.problems import CodeProblem, Form
from zero2r1.core.types import Verdict
from zero2r1.rewards.code.grade import grade_program, grade_reply
from zero2r1.rewards.code.split import UnfitError, names_of
from zero2r1.rewards.code.verdict import CodeGrade

RIGHT, WRONG, ERROR = Verdict.RIGHT, Verdict.WRONG, Verdict.ERROR


@pytest.fixture(scope="module")
def sandbox():
    with some_sandbox() as opened:
        yield opened


def problem_of(tests: str, entry: str = "f", setup: str = "") -> CodeProblem:
    return CodeProblem(form=Form.ASSERTS, entry_point=entry, setup=setup, test_code=tests, cpu_s=1.0)


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x): return (x, {x: [x]}, {x}, b'a', 1.5, None)", "assert f(3) == (3, {3: [3]}, {3}, b'a', 1.5, None)"),
        ("def f(x): return (i for i in range(x))", "assert list(f(3)) == [0, 1, 2]"),
        ("def f(x): return map(str, range(x))", "assert ''.join(f(3)) == '012'"),
        ("def f(x): return lambda y: x + y", "assert f(3)(4) == 7"),
        ("def f(*a, k=1): return a, k", "assert f(1, k=2) == ((1,), 2)"),
        (
            "def f(x): raise KeyError(x)",
            "try:\n    f(3)\nexcept KeyError as e:\n    assert e.args == (3,)\nelse:\n    assert 0",
        ),
        ("def f(x): return float('nan')", "assert math.isnan(f(1))"),
        ("def f(x): return 2 ** 200", "assert f(1) == 2 ** 200"),
        ("def f(x): return 'a\\ud800'", "assert f(1) == 'a\\ud800'"),
        ("import sys\ndef f(x):\n    print('noise')\n    return x", "print('more noise')\nassert f(1) == 1"),
        ("def f(x): return x", "def check(candidate):\n    assert candidate(1) == 1"),
        ("def f(x): return x", "def check(candidate):\n    assert candidate(1) == 1\ncheck(f)"),
        ("def f(x): return x", "for i in range(50):\n    assert f([i, (i,)]) == [i, (i,)]"),
    ],
)
def test_what_crosses(program, tests, sandbox):
    assert grade_program(program, problem_of(tests), sandbox) == CodeGrade(verdict=RIGHT, passed=1, total=1)


NODE = """
class Node:
    kind = 'tree'
    def __init__(self, v): self.v, self.left, self.more = v, None, {}
    def __len__(self): return 1 + (len(self.left) if self.left else 0)
    def __iter__(self): return iter([self.v])
    def __getitem__(self, key): return self.more[key]
    def __setitem__(self, key, value): self.more[key] = value
    def __str__(self): return f'Node {self.v}'
    def __enter__(self): return self
    def __exit__(self, *raised): return True
    def __eq__(self, other): return True
    @staticmethod
    def make(v): return Leaf(v)
class Leaf(Node): pass
def f(node): return node.v
"""


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        ("assert f(root) == 1 and root.v == 1", RIGHT),
        ("assert len(root) == 2 and root.left.v == 2", RIGHT),
        ("assert list(root) == [1] and 1 in root", RIGHT),
        ("root['a'] = 5\nassert root['a'] == 5", RIGHT),
        ("assert str(root) == 'Node 1'", RIGHT),
        ("assert isinstance(root, Node) and not isinstance(root, int)", RIGHT),
        ("assert isinstance(Node.make(3), Node) and Node.kind == 'tree'", RIGHT),
        ("assert root.left is root.left and root.left == root.left", RIGHT),
        ("assert root == 1", WRONG),
        ("assert root == Node(1)", WRONG),
        ("assert 5 in root", WRONG),
        ("assert root", WRONG),
        ("assert not root", WRONG),
        ("assert root + 1 == 2", WRONG),
        ("assert root < 5", WRONG),
        ("with root as r:\n    assert r.v == 9", WRONG),
        ("assert root.no_such_thing", WRONG),
    ],
)
def test_objects_of_the_program(test, verdict, sandbox):
    problem = problem_of(test, "f, Node", "root = Node(1)\nroot.left = Node(2)")
    assert grade_program(NODE, problem, sandbox).verdict is verdict


def test_helpers_of_the_prompt_are_there_for_both(sandbox):
    setup = "from typing import List\ndef twice(x): return 2 * x\ndef f(x: List[int]) -> int:\n    '''Doc.'''\n"
    tests = "def check(candidate):\n    assert candidate([1]) == twice(1)"
    assert (
        grade_program("def f(x: List[int]): return twice(x[0])", problem_of(tests, setup=setup), sandbox).verdict
        is RIGHT
    )
    assert grade_program("def g(x): return 2", problem_of(tests, setup=setup), sandbox).verdict is WRONG
    lying = "def twice(x): return 7\ndef f(x): return 7"
    assert grade_program(lying, problem_of(tests, setup=setup), sandbox).verdict is WRONG


@pytest.mark.parametrize(
    ("tests", "note"),
    [
        ("assert f(lambda x: x) == 1", "cannot be carried"),
        ("try:\n    f(object())\nexcept Exception:\n    pass", "cannot be carried"),
        ("import no_such_package\nassert f(1) == 1", "no_such_package"),
        ("assert f(1) == undefined_name", "undefined_name"),
        ("assert (", "never closed"),
        ("assert isclose(f(1), 1)", "isclose"),
    ],
)
def test_tests_that_can_judge_nobody_are_an_error(tests, note, sandbox):
    grade = grade_program("def f(x): return x\ndef isclose(*a): return True", problem_of(tests), sandbox)
    assert grade.verdict is ERROR
    assert note in grade.note


@pytest.mark.parametrize(
    ("program", "note"),
    [
        ("def f(x):\n    while True: yield x", "an endless iterator?"),
        ("def f(x):\n    while True: pass", "CPU time"),
        ("import os\ndef f(x): os._exit(0)", "before it answered"),
        ("import os\nos._exit(0)", "while it was loaded"),
        ("1/0", "ZeroDivisionError"),
    ],
)
def test_a_program_that_ends_or_never_ends_is_wrong(program, note, sandbox, monkeypatch):
    monkeypatch.setattr("zero2r1.rewards.code.split.MAX_ASKED", 500)
    grade = grade_program(program, problem_of("assert list(f(1)) == [1]"), sandbox)
    assert grade.verdict is WRONG
    assert note in grade.note


def test_a_report_counts_only_when_the_program_lived_to_the_end(sandbox):
    program = "import os, threading\ndef f(x):\n    threading.Timer(0.05, os._exit, (0,)).start()\n    return x"
    waiting = problem_of("import time\nassert f(1) == 1\ntime.sleep(0.6)")
    assert grade_program("def f(x): return x", waiting, sandbox).verdict is RIGHT
    grade = grade_program(program, waiting, sandbox)
    assert (grade.verdict, grade.note) == (WRONG, "it ended before the tests did")


def test_names_come_from_the_problem_or_from_nowhere():
    assert names_of(problem_of("assert f(1) == math.pi")) == (["f"], ["math"])
    assert names_of(problem_of("assert f(g(1)) == [x for x in y]", "f g, y")) == (["f", "g", "y"], [])
    assert names_of(problem_of("assert f(Node(1)) == len('a')", "")) == (["Node", "f"], [])
    with pytest.raises(UnfitError, match="isclose"):
        names_of(problem_of("assert isclose(f(1), 1)"))


PROJECT = {
    "shop/errors.py": "class ShopError(Exception):\n    pass\n\nclass NoStock(ShopError, KeyError):\n    pass\n",
    "shop/core.py": "from .errors import NoStock\nLIMIT = 3\n\ndef take(stock, name):\n    if name not in stock:\n"
    "        raise NoStock(name, 404)\n    return stock[name] + 1\n\n"
    "class Basket:\n    def __init__(self): self.items = []\n"
    "    def add(self, item): self.items.append(item); return self\n    def __len__(self): return len(self.items)\n",
}
TESTS = """
import unittest
import shop.core
from shop.core import LIMIT, Basket, take
from shop.errors import NoStock, ShopError

class TestShop(unittest.TestCase):
    def setUp(self):
        self.basket = Basket().add(1)
    def test_take(self):
        self.assertEqual(take({"a": 1}, "a"), 1)
    def test_missing(self):
        with self.assertRaises(NoStock) as caught:
            take({}, "a")
        self.assertEqual(caught.exception.args, ("a", 404))
        for kind in (ShopError, KeyError):
            with self.assertRaises(kind):
                shop.core.take({}, "b")
    def test_basket(self):
        for size in (1, 2):
            with self.subTest(size=size):
                self.assertEqual(len(self.basket), size)
                self.basket.add(size)
        self.assertEqual(self.basket.items, [1, 1, 2])
        self.assertIsInstance(self.basket, Basket)

def test_limit():
    assert LIMIT == 3
"""


def repaired(core: str, tests: str, sandbox) -> CodeGrade:
    problem = CodeProblem(form=Form.REPAIR, files=PROJECT, test_code=tests, cpu_s=1.0)
    reply = f"```python path=shop/core.py\n{core}```\n"
    return grade_reply(reply, problem, sandbox, dialect=Dialect.PLAIN, scoring="fraction")


def test_a_repair_passes_when_every_test_does(sandbox):
    right = PROJECT["shop/core.py"].replace("+ 1", "")
    assert repaired(right, TESTS, sandbox) == CodeGrade(verdict=RIGHT, passed=4, total=4)
    still_wrong = repaired(PROJECT["shop/core.py"], TESTS, sandbox)
    assert (still_wrong.verdict, still_wrong.passed, still_wrong.note) == (WRONG, 3, "AssertionError: 2 != 1")
    for broken in ("def", "import nothing_at_all", "LIMIT = 3", right.replace("NoStock(name", "KeyError(name")):
        assert repaired(broken, TESTS, sandbox).verdict is WRONG


@pytest.mark.parametrize(
    "tests",
    [
        "x = 1",
        "def test_a(tmp_path): pass",
        "class TestA:\n    def test_a(self): pass",
        "import pytest_of_nowhere\ndef test_a(): pass",
        "from unittest import mock\nimport shop.core\ndef test_a():\n    with mock.patch('shop.core.take'): pass",
    ],
)
def test_test_modules_that_can_judge_nobody_are_an_error(tests, sandbox):
    assert repaired(PROJECT["shop/core.py"], tests, sandbox).verdict is ERROR


def test_a_project_may_use_the_names_of_our_own_modules(sandbox):
    files = {f"{name}.py": "X = 1\n" for name in ("solution", "values", "handles", "setup")}
    tests = (
        "import handles, setup, solution, values\ndef test_a():\n    assert handles.X == values.X == solution.X == 1\n"
    )
    problem = CodeProblem(form=Form.REPAIR, files=files, test_code=tests)
    reply = "```python path=values.py\nX = {}\n```"
    assert grade_reply(reply.format(1), problem, sandbox, dialect=Dialect.PLAIN).verdict is RIGHT
    assert grade_reply(reply.format(2), problem, sandbox, dialect=Dialect.PLAIN).verdict is WRONG


def test_a_skipped_test_has_not_passed(sandbox):
    tests = "def test_b(): assert shop.core.LIMIT == 3\nimport unittest, shop.core\n"
    tests += "class TestA(unittest.TestCase):\n    def test_a(self): self.skipTest('no')\n"
    grade = repaired(PROJECT["shop/core.py"], tests, sandbox)
    assert grade == CodeGrade(verdict=WRONG, passed=1, total=2, note="AssertionError: skipped: no")
