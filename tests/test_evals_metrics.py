"""The formulas of an evaluation against numbers computed by hand, and their laws."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.types import AnswerKind
from zero2r1.evals.metrics import (
    Interval,
    cons_at_k,
    difference,
    interval,
    pass_at_1,
    pass_at_k,
    rate_interval,
    vote_key,
)

RATES = st.lists(st.floats(0, 1), min_size=2, max_size=30)


def test_pass_at_1_is_the_mean_of_the_question_means_with_an_interval_over_questions():
    # Means 3/4, 1/4, 2/4 -> mean 1/2. Deviations 1/4, -1/4, 0: s^2 = (1/16 + 1/16) / 2 = 1/16, s = 1/4.
    # Half width 1.96 * (1/4) / sqrt(3) = 0.282896.
    result = pass_at_1([3, 1, 2], [4, 4, 4])
    assert result.mean == pytest.approx(0.5)
    assert result.half_width == pytest.approx(1.959964 * 0.25 / math.sqrt(3), abs=1e-6)
    assert result.n == 3


def test_many_samples_of_few_questions_do_not_narrow_the_interval():
    few, many = pass_at_1([1, 3], [4, 4]), pass_at_1([100, 300], [400, 400])
    assert few.half_width == pytest.approx(many.half_width)


def test_errors_are_neither_right_nor_wrong_and_a_question_of_errors_only_is_left_out():
    # Judged: 1 of 2 and 2 of 2; the third question has errors only. Mean (1/2 + 1) / 2.
    result = pass_at_1([1, 2, 0], [2, 2, 0])
    assert result.mean == pytest.approx(0.75)
    assert result.n == 2


def test_nothing_judged_is_refused():
    with pytest.raises(ValueError, match="at least one question"):
        pass_at_1([0], [0])


def test_a_perfect_score_is_not_certain():
    # Wilson's far bound for 0 of n: z^2 / (n + z^2) = 3.8415 / 103.8415 = 0.036994 with n = 100.
    none, all_ = rate_interval([0.0] * 100), rate_interval([1.0] * 100)
    assert (none.mean, none.low) == (0.0, 0.0)
    assert none.high == pytest.approx(0.036994, abs=1e-6)
    assert (all_.mean, all_.high) == (1.0, 1.0)
    assert all_.low == pytest.approx(1 - 0.036994, abs=1e-6)


def test_one_question_tells_nothing():
    assert rate_interval([0.5]) == Interval(mean=0.5, low=0.0, high=1.0, n=1)
    assert interval([7.0]) == Interval(mean=7.0, low=None, high=None, n=1)
    assert interval([7.0]).half_width is None


@given(RATES)
@settings(max_examples=40, deadline=None)
def test_a_rate_interval_stays_in_0_1_and_holds_its_mean(rates):
    found = rate_interval(rates)
    assert 0.0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1.0


def test_pass_at_k_by_hand():
    # 4 samples, 1 right: pass@2 = 1 - C(3,2)/C(4,2) = 1 - 3/6; pass@1 = 1/4; pass@4 = 1.
    assert pass_at_k(4, 1, 2) == pytest.approx(0.5)
    assert pass_at_k(4, 1, 1) == pytest.approx(0.25)
    assert pass_at_k(4, 1, 4) == 1.0
    # 10 samples, 3 right, k = 3: 1 - C(7,3)/C(10,3) = 1 - 35/120.
    assert pass_at_k(10, 3, 3) == pytest.approx(1 - 35 / 120)
    assert pass_at_k(5, 0, 5) == 0.0


@given(st.integers(1, 7), st.data())
@settings(max_examples=40, deadline=None)
def test_pass_at_k_is_the_mean_over_all_ways_to_draw_k_samples(n, data):
    num_right = data.draw(st.integers(0, n))
    k = data.draw(st.integers(1, n))
    draws = [any(draw) for draw in itertools.combinations([True] * num_right + [False] * (n - num_right), k)]
    assert pass_at_k(n, num_right, k) == pytest.approx(sum(draws) / len(draws))


@pytest.mark.parametrize(("n", "c", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_pass_at_k_refuses_impossible_counts(n, c, k):
    with pytest.raises(ValueError):
        pass_at_k(n, c, k)


def test_the_majority_answer_decides():
    assert cons_at_k(["85", "85", "75"], [True, True, False]) == 1.0
    assert cons_at_k(["75", "75", "85"], [False, False, True]) == 0.0


def test_a_tie_scores_the_fair_draw_among_the_tied():
    # 85 (right) and 75 (wrong) twice each: 1/2. Three tied, one right: 1/3.
    assert cons_at_k(["85", "75", "85", "75", "5"], [True, False, True, False, False]) == pytest.approx(1 / 2)
    assert cons_at_k(["85", "75", "5"], [True, False, False]) == pytest.approx(1 / 3)


def test_samples_without_an_answer_do_not_vote():
    assert cons_at_k([None, None, None, "85"], [False, False, False, True]) == 1.0
    assert cons_at_k([None, None], [False, False]) == 0.0


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "3", None]), st.booleans()), max_size=8), st.randoms())
@settings(max_examples=40, deadline=None)
def test_the_vote_does_not_depend_on_the_order_of_the_samples(ballots, random):
    shuffled = random.sample(ballots, len(ballots))
    scores = [cons_at_k([vote for vote, _ in rows], [right for _, right in rows]) for rows in (ballots, shuffled)]
    assert scores[0] == pytest.approx(scores[1])


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("0.5", "1/2", AnswerKind.NUMBER),
        ("1,234", " 1234 ", AnswerKind.NUMBER),
        ("$85$", "85.", AnswerKind.NUMBER),
        ("８５", "85.0", AnswerKind.NUMBER),
        ("-.5", "-1/2", AnswerKind.NUMBER),
        ("1, 2,3", "[1 2 3]", AnswerKind.SEQUENCE),
        ("(B)", "b", AnswerKind.CHOICE),
        ("x + 1", "X+1", AnswerKind.EXPRESSION),
        ("(3+4) * 5", "(3+4)*5", AnswerKind.COUNTDOWN),
    ],
)
def test_equal_answers_are_one_vote(one, other, kind):
    assert vote_key(one, kind) == vote_key(other, kind)


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("85", "8 6", AnswerKind.NUMBER),
        ("1/0", "0", AnswerKind.NUMBER),
        ("1,2,3", "1,3,2", AnswerKind.SEQUENCE),
        ("12,3", "1,23", AnswerKind.SEQUENCE),
        ("a", "b", AnswerKind.CHOICE),
    ],
)
def test_different_answers_are_two_votes(one, other, kind):
    assert vote_key(one, kind) != vote_key(other, kind)


def test_a_huge_number_is_compared_as_text_and_at_once():
    assert vote_key("9" * 100_000, AnswerKind.NUMBER) == "9" * 100_000


def test_a_paired_difference_removes_what_the_questions_share():
    # Differences 0.2, 0.4, 0.3: mean 0.3, s = 0.1, half width 1.96 * 0.1 / sqrt(3) = 0.11316.
    found = difference({"a": 0.1, "b": 0.5, "c": 0.2, "x": 0.0}, {"a": 0.3, "b": 0.9, "c": 0.5, "y": 1.0})
    assert found.mean == pytest.approx(0.3)
    assert found.half_width == pytest.approx(1.959964 * 0.1 / math.sqrt(3), abs=1e-6)
    assert found.n == 3


def test_the_same_change_everywhere_is_not_certain():
    # All of 4 questions go from 0 to 1. w = z^2 / (4 + z^2) = 3.8415 / 7.8415 = 0.48989: [1 - 2 w, 1].
    before, after = dict.fromkeys("abcd", 0.0), dict.fromkeys("abcd", 1.0)
    found = difference(before, after, is_rate=True)
    assert found.low == pytest.approx(1 - 2 * 0.489893, abs=1e-5)
    assert found.high == pytest.approx(1.0)


def test_a_paired_difference_needs_a_shared_question():
    with pytest.raises(ValueError, match="share no question"):
        difference({"a": 1.0}, {"b": 1.0})


def test_an_interval_survives_json():
    for found in (rate_interval([0.25, 0.75]), interval([3.0])):
        assert Interval.from_json(found.to_json()) == found
