"""LoRA: a low-rank adapter beside each chosen projection is trained, the base stays as it is.

    y = W x + (alpha / rank) B (A x),   W [out, in] frozen, A [rank, in], B [out, rank] trained

The layers are peft's, put into the model in place. So the learner and the built-in sampler go on sharing one module,
and an update reaches the sampler without a copy. B begins at 0: the first rollout and the first loss are those of the
base, bit by bit.

What it does not do: dropout (see `LoraConfig.dropout`), adapters on embeddings or on the output layer, quantised
bases, several adapters at once. Reading the result as plain weights is `models/lora.py`.

Deviation: the paper trains all weights.
"""

import importlib.util
import math

import torch
from torch import nn
from transformers import PreTrainedModel

from zero2r1.core.errors import ConfigError, MissingExtraError, ModelError
from zero2r1.core.random import Address, key, torch_seed
from zero2r1.learner.config import LoraConfig, fits
from zero2r1.models.lora import ADAPTER, has_adapters

ALL_LINEAR = "all-linear"


def require_peft() -> None:
    """MissingExtraError when the optional package that has the adapted layers is not installed."""
    if importlib.util.find_spec("peft") is None:
        raise MissingExtraError(
            "Z201", "training LoRA adapters needs the 'lora' extra", fix="pip install 'zero2r1[lora]'"
        )


def refuse_adapted(model: PreTrainedModel) -> None:
    """ModelError (Z202) for a model that came with adapters: transformers loads them by itself where peft is installed,
    and all of it would be trained as if it were one network."""
    if has_adapters(model):
        raise ModelError(
            "Z202",
            "the model has adapters already",
            where=type(model).__name__,
            why="its directory holds an adapter_config.json, or it is being trained by another learner",
            fix="merge the adapters into the weights first (peft: merge_and_unload, then save_pretrained)",
        )


def add_adapters(model: PreTrainedModel, config: LoraConfig) -> None:
    """Puts an adapter beside each target, in place, and freezes everything else.

    A is drawn from the settings' seed and the layer's name, B is 0. Both are float32 whatever the base is, since the
    optimizer makes its masters of them before it rounds them.

    Raises:
        MissingExtraError: peft is not installed (Z201).
        ConfigError: a target that the model has not, or that cannot be adapted (Z110).
    """
    require_peft()
    import peft

    names = target_names(model, config)
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=names, lora_dropout=0.0, bias="none",
        task_type="CAUSAL_LM", inference_mode=False,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):  # the layers' own first numbers are drawn and thrown away
        peft.inject_adapter_in_model(settings, model, adapter_name=ADAPTER)
    model.eval().requires_grad_(False)
    for name in names:
        layer = model.get_submodule(name)
        a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
        generator = torch.Generator().manual_seed(
            torch_seed(key(Address(seed=config.seed, stage="lora", step=0), name))
        )
        drawn = torch.empty(a.shape, dtype=torch.float32).uniform_(-1.0, 1.0, generator=generator)
        a.data = (drawn * first_bound(a.shape[1])).to(a.device)
        b.data = torch.zeros_like(b, dtype=torch.float32)
        for factor in (a, b):
            factor.requires_grad_(True)


def first_bound(inputs: int) -> float:
    """1 / sqrt(inputs): A begins uniform in [-bound, bound], so s B A x has the scale of x whatever the width.

    Source: LoRA (Hu et al., 2021), section 4.1: A random, B zero; the bound is that of torch's own linear layers, which
    the authors' code and peft use.
    """
    return 1.0 / math.sqrt(inputs)


def target_names(model: PreTrainedModel, config: LoraConfig) -> list[str]:
    """Full names of the linear layers that get an adapter, in the model's order.

    Raises:
        ConfigError: a target matches no linear layer, or it is the output layer (Z110).
    """
    head = model.get_output_embeddings()
    linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    inner = [name for name, module in linear.items() if module is not head]
    targets = inner[:1] or [ALL_LINEAR] if config.targets == ALL_LINEAR else config.targets
    strange = [target for target in targets if not any(fits(name, target) for name in inner)]
    if not strange:
        return config.chosen(inner)
    is_head = any(fits(name, strange[0]) for name, module in linear.items() if module is head)
    raise ConfigError(
        "Z110",
        f"no adapter can be put on {strange[0]!r}",
        where=f"learner.lora.targets, model {type(model).__name__}",
        why="the output layer's weight is read directly, in pieces, and is often the embedding's too"
        if is_head
        else "the model has no linear layer of this name",
        fix="one or more of: " + ", ".join(sorted({name.rpartition(".")[2] for name in inner})) + f"; or {ALL_LINEAR}",
    )
