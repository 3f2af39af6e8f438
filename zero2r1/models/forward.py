"""The two halves of a forward pass: token ids to hidden states, and hidden states to logits.

They are apart because the second half is the expensive one at large vocabularies: `logprobs` runs it in chunks, and
the sampler runs it only for the last token of each sequence.

What it does not do: no cache of transformers' own, no padding masks, no loss.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from zero2r1.core.errors import ModelError
from zero2r1.models.attention import AttentionContext


def hidden_states(
    model: PreTrainedModel,
    token_ids: Int[Tensor, " T"],
    position_ids: Int[Tensor, " T"],
    context: AttentionContext,
) -> Float[Tensor, "T E"]:
    """Last hidden states (after the final norm) of one row of T tokens under an attention context.

    Raises:
        ModelError: a position lies beyond the model's sliding attention window, where our attention would look
            further back than the model was trained to.
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
    output = model.base_model(
        input_ids=token_ids[None], position_ids=position_ids[None], use_cache=False, attention_context=context
    )
    return output.last_hidden_state[0]


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

    def logits(self, hidden: Float[Tensor, "N E"]) -> Float[Tensor, "N V"]:
        """Logits in float32. The matrix product runs in the dtype of `hidden`."""
        weight, bias = self.weight.to(hidden.dtype), None if self.bias is None else self.bias.to(hidden.dtype)
        logits = linear(hidden, weight, bias).float()
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
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
