"""The end of every stage: its model as a Hugging Face directory and its evaluation. The manifest comes last.

A stage without a manifest is not finished; whatever part of the ending a crash undid is simply done again.
"""

import shutil
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.core.atomic import commit_directory, file_hash, remove_directory
from zero2r1.core.dialogue import Dialect
from zero2r1.core.errors import RunError
from zero2r1.core.metrics import read
from zero2r1.core.run import write_json_atomic
from zero2r1.evals.run import EvalResult, evaluate
from zero2r1.models.load import load_model, load_tokenizer, save_model, weights_hash
from zero2r1.policy.choice import open_policy
from zero2r1.rewards.base import measuring
from zero2r1.stages.config import StageBase
from zero2r1.stages.context import Context
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.rows import write_rows
from zero2r1.tasks.base import make_task

SUITE = "test"


def finish(context: Context, stage: StageBase, outcome: Outcome) -> dict[str, object]:
    """Save and measure a trained stage; returns its part of the manifest."""
    _save(context, outcome)
    _measure(context, stage, outcome.model, outcome.tokenizer, outcome.dialect)
    outputs = {
        "model": "model",
        "weights_hash": weights_hash(outcome.model),
        "evals": f"evals/{SUITE}.json",
        "data": {path.name: file_hash(path) for path in sorted(context.folder.data.glob("*.jsonl"))},
    }
    return {
        "outputs": outputs,
        "dialect": outcome.dialect.value,
        "updates": outcome.updates,
        "cost": _cost(context),
        "facts": dict(outcome.extra),
    }


def _cost(context: Context) -> dict[str, float]:
    """What the updates took, over all the calls that made them: a killed stage counts whole."""
    rows = read(context.folder.timings)
    seconds = [_number(row["time/update"]) for row in rows]
    peak = max(_number(row["memory/peak_gib"]) for row in rows)
    cost = {"train_seconds": sum(seconds), "seconds_per_update": sum(seconds) / len(seconds), "peak_memory_gib": peak}
    context.observer.note(
        f"{context.name}: {cost['seconds_per_update']:.2f} s an update, {peak:.2f} GiB peak memory of the process"
    )
    return {name: round(value, 4) for name, value in cost.items()}


def _number(value: object) -> float:
    assert isinstance(value, float | int)
    return float(value)


def measure_again(context: Context, stage: StageBase) -> dict[str, object]:
    """Measure a finished stage under new evaluation settings; its part of the manifest stays as it was."""
    manifest = context.folder.read_manifest()
    if manifest is None:
        raise RunError("Z408", f"stage '{context.name}' is not finished", where=str(context.folder.root))
    dialect = Dialect(str(manifest["dialect"]))
    model = load_model(context.folder.model, device=context.device)
    _measure(context, stage, model, load_tokenizer(context.folder.model), dialect)
    return {name: manifest[name] for name in ("outputs", "dialect", "updates", "cost", "facts")}


def store(folder: Path, result: EvalResult, suite: str = SUITE) -> None:
    """`<suite>.json` with the figures and `<suite>.samples.jsonl` with every sample."""
    write_rows(folder / f"{suite}.samples.jsonl", result.samples)
    write_json_atomic(folder / f"{suite}.json", result.to_json())


def _save(context: Context, outcome: Outcome) -> None:
    aside = context.folder.root / ".model.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    save_model(outcome.model, outcome.tokenizer, aside)
    if context.folder.model.exists():
        remove_directory(context.folder.model)
    commit_directory(aside, context.folder.model)


def _measure(
    context: Context,
    stage: StageBase,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dialect: Dialect,
) -> None:
    context.observer.update(context.name, 1, 1, {"phase": "measure"})
    task = make_task(stage.tasks, seed=context.seed)
    with (
        context.reward(measuring(), stage, dialect) as reward,
        open_policy(model, tokenizer, stage.sampler) as policy,
    ):
        result = evaluate(
            policy,
            task,
            reward,
            stage.eval,
            dialect=dialect,
            address=context.address("eval", 0),
            template=tokenizer.chat_template,
        )
    store(context.folder.evals, result)
