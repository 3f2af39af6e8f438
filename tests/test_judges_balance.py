"""The balance of lengths over a set of ranked pairs, and the judge that it finds out."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judge_server import FakeVoice, by_length

from zero2r1.rewards.judges.balance import balance_lengths, log_length_ratio
from zero2r1.rewards.judges.config import PreferenceConfig
from zero2r1.rewards.judges.preference import Pair, PreferenceJudge, RankedPair, ranked

BALANCED = PreferenceConfig(order="balanced")


def rows(lengths: Sequence[tuple[int, int]]) -> list[RankedPair]:
    return [
        RankedPair(question=str(i), chosen="c" * chosen, rejected="r" * rejected, score=2.0)
        for i, (chosen, rejected) in enumerate(lengths)
    ]


def test_the_log_ratio_of_lengths():
    assert log_length_ratio(200, 100) == pytest.approx(math.log(2))
    assert log_length_ratio(100, 200) == pytest.approx(-math.log(2))
    assert log_length_ratio(0, 1) == 0.0


def test_the_largest_excess_goes_first():
    # d / ln 2 = 1, 0, -1, 2: mean 0.5. Without the last: 0.
    balanced = balance_lengths(rows([(200, 100), (100, 100), (100, 200), (400, 100)]))
    assert [pair.question for pair in balanced.kept] == ["0", "1", "2"]
    assert balanced.mean_before == pytest.approx(0.5 * math.log(2))
    assert (balanced.mean_after, balanced.num_dropped) == (pytest.approx(0.0), 1)
    assert balanced.longer_frac_before == 0.5
    # d / ln 2 = -3, 1, 1: mean -1/3. Without the first: 1, above; then both others go.
    assert balance_lengths(rows([(100, 800), (200, 100), (200, 100)])).kept == ()
    # d / ln 2 = 4, 2, -4, -1: sum 1. Nearest to 1 is 2: sum -1. Nearest to -1 is -1: sum 0.
    fitted = balance_lengths(rows([(1600, 100), (400, 100), (100, 1600), (100, 200)]))
    assert [pair.question for pair in fitted.kept] == ["0", "2"]
    # A lone excess goes before pairs that do no harm: d / ln 2 = 5, -4, 0, 0, 0 ends at the three zeros.
    assert len(balance_lengths(rows([(3200, 100), (100, 1600), (9, 9), (9, 9), (9, 9)])).kept) == 3
    # The set of three with a tolerance of one doubling: the first state is inside.
    assert len(balance_lengths(rows([(100, 800), (200, 100), (200, 100)]), tolerance=math.log(2)).kept) == 3


def test_lengths_in_another_unit():
    pair = RankedPair(question="q", chosen="a b c d", rejected="longword", score=2.0)
    assert balance_lengths([pair], length=lambda text: len(text.split())).mean_before == pytest.approx(math.log(4))


def test_a_judge_that_likes_length_is_noticed():
    judge = PreferenceJudge(FakeVoice(by_length), config=BALANCED)
    many = [Pair(question=str(i), first="x" * (10 + 7 * i), second="y" * (10 + 11 * ((i * 5) % 24))) for i in range(24)]
    kept = [row for preference in judge.compare_all(many) if (row := ranked(preference)) is not None]
    assert len(kept) >= 20
    biased = balance_lengths(kept)
    assert biased.longer_frac_before == 1.0
    assert len(biased.kept) <= len(kept) // 5
    fair = balance_lengths([row for pair in kept for row in (pair, turned(pair))])
    assert (fair.longer_frac_before, fair.num_dropped) == (0.5, 0)


def turned(pair: RankedPair) -> RankedPair:
    return RankedPair(question=pair.question, chosen=pair.rejected, rejected=pair.chosen, score=pair.score)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=30), st.sampled_from([0.0, 0.05, 0.5]))
def test_what_stays_is_balanced_in_order_and_a_part(lengths, tolerance):
    given_rows = rows(lengths)
    balanced = balance_lengths(given_rows, tolerance=tolerance)
    assert abs(balanced.mean_after) <= tolerance + 1e-9
    assert [row for row in given_rows if row in balanced.kept] == list(balanced.kept)
    assert balanced.num_dropped + len(balanced.kept) == len(given_rows)
    assert balance_lengths(balanced.kept, tolerance=tolerance + 1e-9).num_dropped == 0
