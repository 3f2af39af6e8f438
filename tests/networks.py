"""Small networks of several families with drawn weights, for tests of the models room."""

import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from zero2r1.models.attention import PackedContext, register_attention
from zero2r1.models.forward import hidden_states
from zero2r1.models.packing import pack

VOCAB = 128
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "bos_token_id": None,
}
FAMILIES = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {}),
    "llama": (LlamaConfig, LlamaForCausalLM, {"tie_word_embeddings": False}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": 64}),
    "gemma3_text": (Gemma3TextConfig, Gemma3ForCausalLM, {"sliding_window": 16, "final_logit_softcapping": 20.0}),
    "granite": (GraniteConfig, GraniteForCausalLM, {"logits_scaling": 4.0, "attention_multiplier": 0.2}),
    "cohere": (CohereConfig, CohereForCausalLM, {"logit_scale": 0.25}),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, {}),
}


def network(family, *, seed=0, **changes):
    """A network with plain transformers attention and every parameter drawn, biases and norms too."""
    config_class, model_class, extra = FAMILIES[family]
    with torch.random.fork_rng(devices=[]):
        model = model_class(config_class(**{**SHAPE, **extra, **changes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.normal_(0.0, 0.3, generator=generator)
    return model.eval()


def ours(model):
    """The same network with zero2r1's attention."""
    model.set_attn_implementation(register_attention())
    return model


def run_packed(model, sequences):
    """Hidden states of packed sequences, one tensor each."""
    row = pack(sequences)
    return row.split(hidden_states(model, row.token_ids, row.position_ids, PackedContext(row.lengths)))


def token_rows(*lengths, seed=0):
    """Random token ids, one list a length."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, VOCAB, (length,), generator=generator).tolist() for length in lengths]
