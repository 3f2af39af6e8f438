"""The shape of a network and its exact number of parameters, from a config alone: weights are neither read nor made.

The network is built on torch's meta device, where a tensor has a shape and no memory, so 671 billion parameters are
counted in well under a second and every architecture that transformers knows is counted right.

What it does not do: download anything, or open weight files. A GGUF file wants `--model-config`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zero2r1.core.errors import ModelError, UserError
from zero2r1.learner.config import LoraConfig
from zero2r1.models.config import TinyConfig

NOT_SHAPE = ("auto_map", "quantization_config", "transformers_version", "torch_dtype", "dtype")
"""Entries of a config.json that say nothing about shapes; the first would ask for foreign code."""
JOINED = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
"""Last part of the name of a layer that shares its input with others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A causal language model as far as memory and time depend on it."""

    name: str
    parameters: int
    """All of them; tied embeddings once."""
    active: int
    """Those one token passes through: fewer than all in a mixture of experts."""
    tensors: int
    """Named parameters."""
    layers: int
    hidden: int
    """E, width of the residual stream."""
    heads: int
    kv_heads: int
    """Key/value heads as the engine's cache holds them (latent attention is held expanded)."""
    key_width: int
    value_width: int
    intermediate: int
    """Width of the feed-forward layer that one token uses."""
    vocab: int
    positions: int | None
    has_qk_norm: bool
    """True where queries and keys are normalised per head."""
    linear: tuple[tuple[str, int, int], ...]
    """Full name, inputs and outputs of every linear layer but the output layer."""
    config: Mapping[str, Any]
    """The config as plain data, to build the network again."""

    @property
    def matrices(self) -> int:
        """Numbers in the weights of all linear layers but the output layer."""
        return sum(inputs * outputs for _, inputs, outputs in self.linear)

    @property
    def joined(self) -> int:
        """Numbers of those that `models/fused.py` joins: query, key and value, and gate and up."""
        return sum(inputs * outputs for name, inputs, outputs in self.linear if name.endswith(JOINED))

    @property
    def table(self) -> int:
        """V * E, numbers of the embedding, and of the output layer."""
        return self.vocab * self.hidden


def read_config(file: Path) -> dict[str, Any]:
    """A config.json as plain data. Raises ModelError Z200 when it is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("Z200", "the model config cannot be read", where=str(file), why=str(error)) from error
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        raise ModelError(
            "Z200", "not a model's config.json", where=str(file), why="it has no 'model_type'",
            fix="--model-config takes the config.json of a Hugging Face model",
        )  # fmt: skip
    return {name: value for name, value in content.items() if name not in NOT_SHAPE}


def local_config(source: str) -> dict[str, Any]:
    """The config of a model that is on this machine: a directory, a fetched key, or a hub id in the hub's cache.

    Raises ModelError Z200 when it is not here; it is never fetched.
    """
    from zero2r1.models.fetch import KNOWN, is_fetched, model_folder

    folder = Path(source).expanduser()
    if source in KNOWN and is_fetched(source):
        folder = model_folder(source)
    if (folder / "config.json").is_file():
        return read_config(folder / "config.json")
    if source not in KNOWN and not folder.exists() and not source.endswith(".gguf"):
        found = _from_hub_cache(source)
        if found is not None:
            return found
    fetch = f"zero2r1 models get {source}   or " if source in KNOWN else ""
    raise ModelError(
        "Z200",
        f"the shape of {source!r} is not known here",
        where=source,
        why="its config.json is not on this machine, and a plan downloads nothing",
        fix=f"{fetch}--model-config {source}=config.json   (the model's config.json, a few kB)",
    )


def _from_hub_cache(source: str) -> dict[str, Any] | None:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError):
        return None
    return {name: value for name, value in config.to_dict().items() if name not in NOT_SHAPE}


def tiny_config(config: TinyConfig, vocab: int) -> dict[str, Any]:
    """The config of `models.tiny`'s network, for a tokenizer of `vocab` tokens."""
    return {
        "model_type": "qwen3",
        "vocab_size": vocab,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.hidden_size // config.num_heads,
        "max_position_embeddings": config.max_positions,
        "tie_word_embeddings": True,
    }


def build(config: Mapping[str, Any], *, device: str) -> Any:
    """The network of a config with zero2r1's attention on a device (`meta`: no memory). Raises ModelError Z200."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from zero2r1.models.attention import register_attention

    try:
        made = AutoConfig.for_model(**config)
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return AutoModelForCausalLM.from_config(
                made, trust_remote_code=False, attn_implementation=register_attention()
            )
    except UserError:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            "Z200", "no network can be made from this model config", why=reason[:300],
            fix="use the config.json of a causal language model that transformers knows",
        ) from error  # fmt: skip


def shape_of(config: Mapping[str, Any], name: str) -> Shape:
    """Counts on the meta device and reads off the widths that memory and time depend on."""
    model = build(config, device="meta")
    made = model.config
    named = {key: parameter.numel() for key, parameter in model.named_parameters()}
    experts = getattr(made, "n_routed_experts", None) or getattr(made, "num_local_experts", None)
    experts = experts or getattr(made, "num_experts", None) or 1
    used = getattr(made, "num_experts_per_tok", None) or 1
    routed = sum(count for key, count in named.items() if ".experts." in key) if experts > 1 else 0
    heads = int(made.num_attention_heads)
    width = int(getattr(made, "head_dim", None) or made.hidden_size // heads)
    latent = getattr(made, "kv_lora_rank", None) is not None
    intermediate = int(made.intermediate_size)
    if routed:
        intermediate = int(made.moe_intermediate_size) * (used + int(getattr(made, "n_shared_experts", 0) or 0))
    return Shape(
        name=name,
        parameters=sum(named.values()),
        active=active_parameters(sum(named.values()), routed, used=used, experts=experts),
        tensors=len(named),
        layers=int(made.num_hidden_layers),
        hidden=int(made.hidden_size),
        heads=heads,
        kv_heads=heads if latent else int(made.num_key_value_heads),
        key_width=int(made.qk_nope_head_dim + made.qk_rope_head_dim) if latent else width,
        value_width=int(made.v_head_dim) if latent else width,
        intermediate=intermediate,
        vocab=int(made.vocab_size),
        positions=getattr(made, "max_position_embeddings", None),
        has_qk_norm=any("q_norm" in key for key in named),
        linear=_linear(model),
        config=dict(config),
    )


def _linear(model: Any) -> tuple[tuple[str, int, int], ...]:
    from torch import nn

    head = model.get_output_embeddings()
    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    return tuple((name, layer.in_features, layer.out_features) for name, layer in layers if layer is not head)


def adapter_parameters(shape: Shape, lora: LoraConfig) -> tuple[int, int]:
    """(parameters, tensors) = (rank * sum of (inputs + outputs), 2 each) over the layers with an adapter.

    Source: LoRA (Hu et al., 2021), section 4.1: A [rank, inputs] and B [outputs, rank].
    """
    widths = {name: inputs + outputs for name, inputs, outputs in shape.linear}
    chosen = lora.chosen(widths)
    return lora.rank * sum(widths[name] for name in chosen), 2 * len(chosen)


def active_parameters(parameters: int, routed: int, *, used: int, experts: int) -> int:
    """active = parameters - routed + routed * used / experts, in parameters.

    `routed` of them belong to `experts` equal experts, of which a token uses `used`.
    Ours: the definition of an active parameter.
    """
    return parameters - routed + routed * used // experts
