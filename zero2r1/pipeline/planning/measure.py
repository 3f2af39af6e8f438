"""The plan against the clock: a few real updates of each kind of stage in a temporary folder.

Reinforcement learning runs its own stage code from random weights (or the recipe's local model) and the recipe's
questions; fine-tuning takes updates on rows around the planned length. How long the answers were, and which share of
their groups had a gradient, is told to the prediction: a plan takes both as inputs.

What it does not do: measure start-up, rewards of other tasks, or later phases of training, when answers are longer.
"""

import ctypes
import gc
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from zero2r1.core.metrics import read
from zero2r1.core.run import RunFolder
from zero2r1.pipeline.planning.calibration import Calibrated, middle, resident_bytes
from zero2r1.pipeline.planning.estimate import Calls, StagePlan, plan_stage
from zero2r1.pipeline.planning.planner import Workshop
from zero2r1.pipeline.planning.probes import probe_lengths
from zero2r1.pipeline.planning.sampling import limits_of
from zero2r1.pipeline.planning.timing import Speed
from zero2r1.pipeline.planning.workload import Workload
from zero2r1.recipes import Recipe
from zero2r1.stages.config import ModelConfig, PretrainStage, ReasoningRLStage, StageBase, ZeroRLStage
from zero2r1.stages.context import Context
from zero2r1.stages.observer import Silent
from zero2r1.stages.rows import read_rows

MAX_DISTANCE = 0.15
"""Largest |predicted / measured - 1| of a step's time or of peak memory that passes. Ours."""
SECONDS = 50.0
"""For all kinds of stages together. Ours: a minute with the making of models."""
MOST_UPDATES = 100
"""Of one kind. Ours."""
MOST_DRIFT = 0.1
"""Largest change of an update's prediction from before a measurement to after it. Ours: within it what lies between the
two is off by a twentieth at most; this machine's neighbours have moved it by half within a minute."""
MOST_TRIES = 3
"""Ours: minutes."""
WARMING = 2
"""Updates that are not counted. Ours: they allocate what the others find; the second of SmolLM2 had half as many page
faults as the first, the third a twentieth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One figure of one stage."""

    stage: str
    what: str
    """`rollout`, `train`, `step` in seconds, `memory` in bytes."""
    predicted: float | int
    measured: float | int
    drift: float = 0.0
    """How much the machine's speed changed meanwhile: |after / before - 1| of the prediction, dimensionless."""

    @property
    def distance(self) -> float:
        """predicted / measured - 1, dimensionless."""
        return self.predicted / self.measured - 1 if self.measured else 0.0

    @property
    def counts(self) -> bool:
        """True for the figures that decide: the whole step and the memory."""
        return self.what in ("step", "memory")


def is_within(rows: Sequence[Compared], limit: float = MAX_DISTANCE) -> bool:
    """True when no figure that counts is further off than `limit`."""
    return all(abs(row.distance) <= limit for row in rows if row.counts)


def measure(recipe: Recipe, shop: Workshop, stages: Sequence[StagePlan], folder: Path) -> list[Compared]:
    """Measures the first stage of each kind: pretraining, reinforcement learning, fine-tuning.

    Each prediction lies between readings before and after. Where those are further apart than MOST_DRIFT, the machine
    was not one machine, and the stage is measured again. The steadiest try counts, whatever it says.
    """
    chosen: dict[str, StagePlan] = {}
    for planned in stages:
        chosen.setdefault(_family(recipe.stages[planned.name]), planned)
    found: list[Compared] = []
    for planned in chosen.values():
        updates = max(WARMING + 2, min(MOST_UPDATES, int(SECONDS / len(chosen) / max(planned.update_s, 1e-3))))
        tries: list[list[Compared]] = []
        while len(tries) < MOST_TRIES and all(rows[0].drift > MOST_DRIFT for rows in tries):
            tries.append(_try(recipe, shop, planned, folder / f"try_{len(tries)}", updates))
        steadiest = min(tries, key=lambda rows: rows[0].drift)
        found += steadiest
    return found


def _try(recipe: Recipe, shop: Workshop, planned: StagePlan, folder: Path, updates: int) -> list[Compared]:
    """Some updates of a stage and their prediction."""
    stage, shape, texts, work, site = shop.look(planned.name, {})
    run = RunFolder(folder / planned.name).create()
    _give_back()
    site, live, lengths = replace(site, runtime=resident_bytes()), [1.0], list[list[int]]()
    if isinstance(stage, PretrainStage):
        rows = _pretrain(recipe, stage, run, planned.name, updates)
    elif isinstance(stage, ZeroRLStage | ReasoningRLStage):
        source = _source(recipe, shop, planned.name, folder)
        rows, lengths, live = _reinforce(recipe, stage, source, run, planned.name, updates)
    else:
        rows = _fine_tune(recipe, shop, stage, planned.name, work, run, updates)
    peak = _peak()
    speeds = site.speed, _read_again(shop, planned.name)
    first, last = (
        plan_stage(planned.name, stage, shape, texts, work, replace(site, speed=speed)).update_s for speed in speeds
    )
    site = replace(site, speed=_between(*speeds))
    found: list[Compared] = []
    if lengths:
        calls = Calls(
            speed=site.speed, engine=limits_of(stage.sampler, shape), text_s=texts.text_s, judge_s=texts.judge_s,
            prompt=work.prompt,
        )  # fmt: skip
        found.append(_sampling(planned, work, calls, rows, lengths))
        work = replace(work, row_tokens=work.prompt + fmean(length for each in lengths for length in each))
    again, largest = (
        plan_stage(planned.name, stage, shape, texts, replace(work, live=share), site)
        for share in (median(live), max(live))
    )
    found += _learning(again, rows, found, hashes=1 + limits_of(stage.sampler, shape).recompute_hash)
    found.append(Compared(stage=planned.name, what="memory", predicted=largest.peak, measured=peak))
    return [replace(row, drift=abs(last / first - 1)) for row in found]


def _read_again(shop: Workshop, name: str) -> Speed:
    """The speed of now."""
    shop.speeds.clear()
    return shop.look(name, {})[-1].speed


def _between(before: Speed, after: Speed) -> Speed:
    return middle(before, after) if isinstance(before, Calibrated) and isinstance(after, Calibrated) else after


def _family(stage: StageBase) -> str:
    if isinstance(stage, PretrainStage):
        return "pretrain"
    return "reinforcement" if isinstance(stage, ZeroRLStage | ReasoningRLStage) else "fine-tuning"


def _context(recipe: Recipe, run: RunFolder, name: str, model: ModelConfig | None) -> Context:
    place = run.stage(name)
    place.create()
    return Context(name=name, seed=recipe.seed, run=run, folder=place, model=model, parents={}, observer=Silent())


def _pretrain(recipe: Recipe, stage: PretrainStage, run: RunFolder, name: str, updates: int) -> list[dict[str, float]]:
    from zero2r1.stages import pretrain

    context = _context(recipe, run, name, stage.model or recipe.model)
    pretrain.run(context, stage.model_copy(update={"steps": updates}))
    return _timings(context)


def _reinforce(
    recipe: Recipe, stage: ZeroRLStage | ReasoningRLStage, source: str, run: RunFolder, name: str, updates: int
) -> tuple[list[dict[str, float]], list[list[int]], list[float]]:
    """Of each update its stopwatch; of each rollout the lengths of answers and the share of rows with a gradient."""
    from zero2r1.stages.reinforcement import train

    steps = max(updates, stage.rl.minibatches)
    short = stage.model_copy(
        update={
            "rl": stage.rl.model_copy(update={"steps": steps}),
            "save": stage.save.model_copy(update={"rollouts_every": 1, "rollout_rows": 10**6}),
        }
    )
    context = _context(recipe, run, name, ModelConfig(source=source))
    train(context, short)
    files = sorted(context.folder.rollouts.glob("*.jsonl"))
    metrics: list[dict[str, Any]] = [dict(row) for row in read(context.folder.metrics)]
    live = [1.0 - float(row["reward/zero_std_frac"]) if stage.rl.kl_coef == 0.0 else 1.0 for row in metrics]
    lengths = [[int(row["tokens"]) for row in read_rows(file)] for file in files]
    warming = WARMING if stage.rl.minibatches == 1 else 0  # in a rollout of many updates
    return _timings(context), lengths[warming:], live[warming:]


def _fine_tune(
    recipe: Recipe, shop: Workshop, stage: StageBase, name: str, work: Workload, run: RunFolder, updates: int
) -> list[dict[str, float]]:
    from zero2r1.learner.learner import Learner
    from zero2r1.models.load import load_model, load_tokenizer
    from zero2r1.sft.data import Example, to_batch
    from zero2r1.sft.loss import cross_entropy
    from zero2r1.stages.supervised import fit

    source = _source(recipe, shop, name, run.root)
    model, tokenizer = load_model(source), load_tokenizer(source)
    prompt, vocab = round(work.prompt), int(model.config.vocab_size)
    # Rows of real traces differ in length, which costs gathering and padding, and in their prompts: none is shared.
    lengths = probe_lengths(work.rows * round(work.row_tokens), round(work.row_tokens))
    examples = [
        Example(
            token_ids=tuple((index + number) % vocab for index in range(length)),
            loss_mask=tuple(index >= min(max(1, prompt), length - 1) for index in range(length)),
        )
        for number, length in enumerate(lengths)
    ]

    def steps(learner: Learner, start: int) -> Iterator[Mapping[str, float]]:
        for _ in range(start, updates):
            yield learner.step(to_batch(examples), cross_entropy)

    context = _context(recipe, run, name, ModelConfig(source=source))
    fit(context, model, tokenizer, learner_config=stage.learner, save=stage.save, steps=updates, updates=steps)
    return _timings(context)


def _source(recipe: Recipe, shop: Workshop, name: str, folder: Path) -> str:
    """A model directory of the stage's shape: the recipe's own where it is here, else random weights."""
    model, origin = shop.model_of(name)
    if model.tiny is None:
        return str(model.source)
    from zero2r1.models.load import save_model
    from zero2r1.models.tiny import make_tiny

    place = folder / "weights" / name
    tokenizer = shop.tokenizer(model, origin)
    save_model(make_tiny(model.tiny, tokenizer, seed=recipe.seed), tokenizer, place)
    return str(place)


def _timings(context: Context) -> list[dict[str, float]]:
    rows: list[dict[str, Any]] = [dict(row) for row in read(context.folder.timings)]
    return [{key: float(value) for key, value in row.items()} for row in rows[WARMING:]]


def _sampling(
    planned: StagePlan, work: Workload, calls: Calls, rows: list[dict[str, float]], lengths: list[list[int]]
) -> Compared:
    assert work.rollout is not None
    fixed = calls.prefill_s(work.rollout, planned.slots) + calls.hash_s() + calls.speed.layout_s()
    each = [fixed + calls.decode_s(heard, planned.slots) + calls.answers_s(heard) for heard in lengths]
    if planned.memory["recording"]:
        each = [seconds + calls.speed.record_s(sum(heard)) for seconds, heard in zip(each, lengths, strict=True)]
    share = work.rollout.calls / work.updates
    heard = [row["time/rollout"] for row in rows if row["time/rollout"] > 0]
    return Compared(stage=planned.name, what="rollout", predicted=share * median(each), measured=share * median(heard))


def _learning(
    planned: StagePlan, rows: list[dict[str, float]], sampled: list[Compared], *, hashes: int
) -> list[Compared]:
    """The rest of an update and the whole of it. Of the `hashes` of a rollout the last is taken after the update."""
    train = sum(planned.update.get(phase, 0.0) for phase in ("update", "reference", "data"))
    train += planned.update.get("hash", 0.0) / hashes
    seconds = median(row.get("time/train", row["time/update"]) + row.get("time/reward", 0.0) for row in rows)
    rollout = sum(row.predicted for row in sampled)
    whole = seconds + sum(row.measured for row in sampled)
    return [
        Compared(stage=planned.name, what="train", predicted=train, measured=seconds),
        Compared(stage=planned.name, what="step", predicted=train + rollout, measured=whole),
    ]


def _give_back() -> None:
    """Returns freed memory to the system and lets the kernel count the peak from now on (Linux with glibc).

    Elsewhere the peak is that of the whole life of the process.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak() -> float:
    """Bytes of this process' peak."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    named = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("VmHWM")}
    return float(named["VmHWM"]) * 1024
