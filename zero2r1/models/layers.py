"""The layers of a network, learned faster: RMSNorm, SwiGLU, attention and their sums with compiled kernels (Triton's on
a GPU), both ways. The sampler runs the same kernels (`models.fused`).

`quicken(model, kernels)` gives norms, feed-forwards, attentions and decoder layers of a Llama-like network another
`forward`.
Parameters, their names, saved files and hashes stay as they are, and so does every number up to rounding: each layer is
tried against its own forward first, and left alone where the two differ.

Why it is faster: transformers' norm is eight operations in bfloat16 and float32 by turns, each a pass over memory and a
tensor kept for the backward pass; here it is one pass that keeps its input. A feed-forward keeps gate and up alone,
and on a CPU its gradients of the weights are products of matrices that oneDNN reads quickly.

What it does not do: other devices and dtypes (a layer that gets such a tensor runs as before), feed-forwards with
biases, hooks or adapters, second derivatives.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from zero2r1.models import residual, rotary
from zero2r1.models.kernels.arguments import LANES
from zero2r1.models.kernels.build import NoKernelsError
from zero2r1.models.kernels.choice import kernels_for
from zero2r1.models.kernels.protocol import AnyKernels
from zero2r1.models.linear import back, is_plain, outer, product, rows_of
from zero2r1.models.recording import Known
from zero2r1.models.residual import LAYERS, decoder_layer, norm_beside
from zero2r1.models.rotary import ATTENTIONS, attention

NORMS = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm"})
"""Classes of transformers that compute the norm of `norm_beside`, of their `weight` and `variance_epsilon`."""
FEED_FORWARDS = frozenset({"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"})
"""Classes of transformers that compute `swiglu` of `gate_proj`, `up_proj` and `down_proj` where `act_fn` is SiLU."""
TRIED_ROWS = 5
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Ours: largest difference to the layer's own result, relative to its largest number: rounding, and nothing else. The
keys are the dtypes that the kernels know."""


def quicken_here(model: PreTrainedModel) -> AnyKernels | None:
    """`quicken` with the kernels of the model's device, which are returned; None where there are none."""
    if model.dtype not in TOLERANCE:
        return None
    try:
        kernels = kernels_for(model.device)
    except NoKernelsError:
        return None
    quicken(model, kernels)
    return kernels


def is_quick(module: nn.Module | None) -> bool:
    """Whether the module got a faster forward, which it takes: without adapters, and a feed-forward without biases."""
    if module is None or not isinstance(module.__dict__.get("forward"), _Quick):
        return False
    parts: list[Any] = [part for name, part in module.named_children() if name.endswith("_proj")]
    has_bias = type(module).__name__ in FEED_FORWARDS and any(part.bias is not None for part in parts)
    return not has_bias and all(map(is_plain, parts))


def quicken(model: nn.Module, kernels: AnyKernels) -> int:
    """Gives norms, feed-forwards, attentions and decoder layers of known classes a faster forward, in place; returns
    how many.

    A bfloat16 network all of whose norms of the stream are quick also gets its sum of all layers in float32.
    Doing it twice changes nothing. The new `forward` is an attribute of the module; deleting that undoes it.
    """
    count = 0
    for module in model.modules():
        make = None if "forward" in module.__dict__ else _quick_forward_of(module, kernels)
        if make is not None:
            module.__dict__["forward"] = _Quick(make, module, kernels)
            count += 1
    if count:
        _widen_stream(model, kernels)
    return count


def _quick_forward_of(module: nn.Module, kernels: AnyKernels) -> Callable[..., Any] | None:
    """The faster forward of a module of a known class, when it computes the same."""
    name = type(module).__name__
    for names, forward, agrees in (
        (ATTENTIONS, attention, rotary.agrees),
        (LAYERS, decoder_layer, residual.agrees),
    ):
        if name in names:
            tolerance = TOLERANCE.get(next(module.parameters()).dtype, 0.0)
            return forward if agrees(module, kernels, rows=TRIED_ROWS, tolerance=tolerance) else None
    make = _norm if name in NORMS else _feed_forward if name in FEED_FORWARDS else None
    return make if make is not None and _agrees(module, kernels, _Quick(make, module, kernels)) else None


def _widen_stream(model: nn.Module, kernels: AnyKernels) -> None:
    """Embeddings in float32, to which the layers then add: the sum of all layers is never rounded to bfloat16.

    Ours: of what a sampler and a learner in bfloat16 disagree about, a third is this rounding, thirty times a network.
    """
    embeddings = [module for module in model.modules() if type(module) is nn.Embedding]
    if len(embeddings) != 1 or embeddings[0].weight.dtype != torch.bfloat16:
        return
    width = embeddings[0].embedding_dim
    norms = [module for module in model.modules() if type(module).__name__.endswith("Norm")]
    if all("forward" in norm.__dict__ for norm in norms if norm.weight.shape[-1] == width):
        embeddings[0].__dict__["forward"] = _Quick(_wide_embedding, embeddings[0], kernels)


def _wide_embedding(module: nn.Module, _: AnyKernels, token_ids: Tensor) -> Tensor:
    return _own(module, token_ids).float()


class _Quick:
    """The new forward of one module. A copy of the module gets one of its own; the kernels are never copied."""

    def __init__(self, make: Callable[..., Any], module: nn.Module, kernels: AnyKernels) -> None:
        self._make, self._module, self._kernels = make, module, kernels

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self._make(self._module, self._kernels, *inputs, **named)

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Quick":
        return _Quick(self._make, deepcopy(self._module, memo), self._kernels)


def swiglu(
    x: Float[Tensor, "*rows E"],
    gate: Float[Tensor, "F E"],
    up: Float[Tensor, "F E"],
    down: Float[Tensor, "E F"],
    kernels: AnyKernels,
    *,
    known: Known | None = None,
) -> Float[Tensor, "*rows E"]:
    """(silu(x gate^T) * (x up^T)) down^T with silu(z) = z / (1 + e^-z).

    Args:
        x, gate, up, down: on the kernels' device, float32 or bfloat16 alike; F is a multiple of 16.
        known: what the products gave for these rows before, and then is not computed again.

    Source: GLU Variants Improve Transformer (arXiv 2002.05202), equation 6.
    """
    mixed: Tensor = _SwiGlu.apply(x, gate, up, down, kernels, known)
    return mixed


class _SwiGlu(torch.autograd.Function):
    """With z = x gate^T, u = x up^T, h = silu(z) * u and dh = dy down: dz and du from dh by the kernel,

    dx = dz gate + du up, and of each weight (gradient of its output)^T (its input). h is made once more.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gate: Tensor, up: Tensor, down: Tensor, kernels: AnyKernels, known: Known | None
    ) -> Tensor:
        ctx.kernels = kernels
        if known is not None:
            gate_up, index = known.picked("gate_up")
            ctx.save_for_backward(x, *gate_up.chunk(2, dim=1), index, gate, up, down)
            return known.copied("down").view(x.shape)
        rows = rows_of(x)
        gates, ups = (product(rows, weight, kernels.products) for weight in (gate, up))
        ctx.save_for_backward(x, gates, ups, None, gate, up, down)
        return product(kernels.silu_mul(gates, ups), down, kernels.products).view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gates, ups, index, gate, up, down = ctx.saved_tensors
        needs_x, needs_gate, needs_up, needs_down, _, _ = ctx.needs_input_grad
        rows, pulls = rows_of(x), rows_of(gradient)
        products = ctx.kernels.products
        by_mixed = back([pulls], [down], products)
        mixed, by_gates, by_ups = ctx.kernels.silu_mul_backward(by_mixed, gates, ups, index=index)
        by_x = back([by_gates, by_ups], [gate, up], products).view(x.shape) if needs_x else None
        by_gate, by_up = outer([by_gates if needs_gate else None, by_ups if needs_up else None], rows, products)
        (by_down,) = outer([pulls if needs_down else None], mixed, products)
        return by_x, by_gate, by_up, by_down, None, None


def _norm(module: nn.Module, kernels: AnyKernels, x: Tensor) -> Tensor:
    """The forward of a norm."""
    weight = module.weight
    is_wide = x.dtype == torch.float32 and weight.dtype == torch.bfloat16  # see `_widen_stream`
    if not _is_known(kernels, weight if is_wide else x, weight) or x.device != weight.device:
        return _own(module, x)
    return norm_beside(x, weight, float(module.variance_epsilon), kernels)[1]


def _feed_forward(module: nn.Module, kernels: AnyKernels, x: Tensor, known: Known | None = None) -> Tensor:
    """The forward of a feed-forward. What it is made of is looked at in each call: adapters may have come since."""
    parts = (module.gate_proj, module.up_proj, module.down_proj)
    is_known = all(is_plain(part) and part.bias is None for part in parts)
    has_silu = type(module.act_fn).__name__ in ("SiLU", "SiLUActivation")
    if not is_known or not has_silu or not _is_known(kernels, x, *(part.weight for part in parts)):
        assert known is None
        return _own(module, x)
    return swiglu(x, parts[0].weight, parts[1].weight, parts[2].weight, kernels, known=known)


def _own(module: nn.Module, x: Tensor) -> Tensor:
    """What the module's class computes."""
    output: Tensor = type(module).forward(module, x)
    return output


def _is_known(kernels: AnyKernels, x: Tensor, first: Tensor, *others: Tensor) -> bool:
    """True when the kernels take these: the first weight, of a norm or a gate, has a number for each of theirs."""
    is_one_kind = all((part.device, part.dtype) == (x.device, x.dtype) for part in (first, *others))
    is_here = x.device.type == kernels.device_type
    return is_one_kind and is_here and x.dtype in TOLERANCE and first.shape[0] % LANES == 0


def _agrees(module: nn.Module, kernels: AnyKernels, forward: Callable[[Tensor], Tensor]) -> bool:
    """True when the layer's own forward and the other one give the same on a few rows, up to rounding."""
    weight = next(module.parameters())
    width = weight.shape[-1]
    x = torch.linspace(-18.0, 27.0, TRIED_ROWS * width).sin_().view(1, TRIED_ROWS, width).to(weight)
    if not _is_known(kernels, x, weight):
        return False
    with torch.no_grad():
        expected, found = module(x), forward(x)
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    allowed = TOLERANCE[weight.dtype] * float(expected.abs().max())
    return float((found - expected).abs().max()) <= allowed
