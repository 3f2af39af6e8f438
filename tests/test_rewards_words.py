"""What counts as a word (decision 0006): names, units, labels and identifiers are neutral, and hide no language."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rewards.language import language_consistency, language_share
from zero2r1.rewards.words import count_words, names_in, prose


@pytest.mark.parametrize(
    "text",
    [
        "速度是 60 km/h", "长 $a$ cm", "重 5kg", "第 3rd", "时间 8 pm", "2ab加3", "ax+by=c", "三角形ABC",
        "AB=CD，AB和CD平行",
        "x_1加x_2", "变量num_apples", "numApples个", "H2O分子", "求gcd(12, 18)", "n mod 2", "取log(100)", "sin和cos",
        "dx很小",
        "`print`输出", "<answer>好", "\\frac{1}{2}是", "$\\text{area}$是", "用x和y",
    ],
)  # fmt: skip
def test_symbols_in_a_chinese_text_are_no_words(text):
    assert set(count_words(text)) <= {"han"}
    assert language_consistency(text, "zh") == 1.0


@pytest.mark.parametrize(
    ("text", "num_latin"),
    [
        ("因此 THE SUM IS TEN", 4),  # capitals beside capitals are words
        ("因此 the_sum_is_ten", 4),  # a sentence is no identifier
        ("因此 theSumIsEqualToTen", 1),
        ("因此 we get", 2),
        ("因此 carry", 1),
        ("价格 $5 and he pays $10", 3),  # a price opens no formula: and, he, pays
        ("5 meters", 1),  # a spelt unit is a word
        ("7 apples", 1),
    ],
)
def test_a_language_cannot_hide_as_a_symbol(text, num_latin):
    assert count_words(text).get("latin", 0.0) == num_latin


def test_only_the_question_makes_a_name():
    question = "Alice 有 3 个苹果，Bob 有 5 个。"
    assert names_in(question, ("han",)) == {"Alice", "Bob"}
    # 有个 = 2 characters, 1.33 words; Carol = 1
    assert language_share("Alice有3个", "zh", question=question) == 1.0
    assert language_share("Carol有3个", "zh", question=question) == pytest.approx((2 / 1.5) / (2 / 1.5 + 1))
    assert language_share("Alice's 苹果", "zh", question=question) == 1.0


def test_a_word_in_small_letters_is_no_name():
    assert names_in("把 apple 翻译成中文", ("han",)) == frozenset()


def test_a_chinese_name_in_an_english_question_is_a_name_and_a_sentence_is_not():
    question = "小明 has 3 apples. What does 我们先加个位数 mean?"
    assert names_in(question, ("latin",)) == {"小明"}
    assert language_share("小明 has three", "en", question=question) == 1.0
    assert language_share("小明 has three", "en") == pytest.approx(2 / (2 + 2 / 1.5))


def test_a_name_never_raises_the_share():
    # names leave both numbers: repeating one earns nothing
    question = "Alice 有 3 个苹果。"
    mixed = "Alice有3个 and two more"
    assert language_share(mixed + " Alice" * 50, "zh", question=question) == language_share(
        mixed, "zh", question=question
    )


def test_han_between_kana_is_japanese_and_a_quoted_kana_is_not():
    # 足+算+計+算 = 4 Han in clauses of kana: 4 / 1.5 under kana; い す る で す = 5 kana: 2.5
    words = count_words("足し算する")  # 足算 = 2 Han, し す る = 3 kana
    assert words == {"kana": pytest.approx(2 / 1.5 + 3 / 2)}
    assert language_share("足し算する", "zh") == 0.0
    # 1 kana of 10 characters is below a fifth: 9 Han = 6 words, 1 kana = 0.5
    assert language_share("这个字の的意思是什么", "zh") == pytest.approx(6 / 6.5)


def test_prose_keeps_the_words_of_a_sentence():
    assert prose("First we add the ones, then the tens.") == "First we add the ones, then the tens."


@settings(max_examples=100)
@given(st.text(max_size=300), st.text(max_size=60), st.sampled_from(["en", "zh", "ja", "ru", "ko", "ar"]))
def test_any_text_and_question_give_a_share(text, question, language):
    share = language_share(text, language, question=question)
    assert share is None or 0.0 <= share <= 1.0


@pytest.mark.parametrize("unit", ["A", "aB", "a_", "1 ", "9a", "a=", "$ ", "$a", "の漢。", "sin", "AB "])
def test_half_a_megabyte_is_counted_in_a_moment(unit):
    import time

    start_s = time.process_time()
    count_words(unit * (500_000 // len(unit)) + "é", names=("Alice",))
    assert time.process_time() - start_s < 3.0
