"""Settings of a reward: which parts it has, what each weighs (`RewardConfig`), and what judges them (`VerdictConfig`).

Light: no grader is imported here, so a recipe is checked without them.
"""

from pydantic import Field, field_validator

from zero2r1.core.config import Strict
from zero2r1.rewards.code.config import CodeConfig
from zero2r1.rewards.custom import TRLFormat
from zero2r1.rewards.judges.config import JudgeConfig
from zero2r1.rewards.language import SCRIPTS


class VerdictConfig(Strict):
    """What judges answers, in every stage alike: training, filters and evaluation."""

    code: CodeConfig = Field(default_factory=CodeConfig)
    """Programs: the sandbox, and whether some tests passed count."""
    judge: JudgeConfig | None = None
    """The language model that judges answers of the kind `judged`; without one they are errors. Source: DeepSeek-R1,
    rejection sampling: ground truth and prediction are given to DeepSeek-V3."""
    languages: tuple[str, ...] = ()
    """Languages that thinking may be written in, e.g. [en, fr, de]: those of one script are then told apart. Empty: by
    script alone, which suffices for English and Chinese. Ours: the paper does not say how it finds words."""

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(languages) - set(SCRIPTS):
            raise ValueError(f"no script is known for {', '.join(sorted(unknown))}; known: {', '.join(SCRIPTS)}")
        return languages


class RewardConfig(Strict):
    """Which parts a reward has, and how much each weighs."""

    accuracy: float = 1.0
    """Weight of "the final answer is right", 0 or 1. DeepSeek-R1, R1-Zero reward design: the same weight as format."""
    format: float = 1.0
    """Weight of "the reply keeps the dialect's grammar", 0 or 1. DeepSeek-R1, R1-Zero reward design; size: ours."""
    language: float = 0.0
    """Weight of the share of target-language words in the thinking. DeepSeek-R1, RL stage 1: added with weight 1."""
    random: float = 0.0
    """Weight of a fair coin, 0 or 1, that looks at nothing. Ours: the control run. What still improves when only the
    coin is paid for was not learnt from a reward."""
    custom: dict[str, float] = Field(default_factory=dict)
    """Weights of rewards of one's own by `file.py::function`. Ours."""
    trl_format: TRLFormat = "auto"
    """How a TRL-style reward gets prompts and completions: text, messages, or auto (one user turn is text). Ours."""
    timeout_s: float = Field(default=5.0, gt=0.0, le=600.0)
    """Seconds one comparison of expressions may take before its process is killed. Ours: the usual one takes 5 ms."""
    custom_timeout_s: float = Field(default=60.0, gt=0.0, le=86_400.0)
    """Seconds one call of a reward of one's own may take before its process is killed; a TRL-style reward judges a
    whole group in one call. Ours: long enough for a slow one, short beside a run."""
    workers: int = Field(default=16, ge=1, le=1024)
    """Judgements at once, beside sampling. Ours: enough for rewards that wait for something; waiting costs nothing."""
