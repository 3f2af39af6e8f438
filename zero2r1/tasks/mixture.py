"""Several tasks as one, by weight, addressable like each of them.

What is not here: weights that change over training (a curriculum is a sequence of stages).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar, runtime_checkable

from zero2r1.core.errors import DataError
from zero2r1.core.random import Address, Stream, key
from zero2r1.core.types import Prompt, Task
from zero2r1.tasks.splits import TRAIN, check_split
from zero2r1.tasks.synthetic import Problem, ProblemSource

Item = TypeVar("Item")
Place = tuple[int, int]
"""Index of a part, index inside the part."""
CYCLE = 240
"""Places in one cycle of a mixture: weights are kept to 1/240, exactly, in every cycle."""


@runtime_checkable
class Counted(Protocol):
    """A task that knows how many prompts a split has (None: endless or unknown)."""

    def num_prompts(self, split: str) -> int | None: ...


class Mixture:
    """Several tasks by weight: of every 240 prompts in a row each task has exactly its share, in a random order.

    Which task gives prompt i, and which of its prompts, is a function of (seed, split, i) alone. Tasks without
    prompts in a split are left out of it. Implements `Task` and `ProblemSource`.
    """

    def __init__(self, parts: Sequence[tuple[Task, float | int]], *, seed: int) -> None:
        if not 1 <= len(parts) <= CYCLE:
            raise ValueError(f"a mixture is made of 1 to {CYCLE} tasks, got {len(parts)}")
        self.name = "+".join(dict.fromkeys(task.name for task, _ in parts))
        self._parts = list(parts)
        self._seed = seed

    def num_prompts(self, split: str) -> int | None:
        """0 when no part has prompts in this split, else None: not known without drawing them."""
        return None if any(_has_prompts(task, split) for task, _ in self._parts) else 0

    def draw(self, count: int, *, start: int = 0, split: str = TRAIN) -> list[Prompt]:
        """Prompts `start` to `start + count - 1` of a split."""
        return self._gather(self._places(count, start, split), lambda task: partial(task.draw, split=split))

    def problems(self, count: int, *, start: int = 0, split: str = TRAIN) -> list[Problem]:
        """The problems behind `draw`. DataError (Z136) when a part has no worked solutions."""
        return self._gather(
            self._places(count, start, split), lambda task: partial(_solved(task).problems, split=split)
        )

    def _gather(self, places: Sequence[Place], source_of: Callable[[Task], Callable[..., list[Item]]]) -> list[Item]:
        """What the parts hold at these places; each part is asked once, for one block."""
        blocks: dict[int, tuple[int, list[Item]]] = {}
        for part, (first, last) in _ranges(places).items():
            blocks[part] = (first, source_of(self._parts[part][0])(last - first + 1, start=first))
        return [blocks[part][1][rank - blocks[part][0]] for part, rank in places]

    def _places(self, count: int, start: int, split: str) -> list[Place]:
        """The part and the index inside it of each prompt."""
        check_split(split)
        parts = [index for index, (task, _) in enumerate(self._parts) if _has_prompts(task, split)]
        if not parts:
            raise DataError("Z135", f"no task of '{self.name}' has prompts in the {split} split")
        slots = _slots([self._parts[part][1] for part in parts])
        per_cycle = Counter(slots)
        places: list[Place] = []
        for cycle in range(start // CYCLE, (start + count + CYCLE - 1) // CYCLE):
            address = Address(seed=self._seed, stage="tasks", step=cycle)
            ranks = {slot: cycle * size for slot, size in per_cycle.items()}
            for slot in Stream(key(address, "mixture", split)).shuffle(slots):
                places.append((parts[slot], ranks[slot]))
                ranks[slot] += 1
        offset = start % CYCLE
        return places[offset : offset + count]


def _solved(task: Task) -> ProblemSource:
    if isinstance(task, ProblemSource):
        return task
    raise DataError("Z136", f"task '{task.name}' has no worked solutions", fix="use generated families only")


def _has_prompts(task: Task, split: str) -> bool:
    return not isinstance(task, Counted) or task.num_prompts(split) != 0


def _slots(weights: Sequence[float | int]) -> list[int]:
    """CYCLE places shared out in proportion to the weights (largest remainder), at least one each."""
    total = sum(weights)
    exact = [weight / total * CYCLE for weight in weights]
    sizes = [max(1, int(share)) for share in exact]
    while sum(sizes) != CYCLE:
        step = 1 if sum(sizes) < CYCLE else -1
        # The part furthest below (or above) its exact share; a part with one place keeps it.
        candidates = [part for part, size in enumerate(sizes) if step == 1 or size > 1]
        sizes[max(candidates, key=lambda part: step * (exact[part] - sizes[part]))] += step
    return [part for part, size in enumerate(sizes) for _ in range(size)]


def _ranges(places: Sequence[Place]) -> dict[int, tuple[int, int]]:
    """First and last index of each part; between them all are used, because a part's prompts come in order."""
    ranges: dict[int, tuple[int, int]] = {}
    for part, rank in places:
        first, last = ranges.get(part, (rank, rank))
        ranges[part] = (min(first, rank), max(last, rank))
    return ranges
