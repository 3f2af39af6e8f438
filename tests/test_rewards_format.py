"""The format reward pays for the grammar of the dialect and for nothing else."""

import pytest

from zero2r1.core.dialogue import Dialect, Reply, render
from zero2r1.rewards.format import format_reward


@pytest.mark.parametrize("dialect", [Dialect.R1_ZERO, Dialect.R1])
def test_a_rendered_reply_has_full_format_prefilled_or_not(dialect):
    text = render(Reply(thinking="six sevens", answer="42"), dialect)
    assert format_reward(text, dialect) == (1.0, "")
    assert format_reward(text.removeprefix("<think>"), dialect, prefilled=True) == (1.0, "")


@pytest.mark.parametrize("dialect", [Dialect.R1_ZERO, Dialect.R1])
def test_a_prefilled_opening_that_is_missing_or_doubled_costs_the_format(dialect):
    text = render(Reply(thinking="six sevens", answer="42"), dialect)
    for reward, problem in (
        format_reward(text.removeprefix("<think>"), dialect),
        format_reward(text, dialect, prefilled=True),
    ):
        assert reward == 0.0
        assert problem


@pytest.mark.parametrize(
    "text",
    [
        "", "42", "<answer> 42 </answer>", "<think> a </think> 42", "<think> a <answer> 42 </answer>",
        "<think> a </think> </think> <answer> 42 </answer>", "<think> a </think> <answer> 42 </answer> bye",
        "<answer> 42 </answer> <think> a </think>", "<think> <think> a </think> </think> <answer> 42 </answer>",
    ],
)  # fmt: skip
def test_a_broken_r1_zero_reply_gets_nothing_and_a_reason(text):
    reward, problem = format_reward(text, Dialect.R1_ZERO)
    assert reward == 0.0
    assert problem


def test_a_wrong_answer_in_the_right_format_keeps_its_format():
    assert format_reward("<think> a </think> <answer> nonsense </answer>", Dialect.R1_ZERO)[0] == 1.0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<THINK> a </THINK> <ANSWER> 42 </ANSWER>", "no <think>"),
        ("<think > a </think> <answer> 42 </answer>", "</think> without <think>"),
        ("Sure! <think> a </think> <answer> 42 </answer>", "text before <think>"),
        ("<think>  \n </think> <answer> 42 </answer>", "the thinking is empty"),
        ("<think> a </think> <answer>  </answer>", "the answer is empty"),
        ("<think> a </think> <answer> 42 </answer> <answer> 42 </answer>", "more than one <answer>"),
        ("<think> a </think> so <answer> 42 </answer>", "text before <answer>"),
        ("<think> a `</think>` b </think> <answer> 42 </answer>", "more than one </think>"),
        ("<think> ```\n<answer> 1 </answer>\n``` </think> <answer> 42 </answer>", "a tag stands inside the thinking"),
        ("<think> a </think> <answer> <answer> 42 </answer> </answer>", "more than one <answer>"),
        ("<think> a <think> b </think> <answer> 42 </answer>", "more than one <think>"),
        ("<think> a </think> <answer> 42 </answer", "<answer> is not closed"),
        ("＜think＞ a ＜/think＞ <answer> 42 </answer>", "no <think>"),
        ("<think> a </think> <answer> <think> 42 </answer>", "<think> after </think>"),
    ],
)
def test_each_way_around_the_grammar_is_named(text, problem):
    assert format_reward(text, Dialect.R1_ZERO) == (0.0, problem)


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("a </think> <answer> 42 </answer>", 1.0),
        ("\na\n</think>\n\n<answer>42</answer>\n", 1.0),  # white space and line breaks are free
        ("a</think><answer>42</answer>", 1.0),
        ("</think> <answer> 42 </answer>", 0.0),  # empty thinking
        ("a <answer> 42 </answer>", 0.0),  # thinking never ends
        ("a </think> b </think> <answer> 42 </answer>", 0.0),
        ("<think> a </think> <answer> 42 </answer>", 0.0),  # the prompt has the opening already
        ("", 0.0),
    ],
)
def test_a_prefilled_opening_belongs_to_the_prompt(text, reward):
    assert format_reward(text, Dialect.R1_ZERO, prefilled=True)[0] == reward


def test_r1_may_skip_its_thinking_and_not_its_summary():
    assert format_reward("<think>\n\n</think>\n\nHello!", Dialect.R1) == (1.0, "")
    assert format_reward("</think> Hello!", Dialect.R1, prefilled=True) == (1.0, "")
    assert format_reward("<think>\na\n</think>\n", Dialect.R1)[0] == 0.0
    assert format_reward("Hello! <think>a</think> b", Dialect.R1)[0] == 0.0
    assert format_reward("<think>a</think> <answer> 42 </answer>", Dialect.R1)[0] == 0.0
