"""Texts and tables of the command line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.cli.output import clock, console, emit, error_text, sparkline, table


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3600, "1:00:00")])
def test_a_clock_shows_hours_only_when_there_are_some(seconds, text):
    assert clock(seconds) == text


def test_a_sparkline_spans_its_range():
    assert sparkline([]) == ""
    assert sparkline([3.0, 3.0]) == "▁▁"
    # 0, 1/7, ..., 1 of the range are the eight blocks
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"


def test_a_long_sparkline_is_averaged_down():
    # 32 values on 16 places: pairs (0, 0), (1, 1), ... have the means 0 to 15
    line = sparkline([value for value in range(16) for _ in range(2)], width=16)
    assert len(line) == 16
    assert (line[0], line[-1]) == ("▁", "█")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 40))
def test_a_sparkline_never_exceeds_its_width(values, width):
    assert 1 <= len(sparkline(values, width)) <= width


def test_json_is_one_line_that_keeps_other_scripts(capsys):
    emit({"b": "思考", "a": 1})
    out = capsys.readouterr().out
    assert out == '{"a": 1, "b": "思考"}\n'
    assert json.loads(out) == {"a": 1, "b": "思考"}


def test_numbers_stand_right_and_words_left():
    drawn = table(["name", "score"], [["one", "1.5"], ["two", "10.0 ±3.1"]])
    assert [column.justify for column in drawn.columns] == ["left", "right"]


def test_text_in_brackets_is_text_and_not_markup(capsys):
    console().print(table(["[a]"], [["[red]x[/red]"]]))
    assert "[red]x[/red]" in capsys.readouterr().out


def test_an_error_keeps_its_text_under_the_colours():
    message = "error Z104 unknown key 'rl.kl_coeff'   my.yaml:14:5\n   ^^^^ did you mean 'kl_coef'?\n  fix: rename it"
    text = error_text(message)
    assert text.plain == message
    assert "bold red" in {str(span.style) for span in text.spans}
