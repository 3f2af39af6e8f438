"""Tasks from a config: families by name, mixtures by weight. The room's front door.

What is not here: the split rule (`splits.py`), the families, files (`files.py`), mixing (`mixture.py`), the proof that
gold answers score (`gold.py`) and any judging (rewards are handed in).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import Field, field_validator, model_validator

from zero2r1.core.config import Strict, config_hash
from zero2r1.core.errors import DataError
from zero2r1.core.types import Task
from zero2r1.tasks.arithmetic import ARITHMETIC, NUMBER_FACTS
from zero2r1.tasks.chain import CHAIN
from zero2r1.tasks.code import CODE_FAMILIES, CodeTask
from zero2r1.tasks.countdown import COUNTDOWN
from zero2r1.tasks.files import FileTask, parse_source, read_file
from zero2r1.tasks.gold import ValidationReport, validate
from zero2r1.tasks.mixture import Mixture
from zero2r1.tasks.ordering import ORDERING
from zero2r1.tasks.splits import SPLITS, split_of
from zero2r1.tasks.synthetic import LANGUAGES, LEVELS, Family, SyntheticTask
from zero2r1.tasks.words import WORD_PROBLEMS

__all__ = [
    "FAMILIES",
    "FILE",
    "SPLITS",
    "Mixture",
    "TaskConfig",
    "ValidationReport",
    "make_task",
    "split_of",
    "validate",
]

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (ARITHMETIC, NUMBER_FACTS, CHAIN, COUNTDOWN, WORD_PROBLEMS, ORDERING)}
)
FILE = "file"
SOURCES = (*FAMILIES, *CODE_FAMILIES, FILE)
"""What a task's `family` can be."""
AnswerKindName = Literal["auto", "number", "expression", "sequence", "choice", "countdown"]


class TaskConfig(Strict):
    """One source of questions."""

    family: str = "arithmetic"
    """arithmetic, number_facts, chain, countdown, word_problems, ordering; code_function, code_stdin, code_repair; or
    `file`. Ours: the paper's questions are not public."""
    languages: tuple[str, ...] = LANGUAGES
    """Languages of generated questions, each equally likely. DeepSeek-R1, RL data: all questions Chinese or English."""
    levels: tuple[int, ...] = (1,)
    """Difficulties of generated questions, 1 (easiest) to 5, each equally likely. Ours."""
    operations: tuple[str, ...] = ()
    """Restrict the operations of arithmetic, chain or countdown, e.g. ["+", "-"]; empty: all the family has. Ours."""
    weight: float = Field(default=1.0, gt=0)
    """Share of this source in the mixture, relative to the others. Ours."""
    file: str | None = None
    """For family `file`: a .jsonl, .jsonl.gz or .csv file; `data.jsonl#500` takes its first 500 usable rows."""
    columns: Mapping[str, str] = Field(default_factory=dict)
    """For family `file`: expected column -> the file's, e.g. {answer: solution}."""
    answer_kind: AnswerKindName = "auto"
    """For family `file`: how answers are compared; auto decides by the look of each answer."""
    format: Literal["auto", "questions", "humaneval", "mbpp", "problems"] = "auto"
    """For family `file`: what its rows are. HumanEval, MBPP and `problems` (`CodeProblem` fields) are programming
    problems, `questions` have an answer to compare; auto decides by the columns of each row. Ours."""
    split: Literal["hash", "train", "validation", "test"] = "hash"
    """For family `file`: `hash` sets 20 % apart by content; a name gives every row to that split."""

    def __hash__(self) -> int:
        # A mapping has no hash of its own; equal configs have the same content.
        return int(config_hash(self), 16)

    @field_validator("family")
    @classmethod
    def _known_family(cls, family: str) -> str:
        if family not in SOURCES:
            raise ValueError(f"unknown family '{family}': it is one of {', '.join(SOURCES)}")
        return family

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if not languages or set(languages) - set(LANGUAGES):
            raise ValueError(f"languages are a list out of {', '.join(LANGUAGES)}, got {list(languages)}")
        return languages

    @field_validator("levels")
    @classmethod
    def _known_levels(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if not levels or set(levels) - set(LEVELS):
            raise ValueError(f"levels are a list out of 1 to {LEVELS[-1]}, got {list(levels)}")
        return levels

    @model_validator(mode="after")
    def _fits_family(self) -> "TaskConfig":
        if (self.family == FILE) != (self.file is not None):
            raise ValueError("family 'file' and a 'file' go together")
        known = FAMILIES[self.family].operations if self.family in FAMILIES else ()
        if set(self.operations) - set(known):
            allowed = f"has only {' '.join(known)}" if known else "has no operations to choose from"
            raise ValueError(f"family '{self.family}' {allowed}, got {list(self.operations)}")
        return self


def make_task(configs: Sequence[TaskConfig], seed: int, *, folder: Path | None = None) -> Task:
    """The task a config describes; several configs become a mixture.

    Args:
        configs: at least one source.
        seed: the same seed gives the same prompts.
        folder: where relative file names start; the working folder when left out.

    Raises:
        DataError: an unreadable or unusable file (Z130 to Z133).
    """
    if not configs:
        raise DataError("Z136", "no task given", fix=f"name a family: {', '.join(SOURCES)}")
    # Sources of the same family get seeds of their own, or equal indices would repeat each other's problems.
    tasks = [_make_one(config, seed + 1_000_003 * index, folder) for index, config in enumerate(configs)]
    if len(tasks) == 1:
        return tasks[0]
    return Mixture([(task, config.weight) for task, config in zip(tasks, configs, strict=True)], seed=seed)


def _make_one(config: TaskConfig, seed: int, folder: Path | None) -> Task:
    if config.file is not None:
        source = (folder or Path()) / config.file
        data = read_file(source, columns=config.columns, answer_kind=config.answer_kind, format=config.format)
        return FileTask(
            data.prompts,
            name=parse_source(config.file)[0].stem,
            seed=seed,
            split=config.split,
            refusals=data.refusals(),
        )
    if config.family in CODE_FAMILIES:
        return CodeTask(CODE_FAMILIES[config.family], languages=config.languages, levels=config.levels, seed=seed)
    return SyntheticTask(
        FAMILIES[config.family],
        languages=config.languages,
        levels=config.levels,
        operations=config.operations,
        seed=seed,
    )
