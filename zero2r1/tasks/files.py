"""Questions of one's own from a JSONL (also .jsonl.gz) or CSV file.

Columns: `question`, `prompt` (a text or a list of messages) or `messages`; `answer`; optional `language`, `level`,
`domain` and `id`. A column map names them differently. Rows of programming problems have other columns
(`code_files.py`). A bad row never stops the reading: it is refused and counted by
reason; a file without one usable row is an error. Answers are compared, never run; Parquet and Hub datasets are not
read here.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zero2r1.core.errors import DataError
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import Prompt
from zero2r1.tasks.code_files import read_code_prompt, row_format
from zero2r1.tasks.rows import QUESTION_COLUMNS, RefusedRowError, read_prompt
from zero2r1.tasks.splits import SPLITS, TRAIN, check_split, split_of
from zero2r1.tasks.tables import RawRow, read_csv, read_jsonl, read_jsonl_gz

READERS = {".jsonl": read_jsonl, ".csv": read_csv}
QUESTION_ALIASES = ("problem", "input", "instruction", "query", "text")
ANSWER_ALIASES = ("solution", "target", "gold", "label", "output", "expected", "final_answer", "ground_truth")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileData:
    """What a file held."""

    prompts: tuple[Prompt, ...]
    num_rows: int
    """Rows looked at, refused ones included; empty lines are no rows."""
    refused: Mapping[str, int]
    """Refused rows by reason."""
    examples: Mapping[str, int]
    """Number of the first row refused for each reason (the line in a JSONL file, from 1)."""

    def refusals(self) -> str:
        """E.g. `2 not JSON (first: row 3), 1 duplicate question (first: row 9)`; empty when none was refused."""
        ordered = sorted(self.refused.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{count} {reason} (first: row {self.examples[reason]})" for reason, count in ordered)


def read_file(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    answer_kind: str = "auto",
    format: str = "auto",
) -> FileData:
    """Read `path` or `path#N` (the first N usable rows).

    Args:
        source: a `.jsonl`, `.jsonl.gz` or `.csv` file in UTF-8.
        columns: expected name -> the file's name, e.g. {"answer": "solution"}.
        answer_kind: an `AnswerKind` value, or `auto`: number, choice or expression by the look of each answer.
        format: `humaneval`, `mbpp` or `problems` for programming problems; `auto` tells by the columns of each row, and
            takes a row of none of these for a question with an answer.

    Raises:
        DataError: no such file (Z130), a needed column is missing everywhere (Z131), no usable row (Z132),
            a format that is not read here (Z133).
    """
    path, limit = parse_source(str(source))
    if not path.is_file():
        raise DataError("Z130", "data file not found", where=str(path), fix="check the path")
    packed = path.name.lower().endswith(".jsonl.gz")
    reader = read_jsonl_gz if packed else READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            "Z133",
            f"a data file ends in {' or '.join(READERS)}, not in '{path.suffix}'",
            where=str(path),
            fix="write it as one JSON object a line",
        )
    prompts: list[Prompt] = []
    refused: Counter[str] = Counter()
    examples: dict[str, int] = {}
    seen: set[str] = set()
    headers: dict[str, None] = {}
    num_rows = 0
    for row in reader(path):
        num_rows += 1
        headers.update(dict.fromkeys(row.values or ()))
        try:
            prompts.append(_usable(row, columns or {}, answer_kind, format, seen))
        except RefusedRowError as problem:
            refused[problem.reason] += 1
            examples.setdefault(problem.reason, row.number)
        if limit is not None and len(prompts) == limit:
            break
    data = FileData(prompts=tuple(prompts), num_rows=num_rows, refused=refused, examples=examples)
    if not prompts:
        _explain_no_rows(path, data, list(headers), columns or {})
    return data


def parse_source(source: str) -> tuple[Path, int | None]:
    """`data.jsonl#500` -> (data.jsonl, 500); without `#N` the limit is None."""
    match = re.fullmatch(r"(.+)#([1-9]\d*)", source)
    return (Path(match[1]), int(match[2])) if match else (Path(source), None)


def _usable(row: RawRow, columns: Mapping[str, str], answer_kind: str, format: str, seen: set[str]) -> Prompt:
    if row.values is None:
        raise RefusedRowError(row.problem)
    kind = row_format(row.values, columns) if format == "auto" else format
    is_code = kind != "questions"
    prompt = read_code_prompt(row.values, columns, kind) if is_code else read_prompt(row.values, columns, answer_kind)
    own_id = row.values.get(columns.get("id", "id"))
    marks = {f"question {prompt.id}"} | ({f"id {own_id}"} if own_id is not None else set())
    for mark in sorted(marks & seen):
        raise RefusedRowError(f"duplicate {mark.split()[0]}")
    seen |= marks
    return prompt


def _explain_no_rows(path: Path, data: FileData, headers: Sequence[str], columns: Mapping[str, str]) -> None:
    [reason, *others] = data.refused or [""]
    missing = re.fullmatch(r"missing column '(.+)'", reason)
    if missing and not others:
        wanted = next((expected for expected, theirs in columns.items() if theirs == missing[1]), missing[1])
        aliases = QUESTION_ALIASES if wanted in QUESTION_COLUMNS else ANSWER_ALIASES
        needed = "'question', 'prompt' or 'messages'" if missing[1] == "question" else f"'{missing[1]}'"
        raise DataError(
            "Z131",
            "dataset column missing",
            where=f"{path} (row {data.examples[reason]})",
            why=f"a task needs a column {needed}; this file has: {', '.join(headers)}",
            fix=f"columns.{wanted}={next((name for name in headers if name.lower() in aliases), 'YOUR_COLUMN')}",
        )
    raise DataError(
        "Z132",
        "no usable rows",
        where=str(path),
        why=f"{data.num_rows} rows, all refused: {data.refusals()}" if data.num_rows else "the file is empty",
        fix="one row a question, with 'question' (or 'prompt', 'messages') and 'answer'",
    )


class FileTask:
    """The prompts of a file as a task.

    Train starts over at its end in a fresh order; the held-out splits keep one order and raise DataError at theirs.
    """

    def __init__(
        self, prompts: Sequence[Prompt], *, name: str, seed: int, split: str = "hash", refusals: str = ""
    ) -> None:
        if split != "hash":
            check_split(split)
        self.name = name
        self.refusals = refusals
        """Rows of the file that were refused, counted by reason; empty when there were none."""
        self._seed = seed
        self._by_split: dict[str, list[Prompt]] = {known: [] for known in SPLITS}
        for prompt in prompts:
            self._by_split[split_of(prompt.id) if split == "hash" else split].append(prompt)

    def num_prompts(self, split: str) -> int | None:
        """Prompts of one split; training repeats them, so None there unless it is empty."""
        check_split(split)
        count = len(self._by_split[split])
        return None if split == TRAIN and count else count

    def draw(self, count: int, *, start: int = 0, split: str = TRAIN) -> list[Prompt]:
        """Prompts `start` to `start + count - 1` of a split."""
        check_split(split)
        size = len(self._by_split[split])
        if count and (not size or (split != TRAIN and start + count > size)):
            raise DataError(
                "Z135",
                f"the {split} split of '{self.name}' has {size} questions, {start + count} were asked for",
                fix="ask for fewer questions, or give the file more rows",
            )
        epochs: dict[int, list[Prompt]] = {}
        drawn = []
        for index in range(start, start + count):
            epoch, place = divmod(index, size)
            if epoch not in epochs:
                epochs[epoch] = self._order(split, epoch)
            drawn.append(epochs[epoch][place])
        return drawn

    def _order(self, split: str, epoch: int) -> list[Prompt]:
        address = Address(seed=self._seed, stage="tasks", step=epoch)
        return Stream(key(address, "file", self.name, split)).shuffle(self._by_split[split])
