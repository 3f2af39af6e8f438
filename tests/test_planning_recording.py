"""What the planner says of a recording: its bytes as they are allocated, when there is one, and what it spares."""

from typing import Any

import pytest
from test_planning_sampling import TEXTS, calls, sampled

from zero2r1.learner import replaying
from zero2r1.models.config import TinyConfig
from zero2r1.pipeline.planning import recording
from zero2r1.pipeline.planning.estimate import update_phases
from zero2r1.pipeline.planning.memory import Running, peak
from zero2r1.pipeline.planning.recording import NOTHING, Recorded, bytes_per_token, recorded
from zero2r1.pipeline.planning.shapes import Shape, build, shape_of, tiny_config
from zero2r1.pipeline.planning.workload import Workload, of_stage
from zero2r1.stages.config import StageBase, ZeroRLStage

RUNNING = Running(is_cpu=True, is_recordable=True)
CONFIGS = {
    "tiny": tiny_config(TinyConfig(num_heads=6, num_kv_heads=2), 512),
    "llama": {
        "model_type": "llama", "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": 288, "tie_word_embeddings": True,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def shape() -> Shape:
    return shape_of(CONFIGS["tiny"], "tiny")


def test_the_share_that_is_computed_is_the_learner_s() -> None:
    assert recording.COMPUTED_FRAC == replaying.COMPUTED_FRAC


def test_bytes_of_a_token_by_hand() -> None:
    # 3 layers of (48 + 16 + 16) + 48 + 48 + 128 + 48 numbers, 288 words, two float32 numbers.
    llama = shape_of(CONFIGS["llama"], "llama")
    assert bytes_per_token(llama, "float32") == (3 * 352 + 288) * 4 + 8
    assert bytes_per_token(llama, "bfloat16") == (3 * 352 + 288) * 2 + 8


@pytest.mark.parametrize("config", CONFIGS)
def test_bytes_of_a_token_are_those_of_the_network_s_layout(config: str, kernels: Any) -> None:
    from zero2r1.models.fused import FusedNetwork, refusal

    model = build(CONFIGS[config], device="cpu")
    assert refusal(model) is None
    layout = FusedNetwork(model, kernels).layout
    assert layout is not None
    assert layout.bytes_per_token == bytes_per_token(shape_of(CONFIGS[config], config), "float32")


def stage_of(**changes: Any) -> ZeroRLStage:
    rl = {"prompts_per_step": 2, "samples_per_prompt": 4, "minibatches": 1, "max_new_tokens": 30, "kl_coef": 0.0}
    return ZeroRLStage.model_validate({"rl": rl | changes.pop("rl", {})} | changes)


def work_of(stage: StageBase, response: int | None = None) -> Workload:
    return of_stage(stage, prompt=TEXTS.prompt, document=50, response=response, made={})


def test_a_rollout_is_held_whole_by_what_is_said(shape: Shape) -> None:
    stage, each = stage_of(), bytes_per_token(shape, "float32")
    # 8 answers of 20 tokens and 2 prompts of 40 without their last.
    assert recorded(stage, work_of(stage, 20), shape, RUNNING) == Recorded(held=(160 + 78) * each, read=15 / 16)


def test_the_budget_is_for_all_that_might_be_said(shape: Shape) -> None:
    each = bytes_per_token(shape, "float32")
    bound = (8 * 30 + 2 * 40) * each / 2**30
    enough, less = (stage_of(rl={"recording_gib": bound * factor}) for factor in (1.001, 0.999))
    assert recorded(enough, work_of(enough, 20), shape, RUNNING).read > 0
    assert recorded(less, work_of(less, 20), shape, RUNNING) == NOTHING


@pytest.mark.parametrize(
    "changes",
    [
        {"rl": {"minibatches": 2}},
        {"rl": {"recording_gib": 0.0}},
        {"learner": {"activation_checkpointing": True}},
        {"learner": {"kernels": "off"}},
        {"learner": {"lora": {"rank": 2}}},
        {"sampler": {"backend": "vllm"}},
    ],
)
def test_what_is_not_recorded(shape: Shape, changes: dict[str, Any]) -> None:
    stage = stage_of(**changes)
    assert recorded(stage, work_of(stage), shape, RUNNING) == NOTHING


def test_a_network_that_cannot_be_recorded_is_not(shape: Shape) -> None:
    assert recorded(stage_of(), work_of(stage_of()), shape, Running(is_cpu=True)) == NOTHING


def test_an_update_by_hand() -> None:
    work = Workload(
        updates=3, rows=32, row_tokens=91.0, prompt=41.0, rollout=sampled(), measured=sampled(), live=0.5,
    )  # fmt: skip
    tokens = 32 * 91 - 41 * 32 * 7 / 8  # each prompt once for its 8 samples
    update = update_phases(
        work, calls(), {sampled(): 32}, document_s=0.0, micro_tokens=10**6, made=Recorded(held=600, read=0.75)
    )
    # A quarter is computed at 3 a token and 100 a pass, the rest read at 2 and 50; rows without a gradient: 1 a token.
    learned = tokens / 2
    assert update["update"] == pytest.approx(
        5 + 0.25 * learned * 3 + 100 + 0.75 * learned * 2 + 50 + 0.25 * (tokens - learned)
    )
    assert update["recording"] == 4 * 8 * 50 / 10


def test_a_recording_is_held_all_the_time() -> None:
    assert peak({"weights": 1, "recording": 10, "kv_cache": 100}) == 111
    assert peak({"weights": 1, "recording": 10, "gradients": 200}) == 211
