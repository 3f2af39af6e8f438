"""`zero2r1 reward test --cases FILE` and `--on RUN`: a reward on cases of one's own, and on what a run has stored.

A case says what it expects; a stored sample has an old verdict. Either way a row tells what the reward says now, how
long it took, and whether the two agree. Nothing is written.

A line of a case file: `question`, `text` (or `completion`: the reply) and `answer`; optional `expect` (right, wrong,
error, or the value of the reward as a number), `case` (a name), `kind` (of the answer), `reference` (for kinds where it
is not the answer), `language`, `dialect`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import DataError, RunError
from zero2r1.core.types import AnswerKind, Message, Prompt, Verdict
from zero2r1.report.read import iter_rows
from zero2r1.rewards.base import RewardConfig, SumReward, VerdictConfig, make_reward
from zero2r1.tasks.gold import gold_completion
from zero2r1.tasks.rows import detect_language, kind_of
from zero2r1.tasks.tables import read_jsonl

SAME_VALUE = 1e-9
"""Rewards closer than this are equal. Ours: they are sums of a few weights."""
REFERENCE_KINDS = (AnswerKind.COUNTDOWN, AnswerKind.CODE)
"""Kinds whose reference is not the gold answer, so a row must bring it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reply to be judged, with what is expected of the judgement."""

    name: str
    prompt: Prompt
    text: str
    dialect: Dialect
    expected: str | float | None
    """A verdict, a value, or None: nothing is expected."""


def from_cases(path: Path, dialect: Dialect) -> list[Sample]:
    """The cases of a file. Raises DataError: not there (Z130), or a line that is no case (Z133)."""
    if not path.is_file():
        raise DataError("Z130", "the file of cases is not there", where=str(path))
    samples = []
    for row in read_jsonl(path):
        try:
            if row.values is None:
                raise ValueError(row.problem)
            samples.append(_case(row.values, f"case {row.number}", dialect))
        except (KeyError, TypeError, ValueError) as problem:
            raise DataError(
                "Z133",
                "the line is no case",
                where=f"{path}:{row.number}",
                why=f"{type(problem).__name__}: {problem}",
                fix='{"question": "1+1?", "answer": "2", "text": "... \\\\boxed{2}", "expect": "right"}',
            ) from problem
    return samples


def from_run(run: Path, *, stage: str | None = None, limit: int | None = None) -> list[Sample]:
    """The stored rollouts and evaluation samples of a run; with `limit`, that many spread evenly over all of them.

    Raises:
        RunError: no run there (Z400), or it has stored no such sample (Z413).
    """
    if not (run / "stages").is_dir():
        raise RunError("Z400", "no run here", where=str(run), fix="zero2r1 reward test RECIPE --on runs/NAME")
    samples = [_stored(row, dialect) for row, dialect in _rows(run, stage)]
    if not samples:
        raise RunError("Z413", "the run has stored no samples", where=str(run), why=f"stage: {stage or 'any'}")
    if limit is None or limit >= len(samples):
        return samples
    return [samples[index * len(samples) // limit] for index in range(limit)]


def judge(samples: Sequence[Sample], config: RewardConfig, verdicts: VerdictConfig) -> list[dict[str, Any]]:
    """What the reward says of each sample, in order, and whether that is what was expected (None: nothing was)."""
    rewards: dict[Dialect, SumReward] = {}
    rows = []
    try:
        for sample in samples:
            if sample.dialect not in rewards:
                rewards[sample.dialect] = make_reward(config, dialect=sample.dialect, verdicts=verdicts)
            rows.append(_judged(sample, rewards[sample.dialect]))
    finally:
        for reward in rewards.values():
            reward.close()
    return rows


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and times of judged rows: `disagreements` counts rows that are not what was expected."""
    times = sorted(row["ms"] for row in rows)
    verdicts = [row["verdict"] for row in rows]
    pairs = [f"{row['expected']} -> {row['verdict']}" for row in rows if row["agrees"] is False]
    return {
        "samples": len(rows),
        "verdicts": {verdict.value: verdicts.count(verdict.value) for verdict in Verdict},
        "compared": sum(row["agrees"] is not None for row in rows),
        "disagreements": len(pairs),
        "changes": {pair: pairs.count(pair) for pair in sorted(set(pairs))},
        "ms_median": median(times) if times else None,
        "ms_p95": times[min(len(times) - 1, int(0.95 * len(times)))] if times else None,
    }


def _judged(sample: Sample, reward: SumReward) -> dict[str, Any]:
    began = time.perf_counter()
    score = reward(sample.prompt, gold_completion(sample.prompt, sample.text))
    milliseconds = 1000 * (time.perf_counter() - began)
    if isinstance(sample.expected, str):
        agrees: bool | None = score.verdict.value == sample.expected
    elif sample.expected is None:
        agrees = None
    else:
        agrees = score.value is not None and abs(score.value - sample.expected) < SAME_VALUE
    return {
        "case": sample.name,
        "text": sample.text,
        "value": score.value,
        "verdict": score.verdict.value,
        "expected": sample.expected,
        "agrees": agrees,
        "parts": {name.rpartition("::")[2]: part for name, part in score.parts.items()},
        "notes": [note.rpartition("::")[2] for note in score.notes],
        "ms": round(milliseconds, 3),
    }


def _case(row: Mapping[str, Any], name: str, dialect: Dialect) -> Sample:
    text = row["text"] if "text" in row else row["completion"]
    expected = row.get("expect")
    if isinstance(expected, str):
        expected = Verdict(expected).value
    elif expected is not None:
        expected = float(expected)
    if not isinstance(text, str):
        raise TypeError("'text' is not a text")
    return Sample(
        name=str(row.get("case", name)),
        prompt=_prompt(row, str(row["question"]), str(row["answer"]), row.get("kind")),
        text=text,
        dialect=Dialect(row.get("dialect", dialect)),
        expected=expected,
    )


def _stored(row: Mapping[str, Any], dialect: Dialect) -> Sample:
    prompt = _prompt(row, str(row["prompt"]), str(row["gold"]), row.get("answer_kind"))
    return Sample(name=str(row["id"]), prompt=prompt, text=row["text"], dialect=dialect, expected=str(row["verdict"]))


def _prompt(row: Mapping[str, Any], question: str, gold: str, kind: str | None) -> Prompt:
    """The prompt as far as a row tells it; what is left out is guessed as it is for a file of questions."""
    answer_kind = AnswerKind(kind) if kind else kind_of(gold)
    if answer_kind in REFERENCE_KINDS and "reference" not in row:
        raise ValueError(f"an answer of the kind {answer_kind.value} needs a 'reference'")
    return Prompt(
        messages=(Message(role="user", content=question),),
        reference=str(row.get("reference", gold)),
        gold=gold,
        answer_kind=answer_kind,
        domain=str(row.get("domain", "cases")),
        language=str(row.get("language") or detect_language(question)),
    )


def _rows(run: Path, stage: str | None) -> Iterator[tuple[Mapping[str, Any], Dialect]]:
    """Stored rows with the dialect of their stage, stage by stage and file by file; a torn line is passed over."""
    from zero2r1.core.run import RunFolder

    folder = RunFolder(run)
    for name in [stage] if stage else folder.stage_names():
        place = folder.stage(name)
        dialect = Dialect(str((place.read_manifest() or {}).get("dialect", Dialect.R1_ZERO.value)))
        files = [*sorted(place.rollouts.glob("*.jsonl")), *sorted((place.root / "evals").glob("*.samples.jsonl"))]
        for path in files:
            yield from ((row, dialect) for row in iter_rows(path) if row is not None)
