"""Supervised fine-tuning as a generator of updates. The caller logs, saves and stops.

The order of the examples is a pure function of (address, epoch): step s of a run is the same whether the run came
there in one go or was resumed at step s, inside an epoch or at its edge. So the step number is the whole cursor.

What it does not do: evaluation, checkpoints. The last batch of an epoch may be smaller; it is a full update.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from zero2r1.core.random import Address, Stream, key
from zero2r1.learner.learner import Learner
from zero2r1.sft.data import Example, to_batch
from zero2r1.sft.loss import cross_entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTUpdate:
    """One parameter update, as told to the caller."""

    step: int
    """Number of the update, from 1; also the cursor: resume with `start=step`."""
    epoch: int
    """Pass over the examples this update belongs to, from 0."""
    metrics: Mapping[str, float]
    """`loss`, `nll/mean`, `entropy/mean`, `grad_norm`, `lr`, `tokens`, `nonfinite`, `epoch`."""


def steps_per_epoch(num_examples: int, batch_rows: int) -> int:
    """Updates of one pass over the examples: num_examples / batch_rows, rounded up."""
    return -(-num_examples // batch_rows)


def sft(
    *,
    learner: Learner,
    examples: Sequence[Example],
    batch_rows: int,
    steps: int,
    address: Address,
    start: int = 0,
) -> Iterator[SFTUpdate]:
    """Updates `start + 1` to `steps`, each on the next `batch_rows` examples of the epoch's order.

    Args:
        examples: from `sft.data.encode_all`.
        steps: updates of the whole run; `epochs * steps_per_epoch(len(examples), batch_rows)` for whole epochs.
        address: where the randomness of the order comes from; its step is ignored, the epoch takes its place.
        start: updates already done.
    """
    if not examples:
        raise ValueError("supervised fine-tuning needs at least one example")
    per_epoch = steps_per_epoch(len(examples), batch_rows)
    order: list[int] = []
    order_of = -1
    for done in range(start, steps):
        epoch, position = divmod(done, per_epoch)
        if epoch != order_of:
            order, order_of = epoch_order(len(examples), epoch, address), epoch
        chosen = order[position * batch_rows : (position + 1) * batch_rows]
        figures = learner.step(to_batch([examples[i] for i in chosen]), cross_entropy)
        wanted = ("loss", "nll/mean", "entropy/mean", "grad_norm", "lr", "tokens", "nonfinite")
        metrics = {name: figures[name] for name in wanted if name in figures} | {"epoch": float(epoch)}
        yield SFTUpdate(step=done + 1, epoch=epoch, metrics=metrics)


def epoch_order(num_examples: int, epoch: int, address: Address) -> list[int]:
    """A permutation of the examples, a pure function of its arguments."""
    place = Address(seed=address.seed, stage=address.stage, step=epoch)
    return Stream(key(place, "sft-order")).shuffle(range(num_examples))
