"""Networks with random weights in the shapes of known models: for machines that have no weights of them.

A peer makes the same network from the same name and seed, so nothing is saved. It imports this file too, so nothing
here needs more than torch and transformers.

What it does not do: say anything sensible. Such a network never ends a text, so its samples run to their last token.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

SHAPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "qwen2.5-1.5b": {
            "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
            "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151_936, "theta": 1e6,
        },
        "smollm2": {
            "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49_152, "theta": 1e5,
        },
        "tiny": {
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "theta": 1e4,
        },
    }
)  # fmt: skip
"""By name. Embeddings are tied, positions rotary, the last of each for trying a script out."""
POSITIONS = 4096
SEED, STD = 0, 0.02


def config_of(name: str) -> Any:
    """The configuration of a shape, for transformers."""
    from transformers import AutoConfig

    given = dict(SHAPES[name])
    return AutoConfig.for_model(
        given.pop("model_type"),
        rope_parameters={"rope_type": "default", "rope_theta": given.pop("theta")},
        head_dim=given["hidden_size"] // given["num_attention_heads"],
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        **given,
    )


def make(name: str, *, attention: str, device: str, dtype: str = "bfloat16") -> Any:
    """The network in eval mode, made on its device: matrices from N(0, 0.02^2), the same each time."""
    import torch
    from transformers import AutoModelForCausalLM

    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices), torch.device(device):
        model = AutoModelForCausalLM.from_config(
            config_of(name), attn_implementation=attention, dtype=getattr(torch, dtype)
        )
    generator = torch.Generator(device).manual_seed(SEED)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(0.0, STD, generator=generator)
    return model.eval()
