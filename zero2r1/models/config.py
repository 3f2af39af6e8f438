"""The settings of this room; importing them loads no torch, so that a recipe can be checked in a moment."""

from pydantic import Field, model_validator

from zero2r1.core.config import Strict


class TinyConfig(Strict):
    """Shape of a tiny model of Qwen3's architecture. The default has 0.5 M parameters; the paper has none so small."""

    hidden_size: int = Field(default=96, ge=4)
    """Width E of the residual stream, an even multiple of num_heads. Ours: the smallest that learns two-digit sums."""
    num_layers: int = Field(default=4, ge=1)
    """Layers L. Ours."""
    num_heads: int = Field(default=4, ge=1)
    """Query heads of a layer. Ours: heads of 24 numbers."""
    num_kv_heads: int = Field(default=2, ge=1)
    """Key/value heads, a divisor of num_heads. Ours: half, as small models of this family have."""
    intermediate_size: int = Field(default=256, ge=1)
    """Width of the gated feed-forward layer. Ours: 8/3 of hidden_size."""
    max_positions: int = Field(default=2048, ge=1)
    """Longest sequence in tokens. Ours."""
    vocab_size: int = Field(default=1024, ge=266)
    """Tokens asked of the tokenizer, 256 bytes and the marks included; the model has as many as the tokenizer got.
    Ours: enough for the words of the built-in tasks."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "TinyConfig":
        if self.num_heads % self.num_kv_heads:
            raise ValueError("num_kv_heads must divide num_heads")
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError("hidden_size must be a multiple of 2 * num_heads: rotary heads have an even width")
        return self
