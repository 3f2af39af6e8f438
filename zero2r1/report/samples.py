"""Samples to look at: the same questions through all stages, and the first and last stored rollout of each RL stage.

Nothing is chosen by its outcome. Questions: the first of each (language, kind of question) pair, in the order of the
suite; of each its sample 0. Rollouts: the first question of the file, its first samples.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zero2r1.report.data import RL_KINDS, ReportData, StageData
from zero2r1.report.read import Row, iter_rows, mapping, number

MAX_QUESTIONS = 6
MAX_LOOKED_AT = 400
"""Questions of a suite that are looked at for the choice."""
MAX_ROLLOUT_ROWS = 3
MAX_CHARS = 4000
"""A longer text is cut on the page; the run folder has it whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One response, ready to be shown. Its texts are untrusted."""

    stage: str
    verdict: str
    facts: tuple[tuple[str, str], ...]
    """Name and value, in order: reward, its parts, tokens, and what stands out."""
    text: str
    chars_cut: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One question and what was said to it."""

    title: str
    question: str
    gold: str
    replies: tuple[Reply, ...]


def questions(data: ReportData) -> list[Exhibit]:
    """The same few questions through all measured stages."""
    asked: dict[str, Row] = {}
    said: dict[str, dict[str, Row]] = {}
    for stage in data.stages:
        rows = _first_samples(stage.folder / "evals" / f"{data.suite}.samples.jsonl")
        said[stage.name] = rows
        for prompt_id, row in rows.items():
            asked.setdefault(prompt_id, row)
    exhibits = []
    for row in _one_of_each(asked.values()):
        replies = [reply(found, name) for name, rows in said.items() if (found := rows.get(str(row.get("prompt_id"))))]
        title = " · ".join(str(row.get(name)) for name in ("language", "domain") if row.get(name))
        exhibits.append(
            Exhibit(
                title=title, question=str(row.get("prompt", "")), gold=str(row.get("gold", "")), replies=tuple(replies)
            )
        )
    return exhibits


def _first_samples(path: Path) -> dict[str, Row]:
    """Question id -> its sample 0, of the first questions of a file."""
    found: dict[str, Row] = {}
    for row in iter_rows(path):
        if row is None or row.get("sample") not in (0, None):
            continue
        found.setdefault(str(row.get("prompt_id")), row)
        if len(found) >= MAX_LOOKED_AT:
            break
    return found


def _one_of_each(rows: Iterable[Row]) -> list[Row]:
    """The first question of each (language, domain), languages taking turns, at most `MAX_QUESTIONS`."""
    by_language: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_language.setdefault(str(row.get("language")), {}).setdefault(str(row.get("domain")), row)
    queues = [list(domains.values()) for domains in by_language.values()]
    turns = [queue[turn] for turn in range(MAX_QUESTIONS) for queue in queues if turn < len(queue)]
    return turns[:MAX_QUESTIONS]


def rollouts(stage: StageData) -> list[Exhibit]:
    """One question of the first and of the last stored rollout of an RL stage."""
    if stage.kind not in RL_KINDS or not (stage.folder / "rollouts").is_dir():
        return []
    files = sorted((stage.folder / "rollouts").glob("step_*.jsonl"))
    exhibits = []
    for path in dict.fromkeys([*files[:1], *files[-1:]]):
        rows = [row for row in iter_rows(path) if row is not None]
        group = [row for row in rows if row.get("prompt_id") == rows[0].get("prompt_id")][:MAX_ROLLOUT_ROWS]
        if group:
            step = number(group[0].get("step"))
            exhibits.append(
                Exhibit(
                    title=f"update {step:.0f}" if step is not None else path.stem,
                    question=str(group[0].get("prompt", "")),
                    gold=str(group[0].get("gold", "")),
                    replies=tuple(reply(row, stage.name) for row in group),
                )
            )
    return exhibits


def reply(row: Row, stage: str) -> Reply:
    """A row of samples or rollouts as it is shown."""
    text = str(row.get("text", ""))
    parts: Mapping[str, object] = mapping(row.get("parts")) or mapping(row.get("rewards"))
    facts = [("reward", _number(row.get("reward")))] + [(name, _number(value)) for name, value in parts.items()]
    if "advantage" in row:
        facts.append(("advantage", _number(row.get("advantage"))))
    if row.get("answer") is not None:
        facts.append(("answer", str(row["answer"])[:80]))
    facts.append(("tokens", _number(row.get("tokens"))))
    if row.get("finish") == "length":
        facts.append(("finish", "cut off"))
    if "is_readable" in row:
        facts.append(("readable", "yes" if row["is_readable"] is True else "no"))
    notes = row.get("notes")
    return Reply(
        stage=stage,
        verdict=str(row.get("verdict", "unknown")),
        facts=tuple(facts),
        text=text[:MAX_CHARS],
        chars_cut=max(0, len(text) - MAX_CHARS),
        notes=tuple(str(note)[:300] for note in notes[:4]) if isinstance(notes, list) else (),
    )


def _number(value: object) -> str:
    found = number(value)
    return "–" if found is None else f"{found:.3g}"
