"""What each stage can be told: one pydantic model a stage kind, the paper's numbers as defaults.

A recipe's top-level sections (`rl`, `learner`, `rewards`, `tasks`, `eval`) are the defaults of every stage that
has such a section; what a stage says itself wins. `recipes.load` does that merge, so a stage only ever sees its own
complete configuration.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from zero2r1.core.config import Strict
from zero2r1.evals.config import EvalConfig
from zero2r1.learner.config import LearnerConfig
from zero2r1.models.config import TinyConfig
from zero2r1.policy.sampler_config import SamplerConfig
from zero2r1.rewards.base import RewardConfig, VerdictConfig
from zero2r1.rl.config import RLConfig
from zero2r1.tasks.base import TaskConfig
from zero2r1.tasks.corpus import CorpusConfig

DEFAULT_TASKS = (TaskConfig(family="arithmetic"),)


class ModelConfig(Strict):
    """Where the first weights come from: exactly one of `source` and `tiny`."""

    source: str | None = None
    """A Hugging Face directory, a hub id, a .gguf file, or a key of `zero2r1 models ls`."""
    tiny: TinyConfig | None = None
    """Make a small Qwen3 network here, from random weights."""
    keep_template: bool = False
    """Prompt a `source` model through the chat template it carries, instead of the template of the stage's dialect."""

    @model_validator(mode="after")
    def _one_origin(self) -> "ModelConfig":
        if (self.source is None) == (self.tiny is None):
            raise ValueError("give exactly one of 'source' and 'tiny'")
        return self


class SaveConfig(Strict):
    """How often a stage writes itself down."""

    checkpoint_every: int = Field(default=50, ge=1)
    """Updates between checkpoints (reinforcement learning saves at the next rollout boundary). Ours: one minute of
    work lost at most on a laptop."""
    keep: int = Field(default=2, ge=1)
    """Checkpoints kept; the newest complete one is never deleted. Ours: one to fall back to."""
    rollouts_every: int = Field(default=20, ge=1)
    """Updates between stored rollouts. Ours."""
    rollout_rows: int = Field(default=64, ge=0)
    """Rows kept of a stored rollout, whole groups first. Ours: a run must not fill a disk."""


class MonitorConfig(Strict):
    """How closely reinforcement learning is watched for reward hacking. It changes no update."""

    second_verifier_rows: int = Field(default=16, ge=0)
    """Rows of each rollout that a second, independent verifier judges, too; 0: none. Ours: 16 cost less than 1 ms."""
    heldout_every: int = Field(default=20, ge=1)
    """Updates between two measurements on held-out questions (at the next end of a rollout). Ours."""
    heldout_questions: int = Field(default=32, ge=0)
    """Questions of the validation split that are asked once each; 0: none. Ours: enough to see that it is flat."""


class SFTConfig(Strict):
    """Supervised fine-tuning, the paper's numbers (cold-start SFT and second SFT alike)."""

    epochs: int = Field(default=2, ge=1)
    """Passes over the rows. Source: DeepSeek-R1, training details of SFT: 2-3 epochs."""
    batch_rows: int = Field(default=128, ge=1)
    """Rows an update. Source: DeepSeek-R1, training details of SFT: batch size 128 (64 for distillation)."""
    max_tokens: int = Field(default=32_768, ge=1)
    """Longest row; longer ones are left out and counted. Source: DeepSeek-R1, training details of SFT: 32,768."""


class SamplingFilter(Strict):
    """Which sampled traces become supervised rows."""

    prompts: int = Field(default=1024, ge=1)
    """Questions sampled. Ours: the paper says "thousands" for the cold start and gives no number per prompt."""
    samples_per_prompt: int = Field(default=4, ge=1)
    """Samples of each question. Ours: the paper says "several"."""
    temperature: float = Field(default=1.0, gt=0)
    """Source: DeepSeek-R1, cold start: 1.0. Ours for rejection sampling, where none is stated."""
    max_new_tokens: int = Field(default=32768, ge=1)
    """Token budget of a trace. Source: DeepSeek-R1, RL stage 1: 32,768."""
    min_language: float = Field(default=1.0, ge=0, le=1)
    """Least language consistency of the thinking text. Ours: the paper filters mixing, without a threshold."""
    max_repetition: float = Field(default=0.3, ge=0, le=1)
    """Largest share of repeated 8-grams. Ours: the paper detects repetition, without a threshold."""
    max_paragraph_words: int = Field(default=300, ge=1)
    """Longest paragraph of the thinking text, in words. Ours: the paper drops "long paragraphs"."""
    allow_markdown: bool = True
    """False drops thinking with headings, lists, bold or tables. Source: DeepSeek-R1, SFT data: conversational
    thinking without markdown is asked of the writer; as a filter it is ours, and off."""
    keep_per_prompt: int = Field(default=1, ge=1)
    """Accepted traces kept of one question. Ours."""
    max_rows: int | None = Field(default=None, ge=1)
    """Stop at so many rows; None keeps all. Ours: a small cold start is how the paper's Dev1 comes to be."""


class StageBase(Strict):
    """What every stage has."""

    tasks: tuple[TaskConfig, ...] = DEFAULT_TASKS
    """The questions: trained on in the train split, evaluated in the test split."""
    verdicts: VerdictConfig = VerdictConfig()
    """What judges answers: the sandbox for programs, the judge for free text."""
    learner: LearnerConfig = LearnerConfig()
    """Optimizer and numerics."""
    save: SaveConfig = SaveConfig()
    """Checkpoints and stored rollouts."""
    eval: EvalConfig = EvalConfig()
    """How the finished stage is measured."""
    sampler: SamplerConfig = SamplerConfig()
    """Who draws samples: of the stage's rollouts or traces, and of its evaluation."""


class PretrainStage(StageBase):
    """A tiny base model from a noisy bilingual corpus: the stand-in for DeepSeek-V3-Base."""

    kind: Literal["pretrain"] = "pretrain"
    model: ModelConfig | None = None
    """Overrides the recipe's model (a student's base is smaller)."""
    corpus: CorpusConfig = CorpusConfig()
    """Styles of reasoning, good and bad, and their weights."""
    steps: int = Field(default=400, ge=1)
    """Updates. Ours."""
    batch_documents: int = Field(default=64, ge=1)
    """Documents an update. Ours."""
    loss_on: Literal["all", "reply"] = "all"
    """Which tokens are learned: all of a document, or what the assistant says. Ours."""
    vocab_documents: int = Field(default=2000, ge=1)
    """Documents the tokenizer is trained on. Ours."""


class ZeroRLStage(StageBase):
    """DeepSeek-R1-Zero: reinforcement learning alone, from a base model, with rule rewards."""

    kind: Literal["zero_rl"] = "zero_rl"
    init: str = "model"
    """The stage whose model starts this one, or `model` for the recipe's own."""
    model: ModelConfig | None = None
    """With `init: model`: another model than the recipe's (a student trained by RL alone)."""
    dialect: Literal["r1_zero", "r1", "plain"] = "r1_zero"
    """The reply grammar. Source: DeepSeek-R1, Table 1: r1_zero."""
    rl: RLConfig = RLConfig()
    """GRPO."""
    rewards: RewardConfig = RewardConfig()
    """Accuracy plus format, same weight."""
    monitor: MonitorConfig = MonitorConfig()
    """The watch for reward hacking."""


class ReasoningRLStage(StageBase):
    """RL stage 1 of DeepSeek-R1: rule rewards plus the language consistency reward (Dev1 to Dev2)."""

    kind: Literal["reasoning_rl"] = "reasoning_rl"
    init: str
    """The cold-started model."""
    dialect: Literal["r1_zero", "r1", "plain"] = "r1"
    """The reply grammar."""
    rl: RLConfig = RLConfig()
    """GRPO."""
    rewards: RewardConfig = RewardConfig(language=1.0)
    """Accuracy, format and language consistency, summed. Source: DeepSeek-R1, first RL stage: added directly."""
    monitor: MonitorConfig = MonitorConfig()
    """The watch for reward hacking."""


def recording_gib(stage: StageBase) -> float:
    """GiB for a recording of a stage's rollouts; 0 where its updates would not read one.

    Ours: a rollout of several updates leaves only the first one the weights that sampled, and what activation
    checkpointing saves a recording would take.
    """
    if not isinstance(stage, ZeroRLStage | ReasoningRLStage) or stage.rl.minibatches > 1:
        return 0.0
    reads = stage.learner.kernels == "auto" and not stage.learner.activation_checkpointing
    return stage.rl.recording_gib if reads else 0.0


class ColdStartStage(StageBase):
    """Cold start: readable traces made from R1-Zero's samples, SFT from the base model (to Dev1)."""

    kind: Literal["cold_start"] = "cold_start"
    init: str
    """The base model that is fine-tuned."""
    teacher: str
    """The R1-Zero stage that is sampled."""
    sampling: SamplingFilter = SamplingFilter()
    """Which traces are kept."""
    sft: SFTConfig = SFTConfig()
    """Fine-tuning."""


class RejectionSamplingStage(StageBase):
    """Rejection sampling + SFT, again from the base model (to Dev3)."""

    kind: Literal["rejection_sampling"] = "rejection_sampling"
    init: str
    """The base model that is fine-tuned. Source: DeepSeek-R1 v1: the base again, not Dev2."""
    teacher: str
    """The reasoning model that is sampled (Dev2)."""
    sampling: SamplingFilter = SamplingFilter(samples_per_prompt=4, keep_per_prompt=2)
    """Which traces are kept."""
    general_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of non-reasoning rows. Source: DeepSeek-R1: about 200k of 800k."""
    sft: SFTConfig = SFTConfig()
    """Fine-tuning."""


class DistillStage(StageBase):
    """Distillation: SFT of a smaller student on the rows a teacher stage made. No RL."""

    kind: Literal["distill"] = "distill"
    init: str = "model"
    """The student's base: a stage, or `model`."""
    model: ModelConfig | None = None
    """With `init: model`: the student, another model than the recipe's."""
    teacher: str
    """The stage whose supervised rows are used (the rejection sampling stage)."""
    sft: SFTConfig = SFTConfig(batch_rows=64)
    """Fine-tuning; batch size 64. Source: DeepSeek-R1, training details of distillation."""


Stage = Annotated[
    PretrainStage | ZeroRLStage | ReasoningRLStage | ColdStartStage | RejectionSamplingStage | DistillStage,
    Field(discriminator="kind"),
]


def parents_of(stage: StageBase) -> dict[str, str]:
    """Role -> stage name of what this stage starts from; the recipe's own model is no stage and is left out."""
    roles = {"base": getattr(stage, "init", "model"), "teacher": getattr(stage, "teacher", "model")}
    return {role: name for role, name in roles.items() if name != "model"}
