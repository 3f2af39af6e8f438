"""Settings of the learner. No torch here, so that a recipe can be read and explained without it."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from zero2r1.core.config import Strict


class LoraConfig(Strict):
    """Low-rank adapters that are trained in place of the model's own weights."""

    rank: int = Field(default=16, ge=1)
    """Rows of A and columns of B: the rank of the change to each adapted matrix. Ours: the paper trains all weights."""
    alpha: float = Field(default=32.0, gt=0)
    """The change is (alpha / rank) B A. Source: LoRA (Hu et al., 2021), section 4.1: the factor. Ours: its value."""
    targets: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    """Layers that get an adapter: `all-linear`, every linear layer but the output layer; or names, e.g.
    `[q_proj, v_proj]`. Ours: attention and feed-forward alike."""
    dropout: float = Field(default=0.0, ge=0, le=0)
    """Must be 0: the learner draws no random numbers, and the sampler's probabilities must be those of the network that
    learns; with dropout they would be of two networks. Ours."""
    seed: int = Field(default=0, ge=0)
    """The first values of A are drawn from this and each layer's name, not from the run's seed. Ours."""

    def chosen(self, names: Iterable[str]) -> list[str]:
        """Of full names of linear layers (the output layer not among them) those that get an adapter, in their order.

        A target names a layer by its full name or by its last parts (`q_proj`, `mlp.up_proj`).
        """
        if self.targets == "all-linear":
            return list(names)
        return [name for name in names if any(fits(name, target) for target in self.targets)]


def fits(name: str, target: str) -> bool:
    """True where a target is a layer's name or the last parts of it. Ours: as peft reads targets."""
    return name == target or name.endswith("." + target)


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
    compute_dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """Numbers the network computes with (and the sampler, which shares it). bfloat16 keeps float32 master weights in
    the optimizer. auto: bfloat16 where the device computes with it, else float32; settled when the recipe is read,
    so the run folder names the one it got. Ours: float32, with which sampler and learner agree to 1e-5."""
    offload: Literal["none", "cpu"] = "none"
    """cpu: master weights and AdamW's moments live in host memory and the update is made there, so that a GPU holds
    weights and gradients only. Less device memory, more time an update; without a GPU the same numbers. Ours: none."""
    activation_checkpointing: bool = False
    """Keep only the input of each layer and compute the layer again in the backward pass: less memory, more time, the
    same gradient. Ours: off; fewer `micro_tokens` save memory without the time, so this is for single long rows."""
    kernels: Literal["auto", "off"] = "auto"
    """auto: on a CPU, norms and feed-forwards of known architectures run compiled, where there is a compiler, and
    a bfloat16 network sums its layers in float32. off: all as transformers has it. Ours: faster and more exact."""
    max_nonfinite_in_a_row: int = Field(default=3, ge=1)
    """Updates in a row with a NaN or infinite loss or gradient after which the run stops. Ours: one may be bad luck."""
    lora: LoraConfig | None = None
    """Train low-rank adapters only (extra `lora`): far less memory for gradients and optimizer, small checkpoints; the
    finished model is written merged. The learning rate wants choosing anew. Ours: null, all weights, as the paper."""
