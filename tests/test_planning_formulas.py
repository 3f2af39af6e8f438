"""The planner's formulas on numbers worked out by hand."""

from dataclasses import replace

import pytest

from zero2r1.core.errors import ConfigError
from zero2r1.learner.config import LoraConfig
from zero2r1.pipeline.planning import cost, storage, timing
from zero2r1.pipeline.planning.calibration import Calibrated, Machine, deeper, line, middle, plane, replayed
from zero2r1.pipeline.planning.estimate import num_chunks, num_passes
from zero2r1.pipeline.planning.hardware import ACCELERATORS, parse_gpus
from zero2r1.pipeline.planning.memory import Running
from zero2r1.pipeline.planning.probes import probe_lengths
from zero2r1.pipeline.planning.shapes import Shape, active_parameters, adapter_parameters, shape_of

QWEN_1_5B = {
    "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
    "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
}  # fmt: skip
SMOLLM_135M = {
    "model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def qwen() -> Shape:
    return shape_of(QWEN_1_5B, "qwen")


def test_parameters_are_exact(qwen: Shape):
    # A layer: q 1536*1536+1536, k and v 2*(256*1536+256), o 1536*1536, MLP 3*1536*8960, norms 2*1536 = 46,797,824.
    # 28 of them, embeddings 151,936*1536 = 233,373,696 once, last norm 1536.
    assert qwen.parameters == 28 * 46_797_824 + 233_373_696 + 1536 == 1_543_714_304
    assert shape_of(SMOLLM_135M, "smollm").parameters == 134_515_008


def test_a_mixture_of_experts_is_counted_whole_and_active():
    shape = shape_of({"model_type": "deepseek_v3"}, "v3")
    # 671,026,419,200 with the 58 * 256 routing biases, which are buffers and not learned.
    assert shape.parameters + 58 * 256 == 671_026_419_200
    # Routed: 58 layers * 256 experts * 3 * 7168 * 2048; 8 of 256 are used.
    routed = 58 * 256 * 3 * 7168 * 2048
    assert shape.active == shape.parameters - routed + routed // 32
    assert round(shape.active / 1e9) == 38  # 37.6; its report says 37
    assert (shape.kv_heads, shape.key_width, shape.value_width) == (128, 192, 128)


def test_active_parameters():
    assert active_parameters(100, 80, used=2, experts=8) == 40  # 20 + 80 / 4
    assert active_parameters(100, 0, used=1, experts=1) == 100


def test_adapters(qwen: Shape):
    # Of a layer: q and o 1536+1536, k and v 1536+256, gate, up and down 1536+8960: 41,216; 28 layers, rank 8.
    assert adapter_parameters(qwen, LoraConfig(rank=8)) == (8 * 28 * 41_216, 2 * 7 * 28) == (9_232_384, 392)
    # q and v alone: 28 * 8 * (3072 + 1792).
    assert adapter_parameters(qwen, LoraConfig(rank=8, targets=("q_proj", "v_proj"))) == (1_089_536, 112)


def test_linear_layers(qwen: Shape):
    # Of a layer: q and o 1536^2, k and v 1536*256, gate, up and down 1536*8960; joined all but o and down.
    assert qwen.matrices == 28 * (2 * 2_359_296 + 2 * 393_216 + 3 * 13_762_560) == 1_310_195_712
    assert qwen.joined == 28 * (2_359_296 + 2 * 393_216 + 2 * 13_762_560)
    assert qwen.table == 233_373_696


def test_operations(qwen: Shape):
    assert timing.forward_flops(1_000, 10) == 20_000
    # 28 layers * 12 heads * 256 * 10 tokens * 100 = 86,016,000.
    assert timing.attention_flops(qwen, 10, 100) == 86_016_000
    assert timing.learning_flops(qwen, 10, 100) == 3 * (2 * 1_543_714_304 * 10 + 86_016_000)
    assert timing.roofline_s(1e12, 1e9, peak=1e12, bandwidth=1e10) == 1.0
    assert timing.roofline_s(1e12, 1e11, peak=1e12, bandwidth=1e10) == 10.0


def test_continuous_batching_in_steps():
    # Two slots: 3 and 5 begin; at 3 the next (4) enters until 7; at 5 nothing waits, one is left.
    assert timing.decode_segments([3, 5, 4], 2) == [(2, 5), (1, 2)]
    assert timing.decode_segments([4] * 5, 2) == [(2, 8), (1, 4)]
    assert sum(live * steps for live, steps in timing.decode_segments([3, 9, 1, 7, 7], 3)) == 27
    assert timing.decode_segments([], 3) == []


def test_roofline_of_one_device(qwen: Shape):
    speed = timing.Roofline(shape=qwen, cluster=parse_gpus("H100-80"), dtype="bfloat16")
    # One sequence: 2 bytes of every weight at 60 % of 3,350 GB/s; its 100 cached tokens are 2.9 MB.
    assert speed.decode_s(1, 100) == pytest.approx((2 * 1_543_714_304 + 2_867_200) / 2.01e12)
    assert speed.group == 1
    assert speed.learn_s(1000, 10, 1) == pytest.approx(timing.learning_flops(qwen, 1000, 10) / (0.35 * 989e12))
    assert speed.apply_s() == pytest.approx(40 * 1_543_714_304 / 2.01e12)
    assert speed.prefill_s(1000, 10, 7) == speed.forward_s(1000, 10)
    assert speed.layout_s() == 0.0
    again = timing.Roofline(shape=qwen, cluster=speed.cluster, dtype="bfloat16", recomputes=True)
    assert again.learn_s(1000, 10, 1) == pytest.approx(speed.learn_s(1000, 10, 1) * 4 / 3)


def test_weights_that_do_not_fit_are_split():
    v3 = shape_of({"model_type": "deepseek_v3"}, "v3")
    # 1,342 GB of weights in halves of 85.9 GB: 31.2, so 32 devices.
    assert timing.Roofline(shape=v3, cluster=parse_gpus("512xH800-80"), dtype="bfloat16").group == 32
    assert timing.Roofline(shape=v3, cluster=parse_gpus("8xH800-80"), dtype="bfloat16").group == 8


def test_the_paper_s_cost_table():
    """Table 7: hours in thousands, $2 each; the prose gives 64 * 8 devices for about 198 and 80 hours."""
    assert cost.machine_hours(512, 198) == 101_376
    assert cost.machine_hours(512, 80) == 40_960
    assert [cost.dollars(hours, 2) for hours in (101_000, 5_000, 41_000)] == [202_000, 10_000, 82_000]
    assert cost.dollars(101_000 + 5_000 + 41_000, 2) == 294_000


def test_disk():
    # 100 parameters: 400 weights + 800 moments + 4 * 2 steps + 120 * 2 * 4 headers + 7.
    assert storage.checkpoint_bytes(100, 2, "float32", has_reference=False, tokenizer=7) == 400 + 800 + 8 + 960 + 7
    assert storage.checkpoint_bytes(100, 2, "float32", has_reference=True, tokenizer=0) == 800 + 800 + 8 + 1200
    assert storage.checkpoint_bytes(100, 2, "bfloat16", has_reference=False, tokenizer=0) == 200 + 1200 + 8 + 1200
    assert storage.model_bytes(100, 2, "bfloat16", tokenizer=5) == 200 + 240 + 5
    # Updates 1, 21, 41: three rollouts of 10 rows of 900 + 50 * 12 bytes.
    assert storage.rollout_bytes(50, every=20, rows=10, response_tokens=50) == 45_000


def test_lines_through_readings():
    assert line(10, 3.0, 20, 5.0) == (pytest.approx(1.0), pytest.approx(0.2))
    assert line(10, 5.0, 20, 3.0) == (5.0, 0.0)  # noise
    # t = 1 + live * (0.5 + 0.01 * width): (2, 100) 4, (8, 10) 5.8, (8, 100) 13.
    assert plane((2, 100), (8, 10), (8, 100), times=(4.0, 5.8, 13.0)) == pytest.approx((1.0, 0.5, 0.01))
    # Of 5 rows of 10 tokens one is computed, 3 + 10; 40 tokens are read in a pass of 3: half a second each.
    assert replayed((3.0, 1.0), tokens=50, rows=5, step=36.0) == (3.0, pytest.approx(0.5))
    assert replayed((3.0, 1.0), tokens=50, rows=5, step=10.0) == (3.0, 0.0)  # noise
    assert replayed((3.0, 1.0), tokens=10, rows=1, step=13.0) == (3.0, 1.0)  # one row alone is none that is read
    assert deeper({"a": 3.0}, {"a": 11.0}, 12) == {"a": 13.0}  # 2 and 10 layers: 1 s a layer
    assert probe_lengths(500, 100) == [100, 70, 130, 85, 115]


@pytest.fixture
def speed(qwen: Shape) -> Calibrated:
    return Calibrated(
        shape=qwen, machine=Machine(threads=1, flops=86_016_000.0, bandwidth=1.0, hashing=10.0, runtime=0),
        running=Running(is_cpu=True), decode=(1.0, 0.5, 0.01), prefill=(2.0, 0.1), layout=4.0,
        forward=(5.0, 0.2), learn=(6.0, 0.3), replay=(4.0, 0.2), record=0.5, apply=7.0, width=50, length=60, weights=80,
    )  # fmt: skip


def test_readings_give_times(speed: Calibrated):
    assert speed.decode_s(8, 100) == pytest.approx(1 + 8 * (0.5 + 1))
    # 10 tokens that look at 100 more than was read: 86,016,000 operations, a second (see above).
    assert speed.prefill_s(10, 50, 3) == pytest.approx(3 * 2 + 1)
    assert speed.prefill_s(10, 150, 3) == pytest.approx(3 * 2 + 1 + 1)
    assert speed.forward_s(10, 20) == pytest.approx(5 + 2)
    assert speed.forward_s(10, 160) == pytest.approx(5 + 2 + 1)
    assert speed.learn_s(10, 160, 2) == pytest.approx(2 * 6 + 3 + 3)
    assert speed.replay_s(10, 160, 2) == pytest.approx(2 * 4 + 2 + 2)
    assert speed.record_s(3) == 1.5
    assert (speed.layout_s(), speed.apply_s(), speed.hash_s()) == (4.0, 7.0, 8.0)


def test_between_two_readings_lies_their_mean(speed: Calibrated):
    second = replace(speed, decode=(3.0, 0.5, 0.03), learn=(8.0, 0.1), apply=8.0)
    between = middle(speed, second)
    assert between.decode == pytest.approx((2.0, 0.5, 0.02))
    assert between.learn == pytest.approx((7.0, 0.2))
    assert (between.apply, between.layout, between.forward, between.width) == (7.5, 4.0, (5.0, 0.2), 50)


def test_passes_and_chunks():
    assert num_passes(10, 100, 350) == 4  # three rows a pass
    assert num_passes(3, 1000, 350) == 3  # a longer row is a pass of its own
    assert num_chunks(5000, 8, 8, 2048) == 3
    assert num_chunks(100, 20, 8, 2048) == 3  # three waves of answers
    assert num_chunks(0, 1, 8, 2048) == 1


def test_accelerators_by_name():
    assert parse_gpus("8xh100-80").count == 8
    assert parse_gpus("H200-141").device is ACCELERATORS["H200-141"]
    for text in ("", "8x", "0xH100-80", "8xQ1-3", "H100", "-1xH100-80"):
        with pytest.raises(ConfigError) as caught:
            parse_gpus(text)
        assert caught.value.code == "Z110"
