"""A recipe: sections that every stage inherits, and a graph of stages.

    name: mine
    extends: tiny            # optional: another recipe, by name or by path
    rl: {kl_coef: 0.01}      # the default of every stage that has an `rl` section
    stages:
      r1_zero: {kind: zero_rl, init: base, rl: {steps: 100}}   # what a stage says itself wins

What this is not: a language. There are no variables, no conditions and no loops; a recipe is data.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import Field, model_validator

from zero2r1.core import config as configs
from zero2r1.core.config import Document, Strict
from zero2r1.core.errors import ConfigError
from zero2r1.core.run import name_is_safe
from zero2r1.evals.config import EvalConfig
from zero2r1.learner.config import LearnerConfig
from zero2r1.models.device import settled_device
from zero2r1.policy.sampler_config import SamplerConfig
from zero2r1.rewards.base import RewardConfig, VerdictConfig
from zero2r1.rl.config import RLConfig
from zero2r1.stages.config import ModelConfig, MonitorConfig, SamplingFilter, SaveConfig, SFTConfig, Stage, parents_of
from zero2r1.tasks.base import TaskConfig
from zero2r1.tasks.corpus import CorpusConfig

SECTIONS = (
    "tasks", "learner", "save", "eval", "rl", "rewards", "verdicts", "monitor", "sft", "sampling", "sampler", "corpus",
)  # fmt: skip

Holder = TypeVar("Holder", bound=Strict)
"""Something with a `learner` section: a stage, or the recipe itself."""


class Recipe(Strict):
    """A whole run. Sections are defaults for the stages; `stages` is the graph."""

    name: str
    """Names the run folder: letters, digits, `.`, `_`, `-`."""
    description: str = ""
    """One sentence for `zero2r1 recipes ls`."""
    seed: int = Field(default=0, ge=0)
    """The one seed: every random number of the run is a function of it."""
    threads: int | None = Field(default=None, ge=1)
    """Compute threads; None: what torch chooses. Results are bit-equal only for equal thread counts."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """Where the networks compute, for training, sampling and evaluation alike. auto: on an NVIDIA GPU where torch has
    one, else on the processor; settled when the recipe is read, so the run folder names the one it got. Results are
    bit-equal only on the same device. Ours: the processor, until this has run on a GPU (docs/gpu.md)."""
    model: ModelConfig | None = None
    """The base model of stages that say `init: model`, and the default of `pretrain`."""
    tasks: tuple[TaskConfig, ...] | None = None
    """Questions, unless a stage has its own."""
    learner: LearnerConfig | None = None
    """Optimizer defaults."""
    save: SaveConfig | None = None
    """Checkpoint defaults."""
    eval: EvalConfig | None = None
    """Evaluation defaults."""
    rl: RLConfig | None = None
    """Reinforcement learning defaults."""
    rewards: RewardConfig | None = None
    """Reward defaults."""
    verdicts: VerdictConfig | None = None
    """Sandbox, judge and languages, for training, filters and evaluation alike."""
    monitor: MonitorConfig | None = None
    """Defaults of the watch for reward hacking."""
    sft: SFTConfig | None = None
    """Fine-tuning defaults."""
    sampling: SamplingFilter | None = None
    """Defaults of the stages that make supervised rows from samples."""
    sampler: SamplerConfig | None = None
    """Who draws samples, for training, filters and evaluation alike."""
    corpus: CorpusConfig | None = None
    """Defaults of the pretraining corpus."""
    stages: dict[str, Stage]
    """Stage name -> stage, in the order they are shown."""

    @model_validator(mode="after")
    def _graph_is_sound(self) -> "Recipe":
        if not name_is_safe(self.name):
            raise ValueError(f"name {self.name!r} cannot name a folder: use letters, digits, '.', '_' and '-'")
        for name, stage in self.stages.items():
            if not name_is_safe(name) or name == "model":
                raise ValueError(f"stage name {name!r} is not usable: use letters, digits, '.', '_', '-'; not 'model'")
            for role, parent in parents_of(stage).items():
                if parent not in self.stages:
                    known = ", ".join(self.stages)
                    raise ValueError(f"stage {name!r} wants {parent!r} as its {role}, which is no stage ({known})")
            if "base" not in parents_of(stage) and getattr(stage, "model", None) is None and self.model is None:
                raise ValueError(f"stage {name!r} starts from the recipe's model, but the recipe has no 'model'")
        self.order()
        return self

    def order(self) -> list[str]:
        """Stage names, parents first, otherwise as written. Raises ValueError on a cycle."""
        done: list[str] = []
        while len(done) < len(self.stages):
            ready = [
                name
                for name, stage in self.stages.items()
                if name not in done and all(parent in done for parent in parents_of(stage).values())
            ]
            if not ready:
                left = ", ".join(name for name in self.stages if name not in done)
                raise ValueError(f"stages wait for one another in a circle: {left}")
            done.append(ready[0])
        return done


def names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("zero2r1.recipes")
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def path(name: str) -> Path:
    """The file of a recipe given by name or by path. Raises ConfigError Z112 with the known names."""
    if name in names():
        return Path(str(resources.files("zero2r1.recipes") / f"{name}.yaml"))
    candidate = Path(name)
    if candidate.is_file():
        return candidate
    known = ", ".join(names())
    raise ConfigError(
        "Z112",
        f"no recipe '{name}'",
        why="it is neither a recipe of the package nor a readable file",
        fix=f"one of: {known}, or the path of a .yaml file (zero2r1 recipes cp tiny my.yaml makes one)",
    )


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe with its `extends` chain and `a.b=c` overrides. Raises ConfigError with file, line and column."""
    document = configs.load(path(name), overrides, resolve_base=_base_of)
    _refuse_silent_overrides(document.data, overrides)
    return settled(configs.validate(Recipe, _with_sections(document)))


def settled(recipe: Recipe) -> Recipe:
    """The recipe with `device: auto` replaced by the one that is here, and each `learner.compute_dtype: auto` by the
    data type that this device is fastest in.

    A device that is named is left as it is: a recipe for a GPU can be read, planned and shown where there is none.

    Ours: before anything is keyed, planned or written down. So a stage's key and manifest and config.resolved.yaml name
    what was computed with; a run that is resumed keeps it, and the same recipe on a machine of the other kind is
    another run.
    """
    device = settled_device(recipe.device)
    stages = {name: _with_settled_dtype(stage, device) for name, stage in recipe.stages.items()}
    return _with_settled_dtype(recipe, device).model_copy(update={"stages": stages, "device": device})


def _with_settled_dtype(holder: Holder, device: str) -> Holder:
    """Imports torch only when there is something to settle: reading a recipe is light."""
    learner = getattr(holder, "learner", None)
    if learner is None or learner.compute_dtype != "auto":
        return holder
    from zero2r1.models.precision import fast_dtype

    return holder.model_copy(update={"learner": learner.model_copy(update={"compute_dtype": fast_dtype(device)})})


def _base_of(base: str, child: Path) -> Path:
    beside = child.parent / base
    return beside if beside.is_file() else path(base)


def _stage_models() -> dict[str, type[Strict]]:
    union = get_args(Stage)[0]
    return {model.model_fields["kind"].default: model for model in get_args(union)}


def _with_sections(document: Document) -> Document:
    """Write each top-level section into the stages that have it, below what the stage and above what its kind says."""
    data = dict(document.data)
    marks = dict(document.marks)
    stages = data.get("stages")
    if not isinstance(stages, Mapping):
        return document
    models = _stage_models()
    merged: dict[str, Any] = {}
    for name, stage in stages.items():
        model = models.get(stage.get("kind", "")) if isinstance(stage, Mapping) else None
        if model is None:
            merged[name] = stage
            continue
        merged[name] = dict(stage)
        for section in SECTIONS:
            if section in model.model_fields:
                _inherit(merged[name], section, model, data, marks, ("stages", name))
    data["stages"] = merged
    return Document(data=data, marks=marks, lines=document.lines)


def _inherit(
    stage: dict[str, Any],
    section: str,
    model: type[Strict],
    data: Mapping[str, Any],
    marks: dict[tuple[str | int, ...], configs.Mark],
    place: tuple[str, str],
) -> None:
    default = model.model_fields[section].default
    differs = isinstance(default, Strict) and default != type(default)()
    layers = [default.model_dump(exclude_unset=True) if differs else None]
    layers += [data.get(section), stage.get(section)]
    value: Any = None
    for layer in layers:
        if layer is None:
            continue
        both = isinstance(layer, Mapping) and isinstance(value, Mapping)
        value = configs.deep_merge(dict(value), dict(layer)) if both else layer
    if value is None:
        return
    stage[section] = value
    for where, mark in list(marks.items()):
        if where[:1] == (section,):
            marks.setdefault((*place, *where), mark)


def _refuse_silent_overrides(data: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """A top-level override that every stage shadows would do nothing: say so instead."""
    stages = data.get("stages")
    if not isinstance(stages, Mapping):
        return
    models = _stage_models()
    for override in overrides:
        keys = override.partition("=")[0].split(".")
        if keys[0] not in SECTIONS:
            continue
        users = [n for n, s in stages.items() if isinstance(s, Mapping) and _has(models, s, keys[0])]
        shadowing = [n for n in users if _says(stages[n], keys)]
        if not users or len(shadowing) == len(users):
            own = f"each stage sets its own ({', '.join(shadowing)})"
            why = own if users else f"no stage has a section '{keys[0]}'"
            hint = f"stages.{shadowing[0]}.{override}" if shadowing else "zero2r1 config explain " + keys[0]
            raise ConfigError("Z115", f"override '{override}' would change nothing", why=why, fix=hint)


def _has(models: Mapping[str, type[Strict]], stage: Mapping[str, Any], section: str) -> bool:
    model = models.get(stage.get("kind", ""))
    return model is not None and section in model.model_fields


def _says(stage: Mapping[str, Any], keys: Sequence[str]) -> bool:
    here: Any = stage
    for key in keys:
        if not isinstance(here, Mapping) or key not in here:
            return False
        here = here[key]
    return True
