"""Laying a run out: one self-contained HTML page and its Markdown twin.

The page asks for nothing from outside (its own policy forbids it), runs no script, and shows every text as text: what
a model wrote is hostile until shown otherwise. The same folder gives the same bytes.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from zero2r1.core.atomic import write_atomic
from zero2r1.core.errors import RunError
from zero2r1.report import curves, figures, samples, tables
from zero2r1.report.charts import key_sample
from zero2r1.report.claims import Claim, Outcome, claims, summary
from zero2r1.report.data import ReportData, build
from zero2r1.report.markdown import render_markdown
from zero2r1.report.read import mapping, visible
from zero2r1.report.scores import estimate

HTML, MARKDOWN = "report.html", "report.md"
SIGNS = {Outcome.HOLDS: "✓", Outcome.FAILS: "✗", Outcome.UNKNOWN: "?"}
CLASSES = {Outcome.HOLDS: "yes", Outcome.FAILS: "no", Outcome.UNKNOWN: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBar:
    """Where the time of one stage went."""

    stage: str
    total: float
    """Seconds: the sum of the phases, which is the stage's wall time once it has finished."""
    phases: tuple[tuple[str, float], ...]
    share: float
    """Of the slowest stage's time, for the length of the bar."""


def write(run_dir: Path) -> tuple[Path, Path]:
    """Write report.html and report.md into a run folder and return their paths.

    Raises:
        RunError: Z400 when the folder does not exist or is no run folder.
    """
    root = Path(run_dir)
    if not (root / "stages").is_dir() and not (root / "config.resolved.yaml").is_file():
        raise RunError("Z400", "no run here", where=str(root), fix="give the folder of a run, e.g. runs/demo")
    data = build(root)
    judged = claims(data)
    pages = {HTML: render_html(data, judged), MARKDOWN: render_markdown(data, judged)}
    for name, text in pages.items():
        write_atomic(root / name, text.encode("utf-8", "replace"))
    return root / HTML, root / MARKDOWN


def render_html(data: ReportData, judged: list[Claim]) -> str:
    """The page as text."""
    shown = [claim for claim in judged if claim.is_in_run]
    context: dict[str, Any] = {
        "data": data,
        "claims": shown,
        "absent": [claim for claim in judged if not claim.is_in_run],
        "summary": summary(shown),
        "signs": SIGNS,
        "classes": CLASSES,
        "reach": figures.reach_of(shown),
        "rows": tables.stage_table(data),
        "ladder": figures.ladder(data),
        "ladder_marks": [(label, figures.mark_sample(shape)) for _, label, shape in figures.LADDER],
        "graph": figures.graph(data),
        "curves": [(stage, found) for stage in data.stages if curves.is_rl(stage) and (found := curves.figures(stage))],
        "supervised": [(s, found[0]) for s in data.stages if not curves.is_rl(s) and (found := curves.figures(s))],
        "rollouts": {stage.name: samples.rollouts(stage) for stage in data.stages},
        "questions": samples.questions(data),
        "bars": phase_bars(data),
        "provenance": tables.provenance(data),
        "versions": mapping(data.environment.get("versions")),
        "facts": _facts(data),
    }
    return _environment().get_template("page.html.j2").render(context)


def phase_bars(data: ReportData) -> list[PhaseBar]:
    """Time by stage and phase; stages that have not been timed are left out."""
    phases = {stage.name: tables.phase_table(stage) for stage in data.stages}
    longest = max((sum(found.values()) for found in phases.values()), default=0.0)
    return [
        PhaseBar(
            stage=stage.name,
            total=sum(phases[stage.name].values()),
            phases=tuple(sorted(phases[stage.name].items(), key=lambda item: (item[0] == "other", -item[1]))),
            share=sum(phases[stage.name].values()) / longest if longest else 0.0,
        )
        for stage in data.stages
        if phases[stage.name]
    ]


def _facts(data: ReportData) -> list[tuple[str, str]]:
    """What a reader asks first: state, seed, machine, command."""
    environment = data.environment
    seed = data.recipe.get("seed", environment.get("seed"))
    machine = " ".join(str(environment[name]) for name in ("system", "machine", "gpu") if name in environment)
    known = [
        ("state", str(data.status.get("state", "unknown"))),
        ("seed", "" if seed is None else str(seed)),
        ("python", str(environment.get("python", ""))),
        ("machine", machine),
        ("command", data.command),
    ]
    return [(name, value) for name, value in known if value]


def _environment() -> Environment:
    folder = resources.files("zero2r1.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    environment.globals.update(
        score_text=tables.score_text,
        points_text=tables.points_text,
        bounds_text=tables.bounds_text,
        seconds_text=tables.seconds_text,
        measurement_line=tables.measurement_line,
        cons_title=tables.cons_title,
        estimate=estimate,
        forest=figures.forest,
        key_sample=key_sample,
        score_names=tables.SCORES,
    )
    return environment
