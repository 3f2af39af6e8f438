"""Every question to a judge with its reply and its verdict, as JSON lines; and the memory that asks nothing twice.

The rows of a file are also what a resumed run starts from: a question whose reply is on file is answered from there, so
the same inputs keep the same verdict. A question that got no reply is on file too, and is asked again.

What is not here: locks between processes. One run writes one file (the run folder has a lock).
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from zero2r1.core import jsonl
from zero2r1.core.errors import DataError
from zero2r1.core.types import Message
from zero2r1.rewards.judges.parsing import ERROR, Reading
from zero2r1.rewards.judges.voice import JudgeUnavailable, Voice


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to a judge, before it is asked."""

    judge: str
    """`correctness` or `preference`."""
    messages: tuple[Message, ...]
    seed: int
    """Tells questions with equal messages apart, and seeds the voice."""
    question_id: str
    answer_ids: tuple[str, ...]
    order: str = ""
    """`AB`: the first answer was shown as A; `BA`: as B; empty for one answer."""

    @property
    def prompt_sha256(self) -> str:
        """sha256 of the messages, 64 hex digits."""
        digest = sha256()
        for message in self.messages:
            for text in (message.role, message.content):
                data = text.encode("utf-8", "surrogatepass")
                digest.update(f"{len(data)}:".encode() + data)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeRecord:
    """One question to a judge and what came of it. No address and no key of a server."""

    judge: str
    voice: str
    """Name of the voice: model and hash of its settings."""
    prompt_sha256: str
    seed: int
    question_id: str
    answer_ids: tuple[str, ...]
    order: str
    text: str
    """The reply as it came; empty without one."""
    is_answered: bool
    """False when the voice gave no whole reply: such a question is asked again."""
    verdict: str
    """`right`, `wrong`, one of the five marks as the judge said it (not turned by the order), or `error`."""
    reason: str
    seconds: float
    """From question to reply, waits and further tries included."""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What makes two questions the same: judge, voice, messages, seed."""
        return (self.judge, self.voice, self.prompt_sha256, self.seed)


class JudgeStore:
    """Records in memory and, when a path is given, on disk. Usable from any thread.

    Raises:
        RunError: a line of the file is no JSON object (Z410).
        DataError: a row of the file is no record (Z137).
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._turns: dict[tuple[str, str, str, int], tuple[threading.Lock, list[None]]] = {}
        rows = [] if path is None else jsonl.read(path)
        self._records = [_record(row, path) for row in rows]
        self._answered = {record.key: record for record in self._records if record.is_answered}

    @property
    def records(self) -> list[JudgeRecord]:
        """All of them, oldest first."""
        with self._lock:
            return list(self._records)

    def ask(self, voice: Voice, question: Question, read: Callable[[str], Reading]) -> JudgeRecord:
        """The record of a question: from memory when it was answered before, else asked, read and kept.

        Two threads with the same question ask once.

        Args:
            voice: who is asked.
            question: what.
            read: the reply's verdict; total.
        """
        key = (question.judge, voice.name, question.prompt_sha256, question.seed)
        with self._turn(key):
            with self._lock:
                known = self._answered.get(key)
            if known is not None:
                return known
            record = _asked(voice, question, read)
            with self._lock:
                if self.path is not None:
                    jsonl.append(self.path, asdict(record))
                self._records.append(record)
                if record.is_answered:
                    self._answered[record.key] = record
            return record

    @contextmanager
    def _turn(self, key: tuple[str, str, str, int]) -> Iterator[None]:
        """Held by one thread a key; forgotten when nobody waits for it."""
        with self._lock:
            turn, waiting = self._turns.setdefault(key, (threading.Lock(), []))
            waiting.append(None)
        try:
            with turn:
                yield
        finally:
            with self._lock:
                waiting.pop()
                if not waiting:
                    del self._turns[key]


def error_counts(records: Sequence[JudgeRecord]) -> dict[str, int]:
    """How often each reason for an error was given, most frequent first."""
    return dict(Counter(record.reason for record in records if record.verdict == ERROR).most_common())


def _asked(voice: Voice, question: Question, read: Callable[[str], Reading]) -> JudgeRecord:
    name, began_s = voice.name, time.monotonic()
    try:
        text, is_answered = voice.say(question.messages, samples=1, seed=question.seed)[0], True
    except JudgeUnavailable as problem:
        text, is_answered = "", False
        reading = Reading(ERROR, f"the judge is unavailable: {problem}")
    seconds = time.monotonic() - began_s
    if is_answered:
        reading = read(text)
    return JudgeRecord(
        judge=question.judge,
        voice=name,
        prompt_sha256=question.prompt_sha256,
        seed=question.seed,
        question_id=question.question_id,
        answer_ids=question.answer_ids,
        order=question.order,
        text=text,
        is_answered=is_answered,
        verdict=reading.verdict,
        reason=reading.reason,
        seconds=round(seconds, 6),
    )


def _record(row: jsonl.Row, path: Path | None) -> JudgeRecord:
    fields = JudgeRecord.__dataclass_fields__
    values = {name: row[name] for name in fields if name in row}
    kinds = {"seed": int, "answer_ids": list, "is_answered": bool, "seconds": float}
    if len(values) != len(fields) or not all(isinstance(values[name], kinds.get(name, str)) for name in fields):
        raise DataError("Z137", "a row is no judge's record", where=str(path), fix="name another file, or move it away")
    return JudgeRecord(**{**values, "answer_ids": tuple(values["answer_ids"])})  # type: ignore[arg-type]
