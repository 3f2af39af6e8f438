"""A layer's sums and the gradients that pass its norms: by hand, and as torch's own."""

import pytest
import torch
from networks import network, ours
from torch import nn

from zero2r1.models.layers import quicken
from zero2r1.models.residual import norm_beside, summed


def test_a_sum_by_hand(kernels):
    # 1 + 2^-9 is no bfloat16, so a stream in float32 keeps what rounding would lose; the gradient is passed to both.
    stream = torch.full((1, 16), 1.0, requires_grad=True)
    delta = torch.full((1, 16), 2.0**-9, dtype=torch.bfloat16, requires_grad=True)
    total = summed(stream, delta, kernels)
    assert total.dtype == torch.float32
    assert total.tolist() == [[1.001953125] * 16]
    (total * (1 + 2.0**-9)).sum().backward()
    assert stream.grad.tolist() == [[1.001953125] * 16]
    assert delta.grad.tolist() == [[1.0] * 16]  # rounded to its own 8 bits


def test_a_norm_by_hand(kernels):
    # Mean square of sixteen ones: 1, so y = x * weight = weight. With a pull of 1 on entry 0 alone and weight 2:
    # g = (2, 0, ...), mean(g x) = 2/16 = 0.125, dx = g - 0.125 x: 1.875 and -0.125. dweight = pull * x = (1, 0, ...).
    x = torch.ones(1, 16, requires_grad=True)
    weight = torch.full((16,), 2.0, requires_grad=True)
    _, y = norm_beside(x, weight, 0.0, kernels)
    torch.testing.assert_close(y, torch.full((1, 16), 2.0))
    y[0, 0].backward()
    torch.testing.assert_close(x.grad, torch.tensor([[1.875] + [-0.125] * 15]))
    torch.testing.assert_close(weight.grad, torch.tensor([1.0] + [0.0] * 15))


def test_what_passes_a_norm_that_no_one_reads(kernels):
    stream = torch.full((1, 16), 3.0, requires_grad=True)
    weight = torch.full((16,), 2.0, requires_grad=True)
    passed, _ = norm_beside(stream, weight, 0.0, kernels)
    passed.sum().backward()
    assert stream.grad.tolist() == [[1.0] * 16]
    assert weight.grad is None


def test_a_norm_and_what_passes_it_by_hand(kernels):
    # x = (3, 3, ...): mean(x^2) = 9, s = 1/3; y = x s w = 2 with w = 2. Of dy = (1, 0, ...): g = dy w = (2, 0, ...),
    # dx = s g - x s^3 mean(g x) = (2/3, 0, ...) - 3/27 * 6/16 = (0.625, -0.041667, ...), and 5 passes beside.
    stream = torch.full((1, 16), 3.0, requires_grad=True)
    weight = torch.full((16,), 2.0, requires_grad=True)
    passed, normed = norm_beside(stream, weight, 0.0, kernels)
    torch.testing.assert_close(normed, torch.full((1, 16), 2.0))
    assert torch.equal(passed, stream)
    (normed[0, 0] + 5 * passed.sum()).backward()
    torch.testing.assert_close(stream.grad, torch.tensor([[5.625] + [4.958333] * 15]))
    torch.testing.assert_close(weight.grad, torch.tensor([1.0] + [0.0] * 15))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("rows", [1, 7, 200])
def test_gradients_are_those_of_the_operations_one_by_one(kernels, dtype, rows):
    generator = torch.Generator().manual_seed(rows)
    stream, one, two = (torch.randn(rows, 48, generator=generator) for _ in range(3))
    delta, weight = torch.randn(rows, 48, generator=generator).to(dtype), torch.randn(48, generator=generator).to(dtype)
    inputs = [tensor.clone().requires_grad_() for tensor in (stream, delta, weight)]
    passed, normed = norm_beside(summed(inputs[0], inputs[1], kernels), inputs[2], 1e-6, kernels)
    found = torch.autograd.grad((passed * one).sum() + (normed.float() * two).sum(), inputs)
    exact = [tensor.double().requires_grad_() for tensor in (stream, delta, weight)]
    total = exact[0] + exact[1]
    norm = total / (total.square().mean(-1, keepdim=True) + 1e-6).sqrt() * exact[2]
    wanted = torch.autograd.grad((total * one).sum() + (norm * two).sum(), exact)
    near = 1e-5 if dtype == torch.float32 else 1e-2
    for have, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(have.double(), want, rtol=near, atol=near * float(want.abs().max()))


def test_a_layer_that_computes_something_else_is_left_alone(kernels):
    class LlamaDecoderLayer(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.input_layernorm, self.post_attention_layernorm = layer.input_layernorm, layer.post_attention_layernorm
            self.self_attn, self.mlp = layer.self_attn, layer.mlp

        def forward(self, hidden_states, **named):  # the norm behind the attention
            mixed, _ = self.self_attn(hidden_states=hidden_states, **named)
            return hidden_states + self.input_layernorm(mixed)

    layer = LlamaDecoderLayer(ours(network("llama")).model.layers[0])
    quicken(layer, kernels)
    assert "forward" not in layer.__dict__


def test_recomputing_leaves_the_layers_quick(kernels):
    from zero2r1.models.forward import _recomputing

    model = ours(network("llama"))
    quicken(model, kernels)
    before = [layer.__dict__["forward"] for layer in model.model.layers]
    with _recomputing(model):
        assert all(layer.__dict__["forward"] is not own for layer, own in zip(model.model.layers, before, strict=True))
    assert [layer.__dict__["forward"] for layer in model.model.layers] == before
