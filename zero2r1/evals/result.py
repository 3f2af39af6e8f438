"""What an evaluation leaves behind: its settings, its metrics with intervals, one row a question, one row a sample.

A result is complete in itself: n, k, temperature, top_p, token budget, template hash, weights hash, seed and split
stand beside every number, so that a score can be repeated. It does not write files; `to_json` gives plain data.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from zero2r1.core.errors import DataError
from zero2r1.evals.metrics import Interval, difference, interval, pass_at_1, pass_at_k, rate_interval

SCHEMA_VERSION = 1
GROUPINGS = ("language", "domain", "level")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionRow:
    """One question, its k samples summed up."""

    prompt_id: str
    domain: str
    language: str
    level: int
    samples: int
    """k."""
    right: int
    wrong: int
    errors: int
    """Samples the verifier could not judge: in neither count above."""
    cons: float | None
    """Score of the majority answer in [0, 1]; None when every sample was an error."""
    format: float
    """Share of well-formed samples."""
    readable: float
    """Share of readable samples."""
    language_consistency: float | None
    """Mean over the samples that have words; None when none has."""
    truncated: float
    """Share of samples that hit the token budget."""
    tokens: float
    """Mean response tokens."""
    thinking_words: float
    """Mean words of thinking."""

    @property
    def judged(self) -> int:
        """Samples that are right or wrong."""
        return self.right + self.wrong

    @property
    def accuracy(self) -> float | None:
        """right / judged; None when every sample was an error."""
        return self.right / self.judged if self.judged else None


VALUES: Mapping[str, Callable[[QuestionRow], float | None]] = {
    "pass@1": lambda row: row.accuracy,
    "cons": lambda row: row.cons,
    "format": lambda row: row.format,
    "readable": lambda row: row.readable,
    "language": lambda row: row.language_consistency,
    "length/truncated_frac": lambda row: row.truncated,
    "length/mean": lambda row: row.tokens,
    "thinking_words": lambda row: row.thinking_words,
}
"""Metric -> its value for one question: what `paired_difference` compares."""


COUNTS = frozenset({"length/mean", "thinking_words"})
"""The metrics that are no rates in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """A policy measured on the questions of one suite."""

    suite: str
    """Name of the task."""
    split: str
    start: int
    n: int
    """Distinct questions."""
    k: int
    """Samples a question."""
    temperature: float
    top_p: float
    max_new_tokens: int
    dialect: str
    template_hash: str
    """Of the chat template's text when it was given, else of the rendered prompts as token ids. 16 hex digits."""
    prompts_hash: str
    """Of the ids of the questions, in order. Equal hashes mean the same questions."""
    weights_hash: str
    policy_version: int
    seed: int
    num_errors: int
    """Samples the verifier could not judge."""
    metrics: Mapping[str, Interval]
    """By name: `pass@1`, `pass@<j>`, `cons@<k>`, `format`, `readable`, `language`, `length/mean` (tokens),
    `length/truncated_frac`, `thinking_words`. A metric that nothing was measured for is absent."""
    groups: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    """The same metrics by `language`, `domain` and `level`."""
    questions: tuple[QuestionRow, ...]
    samples: tuple[Mapping[str, Any], ...] = ()
    """One row a sample, plain data. Not part of `to_json`: they go to a file of their own."""

    def line(self) -> str:
        """One line that can be quoted: the score with everything needed to repeat it."""
        score = self.metrics.get("pass@1")
        half = None if score is None else score.half_width
        shown = "pass@1 not measured" if score is None else f"pass@1 {100 * score.mean:.1f}"
        shown += "" if half is None else f" ±{100 * half:.1f}"
        cons = self.metrics.get(f"cons@{self.k}")
        shown += "" if cons is None else f"   cons@{self.k} {100 * cons.mean:.1f}"
        truncated = self.metrics.get("length/truncated_frac")
        cut = "" if truncated is None else f"  truncated {100 * truncated.mean:.1f} %"
        return (
            f"{self.suite}/{self.split}   {shown}  | n={self.n}×{self.k}  temperature {self.temperature:g} "
            f"top_p {self.top_p:g} max {self.max_new_tokens}{cut}  errors {self.num_errors}  "
            f"template {self.template_hash[:8]}  weights {self.weights_hash[:8]}"
        )

    def to_json(self) -> dict[str, Any]:
        """Everything but the samples, as plain data."""
        data: dict[str, Any] = {"schema_version": SCHEMA_VERSION}
        plain = [
            field.name for field in fields(self) if field.name not in ("metrics", "groups", "questions", "samples")
        ]
        data |= {name: getattr(self, name) for name in plain}
        data["metrics"] = {name: value.to_json() for name, value in self.metrics.items()}
        data["groups"] = {
            grouping: {
                key: {name: value.to_json() for name, value in metrics.items()} for key, metrics in members.items()
            }
            for grouping, members in self.groups.items()
        }
        data["questions"] = [
            {field.name: getattr(row, field.name) for field in fields(row)} | {"accuracy": row.accuracy}
            for row in self.questions
        ]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "EvalResult":
        """The inverse of `to_json`, without samples. Raises DataError for another schema."""
        if data.get("schema_version") != SCHEMA_VERSION:
            raise DataError(
                "Z137",
                f"evaluation result has schema version {data.get('schema_version')!r}, expected {SCHEMA_VERSION}",
                fix="evaluate again with this version",
            )
        known = {field.name for field in fields(cls)} - {"metrics", "groups", "questions", "samples"}
        rows = [{name: value for name, value in row.items() if name != "accuracy"} for row in data["questions"]]
        return cls(
            **{name: value for name, value in data.items() if name in known},
            metrics={name: Interval.from_json(value) for name, value in data["metrics"].items()},
            groups={
                grouping: {
                    key: {name: Interval.from_json(value) for name, value in metrics.items()}
                    for key, metrics in members.items()
                }
                for grouping, members in data["groups"].items()
            },
            questions=tuple(QuestionRow(**row) for row in rows),
        )


def summarize(rows: Sequence[QuestionRow], k: int) -> dict[str, Interval]:
    """All metrics of some questions. What was measured on no question is left out.

    pass@j is given for j = 2, 4, 8, ... up to k, over the questions with at least j judged samples.
    """
    metrics: dict[str, Interval] = {}
    if any(row.judged for row in rows):
        metrics["pass@1"] = pass_at_1([row.right for row in rows], [row.judged for row in rows])
    j = 2
    while j <= k:
        enough = [pass_at_k(row.judged, row.right, j) for row in rows if row.judged >= j]
        if enough:
            metrics[f"pass@{j}"] = rate_interval(enough)
        j *= 2
    for name, value_of in VALUES.items():
        values = [value for row in rows if (value := value_of(row)) is not None]
        if name != "pass@1" and values:
            metrics[f"cons@{k}" if name == "cons" else name] = (interval if name in COUNTS else rate_interval)(values)
    return metrics


def group(rows: Sequence[QuestionRow], k: int) -> dict[str, dict[str, dict[str, Interval]]]:
    """The metrics by language, by domain and by level."""
    groups: dict[str, dict[str, dict[str, Interval]]] = {}
    for grouping in GROUPINGS:
        members: dict[str, list[QuestionRow]] = {}
        for row in rows:
            members.setdefault(str(getattr(row, grouping)), []).append(row)
        groups[grouping] = {key: summarize(members[key], k) for key in sorted(members)}
    return groups


def paired_difference(before: EvalResult, after: EvalResult, metric: str = "pass@1") -> Interval:
    """`after - before` on the questions both have, with its 95 % interval.

    Args:
        before, after: results; only shared questions count, and their number is the interval's `n`.
        metric: a key of `VALUES` (`cons` for the majority vote).

    Raises:
        DataError: for an unknown metric, or when no question is shared.
    """
    if metric not in VALUES:
        raise DataError("Z137", f"no paired difference of '{metric}'", fix="one of: " + ", ".join(VALUES))
    sides = [
        {row.prompt_id: value for row in result.questions if (value := VALUES[metric](row)) is not None}
        for result in (before, after)
    ]
    if not sides[0].keys() & sides[1].keys():
        raise DataError(
            "Z137",
            f"'{before.suite}' and '{after.suite}' share no measured question",
            why=f"question sets {before.prompts_hash} and {after.prompts_hash}",
            fix="evaluate both on the same task, split and seed",
        )
    return difference(*sides, is_rate=metric not in COUNTS)
