"""Problems made from a seed: what a family makes, and the endless source that draws from one.

A family is one function `(stream, level, language, operations) -> Problem`; it also writes the worked solution, each
step in English and in Chinese, so that a corpus can be clean, mixed or wrong in known ways (`corpus.py`).

What is not here: the paper's questions (26K of mathematics, 17K of code, 22K of STEM, 15K of logic). They are not
public; these families stand in for them where a small model must be able to learn within minutes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from zero2r1.core.errors import DataError
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import AnswerKind, Message, Prompt, content_id
from zero2r1.tasks.splits import TRAIN, check_split, split_of

LANGUAGES = ("en", "zh")
LEVELS = (1, 2, 3, 4, 5)
MAX_ATTEMPTS = 100_000
"""Problems looked at for one prompt; the split takes one in ten, so this is never reached by an honest family."""
MAX_REPEATS = 2_000
"""Held-out problems in a row that were seen before: after these a family counts as used up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a worked solution, in both languages."""

    en: str
    zh: str

    def text(self, language: str) -> str:
        """The step in one language (`zh`, else English)."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with its answer and its worked solution."""

    family: str
    level: int
    language: str
    """Of the question; the steps exist in both languages."""
    question: str
    answer: str
    """The final answer (gold)."""
    reference: str
    """What the verifier compares with, in the form `answer_kind` names."""
    answer_kind: AnswerKind
    steps: tuple[Step, ...]
    """The last one states the answer."""
    identity: str
    """The problem without wording and language, e.g. `37+48`; it decides the split."""

    @property
    def split(self) -> str:
        """The split of this problem in every wording and language."""
        return split_of(content_id([self.family, self.identity]))

    def prompt(self) -> Prompt:
        """The question as a prompt."""
        return Prompt(
            messages=(Message(role="user", content=self.question),),
            reference=self.reference,
            gold=self.answer,
            answer_kind=self.answer_kind,
            domain=self.family,
            language=self.language,
            level=self.level,
        )

    def thinking(self, language: str = "") -> str:
        """The worked solution, one step a line, in one language (the question's when left out)."""
        return "\n".join(step.text(language or self.language) for step in self.steps)


Generator = Callable[[Stream, int, str, Sequence[str]], Problem]
"""(stream, level, language, operations) -> Problem; the stream is its only randomness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A kind of problem."""

    name: str
    make: Generator
    operations: tuple[str, ...] = ()
    """Operations it knows; empty for a family without any to choose from."""
    default_operations: tuple[str, ...] = ()


@runtime_checkable
class ProblemSource(Protocol):
    """A task that also knows the worked solutions."""

    name: str

    def problems(self, count: int, *, start: int = 0, split: str = TRAIN) -> list[Problem]:
        """The problems behind `draw` with the same arguments."""
        ...


def conclusion(answer: str) -> Step:
    """The last step of every worked solution."""
    return Step(en=f"so we get {answer}", zh=f"所以得到{answer}")


class SyntheticTask:
    """One family at some levels in some languages. Implements `Task` and `ProblemSource`.

    Train is endless: problem i is drawn at random from its own address, so problems of a small family come again.
    The held-out splits hold each problem once a language; asked for more than there are, they raise DataError.
    """

    def __init__(
        self, family: Family, *, languages: Sequence[str], levels: Sequence[int], operations: Sequence[str], seed: int
    ) -> None:
        self.name = family.name
        self._family = family
        self._languages = tuple(languages)
        self._levels = tuple(levels)
        self._operations = tuple(operations) or family.default_operations
        self._seed = seed
        self._held_out: dict[str, list[Problem]] = {}
        self._candidates: dict[str, Iterator[Problem]] = {}

    def draw(self, count: int, *, start: int = 0, split: str = TRAIN) -> list[Prompt]:
        """Prompts `start` to `start + count - 1` of a split."""
        return [problem.prompt() for problem in self.problems(count, start=start, split=split)]

    def problems(self, count: int, *, start: int = 0, split: str = TRAIN) -> list[Problem]:
        """The problems behind `draw`."""
        check_split(split)
        if split == TRAIN:
            return [self._candidate(index, split) for index in range(start, start + count)]
        known = self._held_out.setdefault(split, [])
        candidates = self._candidates.setdefault(split, self._distinct(split))
        while len(known) < start + count:
            problem = next(candidates, None)
            if problem is None:
                raise DataError(
                    "Z135",
                    f"the {split} split of '{self.name}' has {len(known)} questions, {start + count} were asked for",
                    why=f"levels {list(self._levels)}, languages {list(self._languages)}: no further problem was "
                    f"found in {MAX_REPEATS} draws",
                    fix="ask for fewer questions, or add levels, languages or operations",
                )
            known.append(problem)
        return known[start : start + count]

    def num_prompts(self, split: str) -> int | None:
        """None: not known without drawing them all."""
        check_split(split)
        return None

    def _candidate(self, index: int, split: str) -> Problem:
        stream = Stream(key(Address(seed=self._seed, stage="tasks", step=index), self.name, split))
        language = stream.choice(self._languages)
        level = stream.choice(self._levels)
        for _ in range(MAX_ATTEMPTS):
            problem = self._family.make(stream, level, language, self._operations)
            if problem.split == split:
                return problem
        raise AssertionError(f"family {self.name} level {level} makes no problem of the {split} split")

    def _distinct(self, split: str) -> Iterator[Problem]:
        seen: set[tuple[str, str]] = set()
        index = repeats = 0
        while repeats < MAX_REPEATS:
            problem = self._candidate(index, split)
            index += 1
            mark = (problem.identity, problem.language)
            if mark in seen:
                repeats += 1
                continue
            repeats = 0
            seen.add(mark)
            yield problem
