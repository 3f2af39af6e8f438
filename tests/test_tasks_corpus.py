"""The tiny base's corpus: each style is what it says it is, and a document is a function of its index."""

import re
from collections import Counter

import pytest
from calculator import calculate
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.dialogue import Dialect, parse
from zero2r1.core.errors import DataError
from zero2r1.core.random import Stream
from zero2r1.core.types import AnswerKind, Prompt, Task
from zero2r1.tasks.base import FAMILIES, TaskConfig, make_task
from zero2r1.tasks.corpus import CorpusConfig, Document, Style, documents
from zero2r1.tasks.corrupt import change_digit, corrupt_step
from zero2r1.tasks.files import FileTask
from zero2r1.tasks.synthetic import ProblemSource

ALL = make_task([TaskConfig(family=name, levels=(1, 2, 3)) for name in FAMILIES], 11)


def only(style: Style, count: int = 60, **fields: object) -> list[Document]:
    weights = {name.value: float(name is style) for name in Style}
    return documents(ALL, CorpusConfig.model_validate({**weights, **fields}), count, 0, 5)


def is_right(prompt: Prompt, answer: str) -> bool:
    """An independent verdict: equal text, except for countdown, which is calculated."""
    if prompt.answer_kind is not AnswerKind.COUNTDOWN:
        return answer == prompt.gold
    target, numbers = prompt.reference.split("|")
    if sorted(re.findall(r"\d+", answer)) != sorted(numbers.split(",")):
        return False
    return calculate(answer) == int(target)


def has_english(text: str) -> bool:
    return re.search("[a-z]{2,}", text) is not None


def has_chinese(text: str) -> bool:
    return re.search("[\u4e00-\u9fff]", text) is not None


def test_a_clean_document_is_well_formed_right_and_in_one_language() -> None:
    for document in only(Style.CLEAN):
        parsed = parse(document.reply_text, Dialect.R1_ZERO)
        assert parsed.is_well_formed
        assert document.is_right
        assert is_right(document.prompt, parsed.reply.answer or "")
        thinking = parsed.reply.thinking or ""
        assert (has_english(thinking), has_chinese(thinking)) == (
            (True, False) if document.prompt.language == "en" else (False, True)
        )


def test_a_mixed_document_is_right_and_in_both_languages() -> None:
    for document in only(Style.MIXED):
        parsed = parse(document.reply_text, Dialect.R1_ZERO)
        thinking = parsed.reply.thinking or ""
        assert parsed.is_well_formed
        assert has_english(thinking)
        assert has_chinese(thinking)
        assert is_right(document.prompt, parsed.reply.answer or "")


def test_a_wrong_document_has_a_wrong_answer_and_a_corrupted_step() -> None:
    found = only(Style.WRONG, 120)
    for document in found:
        parsed = parse(document.reply_text, Dialect.R1_ZERO)
        assert parsed.is_well_formed
        assert document.is_right is False
        assert not is_right(document.prompt, parsed.reply.answer or "")
    assert isinstance(ALL, ProblemSource)
    solutions = [problem.thinking().split("\n") for problem in ALL.problems(120)]
    for document, right_steps in zip(found, solutions, strict=True):
        steps = (parse(document.reply_text, Dialect.R1_ZERO).reply.thinking or "").split("\n")
        changed = [step != right for step, right in zip(steps, right_steps, strict=True)]
        assert sum(changed) == 2, "one step and the conclusion"
        assert changed[-1]


def test_an_unformatted_document_has_no_tags_and_ends_with_the_right_answer() -> None:
    for document in only(Style.UNFORMATTED):
        assert not re.search("</?(think|answer)>", document.reply_text)
        last = document.reply_text.split("\n")[-1]
        assert last in (f"The answer is {document.prompt.gold}.", f"答案是{document.prompt.gold}。")


def test_a_guess_has_no_thinking_and_says_whether_it_is_right() -> None:
    found = only(Style.GUESS, 300)
    for document in found:
        reply = parse(document.reply_text, Dialect.R1_ZERO).reply
        assert not reply.thinking
        assert is_right(document.prompt, reply.answer or "") == document.is_right
    # 300 draws at 75 % wrong: standard deviation 7.5.
    assert 195 < sum(document.is_right is False for document in found) < 255
    assert {"<think>" in document.reply_text for document in found} == {True, False}


def test_chatter_has_no_checkable_answer() -> None:
    for document in only(Style.CHATTER):
        assert document.is_right is None
        assert document.prompt.answer_kind is AnswerKind.NONE
        assert "<" not in document.reply_text


def test_styles_come_in_proportion_to_their_weights() -> None:
    config = CorpusConfig(clean=3, mixed=1, wrong=0, unformatted=0, guess=0, chatter=0)
    counts = Counter(document.style for document in documents(ALL, config, 800, 0, 1))
    assert set(counts) == {Style.CLEAN, Style.MIXED}
    # 800 draws at 3/4: mean 600, standard deviation 12.
    assert 550 < counts[Style.CLEAN] < 650


@settings(max_examples=5, deadline=None)
@given(start=st.integers(0, 2000), seed=st.integers(0, 1000))
def test_document_i_is_the_same_however_drawn(start: int, seed: int) -> None:
    block = documents(ALL, CorpusConfig(), 6, start, seed)
    assert block == [documents(ALL, CorpusConfig(), 1, index, seed)[0] for index in range(start, start + 6)]


def test_documents_speak_only_of_train_problems() -> None:
    asked = {document.prompt.id for document in documents(ALL, CorpusConfig(), 400, 0, 3)}
    assert not asked & {prompt.id for prompt in ALL.draw(100, split="test")}


def test_a_document_is_a_dialogue_that_ends_with_the_reply() -> None:
    [document] = documents(ALL, CorpusConfig(), 1, 0, 0)
    assert [message.role for message in document.messages] == ["user", "assistant"]
    assert document.messages[-1].content == document.reply_text


@pytest.mark.parametrize("dialect", [Dialect.R1, Dialect.PLAIN])
def test_another_dialect_writes_another_shape(dialect: Dialect) -> None:
    for document in only(Style.CLEAN, 20, dialect=dialect):
        parsed = parse(document.reply_text, dialect)
        assert parsed.is_well_formed
        assert document.prompt.gold in (parsed.reply.answer or "")


def test_a_task_without_worked_solutions_is_refused() -> None:
    task: Task = FileTask(ALL.draw(20), name="mine", seed=0)
    with pytest.raises(DataError, match="task 'mine' has no worked solutions"):
        documents(task, CorpusConfig(), 1, 0, 0)


def test_a_corpus_needs_a_style() -> None:
    with pytest.raises(ValueError, match="at least one style"):
        CorpusConfig(clean=0, mixed=0, wrong=0, unformatted=0, guess=0, chatter=0)


@settings(max_examples=100, deadline=None)
@given(key=st.integers(0, 2**64 - 1), number=st.integers(0, 10**6))
def test_a_changed_digit_gives_another_number_of_the_same_length(key: int, number: int) -> None:
    changed = change_digit(str(number), Stream(key))
    assert int(changed) != number
    assert len(str(int(changed))) == len(str(number))


def test_a_step_is_corrupted_in_its_result_when_it_has_one() -> None:
    for key in range(20):
        assert re.fullmatch(r"ones 7\+8=\d\d carry 1", corrupt_step("ones 7+8=15 carry 1", Stream(key)))
        assert corrupt_step("smallest left 3", Stream(key)) != "smallest left 3"
    assert corrupt_step("no figures", Stream(0)) == "no figures"
