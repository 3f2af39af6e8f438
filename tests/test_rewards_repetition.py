"""Repetition, counted by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rewards.repetition import is_repetitive, repeated_fraction, tail_loops


def test_repeated_ngrams_are_counted_by_hand():
    # tokens a b a b a: bigrams ab ba ab ba, 2 of 4 distinct
    assert repeated_fraction("a b a b a", n=2) == 0.5
    # single tokens 1 2 1: 2 of 3 distinct
    assert repeated_fraction("1 2 1", n=1) == pytest.approx(1 / 3)
    # every Han character is a token: 好好好 has 3 unigrams, 1 distinct
    assert repeated_fraction("好好好", n=1) == pytest.approx(2 / 3)


def test_a_short_text_repeats_nothing():
    assert repeated_fraction("", n=8) == 0.0
    assert repeated_fraction("a b c d e f g h", n=8) == 0.0


def test_an_ngram_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one token"):
        repeated_fraction("a", n=0)


@pytest.mark.parametrize(
    ("text", "loops"),
    [("", 1), ("one two three", 1), ("so wait so wait so wait", 3), ("begin ha ha ha ha", 4), ("等等等等", 4),
     ("a a b", 1), ("so wait so wait so wa", 2), ("wait wait wait wa", 3), ("check. check. check. ch", 3)],
)  # fmt: skip
def test_loops_at_the_end_are_counted(text, loops):
    assert tail_loops(text) == loops


def test_endless_repetition_is_repetitive_and_arithmetic_steps_are_not():
    assert is_repetitive("We check it again. " * 20)
    assert is_repetitive("所以答案是八十五。" * 10)
    assert not is_repetitive("ones 7+8=15 carry 1, tens 3+4+1=8, so 85. Check: 85-48=37, which is right.")
    assert not is_repetitive("个位7+8=15进1，十位3+4+1=8，所以85。")


@settings(max_examples=100)
@given(st.text(alphabet="ab 1。", max_size=80), st.integers(1, 10))
def test_the_fraction_is_a_fraction_and_saying_it_twice_never_lowers_it(text, n):
    once = repeated_fraction(text, n=n)
    assert 0.0 <= once < 1.0
    assert repeated_fraction(text + " " + text, n=n) >= once - 1e-12
