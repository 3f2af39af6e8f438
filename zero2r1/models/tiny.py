"""Tiny language models of Qwen3's architecture, made here: the stand-in for a base model where none can be had.

What it does not do: a fresh tiny model knows nothing; the `pretrain` stage teaches it before any reinforcement
learning (the paper's base model was trained on 14.8 T tokens).
"""

import math

import torch
from transformers import PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from zero2r1.core.random import Address, key, torch_seed
from zero2r1.models.attention import register_attention
from zero2r1.models.config import TinyConfig

__all__ = ["TinyConfig", "make_tiny"]

RESIDUAL_WRITERS = ("o_proj.weight", "down_proj.weight")
"""The two projections of a layer whose output is added to the residual stream."""


def make_tiny(config: TinyConfig, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Qwen3ForCausalLM:
    """A model with weights that are a pure function of config, vocabulary size and seed; embeddings tied.

    Each matrix is drawn from N(0, s^2) with s = 1 / sqrt(fan_in), the two projections that write into the residual
    stream divided by sqrt(2 * num_layers); embeddings from N(0, 1 / E), norms 1, biases 0.

    Source: Ours: variance-preserving initialisation. The usual fixed 0.02 is far too small at such widths: on two-digit
    sums it needs 2 to 3 times as many updates to the same loss (measured at width 64, learning rates 1e-3 and 3e-3).
    """
    model = _empty(config, tokenizer)
    generator = torch.Generator().manual_seed(torch_seed(key(Address(seed=seed, stage="make_tiny", step=0))))
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.dim() < 2:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            std = 1.0 / math.sqrt(parameter.shape[1])
            if name.endswith(RESIDUAL_WRITERS):
                std /= math.sqrt(2 * config.num_layers)
            parameter.normal_(0.0, std, generator=generator)
    return model.eval()


def _empty(config: TinyConfig, tokenizer: PreTrainedTokenizerBase) -> Qwen3ForCausalLM:
    """The network before its weights are drawn; torch's own generator is left as it was."""
    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_kv_heads,
        head_dim=config.hidden_size // config.num_heads,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=register_attention(),
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        return Qwen3ForCausalLM(shape)
