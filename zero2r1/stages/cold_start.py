"""Cold start: R1-Zero's own samples, made readable, teach the base model (Dev1).

Source: DeepSeek-R1, cold start: sample trajectories at temperature 1, keep those with a right answer and a readable
format (repetition and language-mixing filters), rewrite them to first-person traces with a summary, fine-tune the base.

Deviations: questions come from the recipe's tasks instead of a collected set; a rule rewrites (`stages/rewrite.py`),
no person and no DeepSeek-V3.
"""

from zero2r1.core.dialogue import Dialect, render
from zero2r1.stages.config import ColdStartStage
from zero2r1.stages.context import Context
from zero2r1.stages.fine_tune import fine_tune
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.rewrite import first_person
from zero2r1.stages.rows import SFT_FILE, make_row, read_rows, write_rows
from zero2r1.stages.traces import collect


def run(context: Context, stage: ColdStartStage) -> Outcome:
    """Sample the teacher, filter, rewrite, fine-tune the base."""
    path = context.folder.data / SFT_FILE
    if not path.exists():
        rows = []
        for trace in collect(context, stage):
            reply = first_person(trace.prompt, trace.thinking, trace.answer)
            rows.append(make_row(trace.prompt, render(reply, Dialect.R1), trace.source))
        write_rows(path, rows)
    return fine_tune(context, stage, read_rows(path), {})
