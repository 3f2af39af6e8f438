"""What sampling computes of each token, kept for the update that would compute the same once more.

Sampler and learner give a token the same bits (`models.fused`, `models.layers`). So the first update after a rollout,
whose weights are those that sampled, need not run its products and its attention forward again: the sampler writes
their results down, and the learner reads them (`models.replay`). Everything between them (norms, rotation, gates, sums)
is quick and computed again.

Rows of the recording are taken in the order in which tokens go through the network. Which rows are a sequence's, the
sampler says when it ends; they are found again by its token ids, and only while the weights are still the ones that
computed them.

What it does not do: decide what is recorded (`rl.grpo` opens it for a rollout, `policy.engine` writes), or grow beyond
its budget: a call that could need more is not recorded at all.
"""

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from zero2r1.models.kernels.gradients import Picked
from zero2r1.models.kernels.ops import Kernels
from zero2r1.models.kernels.protocol import AnyHead, AnyKernels
from zero2r1.models.save import Counters, counters_of

GIB = 2**30


class Outputs(NamedTuple):
    """Of one layer, what products and attention gave for T tokens."""

    qkv: Float[Tensor, "T HHHD"]
    """Queries, keys and values side by side, before heads are normed and rotated."""
    mixed: Float[Tensor, "T HD"]
    """What attention gave."""
    output: Float[Tensor, "T E"]
    """What the attention's last product gave."""
    gate_up: Float[Tensor, "T FF"]
    """Gate and up side by side."""
    down: Float[Tensor, "T E"]


Part = Literal["qkv", "mixed", "output", "gate_up", "down"]
"""A field of `Outputs`."""


class Known:
    """Outputs of some tokens and one layer that were computed before."""

    def __init__(self, room: Outputs, rows: Int64[Tensor, " T"], kernels: Kernels) -> None:
        self._room, self._rows, self._kernels = room, rows, kernels

    def picked(self, part: Part) -> Picked:
        """They themselves."""
        return Picked(getattr(self._room, part), self._rows)

    def copied(self, part: Part) -> Float[Tensor, "T W"]:
        """In memory of their own."""
        return self._kernels.gather(*self.picked(part))


Reader = Sequence[Known]
"""By layer."""


class Layout(NamedTuple):
    """What a network's recording is made of."""

    layers: int
    widths: tuple[int, int, int, int, int]
    """Numbers a token and layer, in the order of `Outputs`."""
    vocabulary: int
    """Numbers of a token's gradient by the logits; 0: what is chosen is not recorded."""
    dtype: torch.dtype

    @property
    def bytes_per_token(self) -> int:
        """(layers * sum of widths + vocabulary) * bytes of a number + 8. Ours: the definition."""
        return (self.layers * sum(self.widths) + self.vocabulary) * self.dtype.itemsize + 8


class Choices(NamedTuple):
    """What was said of the tokens that n rows were followed by."""

    logprobs: Float32[Tensor, " n"]
    """In nats, at the temperature of the sampling."""
    entropy: Float32[Tensor, " n"]
    """Of the whole distribution, in nats."""
    slopes: Picked
    """[n, V] softmax(logits / temperature) - onehot(token), in the network's dtype: rows of the recording."""


class Recording:
    """Rows of outputs, and whose they are.

    Attributes:
        is_open: sampling is to be recorded.
        used: rows taken.
    """

    def __init__(self, gib: float) -> None:
        """
        Args:
            gib: most memory, in GiB. It is reserved as address space and taken as rows are written.
        """
        self._budget = int(gib * GIB)
        self._layout: Layout | None = None
        self._rooms: list[Outputs] = []
        self._slopes = self._figures = torch.empty(0)
        self._temperature = 1.0
        self._rows: dict[tuple[int, ...], Int64[Tensor, " T"]] = {}
        self._weights: Counters = ()
        self._kernels: Kernels | None = None
        self.is_open = False
        self.used = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Forgets what there is; inside, sampling is recorded."""
        self.forget()
        self.is_open = True
        try:
            yield
        finally:
            self.is_open = False

    def forget(self) -> None:
        """Whoever changes the weights says so: not every optimizer leaves a trace that `counters_of` sees."""
        self._rows.clear()
        self.used = 0

    def begin(self, model: nn.Module, layout: Layout, kernels: AnyKernels, *, tokens: int, temperature: float) -> bool:
        """Makes room for a call of the sampler that may compute `tokens` tokens; False where the budget is too small.

        Args:
            model: whose weights compute them. Those of other weights are forgotten.
            temperature: of the sampling; the choices of another one are not recorded.
        """
        weights = counters_of(model)
        if (weights, layout) != (self._weights, self._layout):
            self.forget()
        if not self.used:
            self._temperature = temperature
        capacity = self._budget // layout.bytes_per_token
        if not self.is_open or self.used + tokens > capacity:
            return False
        if layout != self._layout and not self._make_rooms(capacity, layout):
            return False
        assert isinstance(kernels, Kernels)  # a network has a layout only where its products are the CPU's kernels
        self._weights, self._layout, self._kernels = weights, layout, kernels
        return True

    def _make_rooms(self, capacity: int, layout: Layout) -> bool:
        """Room for as many rows as there can ever be; False where the system promises no more than it has.

        Ours: what one rollout wrote to, the next one finds: new memory costs more than writing to it.
        """
        self._layout, self._rooms, self._slopes = None, [], torch.empty(0)  # the old ones go before the new ones come
        widths = [*layout.layers * layout.widths, layout.vocabulary]
        try:
            with torch.inference_mode(False):  # a sampler may be in it, and a learner keeps views for its gradient
                *parts, self._slopes = _rooms(capacity, widths, layout.dtype)
        except OSError:
            return False
        self._rooms = [Outputs(*parts[first : first + 5]) for first in range(0, len(parts), 5)]
        self._figures = torch.empty(2, capacity)
        return True

    def take(self, count: int) -> list[Outputs] | None:
        """By layer, the next rows to write to; None where there are not so many left. They are `used` - count on."""
        start, end = self.used, self.used + count
        if end > len(self._rooms[0].qkv):
            return None
        self.used = end
        self._figures[:, start:end] = torch.nan
        return [Outputs(*(part[start:end] for part in room)) for room in self._rooms]

    def choose(
        self, logits: Float32[Tensor, "n V"], tokens: Int64[Tensor, " n"], head: AnyHead, *, temperature: float
    ) -> None:
        """Which tokens the last n rows are followed by, and of which logits they were drawn.

        All choices of a recording have one temperature; others are not recorded.
        """
        if not self._layout or not self._layout.vocabulary or temperature != self._temperature:
            return
        rows = slice(self.used - len(logits), self.used)
        found = head.read_logits(logits, tokens, self._slopes[rows], inverse=1.0 / temperature)
        self._figures[0, rows], self._figures[1, rows] = found[:2]

    def name(self, token_ids: Sequence[int], rows: Int64[Tensor, " T"]) -> None:
        """Says which rows are those of a sequence's tokens, but for the last one, which nothing was computed of.

        Args:
            rows: [len(token_ids) - 1]; a negative one was not recorded, and then the sequence is not.
        """
        if bool((rows >= 0).all()):
            self._rows[tuple(token_ids)] = rows

    def is_of(self, model: nn.Module) -> bool:
        """Whether there is something here, computed by the weights that the model has now."""
        return bool(self._rows) and counters_of(model) == self._weights

    def find(self, token_ids: Int64[Tensor, " T"]) -> Int64[Tensor, " _"] | None:
        """[T - 1] the rows of a sequence, when it was recorded."""
        return self._rows.get(tuple(token_ids.tolist()))

    def reader(self, rows: Int64[Tensor, " T"]) -> Reader:
        """What these rows hold, until something else is recorded."""
        assert self._kernels is not None
        return [Known(room, rows, self._kernels) for room in self._rooms]

    def choices(self, rows: Int64[Tensor, " n"], *, temperature: float) -> Choices | None:
        """What was said of the tokens after these rows, where it was recorded of all of them, at this temperature."""
        logprobs, entropy = self._figures[:, rows]
        if temperature != self._temperature or bool(logprobs.isnan().any()):
            return None
        return Choices(logprobs, entropy, Picked(self._slopes, rows))


def _rooms(rows: int, widths: Sequence[int], dtype: torch.dtype) -> list[Tensor]:
    """[rows, width] for each width, in memory that is taken from the system when it is written to."""
    arena = mmap.mmap(-1, rows * sum(widths) * dtype.itemsize)
    parts = torch.frombuffer(arena, dtype=dtype).split([rows * width for width in widths])
    return [part.view(rows, width) for part, width in zip(parts, widths, strict=True)]
