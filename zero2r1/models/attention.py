"""One attention for every network, given by whoever calls the network.

Networks come from transformers; the attention inside them is ours. `register_attention` adds one entry named
`ATTENTION` to transformers' attention table. That entry does no arithmetic: it hands the layer's query, key and value
to the `AttentionContext` which the caller passed to `forward` as the keyword `attention_context`. The learner passes a
`PackedContext` (many sequences laid end to end in one row), the sampler one with a cache, and both run the same
network definition, so their log-probabilities agree.

What it does not do:
    - No mask tensors: our name is deliberately absent from transformers' mask table, which then builds no mask.
    - No sliding windows, soft-capped scores or attention sinks. The last two are refused here; windows are harmless
      up to their length, and `forward.hidden_states` refuses longer sequences.
    - No dropout inside attention.
    - No second derivatives where the attention is compiled.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

from zero2r1.core.errors import ModelError
from zero2r1.models.gathering import Gather
from zero2r1.models.kernels.attention import AttentionKernels, Sequences, sequences_of
from zero2r1.models.varlen import Varlen, is_for_flash

ATTENTION = "zero2r1"
"""The name of our attention in transformers' table."""

MAX_PADDING_FRAC = 0.25
"""Ours: sequences of a pack share one padded batch while at most this share of it is padding. On a CPU core a single
batch for lengths 20 to 110 trains a third slower; between 0.15 and 0.4 no difference could be measured."""


@runtime_checkable
class AttentionContext(Protocol):
    """What surrounds the tokens of one forward call: who may look at whom, and at which cached keys."""

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "1 H T D"],
        key: Float[Tensor, "1 H_kv T D"],
        value: Float[Tensor, "1 H_kv T D_v"],
        *,
        scaling: float,
    ) -> Float[Tensor, "1 T H D_v"]:
        """softmax(scaling * query key^T) value for the T tokens of one layer, under this context's visibility."""
        ...


def register_attention() -> str:
    """Adds our attention to transformers' table (again and again without harm) and returns its name."""
    AttentionInterface.register(ATTENTION, attend_in_context)
    return ATTENTION


def attend_in_context(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    attention_context: AttentionContext | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    known: Float[Tensor, "1 T H D_v"] | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """The entry in transformers' table: forwards to the context."""
    if attention_context is None:
        raise ValueError(
            f"{type(module).__name__} was called without attention_context: call it through "
            "zero2r1.models.forward.hidden_states, or model.set_attn_implementation('sdpa') for plain use"
        )
    if softcap is not None or s_aux is not None:
        raise ModelError(
            "Z202",
            "this architecture caps its attention scores or uses attention sinks",
            where=type(module).__name__,
            why="zero2r1's attention computes plain softmax attention and would be silently wrong",
            fix="use a Llama, Qwen2, Qwen3, SmolLM, Mistral or Gemma 3 model",
        )
    scale = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
    # Rotation by float32 angles widens bfloat16 queries and keys; values stay what the network computes in.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if known is None:
        return attention_context.attend(module.layer_idx, query, key, value, scaling=scale), None
    assert isinstance(attention_context, PackedContext)
    return attention_context.attended(known, query, key, value, scaling=scale), None


class PackedContext:
    """Causal attention inside each sequence of a packed row; sequences never see one another.

    The row holds the tokens of sequences of the given lengths, end to end or where `places` says; tokens that several
    sequences begin with may stand in it once. Sequences of similar length are gathered into one padded batch, attended
    causally and put back. Padding stands after the real tokens of its sequence, where causality hides it, so it changes
    no result. The index of the gathering is made once here, not once a layer.

    Compiled attention (`kernels`) reads the tokens where they lie, and computes each as the sampler's decoding does. On
    a GPU numbers of 16 bits go through flash attention without padding (`models.varlen`).
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        places: Sequence[Int[Tensor, " _"]] | None = None,
        device: torch.device | str = "cpu",
        kernels: AttentionKernels | None = None,
    ) -> None:
        """
        Args:
            kernels: for tensors on the CPU of a dtype and width that they know; others go the other way.
            lengths: tokens of each sequence.
            places: where each of its tokens stands in the row, one tensor a sequence. A place that several sequences
                name is at the same position in all of them, behind the same tokens. None: end to end.
        """
        if not lengths or min(lengths) < 1:
            raise ValueError(f"a pack holds at least one sequence and no empty one, got lengths {list(lengths)[:8]}")
        if places is None:
            places = torch.arange(sum(lengths)).split(list(lengths))
        owners = _owners(places)
        self.num_tokens = len(owners)
        """T, the number of tokens in the row."""
        self._places, self._owners, self._device, self._kernels = places, owners, device, kernels

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "1 H T D"],
        key: Float[Tensor, "1 H_kv T D"],
        value: Float[Tensor, "1 H_kv T D_v"],
        *,
        scaling: float,
    ) -> Float[Tensor, "1 T H D_v"]:
        """See `AttentionContext.attend`; token t sees the tokens of its own sequence up to and with itself."""
        if query.shape[2] != self.num_tokens:
            raise ValueError(f"the context was made for {self.num_tokens} tokens, the network got {query.shape[2]}")
        queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))  # [T, H, D]
        if self._kernels is not None and self._kernels.takes(queries, values):
            mixed: Tensor = _Compiled.apply(queries, keys, values, self._sequences, self._kernels, scaling, None)
            return mixed[None]
        if is_for_flash(queries, values):
            return self._varlen.attend(queries, keys, values, scaling)[None]
        return self._padded.attend(queries, keys, values, scaling)[None]

    def attended(
        self,
        mixed: Float[Tensor, "1 T H D_v"],
        query: Float[Tensor, "1 H T D"],
        key: Float[Tensor, "1 H_kv T D"],
        value: Float[Tensor, "1 H_kv T D_v"],
        *,
        scaling: float,
    ) -> Float[Tensor, "1 T H D_v"]:
        """`mixed`, which compiled attention gave for the others before, with the gradients of `attend`."""
        queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
        assert self._kernels is not None and self._kernels.takes(queries, values)  # noqa: PT018
        known: Tensor = _Compiled.apply(queries, keys, values, self._sequences, self._kernels, scaling, (mixed[0],))
        return known[None]

    @cached_property
    def _sequences(self) -> Sequences:
        firsts = [int((self._owners[place] != number).sum()) for number, place in enumerate(self._places)]
        return sequences_of(self._places, firsts, num_rows=self.num_tokens)

    @cached_property
    def _varlen(self) -> Varlen:
        return Varlen(self._places, self._owners, self._device)

    @cached_property
    def _padded(self) -> "_Padded":
        return _Padded(self._places, self._owners, self._device)


def _owners(places: Sequence[Tensor]) -> Tensor:
    """[T] the first sequence that names each place of the row.

    Raises:
        ValueError: a place between the first and the last that none names.
    """
    row = torch.cat(list(places))
    owners = torch.full((int(row.max()) + 1,), len(places))
    for number in reversed(range(len(places))):
        owners[places[number]] = number
    if bool((owners == len(places)).any()):
        raise ValueError("every token of a packed row belongs to a sequence")
    return owners


class _Padded:
    """All sequences of a pack in a few padded batches."""

    def __init__(self, places: Sequence[Tensor], owners: Tensor, device: torch.device | str) -> None:
        self._batches = tuple(_Batch(group, places, owners, device) for group in _groups([len(own) for own in places]))
        order = torch.cat([batch.rows for batch in self._batches])
        self._restore = Gather(order.argsort(), len(order), device) if len(self._batches) > 1 else None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[T, H, D] rows in, [T, H, D_v] out."""
        outputs = [batch.attend(query, key, value, scaling) for batch in self._batches]
        return outputs[0] if self._restore is None else self._restore(torch.cat(outputs))


class _Batch:
    """Some sequences of a pack as one padded batch: the index of the gathering and of the way back."""

    def __init__(
        self, members: Sequence[int], places: Sequence[Tensor], owners: Tensor, device: torch.device | str
    ) -> None:
        num_rows = len(owners)
        # Padding reads one row beyond the end: a row of zeros is appended where it is needed.
        row_of = pad_sequence([places[member] for member in members], batch_first=True, padding_value=num_rows)
        self.shape = (row_of.shape[0], row_of.shape[1])
        """B, L."""
        owner = torch.cat([owners, torch.tensor([-1])])[row_of]
        is_own = owner == torch.tensor(members)[:, None]  # what another sequence owns is its business
        self.rows = row_of[is_own]
        """[num_own] where the tokens whose outputs this batch gives stand in the row."""
        flat = row_of.flatten()
        self.is_whole_row = torch.equal(flat, torch.arange(num_rows))
        """True when the row is already the batch: all sequences, all of one length, none of them sharing."""
        self._to_padded = Gather(flat, num_rows, device)
        self._to_packed = Gather(is_own.flatten().nonzero()[:, 0], len(flat), device)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[T, H, D] rows in, [num_own, H, D_v] of the tokens of `rows` out."""
        size, length = self.shape
        queries, keys, values = (
            self._gather(rows).view(size, length, *rows.shape[1:]).transpose(1, 2) for rows in (query, key, value)
        )
        mixed = scaled_dot_product_attention(queries, keys, values, is_causal=True, scale=scaling, enable_gqa=True)
        flat = mixed.transpose(1, 2).reshape(size * length, query.shape[1], value.shape[2])
        return flat if self.is_whole_row else self._to_packed(flat)

    def _gather(self, tensor: Tensor) -> Tensor:
        return tensor if self.is_whole_row else self._to_padded(tensor)


class _Compiled(torch.autograd.Function):
    """Causal attention of every sequence of a row where it lies. Rows are [T, heads, width]."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        sequences: Sequences,
        kernels: AttentionKernels,
        scaling: float,
        known: tuple[Tensor] | None,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.sequences, ctx.kernels, ctx.scaling = sequences, kernels, scaling
        if known is not None:
            return known[0]
        return kernels.attend_packed(query, key, value, sequences, scaling=scaling)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        by_query, by_key, by_value = ctx.kernels.attend_packed_backward(
            gradient.contiguous(), query, key, value, ctx.sequences, scaling=ctx.scaling
        )
        return by_query, by_key.to(key.dtype), by_value.to(value.dtype), None, None, None, None


def _groups(lengths: Sequence[int]) -> list[list[int]]:
    """Splits the sequences into batches of similar length, longest first, with at most MAX_PADDING_FRAC of padding."""
    groups: list[list[int]] = []
    width = tokens = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        tokens += lengths[index]
        if not groups or 1.0 - tokens / (width * (len(groups[-1]) + 1)) > MAX_PADDING_FRAC:
            groups.append([])
            width, tokens = lengths[index], lengths[index]
        groups[-1].append(index)
    return [sorted(group) for group in groups]
