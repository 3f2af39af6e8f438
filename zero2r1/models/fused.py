"""The forward pass of common decoders, several times faster than through transformers' modules.

Same weights, same seam (`hidden_states` under an `AttentionContext`), other code: query, key and value are one matrix
product, gate and up another; weights are laid out once for it; norm, rotation and gate are compiled (`kernels`). It
exists for sampling, where a step is one token a sequence and every small operation counts; gradients go through
transformers' network, with the same kernels in its layers (`layers`): products, norms and attention that give a token
the same bits whatever is computed beside it. So sampler and learner agree to the last bit, but where tiles (AMX)
multiply bfloat16: those products are oneDNN's.

On a CPU weights are read when the object is made and partly copied: after an update, make a new one. On a CUDA device
they are read where they lie, if `joined.join` has put them so (`FusedNetwork.follows`). `prove` runs both networks on
the same tokens; whoever uses this one asks it first.

What it does not do: gradients, architectures outside FAMILIES (they go on through transformers).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import embedding, linear
from transformers import PreTrainedModel

from zero2r1.core.random import Address, Stream, key
from zero2r1.models.attention import AttentionContext, PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.head import head_of
from zero2r1.models.joined import are_joined, whole
from zero2r1.models.kernels.ops import LANES
from zero2r1.models.kernels.protocol import AnyKernels, AnyProducts
from zero2r1.models.lora import has_adapters, merged_parameters
from zero2r1.models.recording import Layout, Outputs

FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Model types whose layer is: norm, attention with rotary positions, norm, SwiGLU."""
ROWS = 64
"""Ours: rows the bfloat16 layout is asked for. Other numbers of rows run as well; measured equal from 1 to 128."""
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
"""Ours: largest distance of a hidden state, relative to the largest one, at which the two networks count as equal."""


@runtime_checkable
class Product(Protocol):
    """x W^T + b."""

    def __call__(self, x: Float[Tensor, "n inputs"], out: Float[Tensor, "n outputs"] | None = None) -> Tensor:
        """`out` takes the result, where it is given."""
        ...


class FusedNetwork:
    """A network of transformers, run another way."""

    def __init__(self, model: PreTrainedModel, kernels: AnyKernels) -> None:
        """
        Args:
            model: one that `refusal` has nothing against. Adapters are merged into the weights.
        """
        base, config, own = model.base_model, model.config, merged_parameters(model)
        prefix = model.base_model_prefix
        self._kernels = kernels
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._eps = float(config.rms_norm_eps)
        self._rotary: nn.Module = base.rotary_emb
        self._embedding = own[f"{prefix}.embed_tokens.weight"]
        self._norm = own[f"{prefix}.norm.weight"]
        self._layers = [_Layer(own, f"{prefix}.layers.{index}", kernels) for index in range(config.num_hidden_layers)]
        self._scaling = float(base.layers[0].self_attn.scaling)
        head = own.get("lm_head.weight", self._embedding)
        self._head = replace(head_of(model, kernels.head), weight=head).laid_out(model.dtype)
        in_place = not lays_out(model.dtype, kernels) and not has_adapters(model) and are_joined(model)
        self._addresses = _addresses(model) if in_place else None
        self.layout: Layout | None = None
        """What a recording of it is made of. None where a learner would compute otherwise: with adapters, or products
        that are not the kernels'."""
        if model.dtype in kernels.products.dtypes and not has_adapters(model):
            is_plain = self._head.scale == 1.0 and self._head.softcap is None and self._head.bias is None
            self.layout = _layout(model, own, f"{prefix}.layers.0", vocabulary=len(head) if is_plain else 0)

    def hidden_states(
        self,
        token_ids: Int[Tensor, " T"],
        position_ids: Int[Tensor, " T"],
        context: AttentionContext,
        *,
        into: Sequence[Outputs] | None = None,
    ) -> Float[Tensor, "T E"]:
        """See `forward.hidden_states`; without a gradient.

        Args:
            into: by layer, where to write what its products and its attention give (see `layout`).
        """
        kernels, eps = self._kernels, self._eps
        # The sum of all layers is kept in float32: rounding it to bfloat16 thirty times is what sets networks apart.
        stream = embedding(token_ids, self._embedding).float()
        cosines, sines = (table[0].contiguous() for table in self._rotary(stream[None], position_ids[None]))
        delta: Tensor | None = None
        for index, layer in enumerate(self._layers):
            room = None if into is None else into[index]
            qkv = layer.qkv(kernels.rms_norm(stream, delta, layer.input_norm, eps=eps))
            if room is not None:
                room.qkv.copy_(qkv)
            kernels.rotate(
                qkv, cosines, sines, heads=self._heads, kv_heads=self._kv_heads,
                query_norm=layer.query_norm, key_norm=layer.key_norm, eps=eps,
            )  # fmt: skip
            heads = qkv.view(len(qkv), -1, cosines.shape[1]).transpose(0, 1)[None]
            query, key, value = heads.split([self._heads, self._kv_heads, self._kv_heads], dim=1)
            mixed = context.attend(index, query, key, value, scaling=self._scaling).reshape(len(qkv), -1)
            if room is not None:
                room.mixed.copy_(mixed)
            delta = layer.output(mixed, None if room is None else room.output)
            normed = kernels.rms_norm(stream, delta, layer.inner_norm, eps=eps)
            gate_up = layer.gate_up(normed, None if room is None else room.gate_up)
            delta = layer.down(kernels.silu_mul(*gate_up.chunk(2, dim=1)), None if room is None else room.down)
        return kernels.rms_norm(stream, delta, self._norm, eps=eps)

    def logits(self, hidden: Float[Tensor, "n E"]) -> Float[Tensor, "n V"]:
        """As `Head.logits`."""
        return self._head.logits(hidden)

    def follows(self, model: PreTrainedModel) -> bool:
        """Whether it reads this model's weights where they lie: as they are now, and after each change in place."""
        return self._addresses is not None and self._addresses == _addresses(model)


class _Layer:
    """One layer's weights, ready for use."""

    def __init__(self, own: Mapping[str, Tensor], prefix: str, kernels: AnyKernels) -> None:
        attention, gate = f"{prefix}.self_attn", f"{prefix}.mlp"
        self.input_norm = own[f"{prefix}.input_layernorm.weight"]
        self.inner_norm = own[f"{prefix}.post_attention_layernorm.weight"]
        self.query_norm = own.get(f"{attention}.q_norm.weight")
        self.key_norm = own.get(f"{attention}.k_norm.weight")
        self.qkv = _joined(own, [f"{attention}.{name}_proj" for name in "qkv"], kernels)
        self.output = _joined(own, [f"{attention}.o_proj"], kernels)
        self.gate_up = _joined(own, [f"{gate}.gate_proj", f"{gate}.up_proj"], kernels)
        self.down = _joined(own, [f"{gate}.down_proj"], kernels)


def _joined(own: Mapping[str, Tensor], names: list[str], kernels: AnyKernels) -> Product:
    """Projections of the same input as one product, their outputs side by side."""
    weights = [own[f"{name}.weight"] for name in names]
    biases = [own[f"{name}.bias"] for name in names if f"{name}.bias" in own]
    if biases and len(biases) < len(weights):  # some projections of a layer may have no bias
        biases = [
            own.get(f"{name}.bias", own[f"{name}.weight"].new_zeros(len(own[f"{name}.weight"]))) for name in names
        ]
    return _product(whole(weights).detach(), whole(biases).detach() if biases else None, kernels.products)


def _product(weight: Tensor, bias: Tensor | None, products: AnyProducts) -> Product:
    if products.takes(weight):
        laid_out = products.pack(weight)
        return lambda x, out=None: products.product(x, laid_out, bias, out=out)
    if not has_packed_products(weight.dtype):
        return lambda x, out=None: _put(linear(x, weight, bias), out)
    # Tiles want an order of their own; without this each product puts the weight in order again.
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    return lambda x, out=None: _put(torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], ""), out)


def _put(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else out.copy_(result)


def _layout(model: PreTrainedModel, own: Mapping[str, Tensor], first: str, *, vocabulary: int) -> Layout:
    """Of a network whose layers are all like the first."""
    rows = {name: len(own[f"{first}.self_attn.{name}_proj.weight"]) for name in "qkvo"}
    inner, width = own[f"{first}.mlp.gate_proj.weight"].shape
    mixed = own[f"{first}.self_attn.o_proj.weight"].shape[1]
    widths = (rows["q"] + rows["k"] + rows["v"], mixed, rows["o"], 2 * inner, width)
    return Layout(model.config.num_hidden_layers, widths, vocabulary, model.dtype)


def _addresses(model: PreTrainedModel) -> list[int]:
    return [parameter.data_ptr() for parameter in model.parameters()]


def lays_out(dtype: torch.dtype, kernels: AnyKernels) -> bool:
    """Whether the network holds its matrices once more, as its products read them."""
    return dtype in kernels.products.dtypes or has_packed_products(dtype)


def has_packed_products(dtype: torch.dtype) -> bool:
    """Whether this torch and CPU run products over weights of this dtype laid out ahead: bfloat16 ones, on most."""
    operators = torch.ops.mkldnn
    wanted = ("_linear_pointwise", "_reorder_linear_weight", "_is_mkldnn_bf16_supported")
    is_there = dtype == torch.bfloat16 and all(hasattr(operators, name) for name in wanted)
    return is_there and bool(operators._is_mkldnn_bf16_supported())


def refusal(model: PreTrainedModel) -> str | None:
    """Why this model cannot run fused, or None when it can."""
    config = model.config
    weight = model.get_output_embeddings().weight
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    checks = {
        f"its weights are on {weight.device.type}": weight.device.type not in ("cpu", "cuda"),
        f"its weights are {weight.dtype}": weight.dtype not in TOLERANCE,
        f"its architecture is {config.model_type}": config.model_type not in FAMILIES,
        "its activation is not SiLU": getattr(config, "hidden_act", None) != "silu",
        f"its heads are {width} wide, no multiple of {LANES}": width % LANES != 0,
        "its width is no multiple of 16": config.hidden_size % LANES != 0 or config.intermediate_size % LANES != 0,
        "its positions are scaled by the length": "dynamic" in str(rope) or "longrope" in str(rope),
    }
    return next((reason for reason, is_so in checks.items() if is_so), None)


def prove(network: FusedNetwork, model: PreTrainedModel) -> str | None:
    """Runs both networks on the same tokens. Returns what is wrong with the fused one, or None."""
    lengths = [3, 17]
    stream = Stream(key(Address(seed=0, stage="prove", step=0)))
    device = model.device
    tokens = torch.tensor([stream.integer(0, model.config.vocab_size - 1) for _ in range(sum(lengths))], device=device)
    positions = torch.cat([torch.arange(length, device=device) for length in lengths])
    with torch.inference_mode():
        want, have = (
            run(tokens, positions, PackedContext(lengths, device=device)).float()
            for run in (partial(hidden_states, model), network.hidden_states)
        )
    distance = float((want - have).abs().max() / want.abs().max().clamp(min=1e-6))
    if distance <= TOLERANCE[model.dtype]:
        return None
    return f"its hidden states are off by {distance:.2g} of the largest"
