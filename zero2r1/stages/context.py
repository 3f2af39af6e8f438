"""What a stage is given to work with: its folder, its parents, its seed, and someone who watches.

A stage writes only into its own folder, reads only the finished models and rows of its parents, and draws randomness
only from addresses of its own. So it can be killed and started again at any moment, and redone without the others.
"""

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import ConfigError, RunError
from zero2r1.core.metrics import MetricsLog, Value
from zero2r1.core.random import Address
from zero2r1.core.run import RunFolder, StageFolder
from zero2r1.models.load import load_tokenizer, set_template
from zero2r1.rewards.base import RewardConfig, SumReward, make_reward
from zero2r1.stages.config import ModelConfig, StageBase
from zero2r1.stages.observer import Observer

STATUS_PERIOD_S = 1.0
KIB_PER_GIB = 2**20


def peak_memory_gib() -> float:
    """Most memory this process has held at once, in GiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_GIB


def peaks(device: str) -> dict[str, float]:
    """`memory/peak_gib` of this process and, where it computes on a GPU, `memory/peak_device_gib` of torch's tensors
    there."""
    found = {"memory/peak_gib": peak_memory_gib()}
    if device == "cuda":
        found["memory/peak_device_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One stage of one run."""

    name: str
    seed: int
    """The run's seed."""
    run: RunFolder
    folder: StageFolder
    model: ModelConfig | None
    """The recipe's own model, for stages without a base stage."""
    parents: Mapping[str, str]
    """Role (`base`, `teacher`) -> stage name."""
    observer: Observer
    device: str = "cpu"
    """Where the stage's networks compute: the recipe's, `cpu` or `cuda`."""

    def address(self, purpose: str, step: int) -> Address:
        """Where the random numbers of one purpose and step of this stage come from."""
        return Address(seed=self.seed, stage=f"{self.name}/{purpose}", step=step)

    def report(self, kind: str, **fields: object) -> None:
        """Tell of something unusual, e.g. a damaged checkpoint that was passed over: an event, and a note."""
        self.folder.events.append(kind, **fields)
        self.observer.note(f"{self.name}: {kind} " + " ".join(f"{name}={value}" for name, value in fields.items()))

    def reward(self, config: RewardConfig, stage: StageBase, dialect: Dialect) -> SumReward:
        """A reward under the verdicts of a stage: what its judges say is kept in the stage's folder. Close it."""
        return make_reward(
            config,
            dialect=dialect,
            verdicts=stage.verdicts,
            records=self.folder.data / "judge.jsonl",
            report=self.report,
        )

    def parent(self, role: str) -> StageFolder:
        """The folder of a parent stage. Raises RunError Z408 when it is not finished."""
        folder = self.run.stage(self.parents[role])
        if not folder.is_finished:
            raise RunError(
                "Z408",
                f"stage '{self.name}' needs '{folder.name}', which is not finished",
                where=str(folder.root),
                fix="run it first: leave out --only, or add it there",
            )
        return folder

    def base_model(self) -> Path | str:
        """Where the weights to start from are: the base stage's model directory or the recipe's source."""
        if "base" in self.parents:
            return self.parent("base").model
        if self.model is None or self.model.source is None:
            raise ConfigError(
                "Z110",
                f"stage '{self.name}' starts from a model that was not trained yet",
                why="a 'tiny' model has random weights: it needs a stage of kind 'pretrain' first",
                fix=f"stages.{self.name}.init=<a pretrain stage>, or give the model a 'source'",
            )
        return self.model.source

    def base_tokenizer(self, dialect: Dialect) -> PreTrainedTokenizerBase:
        """The base model's tokenizer with the chat template of the dialect (or its own, where the recipe keeps it)."""
        tokenizer = load_tokenizer(self.base_model())
        if "base" in self.parents or self.model is None or not self.model.keep_template:
            set_template(tokenizer, dialect)
        return tokenizer


class Journal:
    """Writes down each update of a stage: metrics without a clock, timings with one, a status now and then."""

    def __init__(self, context: Context, total: int) -> None:
        self.context = context
        self.total = total
        self.metrics = MetricsLog(context.folder.metrics)
        self.timings = MetricsLog(context.folder.timings)
        self._status_at = 0.0

    def rewind(self, step: int) -> None:
        """Drop rows after `step`: they belong to updates that a crash undid and that will be made again."""
        self.metrics.truncate_after(step)
        self.timings.truncate_after(step)

    def record(self, step: int, metrics: Mapping[str, Value], timings: Mapping[str, float]) -> None:
        """One update. `metrics` must be a pure function of the recipe; anything of the clock goes into `timings`."""
        self.metrics.append({"step": step, **metrics})
        self.timings.append({"step": step, **timings, **peaks(self.context.device)})
        self.context.observer.update(self.context.name, step, self.total, {**metrics, **timings})
        now = time.monotonic()
        if now - self._status_at > STATUS_PERIOD_S or step == self.total:
            self._status_at = now
            self.context.run.status.write(state="running", stage=self.context.name, step=step, total=self.total)
