"""Which of two answers is better? Several votes of a language model with the answers in random order, then their mean.

A vote that cannot be had or read is left out and counted; with too few votes left the pair is an error. Pairs with a
clear mean become a chosen and a rejected answer for the helpful reward model.

What is not here: the balance of lengths over a data set (`balance.py`) and the training of a reward model.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import Completion, Prompt, content_id
from zero2r1.rewards.judges.config import PreferenceConfig
from zero2r1.rewards.judges.correctness import asked_by, final_part
from zero2r1.rewards.judges.parsing import ERROR, read_preference
from zero2r1.rewards.judges.prompts import preference_messages, seal
from zero2r1.rewards.judges.record import JudgeStore, Question
from zero2r1.rewards.judges.voice import Voice

VALUES: Mapping[str, int] = MappingProxyType({"A>>B": 2, "A>B": 1, "A=B": 0, "B>A": -1, "B>>A": -2})
"""Ours: the paper speaks of scores and names no numbers; equal steps around the tie are the plainest choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two answers to one question, both without their thinking."""

    question: str
    first: str
    second: str
    question_id: str = ""
    first_id: str = ""
    second_id: str = ""

    @property
    def id(self) -> str:
        """Content hash of question and answers, 16 hex digits. The pair turned round has another one."""
        return content_id([self.question, self.first, self.second])


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One verdict on a pair."""

    order: str
    """`AB`: the first answer was shown as A; `BA`: as B."""
    value: float | None
    """From the first answer's view, -2 to 2; None when there is no verdict."""
    reason: str = ""
    """Why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What the votes say of a pair."""

    pair: Pair
    votes: tuple[Vote, ...]
    score: float | None
    """Mean of the usable votes from the first answer's view, -2 to 2; None is an error, never a tie."""
    note: str = ""
    """Why there is no score."""

    @property
    def num_errors(self) -> int:
        """Votes without a verdict."""
        return sum(vote.value is None for vote in self.votes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPair:
    """A row for the training of a reward model."""

    question: str
    chosen: str
    rejected: str
    score: float
    """How much better the chosen answer is, above the margin, at most 2."""
    question_id: str = ""
    chosen_id: str = ""
    rejected_id: str = ""


def vote_value(mark: str, order: str) -> float:
    """A mark as a number from the first answer's view.

        value = v(mark) if the first answer was shown as A, else -v(mark)

    Args:
        mark: one of the five.
        order: `AB` or `BA`.

    Ours: the paper gives no numbers for the five marks.
    """
    return float(VALUES[mark] if order == "AB" else -VALUES[mark])


def mean_score(values: Sequence[float], *, min_votes: int) -> float | None:
    """Mean of the usable votes; None with fewer than `min_votes`.

        score = sum(values) / len(values)

    Source: DeepSeek-R1 (arXiv 2501.12948v2), helpful reward model: the votes are averaged. min_votes: ours.
    """
    return sum(values) / len(values) if len(values) >= max(min_votes, 1) else None


def keep(score: float | None, margin: float | int = 1.0) -> bool:
    """Whether a pair is clear enough: |score| > margin. An error is not.

    Source: DeepSeek-R1 (arXiv 2501.12948v2), helpful reward model: pairs with a score difference above 1 are kept.
    """
    return score is not None and abs(score) > margin


def draw_orders(pair_id: str, num_votes: int, *, seed: int, is_balanced: bool = False) -> list[str]:
    """`AB` or `BA` for each vote, the same for the same pair and seed.

    Args:
        pair_id: names the pair.
        num_votes: how many.
        seed: of the run.
        is_balanced: as many of the one as of the other (with an odd number one more AB), in random order; else drawn
            for each vote by itself.
    """
    stream = Stream(key(Address(seed=seed, stage="judge.order", step=0), pair_id))
    if is_balanced:
        return stream.shuffle([("AB", "BA")[vote % 2] for vote in range(num_votes)])
    return [stream.choice(("AB", "BA")) for _ in range(num_votes)]


def pair_of(prompt: Prompt, first: Completion, second: Completion) -> Pair | None:
    """Two completions as a pair, their thinking left out; None when one of them has nothing after it.

    Args:
        prompt: the question of both.
        first, second: in any order.
    """
    parts = [final_part(completion.text).answer for completion in (first, second)]
    if parts[0] is None or parts[1] is None:
        return None
    return Pair(
        question=asked_by(prompt),
        first=parts[0],
        second=parts[1],
        question_id=prompt.id,
        first_id=first.id,
        second_id=second.id,
    )


def ranked(preference: Preference, margin: float | int = 1.0) -> RankedPair | None:
    """Chosen and rejected answer of a pair; None when it is not kept (see `keep`)."""
    pair, score = preference.pair, preference.score
    if score is None or not keep(score, margin):
        return None
    answers = [(pair.first, pair.first_id), (pair.second, pair.second_id)]
    (chosen, chosen_id), (rejected, rejected_id) = answers if score > 0 else answers[::-1]
    return RankedPair(
        question=pair.question,
        chosen=chosen,
        rejected=rejected,
        score=abs(score),
        question_id=pair.question_id,
        chosen_id=chosen_id,
        rejected_id=rejected_id,
    )


class PreferenceJudge:
    """Compares pairs of answers. Usable from any thread.

    Args:
        voice: the model that is asked.
        store: keeps what was asked and remembers it; in memory when none is given.
        config: votes and margin.
        seed: of the run; the orders depend on it.
    """

    def __init__(
        self,
        voice: Voice,
        store: JudgeStore | None = None,
        config: PreferenceConfig | None = None,
        *,
        seed: int = 0,
    ) -> None:
        self.voice = voice
        self.store = store or JudgeStore()
        self.config = config or PreferenceConfig()
        self.seed = seed

    def compare(self, pair: Pair) -> Preference:
        """All votes on one pair, one after another, and their mean."""
        config = self.config
        if max(len(pair.first), len(pair.second)) > config.max_answer_chars:
            note = f"an answer is longer than {config.max_answer_chars} characters"
            return Preference(pair=pair, votes=(), score=None, note=note)
        if pair.first == pair.second:
            return Preference(pair=pair, votes=(), score=0.0, note="the two answers are the same text")
        orders = draw_orders(pair.id, config.votes, seed=self.seed, is_balanced=config.order == "balanced")
        votes = tuple(self._vote(pair, order, number) for number, order in enumerate(orders))
        values = [vote.value for vote in votes if vote.value is not None]
        score = mean_score(values, min_votes=config.min_votes)
        reasons = sorted({vote.reason for vote in votes if vote.value is None})
        note = f"{len(values)} of {len(votes)} votes are usable: {'; '.join(reasons)}" if score is None else ""
        return Preference(pair=pair, votes=votes, score=score, note=note)

    def compare_all(self, pairs: Sequence[Pair], *, workers: int = 8) -> list[Preference]:
        """`compare` for each pair, in their order, `workers` pairs at a time."""
        with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="judge") as pool:
            return list(pool.map(self.compare, pairs))

    def _vote(self, pair: Pair, order: str, number: int) -> Vote:
        shown = (pair.first, pair.second) if order == "AB" else (pair.second, pair.first)
        case = seal(pair.question, *shown, vote=number)
        asked = Question(
            judge="preference",
            messages=preference_messages(pair.question, *shown, case=case),
            seed=number,
            question_id=pair.question_id or content_id(pair.question),
            answer_ids=(pair.first_id or content_id(pair.first), pair.second_id or content_id(pair.second)),
            order=order,
        )
        record = self.store.ask(self.voice, asked, partial(read_preference, case=case))
        if record.verdict == ERROR:
            return Vote(order=order, value=None, reason=record.reason)
        return Vote(order=order, value=vote_value(record.verdict, order))
