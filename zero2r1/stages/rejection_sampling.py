"""Rejection sampling and the second SFT, again from the base model (Dev3).

Source: DeepSeek-R1, rejection sampling and SFT: several responses per prompt from the RL checkpoint, only correct ones
kept, mixed languages and long paragraphs dropped; about 600k reasoning rows plus about 200k non-reasoning rows;
fine-tune the base model on both.

Deviations: rules judge, and a language model only where the recipe names one (`verdicts.judge`, questions of the kind
`judged`); non-reasoning rows come from `tasks/general.py`.
"""

from zero2r1.core.dialogue import Dialect, Reply, render
from zero2r1.core.random import Stream, key
from zero2r1.stages.config import RejectionSamplingStage
from zero2r1.stages.context import Context
from zero2r1.stages.fine_tune import fine_tune
from zero2r1.stages.outcome import Outcome
from zero2r1.stages.rows import SFT_FILE, make_row, read_rows, write_rows
from zero2r1.stages.traces import collect
from zero2r1.tasks.general import general_rows


def run(context: Context, stage: RejectionSamplingStage) -> Outcome:
    """Sample the teacher, keep the right and readable, add non-reasoning rows, fine-tune the base."""
    path = context.folder.data / SFT_FILE
    if not path.exists():
        _make_rows(context, stage)
    rows = read_rows(path)
    reasoning = sum("completion" in row["source"] for row in rows)
    return fine_tune(context, stage, rows, {"reasoning_rows": reasoning, "general_rows": len(rows) - reasoning})


def _make_rows(context: Context, stage: RejectionSamplingStage) -> None:
    rows = [make_row(trace.prompt, render(trace.reply, Dialect.R1), trace.source) for trace in collect(context, stage)]
    num_general = round(len(rows) * stage.general_share / (1 - stage.general_share))
    for prompt, text in general_rows(num_general, start=0, seed=context.seed):
        reply = Reply(thinking="", answer=None, summary=text)
        rows.append(make_row(prompt, render(reply, Dialect.R1), {"generator": "general"}))
    write_rows(context.folder.data / SFT_FILE, Stream(key(context.address("mix", 0))).shuffle(rows))
