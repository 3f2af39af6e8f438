"""Packing: several sequences laid end to end in one row, so that no computation is spent on padding.

Sequences may share what they begin with: the samples of one prompt have its tokens once in a row, and the network
computes them once. Its gradient then is the sum over the samples, as it would be from copies.

What it does not do: it never cuts a sequence; one longer than the budget gets a pack of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

LEAST_SHARED = 8
"""Ours: fewer tokens than this are computed sooner than they are looked up."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Some sequences as one row of T tokens."""

    token_ids: Int[Tensor, " T"]
    """The sequences end to end, without what a sequence shares with an earlier one."""
    position_ids: Int[Tensor, " T"]
    """Position of each token in its own sequence, from 0."""
    places: tuple[Int[Tensor, " _"], ...]
    """For each sequence, where each of its tokens stands in the row."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each sequence; they sum to T unless some are shared."""
        return tuple(map(len, self.places))

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Cuts [T, ...] values into one tensor a sequence."""
        return tuple(values[place] for place in self.places)


def pack(
    sequences: Sequence[Int[Tensor, " _"] | Sequence[int]],
    *,
    families: Sequence[int] = (),
    contexts: Sequence[int] = (),
) -> Pack:
    """Lays the sequences end to end. Positions start at 0 in each. ValueError for none or an empty one.

    Args:
        families, contexts: sequences of the same family begin with the same `contexts[i]` tokens; see `families_of`.
            None given: nothing is shared.
    """
    rows = [torch.as_tensor(sequence, dtype=torch.long) for sequence in sequences]
    if not rows or any(len(row) == 0 for row in rows):
        raise ValueError("a pack holds at least one sequence and no empty one")
    trunks: dict[int, Tensor] = {}
    tokens, positions, places = [], [], []
    total = 0
    for number, row in enumerate(rows):
        trunk = trunks.get(families[number]) if families else None
        start = 0 if trunk is None else len(trunk)
        own = torch.arange(total, total + len(row) - start, device=row.device)
        places.append(own if trunk is None else torch.cat([trunk, own]))
        if trunk is None and families:
            trunks[families[number]] = places[-1][: contexts[number]]
        tokens.append(row[start:])
        positions.append(torch.arange(start, len(row), device=row.device))
        total += len(own)
    return Pack(token_ids=torch.cat(tokens), position_ids=torch.cat(positions), places=tuple(places))


def families_of(sequences: Sequence[Int[Tensor, " _"]], contexts: Sequence[int]) -> list[int]:
    """A number for each sequence, the same where the first `contexts[i]` tokens are the same.

    Contexts of less than LEAST_SHARED tokens are nobody's but their own.

    Args:
        contexts: tokens of each sequence that it may share, at most all it has.
    """
    found: dict[tuple[int, ...] | int, int] = {}
    numbers = []
    for number, (sequence, context) in enumerate(zip(sequences, contexts, strict=True)):
        key = tuple(sequence[:context].tolist()) if context >= LEAST_SHARED else number
        numbers.append(found.setdefault(key, len(found)))
    return numbers


def plan(
    lengths: Sequence[int], max_tokens: int, *, families: Sequence[int] = (), contexts: Sequence[int] = ()
) -> list[list[int]]:
    """Sorts sequences into packs of at most `max_tokens` tokens; returns the indices of each pack.

    Best fit over the sequences from long to short, families together: each goes to a pack that has its family, or else
    to the fullest one that still has room for it. So packs are few and nearly full. Deterministic: ties go to the
    earlier pack and the lower index.

    Args:
        lengths: tokens of each sequence, all positive.
        max_tokens: budget of a pack in tokens, shared ones counted once; a longer sequence gets a pack of its own.
        families, contexts: as for `pack`.

    Raises:
        ValueError: max_tokens is not positive, or a length is not.

    Source: Ours: best-fit decreasing, the textbook heuristic for bin packing.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is a positive number of tokens, got {max_tokens}")
    if lengths and min(lengths) < 1:
        raise ValueError("every sequence has at least one token")
    families = families or range(len(lengths))
    contexts = contexts or [0] * len(lengths)
    longest: dict[int, tuple[int, int]] = {}
    for index, (family, length) in enumerate(zip(families, lengths, strict=True)):
        longest[family] = min(longest.get(family, (0, index)), (-length, index))
    packs: list[list[int]] = []
    room: list[int] = []
    has: list[set[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (longest[families[i]], -lengths[i], i)):
        family = families[index]
        costs = [lengths[index] - (contexts[index] if family in there else 0) for there in has]
        fitting = [which for which, free in enumerate(room) if free >= costs[which]]
        if fitting:
            best = min(fitting, key=lambda which: (family not in has[which], room[which], which))
            room[best] -= costs[best]
        else:
            best = len(packs)
            packs.append([])
            has.append(set())
            room.append(max_tokens - lengths[index])
        packs[best].append(index)
        has[best].add(family)
    return [sorted(members) for members in packs]
