"""The corpus of the tiny base: bilingual worked solutions, good and bad, with known shares of each kind of noise.

It stands in for what a web-scale base has read (DeepSeek-R1, base models: much mathematics, many reasoning traces,
mostly Chinese and English), so that R1-Zero has something to bring out: right and tagged replies are possible but
not usual, and many traces mix the languages. Every document says its style and whether its final answer is right. Only
problems of the train split are used. A real base is never trained on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from pydantic import Field, model_validator

from zero2r1.core.config import Strict
from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import DataError
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import Message, Prompt, Task
from zero2r1.tasks.corrupt import corrupt_step, wrong_answer
from zero2r1.tasks.general import general_rows
from zero2r1.tasks.replies import summary_sentence, well_formed
from zero2r1.tasks.synthetic import Problem, ProblemSource


class Style(StrEnum):
    """What a document is like."""

    CLEAN = "clean"
    """Right steps in the question's language, tagged, right answer."""
    MIXED = "mixed"
    """Right and tagged, but the steps change language."""
    WRONG = "wrong"
    """Tagged, one step corrupted, wrong answer."""
    UNFORMATTED = "unformatted"
    """Right steps and answer in plain text, no tags."""
    GUESS = "guess"
    """Tagged answer with empty or no thinking, often wrong."""
    CHATTER = "chatter"
    """General dialogue."""


class CorpusConfig(Strict):
    """Shares of the styles (relative weights) and their details. Ours: the paper's base needs no such corpus."""

    clean: float = Field(default=0.2, ge=0)
    """Weight of right, tagged, one-language traces. Ours."""
    mixed: float = Field(default=0.25, ge=0)
    """Weight of right, tagged traces that mix English and Chinese. Ours."""
    wrong: float = Field(default=0.2, ge=0)
    """Weight of tagged traces with a wrong step and a wrong answer. Ours."""
    unformatted: float = Field(default=0.15, ge=0)
    """Weight of right traces without tags. Ours."""
    guess: float = Field(default=0.1, ge=0)
    """Weight of answers without thinking. Ours."""
    chatter: float = Field(default=0.1, ge=0)
    """Weight of general dialogue. Ours."""
    guess_wrong_frac: float = Field(default=0.75, ge=0, le=1)
    """Share of guesses with a wrong answer. Ours."""
    dialect: Dialect = Dialect.R1_ZERO
    """How tagged replies are written. Ours: the tags of the paper's R1-Zero prompt."""

    @model_validator(mode="after")
    def _has_weight(self) -> "CorpusConfig":
        if not any(self.weights):
            raise ValueError("at least one style needs a weight above 0")
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """In the order of `Style`."""
        return (self.clean, self.mixed, self.wrong, self.unformatted, self.guess, self.chatter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One document: a prompt and a reply."""

    prompt: Prompt
    reply_text: str
    style: Style
    is_right: bool | None
    """Whether the final answer is right; None for chatter, which has none."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The prompt's turns and the reply as the assistant's; a chat template renders them."""
        return (*self.prompt.messages, Message(role="assistant", content=self.reply_text))


def documents(task: Task, config: CorpusConfig, count: int, start: int, seed: int) -> list[Document]:
    """Documents `start` to `start + count - 1`; document i is a function of (task, config, seed, i).

    Args:
        task: generated families, which know their worked solutions.
        config: the shares.
        count: number of documents.
        start: index of the first.
        seed: decides styles, corruptions and chatter; the problems come from the task's own seed.

    Raises:
        DataError: the task has no worked solutions, e.g. a file (Z136).
    """
    if not isinstance(task, ProblemSource):
        raise DataError("Z136", f"task '{task.name}' has no worked solutions", fix="use a generated family")
    problems = task.problems(count, start=start)
    styles = tuple(Style)
    made = []
    for index, problem in enumerate(problems, start=start):
        stream = Stream(key(Address(seed=seed, stage="corpus", step=index)))
        style = stream.weighted(styles, config.weights)
        if style is Style.CHATTER:
            [(prompt, reply)] = general_rows(1, index, seed)
            made.append(Document(prompt=prompt, reply_text=reply, style=style, is_right=None))
            continue
        reply, is_right = WRITERS[style](problem, stream, config)
        made.append(Document(prompt=problem.prompt(), reply_text=reply, style=style, is_right=is_right))
    return made


Writer = Callable[[Problem, Stream, CorpusConfig], tuple[str, bool]]


def _clean(problem: Problem, stream: Stream, config: CorpusConfig) -> tuple[str, bool]:
    return _tagged(problem, problem.thinking(), problem.answer, config), True


def _mixed(problem: Problem, stream: Stream, config: CorpusConfig) -> tuple[str, bool]:
    """Each step in a language of its own, both languages at least once."""
    languages = [stream.choice(("en", "zh")) for _ in problem.steps]
    if len(set(languages)) == 1:
        place = stream.integer(0, len(languages) - 1)
        languages[place] = "zh" if languages[place] == "en" else "en"
    steps = (step.text(language) for step, language in zip(problem.steps, languages, strict=True))
    return _tagged(problem, "\n".join(steps), problem.answer, config), True


def _wrong(problem: Problem, stream: Stream, config: CorpusConfig) -> tuple[str, bool]:
    answer = wrong_answer(problem, stream)
    *steps, last = (step.text(problem.language) for step in problem.steps)
    place = stream.integer(0, len(steps) - 1)
    steps[place] = corrupt_step(steps[place], stream)
    steps.append(last.replace(problem.answer, answer))
    return _tagged(problem, "\n".join(steps), answer, config), False


def _unformatted(problem: Problem, stream: Stream, config: CorpusConfig) -> tuple[str, bool]:
    return f"{problem.thinking()}\n{summary_sentence(problem.answer, problem.language)}", True


def _guess(problem: Problem, stream: Stream, config: CorpusConfig) -> tuple[str, bool]:
    is_wrong = stream.random() < config.guess_wrong_frac
    answer = wrong_answer(problem, stream) if is_wrong else problem.answer
    text = _tagged(problem, "", answer, config)
    if stream.random() < 0.5:
        # Everything up to the end of the thinking goes: the tagged answer stands alone.
        text = text.split("</think>", 1)[-1].strip()
    return text, not is_wrong


def _tagged(problem: Problem, thinking: str, answer: str, config: CorpusConfig) -> str:
    return well_formed(thinking, answer, language=problem.language, dialect=config.dialect)


WRITERS: Mapping[Style, Writer] = MappingProxyType(
    {
        Style.CLEAN: _clean,
        Style.MIXED: _mixed,
        Style.WRONG: _wrong,
        Style.UNFORMATTED: _unformatted,
        Style.GUESS: _guess,
    }
)
