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
    - No second derivatives where the backward pass is our own (`_QuickBackward`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

from zero2r1.core.errors import ModelError

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
    AttentionInterface.register(ATTENTION, _attend)
    return ATTENTION


def _attend(
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

    The row holds sequences of the given lengths end to end. Sequences of similar length are gathered into one padded
    batch, attended causally and put back. Padding stands after the real tokens of its sequence, where causality
    hides it, so it changes no result. The index of the gathering is made once here, not once a layer.
    """

    def __init__(self, lengths: Sequence[int], *, device: torch.device | str = "cpu") -> None:
        if not lengths or min(lengths) < 1:
            raise ValueError(f"a pack holds at least one sequence and no empty one, got lengths {list(lengths)[:8]}")
        self.num_tokens = sum(lengths)
        """T, the number of tokens in the row."""
        self._batches = tuple(_Batch(group, lengths, torch.device(device)) for group in _groups(lengths))
        self._restore = _restore_index(self._batches, torch.device(device)) if len(self._batches) > 1 else None

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
        return _Gather.apply(torch.cat(outputs), *self._restore)[None]


class _Batch:
    """Some sequences of a pack as one padded batch: the index of the gathering and of the way back."""

    def __init__(self, members: Sequence[int], lengths: Sequence[int], device: torch.device) -> None:
        ends = torch.tensor(lengths).cumsum(0)
        sizes = torch.tensor([lengths[member] for member in members])
        starts = ends[torch.tensor(members)] - sizes
        self.shape = (len(members), int(sizes.max()))
        columns = torch.arange(self.shape[1])
        is_real = columns < sizes[:, None]  # [B, L]
        row_of = starts[:, None] + columns
        self.num_tokens = int(sizes.sum())
        self.is_whole_row = bool(is_real.all()) and len(members) == len(lengths)
        """True when the row is already the batch: all sequences, all of one length."""
        # Padding reads one row beyond the end: a row of zeros is appended where it is needed.
        num_rows, num_slots = sum(lengths), self.shape[0] * self.shape[1]
        self.rows = row_of[is_real]
        """[num_tokens] where the batch's tokens stand in the row."""
        slots = is_real.flatten().nonzero()[:, 0]
        from_row = torch.full((num_rows,), num_slots)
        from_row[self.rows] = slots
        from_packed = torch.full((num_slots,), self.num_tokens)
        from_packed[slots] = torch.arange(self.num_tokens)
        self.to_padded = _index(torch.where(is_real, row_of, num_rows).flatten(), num_rows, device)
        self.row_from_padded = _index(from_row, num_slots, device)
        self.to_packed = _index(slots, num_slots, device)
        self.padded_from_packed = _index(from_packed, self.num_tokens, device)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[T, H, D] rows in, [num_tokens, H, D_v] of this batch's tokens out, in the batch's order."""
        size, length = self.shape
        queries, keys, values = (
            self._gather(rows).view(size, length, *rows.shape[1:]).transpose(1, 2) for rows in (query, key, value)
        )
        is_quick = queries.dtype == torch.bfloat16 and queries.device.type == "cpu" and length <= QUICK_LENGTH
        mixed = (_QuickBackward.apply if is_quick else _causal)(queries, keys, values, scaling)
        flat = mixed.transpose(1, 2).reshape(size * length, query.shape[1], value.shape[2])
        return flat if self.is_whole_row else _Gather.apply(flat, self.to_packed, self.padded_from_packed)

    def _gather(self, tensor: Tensor) -> Tensor:
        return tensor if self.is_whole_row else _Gather.apply(tensor, self.to_padded, self.row_from_padded)


def _causal(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """[B, H, L, D], [B, H_kv, L, D], [B, H_kv, L, D_v] -> [B, H, L, D_v]."""
    return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)


class _QuickBackward(torch.autograd.Function):
    """`_causal`, with a backward pass out of batched matrix products for short sequences.

        P = softmax(scaling Q K^T),  dV = P^T dO,  dP = dO V^T,  dS = P * (dP - rowsum(P * dP)),
        dQ = scaling dS K,  dK = scaling dS^T Q

    Ours: PyTorch's backward for a CPU works through tiles of a fixed size, one head of one sequence after the other,
    which for short sequences costs five times its forward. The query heads that share a key head are rows of one
    product. Weights are rounded to bfloat16, as in attention written out; sums over queries are kept in float32.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.scaling = scaling
        return _causal(query, key, value, scaling)

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


class _Index(NamedTuple):
    """Which rows of a source are read."""

    rows: Tensor
    reads_zeros: bool
    """True when some entry is the number of the source's rows: it stands for a row of zeros."""


def _index(rows: Tensor, num_rows: int, device: torch.device) -> _Index:
    return _Index(rows.to(device), bool((rows == num_rows).any()))


class _Gather(torch.autograd.Function):
    """output[i] = input[forward_index[i]], an index of len(input) giving zeros; the backward pass is a gather too.

    Ours: every row is used at most once, so the gradient of a gather is the gather by the inverse index. The general
    backward of `index_select` adds with atomics or in a scalar loop and takes several times as long.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, source: Tensor, index: _Index, inverse: _Index) -> Tensor:
        ctx.inverse = inverse
        return _take(source, index)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _take(gradient, ctx.inverse), None, None


def _take(source: Tensor, index: _Index) -> Tensor:
    if index.reads_zeros:
        source = pad(source, (0, 0) * (source.dim() - 1) + (0, 1))
    return source.index_select(0, index.rows)


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


def _restore_index(batches: Sequence[_Batch], device: torch.device) -> tuple[_Index, _Index]:
    """The index that puts the batches' tokens, laid end to end, back in the order of the row, and its inverse."""
    order = torch.cat([batch.rows for batch in batches])
    return _index(order.argsort(), len(order), device), _index(order, len(order), device)
