"""Settings of the learner. No torch here, so that a recipe can be read and explained without it."""

from typing import Literal

from pydantic import Field

from zero2r1.core.config import Strict


class LearnerConfig(Strict):
    """Optimizer, schedule and numerics of one stage."""

    lr: float = Field(default=3e-6, gt=0)
    """Peak learning rate. Source: DeepSeek-R1, training details of R1-Zero and RL stage 1: 3e-6 (SFT: 5e-5)."""
    schedule: Literal["constant", "cosine"] = "constant"
    """How the rate goes on after the warm-up. Source: DeepSeek-R1, SFT and distillation: cosine; RL states one rate."""
    warmup_steps: int = Field(default=0, ge=0)
    """Updates of linear warm-up. Ours: none is stated."""
    min_lr_frac: float = Field(default=0.1, ge=0, le=1)
    """Last rate of the cosine as a share of the peak. Source: DeepSeek-R1, SFT: 5e-5 to 5e-6, distillation: to 1/10."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW's decay of the gradient mean. Ours: the optimizer is not stated."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW's decay of the squared gradient. Ours: not stated; the value usual for language models."""
    eps: float = Field(default=1e-8, gt=0)
    """AdamW's epsilon. Ours: not stated."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled decay of matrices (vectors are never decayed). Ours: none is stated."""
    grad_clip: float = Field(default=1.0, ge=0)
    """Largest norm of the whole gradient; 0 switches clipping off. Ours: none is stated."""
    micro_tokens: int = Field(default=2048, ge=1)
    """Tokens of one forward and backward pass. Changes memory and speed, never the gradient. A longer row is a pass of
    its own. Ours: as fast as larger passes on a CPU and small enough for 135 M parameters; a GPU wants more."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Numbers the network computes with (and the sampler, which shares it). bfloat16 keeps float32 master weights in
    the optimizer. Ours: float32, with which sampler and learner agree to 1e-5."""
    activation_checkpointing: bool = False
    """Keep only the input of each layer and compute the layer again in the backward pass: less memory, more time, the
    same gradient. Ours: off; fewer `micro_tokens` save memory without the time, so this is for single long rows."""
    max_nonfinite_in_a_row: int = Field(default=3, ge=1)
    """Updates in a row with a NaN or infinite loss or gradient after which the run stops. Ours: one may be bad luck."""
