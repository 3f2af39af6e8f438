"""The head knows every factor between hidden states and logits; windows are respected."""

import pytest
import torch
from networks import network, ours, run_packed, token_rows
from torch import nn

from zero2r1.core.errors import ModelError
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import attention_window, hidden_states
from zero2r1.models.head import Head, head_of


def test_logits_by_hand():
    # hidden 2, weights (1, -1), bias (0, 1): (2, -1); times 0.5: (1, -0.5); cap 1: (tanh 1, tanh -0.5).
    head = Head(torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, 1.0]), scale=0.5, softcap=1.0)
    torch.testing.assert_close(head.logits(torch.tensor([[2.0]])), torch.tensor([[0.761594, -0.462117]]))


@pytest.mark.parametrize(
    ("family", "scale", "softcap"),
    [("qwen3", 1.0, None), ("granite", 0.25, None), ("cohere", 0.25, None), ("gemma3_text", 1.0, 20.0)],
)
def test_the_head_reads_its_factors_from_the_config(family, scale, softcap):
    head = head_of(network(family))
    assert (head.scale, head.softcap) == (scale, softcap)


def test_logits_are_float32_whatever_the_weights():
    head = Head(torch.randn(5, 4))
    assert head.logits(torch.randn(3, 4, dtype=torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("factors", [{}, {"scale": 0.5}, {"softcap": 2.0}, {"scale": 3.0, "softcap": 1.5}], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("has_bias", [True, False])
def test_logits_into_given_memory_are_the_same_bits(factors, dtype, has_bias):
    head = Head(torch.randn(5, 4), torch.randn(5) if has_bias else None, **factors)
    hidden = torch.randn(3, 4, dtype=dtype)
    plain = head.logits(hidden)
    room = torch.full((3, 5), torch.nan, dtype=plain.dtype)
    assert head.logits(hidden, out=room) is room
    assert torch.equal(room, plain)


def saved_and_gradients(family, *, recompute):
    """Numbers kept for the backward pass, and the gradient of a sum of squares."""
    model = ours(network(family))
    length, kept = 16, []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        ids, positions = torch.tensor(token_rows(length)[0]), torch.arange(length)
        hidden = hidden_states(model, ids, positions, PackedContext([length]), recompute=recompute)
    hidden.square().sum().backward()
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert not any(module.training for module in model.modules())
    return sum(kept), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3_text", "granite", "cohere"])
def test_recomputed_layers_keep_less_and_give_the_same_gradient(family):
    kept, gradients = saved_and_gradients(family, recompute=False)
    kept_less, again = saved_and_gradients(family, recompute=True)
    assert kept_less < kept / 3
    assert gradients.keys() == again.keys()
    assert all(torch.equal(gradients[name], again[name]) for name in gradients)


def test_layers_that_cannot_be_computed_again_are_refused():
    model = ours(network("llama"))
    model.model.layers = nn.ModuleList()
    with pytest.raises(ModelError, match="Z202") as caught:
        hidden_states(model, torch.tensor([2]), torch.tensor([0]), PackedContext([1]), recompute=True)
    assert "activation_checkpointing=false" in caught.value.fix


def test_a_network_without_a_head_is_refused():
    model = network("qwen3").model
    with pytest.raises(ModelError, match="no language-model head"):
        head_of(model)


def test_a_head_with_bias_is_used_whole():
    model = ours(network("llama"))
    model.lm_head.bias = nn.Parameter(torch.randn(model.config.vocab_size))
    with torch.no_grad():
        hidden = run_packed(model, token_rows(4))[0]
        torch.testing.assert_close(head_of(model).logits(hidden), model.lm_head(hidden))


@pytest.mark.parametrize(("family", "window"), [("qwen3", None), ("qwen2", None), ("mistral", 64), ("gemma3_text", 16)])
def test_the_window_is_known(family, window):
    assert attention_window(network(family)) == window


def test_sequences_up_to_the_window_pass_and_longer_ones_are_refused():
    model = ours(network("gemma3_text"))
    with torch.no_grad():
        run_packed(model, token_rows(16, 3))
        with pytest.raises(ModelError, match="Z202") as caught:
            run_packed(model, token_rows(3, 17))
    assert "within 16 tokens" in caught.value.fix


def test_a_qwen2_that_does_not_use_its_window_has_none():
    model = network("qwen2", sliding_window=8, use_sliding_window=False)
    assert attention_window(model) is None
    assert attention_window(network("qwen2", sliding_window=8, use_sliding_window=True, max_window_layers=0)) == 8
