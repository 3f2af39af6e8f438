"""The two halves of a forward pass: token ids to hidden states, and hidden states to logits.

They are apart because the second half is the expensive one at large vocabularies: `logprobs` runs it in chunks, and
the sampler runs it only for the last token of each sequence.

What it does not do: no cache of transformers' own, no padding masks, no loss.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from zero2r1.core.errors import ModelError
from zero2r1.models.attention import AttentionContext
from zero2r1.models.precision import bfloat16_factors


def hidden_states(
    model: PreTrainedModel,
    token_ids: Int[Tensor, " T"],
    position_ids: Int[Tensor, " T"],
    context: AttentionContext,
    *,
    recompute: bool = False,
) -> Float[Tensor, "T E"]:
    """Last hidden states (after the final norm) of one row of T tokens under an attention context.

    Args:
        recompute: keep only what enters each layer, and run the layer once more in the backward pass (activation
            checkpointing). The same numbers.

    Raises:
        ModelError: a position lies beyond the model's sliding attention window, where our attention would look
            further back than the model was trained to; or `recompute` for a model without layers that allow it.
    """
    window = attention_window(model)
    if window is not None and int(position_ids.max()) >= window:
        raise ModelError(
            "Z202",
            f"a sequence of more than {window} tokens for a model with a sliding window of {window}",
            where=model.config.model_type,
            why="zero2r1 has no sliding-window attention: beyond the window its results would be wrong",
            fix=f"keep prompt + max_new_tokens within {window} tokens, or use a model without a window",
        )
    with _recomputing(model) if recompute else nullcontext():
        output = model.base_model(
            input_ids=token_ids[None], position_ids=position_ids[None], use_cache=False, attention_context=context
        )
    return output.last_hidden_state[0]


@contextmanager
def _recomputing(model: PreTrainedModel) -> Iterator[None]:
    """Inside, a layer's forward keeps its input only.

    Ours: transformers' own switch works in training mode alone, which would also switch dropout and router noise on.
    No random state is kept, since nothing is drawn.
    """
    layers = [module for module in model.base_model.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(
            "Z202",
            "activation checkpointing needs layers that can be computed again",
            where=type(model).__name__,
            why="transformers marks no layer of this architecture so",
            fix="learner.activation_checkpointing=false and fewer learner.micro_tokens",
        )
    try:
        for layer in layers:
            again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
            layer.__dict__["forward"] = again  # before the class's own in the order of lookup
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def attention_window(model: PreTrainedModel) -> int | None:
    """Tokens of the model's sliding attention window, or None when all its layers see the whole sequence."""
    config = model.config
    window = getattr(config, "sliding_window", None)
    if not window or getattr(config, "use_sliding_window", True) is False:
        return None
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    return int(window)


@dataclass(frozen=True, slots=True)
class Head:
    """The map from hidden states to logits: softcap(scale * (hidden weight^T + bias)).

    softcap(z) = c * tanh(z / c), the identity when there is no cap.
    """

    weight: Float[Tensor, "V E"]
    bias: Float[Tensor, " V"] | None = None
    scale: float = 1.0
    """Factor on the logits (Cohere's logit_scale, the inverse of Granite's logits_scaling)."""
    softcap: float | None = None
    """c of Gemma's final_logit_softcapping, in logits."""

    def logits(self, hidden: Float[Tensor, "N E"], out: Float[Tensor, "N V"] | None = None) -> Float[Tensor, "N V"]:
        """Logits in float32, or in float64 for float64 `hidden`. The factors of the matrix product have its dtype.

        On a CPU the product of bfloat16 numbers is not rounded to bfloat16: a logit of 20 would be off by up to 1/16,
        a good part of what a sampler and a learner in bfloat16 disagree about (docs/log.md). A float32 `weight` is
        then read as it is, without a copy.

        `out` takes them, in their dtype and without a gradient; asking the system for memory of this size again and
        again costs a third of the time.
        """
        if hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu":
            with bfloat16_factors():
                return self._scaled(self._product(hidden.float(), out), out)
        return self._scaled(self._product(hidden, out), out)

    def _product(self, hidden: Tensor, out: Tensor | None) -> Tensor:
        weight, bias = self.weight.to(hidden.dtype), None if self.bias is None else self.bias.to(hidden.dtype)
        if out is None:
            logits = linear(hidden, weight, bias)
            return logits.to(torch.promote_types(logits.dtype, torch.float32))
        if out.dtype != hidden.dtype:
            return out.copy_(linear(hidden, weight, bias))
        if bias is None:
            return torch.mm(hidden, weight.t(), out=out)
        return torch.addmm(bias, hidden, weight.t(), out=out)

    def _scaled(self, logits: Tensor, out: Tensor | None) -> Tensor:
        if self.scale != 1.0:
            logits = logits * self.scale if out is None else logits.mul_(self.scale)
        if self.softcap is not None:
            if out is None:
                return torch.tanh(logits / self.softcap) * self.softcap
            logits.div_(self.softcap).tanh_().mul_(self.softcap)
        return logits


def head_of(model: PreTrainedModel) -> Head:
    """The head of a causal language model, with the factors its config names.

    Raises:
        ModelError: the model has no output layer (it is not a language model).
    """
    layer = model.get_output_embeddings()
    if layer is None:
        raise ModelError(
            "Z202",
            "the model has no language-model head",
            where=type(model).__name__,
            why="only causal language models can sample and be trained here",
            fix="load a ...ForCausalLM checkpoint",
        )
    config = model.config
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    bias = getattr(layer, "bias", None)
    return Head(weight=layer.weight, bias=bias, scale=scale, softcap=None if cap is None else float(cap))
