"""The Markdown twin of the page: the same claims, tables and samples as text, for terminals, reviews and model cards.

Markdown lets HTML through, so every text that comes from a run is escaped in tables and fenced in samples.
Curves are not here: their first and last values are.
"""

import re
from collections.abc import Sequence

from zero2r1.report import curves, samples, tables
from zero2r1.report.claims import Claim, summary
from zero2r1.report.data import ReportData
from zero2r1.report.read import mapping, visible
from zero2r1.report.scores import estimate
from zero2r1.report.tables import score_text

SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~$!])")


def inline(value: object) -> str:
    """Text that stands for itself inside a line or a table cell."""
    line = " ".join(visible(value).split())
    return SPECIAL.sub(r"\\\1", line).replace("\\<", "&lt;").replace("\\>", "&gt;")


def fenced(text: str) -> str:
    """Text as a block nothing can break out of: the fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{visible(text)}\n{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; every cell is escaped."""
    lines = ["| " + " | ".join(inline(cell) for cell in row) + " |" for row in (head, *rows)]
    lines.insert(1, "|" + " --- |" * len(head))
    return "\n".join(lines)


def render_markdown(data: ReportData, judged: Sequence[Claim]) -> str:
    """The whole report as Markdown."""
    blocks = [
        f"# Report of {inline(data.name)}",
        "Verdicts are about this run, its model and its questions, not about DeepSeek-R1. "
        "Intervals are 95 %, over questions.",
        "## Claims",
        _claims(judged),
        "## Stages",
        _stages(data),
        inline(tables.measurement_line(data)),
        "## Curves",
        _curves(data),
        "## Samples",
        "Not chosen by outcome: the first question of each language and kind, sample 0.",
        *_samples(data),
        "## Time",
        _time(data),
        "## Provenance",
        _provenance(data),
        *(["## Not readable", *(f"- {inline(problem)}" for problem in data.problems)] if data.problems else []),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _claims(judged: Sequence[Claim]) -> str:
    shown = [claim for claim in judged if claim.is_in_run]
    if not shown:
        return "This run has no pair of stages that a claim of the paper compares."
    rows = [
        (
            claim.title,
            claim.paper,
            f"{claim.metric}: {score_text(claim.before_score)} → {score_text(claim.after_score)}",
            tables.points_text(None if claim.change is None else claim.change.estimate),
            f"{claim.verdict} ({'; '.join((claim.why, *claim.remarks))})",
        )
        for claim in shown
    ]
    return f"{summary(shown)}\n\n" + table(("claim", "the paper", "here", "difference", "verdict"), rows)


def _stages(data: ReportData) -> str:
    head = ("stage", "kind", "state", "time", "updates", "pass@1", tables.cons_title(data), "format", "readable",
            "language", "tokens", "reward")  # fmt: skip
    rows = [
        (
            row["stage"], row["what"], row["state"], tables.seconds_text(row["seconds"]),
            "–" if row["updates"] is None else row["updates"],
            *(score_text(estimate(data.stage(row["stage"]), name, data.suite), name) for name in tables.SCORES),
            "–" if row["reward_first"] is None else f"{row['reward_first']:.2f} → {row['reward_last']:.2f}",
        )
        for row in tables.stage_table(data)
    ]  # fmt: skip
    return table(head, rows) if rows else "No stage has started."


def _curves(data: ReportData) -> str:
    rows = [
        (stage.name, figure.title, figure.summary or ", ".join(figure.labels))
        for stage in data.stages
        for figure in curves.figures(stage)
    ]
    return table(("stage", "metric", "first tenth → last tenth of the updates"), rows) if rows else "None logged."


def _samples(data: ReportData) -> list[str]:
    blocks = []
    for exhibit in samples.questions(data):
        blocks += [
            f"### {inline(exhibit.title)}",
            fenced(exhibit.question),
            f"Reference answer: {inline(exhibit.gold)}",
        ]
        for reply in exhibit.replies:
            facts = ", ".join(f"{name} {value}" for name, value in reply.facts)
            blocks.append(f"**{inline(reply.stage)}**: {inline(reply.verdict)} ({inline(facts)})")
            cut = f"\n… {reply.chars_cut} more characters" if reply.chars_cut else ""
            blocks.append(fenced(reply.text + cut))
    return blocks or ["No samples stored."]


def _time(data: ReportData) -> str:
    rows = [
        (
            stage.name,
            tables.seconds_text(stage.seconds),
            ", ".join(f"{name} {tables.seconds_text(value)}" for name, value in tables.phase_table(stage).items()),
        )
        for stage in data.stages
    ]
    return table(("stage", "wall time", "of it"), rows) if rows else ""


def _provenance(data: ReportData) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in mapping(data.environment.get("versions")).items())
    seed = data.recipe.get("seed", data.environment.get("seed"))
    facts = (("seed", seed), ("command", data.command), ("versions", versions))
    lines = [f"- {name}: {inline(value)}" for name, value in facts if value not in (None, "")]
    for row in tables.provenance(data):
        known = ", ".join(f"{name} {value}" for name, value in row.items() if name != "stage")
        lines.append(f"- {inline(row['stage'])}: {inline(known) or 'nothing recorded'}")
    return "\n".join(lines)
