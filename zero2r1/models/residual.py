"""A decoder layer's two sums and what its norms pass by, each in one pass over memory.

transformers adds a layer's bfloat16 result to a float32 stream in an operation that takes two conversions, and autograd
adds the gradient that passes a norm to the one that goes through it in another. Here a sum is one pass, and so is the
gradient of a norm with what passes it.

What it does not do: streams in bfloat16 (the layer runs as before), other classes, second derivatives.
"""

from typing import Any

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from zero2r1.models.attention import ATTENTION
from zero2r1.models.kernels.arguments import LANES, NAMES
from zero2r1.models.kernels.protocol import AnyKernels
from zero2r1.models.linear import rows_of
from zero2r1.models.rotary import trial

LAYERS = frozenset({"LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer"})
"""Classes of transformers that compute x += attention(norm(x)), then x += feed-forward(norm(x))."""


def summed(
    stream: Float32[Tensor, "*rows E"], delta: Float[Tensor, "*rows E"], kernels: AnyKernels
) -> Float32[Tensor, "*rows E"]:
    """stream + delta.

    Args:
        stream, delta: on the kernels' device; delta float32 or bfloat16. E is a multiple of 16.

    Source: Ours: the definition. The gradient is passed on to the stream as it is and to delta in its dtype.
    """
    total: Tensor = _Summed.apply(stream, delta, kernels)
    return total


def norm_beside(
    x: Float[Tensor, "*rows E"], weight: Float[Tensor, " E"], eps: float, kernels: AnyKernels
) -> tuple[Float[Tensor, "*rows E"], Float[Tensor, "*rows E"]]:
    """x itself and x / sqrt(mean(x^2) + eps) * weight, whose gradients are added where they meet.

    It is computed in float32 and rounded once.

    Args:
        x, weight: on the kernels' device, float32 or bfloat16 alike, or x in float32 and the weight, and so the
            norm, in bfloat16; E is a multiple of 16.
        eps: added to the mean square, > 0.

    Source: RMSNorm (arXiv 1910.07467), equation 4, with the customary eps.
    """
    passed, normed = _NormBeside.apply(x, weight, eps, kernels)
    return passed, normed


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stream: Tensor, delta: Tensor, kernels: AnyKernels) -> Tensor:
        ctx.dtype = delta.dtype
        return kernels.summed(rows_of(stream), rows_of(delta)).view(stream.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return gradient, gradient.to(ctx.dtype), None


class _NormBeside(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, kernels: AnyKernels) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        ctx.eps, ctx.kernels = eps, kernels
        ctx.set_materialize_grads(False)  # where nothing passes by there are no zeros to add
        return x.view_as(x), kernels.rms_norm(rows_of(x), None, weight, eps=eps).view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(
        ctx: Any, beside: Tensor | None, gradient: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        if gradient is None:
            return beside, None, None, None
        x, weight = ctx.saved_tensors
        by_x, by_weight = ctx.kernels.rms_norm_backward(
            rows_of(gradient), rows_of(x), weight, beside=None if beside is None else rows_of(beside), eps=ctx.eps
        )
        return by_x.view(x.shape), by_weight.to(weight.dtype), None, None


def decoder_layer(module: nn.Module, kernels: AnyKernels, hidden_states: Tensor, *others: Any, **named: Any) -> Tensor:
    """The forward of a decoder layer: [1, T, E] to [1, T, E]."""
    norms = (module.input_layernorm, module.post_attention_layernorm)
    is_known = not others and hidden_states.dtype == torch.float32 and all(_is_known(norm, kernels) for norm in norms)
    if not is_known or hidden_states.device.type != kernels.device_type:
        own: Tensor = type(module).forward(module, hidden_states, *others, **named)
        return own
    stream, normed = _normed(norms[0], hidden_states, kernels)
    mixed, _ = module.self_attn(hidden_states=normed, **named)
    stream, normed = _normed(norms[1], summed(stream, mixed, kernels), kernels)
    return summed(stream, module.mlp(normed), kernels)


def _normed(norm: nn.Module, stream: Tensor, kernels: AnyKernels) -> tuple[Tensor, Tensor]:
    weight: Any = norm.weight
    return norm_beside(stream, weight, float(norm.variance_epsilon), kernels)


def _is_known(norm: Any, kernels: AnyKernels) -> bool:
    weight = norm.weight
    is_here = weight.dtype in NAMES and weight.device.type == kernels.device_type and len(weight) % LANES == 0
    return is_here and not (norm._forward_hooks or norm._forward_pre_hooks)


def agrees(module: nn.Module, kernels: AnyKernels, *, rows: int, tolerance: float) -> bool:
    """Whether `decoder_layer` gives what the module's own forward gives on a few rows, up to rounding.

    Args:
        tolerance: largest difference, relative to the largest number.
    """
    weight: Any = module.input_layernorm.weight
    attention: Any = module.self_attn
    if attention.config._attn_implementation != ATTENTION or not _is_known(module.input_layernorm, kernels):
        return False
    x, named = trial(weight, rows=rows, head_dim=int(attention.head_dim))
    with torch.no_grad():
        expected = type(module).forward(module, x, **named)
        found = decoder_layer(module, kernels, x.float(), **named)
    if not isinstance(expected, Tensor):
        return False
    return float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())
