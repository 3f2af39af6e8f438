"""A loaded model is tried before it is used: three forward passes over a handful of tokens.

Networks come from many authors; that ours is the attention they call, that packed neighbours do not meet and that we
know the whole way from hidden states to logits is not assumed but tried, so that an architecture with a trait we do
not know is refused instead of trained wrongly.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from zero2r1.core.errors import ModelError
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.head import head_of
from zero2r1.models.packing import pack

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Largest difference allowed, as a share of the largest value. Ours: rounding stays well below, a leak far above."""


def check_model(model: PreTrainedModel) -> None:
    """Tries packing and head on a few tokens.

    Raises:
        ModelError: Z202, saying which of the two does not hold.
    """
    vocabulary = head_of(model).weight.shape[0]
    first, second = [3 % vocabulary, 1, 4 % vocabulary], [2 % vocabulary, 7 % vocabulary]
    with torch.no_grad():
        together = _hidden(model, first, second)
        alone = _hidden(model, second)
        _require(model, together[len(first) :], alone, "packed sequences see one another")
        output = model(
            input_ids=torch.tensor([second], device=alone.device),
            use_cache=False,
            attention_context=PackedContext([len(second)], device=alone.device),
        )
        _require(model, head_of(model).logits(alone), output.logits[0].float(), "its logits have a factor unknown here")


def _hidden(model: PreTrainedModel, *sequences: list[int]) -> Tensor:
    device = model.get_input_embeddings().weight.device
    row = pack(sequences)
    context = PackedContext(row.lengths, device=device)
    return hidden_states(model, row.token_ids.to(device), row.position_ids.to(device), context)


def _require(model: PreTrainedModel, ours: Tensor, expected: Tensor, trouble: str) -> None:
    allowed = TOLERANCE.get(model.dtype, 0.1) * float(expected.abs().max().clamp(min=1e-6))
    if ours.shape == expected.shape and float((ours - expected).abs().max()) <= allowed:
        return
    raise ModelError(
        "Z202",
        f"architecture {model.config.model_type!r} is not supported",
        where=type(model).__name__,
        why=f"tried on a few tokens: {trouble}",
        fix="use a Llama, Qwen2, Qwen3, SmolLM, Mistral or Gemma 3 model",
    )
