"""SFT of a base model on rows: the second half of cold start and rejection sampling, and the whole of distillation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zero2r1.core.dialogue import Dialect
from zero2r1.learner.learner import Learner
from zero2r1.models.load import load_model
from zero2r1.sft.data import encode_all
from zero2r1.sft.train import sft, steps_per_epoch
from zero2r1.stages.config import ColdStartStage, DistillStage, RejectionSamplingStage
from zero2r1.stages.context import Context
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.rows import dialogues
from zero2r1.stages.supervised import fit


def fine_tune(
    context: Context,
    stage: ColdStartStage | RejectionSamplingStage | DistillStage,
    rows: Sequence[dict[str, Any]],
    extra: Mapping[str, object],
) -> Outcome:
    """Teach the stage's base model the R1 template and the rows; `extra` goes into the manifest."""
    model = load_model(context.base_model(), device=context.device)
    tokenizer = context.base_tokenizer(Dialect.R1)
    encoded = encode_all(dialogues(rows), tokenizer, max_tokens=stage.sft.max_tokens)
    steps = stage.sft.epochs * steps_per_epoch(len(encoded.examples), stage.sft.batch_rows)

    def updates(learner: Learner, start: int) -> Iterator[Mapping[str, float]]:
        made = sft(
            learner=learner,
            examples=encoded.examples,
            batch_rows=stage.sft.batch_rows,
            steps=steps,
            address=context.address("sft", 0),
            start=start,
        )
        return (update.metrics for update in made)

    learner = fit(
        context, model, tokenizer, learner_config=stage.learner, save=stage.save, steps=steps, updates=updates
    )
    facts = {"rows": len(rows), "rows_too_long": encoded.num_too_long, **extra}
    return Outcome(model=learner.model, tokenizer=tokenizer, dialect=Dialect.R1, updates=steps, extra=facts)
