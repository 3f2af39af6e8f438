"""Distillation: a smaller student learns the teacher stage's rows by SFT alone.

Source: DeepSeek-R1, distillation: the 800k rows of the second SFT, no RL, cosine to a tenth of the rate, batch 64.
"""

from zero2r1.stages.config import DistillStage
from zero2r1.stages.context import Context
from zero2r1.stages.fine_tune import fine_tune
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.rows import SFT_FILE, read_rows


def run(context: Context, stage: DistillStage) -> Outcome:
    """Fine-tune the student's base on the teacher's rows."""
    return fine_tune(context, stage, read_rows(context.parent("teacher").data / SFT_FILE), {})
