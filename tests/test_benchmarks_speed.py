"""What the benchmarks of speed claim: their formulas by hand, their goals, and a small turn of our own side."""

import pytest
from benchmarks_world import scripts


@pytest.fixture(scope="module")
def modules(root):
    with scripts(root, "rollout", "grpo_step", "tiny", "cost_law", "peers.workload", "peers.products") as found:
        yield dict(zip(("rollout", "grpo_step", "tiny", "cost_law", "workload", "products"), found, strict=True))


def test_a_rollout_is_described_by_its_speed_and_its_lengths(modules):
    """30 tokens in 2 s, 10 in 1 s, 60 in 2 s: 15, 10 and 30 tokens/s; 100 tokens of 6 samples, 3 of them at the cap."""
    turns = [modules["workload"].turn(lengths, s) for lengths, s in (([10, 20], 2.0), ([5, 5], 1.0), ([20, 40], 2.0))]
    assert modules["workload"].summary(turns, cap=20) == {
        "tokens_per_s": 15.0,
        "slowest": 10.0,
        "fastest": 30.0,
        "mean_length": 16.7,
        "share_at_cap": 0.5,  # 20, 20 and 40
    }


def test_the_coin_is_the_parity_of_the_text(modules):
    assert [modules["workload"].coin(text) for text in ("", "a", "ab", "äö", "abc")] == [1.0, 0.0, 1.0, 1.0, 0.0]


def test_all_questions_are_prompts_of_their_own(modules):
    prompts = modules["workload"].prompts()
    assert len({prompt.id for prompt in prompts}) == len(prompts) == 8


def test_the_products_of_a_layer_have_the_shapes_of_smollm2(modules):
    """Width 576, 9 query and 3 key heads of 64: 576 + 2 * 192 = 960 rows; gate and up are 2 * 1536 = 3072."""
    from transformers import LlamaConfig

    shape = LlamaConfig(hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3)
    assert modules["products"].layer_shapes(shape) == [(960, 576), (576, 576), (3072, 576), (576, 1536)]


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_products_are_done_and_timed(modules, is_packed):
    from transformers import LlamaConfig

    small = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    shape = LlamaConfig(**small, num_hidden_layers=2, vocab_size=96)
    assert 0 < modules["products"].step_products(shape, 8, is_packed=is_packed)() < 10


def test_the_cost_of_attention_by_hand(modules):
    """0.30 s - 0.06 s over 4 sequences, 1,000 more tokens and 60 heads: 0.24 / 240,000 = 1e-6 s."""
    cost = modules["cost_law"].cost(0.30, 0.06, sequences=4, tokens=1000, heads=60)
    assert cost == pytest.approx(1e-6)


def test_the_spread_of_costs_is_a_law_only_where_all_are_positive(modules):
    spread = modules["cost_law"].spread
    assert spread([2.0, 3.0, 2.5]) == 1.5
    assert spread([2.0, 0.0]) == spread([2.0, -1.0]) == float("inf")


def test_old_log_probabilities_are_moved_so_that_ratios_leave_the_clip_both_ways(modules):
    """-0.3 to 0.3 nats: ratios exp(0.3) = 1.35 > 1.2 and exp(-0.3) = 0.74 < 0.8."""
    moved = [modules["grpo_step"].shift(position) for position in range(7)]
    assert moved == pytest.approx([-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3])


def test_the_same_loss_means_every_distance_is_small(modules):
    near = {"loss_apart": 1e-6, "grad_norm_apart": 1e-6}
    found = {"advantages_apart": 1e-8, **near, "moved": {**near, "loss_trl": 0.5}, "read": near}
    is_same = modules["grpo_step"].is_same
    assert is_same(found)
    for name in ("advantages_apart", "loss_apart", "grad_norm_apart"):
        assert not is_same({**found, name: 2e-4})
    for name in ("moved", "read"):
        assert not is_same({**found, name: {**found[name], "grad_norm_apart": 2e-4}})
    # 1e-6 of a loss of 0.001 is a relative distance of 1e-3.
    assert not is_same({**found, "moved": {**found["moved"], "loss_trl": 0.001}})


ROLLOUT = {
    "ratios": {"transformers": 3.0, "continuous": 2.0, "vllm": 1.2},
    "idle_share": {"ours": 0.0, "vllm": 0.01},
    "share_plain": 0.5,
    "gap_mean": 0.01,
}
STEP = {"ratio": 4.0, "is_same": True, "idle_share": {"trl": 0.0}}
TINY = {"tokens_per_s": 20_000, "step_s": 1.0, "busy": {"tokens_per_s": 10_000, "step_s": 2.0}}
LAW = {"prefill_ratio": 1.15, "spread": 1.2}


@pytest.mark.parametrize(
    ("name", "met", "worse"),
    [
        ("rollout", ROLLOUT, {"ratios": {"transformers": 2.9, "continuous": 2.0, "vllm": 1.2}}),
        ("rollout", ROLLOUT, {"ratios": {"transformers": 3.0, "continuous": 2.0}}),  # an absent peer is no win
        ("rollout", ROLLOUT, {"idle_share": {"vllm": 0.5}}),
        ("rollout", ROLLOUT, {"share_plain": 0.49}),
        ("rollout", ROLLOUT, {"gap_mean": 0.021}),
        ("grpo_step", STEP, {"ratio": None}),
        ("grpo_step", STEP, {"ratio": 3.9}),
        ("grpo_step", STEP, {"is_same": False}),
        ("grpo_step", STEP, {"idle_share": {"trl": 1.0}}),
        ("tiny", TINY, {"tokens_per_s": 19_999}),
        ("tiny", TINY, {"step_s": 1.01}),
        ("tiny", TINY, {"busy": {"tokens_per_s": 9_999, "step_s": 2.0}}),
        ("cost_law", LAW, {"prefill_ratio": 1.16}),
        ("cost_law", LAW, {"spread": 1.21}),
    ],
)
def test_goals_are_met_at_their_number_and_missed_beyond(modules, name, met, worse):
    meets = modules[name].meets
    assert meets(met)
    assert not meets({**met, **worse})


def test_our_side_of_the_tiny_benchmark_does_the_work_it_claims(modules):
    """One turn of 3 tokens: 128 samples to the cap (asserted inside), then a step with a gradient."""
    import argparse

    found = modules["tiny"].alone(argparse.Namespace(turns=1, tokens=3, threads=1))
    assert found["tokens_per_s"] > 0
    assert found["step_s"] > 0
    assert found["rows_without_gradient"] < 0.5


def test_a_busy_process_ends_with_its_measurement(modules, monkeypatch):
    """The spinning process is killed also when the measurement beside it fails."""
    import argparse
    import subprocess

    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            started.append(self)

    def fails(*_, **__):
        raise subprocess.CalledProcessError(1, "measurement")

    monkeypatch.setattr(modules["tiny"].subprocess, "Popen", Watched)
    monkeypatch.setattr(modules["tiny"].subprocess, "run", fails)
    with pytest.raises(subprocess.CalledProcessError):
        modules["tiny"].beside_a_busy_process(argparse.Namespace(turns=1, tokens=1))
    assert [process.poll() is not None for process in started] == [True]


@pytest.mark.slow
def test_our_loss_is_trls(modules):
    """A step of the real GRPOTrainer in its own environment, `make peers`."""
    import argparse

    script = modules["grpo_step"]
    python = script.interpreter(None, variable="ZERO2R1_TRL_PYTHON", default=".venv-trl/bin/python")
    if python is None:
        pytest.skip("no environment with trl")
    settings = argparse.Namespace(threads=1, natural=False, trl_batch=16, trl_continuous=False, trl_autocast=False)
    found = script.check_float32(python, settings)
    assert abs(found["moved"]["loss_trl"]) > 1e-4
    assert script.is_same(found)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["generate", "continuous"])
def test_transformers_says_as_many_tokens_as_asked(modules, tmp_path, mode):
    """Forced, all samples have 5 tokens; left alone, a network that knows nothing ends some of 64 tokens early."""
    import sys

    from transformers import LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        vocab_size=16, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=2,
    )  # fmt: skip
    LlamaForCausalLM(shape).save_pretrained(tmp_path)
    batching = {"page_size": 32, "num_blocks": 32, "max_batch_tokens": 64}
    settings = {"model": str(tmp_path), "dtype": "float32", "mode": mode, "attention": "sdpa", "threads": 1}
    peers = modules["rollout"].PEERS
    command = [sys.executable, peers / "transformers_peer.py"]
    with modules["rollout"].Peer(command, settings={**settings, "batching": batching}) as peer:
        asked = {"prompts": [[3, 4, 5], [6]], "samples": 3}
        forced = peer.ask({**asked, "max_new_tokens": 5, "is_forced": True})
        free = peer.ask({**asked, "max_new_tokens": 64, "is_forced": False})
    assert forced["lengths"] == [5] * 6
    assert min(free["lengths"]) < 64
    assert max(free["lengths"]) <= 64
