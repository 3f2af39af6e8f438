"""Replies: what is rendered is read back, what is ambiguous pays nothing, nothing raises."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.dialogue import (
    R1_ZERO,
    REFLECTIVE_WORDS,
    Dialect,
    Reply,
    last_boxed,
    parse,
    render,
)

ZERO, R1, PLAIN = Dialect.R1_ZERO, Dialect.R1, Dialect.PLAIN

PIECES = st.sampled_from(
    [
        "7+8=15",
        " ",
        "\n",
        "\n\n",
        "<",
        ">",
        "think",
        "</",
        "answer",
        "\\boxed{",
        "}",
        "{",
        "\\{",
        "\\frac{1}{2}",
        "中文",
        "\\",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=8).map("".join)
TAGS = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>"])


def has_no_tag(text: str) -> bool:
    return not any(tag in text for tag in ("<think>", "</think>", "<answer>", "</answer>"))


PARTS = st.none() | TEXTS.filter(has_no_tag)


@given(PARTS, PARTS)
@settings(max_examples=150, deadline=None)
def test_an_r1_zero_reply_is_read_back_as_it_was(thinking, answer):
    reply = Reply(thinking=thinking, answer=answer)
    parsed = parse(render(reply, ZERO), ZERO)
    assert parsed.reply == reply
    assert parsed.is_well_formed == (bool(reply.thinking) and bool(reply.answer))
    assert parsed.is_well_formed == (parsed.problem == "")


@given(PARTS, PARTS)
@settings(max_examples=150, deadline=None)
def test_an_r1_reply_is_read_back_as_it_was(thinking, text):
    summary = (text or "").strip() or None
    reply = Reply(thinking=thinking, summary=summary, answer=last_boxed(summary or ""))
    rendered = render(reply, R1)
    parsed = parse(rendered, R1)
    assert parsed.reply == reply
    assert parsed.is_well_formed == (reply.thinking is not None and bool(reply.summary))
    if thinking is not None:
        assert rendered.startswith("<think>\n")
        assert parse(rendered.removeprefix("<think>\n"), R1, prefilled=True) == parsed


@given(PARTS)
@settings(max_examples=50, deadline=None)
def test_a_plain_reply_is_read_back_as_it_was(text):
    reply = Reply(answer=(text or "").strip() or None)
    assert parse(render(reply, PLAIN), PLAIN).reply == reply


@given(st.lists(TAGS | PIECES | st.text(max_size=5), max_size=14).map("".join), st.sampled_from(Dialect), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_text_can_be_read_and_well_formed_texts_are_read_without_loss(text, dialect, prefilled):
    parsed = parse(text, dialect, prefilled=prefilled)
    assert parsed.is_well_formed == (parsed.problem == "")
    if parsed.is_well_formed:
        again = parse(render(parsed.reply, dialect), dialect)
        assert again.reply == parsed.reply
        assert again.is_well_formed


def test_the_dialects_look_as_described():
    reply = Reply(thinking="7+8=15", answer="15")
    assert render(reply, ZERO) == "<think> 7+8=15 </think> <answer> 15 </answer>"
    assert render(reply, R1) == "<think>\n7+8=15\n</think>\n\n\\boxed{15}"
    assert render(Reply(thinking="7+8=15", summary="It is \\boxed{15}."), R1) == (
        "<think>\n7+8=15\n</think>\n\nIt is \\boxed{15}."
    )
    assert render(Reply(answer="15"), PLAIN) == "15"


@pytest.mark.parametrize("part", ["a <think> b", "</answer>"])
def test_a_part_that_holds_a_tag_cannot_be_rendered(part):
    with pytest.raises(ValueError, match="holds the tag"):
        render(Reply(thinking=part), ZERO)
    with pytest.raises(ValueError, match="holds the tag"):
        render(Reply(answer=part), PLAIN)


def test_the_plain_dialect_has_no_thinking():
    with pytest.raises(ValueError, match="no thinking"):
        render(Reply(thinking="a", answer="b"), PLAIN)


@pytest.mark.parametrize(
    ("text", "thinking", "answer", "problem"),
    [
        ("<think>a</think><answer>5</answer>", "a", "5", ""),
        ("\n <think>\na\n</think>\n\n<answer>5</answer>\n", "a", "5", ""),
        ("5", None, None, "no <think>"),
        ("", None, None, "no <think>"),
        ("<answer>5</answer>", None, "5", "no <think>"),
        ("<think>a</think>", "a", None, "no <answer>"),
        ("<think></think><answer>5</answer>", "", "5", "the thinking is empty"),
        ("<think>a</think><answer> </answer>", "a", "", "the answer is empty"),
        ("a</think><answer>5</answer>", "a", "5", "</think> without <think>"),
        ("<think>a<answer>5</answer>", "a<answer>5</answer>", None, "<think> is not closed"),
        ("<think>a<answer>5</answer></think>", "a<answer>5</answer>", None, "a tag stands inside the thinking"),
        ("<think>a</think>b</think><answer>5</answer>", "a</think>b", "5", "more than one </think>"),
        ("<think>a</think><think>b</think><answer>5</answer>", "a</think><think>b", "5", "more than one </think>"),
        ("<think><think>a</think><answer>5</answer>", "<think>a", "5", "more than one <think>"),
        ("<think>a</think><think><answer>5</answer>", "a", None, "<think> after </think>"),
        ("<think>a</think><answer>5</answer><answer>6</answer>", "a", None, "more than one <answer>"),
        ("<think>a</think><answer>5<answer>6</answer>", "a", None, "more than one <answer>"),
        ("<think>a</think><answer>5</answer></answer>", "a", None, "more than one <answer>"),
        ("<think>a</think><answer>5", "a", None, "<answer> is not closed"),
        ("<think>a</think></answer>5<answer>", "a", None, "<answer> is not closed"),
        ("<think>a</think>5</answer>", "a", None, "</answer> without <answer>"),
        ("so <think>a</think><answer>5</answer>", "a", "5", "text before <think>"),
        ("<think>a</think>so<answer>5</answer>", "a", "5", "text before <answer>"),
        ("<think>a</think><answer>5</answer>!", "a", "5", "text after </answer>"),
        ("<think>a</think><answer>5</think></answer>", "a</think><answer>5", None, "more than one </think>"),
    ],
)
def test_r1_zero_texts_that_a_model_may_write(text, thinking, answer, problem):
    parsed = parse(text, ZERO)
    assert (parsed.reply.thinking, parsed.reply.answer, parsed.problem) == (thinking, answer, problem)
    assert parsed.reply.summary is None


@pytest.mark.parametrize(
    ("text", "thinking", "summary", "answer", "problem"),
    [
        ("<think>\na\n</think>\n\nIt is \\boxed{5}.", "a", "It is \\boxed{5}.", "5", ""),
        ("<think>\n\n</think>\n\nHello!", "", "Hello!", None, ""),
        ("It is \\boxed{5}.", None, "It is \\boxed{5}.", "5", "no <think>"),
        ("<think>\n\\boxed{5}", "\\boxed{5}", None, None, "<think> is not closed"),
        ("<think>\\boxed{5}</think>", "\\boxed{5}", None, None, "no summary after </think>"),
        ("<think>a</think>b</think>\\boxed{5}", "a</think>b", "\\boxed{5}", "5", "more than one </think>"),
        ("<think>a</think>\\boxed{4}<think>\\boxed{5}", "a", "\\boxed{4}", "4", "<think> after </think>"),
        (
            "<think>a</think><answer>5</answer>",
            "a",
            "<answer>5</answer>",
            None,
            "the tag <answer> stands in the summary",
        ),
        ("a</think>\\boxed{5}", "a", "\\boxed{5}", "5", "</think> without <think>"),
    ],
)
def test_r1_texts_that_a_model_may_write(text, thinking, summary, answer, problem):
    parsed = parse(text, R1)
    assert (parsed.reply.thinking, parsed.reply.summary, parsed.reply.answer) == (thinking, summary, answer)
    assert parsed.problem == problem


@pytest.mark.parametrize(
    ("text", "answer", "problem"),
    [
        (" 5\n", "5", ""),
        (" \n", None, "the reply is empty"),
        ("<think>a</think> 5", "<think>a</think> 5", "the tag <think> stands in the reply"),
    ],
)
def test_plain_texts_that_a_model_may_write(text, answer, problem):
    parsed = parse(text, PLAIN)
    assert (parsed.reply.thinking, parsed.reply.answer, parsed.problem) == (None, answer, problem)


def test_a_prefilled_tag_counts_as_written():
    assert parse("a\n</think>\n\n\\boxed{5}", R1, prefilled=True).is_well_formed
    assert parse("a </think> <answer> 5 </answer>", ZERO, prefilled=True).reply == Reply(thinking="a", answer="5")
    assert parse("<think>a</think>b", R1, prefilled=True).problem == "more than one <think>"
    assert parse("still thinking", R1, prefilled=True).reply == Reply(thinking="still thinking")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed { 2 }", "2"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{1 + \boxed{2}}", r"1 + \boxed{2}"),
        (r"\boxed{3} \boxed{4", "3"),
        (r"\boxed{ \boxed{5} ", "5"),
        (r"{\boxed{5}} }", "5"),
        (r"\boxed{}", ""),
        (r"\\boxed{5}", None),
        ("boxed{5}", None),
        ("no box", None),
        ("\\boxed{a\nb}", "a\nb"),
    ],
)
def test_the_last_closed_box(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize("unit", ["\\boxed{", "}", "{", "<think>", "</think>", "<answer>", "\\", "\\boxed{}"])
def test_reading_a_megabyte_takes_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    for dialect in Dialect:
        parse(text, dialect)
    assert time.process_time() - began < 5.0  # seconds; a quadratic reader needs hours


def test_the_prompt_of_r1_zero_is_the_papers():
    assert R1_ZERO == (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
        "assistant first thinks about the reasoning process in the mind and then provides the user with the answer. "
        "The reasoning process and answer are enclosed within <think>...</think> and <answer>...</answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: {prompt}. "
        "Assistant:"
    )


def test_the_reflective_words_are_the_papers_ten():
    assert len(set(REFLECTIVE_WORDS)) == 10
    assert {"wait", "mistake", "however", "but", "retry"} < set(REFLECTIVE_WORDS)
    assert {"error", "verify", "wrong", "evaluate", "check"} < set(REFLECTIVE_WORDS)
