"""Error texts say what, where, why and the remedy; every code in the sources has a page."""

import pickle
import re
from pathlib import Path

import pytest

import zero2r1
from zero2r1.core.codes import CODES
from zero2r1.core.errors import (
    ConfigError,
    DataError,
    MissingExtraError,
    ModelError,
    RewardError,
    RunError,
    UserError,
    explain,
)
from zero2r1.core.excerpt import excerpt


def test_an_error_reads_what_where_excerpt_why_and_fix():
    error = DataError(
        "Z131",
        "dataset column missing",
        where="data/train.jsonl (row 1)",
        why="the 'math' reward needs a column 'answer'; this file has: question, solution",
        fix="data.columns.answer=solution",
    )
    assert str(error) == (
        "error Z131 dataset column missing   data/train.jsonl (row 1)\n"
        "  the 'math' reward needs a column 'answer'; this file has: question, solution\n"
        "  fix: data.columns.answer=solution"
    )


def test_an_error_of_one_line_is_one_line():
    assert str(RunError("Z400", "run not found")) == "error Z400 run not found"


def test_user_errors_are_value_errors_with_an_exit_code():
    codes = {kind: kind("Z100", "x").exit_code for kind in (UserError, ConfigError, DataError, ModelError, RewardError)}
    assert set(codes.values()) == {2}
    assert RunError("Z400", "x").exit_code == 1
    assert MissingExtraError("Z201", "x").exit_code == 3
    assert issubclass(UserError, ValueError)
    assert issubclass(MissingExtraError, ModelError)


def test_an_error_survives_the_way_between_processes():
    error = RunError("Z403", "damaged", where="a", excerpt="b", why="c", fix="d")
    copied = pickle.loads(pickle.dumps(error))
    assert type(copied) is RunError
    assert str(copied) == str(error)


def test_explain_gives_the_page_of_a_code():
    assert explain("z104").startswith("Z104: unknown key\n")


def test_explain_of_an_unknown_code_is_an_error():
    with pytest.raises(ConfigError, match="Z199 unknown error code 'Z999'"):
        explain("Z999")


def test_every_code_used_in_the_sources_has_a_page_with_title_and_text():
    sources = Path(zero2r1.__file__).parent.rglob("*.py")
    used = {code for source in sources for code in re.findall(r'"(Z\d{3})"', source.read_text(encoding="utf-8"))}
    assert len(used) > 10
    assert used <= CODES.keys()
    assert all(re.fullmatch(r"Z\d{3}", code) and "\n" in page for code, page in CODES.items())


def test_an_excerpt_points_at_the_place():
    lines = ["rl:", "  samples: 16", "  kl_coeff: 0.001"]
    assert excerpt(lines, 3, 3, 8, "did you mean 'kl_coef'?") == (
        "    2 │   samples: 16\n    3 │   kl_coeff: 0.001\n      │   ^^^^^^^^ did you mean 'kl_coef'?"
    )


def test_an_excerpt_of_the_first_line_shows_one_line():
    assert excerpt(["a: 1"], 1, 1) == "    1 │ a: 1\n      │ ^"


def test_carets_stand_under_wide_letters_and_never_reach_behind_the_line():
    # Each Chinese letter takes two columns: 2 + 2 before the caret, and 2 letters underlined by 4 carets.
    assert excerpt(["问题: 中文"], 1, 5, 99) == "    1 │ 问题: 中文\n      │       ^^^^"


def test_an_excerpt_of_a_line_that_is_not_there_is_empty():
    assert excerpt(["a"], 2, 1) == ""


def test_control_characters_of_a_file_do_not_reach_the_terminal():
    assert "\x1b" not in excerpt(["a: \x1b[31m"], 1, 1)
