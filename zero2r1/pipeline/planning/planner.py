"""From a recipe to its plan: which network each stage uses, how long its texts are, where it would run.

What it does not do: run anything but the calibration, or fetch anything.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zero2r1.core.errors import ConfigError, ModelError
from zero2r1.pipeline.planning import cost, shapes
from zero2r1.pipeline.planning.calibration import Calibrated, Machine, Probe, read_machine, read_network
from zero2r1.pipeline.planning.estimate import StagePlan, biggest_lever, plan_stage, pulled
from zero2r1.pipeline.planning.hardware import Cluster
from zero2r1.pipeline.planning.probes import probe_settings
from zero2r1.pipeline.planning.sampling import Site, engine_slots, limits_of
from zero2r1.pipeline.planning.shapes import Shape
from zero2r1.pipeline.planning.texts import Texts, texts_of, tokenizer_of_tiny
from zero2r1.pipeline.planning.timing import Roofline
from zero2r1.pipeline.planning.workload import Workload, of_stage
from zero2r1.pipeline.process import settle
from zero2r1.recipes import Recipe
from zero2r1.stages.config import ModelConfig, PretrainStage, StageBase

DEFAULT_VOCAB_DOCUMENTS = 2000
"""Ours: that of `pretrain`, for a tiny model in a recipe without such a stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recipe's plan."""

    recipe: str
    place: str
    """The devices, in words."""
    machine: Machine | None
    """Rates of this machine; None for accelerators."""
    stages: tuple[StagePlan, ...]
    missing: Mapping[str, str]
    """Stage -> why it could not be planned."""
    lever: str
    saves: float
    """Share of all seconds that the lever saves."""
    hours: float
    """Machine (or device) hours in all."""
    dollars: float | None
    """With the price that was given; None without."""

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def peak(self) -> int:
        """Bytes of the hungriest stage."""
        return max(stage.peak for stage in self.stages)

    @property
    def disk(self) -> int:
        """Bytes of all stages."""
        return sum(sum(stage.disk.values()) for stage in self.stages)


@dataclass
class Workshop:
    """What was found out about a recipe so far: shapes, tokenizers and speeds, each made once."""

    recipe: Recipe
    configs: Mapping[str, Path] = field(default_factory=dict)
    """Model source (or `` for the recipe's own) -> its config.json."""
    cluster: Cluster | None = None
    response: int | None = None
    machine: Machine | None = None
    tokenizers: dict[str, Any] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    speeds: dict[tuple[str, ...], Calibrated] = field(default_factory=dict)

    def model_of(self, name: str) -> tuple[ModelConfig, StageBase]:
        """The model a stage starts from, and the stage whose corpus made its tokenizer (or the stage itself)."""
        stage = self.recipe.stages[name]
        init = getattr(stage, "init", "model")
        if init != "model":
            return self.model_of(init)
        model = getattr(stage, "model", None) or self.recipe.model
        assert model is not None  # the recipe's own check
        return model, stage

    def tokenizer(self, model: ModelConfig, origin: StageBase) -> Any | None:
        """The tokenizer of a model, None when it is not on this machine."""
        key = model.model_dump_json()
        if key not in self.tokenizers:
            self.tokenizers[key] = self._tokenizer(model, origin)
        return self.tokenizers[key]

    def _tokenizer(self, model: ModelConfig, origin: StageBase) -> Any | None:
        if model.tiny is not None:
            made = origin if isinstance(origin, PretrainStage) else PretrainStage(tasks=origin.tasks)
            return tokenizer_of_tiny(made, model.tiny, made.corpus, made.vocab_documents, self.recipe.seed)
        from zero2r1.models.fetch import KNOWN, is_fetched
        from zero2r1.models.load import load_tokenizer

        source = model.source or ""
        if Path(source).expanduser().exists() or (source in KNOWN and is_fetched(source)):
            return load_tokenizer(source)
        return None

    def shape(self, model: ModelConfig, tokenizer: Any | None) -> Shape:
        """The shape of a model. Raises ModelError Z200 when its config is not here."""
        key = model.model_dump_json()
        if key not in self.shapes:
            source = model.source or "tiny"
            if model.tiny is not None and tokenizer is not None:
                config = shapes.tiny_config(model.tiny, len(tokenizer))
            elif source in self.configs:
                config = shapes.read_config(self.configs[source])
            elif "" in self.configs and model == self.recipe.model:
                config = shapes.read_config(self.configs[""])
            else:
                config = shapes.local_config(source)
            self.shapes[key] = shapes.shape_of(config, source)
        return self.shapes[key]

    def site(self, stage: StageBase, shape: Shape, texts: Texts, work: Workload) -> Site:
        """Where a stage would run; for this machine its network is read."""
        learner, engine = stage.learner, stage.sampler.engine
        if self.cluster is not None:
            budget = self.cluster.count * self.cluster.device.memory
            speed = Roofline(
                shape=shape, cluster=self.cluster, dtype=learner.compute_dtype,
                recomputes=learner.activation_checkpointing,
            )  # fmt: skip
            return Site(speed=speed, budget=budget, devices=self.cluster.count)
        if self.machine is None:
            settle(self.recipe.threads)
            self.machine = read_machine()
        sampled = work.rollout or work.traces or work.measured
        # One reading a network: rows of another length only differ in attention, which `Calibrated` adds.
        key = (shape.name, str(shape.parameters), str(learner.micro_tokens), str(probe_settings(learner)), str(engine))
        if key not in self.speeds:
            probe = Probe(
                prompt=round(texts.prompt), response=sampled.response, samples=sampled.samples,
                slots=engine_slots(sampled, texts.longest, limits_of(stage.sampler, shape)),
                row=round(work.row_tokens), micro_tokens=learner.micro_tokens,
            )  # fmt: skip
            self.speeds[key] = read_network(shape, self.machine, probe, learner=learner, engine=engine)
        known = self.speeds[key]
        return Site(speed=known, running=known.running, runtime=self.machine.runtime)

    def look(self, name: str, made: Mapping[str, tuple[int, int]]) -> tuple[StageBase, Shape, Texts, Workload, Site]:
        """Everything that the plan of a stage is worked out from."""
        stage = self.recipe.stages[name]
        model, origin = self.model_of(name)
        tokenizer = self.tokenizer(model, origin)
        shape = self.shape(model, tokenizer)
        texts = texts_of(stage, tokenizer, seed=self.recipe.seed, keep_template=model.keep_template)
        work = of_stage(stage, prompt=texts.prompt, document=texts.document, response=self.response, made=made)
        return stage, shape, texts, work, self.site(stage, shape, texts, work)


def make_plan(
    recipe: Recipe,
    *,
    cluster: Cluster | None = None,
    configs: Mapping[str, Path] | None = None,
    response: int | None = None,
    price: float | int | None = None,
    workshop: Workshop | None = None,
) -> Plan:
    """Plans every stage whose model's shape is known.

    Args:
        cluster: accelerators; None: this machine, whose speed is read first.
        configs: model source (`` for the recipe's own) -> config.json.
        response: mean tokens of an answer; None: the whole budget.
        price: money an hour of one machine or device.

    Raises:
        ModelError: Z200, no stage's model is known here.
    """
    shop = workshop or Workshop(recipe=recipe, configs=configs or {}, cluster=cluster, response=response)
    made: dict[str, tuple[int, int]] = {}
    looks: dict[str, tuple[StageBase, Shape, Texts, Workload, Site]] = {}
    stages: list[StagePlan] = []
    missing: dict[str, str] = {}
    first: ModelError | None = None
    for name in recipe.order():
        try:
            looks[name] = shop.look(name, made)
        except ModelError as error:
            first = first or error
            missing[name] = f"{error.what}; {error.fix}"
            continue
        stages.append(plan_stage(name, *looks[name]))
        made[name] = (looks[name][3].made_rows, looks[name][3].made_response)
    if not stages:
        raise first or ConfigError("Z110", "the recipe has no stages", fix="zero2r1 recipes ls")
    seconds = sum(stage.seconds for stage in stages)

    def again(change: Mapping[str, Any]) -> float:
        return sum(
            plan_stage(name, stage, shape, texts, pulled(work, change), site).seconds
            for name, (stage, shape, texts, work, site) in looks.items()
        )

    lever, saves = biggest_lever(seconds, again)
    devices = cluster.count if cluster else 1
    hours = cost.machine_hours(devices, seconds / 3600)
    return Plan(
        recipe=recipe.name,
        place=f"{devices} x {cluster.name}" if cluster else "this machine",
        machine=shop.machine,
        stages=tuple(stages),
        missing=missing,
        lever=lever,
        saves=saves,
        hours=hours,
        dollars=None if price is None else cost.dollars(hours, price),
    )


def parse_configs(given: Sequence[str]) -> dict[str, Path]:
    """`FILE` (of the recipe's own model) or `SOURCE=FILE`, as a mapping. Raises ConfigError Z110 for a missing file."""
    found: dict[str, Path] = {}
    for text in given:
        source, _, name = text.rpartition("=")
        if not Path(name).is_file():
            raise ConfigError(
                "Z110", f"no such file: {name}", where="--model-config", fix="--model-config [SOURCE=]config.json"
            )
        found[source] = Path(name)
    return found


__all__ = ["Calibrated", "Plan", "Workshop", "make_plan", "parse_configs"]
