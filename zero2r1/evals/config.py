"""How an evaluation samples: number of questions, samples a question, temperature, lengths; and named presets.

Which questions and which reward are the caller's. No torch here: recipes read this.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import Field, model_validator

from zero2r1.core.config import Strict
from zero2r1.core.errors import ConfigError


class EvalConfig(Strict):
    """One evaluation. The defaults are the paper's protocol."""

    questions: int = Field(default=200, ge=1)
    """Held-out questions drawn; repeated ones count once. Ours: the paper takes whole benchmarks."""
    samples: int = Field(default=64, ge=1)
    """Samples a question, k. Source: DeepSeek-R1, evaluation protocol: 64 for AIME and GPQA, 16 for MATH, 8 for
    LiveCodeBench."""
    temperature: float = Field(default=0.6, ge=0)
    """Source: DeepSeek-R1, evaluation protocol: 0.6; greedy decoding repeats itself more and varies more."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Source: DeepSeek-R1, evaluation protocol: 0.95."""
    max_new_tokens: int = Field(default=32768, ge=1)
    """Token budget of a response. Source: DeepSeek-R1, evaluation protocol: 32,768."""
    split: Literal["validation", "test"] = "test"
    """The held-out split. Ours: `test` is never trained on and never used to choose anything."""
    start: int = Field(default=0, ge=0)
    """Index of the first question in the split. Ours."""
    batch_questions: int = Field(default=256, ge=1)
    """Questions sampled at a time: bounds memory, never changes a token. Ours."""

    @model_validator(mode="after")
    def _greedy_is_one_sample(self) -> "EvalConfig":
        if self.temperature == 0 and self.samples > 1:
            raise ValueError("temperature 0 says the same thing every time: set samples to 1, or temperature to 0.6")
        return self


PRESETS: Mapping[str, EvalConfig] = MappingProxyType(
    {
        "deepseek-r1": EvalConfig(samples=64, temperature=0.6, top_p=0.95, max_new_tokens=32768),
        "deepseek-r1-zero": EvalConfig(samples=16, temperature=0.6, top_p=0.95, max_new_tokens=32768),
    }
)
"""Named protocols. `deepseek-r1`: the final evaluation (its README: temperature 0.6, top-p 0.95, 64 samples, no system
prompt). `deepseek-r1-zero`: 16 samples a question, as during R1-Zero's training."""


def preset(name: str) -> EvalConfig:
    """The evaluation of this name. Raises ConfigError Z105 with the known names."""
    if name not in PRESETS:
        raise ConfigError("Z105", f"no evaluation preset '{name}'", fix="one of: " + ", ".join(PRESETS))
    return PRESETS[name]
