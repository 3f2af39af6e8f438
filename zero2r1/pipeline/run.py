"""Running a recipe in a folder: the same command starts it, goes on after a crash, and does nothing when all is done.

    keys -> plan -> for each stage: train, save, measure, manifest (last)

Nothing is lost: a stage whose configuration changed is moved to `replaced/`, never deleted.
"""

import importlib
import platform
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import yaml

from zero2r1 import report
from zero2r1.core.atomic import write_atomic, write_json_atomic
from zero2r1.core.errors import RunError
from zero2r1.core.run import RunFolder
from zero2r1.models.device import gpu_name
from zero2r1.pipeline.graph import STARTED, PlannedStage, plan, started_key
from zero2r1.pipeline.process import settle
from zero2r1.recipes import Recipe, load, settled
from zero2r1.stages.config import StageBase
from zero2r1.stages.observer import Observer, Silent

VERSIONS_OF = ("zero2r1", "torch", "transformers", "tokenizers", "safetensors", "math-verify", "numpy")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a finished run left behind."""

    run_dir: Path
    stages: tuple[PlannedStage, ...]
    """What was planned, in the order it was done."""
    seconds: float
    """Wall time of this call."""


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by name or path, with `a.b=c` overrides. Raises ConfigError."""
    return load(name_or_path, overrides)


def run(
    recipe: Recipe,
    *,
    run_dir: Path,
    only: Sequence[str] = (),
    from_stage: str | None = None,
    observer: Observer | None = None,
    command: str = "",
) -> RunResult:
    """Do what is left to do of a recipe in a folder. Raises UserError; whatever was finished stays finished."""
    began = time.monotonic()
    recipe = settled(recipe)
    settle(recipe.threads, recipe.device)
    watcher: Observer = observer or Silent()
    folder = RunFolder(run_dir).create()
    with folder.lock():
        _describe(folder, recipe, command)
        planned = plan(recipe, folder, only=only, from_stage=from_stage)
        _refuse_missing_extras([recipe.stages[item.name] for item in planned if item.action == "run"])
        try:
            for item in planned:
                watcher.stage_started(item.name, item.kind, f"{item.action}: {item.reason}")
                if item.action != "skip":
                    _do(item, recipe, folder, watcher)
                watcher.stage_finished(item.name, folder.stage(item.name).read_manifest() or {})
        except BaseException as error:
            folder.events.append("stopped", error=type(error).__name__, text=str(error)[:2000])
            folder.status.write(state="stopped", error=type(error).__name__)
            raise
        folder.status.write(state="finished")
        report.write(folder.root)
    return RunResult(run_dir=run_dir, stages=tuple(planned), seconds=time.monotonic() - began)


def resume(run_dir: Path, observer: Observer | None = None) -> RunResult:
    """Go on with a run from nothing but its folder. Raises RunError Z400 when it is no run folder."""
    config = RunFolder(run_dir).config
    if not config.is_file():
        raise RunError(
            "Z400",
            "not a run folder",
            where=str(run_dir),
            why=f"it has no {config.name}",
            fix="zero2r1 run RECIPE starts a run",
        )
    return run(load(str(config)), run_dir=run_dir, observer=observer, command="resume")


def _describe(folder: RunFolder, recipe: Recipe, command: str) -> None:
    """config.resolved.yaml, cmd.txt and env.json: enough to repeat the run elsewhere."""
    resolved = yaml.safe_dump(recipe.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
    write_atomic(folder.config, resolved)
    write_atomic(folder.command, (command or shlex.join(sys.argv)) + "\n")
    write_json_atomic(folder.environment, environment(recipe))
    folder.events.append("started", command=command, seed=recipe.seed)


def environment(recipe: Recipe) -> dict[str, object]:
    """Versions and machine facts that a result can depend on."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "device": recipe.device,
        **({"gpu": gpu_name()} if recipe.device == "cuda" else {}),
        "seed": recipe.seed,
        "versions": {name: metadata.version(name) for name in VERSIONS_OF if _is_installed(name)},
    }


def _is_installed(name: str) -> bool:
    return bool(list(metadata.distributions(name=name)))


def _refuse_missing_extras(stages: Sequence[StageBase]) -> None:
    """MissingExtraError for a package that a later stage would miss, before the first one has begun."""
    if any(stage.learner.lora is not None for stage in stages):
        from zero2r1.learner.lora import require_peft

        require_peft()


def _do(item: PlannedStage, recipe: Recipe, folder: RunFolder, observer: Observer) -> None:
    """One stage: train it (unless it only wants measuring), save it, measure it, declare it finished."""
    from zero2r1.stages import finish
    from zero2r1.stages.context import Context

    began = time.monotonic()
    stage = recipe.stages[item.name]
    place = folder.stage(item.name)
    if item.action == "run":
        _move_aside(folder, item.name)
    place.create()
    if started_key(place) is None:
        write_json_atomic(place.root / STARTED, {"key": item.key})
    context = Context(
        name=item.name,
        seed=recipe.seed,
        run=folder,
        folder=place,
        model=getattr(stage, "model", None) or recipe.model,
        parents=item.parents,
        observer=observer,
        device=recipe.device,
    )
    folder.events.append("stage_started", stage=item.name, action=item.action, reason=item.reason)
    manifest: Mapping[str, object]
    if item.action == "measure":
        manifest = finish.measure_again(context, stage)
    else:
        outcome = importlib.import_module(f"zero2r1.stages.{item.kind}").run(context, stage)
        manifest = finish.finish(context, stage, outcome)
    seconds: object = round(time.monotonic() - began, 3)
    if item.action == "measure":
        # Measuring again took some seconds too, but the stage's time is what making it took.
        seconds = (place.read_manifest() or {}).get("seconds", seconds)
    place.write_manifest(
        {**manifest, "kind": item.kind, "key": item.key, "eval_key": item.eval_key, "parents": dict(item.parents),
         "config": stage.model_dump(mode="json"), "versions": environment(recipe)["versions"], "seconds": seconds}
    )  # fmt: skip
    folder.events.append("stage_finished", stage=item.name, seconds=seconds)


def _move_aside(folder: RunFolder, name: str) -> None:
    """Keep what an older configuration made under `replaced/`."""
    root = folder.stage(name).root
    if not root.exists():
        return
    replaced = folder.root / "replaced"
    replaced.mkdir(exist_ok=True)
    number = 1
    while (replaced / f"{name}-{number}").exists():
        number += 1
    root.rename(replaced / f"{name}-{number}")
    folder.events.append("replaced", stage=name, where=f"replaced/{name}-{number}")
