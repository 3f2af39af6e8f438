"""Where the final answer is found, and where it is not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.dialogue import Dialect, Reply, last_boxed, render
from zero2r1.rewards.answers import boxes, final_answer, thinking_text

WORDS = st.text(alphabet="ab 12=\\{}boxed", max_size=30)


@pytest.mark.parametrize(
    ("dialect", "text", "answer"),
    [
        (Dialect.R1_ZERO, "<think> a </think> <answer> 42 </answer>", "42"),
        (Dialect.R1_ZERO, "<answer>42</answer>", "42"),
        (Dialect.R1_ZERO, r"<think> a </think> <answer> $\boxed{\frac{1}{2}}$ </answer>", r"\frac{1}{2}"),
        (Dialect.R1_ZERO, "<think> a </think> x <answer>42</answer> y", "42"),
        (Dialect.R1, "<think>\na\n</think>\n\nIt is \\boxed{\\frac{1}{2}}.", r"\frac{1}{2}"),
        (Dialect.R1, r"\boxed{1} means \boxed{1}", "1"),
        (Dialect.PLAIN, "So it is 7. The answer is 42.", "42"),
        (Dialect.PLAIN, "一共42个，答案：42", "42"),
        (Dialect.PLAIN, r"7, 8, thus \boxed{42}", "42"),
        (Dialect.PLAIN, " 42 ", "42"),
        (Dialect.PLAIN, "The answer is $6\\cdot 7$, so \\boxed{42}", "42"),  # a statement that is no number is a step
        (Dialect.R1, r"\boxed{42} and again \boxed{42.0}", "42"),
    ],
)
def test_the_final_answer_is_found(dialect, text, answer):
    found = final_answer(text, dialect)
    assert (found.answer, found.problem) == (answer, "")


@pytest.mark.parametrize(
    ("dialect", "text", "problem"),
    [
        (Dialect.R1_ZERO, "<think> <answer>42</answer> </think>", "no <answer>"),
        (Dialect.R1_ZERO, "<think> <answer>42</answer>", "never ends"),
        (Dialect.R1_ZERO, "<think>a</think><think><answer>42</answer>", "opened again"),
        (Dialect.R1_ZERO, "<think>a</think><answer>42</answer><think>", "opened again"),
        (Dialect.R1_ZERO, "<think>a</think><answer>41</answer><answer>42</answer>", "not the same"),
        (Dialect.R1_ZERO, "<think>a</think><answer>41</answer></think><answer>42</answer>", "not the same"),
        (Dialect.R1_ZERO, "<think>a</think><answer>42</answer><answer>", "2 <answer> but 1"),
        (Dialect.R1_ZERO, "<think>a</think></answer>42<answer>", "not in order"),
        (Dialect.R1_ZERO, r"<think>a</think> \boxed{42}", "no <answer>"),
        (Dialect.R1, "<think>\n\\boxed{42}\n</think>\n\nIt is 42.", "boxed"),
        (Dialect.R1, r"\boxed{41} or \boxed{42}", "not the same"),
        (Dialect.R1, "<think>a</think> \\boxed{41} </think> \\boxed{42}", "not the same"),
        (Dialect.R1, r"\boxed{42", "boxed"),
        (Dialect.PLAIN, "The answer is 41. The answer is 42.", "not the same"),
        (Dialect.PLAIN, "The answer is 41. \\boxed{42}", "not the same"),
        (Dialect.R1, "<think>a</think> <answer>41</answer> \\boxed{42}", "not the same"),
        (Dialect.R1_ZERO, "<think>a</think> <answer>42</answer> \\boxed{41}", "not the same"),
        (Dialect.PLAIN, "", "empty"),
    ],
)
def test_a_missing_or_doubled_answer_is_a_problem_in_words(dialect, text, problem):
    found = final_answer(text, dialect)
    assert found.answer is None
    assert problem in found.problem


def test_a_prefilled_reply_needs_the_end_of_the_thinking():
    assert final_answer("a </think> <answer>42</answer>", Dialect.R1_ZERO, prefilled=True).answer == "42"
    assert final_answer("<answer>42</answer>", Dialect.R1_ZERO, prefilled=True).answer is None
    assert final_answer("The answer is 42.", Dialect.PLAIN, prefilled=True).answer == "42"


@settings(max_examples=100)
@given(answer=st.text(alphabet="0123456789+-/. x", min_size=1, max_size=20).map(str.strip).filter(bool), thinking=WORDS)
def test_a_rendered_answer_is_found_again(answer, thinking):
    for dialect in (Dialect.R1_ZERO, Dialect.R1):
        text = render(Reply(thinking=thinking, answer=answer), dialect)
        assert final_answer(text, dialect).answer == answer


@settings(max_examples=200)
@given(WORDS, st.integers(0, 99), st.integers(0, 99))
def test_a_second_different_answer_never_helps(thinking, first, second):
    tags = f"<think> {thinking} </think> <answer> {first} </answer> <answer> {second} </answer>"
    box = f"<think>\n{thinking}\n</think>\n\n\\boxed{{{first}}} \\boxed{{{second}}}"
    expected = str(first) if first == second else None
    assert final_answer(tags, Dialect.R1_ZERO).answer == expected
    assert final_answer(box, Dialect.R1).answer == expected


@settings(max_examples=200)
@given(st.lists(st.sampled_from([r"\boxed{", "{", "}", r"\{", r"\}", "\\", "a", " "]), max_size=12).map("".join))
def test_boxes_agree_with_the_dialogue_reader_on_text_with_one_box_level(text):
    found = boxes(text)
    if len(found) == 1 and "\\boxed" not in found[0] and text.count("\\boxed") == 1:
        assert last_boxed(text) == found[0].strip()


@pytest.mark.parametrize(
    "unit", ["<answer>", r"\boxed{", "</think>", "<think>", "{", "$", r"\(", "answer is ", "答案是"]
)
def test_a_megabyte_of_half_tags_is_read_in_a_moment(unit):
    text = unit * (1_000_000 // len(unit))
    start_s = time.process_time()
    for dialect in Dialect:
        final_answer(text, dialect)
    assert time.process_time() - start_s < 5.0  # linear readers need less than 1 s; quadratic ones need minutes


def test_the_thinking_is_what_stands_before_the_last_end():
    assert thinking_text("<think> a </think> <answer> 42 </answer>").strip() == "a"
    assert thinking_text("a </think> b </think> c", prefilled=True).split() == ["a", "b"]
    assert thinking_text("<think> never ends").strip() == "never ends"
    assert thinking_text("no tags at all") == "no tags at all"
    assert thinking_text("before <think> a </think>").split() == ["a"]
