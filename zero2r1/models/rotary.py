"""Attention modules of a Llama-like network, by kernels forward and back: projections, rotary positions, attention.

transformers rotates queries and keys in eight operations, each a pass over memory, some in float32; here it is a copy
and one pass. Projections are `models.linear`'s; norms of heads and the context that attends are what the caller has.

What it does not do: other devices, dtypes and classes, caches of transformers' own, second derivatives.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from zero2r1.models.attention import ATTENTION, PackedContext, attend_in_context
from zero2r1.models.kernels.arguments import LANES, NAMES
from zero2r1.models.kernels.protocol import AnyKernels
from zero2r1.models.linear import is_plain, projected
from zero2r1.models.recording import Known

ATTENTIONS = frozenset({"LlamaAttention", "MistralAttention", "Qwen2Attention", "Qwen3Attention"})
"""Classes of transformers that rotate the halves of a head by the same angles and attend with `scaling`."""


def rotated(
    x: Float[Tensor, "T HD"], cosines: Float32[Tensor, "T D"], sines: Float32[Tensor, "T D"], kernels: AnyKernels
) -> Float[Tensor, "T HD"]:
    """Every head (a, b) of D numbers becomes (a cos - b sin, b cos + a sin).

    Args:
        x: heads side by side, on the kernels' device, float32 or bfloat16. D is a multiple of 16.
        cosines, sines: of each position's angles, for both halves of a head alike.

    Source: RoFormer (arXiv 2104.09864), equation 34, with the halves of a head as the pairs. The gradient is the
    rotation by the opposite angles.
    """
    turned: Tensor = _Rotated.apply(x, cosines, sines, kernels)
    return turned


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosines: Tensor, sines: Tensor, kernels: AnyKernels) -> Tensor:
        ctx.save_for_backward(cosines, sines)
        ctx.kernels = kernels
        return _turned(x, cosines, sines, kernels)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        cosines, sines = ctx.saved_tensors
        return _turned(gradient, cosines, -sines, ctx.kernels), None, None, None


def _turned(x: Tensor, cosines: Tensor, sines: Tensor, kernels: AnyKernels) -> Tensor:
    out = x.clone(memory_format=torch.contiguous_format)
    kernels.rotate(out, cosines, sines, heads=x.shape[1] // cosines.shape[1], kv_heads=0)
    return out


def attention(
    module: nn.Module,
    kernels: AnyKernels,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor] | None = None,
    attention_mask: Tensor | None = None,
    past_key_values: object = None,
    known: Known | None = None,
    **others: Any,
) -> tuple[Tensor, Tensor | None]:
    """The forward of an attention module: [1, T, E] to [1, T, E], under the `attention_context` among the others.

    Args:
        known: what its products and its attention gave for these tokens before, and then is not computed again.
    """
    tables = position_embeddings or ()
    is_known = (
        hidden_states.device.type == kernels.device_type and hidden_states.dtype in NAMES and len(hidden_states) == 1
        and past_key_values is None and len(tables) == 2 and all(table.dtype == torch.float32 for table in tables)
        and tables[0].shape[2] % LANES == 0
    )  # fmt: skip
    if not is_known:
        assert known is None
        own: tuple[Tensor, Tensor | None] = type(module).forward(
            module, hidden_states, position_embeddings, attention_mask, past_key_values, **others
        )
        return own
    cosines, sines = (table[0].contiguous() for table in tables)
    width = cosines.shape[1]

    layers = [getattr(module, f"{name}_proj") for name in "qkv"]
    given = None if known is None else _parts(known.copied("qkv"), layers)
    query, key, value = (
        rows.unflatten(1, (-1, width)) for rows in _through(layers, hidden_states[0].contiguous(), kernels, given)
    )  # [T, H, D]
    query, key = (
        rotated(heads.flatten(1), cosines, sines, kernels).view_as(heads)
        for heads in (_normed(module, "q_norm", query), _normed(module, "k_norm", key))
    )
    query, key, value = (rows.transpose(0, 1)[None] for rows in (query, key, value))
    before = None if known is None else known.copied("mixed").unflatten(1, (-1, value.shape[3]))[None]
    mixed, _ = attend_in_context(module, query, key, value, None, scaling=module.scaling, known=before, **others)
    (output,) = _through(
        [module.o_proj], mixed[0].flatten(1), kernels, None if known is None else (known.copied("output"),)
    )  # fmt: skip
    return output[None], None


def _parts(qkv: Float[Tensor, "T HHHD"], layers: Sequence[Any]) -> tuple[Tensor, ...]:
    """Of each layer. Values wait for the backward pass, in memory of their own: the rest goes when it is turned."""
    query, key, value = qkv.split([len(layer.weight) for layer in layers], dim=1)
    return query, key, value.contiguous()


def _through(
    layers: Sequence[nn.Module], x: Float[Tensor, "T I"], kernels: AnyKernels, known: tuple[Tensor, ...] | None = None
) -> tuple[Tensor, ...]:
    """x through each layer; adapters may have come since the last call."""
    if all(is_plain(layer) and layer.weight.dtype == x.dtype for layer in layers):
        return projected(x, [cast(nn.Linear, layer) for layer in layers], kernels.products, known=known)
    assert known is None
    return tuple(layer(x) for layer in layers)


def _normed(module: nn.Module, name: str, heads: Tensor) -> Tensor:
    """Each head normed, where the module does."""
    norm = getattr(module, name, None)
    return heads if norm is None else norm(heads)


def agrees(module: nn.Module, kernels: AnyKernels, *, rows: int, tolerance: float) -> bool:
    """Whether `attention` gives what the module's own forward gives on a few rows, up to rounding.

    Args:
        tolerance: largest difference, relative to the largest number.
    """
    weight = module.q_proj.weight
    width = int(module.head_dim)
    is_known = weight.device.type == kernels.device_type and weight.dtype in NAMES and width % LANES == 0
    if module.config._attn_implementation != ATTENTION or not is_known:
        return False
    x, named = trial(weight, rows=rows, head_dim=width)
    with torch.no_grad():
        expected = type(module).forward(module, x, **named)[0]
        found = attention(module, kernels, x, **named)[0]
    return float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def trial(weight: Float[Tensor, "* E"], *, rows: int, head_dim: int) -> tuple[Float[Tensor, "1 T E"], dict[str, Any]]:
    """Some hidden states that suit a weight, and what transformers hands a layer with them."""
    x = torch.linspace(-18.0, 27.0, rows * weight.shape[-1]).sin_().view(1, rows, -1).to(weight)
    angles = torch.linspace(0.0, 3.0, rows * head_dim // 2).view(1, rows, -1).repeat(1, 1, 2)
    tables = tuple(table.to(weight.device) for table in (angles.cos(), angles.sin()))
    context = PackedContext([rows], device=weight.device)
    return x, {"position_embeddings": tables, "attention_mask": None, "attention_context": context}
