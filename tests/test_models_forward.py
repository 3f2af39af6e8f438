"""The head knows every factor between hidden states and logits; windows are respected."""

import pytest
import torch
from networks import network, ours, run_packed, token_rows
from torch import nn

from zero2r1.core.errors import ModelError
from zero2r1.models.forward import Head, attention_window, head_of


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
