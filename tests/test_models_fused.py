"""The compiled network is the model's own network, and refuses or is refused where it is not."""

import pytest
import torch
from networks import VOCAB, network, ours, token_rows

from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.fused import FAMILIES, FusedNetwork, prove, refusal
from zero2r1.models.head import head_of

WIDE = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32, "num_attention_heads": 4, "num_key_value_heads": 2}


def model_of(family, *, dtype=torch.float32, **changes):
    model = ours(network(family, **{**WIDE, **changes}))
    with torch.no_grad():  # drawn weights of 0.3 saturate a net this wide
        for parameter in model.parameters():
            parameter.mul_(0.4)
    return model.to(dtype)


def both(model, kernels, lengths=(5, 21, 1)):
    rows = token_rows(*lengths)
    tokens = torch.tensor([token for row in rows for token in row])
    positions = torch.cat([torch.arange(length) for length in lengths])
    fused = FusedNetwork(model, kernels)
    with torch.inference_mode():
        want = hidden_states(model, tokens, positions, PackedContext(lengths))
        have = fused.hidden_states(tokens, positions, PackedContext(lengths))
        return want, have, head_of(model).logits(want), fused.logits(have)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_it_is_the_same_network(kernels, family):
    model = model_of(family)
    assert refusal(model) is None
    want, have, want_logits, have_logits = both(model, kernels)
    torch.testing.assert_close(have, want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(have_logits, want_logits, rtol=1e-5, atol=1e-4)
    assert prove(FusedNetwork(model, kernels), model) is None


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_in_bfloat16_it_is_as_near_to_the_exact_network_as_transformers_is(kernels, family):
    exact = model_of(family)
    model = model_of(family, dtype=torch.bfloat16)
    rounded = model_of(family, dtype=torch.bfloat16).float()  # the weights that bfloat16 holds, computed in float32
    want = both(rounded, kernels)[0]
    theirs, have, *_ = both(model, kernels)
    assert (have.float() - want).abs().mean() <= (theirs.float() - want).abs().mean() * 1.1
    assert prove(FusedNetwork(model, kernels), model) is None
    assert not torch.equal(want, both(exact, kernels)[0])


def test_scaled_rotations_come_from_the_model(kernels):
    scaling = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 64}  # fmt: skip
    model = model_of("llama", rope_parameters=scaling)
    want, have, *_ = both(model, kernels, lengths=(100,))
    torch.testing.assert_close(have, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "changes", "words"),
    [
        ("gemma3_text", {}, "architecture"),
        ("granite", {}, "architecture"),
        ("qwen3", {"head_dim": 24}, "24 wide"),
        ("llama", {"hidden_size": 72, "num_attention_heads": 4}, "multiple of 16"),
        ("llama", {"hidden_act": "gelu"}, "SiLU"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "positions"),
    ],
)
def test_what_it_cannot_run_it_refuses(family, changes, words):
    assert words in refusal(ours(network(family, **{**WIDE, **changes})))


def test_another_dtype_is_refused():
    assert "float64" in refusal(model_of("qwen3", dtype=torch.float64))


@pytest.mark.parametrize("name", ["input_layernorm.weight", "q_proj.weight", "v_proj.weight", "down_proj.weight"])
def test_the_proof_sees_weights_that_differ(kernels, name):
    model, other = model_of("qwen3"), model_of("qwen3")
    with torch.no_grad():
        for own, parameter in other.named_parameters():
            if own.endswith(name):
                parameter.copy_(parameter.roll(1, -1))
    assert "off by" in prove(FusedNetwork(other, kernels), model)


def test_the_proof_sees_positions_that_are_ignored(kernels, monkeypatch):
    model = model_of("qwen3")
    monkeypatch.setattr(type(kernels), "rotate", lambda *arguments, **named: None)
    assert "off by" in prove(FusedNetwork(model, kernels), model)


def test_all_tokens_of_the_vocabulary_are_read(kernels):
    model = model_of("qwen2")
    fused = FusedNetwork(model, kernels)
    tokens = torch.arange(VOCAB)
    with torch.inference_mode():
        have = fused.hidden_states(tokens, torch.zeros(VOCAB, dtype=torch.int64), PackedContext([1] * VOCAB))
        want = hidden_states(model, tokens, torch.zeros(VOCAB, dtype=torch.int64), PackedContext([1] * VOCAB))
    torch.testing.assert_close(have, want, rtol=1e-5, atol=1e-5)
