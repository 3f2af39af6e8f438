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
    - No second derivatives where the backward pass is our own (`_Short`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

from zero2r1.core.errors import ModelError
from zero2r1.models.gathering import Gather

ATTENTION = "zero2r1"
"""The name of our attention in transformers' table."""

MAX_PADDING_FRAC = 0.25
"""Ours: sequences of a pack share one padded batch while at most this share of it is padding. On a CPU core a single
batch for lengths 20 to 110 trains a third slower; between 0.15 and 0.4 no difference could be measured."""

QUICK_LENGTH = 1024
"""Ours: up to this padded length, the backward pass in bfloat16 on a CPU is ours. On one AMX core it took a sixth of
the time of PyTorch's at 32 x 64 tokens, a quarter at 12 x 165, four fifths at 2 x 1024, and as long at 2048."""

QUICK_SCORES = 2**21
"""Ours: scores alive at once in that backward pass (4 MiB in bfloat16); twice and half of it were slower."""

QUICK_QUERIES = 128
"""Ours: queries of a sequence taken at once there; keys behind the last of them are never touched."""


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
    return attention_context.attend(module.layer_idx, query, key, value, scaling=scale), None


class PackedContext:
    """Causal attention inside each sequence of a packed row; sequences never see one another.

    The row holds the tokens of sequences of the given lengths, end to end or where `places` says; tokens that several
    sequences begin with may stand in it once. Sequences of similar length are gathered into one padded batch, attended
    causally and put back. Padding stands after the real tokens of its sequence, where causality hides it, so it changes
    no result. The index of the gathering is made once here, not once a layer.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        places: Sequence[Int[Tensor, " _"]] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """
        Args:
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
        self._batches = tuple(_Batch(group, places, owners, device) for group in _groups(lengths))
        order = torch.cat([batch.rows for batch in self._batches])
        self._restore = Gather(order.argsort(), len(order), device) if len(self._batches) > 1 else None

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
        outputs = [batch.attend(queries, keys, values, scaling) for batch in self._batches]
        if self._restore is None:
            return outputs[0][None]
        return self._restore(torch.cat(outputs))[None]


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
        is_quick = queries.dtype == torch.bfloat16 and queries.device.type == "cpu" and length <= QUICK_LENGTH
        mixed = (_Short.apply if is_quick else _causal)(queries, keys, values, scaling)
        flat = mixed.transpose(1, 2).reshape(size * length, query.shape[1], value.shape[2])
        return flat if self.is_whole_row else self._to_packed(flat)

    def _gather(self, tensor: Tensor) -> Tensor:
        return tensor if self.is_whole_row else self._to_padded(tensor)


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """[B, H, L, D], [B, H_kv, L, D], [B, H_kv, L, D_v] -> [B, H, L, D_v]."""
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)


class _Short(torch.autograd.Function):
    """`_causal` for short sequences, out of batched matrix products.

        P = softmax(scaling Q K^T),  O = P V
        dV = P^T dO,  dP = dO V^T,  dS = P * (dP - rowsum(P * dP)),  dQ = scaling dS K,  dK = scaling dS^T Q

    Ours: PyTorch's for a CPU works through tiles of a fixed size, one head of one sequence after the other, which for
    short sequences costs twice as much forward and five times as much backward. The query heads that share a key head
    are rows of one product. Weights are rounded to bfloat16, as in attention written out; sums over queries are kept in
    float32.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.scaling = scaling
        mixed = query.new_empty(*query.shape[:3], value.shape[3])
        for some, queries, seen in _pieces(*query.shape[:3]):
            rows, keys, values = (
                _rows(tensor[some, :, which], key.shape[1])
                for tensor, which in ((query, queries), (key, seen), (value, seen))
            )
            weights = _weights(rows, keys, queries, scaling)
            mixed[some, :, queries] = torch.bmm(weights, values).view(mixed[some, :, queries].shape)
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        grad_key, grad_value = (torch.zeros_like(tensor, dtype=torch.float32) for tensor in (key, value))
        for some, queries, seen in _pieces(*query.shape[:3]):
            rows, pull = (_rows(tensor[some, :, queries], key.shape[1]) for tensor in (query, gradient))
            keys, values = (_rows(tensor[some, :, seen], key.shape[1]) for tensor in (key, value))
            weights = _weights(rows, keys, queries, ctx.scaling)
            grad_value[some, :, seen] += torch.bmm(weights.transpose(1, 2), pull).view(value[some, :, seen].shape)
            slope = torch.bmm(pull, values.transpose(1, 2))
            slope = torch._softmax_backward_data(slope, weights, -1, weights.dtype)
            grad_key[some, :, seen] += _product(slope.transpose(1, 2), rows, ctx.scaling).view(key[some, :, seen].shape)
            grad_query[some, :, queries] = _product(slope, keys, ctx.scaling).view(query[some, :, queries].shape)
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None


def _pieces(size: int, heads: int, length: int) -> Iterator[tuple[slice, slice, slice]]:
    """Sequences, queries and the keys these see: few scores are alive at once, and most hidden ones never are."""
    num_queries = min(length, QUICK_QUERIES, max(1, QUICK_SCORES // (heads * length)))
    num_sequences = max(1, QUICK_SCORES // (heads * length * num_queries))
    for first in range(0, size, num_sequences):
        for start in range(0, length, num_queries):
            stop = min(start + num_queries, length)
            yield slice(first, min(first + num_sequences, size)), slice(start, stop), slice(0, stop)


def _rows(tensor: Tensor, num_kv_heads: int) -> Tensor:
    """[B, H, L, D] -> [B * H_kv, H / H_kv * L, D]: the heads that share a key head, one below the other."""
    return tensor.reshape(len(tensor) * num_kv_heads, -1, tensor.shape[3])


def _weights(rows: Tensor, keys: Tensor, queries: slice, scaling: float) -> Tensor:
    """softmax(scaling * rows keys^T) with later keys hidden: [B * H_kv, H / H_kv * Lq, keys]."""
    scores = _product(rows, keys.transpose(1, 2), scaling)
    size = queries.stop - queries.start
    later = scores.new_full((size, size), -torch.inf).triu_(1)
    scores.view(len(scores), -1, size, keys.shape[1])[..., queries].add_(later)
    return scores.softmax(-1)


def _product(left: Tensor, right: Tensor, scaling: float) -> Tensor:
    """scaling * left right, batch by batch, rounded once."""
    return torch.baddbmm(left.new_empty(()), left, right, beta=0, alpha=scaling)


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
