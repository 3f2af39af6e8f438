"""Supervised training of a stage: the loop that pretraining, both SFTs and distillation share.

Update `step` is a pure function of the stage's addresses, so a resumed run needs no data cursor: the step is one.
"""

import time
from collections.abc import Callable, Iterator, Mapping

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from zero2r1.learner.checkpoint import load_latest, refuse_small_disk, save_checkpoint
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner
from zero2r1.stages.config import SaveConfig
from zero2r1.stages.context import Context, Journal

Updates = Callable[[Learner, int], Iterator[Mapping[str, float]]]
"""(learner, updates already done) -> the metrics of each further update, as it is made."""


def fit(
    context: Context,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    learner_config: LearnerConfig,
    save: SaveConfig,
    steps: int,
    updates: Updates,
) -> Learner:
    """Take the updates up to `steps`, from the last checkpoint on if there is one."""
    learner = Learner(model, learner_config, total_steps=steps)
    refuse_small_disk(context.folder.checkpoints, learner, has_reference=False)
    restored = load_latest(context.folder.checkpoints, learner, report=context.report)
    start = restored.step if restored else 0
    journal = Journal(context, steps)
    journal.rewind(start)
    began = time.perf_counter()
    for step, metrics in enumerate(updates(learner, start), start + 1):
        journal.record(step, metrics, {"time/update": time.perf_counter() - began})
        began = time.perf_counter()
        if step % save.checkpoint_every == 0 or step == steps:
            save_checkpoint(
                context.folder.checkpoints,
                step,
                learner=learner,
                tokenizer=tokenizer,
                reference=None,
                state={},
                keep=save.keep,
            )
    return learner
