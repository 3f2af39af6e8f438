"""The language consistency reward, with shares computed by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rewards.language import SCRIPTS, count_words, language_consistency, language_share

# Words by hand: Latin words have at least two letters; 1.5 Han characters are one word.
PROBES = [
    ("We add the ones first", "en", 1.0),
    ("We add the ones first", "zh", 0.0),
    ("我们先加个位", "zh", 1.0),
    ("我们先加个位", "en", 0.0),
    ("ones 7+8=15 carry 1", "en", 1.0),  # ones, carry: 2 of 2
    ("个位7+8=15进1", "zh", 1.0),  # 个位进: 3 / 1.5 = 2 of 2
    ("ones 7+8=15 进位 carry", "en", 2 / (2 + 2 / 1.5)),  # ones, carry = 2; 进位 = 1.33
    ("ones 7+8=15 进位 carry", "zh", (2 / 1.5) / (2 + 2 / 1.5)),
    ("设x等于3", "zh", 1.0),  # one letter is a variable
    (r"因为 $\text{area} = \pi r^2$ 所以", "zh", 1.0),  # formulas are no words
    (r"since \(a \in 集合\) holds", "en", 1.0),
    ("`print` 输出", "zh", 1.0),
    ("```python\nprint('hello world')\n```\n输出", "zh", 1.0),
    ("<think> 好的 </think>", "zh", 1.0),
    ("see https://example.org/page 网页", "zh", (2 / 1.5) / (1 + 2 / 1.5)),  # see = 1, 网页 = 1.33
    ("don't", "en", 1.0),
    ("これはペンです", "ja", 1.0),
    ("漢字とかな", "ja", 1.0),
    ("한국어 text", "ko", (3 / 2) / (3 / 2 + 1)),  # 3 hangul = 1.5 words, text = 1
    ("привет мир", "ru", 1.0),
]


@pytest.mark.parametrize(("text", "language", "share"), PROBES)
def test_the_share_is_the_one_computed_by_hand(text, language, share):
    assert language_share(text, language) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("text", ["", "7 + 8 = 15", r"\frac{1}{2}", "x = y", "。，！"])
def test_a_text_without_words_is_neutral(text):
    assert language_share(text, "en") is None
    assert language_consistency(text, "zh") == 1.0


def test_words_are_counted_by_script():
    assert count_words("two words 六个字的句子") == {"latin": 2.0, "han": 4.0}  # 6 / 1.5


def test_an_unknown_language_is_refused():
    with pytest.raises(KeyError):
        language_share("text", "xx")


@settings(max_examples=150)
@given(st.text(max_size=200), st.sampled_from(sorted(SCRIPTS)))
def test_a_share_lies_between_zero_and_one(text, language):
    assert 0.0 <= language_consistency(text, language) <= 1.0


@settings(max_examples=100)
@given(st.integers(0, 20), st.integers(1, 20))
def test_english_and_chinese_shares_add_up_to_one(num_english, num_chinese):
    text = "word " * num_english + "字" * num_chinese
    english, chinese = language_share(text, "en"), language_share(text, "zh")
    assert english is not None
    assert chinese is not None
    assert english + chinese == pytest.approx(1.0)
    assert english == pytest.approx(num_english / (num_english + num_chinese / 1.5))


@pytest.mark.parametrize("unit", ["$", "$$a", "\\[", "\\(", "`", "```", "<", "\\", "https://", "'a"])
def test_a_megabyte_of_openings_is_measured_in_a_moment(unit):
    import time

    start_s = time.process_time()
    language_consistency(unit * (1_000_000 // len(unit)) + "é", "en")
    assert time.process_time() - start_s < 3.0
