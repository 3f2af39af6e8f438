"""The first half of a forward pass: token ids to hidden states. The second, hidden states to logits, is in `head`.

They are apart because the second half is the expensive one at large vocabularies: `logprobs` runs it in chunks, and
the sampler runs it only for the last token of each sequence.

What it does not do: no cache of transformers' own, no padding masks, no loss.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from zero2r1.core.errors import ModelError
from zero2r1.models.attention import AttentionContext


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
    before = [layer.__dict__.get("forward") for layer in layers]
    try:
        for layer in layers:
            again = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
            layer.__dict__["forward"] = again  # before the class's own in the order of lookup
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.__dict__.pop("forward", None)
            if own is not None:
                layer.__dict__["forward"] = own


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
