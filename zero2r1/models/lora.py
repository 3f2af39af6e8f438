"""Reading a model with LoRA adapters as the plain model it stands for, and writing the adapters alone.

An adapted projection computes W x + s B (A x). Everything outside the learner that wants plain weights (a finished
model on disk, the hash that names weights, a sampler with a network of its own) gets W + s B A under the name that W
has in the base model, from one formula here. `learner/lora.py` puts the adapters in.

What it does not do: import peft (its layers are known by their parts, and a model has none unless peft put them in),
or adapters on anything but linear layers.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

ADAPTER = "default"
"""The one adapter a model has here, by the name peft gives it."""
BASE, FACTORS = ".base_layer", (f".lora_A.{ADAPTER}", f".lora_B.{ADAPTER}")
PEFT_PREFIX = "base_model.model."
"""Of every name in an adapter file: where peft's own wrapper holds the network."""
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def merged_weight(
    weight: Float[Tensor, "out in"], a: Float[Tensor, "rank in"], b: Float[Tensor, "out rank"], *, scale: float
) -> Float[Tensor, "out in"]:
    """W + scale * B A, summed in float32 (float64 where W is) and rounded once, to the dtype of W.

    Source: LoRA (Hu et al., 2021, arXiv 2106.09685), section 4.1, equation 3, with scale = alpha / rank.
    """
    wide = torch.promote_types(weight.dtype, torch.float32)
    return (weight.to(wide) + scale * (b.to(wide) @ a.to(wide))).to(weight.dtype)


def is_adapted(module: nn.Module) -> bool:
    """True for a linear layer with an adapter around it."""
    factors = getattr(module, "lora_A", None)
    return factors is not None and ADAPTER in factors and isinstance(getattr(module, "base_layer", None), nn.Linear)


def effective_weight(module: nn.Module) -> Float[Tensor, "out in"]:
    """The weight a linear layer acts with: its own tensor, or a new one where the layer is adapted. No gradient."""
    if not is_adapted(module):
        return module.weight.detach()
    layer: Any = module
    with torch.no_grad():
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        return merged_weight(layer.base_layer.weight, a, b, scale=float(layer.scaling[ADAPTER]))


def has_adapters(model: nn.Module) -> bool:
    """True when any layer of the model is adapted."""
    return any(is_adapted(module) for module in model.modules())


def merged_parameters(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter of the plain model that this one stands for, by its name there, detached.

    Adapted weights are new tensors; all others are the model's own, not copies. Shared parameters (tied embeddings)
    appear once, under their first name. For a model without adapters: its parameters.
    """
    own = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return dict(_merged(model, own))


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """As `merged_parameters`, with saved buffers and with every name of a shared tensor: what a checkpoint holds."""
    return dict(_merged(model, model.state_dict()))


def merged_names(model: nn.Module) -> dict[str, str]:
    """Each name of `merged_state` with the name of the tensor in `model.state_dict()` that it begins from."""
    return {_plain(name): name for name in model.state_dict() if not _is_factor(name)}


def merged_tensor(model: nn.Module, name: str, stored: Tensor) -> Tensor:
    """The tensor of `merged_state` that begins from `stored`, found as `name` in `model.state_dict()`."""
    owner, _, kind = name.rpartition(".")
    if owner.endswith(BASE) and kind == "weight":
        return effective_weight(model.get_submodule(owner.removesuffix(BASE)))
    return stored


def adapter_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The factors A [rank, in] and B [out, rank] of every adapted layer, by the names of peft's files; shared."""
    return {
        PEFT_PREFIX + name.replace(f".{ADAPTER}.", "."): parameter.detach()
        for name, parameter in model.named_parameters()
        if _is_factor(name)
    }


def save_adapter(model: nn.Module, directory: str | Path) -> None:
    """Writes the adapters as a directory that `peft.PeftModel.from_pretrained(base, directory)` reads."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.contiguous() for name, value in adapter_tensors(model).items()}
    save_file(tensors, folder / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    settings: Any = model.peft_config[ADAPTER]
    # peft's own writer keeps its sets in no order: the same adapter would be other bytes each time.
    content = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.to_dict().items()}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def load_adapter(model: nn.Module, directory: str | Path) -> None:
    """Copies saved factors into the adapters that the model has.

    Raises:
        ValueError: the file's adapters are of other layers or of another rank.
    """
    own, stored = adapter_tensors(model), load_file(Path(directory) / ADAPTER_WEIGHTS)
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in stored.items()}:
        raise ValueError("the adapters are of other layers, or of another rank")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(stored[name])


def _merged(model: nn.Module, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, stored in tensors.items():
        if not _is_factor(name):
            yield _plain(name), merged_tensor(model, name, stored)


def _is_factor(name: str) -> bool:
    return name.rpartition(".")[0].endswith(FACTORS)


def _plain(name: str) -> str:
    owner, dot, kind = name.rpartition(".")
    return owner.removesuffix(BASE) + dot + kind
