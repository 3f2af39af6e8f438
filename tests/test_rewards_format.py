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
