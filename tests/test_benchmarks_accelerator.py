"""The benchmark of accelerators: its formulas by hand, its goals, and all of it at a few tokens on the processor."""

import argparse
import json
import time

import pytest
from benchmarks_world import scripts

NAMES = ("accelerator", "peers.ceilings", "peers.client", "peers.gpu_rollout", "peers.gpu_update", "peers.shapes")


@pytest.fixture(scope="module")
def modules(root):
    with scripts(root, *NAMES) as found:
        yield dict(zip((name.rpartition(".")[2] for name in NAMES), found, strict=True))


def settings(**more):
    usual = {"device": "cpu", "models": "tiny", "threads": 1, "smoke": True, "limit": 100.0, "micro_tokens": 16_384}
    return argparse.Namespace(**usual | {"sides": "", "no_rehash": False, "only": "", "into": "", **more})


def test_the_large_shape_has_the_weights_of_qwen(modules):
    """28 layers of 1536 * (1536 + 512) + 1536 * 1536 + 3 * 1536 * 8960 = 46,792,704, and 151,936 * 1536 = 233,373,696
    of the tied head: 1,543,569,408 numbers that multiply."""
    config = modules["shapes"].config_of("qwen2.5-1.5b")
    flops = modules["ceilings"].update_flops(config, tokens=1, head_tokens=1, pairs=0)
    assert flops == 6 * 1_543_569_408
    assert config.rope_parameters["rope_theta"] == 1e6


def test_the_operations_of_attention_by_hand(modules):
    """tiny: 12 operations * 2 layers * 4 heads of 16 * 10 pairs = 15,360."""
    config = modules["shapes"].config_of("tiny")
    assert modules["ceilings"].update_flops(config, tokens=0, head_tokens=0, pairs=10) == 15_360


def test_the_bytes_of_a_step_by_hand(modules):
    """2 bytes * (100 weights + 3 tokens * keys and values of 2 layers, 2 heads of 16 = 128) = 968."""
    config = modules["shapes"].config_of("tiny")
    assert modules["ceilings"].step_bytes(config, parameters=100, cached_tokens=3) == 968


def test_a_shared_prompt_is_computed_once(modules):
    """4 rows of 8 prompt tokens and 16 to 40 more, the last of each unseen, all in one pass: 8 + sum(length - 9).
    A token attends to itself and all before it: 36 pairs in the prompt, then 9 + 10 + ... + (length - 1) a row."""
    rows = modules["gpu_update"].Rows(count=4, group=4, prompt=8, longest=48)
    lengths = rows.lengths()
    assert sorted(lengths) == [24, 32, 40, 48]
    batch = modules["gpu_update"].make_batch(rows, 512)
    assert modules["gpu_update"].count(batch, 16_384) == {
        "tokens": 8 + sum(length - 9 for length in lengths),
        "head_tokens": sum(length - 8 for length in lengths),
        "pairs": 36 + sum(sum(range(9, length)) for length in lengths),
    }


def test_many_prompts_are_all_different(modules):
    made = modules["gpu_rollout"].many(64)
    assert len({prompt.id for prompt in made}) == 64


def test_no_turn_begins_when_the_time_is_over_but_the_first(modules):
    side = modules["client"].Side(turn=lambda i: time.sleep(0.01) or {"number": i})
    assert len(modules["client"].alternate({"a": side}, pairs=3, limit_s=0.0).turns["a"]) == 1
    assert len(modules["client"].alternate({"a": side}, pairs=3).turns["a"]) == 3


def test_all_parts_measure_something(modules):
    """At sizes that say nothing, each part finds its figures and none an error."""
    found = {}
    for part in ("rollout", "decode", "update"):
        found[part] = {}
        modules["accelerator"].alone(
            settings(only=part), lambda name, value, into=found[part]: into.update({name: value})
        )
    assert "error" not in json.dumps(found)
    assert found["rollout"]["tiny 2x2"]["sides"]["ours"]["mean_length"] == 4.0
    assert found["decode"]["tiny 16"]["megabytes"] > 0
    assert found["update"]["tiny"]["mfu"] > 0
    assert found["update"]["tiny"]["tokens"] < found["update"]["tiny"]["pairs"]
    assert modules["accelerator"].goals(found)["update tiny gap"]


def test_what_fails_leaves_its_error_and_the_rest_goes_on(modules, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("no memory left")

    monkeypatch.setattr(modules["accelerator"].gpu_update, "update", fails)
    found = {}
    modules["accelerator"].alone(settings(only="update"), lambda name, value: found.update({name: value}))
    assert "no memory left" in found["tiny"]["error"]
    assert found["tiny gap"]["gap_mean"] < 0.02


FOUND = {
    "rollout": {"qwen2.5-1.5b 8x8": {"ratio": 2.0}},
    "decode": {"copied_bytes_per_s": 1e12, "qwen2.5-1.5b 64": {"share": 0.5}, "qwen2.5-1.5b 256": {"share": 0.1}},
    "update": {"product_flops": 1e12, "qwen2.5-1.5b": {"mfu": 0.4}, "qwen2.5-1.5b gap": {"gap_mean": 0.02}},
}


@pytest.mark.parametrize(
    ("part", "worse"),
    [
        ("rollout", {"qwen2.5-1.5b 8x8": {"ratio": 1.99}}),
        ("rollout", {"qwen2.5-1.5b 8x8": {"sides": {}}}),  # no peer is no win
        ("decode", {"qwen2.5-1.5b 64": {"share": 0.49}}),
        ("update", {"qwen2.5-1.5b": {"mfu": 0.39}}),
        ("update", {"qwen2.5-1.5b": {"error": "no memory left"}}),
        ("update", {"qwen2.5-1.5b gap": {"gap_mean": 0.021}}),
        ("update", {"error": "the process ended with code 1"}),
    ],
)
def test_goals_are_met_at_their_number_and_missed_beyond(modules, part, worse):
    goals = modules["accelerator"].goals
    assert all(goals(FOUND).values())
    assert not all(goals({**FOUND, part: {**FOUND[part], **worse}}).values())


def test_without_a_device_the_goal_is_missed(modules, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert not any(modules["accelerator"].measure(settings(device="cuda"))["goals"].values())
