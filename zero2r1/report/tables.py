"""Tables of a run as plain rows: stages, phases of time, settings of the measurement, provenance.

Numbers stay numbers here; `text` turns them into what people read. A missing value is None, never 0.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zero2r1.core.metrics import mean_ci
from zero2r1.report.data import KINDS, ReportData, StageData
from zero2r1.report.read import Row, mapping, number
from zero2r1.report.scores import Estimate, estimate

SCORES = ("pass@1", "cons", "format", "readable", "language", "length/mean")
"""Metrics of the stage table, in the order of its columns; `cons` is the majority vote over all k samples."""

ENDS = 0.1
"""Share of the updates that the first and the last reward are averaged over (at least one update)."""


def stage_table(data: ReportData) -> list[dict[str, Any]]:
    """One row a stage, parents first.

    Keys: `stage`, `kind`, `what` (the kind in words), `state`, `parents` (role -> stage), `seconds`, `updates`,
    one `{mean, low, high, n}` or None for each of `SCORES`, `reward_first` and `reward_last` (means over the first and
    last tenth of the updates), `errors` (samples that could not be judged), the measurement's settings (`suite`, `n`,
    `k`, `temperature`, `top_p`, `max_new_tokens`, `template_hash`) and `weights_hash`.
    """
    return [_stage_row(stage, data.suite) for stage in data.stages]


def _stage_row(stage: StageData, suite: str) -> dict[str, Any]:
    result = stage.evals.get(suite, {})
    scores = {name: estimate(stage, name, suite) for name in SCORES}
    first, last = ends(series(stage.metrics, "reward/mean"))
    weights = mapping(stage.manifest.get("outputs")).get("weights_hash") or result.get("weights_hash")
    return {
        "stage": stage.name,
        "kind": stage.kind or None,
        "what": KINDS.get(stage.kind, stage.kind or "unknown"),
        "state": stage.state,
        "parents": dict(stage.parents),
        "seconds": stage.seconds,
        "updates": stage.updates,
        **{name: None if score is None else score.to_json() for name, score in scores.items()},
        "reward_first": first,
        "reward_last": last,
        "errors": result.get("num_errors"),
        "suite": suite if result else None,
        **{name: result.get(name) for name in ("n", "k", "temperature", "top_p", "max_new_tokens", "template_hash")},
        "weights_hash": weights,
    }


def series(rows: Sequence[Row], *names: str) -> list[tuple[float, float]]:
    """(step, value) of the first of these metrics that occurs; rows without it (or with null) are left out."""
    for name in names:
        found = [
            (step, value)
            for row in rows
            if (step := number(row.get("step"))) is not None and (value := number(row.get(name))) is not None
        ]
        if found:
            return found
    return []


def ends(points: Sequence[tuple[float, float]]) -> tuple[float | None, float | None]:
    """Mean over the first and over the last tenth of a curve; None without points."""
    if not points:
        return None, None
    width = max(1, int(len(points) * ENDS))
    values = [value for _, value in points]
    return mean_ci(values[:width])[0], mean_ci(values[-width:])[0]


def phase_table(stage: StageData) -> dict[str, float]:
    """Phase -> seconds, summed over the stage's updates; what the stage took beyond them is `other`.

    `other` holds start, data, saving and measuring; it is absent when the stage has not finished.
    """
    phases: dict[str, float] = {}
    for row in stage.timings:
        for name, value in row.items():
            seconds = number(value)
            if name.startswith("time/") and seconds is not None and seconds >= 0:
                phases[name.removeprefix("time/")] = phases.get(name.removeprefix("time/"), 0.0) + seconds
    if stage.seconds is not None:
        phases["other"] = max(0.0, stage.seconds - sum(phases.values()))
    return phases


def measurement_line(data: ReportData) -> str:
    """How the scores were taken, in one line per distinct protocol: a number without it cannot be repeated."""
    lines: list[str] = []
    for stage in data.stages:
        result = stage.evals.get(data.suite)
        if result is None:
            continue
        line = (
            f"suite {data.suite}, split {result.get('split', '?')}: n = {result.get('n', '?')} questions × "
            f"k = {result.get('k', '?')} samples, temperature {result.get('temperature', '?')}, "
            f"top-p {result.get('top_p', '?')}, at most {result.get('max_new_tokens', '?')} tokens"
        )
        if line not in lines:
            lines.append(line)
    return "; ".join(lines)


def cons_title(data: ReportData) -> str:
    """`cons@16` when every stage was measured with 16 samples, else `cons@k`."""
    counts = {result.get("k") for stage in data.stages if (result := stage.evals.get(data.suite)) is not None}
    return f"cons@{counts.pop()}" if len(counts) == 1 else "cons@k"


def provenance(data: ReportData) -> list[dict[str, str]]:
    """Per stage what would be needed to find or repeat it: key, weights, template, questions, data files."""
    rows = []
    for stage in data.stages:
        result = stage.evals.get(data.suite, {})
        outputs = mapping(stage.manifest.get("outputs"))
        known: Mapping[str, Any] = {
            "config key": stage.manifest.get("key"),
            "weights": outputs.get("weights_hash") or result.get("weights_hash"),
            "template": result.get("template_hash"),
            "questions": result.get("prompts_hash"),
            "data": _data_hash(stage.folder / "data"),
        }
        rows.append({"stage": stage.name, **{name: str(value) for name, value in known.items() if value}})
    return rows


def _data_hash(folder: Path) -> str | None:
    """One hash over the data files of a stage: their names and bytes. None when it made none."""
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return f"{digest.hexdigest()[:16]} ({len(files)} file{'s' if len(files) > 1 else ''})"


def percent(value: float | None, digits: int = 1) -> str:
    """`81.8 %`, or a dash."""
    return "–" if value is None else f"{100 * value:.{digits}f}\u00a0%"


def score_text(score: Estimate | None, metric: str = "pass@1") -> str:
    """`81.8 % ± 3.2`, tokens as they are, or a dash."""
    if score is None:
        return "–"
    scale, unit, digits = (1.0, "", 1) if metric == "length/mean" else (100.0, "\u00a0%", 1)
    half = "" if score.half_width is None else f"\u00a0±\u00a0{scale * score.half_width:.{digits}f}"
    return f"{scale * score.mean:.{digits}f}{unit}{half}"


def points_text(change: Estimate | None) -> str:
    """`+32.9 points [+28.1, +37.7]`, or a dash."""
    if change is None:
        return "–"
    around = bounds_text(change)
    return f"{100 * change.mean:+.1f}\u00a0points" + (f" {around}" if around else "")


def bounds_text(change: Estimate | None) -> str:
    """`[+28.1, +37.7]`, empty when the bounds are not known."""
    if change is None or change.low is None or change.high is None:
        return ""
    return f"[{100 * change.low:+.1f},\u00a0{100 * change.high:+.1f}]"


def seconds_text(value: float | None) -> str:
    """`0:52`, `1:02:03`, or a dash."""
    if value is None:
        return "–"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
