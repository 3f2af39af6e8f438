"""What the planner says of sampling: slots and pages as the engine has them, phases by hand, other samplers."""

from dataclasses import replace
from typing import Any

import pytest

from zero2r1.learner.config import LearnerConfig
from zero2r1.models.config import TinyConfig
from zero2r1.pipeline.planning import memory, sampling
from zero2r1.pipeline.planning.clock import MOST_READINGS, by_turns
from zero2r1.pipeline.planning.estimate import Calls, plan_stage, update_phases
from zero2r1.pipeline.planning.hardware import parse_gpus
from zero2r1.pipeline.planning.memory import Running
from zero2r1.pipeline.planning.probes import probe_settings, read
from zero2r1.pipeline.planning.sampling import Site
from zero2r1.pipeline.planning.shapes import Shape, shape_of, tiny_config
from zero2r1.pipeline.planning.speaking import Sizes
from zero2r1.pipeline.planning.texts import Texts
from zero2r1.pipeline.planning.timing import Roofline
from zero2r1.pipeline.planning.workload import Sampled, Workload, of_stage
from zero2r1.policy.base import Sampling
from zero2r1.policy.config import EngineConfig
from zero2r1.policy.decoding import pages_needed
from zero2r1.policy.sampler_config import SamplerConfig
from zero2r1.policy.scheduler import Job
from zero2r1.stages.config import ZeroRLStage

TEXTS = Texts(vocab=512, tokenizer_bytes=0, prompt=40.0, longest=49, text_s=0.5)


class Clock:
    """A speed whose seconds are easy to add up."""

    def decode_s(self, live: int, width: float | int) -> float:
        return live * width

    def prefill_s(self, tokens: float | int, length: float | int, chunks: int) -> float:
        return 1000 * chunks + tokens

    def layout_s(self) -> float:
        return 7.0

    def forward_s(self, tokens: float | int, length: float | int) -> float:
        return tokens

    def learn_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        return 3 * tokens + 100 * passes

    def replay_s(self, tokens: float | int, length: float | int, passes: int) -> float:
        return 2 * tokens + 50 * passes

    def record_s(self, tokens: float | int) -> float:
        return tokens / 10

    def apply_s(self) -> float:
        return 5.0

    def hash_s(self) -> float:
        return 11.0


@pytest.fixture(scope="module")
def shape() -> Shape:
    return shape_of(tiny_config(TinyConfig(), 512), "tiny")


def sampled(**changes: int) -> Sampled:
    return Sampled(**({"calls": 3, "prompts": 4, "samples": 8, "response": 50, "budget": 96} | changes))


@pytest.mark.parametrize(("prompts", "samples", "budget"), [(16, 8, 96), (40, 1, 33), (20, 3, 1), (16, 64, 500)])
@pytest.mark.parametrize("max_slots", [1, 7, 128])
def test_pages_are_those_the_engine_allocates(prompts: int, samples: int, budget: int, max_slots: int):
    # Lengths 33 to 48 are every place on a page.
    texts = [[1] * (33 + index % 16) for index in range(prompts)]
    jobs = [Job(group=group, sample=sample, key=0) for group in range(prompts) for sample in range(samples)]
    needed = pages_needed(texts, jobs, Sampling(max_new_tokens=budget), num_slots=max_slots)
    asked = sampled(prompts=prompts, samples=samples, budget=budget)
    engine = EngineConfig(max_slots=max_slots, max_tokens_in_cache=2**30)
    assert sampling.cache_pages(asked, 48, engine) == needed
    small = EngineConfig(max_slots=max_slots, max_tokens_in_cache=16 * needed - 1)
    assert sampling.cache_pages(asked, 48, small) == needed - 1


def test_pages_by_hand():
    assert [sampling.own_pages(tokens) for tokens in (1, 2, 17, 18)] == [1, 2, 2, 3]
    # 32 slots: an answer of 96 has up to ceil(111 / 16) = 7 pages and one in reserve; 4 prompts of 3; one more.
    assert sampling.cache_pages(sampled(), 49, EngineConfig()) == 32 * 8 + 4 * 3 + 1
    # One slot: two prompts at a time are kept.
    assert sampling.cache_pages(sampled(), 49, EngineConfig(max_slots=1)) == 8 + 2 * 3 + 1


def test_answers_that_fit():
    # 100 pages, 7 each and 3 for each 4: 31 a group, three groups are 93, and 7 are left: 3 + 7 are more.
    assert sampling.fitting(100, 7, 3, 4) == 12
    assert sampling.fitting(103, 7, 3, 4) == 13
    assert sampling.fitting(5, 7, 3, 4) == 1
    # own ceil(65 / 16) = 5 pages, 3 whole pages of the prompt for 8: 43 a group; 64 pages: 8 and (21 - 3) / 5 = 3.
    assert sampling.engine_slots(sampled(), 49, EngineConfig(max_tokens_in_cache=1024)) == 11
    assert sampling.engine_slots(sampled(), 49, EngineConfig(max_slots=9)) == 9
    assert sampling.engine_slots(sampled(), 49, EngineConfig()) == 32


def calls(**engine: Any) -> Calls:
    return Calls(speed=Clock(), engine=EngineConfig(**engine), text_s=0.5, judge_s=0.25, prompt=41.0)


def test_a_call_by_hand():
    # 4 prompts of 40 tokens in one piece; 50 steps of 32 at width 41 + 25; 32 answers of 50 half seconds, each
    # judged in a quarter of one.
    prefill, decode, answers = 1000 + 160, 50 * 32 * 66, 32 * 25.25
    assert calls().prefill_s(sampled(), 32) == prefill
    assert calls().decode_s([50] * 32, 32) == decode
    assert calls().answers_s([50] * 32) == answers
    assert calls().whole_s(sampled(), 32) == 11 + prefill + decode + answers
    assert calls(recompute_hash=False).whole_s(sampled(), 32) == prefill + decode + answers
    # Pieces of 64 tokens: three; 16 slots: two waves, so two pieces.
    assert calls(prefill_tokens=64).prefill_s(sampled(), 32) == 3160
    assert calls().prefill_s(sampled(), 16) == 2160


def test_an_update_by_hand():
    work = Workload(
        updates=6, rows=16, row_tokens=91.0, prompt=41.0, rollout=sampled(), heldout=sampled(calls=2, samples=1),
        measured=sampled(), extra_passes=1,
    )  # fmt: skip
    slots = {work.rollout: 32, work.heldout: 4}
    phases = update_phases(work, calls(), slots, document_s=0.0, micro_tokens=1000)
    # Three calls for six updates: each counts half. Eight samples of each of two prompts learn 16 * 50 + 2 * 41 = 882
    # tokens, 55 a row: all in one pass.
    assert phases == {
        "update": 3 * 882 + 100 + 5, "reference": 882, "layout": 3.5, "prefill": 580, "decode": 52_800,
        "answers": 404, "hash": 11, "heldout": pytest.approx((11 + 1160 + 50 * 4 * 66 + 101) / 3),
    }  # fmt: skip
    assert update_phases(work, calls(recompute_hash=False), slots, document_s=0.0, micro_tokens=1000)["hash"] == 5.5
    # A quarter of the rows has a gradient: 220.5 tokens there and back, 661.5 only there. The reference sees them all.
    phases = update_phases(replace(work, live=0.25), calls(), slots, document_s=0.0, micro_tokens=1000)
    assert (phases["update"], phases["reference"]) == (3 * 220.5 + 100 + 5 + 661.5, 882)


def planned(shape: Shape, stage: ZeroRLStage, **site: Any) -> Any:
    work = of_stage(stage, prompt=40.0, document=0.0, response=None, made={})
    return plan_stage("r1_zero", stage, shape, TEXTS, work, Site(**({"speed": Clock()} | site)))


def stage_of(**changes: Any) -> ZeroRLStage:
    rl = {"steps": 4, "prompts_per_step": 4, "samples_per_prompt": 8, "max_new_tokens": 96}
    asked = {"questions": 4, "samples": 1, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 96}
    return ZeroRLStage.model_validate({"rl": rl, "eval": asked} | changes)


def test_what_is_compared_is_read_by_turns():
    said: list[str] = []

    def run(name: str, first: float) -> tuple[float, float]:
        said.append(name)
        return (first if len(said) > 2 else 99.0), float(len(said))

    found = by_turns({"a": lambda: run("a", 1.0), "b": lambda: run("b", 2.0)})
    assert said == ["a", "b"] * MOST_READINGS  # both are short
    # The first round is not counted: of a's places 3, 5, ..., 79 the middle one, and of b's 4, 6, ..., 80.
    assert found == {"a": (1.0, 41.0), "b": (2.0, 42.0)}


def test_the_recipe_s_engine_decides(shape: Shape):
    running = Running(is_cpu=True, layout="joined")
    plan = planned(shape, stage_of(), running=running)
    each = memory.cache_bytes_per_token(shape, "float32")
    # The rollout's 32 answers, with 16 minibatches more: 128 slots are the engine's.
    assert plan.slots == 128
    few = planned(shape, stage_of(sampler={"engine": {"max_slots": 4}}), running=running)
    assert few.slots == 4
    # 4 slots of 8 pages; up to 8 prompts of 3 pages; one more.
    assert few.memory["kv_cache"] == (4 * 8 + 8 * 3 + 1) * 16 * each
    assert few.memory["sampling_logits"] == 4 * 4 * shape.vocab
    assert few.memory["sampler"] == 4 * shape.joined
    tight = planned(shape, stage_of(sampler={"engine": {"max_tokens_in_cache": 160}}), running=running)
    assert tight.memory["kv_cache"] == 160 * each
    assert tight.slots == 1
    refused = planned(shape, stage_of(sampler={"engine": {"max_tokens_in_cache": 100}}), running=running)
    assert any("it would refuse" in note for note in refused.notes)


def test_an_evaluation_that_cuts_needs_more_room(shape: Shape):
    stage = stage_of(sampler={"engine": {"max_slots": 4}}, eval={"questions": 4, "samples": 1, "max_new_tokens": 96})
    plan = planned(shape, stage, running=Running(is_cpu=True, layout="joined"))
    assert plan.memory["sampling_logits"] == 16 * 4 * shape.vocab


def test_without_compiled_code_a_layer_is_gathered(shape: Shape):
    plan = planned(shape, stage_of(sampler={"engine": {"max_slots": 4}}), running=Running(is_cpu=True))
    each = memory.cache_bytes_per_token(shape, "float32")
    # 49 + 96 tokens are 10 pages.
    assert plan.memory["gathered"] == 4 * 160 * each // shape.layers
    assert plan.memory["sampler"] == 0
    halves = stage_of(sampler={"engine": {"max_slots": 4}}, learner={"compute_dtype": "bfloat16"})
    plan = planned(shape, halves, running=Running(is_cpu=True))
    assert plan.memory["sampling_logits"] == 16 * 4 * shape.vocab + 4 * shape.table


def test_one_device_has_the_engine_s_limits_and_several_have_not(shape: Shape):
    for count, slots in ((1, 4), (8, 512)):
        cluster = parse_gpus(f"{count}xH100-80")
        speed = Roofline(shape=shape, cluster=cluster, dtype="float32")
        stage = stage_of(sampler={"engine": {"max_slots": 4}})
        plan = planned(shape, stage, speed=speed, budget=count * cluster.device.memory, devices=count)
        assert plan.slots == slots
    stage = stage_of(learner={"offload": "cpu"})
    away = planned(shape, stage, speed=speed, budget=2**40, devices=1)
    assert away.memory["host"] == 16 * shape.parameters
    assert any("hosts' memory" in note for note in away.notes)


def test_other_samplers(shape: Shape):
    inside = SamplerConfig.model_validate({"backend": "vllm", "vllm": {"max_slots": 3, "cache_gib": 2.0}})
    plan = planned(shape, stage_of(sampler=inside))
    assert plan.slots == 3
    assert plan.memory["sampler"] == 2 * shape.parameters + 2 * 2**30
    assert any("come from vllm" in note for note in plan.notes)
    address = {"base_url": "http://127.0.0.1:8000/v1", "model": "m", "concurrency": 5}
    served = SamplerConfig.model_validate({"backend": "vllm_server", "server": address})
    plan = planned(shape, stage_of(sampler=served))
    assert (plan.slots, plan.memory["sampler"]) == (5, 0)


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_a_network_is_read_as_it_will_run(kernels: str, request: Any):
    config = tiny_config(TinyConfig(hidden_size=64, num_heads=2, num_kv_heads=1, num_layers=2), 128)
    small = shape_of(config, "small")
    if kernels == "auto":
        request.getfixturevalue("kernels")
    sizes = Sizes(passes=(32, 64), length=16, slots=4, narrow=8, wide=24, prompts=2, apart=4, steps=10)
    settings = probe_settings(LearnerConfig(kernels=kernels, lr=1.0, micro_tokens=3))
    assert (settings.kernels, settings.lr, settings.micro_tokens) == (kernels, 1e-9, 10**9)
    found, running = read(small, 1, sizes, settings, EngineConfig(kernels=kernels))
    is_compiled = kernels == "auto"
    assert (running.is_quick, running.layout) == (is_compiled, "packed" if is_compiled else "shared")
    assert (found.pop("layout") > 0) == is_compiled
    assert all(seconds > 0 for seconds in found.values())
    assert {"few", "narrow", "wide", "prefill_narrow", "prefill_wide", "apply"} < set(found)
