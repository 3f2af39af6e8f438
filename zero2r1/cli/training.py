"""Verbs that train: demo, run, resume. Each is the pipeline plus someone watching.

Running the same command again resumes: a finished stage is not redone, a killed one goes on from its checkpoint.
"""

import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zero2r1.cli.observe import observer
from zero2r1.cli.output import UNSAFE_OVERRIDE, JsonFlag, UnsafeFlag, console, emit, say, table

if TYPE_CHECKING:
    from zero2r1.recipes import Recipe

Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[a.b=c]...", help="Settings, e.g. rl.steps=30 (see: zero2r1 config explain rl.steps)."),
]
RunDir = Annotated[Path | None, typer.Option("--run-dir", help="Folder of the run. Default: runs/<recipe name>.")]

DEMO_INTRODUCTION = """\
R1 in miniature. A tiny base model is made from a noisy corpus in seconds, then lives through the whole recipe:
R1-Zero (reinforcement learning alone), cold start, reasoning RL, rejection sampling + SFT, distillation.
The stages, losses and rewards are the paper's; the model and its questions are small enough for this machine,
so the numbers below are about this toy and not about DeepSeek-R1. Every score is on questions never trained on."""


def demo(
    overrides: Overrides = None,
    run_dir: Annotated[Path, typer.Option("--run-dir", help="Folder of the run.")] = Path("runs/demo"),
    as_json: JsonFlag = False,
) -> None:
    """A base model becomes R1 on this machine, stage by stage, in minutes. No GPU, no download."""
    say(DEMO_INTRODUCTION, stderr=as_json, style="dim")
    say(stderr=as_json)
    result = _train("tiny", overrides, run_dir, title="R1 in miniature", as_json=as_json)
    say(stderr=as_json)
    say(f"  look:    {run_dir}/report.html      (one file, open it in a browser)", stderr=as_json)
    say(f"  again:   zero2r1 report {run_dir}   without: zero2r1 demo rewards.language=0 --run-dir runs/no-language",
        stderr=as_json)  # fmt: skip
    say("  a real language model:  zero2r1 models get smollm2-135m && zero2r1 run smollm2-zero", stderr=as_json)
    if as_json:
        emit(result)


def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (zero2r1 recipes ls) or a .yaml file.")],
    overrides: Overrides = None,
    run_dir: RunDir = None,
    only: Annotated[list[str] | None, typer.Option("--only", help="Only this stage (repeat for more).")] = None,
    from_stage: Annotated[
        str | None, typer.Option("--from", help="Redo this stage and what depends on it.", metavar="STAGE")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done and stop.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write where the time goes into each stage's folder: profile.md.")
    ] = False,
    unsafe: UnsafeFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Run a recipe; the same command again resumes it."""
    overrides = [*(overrides or ()), *([UNSAFE_OVERRIDE] if unsafe else ())]
    if plan:
        _show_plan(recipe, overrides, run_dir, only=only or (), from_stage=from_stage, as_json=as_json)
        return
    result = _train(
        recipe, overrides, run_dir, only=only or (), from_stage=from_stage, profile=profile, title=recipe,
        as_json=as_json,
    )  # fmt: skip
    if as_json:
        emit(result)


def resume(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    as_json: JsonFlag = False,
) -> None:
    """Go on with a run that was stopped or killed. It needs nothing but its folder."""
    from zero2r1 import pipeline

    with observer(run_dir, title=run_dir.name, as_json=as_json) as watching:
        pipeline.resume(run_dir, observer=watching)
    result = _closing(run_dir, as_json=as_json)
    if as_json:
        emit(result)


def _train(
    recipe_name: str,
    overrides: list[str] | None,
    run_dir: Path | None,
    *,
    title: str,
    as_json: bool,
    only: Sequence[str] = (),
    from_stage: str | None = None,
    profile: bool = False,
) -> dict[str, Any]:
    from zero2r1 import recipes

    recipe = recipes.load(recipe_name, overrides or ())
    folder = run_dir or default_run_dir(recipe)

    from zero2r1 import pipeline

    with ExitStack() as stack:
        watching = stack.enter_context(observer(folder, title=title, as_json=as_json))
        if profile:
            from zero2r1.core.run import RunFolder
            from zero2r1.stages.profiling import profiled

            watching = stack.enter_context(profiled(watching, RunFolder(folder)))
        pipeline.run(
            recipe,
            run_dir=folder,
            only=only,
            from_stage=from_stage,
            observer=watching,
            command=shlex.join(["zero2r1", "run", recipe_name, *(overrides or ())]),
        )
    return _closing(folder, as_json=as_json)


def _closing(run_dir: Path, *, as_json: bool) -> dict[str, Any]:
    from zero2r1.cli.tables import drawn, settings_line, stage_rows

    rows = stage_rows(run_dir)
    screen = console(stderr=as_json)
    screen.print(drawn(rows, screen.width))
    say(settings_line(rows), stderr=as_json)
    report = run_dir / "report.html"
    if report.is_file():
        say(f"report: {report}", stderr=as_json)
    return {"run": str(run_dir), "report": str(report) if report.is_file() else None, "stages": rows}


def _show_plan(
    recipe_name: str,
    overrides: list[str] | None,
    run_dir: Path | None,
    *,
    only: Sequence[str],
    from_stage: str | None,
    as_json: bool,
) -> None:
    from zero2r1 import pipeline, recipes
    from zero2r1.core.run import RunFolder

    recipe = recipes.load(recipe_name, overrides or ())
    folder = run_dir or default_run_dir(recipe)
    planned = pipeline.plan(recipe, RunFolder(folder), only=only, from_stage=from_stage)
    rows = [{"stage": s.name, "kind": s.kind, "action": s.action, "reason": s.reason} for s in planned]
    if as_json:
        emit({"run": str(folder), "stages": rows})
        return
    cells = [[row["stage"], row["kind"], row["action"], row["reason"]] for row in rows]
    console().print(table(["stage", "kind", "action", "reason"], cells, title=f"plan of {recipe.name} in {folder}"))


def default_run_dir(recipe: "Recipe") -> Path:
    """Where a recipe runs unless told otherwise."""
    return Path("runs") / recipe.name
