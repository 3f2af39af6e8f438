"""Verbs that look at runs: watch, report, trace, eval. All but eval only read files; none can disturb a run."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from zero2r1.cli.output import JsonFlag, console, emit, error_text, say, sparkline
from zero2r1.core.errors import ConfigError, RunError

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")]


def watch(
    run_dir: RunArgument,
    once: Annotated[bool, typer.Option("--once", help="Look once and stop.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between looks.")] = 2.0,
    as_json: JsonFlag = False,
) -> None:
    """What a run does now: stage, step, reward curve, and what looks wrong. Closing it never touches the run."""
    last = ""
    while True:
        seen = look(run_dir)
        if as_json:
            emit(seen)
            return
        said = "\n".join(_lines(seen))
        if said != last:
            console().print(error_text(said), soft_wrap=True)
            last = said
        if once or seen["state"] in ("finished", "stopped"):
            return
        time.sleep(every_s)


def look(run_dir: Path) -> dict[str, Any]:
    """The state of a run, read from its files. Raises RunError Z400 when there is no run."""
    from zero2r1.cli.health import warnings
    from zero2r1.core.metrics import read
    from zero2r1.core.run import RunFolder

    if not (run_dir / "stages").is_dir():
        raise RunError("Z400", "no run here", where=str(run_dir), fix="zero2r1 watch runs/NAME")
    folder = RunFolder(run_dir)
    status = folder.status.read()
    stage = str(status.get("stage", ""))
    log = folder.stage(stage).metrics if stage else None
    rows = read(log) if log is not None and log.exists() else []
    rewards = [float(mean) for row in rows if isinstance(mean := row.get("reward/mean"), int | float)]
    written = status.get("time")
    silent_s = time.time() - written if isinstance(written, int | float) else 0.0
    return {
        "run": str(run_dir),
        "state": status.get("state", "unknown"),
        "stage": stage,
        "step": status.get("step"),
        "total": status.get("total"),
        "silent_s": round(max(0.0, silent_s), 1),
        "metrics": rows[-1] if rows else {},
        "rewards": rewards,
        "warnings": warnings(rows) if status.get("state") == "running" else [],
    }


def _lines(seen: dict[str, Any]) -> list[str]:
    from zero2r1.cli.observe import headline

    head = f"{seen['run']}: {seen['state']}"
    if seen["state"] == "stopped":
        head += f"   go on with: zero2r1 resume {seen['run']}"
    if seen["stage"]:
        head += f"  {seen['stage']} {seen['step']}/{seen['total']}"
    curve = sparkline(seen["rewards"])
    shown = [head, *([f"  {headline(seen['metrics'])}  {curve}".rstrip()] if seen["metrics"] else [])]
    if seen["state"] == "running" and seen["silent_s"] > 120:
        shown.append(f"  nothing written for {seen['silent_s']:.0f} s: was it killed? the same command resumes it")
    return [*shown, *(f"  {warning}" for warning in seen["warnings"])]


def report(
    run_dir: RunArgument,
    as_json: JsonFlag = False,
) -> None:
    """Write report.html and report.md of a run and show its stage table."""
    from zero2r1.cli.tables import drawn, settings_line, stage_rows
    from zero2r1.report import write

    if not (run_dir / "stages").is_dir():
        raise RunError("Z400", "no run here", where=str(run_dir), fix="zero2r1 report runs/NAME")
    rows = stage_rows(run_dir)
    page, _ = write(run_dir)
    if as_json:
        emit({"run": str(run_dir), "report": str(page), "stages": rows})
        return
    screen = console()
    screen.print(drawn(rows, screen.width))
    say(settings_line(rows))
    say(f"report: {page}")


def trace(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of a prompt, a completion or a row.")],
    runs: Annotated[Path, typer.Option("--runs", help="A run, or the folder of runs.")] = Path("runs"),
    as_json: JsonFlag = False,
) -> None:
    """Follow one id through a run: sampled where, judged how, became which row."""
    from zero2r1.cli.tracing import one_line
    from zero2r1.cli.tracing import trace as rows_of

    found = rows_of(identifier, runs)
    if as_json:
        emit({"id": identifier, "rows": found})
        return
    for row in found:
        say(one_line(row))


def eval_(
    model: Annotated[str, typer.Argument(metavar="MODEL|RUN", help="A model directory or hub id, or a run's folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings, e.g. eval.samples=16.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Whose questions and settings. Default: the run's own.")
    ] = None,
    stage: Annotated[str | None, typer.Option("--stage", help="Which stage of it. Default: the last one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure a model: pass@1 with its interval, cons@k, format, language, on questions never trained on."""
    from zero2r1 import recipes

    folder = Path(model)
    is_run = (folder / "stages").is_dir()
    if recipe is None and not is_run:
        raise ConfigError("Z112", f"whose questions should {model} answer?", fix=f"zero2r1 eval {model} --recipe tiny")
    settings = recipe or str(folder / "config.resolved.yaml")
    loaded = recipes.load(settings)
    name = stage or loaded.order()[-1]
    if name not in loaded.stages:
        raise ConfigError(
            "Z113", f"no stage {name!r} in recipe '{loaded.name}'", fix="one of: " + ", ".join(loaded.stages)
        )
    # A run's resolved recipe has each section in each stage, so a short key means the stage that is asked.
    own = [f"stages.{name}.{word}" if word.startswith("eval.") else word for word in overrides or ()]
    loaded = recipes.load(settings, own)
    source = str(folder / "stages" / name / "model") if is_run else model

    from zero2r1 import pipeline

    result = pipeline.evaluate_model(source, loaded, stage=name)
    if as_json:
        emit({"model": source, **result.to_json()})
        return
    say(result.line())
    for metric, value in result.metrics.items():
        bounds = "" if value.low is None or value.high is None else f"   [{value.low:.3f}, {value.high:.3f}]"
        say(f"  {metric:<22} {value.mean:.3f}{bounds}")
