"""Settings of reinforcement learning. No torch here, so that a recipe can be read and explained without it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zero2r1.core.config import Strict
from zero2r1.rl.algorithms import ALGORITHMS

CAPS: Mapping[str, float] = MappingProxyType({"truncate": 2.0, "mask": 5.0})
"""Largest importance weight by correction. truncate: Ours, the usual one of other trainers. mask: Source: IcePop."""


class LengthCap(Strict):
    """One row of the schedule of length caps."""

    from_step: int = Field(ge=0)
    """First update (counted from 0) whose rollout has this cap."""
    max_new_tokens: int = Field(ge=1)
    """Tokens a response may have."""


class RLConfig(Strict):
    """GRPO and its relatives. Unset choices come from the row of `algorithm` in `rl/algorithms.py`."""

    algorithm: Literal["grpo", "dr_grpo", "dapo", "gspo", "cispo"] = "grpo"
    """The row of choices to start from. Source: DeepSeek-R1, GRPO."""
    steps: int = Field(default=10_400, ge=1)
    """Parameter updates in all. Source: DeepSeek-R1, training details of R1-Zero: 10,400."""
    prompts_per_step: int = Field(default=32, ge=1)
    """Questions of one update. Source: DeepSeek-R1, training details of R1-Zero: 32."""
    samples_per_prompt: int = Field(default=16, ge=1)
    """Outputs of one question: the group. Source: DeepSeek-R1, training details of R1-Zero: 16."""
    minibatches: int = Field(default=16, ge=1)
    """Updates of one rollout, which has prompts_per_step * minibatches questions. Source: DeepSeek-R1,
    training details of R1-Zero: 8,192 outputs in 16 mini-batches, one inner epoch."""
    split: Literal["outputs", "groups"] = "outputs"
    """What is dealt at random into the mini-batches. Source: DeepSeek-R1: outputs are "randomly split". Ours: `groups`
    keeps the outputs of a question together."""
    temperature: float = Field(default=1.0, gt=0)
    """Of the rollout, and of the log-probabilities in the loss. Source: DeepSeek-R1: 1 (0.7 in the second RL stage)."""
    stop: tuple[str, ...] = ()
    """Texts that end a response besides the end-of-sequence token. Ours: none."""
    max_new_tokens: Annotated[tuple[LengthCap, ...], Field(min_length=1)] = (
        LengthCap(from_step=0, max_new_tokens=32_768),
        LengthCap(from_step=8_200, max_new_tokens=65_536),
    )
    """Length cap by step; one number means the same cap always. Source: DeepSeek-R1, training details of R1-Zero."""
    overlong: Literal["keep", "mask", "soft"] = "keep"
    """Truncated outputs: `keep` their score; `mask` them out of the loss, though they stay in the baseline; `soft` also
    takes off up to 1 as they near the cap. Ours: not stated, `keep` adds no rule."""
    overlong_buffer_frac: float = Field(default=0.2, gt=0, le=1)
    """Share of the cap over which `soft` grows from 0 to -1. Source: DAPO: 4,096 of 20,480."""
    dynamic_sampling: bool = False
    """Replace groups without variance by fresh questions. Source: DAPO; not in DeepSeek-R1."""
    dynamic_sampling_rounds: int = Field(default=4, ge=1)
    """Draws after which a rollout goes on with the groups it has. Ours."""
    ratio: Literal["token", "sequence"] = "token"
    """Of what the importance ratio is taken. Ours: token; the paper prints outputs and speaks of tokens."""
    objective: Literal["clip", "cispo"] = "clip"
    """The surrogate. Source: DeepSeek-R1, GRPO objective: clip."""
    aggregation: Literal["sequence_mean", "token_mean", "constant"] = "sequence_mean"
    """How token terms become one number: the mean over outputs of the mean over tokens; the mean over all tokens; or
    the sum over outputs * cap. Source: DeepSeek-R1, GRPO objective: 1/G sum over outputs; the mean over the tokens of
    each is DeepSeekMath's."""
    advantage: Literal["mean_std", "mean", "leave_one_out"] = "mean_std"
    """The baseline. Source: DeepSeek-R1, group advantage: (r - mean) / std."""
    std: Literal["population", "sample"] = "population"
    """Which standard deviation. Ours: not stated."""
    std_epsilon: float = Field(default=1e-6, ge=0)
    """Added to the std. Ours: not stated; equal rewards give exactly 0 with any value."""
    clip_low: float = Field(default=10.0, gt=0)
    """The ratio is cut below 1 - clip_low. Source: DeepSeek-R1, training details of RL stage 1: clip ratio 10."""
    clip_high: float = Field(default=10.0, gt=0)
    """The ratio is cut above 1 + clip_high. Source: DeepSeek-R1, training details of RL stage 1: clip ratio 10."""
    kl_coef: float = Field(default=0.001, ge=0)
    """Weight of the KL term; 0 needs no reference policy. Source: DeepSeek-R1, training details of R1-Zero: 0.001."""
    reference_every: int = Field(default=400, ge=1)
    """Updates after which the reference policy becomes the newest one, at the end of the rollout that reaches them.
    Source: DeepSeek-R1, training details of R1-Zero: 400."""
    importance_correction: Literal["none", "truncate", "mask"] = "none"
    """For a sampler that computes otherwise than the learner (vLLM): recompute the old log-probabilities with the
    learner and weigh each token by rho = old/sampler, cut at `importance_cap` (`truncate`) or 0 where it leaves
    [`importance_floor`, `importance_cap`] (`mask`). Source: truncated importance sampling (Yao et al. 2025); mask:
    IcePop (arXiv 2510.18855). Ours: none; the built-in sampler computes with the learner's own weights and
    arithmetic."""
    importance_cap: float | None = Field(default=None, gt=0)
    """Largest rho. Unset it is 2 for `truncate` (Ours) and 5 for `mask` (Source: IcePop). Set alone it means
    `truncate`, as it did before there was a choice."""
    importance_floor: float = Field(default=0.5, ge=0)
    """Least rho that `mask` keeps. Source: IcePop: 0.5."""
    recording_gib: float = Field(default=4.0, ge=0)
    """Memory, in GiB, for what sampling computes of each token, so that the update reads it instead of computing the
    same once more; only where a rollout is one update (`minibatches: 1`), and a rollout that might need more is not
    recorded at all. 0: never. Ours: 0.4 MB a token of a network of 135 M parameters; a fixed number, so that a run does
    the same on every machine."""
    max_gap_nats: float = Field(default=0.2, gt=0)
    """Stop when sampler and learner disagree by more than this on average before the first update of a rollout. Ours:
    stale weights measure 0.2 and more, healthy bfloat16 0.02, float32 1e-6."""
    max_error_frac: float = Field(default=0.2, ge=0, le=1)
    """Stop when a larger share of a rollout could not be graded. Ours."""

    @model_validator(mode="before")
    @classmethod
    def _row_of_the_algorithm(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        for name in ("top_p", "top_k"):
            if name in data:
                raise ValueError(
                    f"'{name}' does not exist in RL: the ratio needs the probabilities of the sampled distribution, "
                    "and cutting its tail biases them (shape rollouts with 'temperature')"
                )
        data = _with_correction(data)
        row = ALGORITHMS.get(str(data.get("algorithm", "grpo")), {})
        # Behind a validator like this one, strict validation wants tuples where a file can only have lists.
        given = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
        filled = {**row, **given}
        if isinstance(filled.get("max_new_tokens"), int):
            filled["max_new_tokens"] = ({"from_step": 0, "max_new_tokens": filled["max_new_tokens"]},)
        return filled

    @model_validator(mode="after")
    def _correction_is_whole(self) -> "RLConfig":
        if self.importance_correction == "none" and self.importance_cap is not None:
            raise ValueError("importance_cap has no effect with importance_correction: none")
        if self.importance_correction == "mask" and self.importance_floor > (self.importance_cap or 0.0):
            raise ValueError("importance_floor is at most importance_cap: else every token is masked")
        return self

    @model_validator(mode="after")
    def _caps_start_at_zero(self) -> "RLConfig":
        starts = [cap.from_step for cap in self.max_new_tokens]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"max_new_tokens: from_step must start at 0 and rise, got {starts}")
        return self

    def cap_at(self, step: int) -> int:
        """Length cap, in tokens, of a rollout whose first update is `step`."""
        return [cap.max_new_tokens for cap in self.max_new_tokens if cap.from_step <= step][-1]


def _with_correction(data: dict[str, Any]) -> dict[str, Any]:
    """The cap that belongs to the correction; `truncate` for a cap alone."""
    cap, correction = data.get("importance_cap"), data.get("importance_correction")
    if cap is not None and correction is None:
        return {**data, "importance_correction": "truncate"}
    if cap is None and isinstance(correction, str) and correction in CAPS:
        return {**data, "importance_cap": CAPS[correction]}
    return data
