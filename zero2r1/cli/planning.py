"""The verb `plan`: what a recipe will need before it is run, and how far off that is on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zero2r1.cli.output import JsonFlag, clock, console, emit, say, table
from zero2r1.core.errors import ConfigError

if TYPE_CHECKING:
    from zero2r1.pipeline.planning.measure import Compared
    from zero2r1.pipeline.planning.planner import Plan

GIB = 2**30


def plan(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (zero2r1 recipes ls) or a .yaml file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Settings to plan with.")] = None,
    gpus: Annotated[
        str | None, typer.Option(metavar="NxNAME-GIB", help="Plan for accelerators, e.g. 8xH100-80.")
    ] = None,
    model_config: Annotated[
        list[str] | None,
        typer.Option(metavar="[SOURCE=]FILE", help="config.json of a model that is not on this machine."),
    ] = None,
    response_tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean tokens of an answer. Default: its whole budget.")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Money an hour of one machine or device.")] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Run a few real updates here and compare.")] = False,
    as_json: JsonFlag = False,
) -> int:
    """What a recipe will need: parameters, memory, time, disk, cost. Nothing is downloaded."""
    if measure and gpus is not None:
        raise ConfigError("Z110", "--measure is for this machine", fix="leave out --gpus")
    from zero2r1 import recipes

    loaded = recipes.load(recipe, overrides or ())

    from zero2r1.pipeline.planning import planner
    from zero2r1.pipeline.planning.hardware import parse_gpus

    cluster = None if gpus is None else parse_gpus(gpus)
    configs = planner.parse_configs(model_config or ())
    shop = planner.Workshop(recipe=loaded, configs=configs, cluster=cluster, response=response_tokens)
    made = planner.make_plan(loaded, workshop=shop, cluster=cluster, price=price)
    compared = _measured(shop, made) if measure else []
    if as_json:
        emit(as_data(made, compared))
    else:
        show(made, compared)
    return 0 if _is_within(compared) else 1


def _measured(shop: Any, made: "Plan") -> "list[Compared]":
    import tempfile

    from zero2r1.pipeline.planning.measure import measure

    with tempfile.TemporaryDirectory(prefix="zero2r1-plan-") as folder:
        return measure(shop.recipe, shop, made.stages, Path(folder))


def _is_within(compared: "list[Compared]") -> bool:
    from zero2r1.pipeline.planning.measure import is_within

    return not compared or is_within(compared)


def as_data(made: "Plan", compared: "list[Compared]") -> dict[str, Any]:
    """The plan as one JSON object: bytes, seconds, tokens."""
    from dataclasses import asdict

    return {
        "recipe": made.recipe,
        "place": made.place,
        "machine": asdict(made.machine) if made.machine else None,
        "stages": [stage.to_json() for stage in made.stages],
        "missing": dict(made.missing),
        "lever": {"change": made.lever, "saves": made.saves},
        "seconds": made.seconds,
        "peak_bytes": made.peak,
        "disk_bytes": made.disk,
        "machine_hours": made.hours,
        "cost": made.dollars,
        "measured": [asdict(row) | {"distance": row.distance} for row in compared],
    }


def show(made: "Plan", compared: "list[Compared]") -> None:
    """The plan for a person."""
    screen = console()
    say(f"plan of {made.recipe} on {made.place}")
    if made.machine is not None:
        rates = made.machine
        say(
            f"read here: {rates.flops / 1e9:.0f} GFLOP/s, {rates.bandwidth / 1e9:.1f} GB/s copied, "
            f"{rates.hashing / 1e9:.2f} GB/s hashed, {rates.threads} threads"
        )
    else:
        from zero2r1.pipeline.planning import timing

        say(
            f"assumed: {timing.TRAINING_EFFICIENCY:.0%} of peak arithmetic in learning, "
            f"{timing.PREFILL_EFFICIENCY:.0%} in prefill, {timing.BANDWIDTH_EFFICIENCY:.0%} of peak bandwidth in "
            "decoding; more than one device needs a sharded sampler and learner, which this package does not bring"
        )
    rows = [
        [stage.name, f"{stage.parameters:,}", stage.updates, stage.response, f"{stage.update_s:.3g}",
         clock(stage.seconds), f"{stage.peak / GIB:.2f}", f"{sum(stage.disk.values()) / GIB:.3f}"]
        for stage in made.stages
    ]  # fmt: skip
    columns = ["stage", "parameters", "updates", "answer", "s/update", "time", "GiB memory", "GiB disk"]
    screen.print(table(columns, rows))
    for stage in made.stages:
        phases = "  ".join(f"{name} {seconds:.3g}" for name, seconds in stage.update.items())
        terms = "  ".join(f"{name} {size / GIB:.3g}" for name, size in stage.memory.items() if size)
        say(f"  {stage.name}: s/update: {phases};  GiB: {terms}")
        for note in stage.notes:
            say(f"  {stage.name}: {note}")
    for name, reason in made.missing.items():
        say(f"  {name}: not planned: {reason}", style="bold yellow")
    spent = "" if made.dollars is None else f", cost {made.dollars:,.2f}"
    say(f"all: {clock(made.seconds)}, {made.hours:.2f} machine hours{spent}, {made.disk / GIB:.2f} GiB on disk")
    say(f"biggest lever: {made.lever} saves {made.saves:.0%} of the time")
    say("answers are taken to be as long as in column 'answer', every trace as kept: times are upper bounds")
    if compared:
        cells = [
            [row.stage, row.what, _amount(row.what, row.predicted), _amount(row.what, row.measured),
             f"{row.distance:+.1%}", f"{row.drift:.1%}"]
            for row in compared
        ]  # fmt: skip
        screen.print(table(["stage", "what", "predicted", "measured", "distance", "drift"], cells))
        say("within 15 % for every step and peak" if _is_within(compared) else "further off than 15 %: see above")


def _amount(what: str, value: float) -> str:
    return f"{value / GIB:.3f} GiB" if what == "memory" else f"{value:.3f} s"
