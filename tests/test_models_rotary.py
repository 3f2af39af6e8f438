"""Compiled rotary positions are transformers', both ways, and a network with them is the network it was."""

from functools import partial

import pytest
import torch
from networks import network, ours
from test_models_layers import NUM_LAYERS, NUM_SUMS, pulled
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from zero2r1.models.layers import quicken
from zero2r1.models.rotary import attention, rotated

KNOWN = ["llama", "mistral", "qwen2", "qwen3"]


def test_a_quarter_turn_by_hand(kernels):
    # One head of 32 numbers: a = 1 in all of the first half, b = 2 in the second. A quarter turn: (a, b) -> (-b, a).
    # Back, a pull of (1, 0) comes from (0, -1): by a it is cos = 0, by b it is -sin = -1.
    x = torch.tensor([[1.0] * 16 + [2.0] * 16], requires_grad=True)
    cosines, sines = torch.zeros(1, 32), torch.ones(1, 32)
    out = rotated(x, cosines, sines, kernels)
    assert out.flatten().tolist() == [-2.0] * 16 + [1.0] * 16
    out[0, :16].sum().backward()
    assert x.grad.flatten().tolist() == [0.0] * 16 + [-1.0] * 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_it_is_the_rotation_of_transformers_and_its_gradient(kernels, dtype):
    generator = torch.Generator().manual_seed(0)
    x, pull = (torch.randn(7, 3, 64, generator=generator).to(dtype) for _ in range(2))
    angles = (torch.arange(7)[:, None] * 10000.0 ** (-torch.arange(32) / 32)).repeat(1, 2)
    theirs = x.double().requires_grad_()
    rows = theirs.transpose(0, 1)[None]
    wanted = apply_rotary_pos_emb(rows, rows, angles.cos().double()[None], angles.sin().double()[None])[0]
    wanted = wanted[0].transpose(0, 1)
    (wanted * pull.double()).sum().backward()
    own = x.clone().requires_grad_()
    out = rotated(own.flatten(1), angles.cos(), angles.sin(), kernels).view_as(x)
    out.backward(pull)
    near = {"rtol": 1e-2, "atol": 2e-2} if dtype is torch.bfloat16 else {"rtol": 1e-6, "atol": 1e-6}
    torch.testing.assert_close(out.double(), wanted.detach(), **near)
    torch.testing.assert_close(own.grad.double(), theirs.grad, **near)


@pytest.mark.parametrize("family", KNOWN)
@pytest.mark.parametrize("width", [16, 32])
def test_a_network_with_quick_attention_has_the_same_states_and_gradients(family, width, kernels):
    model = ours(network(family, head_dim=width))
    hidden, gradients = pulled(model)
    with_norms = 2 * 2 if family == "qwen3" else 0
    assert quicken(model, kernels) == NUM_LAYERS + NUM_SUMS + 2 + with_norms
    quick_hidden, quick = pulled(model)
    torch.testing.assert_close(quick_hidden, hidden, rtol=0, atol=2e-6 * float(hidden.abs().max()))
    for name, right in gradients.items():
        torch.testing.assert_close(quick[name], right, rtol=0, atol=4e-6 * float(right.abs().max()), msg=name)


def test_an_attention_with_another_forward_or_another_kernel_is_left_alone(kernels):
    model = ours(network("llama", head_dim=32))
    for layer in model.model.layers:
        own = layer.self_attn
        own.forward = partial(type(own).forward, own)  # not the class's own lookup: nothing is replaced
    assert quicken(model, kernels) == NUM_LAYERS + NUM_SUMS
    model = ours(network("llama", head_dim=32))
    assert quicken(model.set_attn_implementation("eager") or model, kernels) == NUM_LAYERS


def test_what_it_does_not_know_goes_to_the_modules_own_forward(kernels):
    model = ours(network("llama", head_dim=32)).double()
    seen, answer = [], torch.zeros(())
    module = model.model.layers[0].self_attn

    class Watching(type(module)):
        def forward(self, *inputs, **named):
            seen.append(inputs[0].dtype)
            return answer, None

    module.__class__ = Watching
    assert attention(module, kernels, torch.zeros(1, 3, 32, dtype=torch.float64)) == (answer, None)
    assert seen == [torch.float64]
