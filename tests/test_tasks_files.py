"""The file reader: every malformed row is refused and counted by reason, and never stops the reading."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zero2r1.core.errors import DataError
from zero2r1.core.types import AnswerKind
from zero2r1.tasks.base import TaskConfig, make_task
from zero2r1.tasks.files import FileTask, parse_source, read_file
from zero2r1.tasks.rows import detect_language, final_answer, kind_of
from zero2r1.tasks.splits import SPLITS
from zero2r1.tasks.tables import MAX_LINE_BYTES

GOOD = b'{"question": "1+1?", "answer": "2"}'


def write(folder: Path, *lines: bytes, name: str = "mine.jsonl") -> Path:
    path = folder / name
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


MALFORMED = {
    "not JSON": b'{"question": "a", ',
    "not a JSON object": b'["question", "answer"]',
    "not UTF-8": b'{"question": "\xff", "answer": "1"}',
    "missing column 'answer'": b'{"question": "a"}',
    "missing column 'question'": b'{"answer": "1"}',
    "null in 'question'": b'{"question": null, "answer": "1"}',
    "null in 'answer'": b'{"question": "a", "answer": null}',
    "wrong type in 'question'": b'{"question": 5, "answer": "1"}',
    "wrong type in 'answer'": b'{"question": "a", "answer": true}',
    "not a finite number in 'answer'": b'{"question": "a", "answer": NaN}',
    "empty 'question'": b'{"question": "  ", "answer": "1"}',
    "empty 'answer'": b'{"question": "a", "answer": ""}',
    "no final answer in the solution": rb'{"question": "a", "answer": "so \\boxed{}"}',
    "bad turn in 'messages'": b'{"messages": [{"role": "robot", "content": "a"}], "answer": "1"}',
    "no user turn at the end of 'messages'": b'{"messages": [{"role": "system", "content": "a"}], "answer": "1"}',
    "'level' is not 1 to 5": b'{"question": "a", "answer": "1", "level": 9}',
    "no two-letter code in 'language'": b'{"question": "a", "answer": "1", "language": "English"}',
    "duplicate question": GOOD,
    "line above 1 MiB": b'{"question": "' + b"x" * (MAX_LINE_BYTES + 10) + b'", "answer": "1"}',
}


@pytest.mark.parametrize(("reason", "line"), MALFORMED.items(), ids=list(MALFORMED))
def test_a_malformed_row_is_refused_and_counted_by_reason(tmp_path: Path, reason: str, line: bytes) -> None:
    after = b'{"question": "2+2?", "answer": "4"}'
    data = read_file(write(tmp_path, GOOD, line, after))
    assert [prompt.gold for prompt in data.prompts] == ["2", "4"]
    assert data.refused == {reason: 1}
    assert data.examples == {reason: 2}
    assert data.num_rows == 3
    assert data.refusals() == f"1 {reason} (first: row 2)"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"[" * 100_000, "not JSON"),
        (b'{"question": "a", "answer": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"question": "a", "answer": 1e999}', "not a finite number in 'answer'"),
        (rb'{"question": "\ud800", "answer": "1"}', "not UTF-8"),
        (b"\x00\x01\x02", "not JSON"),
        (b'{"messages": [], "answer": "1"}', "no user turn at the end of 'messages'"),
        (b'{"messages": [5], "answer": "1"}', "bad turn in 'messages'"),
        (b'{"question": "a", "answer": ["1"]}', "wrong type in 'answer'"),
    ],
)
def test_a_hostile_row_is_refused_too(tmp_path: Path, line: bytes, reason: str) -> None:
    assert read_file(write(tmp_path, GOOD, line)).refused == {reason: 1}


def test_a_duplicate_id_is_refused(tmp_path: Path) -> None:
    rows = [b'{"question": "a", "answer": "1", "id": 7}', b'{"question": "b", "answer": "1", "id": 7}']
    data = read_file(write(tmp_path, *rows))
    assert data.refused == {"duplicate id": 1}


@settings(max_examples=60, deadline=None)
@given(lines=st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(list(MALFORMED.values())[:18])), max_size=12))
def test_any_bytes_give_rows_or_reasons_and_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in ("mine.jsonl", "mine.csv"):
        first = GOOD if name.endswith("jsonl") else b"question,answer\n1+1?,2"
        data = read_file(write(folder, first, *lines, name=name))
        assert len(data.prompts) + sum(data.refused.values()) == data.num_rows
        assert data.prompts[0].gold == "2"


def test_ten_thousand_malformed_rows_are_all_counted(tmp_path: Path) -> None:
    kinds = list(MALFORMED.values())[:-2]
    data = read_file(
        write(tmp_path, GOOD, *(kinds[index % len(kinds)] for index in range(1000 * len(kinds) // 17 * 1)))
    )
    assert sum(data.refused.values()) == data.num_rows - 1
    assert len(data.refused) == len(kinds)


def test_a_missing_column_says_which_and_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, b'{"question": "a", "solution": "1"}', b'{"question": "b", "solution": "2"}', name="train.jsonl")
    with pytest.raises(DataError) as caught:
        read_file("train.jsonl")
    assert str(caught.value) == (
        "error Z131 dataset column missing   train.jsonl (row 1)\n"
        "  a task needs a column 'answer'; this file has: question, solution\n"
        "  fix: columns.answer=solution"
    )
    assert read_file("train.jsonl", columns={"answer": "solution"}).prompts[0].gold == "1"


def test_a_missing_question_column_says_which_names_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, b"task,answer", b"what?,1", name="t.csv")
    with pytest.raises(DataError) as caught:
        read_file("t.csv")
    assert str(caught.value) == (
        "error Z131 dataset column missing   t.csv (row 2)\n"
        "  a task needs a column 'question', 'prompt' or 'messages'; this file has: task, answer\n"
        "  fix: columns.question=YOUR_COLUMN"
    )


def test_a_mapped_column_that_is_missing_is_named_as_mapped(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(DataError, match=r"needs a column 'solution'; this file has: question, answer\n.*answer="):
        read_file(path, columns={"answer": "solution"})


def test_a_file_without_usable_rows_counts_its_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, b"{", b'{"question": "a", "answer": null}', b"[1]", b"nonsense", name="bad.jsonl")
    with pytest.raises(DataError) as caught:
        read_file("bad.jsonl")
    assert str(caught.value) == (
        "error Z132 no usable rows   bad.jsonl\n"
        "  4 rows, all refused: 2 not JSON (first: row 1), 1 not a JSON object (first: row 3), "
        "1 null in 'answer' (first: row 2)\n"
        "  fix: one row a question, with 'question' (or 'prompt', 'messages') and 'answer'"
    )


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.csv"])
def test_an_empty_file_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"Z132 no usable rows(.|\n)*the file is empty"):
        read_file(tmp_path / name)


def test_a_file_that_is_not_there_or_not_read_here_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Z130 data file not found   .*nowhere.jsonl"):
        read_file(tmp_path / "nowhere.jsonl")
    (tmp_path / "table.parquet").touch()
    with pytest.raises(DataError, match=r"Z133 a data file ends in .jsonl or .csv, not in '.parquet'"):
        read_file(tmp_path / "table.parquet")


def test_csv_rows_are_read_with_quotes_and_line_breaks_and_refused_with_reasons(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        b"\xef\xbb\xbfquestion,answer,level\n"
        b'"How many,\nin all?",3,2\n'
        b"too,many,1,fields\n"
        b"alone\n"
        b"\xff\xfe,1,1\n" + b"x" * (MAX_LINE_BYTES + 5) + b",1,1\n" + "苹果？,4,\n".encode()
    )
    data = read_file(path)
    assert [(prompt.question, prompt.gold, prompt.level) for prompt in data.prompts] == [
        ("How many,\nin all?", "3", 2),
        ("苹果？", "4", 1),
    ]
    assert data.refused == {
        "more fields than columns": 1,
        "null in 'answer'": 1,
        "not UTF-8": 1,
        "line above 1 MiB": 1,
    }


def test_prompt_columns_of_every_form_are_read(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3+4?"}]
    rows = [
        {"prompt": "1+2?", "answer": 3},
        {"prompt": turns, "answer": "7"},
        {"messages": [*turns, {"role": "assistant", "content": "It is 7."}], "answer": 7.0, "level": 2},
        {"question": "x?", "answer": "work\n#### 1,234", "domain": "gsm"},
        {"question": "y?", "answer": r"so \boxed{\frac{1}{2}} it is", "language": "fr"},
        {"question": "z?", "answer": "(B)"},
    ]
    data = read_file(write(tmp_path, *(json.dumps(row).encode() for row in rows)))
    assert data.refused == {}
    assert [prompt.gold for prompt in data.prompts] == ["3", "7", "7", "1,234", r"\frac{1}{2}", "(B)"]
    assert [message.role for message in data.prompts[2].messages] == ["system", "user"]
    assert [prompt.answer_kind for prompt in data.prompts[3:]] == [
        AnswerKind.NUMBER,
        AnswerKind.EXPRESSION,
        AnswerKind.CHOICE,
    ]
    assert (data.prompts[3].domain, data.prompts[4].language) == ("gsm", "fr")


def test_a_subset_takes_the_first_usable_rows(tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"q{index}", "answer": str(index)}).encode() for index in range(10)]
    path = write(tmp_path, b"broken", *lines)
    assert [prompt.gold for prompt in read_file(f"{path}#3").prompts] == ["0", "1", "2"]
    assert parse_source("a#b.jsonl") == (Path("a#b.jsonl"), None)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How many apples?", "en"),
        ("小明有3个苹果", "zh"),
        ("用Python计算三加四等于多少", "zh"),
        ("りんごは何個？", "ja"),
        ("사과가 몇 개?", "ko"),
        ("Сколько яблок?", "ru"),
        ("3+4=?", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_that_of_most_letters(text: str, language: str) -> None:
    assert detect_language(text) == language


def test_final_answers_are_found_and_their_kind_seen() -> None:
    assert final_answer(r"\boxed{1} then \boxed{2}") == "2"
    assert final_answer("a #### b #### 7") == "7"
    assert [kind_of(text).value for text in ("-3.5", "1,000", "2/3", "x+1", "A", "12,34")] == [
        "number",
        "number",
        "number",
        "expression",
        "choice",
        "expression",
    ]


def numbered(count: int) -> FileTask:
    task = make_task([TaskConfig(levels=(5,))], 0)
    return FileTask(task.draw(count), name="mine", seed=4)


def test_a_file_is_split_by_content_and_each_epoch_holds_each_row_once() -> None:
    task = numbered(200)
    held_out = {split: task.draw(task.num_prompts(split) or 0, split=split) for split in SPLITS[1:]}
    size = 200 - sum(map(len, held_out.values()))
    first, second = task.draw(size), task.draw(size, start=size)
    assert {prompt.id for prompt in first} == {prompt.id for prompt in second}
    assert len({prompt.id for prompt in first}) == size
    assert first != second, "a fresh order each epoch"
    assert task.draw(10, start=size - 5) == first[-5:] + second[:5]
    everything = [prompt.id for prompt in (*first, *held_out["validation"], *held_out["test"])]
    assert len(set(everything)) == 200


def test_a_held_out_split_of_a_file_ends() -> None:
    task = numbered(200)
    size = task.num_prompts("test") or 0
    with pytest.raises(DataError, match=f"Z135 the test split of 'mine' has {size} questions, {size + 1} were asked"):
        task.draw(size + 1, split="test")


def test_a_file_task_comes_from_a_config_and_a_mixture_leaves_out_splits_it_has_not(tmp_path: Path) -> None:
    lines = [json.dumps({"q": f"q{index}", "a": str(index)}).encode() for index in range(30)]
    write(tmp_path, b"broken", *lines, name="own.jsonl")
    config = TaskConfig(
        family="file", file="own.jsonl", columns={"question": "q", "answer": "a"}, split="train", weight=1.0
    )
    own = make_task([config], 0, folder=tmp_path)
    assert isinstance(own, FileTask)
    assert own.refusals == "1 not JSON (first: row 1)"
    assert len({prompt.id for prompt in own.draw(30)}) == 30
    mixture = make_task([config, TaskConfig()], 0, folder=tmp_path)
    assert {prompt.domain for prompt in mixture.draw(40)} == {"file", "arithmetic"}
    assert {prompt.domain for prompt in mixture.draw(40, split="test")} == {"arithmetic"}
    with pytest.raises(DataError, match="no worked solutions"):
        mixture.problems(40)  # type: ignore[attr-defined]
