"""Which rows of an update are read from the recording of their sampling, and which are computed all the same.

What it does not do: read (`models.replay`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from zero2r1.learner.base import Row
from zero2r1.models.packing import Pack
from zero2r1.models.recording import Choices, Recording

COMPUTED_FRAC = 1 / 16
"""Ours: of the rows that could be read, so many are computed, at least one. On them sampler and learner are compared in
each update; what is read would be compared with itself."""


def spared(recorded: Sequence[bool], *, turn: int) -> list[int]:
    """The indices of recorded rows that need not be computed.

    Those that are computed all the same follow one another, so that they are likely to share a prompt, and are others
    in each turn.

    Args:
        turn: number of the update.

    Ours: see COMPUTED_FRAC.
    """
    there = [index for index, is_there in enumerate(recorded) if is_there]
    count = max(1, round(len(there) * COMPUTED_FRAC))
    first = turn * count % max(1, len(there))
    return sorted((there[first:] + there[:first])[count:])


def where(rows: Sequence[Row], packed: Pack, recording: Recording) -> Int64[Tensor, " T"]:
    """The rows of the recording for the tokens of a pack."""
    found = torch.empty(len(packed.token_ids), dtype=torch.long)
    for row, place in zip(rows, packed.places, strict=True):
        found[place] = _rows_of(row, recording)
    return found


def choices(rows: Sequence[Row], recording: Recording, *, temperature: float) -> Choices | None:
    """What the recording has of the tokens under the loss, laid end to end."""
    asked = [_rows_of(row, recording)[row.loss_mask[1:]] for row in rows]
    return recording.choices(torch.cat(asked), temperature=temperature)


def _rows_of(row: Row, recording: Recording) -> Int64[Tensor, " _"]:
    found = recording.find(row.token_ids)
    assert found is not None
    return found
