"""Reading weights back: numbers worked out by hand."""

import pytest
import torch
from policy_world import llama, tokenizer
from vllm_world import Network, Packed

from zero2r1.core.errors import ModelError
from zero2r1.policy.vllm_start import empty
from zero2r1.policy.vllm_weights import (
    canonical,
    differing,
    digest_of,
    kernel_weight,
    learner_tensors,
    pack_again,
    readings,
    without_aliases,
)


def test_a_kernel_applied_to_the_identity_returns_its_matrix():
    # (I W^T)^T = W; 3 rows of 2 columns
    weight = torch.tensor([[1.0, -2.0], [0.5, 3.0], [0.0, 1e-30]])
    assert torch.equal(kernel_weight(Packed(weight, keeps=False), 2, torch.float32), weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_wider_than_a_probe_is_read_exactly(dtype, monkeypatch):
    monkeypatch.setattr("zero2r1.policy.vllm_weights.PROBE_ROWS", 7)
    weight = torch.randn(5, 23, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(kernel_weight(Packed(weight, keeps=False), 23, dtype), weight)


def test_zeros_lose_their_sign_and_subnormals_are_zeros():
    # the least normal float32 is 2^-126; 2^-127 is subnormal. bfloat16 has the same exponents.
    given = torch.tensor([-0.0, 2.0**-126, -(2.0**-127), 1.0])
    for dtype in (torch.float32, torch.bfloat16):
        plain = canonical(given, dtype)
        assert plain.tolist() == [0.0, 2.0**-126, 0.0, 1.0]
        assert not plain.signbit().any()
    # 1 + 2^-9 lies between the bfloat16 numbers 1 and 1 + 2^-7, nearer to 1
    assert canonical(torch.tensor([1.0 + 2.0**-9]), torch.bfloat16).tolist() == [1.0]


def test_the_hash_of_all_is_that_of_the_sorted_names():
    assert digest_of({"b": "2", "a": "1"}) == digest_of({"a": "1", "b": "2"})
    assert digest_of({"a": "1"}) != digest_of({"a": "2"})
    assert len(digest_of({})) == 16


def test_a_shared_tensor_travels_once_and_is_checked_under_each_name():
    model = llama(tokenizer())
    tensors = learner_tensors(model)
    sent = [name for name, _ in without_aliases(tensors, torch.bfloat16)]
    assert {"lm_head.weight", "model.embed_tokens.weight"} <= set(tensors)
    assert len(sent) == len(tensors) - 1
    assert "model.embed_tokens.weight" in sent
    network = Network(model, torch.float32)
    names = [name for name, _ in readings(network, tensors, torch.float32)]
    # both are held packed and plain
    assert names.count("lm_head.weight") == names.count("model.embed_tokens.weight") == 2
    assert names.count("model.layers.0.self_attn.q_proj.weight") == 1


def test_fused_matrices_are_read_by_their_parts():
    # 3 query heads, 1 key head of 16 rows each: rows 0-47 are q, 48-63 k, 64-79 v
    model = llama(tokenizer())
    network = Network(model, torch.float32)
    tensors = learner_tensors(model)
    assert network.model.layers._modules["1"].self_attn.qkv_proj.packed.shape[0] == 80
    assert differing(network, tensors, torch.float32)[0] == []
    with torch.no_grad():
        network.model.layers._modules["1"].self_attn.qkv_proj.packed[63, 5] += 2.0**-10
    assert differing(network, tensors, torch.float32)[0] == ["model.layers.1.self_attn.k_proj.weight"]


def test_the_hash_of_what_is_held_tells_every_difference():
    model = llama(tokenizer())
    network, tensors = Network(model, torch.float32), learner_tensors(model)
    seen = {differing(network, tensors, torch.float32)[1]}
    for module in (network.model.norm, network.model.layers._modules["0"].mlp.down_proj):
        with torch.no_grad():
            getattr(module, "packed", module.weight).view(-1)[3] *= 1.5
        seen.add(differing(network, tensors, torch.float32)[1])
    with torch.no_grad():
        network.lm_head.packed[0, 0] += 1.0  # the plain form is right
    wrong, last = differing(network, tensors, torch.float32)
    assert "lm_head.weight" in wrong
    assert len(seen | {last}) == 4
    pack_again(network)
    assert differing(network, tensors, torch.float32)[0] == [
        "model.layers.0.mlp.down_proj.weight", "model.norm.weight",
    ]  # fmt: skip


def test_no_number_is_no_agreement():
    model = llama(tokenizer())
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    assert differing(Network(model, torch.float32), learner_tensors(model), torch.float32)[0] == ["model.norm.weight"]


def test_a_name_without_a_place_is_refused():
    model = llama(tokenizer())
    with pytest.raises(ModelError, match=r"no place for 'model\.extra\.weight'") as caught:
        differing(Network(model, torch.float32), {"model.extra.weight": torch.ones(2)}, torch.float32)
    assert caught.value.code == "Z202"


def test_an_ended_network_gives_its_tensors_and_kernels_back():
    network = Network(llama(tokenizer()), torch.float32)
    network.lm_head.cpu_linear = lambda x, weight, bias: x
    empty(network)
    assert list(network.parameters()) == []
    assert "cpu_linear" not in network.lm_head.__dict__
