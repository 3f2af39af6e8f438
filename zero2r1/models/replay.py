"""A forward pass that reads from a recording what it would compute: the learner's half of `models.recording`.

Inside `replaying`, attentions and feed-forwards of the model take the results of their products and of their attention
from the recording. The gradients are those of the computed pass, to the last bit: so are the numbers they start from.

What it does not do: find out whether the recording is of these weights (`Recording.is_of`), activation checkpointing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from transformers import PreTrainedModel

from zero2r1.models.layers import is_quick
from zero2r1.models.recording import Reader


def is_replayable(model: PreTrainedModel) -> bool:
    """Whether every layer of the model computes what a recording holds: all parts are quick, none has adapters."""
    layers = getattr(model.base_model, "layers", ())
    parts = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
    return bool(layers) and all(is_quick(getattr(layer, part, None)) for layer in layers for part in parts)


@contextmanager
def replaying(model: PreTrainedModel, read: Reader | None) -> Iterator[None]:
    """Inside, a pass reads what it would compute.

    Args:
        model: `is_replayable`.
        read: of the tokens of the pass; None: all is computed.
    """
    if read is None:
        yield
        return
    changed = []
    try:
        for layer, known in zip(model.base_model.layers, read, strict=True):
            for module in (layer.self_attn, layer.mlp):
                own = module.__dict__["forward"]
                module.__dict__["forward"] = partial(own, known=known)
                changed.append((module, own))
        yield
    finally:
        for module, own in changed:
            module.__dict__["forward"] = own
