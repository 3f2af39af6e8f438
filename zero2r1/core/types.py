"""The vocabulary: what flows from a question to a parameter update.

Each type wraps the one before it, so a signature says what has already happened and a half-filled
object cannot exist:

    Prompt  ->  Completion  ->  Scored  ->  Credited

Shape legend used all over the package:
    P prompts in a step, G samples of one prompt (the group), T tokens of one sequence,
    N response tokens of a batch, V vocabulary, E hidden width, B slots of the engine, L layers.

What is not here: tensors. They appear first in `rl/batch.py` and `sft/data.py`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol, runtime_checkable

EMPTY: Mapping[str, str] = MappingProxyType({})


class Verdict(StrEnum):
    """What a verifier says of one answer. An error is not a wrong answer and never counts as one."""

    RIGHT = "right"
    WRONG = "wrong"
    ERROR = "error"


class Finish(StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """The model said its end-of-sequence token, or a stop string."""
    LENGTH = "length"
    """The token budget ran out first: the completion is truncated."""


class AnswerKind(StrEnum):
    """How a final answer is compared with its reference."""

    NUMBER = "number"
    """One numeric value: integer, decimal or fraction."""
    EXPRESSION = "expression"
    """A symbolic expression, compared by math-verify."""
    SEQUENCE = "sequence"
    """Numbers in order, separated by commas or spaces."""
    CHOICE = "choice"
    """One letter, or one word out of few (yes/no)."""
    COUNTDOWN = "countdown"
    """An expression over given numbers that must reach a target; reference: `target|n1,n2,...`."""
    CODE = "code"
    """A program, run against tests; reference: a `CodeProblem` as JSON (`core/problems.py`)."""
    JUDGED = "judged"
    """Free text, compared with the reference by a language model."""
    NONE = "none"
    """No checkable answer (general dialogue)."""

    @property
    def is_boxed(self) -> bool:
        """False where the answer is the whole text after the thinking: programs, and what a model judges."""
        return self not in (AnswerKind.CODE, AnswerKind.JUDGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a dialogue."""

    role: str
    """`user`, `assistant` or `system`."""
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question with a checkable reference. Its id is a hash of its content."""

    messages: tuple[Message, ...]
    """The dialogue so far; the last turn is the user's."""
    reference: str
    """What the verifier compares with, in the form its `answer_kind` names."""
    gold: str
    """One final answer that must score 1 (equal to `reference` for most kinds)."""
    answer_kind: AnswerKind
    domain: str
    """The family of the question, e.g. `arithmetic`; metrics are grouped by it."""
    language: str
    """ISO 639-1 code of the question's language, e.g. `en`, `zh`: the target of the language reward."""
    level: int = 1
    """Difficulty, 1 (easiest) to 5."""
    id: str = field(default="")
    """sha256 of the content above, 16 hex digits; filled in when left empty."""

    def __post_init__(self) -> None:
        if not self.messages or self.messages[-1].role != "user":
            raise ValueError("a prompt ends with a user turn")
        if not self.id:
            object.__setattr__(self, "id", content_id(self._content()))

    def _content(self) -> list[object]:
        turns = [[message.role, message.content] for message in self.messages]
        return [turns, self.reference, self.answer_kind.value, self.domain, self.language, self.level]

    @property
    def question(self) -> str:
        """The text of the last user turn."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a policy said to one prompt."""

    prompt: Prompt
    sample: int
    """Index inside the group, 0 <= sample < G."""
    prompt_token_ids: tuple[int, ...]
    """[T_prompt] the rendered prompt as the policy saw it."""
    token_ids: tuple[int, ...]
    """[T] response tokens, the end-of-sequence token included when the model said it."""
    logprobs: tuple[float, ...]
    """[T] natural log of the probability of each token under the sampling distribution
    (at the sampling temperature), in nats."""
    text: str
    """The response decoded, without the end-of-sequence token."""
    finish: Finish
    policy_version: int
    """Number of updates the sampling weights had seen."""
    weights_hash: str
    """sha256 of the weights that sampled this, 16 hex digits."""

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logprobs):
            raise ValueError(f"{len(self.token_ids)} tokens but {len(self.logprobs)} log-probabilities")

    @property
    def id(self) -> str:
        """Content hash: prompt, sample, tokens and weights. 16 hex digits."""
        return content_id([self.prompt.id, self.sample, list(self.token_ids), self.weights_hash])


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A reward with its parts and its reasons."""

    value: float | None
    """The reward; None when a part could not judge (infrastructure error). None is masked, never 0."""
    verdict: Verdict
    """Of the final answer: right, wrong or error."""
    parts: Mapping[str, float | None]
    """Unweighted parts by name, e.g. {"accuracy": 1.0, "format": 0.0, "language": 0.93}."""
    notes: tuple[str, ...] = ()
    """Why: one short sentence a part that is not full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A completion with its reward."""

    completion: Completion
    score: Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Credited:
    """A scored completion with its advantage inside the group."""

    scored: Scored
    advantage: float
    """Dimensionless; exactly 0 in a group without variance and for masked rows."""
    masked: bool = False
    """True when this row takes no part in the loss (reward error, or truncated where the recipe says so)."""


@runtime_checkable
class Reward(Protocol):
    """Judges one completion. Never raises for what a model wrote: failure is `Verdict.ERROR` with a note."""

    def __call__(self, prompt: Prompt, completion: Completion) -> Score: ...


@runtime_checkable
class Task(Protocol):
    """An endless, addressable source of prompts: prompt i of a split is the same in every run."""

    name: str

    def draw(self, count: int, *, start: int = 0, split: str = "train") -> list[Prompt]:
        """Prompts `start` to `start + count - 1` of a split (`train`, `validation`, `test`: disjoint).

        A finite task starts over at its end in a fresh order for `train`, and raises ValueError for
        the held-out splits when asked for more than it has.
        """
        ...


def content_id(content: object) -> str:
    """sha256 of the canonical JSON of `content`, first 16 hex digits (64 bits)."""
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:16]
