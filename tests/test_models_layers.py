"""The quick layers compute what transformers' own compute, both ways, and leave the network what it was."""

import copy

import pytest
import torch
from networks import network, ours, run_packed, token_rows
from torch import nn

from zero2r1.models import layers
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.layers import quicken, swiglu
from zero2r1.models.linear import outer
from zero2r1.models.save import weights_hash

KNOWN = ["llama", "mistral", "qwen2", "qwen3"]
# Two layers of two norms and a feed-forward, and the last norm. Qwen3's norms of queries and keys are too narrow (8).
NUM_LAYERS = 2 * 3 + 1
NUM_SUMS = 2  # of the layers that attend as ours do


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_swiglu_by_hand(kernels):
    # x = 2, gate = ln 3 / 2, up = 3: z = ln 3, sigmoid 3/4, silu = 0.823959, u = 6, h = 4.943755, y = h.
    # silu' = 3/4 (1 + ln 3 / 4) = 0.955990: dz = 6 * 0.955990 = 5.735940, du = 0.823959;
    # dx = dz ln 3 / 2 + 3 du = 5.622663, dgate = 2 dz = 11.471880, dup = 2 du = 1.647918, ddown = h.
    # The other fifteen columns have down = 0 and take no part; their h is that of gate = up = 0.
    x = torch.tensor([[2.0]], requires_grad=True)
    gate, up, down = (torch.zeros(16, 1) for _ in range(3))
    gate[0], up[0], down[0] = 0.549306, 3.0, 1.0
    parts = [gate.requires_grad_(), up.requires_grad_(), down.t().contiguous().requires_grad_()]
    y = swiglu(x, *parts, kernels)
    torch.testing.assert_close(y, torch.tensor([[4.943755]]))
    y.backward()
    torch.testing.assert_close(x.grad, torch.tensor([[5.622663]]))
    for part, first in zip(parts, (11.471880, 1.647918, 4.943755), strict=True):
        torch.testing.assert_close(part.grad.flatten(), torch.tensor([first] + [0.0] * 15))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("rows", "left", "right"), [(200, 48, 16), (200, 16, 48), (1, 3, 3), (64, 5, 2)])
def test_outer_is_the_product_with_the_first_factor_turned(kernels, dtype, rows, left, right):
    a, b = numbers(rows, left, dtype=dtype), numbers(rows, right, seed=1, dtype=dtype)
    (product,) = outer([a], b, kernels.products)
    assert product.shape == (left, right)
    assert product.is_contiguous()
    near = 1e-5 if dtype == torch.float32 else 1e-2
    wanted = a.double().t() @ b.double()
    torch.testing.assert_close(product.double(), wanted, rtol=near, atol=near * float(wanted.abs().max()))


def pulled(model, *, recompute=False):
    """Hidden states of a packed row, and the gradient of their weighted sum by name."""
    lengths = (30, 9, 17)
    ids = torch.cat([torch.tensor(row) for row in token_rows(*lengths)])
    positions = torch.cat([torch.arange(length) for length in lengths])
    hidden = hidden_states(model, ids, positions, PackedContext(lengths), recompute=recompute)
    pull = numbers(*hidden.shape, seed=3)
    names, parameters = zip(*model.base_model.named_parameters(), strict=True)
    return hidden.detach(), dict(
        zip(names, torch.autograd.grad((hidden * pull.to(hidden.dtype)).sum(), parameters), strict=True)
    )


@pytest.mark.parametrize("family", KNOWN)
def test_a_quick_network_has_the_same_states_and_gradients(family, kernels):
    model = ours(network(family))
    hidden, gradients = pulled(model)
    assert quicken(model, kernels) == NUM_LAYERS + NUM_SUMS
    quick_hidden, quick = pulled(model)
    assert not torch.equal(hidden, quick_hidden)  # it is another way of computing them
    torch.testing.assert_close(quick_hidden, hidden, rtol=0, atol=2e-6 * float(hidden.abs().max()))
    for name, right in gradients.items():
        torch.testing.assert_close(quick[name], right, rtol=0, atol=4e-6 * float(right.abs().max()), msg=name)


def test_norms_of_queries_and_keys_are_quick_where_heads_are_wide_enough(kernels):
    model = ours(network("qwen3", head_dim=16))
    _, gradients = pulled(model)
    assert quicken(model, kernels) == NUM_LAYERS + NUM_SUMS + 2 * 2 + 2  # and the attentions
    _, quick = pulled(model)
    for name, right in gradients.items():
        torch.testing.assert_close(quick[name], right, rtol=0, atol=4e-6 * float(right.abs().max()), msg=name)


@pytest.mark.parametrize("family", KNOWN)
def test_in_bfloat16_it_is_no_further_from_the_truth(family, kernels):
    model = ours(network(family).bfloat16())
    exact_hidden, exact = pulled(copy.deepcopy(model).double())
    hidden, gradients = pulled(model)
    assert quicken(model, kernels) == NUM_LAYERS + NUM_SUMS
    quick_hidden, quick = pulled(model)

    def distance(one, right):
        return float(sum((one[name].double() - right[name]).norm() ** 2 for name in right)) ** 0.5

    assert (quick_hidden - exact_hidden).norm() <= 1.1 * (hidden - exact_hidden).norm()
    assert distance(quick, exact) <= 1.1 * distance(gradients, exact)


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_recomputed_layers_give_the_same_gradient(family, kernels):
    model = ours(network(family))
    quicken(model, kernels)
    _, gradients = pulled(model)
    _, again = pulled(model, recompute=True)
    assert all(torch.equal(gradients[name], again[name]) for name in gradients)


def test_names_weights_and_hash_stay_as_they_were(kernels):
    model = network("llama")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hash_before, modules = weights_hash(model), [type(module) for module in model.modules()]
    assert quicken(model, kernels) == NUM_LAYERS
    assert quicken(model, kernels) == 0
    assert weights_hash(model) == hash_before
    assert [type(module) for module in model.modules()] == modules
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert list(model.state_dict()) == list(before)


def test_a_copy_has_weights_of_its_own(kernels):
    model = ours(network("llama"))
    quicken(model, kernels)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        before = run_packed(model, token_rows(5))[0]
        for part in (twin.model.norm.weight, twin.model.layers[0].mlp.down_proj.weight):
            kept = part.clone()
            part.zero_()
            assert torch.equal(run_packed(model, token_rows(5))[0], before)
            assert not torch.equal(run_packed(twin, token_rows(5))[0], before)
            part.copy_(kept)
        assert torch.equal(run_packed(twin, token_rows(5))[0], before)


@pytest.mark.parametrize("family", ["gemma3_text", "cohere", "granite"])
def test_other_families_are_left_alone(family, kernels):
    model = network(family)
    assert quicken(model, kernels) == 0
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_a_feed_forward_with_biases_runs_as_before(kernels):
    model = ours(network("llama", mlp_bias=True))
    one = model.model.layers[0].mlp
    x = numbers(1, 3, 32)
    plain = one(x)
    quicken(model, kernels)
    assert torch.equal(one(x), plain)


def test_adapters_and_hooks_that_come_later_are_seen(kernels):
    model = network("llama")
    one, other = (layer.mlp for layer in model.model.layers)
    quicken(model, kernels)
    x = numbers(1, 3, 32)
    before = [one(x), other(x)]

    class Doubled(nn.Linear):
        def forward(self, x):
            return 2.0 * super().forward(x)

    down = Doubled(48, 32, bias=False)
    down.weight = one.down_proj.weight
    one.down_proj = down
    other.down_proj.register_forward_hook(lambda module, inputs, output: 2.0 * output)
    for module, plain in zip((one, other), before, strict=True):
        torch.testing.assert_close(module(x), 2.0 * plain)


def test_a_norm_of_a_known_name_that_computes_something_else_is_left_alone(kernels):
    class LlamaRMSNorm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.variance_epsilon = nn.Parameter(torch.zeros(32)), 1e-6

        def forward(self, x):  # as Gemma's: around 1
            return (1.0 + self.weight) * x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    assert quicken(nn.Sequential(LlamaRMSNorm()), kernels) == 0


def test_what_the_kernels_do_not_know_runs_as_before(kernels):
    model = network("llama")
    quicken(model, kernels)
    norm, mlp = model.model.norm.double(), model.model.layers[0].mlp.double()
    x = numbers(1, 4, 32, dtype=torch.float64)
    for module in (norm, mlp):
        assert torch.equal(module(x), type(module).forward(module, x))
    # Widths that are no multiple of 16: of the stream (norms), and of the feed-forwards.
    assert quicken(network("llama", hidden_size=40), kernels) == 2
    assert quicken(network("llama", intermediate_size=40), kernels) == NUM_LAYERS - 2


def test_frozen_parts_get_no_gradient(kernels):
    mlp = network("llama").model.layers[0].mlp
    quicken(mlp, kernels)
    mlp.gate_proj.weight.requires_grad_(False)
    mlp.down_proj.weight.requires_grad_(False)
    mlp(numbers(1, 4, 32)).sum().backward()
    assert mlp.gate_proj.weight.grad is None
    assert mlp.down_proj.weight.grad is None
    assert mlp.up_proj.weight.grad is not None


def test_a_feed_forward_keeps_gate_and_up_alone(kernels):
    mlp = network("llama").model.layers[0].mlp
    x = numbers(1, 4, 32)

    def kept():
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: sizes.append(tensor.shape) or tensor, lambda t: t):
            mlp(x)
        return sum(shape[-1] == 48 and shape[-2] == 4 for shape in sizes)

    assert kept() == 4  # gate for silu, silu and up for their product, and that for the last product
    quicken(mlp, kernels)
    assert kept() == 2


def test_nan_stays_nan(kernels):
    model = network("llama")
    quicken(model, kernels)
    x = numbers(1, 4, 32)
    x[0, 1, 5] = torch.nan
    for module in (model.model.norm, model.model.layers[0].mlp):
        assert module(x)[0, 1].isnan().all()
        assert module(x)[0, [0, 2, 3]].isfinite().all()


def test_the_constants_name_what_transformers_has():
    assert layers.NORMS.isdisjoint(layers.FEED_FORWARDS)
    for family in KNOWN:
        kinds = {type(module).__name__ for module in network(family).modules()}
        assert len(kinds & layers.NORMS) == len(kinds & layers.FEED_FORWARDS) == 1
