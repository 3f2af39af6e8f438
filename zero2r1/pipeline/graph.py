"""What there is to do: each stage's key, and the plan that follows from what the run folder holds.

A stage's key is a hash of its complete configuration, the seed, the device and the keys of its parents. So an equal key
means an equal result, a changed setting changes the key of its stage and of everything that depends on it, and of
nothing else. How a stage is evaluated has a key of its own: changing it measures again and trains nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from zero2r1.core.errors import ConfigError, RunError
from zero2r1.core.run import RunFolder, StageFolder, read_json
from zero2r1.core.types import content_id
from zero2r1.models.device import settled_device
from zero2r1.recipes import Recipe
from zero2r1.stages.config import StageBase, parents_of

STARTED = "started.json"
NOT_IN_KEY = {"eval", "save"}
"""Settings that cannot change a stage's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStage:
    """One stage and what is to be done about it."""

    name: str
    kind: str
    action: Literal["run", "resume", "measure", "skip"]
    """`measure`: trained already, but the evaluation's settings changed."""
    reason: str
    key: str
    eval_key: str
    parents: Mapping[str, str]
    """Role -> stage name."""


def stage_keys(recipe: Recipe) -> dict[str, str]:
    """Stage name -> key (16 hex digits), parents before children.

    The processor adds nothing to a key: what was made before there was a choice of device keeps its own.
    """
    device = settled_device(recipe.device)
    keys: dict[str, str] = {}
    for name in recipe.order():
        stage = recipe.stages[name]
        parents = parents_of(stage)
        content = {
            "config": stage.model_dump(mode="json", exclude=NOT_IN_KEY),
            "seed": recipe.seed,
            "threads": recipe.threads,
            **({} if device == "cpu" else {"device": device}),
            "parents": {role: keys[parent] for role, parent in parents.items()},
            "model": None if "base" in parents or recipe.model is None else recipe.model.model_dump(mode="json"),
        }
        keys[name] = content_id(content)
    return keys


def plan(
    recipe: Recipe, run: RunFolder, *, only: Sequence[str] = (), from_stage: str | None = None
) -> list[PlannedStage]:
    """What a run of this recipe in this folder would do, stage by stage; nothing is written.

    Raises ConfigError Z113 for a stage name that the recipe does not have.
    """
    for name in [*only, *([from_stage] if from_stage else [])]:
        if name not in recipe.stages:
            known = ", ".join(recipe.stages)
            raise ConfigError("Z113", f"no stage '{name}' in recipe '{recipe.name}'", fix=f"one of: {known}")
    keys = stage_keys(recipe)
    redone: set[str] = set()
    planned = []
    for name in recipe.order():
        stage = recipe.stages[name]
        parents = parents_of(stage)
        if only and name not in only:
            action, reason = "skip", "not among --only"
        elif name == from_stage:
            action, reason = "run", "--from starts here"
        elif any(parent in redone for parent in parents.values()):
            action, reason = _state(run.stage(name), keys[name], eval_key(stage))
            if action == "skip" or action == "measure":
                action, reason = "run", "a stage it depends on is made again"
        else:
            action, reason = _state(run.stage(name), keys[name], eval_key(stage))
        if action in ("run", "resume"):
            redone.add(name)
        planned.append(
            PlannedStage(
                name=name, kind=stage.kind, action=action, reason=reason, key=keys[name],  # type: ignore[arg-type]
                eval_key=eval_key(stage), parents=parents,
            )
        )  # fmt: skip
    return planned


def eval_key(stage: StageBase) -> str:
    """Identity of the evaluation of a stage."""
    return content_id(stage.eval.model_dump(mode="json"))


def _state(folder: StageFolder, key: str, eval_key: str) -> tuple[str, str]:
    """What the folder of one stage says about it."""
    manifest = folder.read_manifest()
    if manifest is not None:
        if manifest.get("key") != key:
            return "run", "its configuration, or that of a stage before it, changed"
        if manifest.get("eval_key") != eval_key:
            return "measure", "the evaluation's settings changed"
        return "skip", "finished"
    started = started_key(folder)
    if started is None:
        return "run", "not started"
    if started != key:
        return "run", "its configuration changed since it was interrupted"
    return "resume", "interrupted"


def started_key(folder: StageFolder) -> str | None:
    """The key an unfinished stage was started with; None when it was not started."""
    path = folder.root / STARTED
    if not path.exists():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("key"), str):
        raise RunError(
            "Z411", "not a mapping with a 'key'", where=str(path), fix=f"remove {folder.root} to start it anew"
        )
    return str(content["key"])
