"""The learner: a blind `step(batch, loss)`.

SFT, reinforcement learning and distillation are the same step with another loss. Rows are packed into micro-batches of
`micro_tokens` tokens; since the weights of a batch are global, the cut changes memory and speed only. Rows that begin
with the same prompt share it: in a pass its tokens are computed once.

A row whose loss has no gradient (`Row.has_gradient`; in RL one of a group without variance, when there is no KL term)
goes through the network once, for its metrics, and not back.

A loss or gradient that is NaN or infinite changes nothing: no parameter, no optimizer state. It is counted, and after
`max_nonfinite_in_a_row` such updates the run stops with the last checkpoint intact. A batch without any token under
the loss changes nothing either.

With `lora` in its settings only adapters are trained (`learner/lora.py`); optimizer, checkpoints and frozen policies
then hold those alone.

What it does not do: no randomness (the network runs without dropout), no logging, no schedule of evaluations.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from zero2r1.core.errors import RunError
from zero2r1.learner.base import Batch, Loss, Row, Tokens
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.lora import add_adapters, refuse_adapted
from zero2r1.learner.optimizer import Optimizer
from zero2r1.learner.replaying import choices, spared, where
from zero2r1.learner.schedule import lr_at
from zero2r1.learner.totals import Totals
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.gathering import Gather
from zero2r1.models.head import Head, head_of
from zero2r1.models.layers import quicken_here
from zero2r1.models.logprobs import token_logprobs
from zero2r1.models.packing import families_of, pack, plan
from zero2r1.models.precision import deterministic, settled
from zero2r1.models.recording import Recording
from zero2r1.models.replay import is_replayable, replaying
from zero2r1.models.save import weights_hash
from zero2r1.models.sending import sent


class Learner:
    """Owns the parameters of a model (shared in place with the sampler) and their optimizer.

    Attributes:
        attempts: steps asked for, the skipped ones included; the learning rate follows it.
        version: updates that changed the parameters; names the weights.
        base_hash: with `lora`, the hash of the weights the adapters are put on; None without.
    """

    def __init__(self, model: PreTrainedModel, config: LearnerConfig, *, total_steps: int) -> None:
        refuse_adapted(model)
        self.model = model.eval().requires_grad_(True)
        self.config = config = config.model_copy(update={"compute_dtype": settled(config.compute_dtype, model.device)})
        self.base_hash: str | None = None
        if config.lora is not None:
            self.base_hash = weights_hash(model)
            add_adapters(model, config.lora)
        self.total_steps = total_steps
        self.optimizer = Optimizer(model, config)
        # Only now has the model the dtype it computes with.
        kernels = quicken_here(model) if config.kernels == "auto" else None
        self._head_kernels = None if kernels is None else kernels.head
        self._attention_kernels = None if kernels is None else kernels.attention
        self.attempts = 0
        self.version = 0
        self.nonfinite_in_a_row = 0

    def step(self, batch: Batch, loss: Loss, recording: Recording | None = None) -> dict[str, float]:
        """One parameter update, or none when the numbers are not sound.

        Args:
            recording: of the sampling of these rows. What it has of them is read instead of computed.

        Returns:
            `loss`, `grad_norm` (before clipping), `lr`, `tokens` (under the loss), `nonfinite` (1.0 when skipped),
            and for each metric of the loss `<metric>/mean` and `<metric>/max` over those tokens; with a recording
            `replayed`, the share of them that was read from it.

        Raises:
            RunError: too many updates in a row were not finite.
        """
        rows = [row for row in batch.rows if bool(row.loss_mask.any())]
        lr = self._lr()
        self.attempts += 1
        self.optimizer.clear()
        totals = Totals()
        chosen = self._replays(rows, recording)
        for some, run in zip(_by_gradient(rows), (self._learn, self._look), strict=True):
            for members in self._passes([row for row in some if id(row) not in chosen]):
                run(members, batch.temperature, loss, totals, None)
            for members in self._passes([row for row in some if id(row) in chosen]):
                run(members, batch.temperature, loss, totals, recording)
        norm = self.optimizer.grad_norm()
        figures = totals.figures() | {"grad_norm": float(norm), "lr": lr}
        if recording is not None:
            read = sum(int(row.loss_mask.sum()) for row in rows if id(row) in chosen)
            figures["replayed"] = read / max(1.0, figures["tokens"])
        is_finite = math.isfinite(figures["loss"]) and math.isfinite(figures["grad_norm"])
        figures["nonfinite"] = 0.0 if is_finite else 1.0
        if is_finite and rows:
            self.optimizer.apply(lr=lr, grad_clip=self.config.grad_clip, grad_norm=norm)
            self.version += 1
            if recording is not None:
                recording.forget()
        self.optimizer.clear()
        self._count(is_finite)
        return figures

    def logprobs(self, batch: Batch, parameters: Mapping[str, Tensor] | None = None) -> list[Float[Tensor, " _"]]:
        """Log-probabilities in nats, one tensor a row: entry t of token t where `loss_mask` is True, 0.0 elsewhere.

        With `parameters` (from `snapshot`, e.g. the frozen reference policy) the network runs with those instead of
        its own.
        """
        answers = [torch.zeros(len(row.token_ids)) for row in batch.rows]
        with torch.no_grad(), using(self.model, parameters):
            asked = [i for i, row in enumerate(batch.rows) if bool(row.loss_mask.any())]
            for members in self._plan([batch.rows[i] for i in asked]):
                rows = [batch.rows[asked[i]] for i in members]
                values = self._forward(rows, batch.temperature)[0].cpu()
                parts = values.split([int(row.loss_mask.sum()) for row in rows])
                for i, row, part in zip(members, rows, parts, strict=True):
                    answers[asked[i]][row.loss_mask] = part
        return answers

    @property
    def head(self) -> Head:
        """Hidden states to logits, as this learner computes them."""
        return head_of(self.model, self._head_kernels)

    def _passes(self, rows: Sequence[Row]) -> list[list[Row]]:
        return [[rows[i] for i in members] for members in self._plan(rows)]

    def _plan(self, rows: Sequence[Row]) -> list[list[int]]:
        """Which rows go through the network together."""
        lengths = [len(row.token_ids) - 1 for row in rows]
        return plan(lengths, self.config.micro_tokens, **_shared(rows))

    def _replays(self, rows: Sequence[Row], recording: Recording | None) -> set[int]:
        """Which rows are read from the recording, by `id`."""
        if recording is None or not recording.is_of(self.model):
            return set()
        if self.config.activation_checkpointing or not is_replayable(self.model):
            return set()
        is_there = [recording.find(row.token_ids) is not None for row in rows]
        return {id(rows[index]) for index in spared(is_there, turn=self.attempts)}

    def _learn(
        self, rows: Sequence[Row], temperature: float, loss: Loss, totals: Totals, recording: Recording | None
    ) -> None:
        """Forward and backward of one micro-batch."""
        recompute = self.config.activation_checkpointing
        logprobs, entropy = self._forward(rows, temperature, recompute=recompute, recording=recording)
        tokens = self._tokens(rows, is_replayed=recording is not None)
        value, metrics = self._value(loss, logprobs, entropy, tokens)
        value.backward()
        self.optimizer.collect()
        totals.add(value, metrics)

    def _look(
        self, rows: Sequence[Row], temperature: float, loss: Loss, totals: Totals, recording: Recording | None
    ) -> None:
        """Forward only."""
        with torch.no_grad():
            logprobs, entropy = self._forward(rows, temperature, recording=recording)
            tokens = self._tokens(rows, is_replayed=recording is not None)
            totals.add(*self._value(loss, logprobs, entropy, tokens))

    def _value(self, loss: Loss, logprobs: Tensor, entropy: Tensor, tokens: Tokens) -> tuple[Tensor, dict[str, Tensor]]:
        """What the loss gives. On a GPU its sums over a row's tokens would be in any order."""
        with deterministic(warn_only=True) if self.model.device.type == "cuda" else nullcontext():
            return loss(logprobs, entropy, tokens)

    def _forward(
        self,
        rows: Sequence[Row],
        temperature: float,
        *,
        recompute: bool = False,
        recording: Recording | None = None,
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Log-probability and entropy of the n tokens under the loss of one micro-batch.

        The last token of a row predicts nothing here, so the network does not see it.
        """
        device = self.model.device
        packed = pack([row.token_ids[:-1] for row in rows], **_shared(rows))
        context = PackedContext(packed.lengths, places=packed.places, device=device, kernels=self._attention_kernels)
        positions = sent(packed.position_ids, device)
        read = None if recording is None else recording.reader(where(rows, packed, recording))
        with replaying(self.model, read):
            hidden = hidden_states(self.model, sent(packed.token_ids, device), positions, context, recompute=recompute)
        # Only the tokens before those under the loss get logits, and prompts never do.
        before = [place[row.loss_mask[1:]] for row, place in zip(rows, packed.places, strict=True)]
        targets = torch.cat([row.token_ids[row.loss_mask] for row in rows])
        states = Gather(torch.cat(before), len(hidden), device)(hidden)
        known = None if recording is None else choices(rows, recording, temperature=temperature)
        return token_logprobs(self.head, states, sent(targets, device), temperature=temperature, known=known)

    def _tokens(self, rows: Sequence[Row], *, is_replayed: bool) -> Tokens:
        """The tokens under the loss, with what the loss reads of them."""
        device, under_loss = self.model.device, _under_loss(rows)
        owner = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(row.token_ids) for row in rows]))
        return Tokens(
            weights=sent(torch.cat([row.weights for row in rows])[under_loss], device),
            segment=sent(owner[under_loss], device),
            num_segments=len(rows),
            is_replayed=is_replayed,
            streams={
                name: sent(torch.cat([row.streams[name] for row in rows])[under_loss], device)
                for name in rows[0].streams
            },
        )

    def _lr(self) -> float:
        config = self.config
        return lr_at(
            self.attempts,
            peak=config.lr,
            schedule=config.schedule,
            warmup_steps=config.warmup_steps,
            total_steps=self.total_steps,
            min_lr_frac=config.min_lr_frac,
        )

    def _count(self, is_finite: bool) -> None:
        self.nonfinite_in_a_row = 0 if is_finite else self.nonfinite_in_a_row + 1
        if self.nonfinite_in_a_row >= self.config.max_nonfinite_in_a_row:
            raise RunError(
                "Z407",
                f"{self.nonfinite_in_a_row} updates in a row had a NaN or infinite loss or gradient",
                where=f"update {self.attempts}",
                why="the weights are as they were before the first of them; going on would not change them",
                fix="lower learner.lr or learner.grad_clip and resume from the last checkpoint",
            )


def _shared(rows: Sequence[Row]) -> dict[str, list[int]]:
    """What `plan` and `pack` are told: which rows begin with the same tokens before their first one under the loss."""
    contexts = [int(row.loss_mask.int().argmax()) for row in rows]
    return {"families": families_of([row.token_ids for row in rows], contexts), "contexts": contexts}


def _under_loss(rows: Sequence[Row]) -> Tensor:
    """Where the tokens under the loss stand in the rows laid end to end."""
    return torch.cat([row.loss_mask for row in rows]).nonzero()[:, 0]


def _by_gradient(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows to run backward, and those that are only looked at.

    A batch of rows without a gradient keeps one among the first: the optimizer's moments go on to decay, with a
    gradient of 0.
    """
    live = [row for row in rows if row.has_gradient]
    flat = [row for row in rows if not row.has_gradient]
    return (live, flat) if live else (flat[:1], flat[1:])


@contextmanager
def using(model: PreTrainedModel, parameters: Mapping[str, Tensor] | None) -> Iterator[None]:
    """Runs the body with other values in the trained parameters and puts the own ones back, whatever happens.

    Ours: exchanging the storage costs nothing; a second module would cost its buffers and a second set of checks.
    Only for passes without gradient.
    """
    own = trained_parameters(model) if parameters is not None else {}
    kept = {name: parameter.data for name, parameter in own.items()}
    if parameters is not None and parameters.keys() != own.keys():
        raise ValueError("the parameters given are not those of this model")
    try:
        for name, parameter in own.items():
            parameter.data = (parameters or {})[name]
        yield
    finally:
        for name, parameter in own.items():
            parameter.data = kept[name]


def snapshot(model: PreTrainedModel) -> dict[str, Tensor]:
    """A copy of all trained parameters by name: a frozen policy. What is not trained stays as it is, in the model."""
    return {name: parameter.detach().clone() for name, parameter in trained_parameters(model).items()}


def trained_parameters(model: PreTrainedModel) -> dict[str, Tensor]:
    """The parameters that a learner of this model changes, by name: all, or the adapters alone. Not copies."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
