"""What a recording of the sampling holds and spares (`models/recording.py`).

What it does not do: rollouts of which preemption computes a part again; they are recorded as far as the room goes.
"""

from dataclasses import dataclass

from zero2r1.pipeline.planning.memory import BYTES, Running
from zero2r1.pipeline.planning.sampling import GIB
from zero2r1.pipeline.planning.shapes import Shape
from zero2r1.pipeline.planning.workload import Workload
from zero2r1.stages.config import StageBase, recording_gib

COMPUTED_FRAC = 1 / 16
"""Of recorded rows, those that are computed all the same; a test holds that it is `learner.replaying`'s own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Of one rollout."""

    held: int = 0
    """Bytes."""
    read: float = 0.0
    """Share of an update's tokens that is read instead of computed."""


NOTHING = Recorded()
"""No recording."""


def bytes_per_token(shape: Shape, dtype: str) -> int:
    """(layers (H D + H_kv (D + D_v) + H D_v + 2 E + 2 I) + V) b + 8.

    Queries, keys and values, what attention gives, what its product and the feed-forward's give, gate and up; the
    gradient by the logits; log-probability and entropy.
    Ours: as `models/recording.py`.
    """
    heads = shape.heads * (shape.key_width + shape.value_width)
    cached = shape.kv_heads * (shape.key_width + shape.value_width)
    layer = heads + cached + 2 * shape.hidden + 2 * shape.intermediate
    return (shape.layers * layer + shape.vocab) * BYTES[dtype] + 8


def recorded(stage: StageBase, work: Workload, shape: Shape, running: Running) -> Recorded:
    """What a stage's rollouts record: all of it, or nothing where the budget might not hold it.

    Ours: as `policy/engine.py` decides: a call counts with all its prompts and each answer's whole budget.
    """
    budget, call = int(recording_gib(stage) * GIB), work.rollout
    is_made = running.is_recordable and stage.learner.lora is None and stage.sampler.backend == "engine"
    if call is None or not budget or not is_made:
        return NOTHING
    each = bytes_per_token(shape, stage.learner.compute_dtype)
    if each * (call.answers * call.budget + call.prompts * work.prompt) > budget:
        return NOTHING
    tokens = call.answers * call.response + call.prompts * (work.prompt - 1)
    return Recorded(held=round(tokens * each), read=1 - COMPUTED_FRAC)
