"""Code blocks, long paragraphs and markdown of thinking texts, counted by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.rewards.paragraphs import (
    has_code_block,
    has_markdown,
    layout_problem,
    longest_paragraph_words,
    markdown_share,
    paragraph_words,
)


@pytest.mark.parametrize(
    ("text", "is_code"),
    [
        ("```python\nprint(1)\n```", True), ("so ```x", True), ("~~~\nx\n~~~", True), ("<pre>x</pre>", True),
        ("<code class='a'>x</code>", True), ("use `print` here", False), ("about ~~~5", False), ("", False),
        ("a < preface", False), ("print(1)", False),
    ],
)  # fmt: skip
def test_a_block_of_code_is_a_fence_or_a_tag(text, is_code):
    assert has_code_block(text) is is_code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("7 + 8 = 15 so we", 5.0),  # 7, 8, 15, so, we; signs alone are no words
        ("我们先加个位", 4.0),  # 6 / 1.5
        ("我们 add 个位", 1 + 4 / 1.5),
        ("한국어 문장 입니다", 3.0),  # Korean has spaces
        ("これはペンです", 3.5),  # 7 kana / 2
        ("", 0.0),
    ],
)
def test_the_words_of_a_paragraph_are_counted_by_hand(text, words):
    assert paragraph_words(text) == pytest.approx(words)


def test_the_longest_paragraph_is_found_in_any_language():
    assert longest_paragraph_words("one two\n\none two three\n \none") == 3.0
    assert longest_paragraph_words("我们先加个位\n\n加") == 4.0
    # one line break is no new paragraph
    assert longest_paragraph_words("one two\none two") == 4.0
    assert longest_paragraph_words("字" * 600) == 400.0


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("# Heading\ntext", 1 / 2),
        ("**Step one** add\nthen the tens\nso 85", 1 / 3),
        ("**结论**：十二", 1.0),
        ("- add the ones\n- add the tens\nso 85", 2 / 3),
        ("1. First add\n2. Then carry", 1.0),
        ("1. First add\nand so on", 0.0),  # one item is no list
        ("| a | b |\n|---|---|\n| 1 | 2 |\nso", 3 / 4),
        ("one\n---\ntwo", 1 / 3),
        ("see [this](https://example.org/a)", 1.0),
    ],
)
def test_markdown_is_counted_by_lines(text, share):
    assert markdown_share(text) == pytest.approx(share)
    assert has_markdown(text) is (share > 0)


@pytest.mark.parametrize(
    "text",
    [
        "", "2 * 3 * 4 = 24", "2 ** 3 ** 2 = 512", "a**b**c", "x_1 * y_2", "__init__ runs", "the set {x | x > 3 | y}",
        "- 5 + 3 = -2\n- 4 + 1 = -3", "$**x**$", "a_b_c", "#apples = 3", "|x| < 3 and |y| < 4",
        "f(x) = [a](b)",
    ],
)  # fmt: skip
def test_mathematics_is_no_markdown(text):
    assert markdown_share(text) == 0.0


def test_the_first_broken_rule_is_named():
    long = "word " * 301
    assert layout_problem("```\nx\n```\n\n" + long, max_paragraph_words=300) == "code"
    assert layout_problem(long, max_paragraph_words=300) == "paragraph"
    assert layout_problem("字" * 451, max_paragraph_words=300) == "paragraph"  # 451 / 1.5 = 300.7
    assert layout_problem("字" * 450, max_paragraph_words=300) == ""
    assert layout_problem("# Plan", max_paragraph_words=300) == ""
    assert layout_problem("# Plan", max_paragraph_words=300, allow_markdown=False) == "markdown"


@settings(max_examples=100)
@given(st.text(alphabet="ab *_#|-\n`1.字の", max_size=120))
def test_any_text_has_a_layout(text):
    assert 0.0 <= markdown_share(text) <= 1.0
    assert longest_paragraph_words(text) >= 0.0


@pytest.mark.parametrize("unit", ["*", "**a", "#", "[", "[a](", "|", "-", "a ", "字", "\n", "1. "])
def test_a_long_line_is_measured_in_a_moment(unit):
    import time

    start_s = time.process_time()
    markdown_share(unit * (200_000 // len(unit)))
    assert time.process_time() - start_s < 3.0
