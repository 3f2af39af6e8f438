"""Packing: several sequences laid end to end in one row, so that no computation is spent on padding.

What it does not do: it never cuts a sequence; one longer than the budget gets a pack of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Pack:
    """Some sequences as one row of T tokens."""

    token_ids: Int[Tensor, " T"]
    """The sequences end to end."""
    position_ids: Int[Tensor, " T"]
    """Position of each token in its own sequence, from 0."""
    lengths: tuple[int, ...]
    """Tokens of each sequence; they sum to T."""

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Cuts [T, ...] values into one tensor a sequence."""
        return values.split(self.lengths)


def pack(sequences: Sequence[Int[Tensor, " _"] | Sequence[int]]) -> Pack:
    """Lays the sequences end to end. Positions start at 0 in each. ValueError for none or an empty one."""
    rows = [torch.as_tensor(sequence, dtype=torch.long) for sequence in sequences]
    if not rows or any(len(row) == 0 for row in rows):
        raise ValueError("a pack holds at least one sequence and no empty one")
    lengths = tuple(len(row) for row in rows)
    positions = torch.cat([torch.arange(length, device=rows[0].device) for length in lengths])
    return Pack(token_ids=torch.cat(rows), position_ids=positions, lengths=lengths)


def plan(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Sorts sequences into packs of at most `max_tokens` tokens; returns the indices of each pack.

    Best fit over the sequences from long to short: each goes to the fullest pack that still has room for it. So
    packs are few and nearly full. Deterministic: ties go to the earlier pack and the lower index.

    Args:
        lengths: tokens of each sequence, all positive.
        max_tokens: budget of a pack in tokens; a longer sequence gets a pack of its own.

    Raises:
        ValueError: max_tokens is not positive, or a length is not.

    Source: Ours: best-fit decreasing, the textbook heuristic for bin packing.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is a positive number of tokens, got {max_tokens}")
    if lengths and min(lengths) < 1:
        raise ValueError("every sequence has at least one token")
    packs: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        fitting = [which for which, free in enumerate(room) if free >= lengths[index]]
        if fitting:
            best = min(fitting, key=lambda which: (room[which], which))
        else:
            best = len(packs)
            packs.append([])
            room.append(max_tokens)
        packs[best].append(index)
        room[best] -= lengths[index]
    return [sorted(members) for members in packs]
