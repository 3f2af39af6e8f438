"""Products whose rows know nothing of each other, in both dtypes, and projections with their gradients."""

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import linear

from zero2r1.models.linear import is_plain, projected

OUTPUTS = st.sampled_from([1, 5, 16, 17, 33, 48, 127, 128, 300])
BITS = {torch.float32: 24, torch.bfloat16: 8}


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture(scope="module")
def products(kernels):
    return kernels.products


@pytest.fixture(scope="module")
def low(products):
    if torch.bfloat16 not in products.dtypes:
        pytest.skip("this processor has no bfloat16 vectors, or tiles that are quicker")
    return products


@given(
    dtype=st.sampled_from(list(BITS)), rows=st.integers(1, 30), outputs=OUTPUTS, pairs=st.integers(1, 40),
    has_bias=st.booleans(), is_wide=st.booleans(),
)  # fmt: skip
def test_a_product_is_exact_but_for_the_order_of_its_sums(products, dtype, rows, outputs, pairs, has_bias, is_wide):
    assume(dtype in products.dtypes)
    x, weight = (numbers(count, 2 * pairs, seed=count, dtype=dtype) for count in (rows, outputs))
    bias = numbers(outputs, seed=2, dtype=dtype) if has_bias else None
    out = torch.empty(rows, outputs) if is_wide else None
    found = products.product(x, products.pack(weight), bias, out=out)
    assert found.dtype == (torch.float32 if is_wide else dtype)
    zero = torch.zeros(outputs) if bias is None else bias
    wanted = x.double() @ weight.double().t() + zero.double()
    bound = x.double().abs() @ weight.double().abs().t() + zero.double().abs()
    # Sums of 2 * pairs terms and the bias, each rounded to 24 bits; then once to those of the result.
    near = (2 * pairs + 1) * 2.0**-24 * bound + 2.0 ** -BITS[found.dtype] * wanted.abs()
    assert bool(((found.double() - wanted).abs() <= near).all())


def test_a_product_by_hand_is_not_rounded_to_bfloat16(low):
    # 1 * 1 + 2^-9 * 1 = 1.001953125, which bfloat16 rounds to 1.
    x, packed = torch.tensor([[1.0, 2.0**-9]]).bfloat16(), low.pack(torch.ones(1, 2).bfloat16())
    assert low.product(x, packed, out=torch.empty(1, 1)).item() == 1.001953125
    assert low.product(x, packed).item() == 1.0


@pytest.mark.parametrize("dtype", BITS, ids=str)
@pytest.mark.parametrize("outputs", [100, 320])
def test_a_row_of_a_product_knows_neither_its_neighbours_nor_the_threads(products, dtype, outputs):
    if dtype not in products.dtypes:
        pytest.skip("not of this processor")
    x, packed = numbers(1000, 640, dtype=dtype), products.pack(numbers(outputs, 640, seed=1, dtype=dtype))
    bias = numbers(outputs, seed=2, dtype=dtype)
    whole, threads = products.product(x, packed, bias), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert torch.equal(products.product(x, packed, bias), whole)
        for first, last in ((0, 1), (5, 18), (230, 300), (999, 1000)):
            assert torch.equal(products.product(x[first:last].contiguous(), packed, bias), whole[first:last])
    finally:
        torch.set_num_threads(threads)


def test_an_output_knows_nothing_of_the_others(products):
    """Query, key and value as one product are the same bits as one after the other."""
    x, weights = numbers(9, 48), [numbers(count, 48, seed=count) for count in (96, 32, 33)]
    together = products.product(x, products.pack(torch.cat(weights)))
    alone = torch.cat([products.product(x, products.pack(weight)) for weight in weights], dim=1)
    assert torch.equal(together, alone)


def test_what_is_not_a_number_stays_none(products):
    x, weight = numbers(3, 16), numbers(20, 16, seed=1)
    x[1, 3], weight[18, 0] = torch.nan, torch.inf
    found = products.product(x, products.pack(weight))
    assert bool(found[1].isnan().all())
    assert bool(found[[0, 2], 18].isinf().all())
    assert bool(found[[0, 2], :18].isfinite().all())


def test_weights_it_does_not_take(products):
    assert products.takes(torch.ones(3, 5))
    assert not products.takes(torch.ones(3, 5).double())
    assert not products.takes(torch.ones(3, 5).bfloat16())  # an odd number of inputs


@pytest.mark.parametrize("dtype", BITS, ids=str)
@pytest.mark.parametrize("has_bias", [False, True])
def test_projections_have_the_gradients_of_linear_maps(products, dtype, has_bias):
    layers = [nn.Linear(48, count, bias=has_bias) for count in (64, 16, 17)]
    for seed, layer in enumerate(layers):
        layer.weight.data = numbers(*layer.weight.shape, seed=seed)
        layer.to(dtype)
    x, exact = numbers(11, 48, dtype=dtype).requires_grad_(), numbers(11, 48, dtype=dtype).double().requires_grad_()
    own = [parameter for layer in layers for parameter in layer.parameters()]
    doubles = [parameter.detach().double().requires_grad_() for parameter in own]
    pairs = zip(*[iter(doubles)] * (1 + has_bias), strict=True)
    found = torch.cat(projected(x, layers, products), dim=1)
    wanted = torch.cat([linear(exact, *pair) for pair in pairs], dim=1)
    pull = numbers(11, 97, seed=7, dtype=dtype)
    gradients = zip(
        [found, *torch.autograd.grad(found, [x, *own], pull)],
        [wanted, *torch.autograd.grad(wanted, [exact, *doubles], pull.double())],
        strict=True,
    )
    for one, right in gradients:
        assert one.dtype == dtype
        far = (one.detach().double() - right.detach()).abs().max() / right.detach().abs().max()
        assert float(far) <= {torch.float32: 4e-6, torch.bfloat16: 1.6e-2}[dtype]


def test_frozen_layers_get_no_gradient(products):
    layer = nn.Linear(16, 16).requires_grad_(False)
    x = numbers(3, 16).requires_grad_()
    (out,) = projected(x, [layer], products)
    out.sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(3, 16))


def test_only_plain_layers_are_projected():
    hooked, before, plain = (nn.Linear(2, 2) for _ in range(3))
    hooked.register_forward_hook(lambda *_: None)
    before.register_forward_pre_hook(lambda *_: None)
    assert [is_plain(layer) for layer in (plain, hooked, before, nn.Identity())] == [True, False, False, False]
