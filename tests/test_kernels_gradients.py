"""Products of a backward pass: by hand, against float64, over picked rows, whatever the threads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.models.kernels.gradients import BLOCK_ROWS, TERMS, Picked
from zero2r1.models.linear import back, outer


@pytest.fixture(scope="module")
def gradients(kernels):
    if kernels.products.gradients is None:
        pytest.skip("this processor has no products of bfloat16 in vectors, or has tiles for them")
    return kernels.products.gradients


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16()


def is_near(found, left, right, *, more=None):
    """Whether `found` is left right (+ more), summed in float32 in some order and rounded to bfloat16 once."""
    wanted, bound = left.double() @ right.double(), left.double().abs() @ right.double().abs()
    if more is not None:
        wanted, bound = wanted + more.double(), bound + more.double().abs()
    near = (left.shape[1] + 1) * 2.0**-23 * bound + 2.0**-8 * wanted.abs()
    return found.dtype == torch.bfloat16 and bool(((found.double() - wanted).abs() <= near).all())


def test_two_rows_by_hand(gradients):
    # Of sixteen columns the first two: g = [[1, 2], [3, 4]], x = [[5, 6], [7, 8]], w = [[2, 0], [1, 3]].
    # g^T x = [[1*5 + 3*7, 1*6 + 3*8], [2*5 + 4*7, 2*6 + 4*8]]; g w = [[2 + 2, 6], [6 + 4, 12]].
    g, x = (torch.zeros(2, 16).bfloat16() for _ in range(2))
    w = torch.zeros(16, 16).bfloat16()
    g[:, :2], x[:, :2] = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6], [7, 8]])
    w[:2, :2] = torch.tensor([[2, 0], [1, 3]])
    by_weight, by_x = gradients.outer(g, gradients.pack(x)), gradients.back(g, gradients.pack(w))
    assert by_weight[:2, :2].tolist() == [[26, 30], [38, 44]]
    assert by_x[:, :2].tolist() == [[4, 6], [10, 12]]
    assert by_weight[2:].abs().sum() == by_weight[:, 2:].abs().sum() == by_x[:, 2:].abs().sum() == 0


sixteens = st.integers(1, 8).map(lambda count: 16 * count)


@given(rows=st.integers(1, 40), outputs=sixteens, inputs=sixteens, is_picked=st.booleans(), is_added=st.booleans())
def test_both_products_are_exact_but_for_the_order_of_their_sums(gradients, rows, outputs, inputs, is_picked, is_added):
    pull, weight, x = numbers(rows + 3, outputs), numbers(outputs, inputs, seed=1), numbers(rows, inputs, seed=2)
    index = torch.randint(0, rows + 3, (rows,), generator=torch.Generator().manual_seed(3))
    taken = Picked(pull, index) if is_picked else pull[:rows]
    picked = pull[index] if is_picked else pull[:rows]
    before = numbers(rows, inputs, seed=4) if is_added else None
    found = gradients.back(taken, gradients.pack(weight), out=None if before is None else before.clone())
    assert is_near(found, picked, weight, more=before)
    assert is_near(gradients.outer(taken, gradients.pack(x)), picked.t(), x)


@pytest.mark.parametrize("rows", [TERMS - 1, TERMS + 1, 2 * TERMS + 5])
def test_sums_of_more_terms_than_are_taken_at_once(gradients, rows):
    pull, x = numbers(rows, 48), numbers(rows, 64, seed=1)
    assert is_near(gradients.outer(pull, gradients.pack(x)), pull.t(), x)
    wide, weight = numbers(7, 16 * (rows // 16)), numbers(16 * (rows // 16), 64, seed=1)
    assert is_near(gradients.back(wide, gradients.pack(weight)), wide, weight)
    assert is_near(gradients.back(Picked(wide, torch.tensor([6, 0])), gradients.pack(weight)), wide[[6, 0]], weight)


def test_columns_of_a_wider_matrix_are_read_where_they_lie(gradients):
    wide, x = numbers(33, 160), numbers(33, 32, seed=1)
    assert is_near(gradients.outer(wide[:, 48:96], gradients.pack(x)), wide[:, 48:96].t(), x)
    some = torch.tensor([5, 0, 32])
    assert is_near(gradients.outer(Picked(wide[:, 48:96], some), gradients.pack(x[:3])), wide[some, 48:96].t(), x[:3])


def test_threads_change_no_bit(gradients):
    pull, weight, x = numbers(BLOCK_ROWS + 9, 208), numbers(208, 96, seed=1), numbers(BLOCK_ROWS + 9, 96, seed=2)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            packed = gradients.pack(weight), gradients.pack(x)
            found.append((gradients.back(pull, packed[0]), gradients.outer(pull, packed[1])))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for pair in found[1:] for one, other in zip(found[0], pair, strict=True))


def test_a_nan_stays_in_its_row_and_column(gradients):
    pull, weight, x = numbers(20, 32), numbers(32, 16, seed=1), numbers(20, 16, seed=2)
    pull[3, 5] = torch.nan
    by_x, by_weight = gradients.back(pull, gradients.pack(weight)), gradients.outer(pull, gradients.pack(x))
    assert by_x.isnan().any(1).nonzero().flatten().tolist() == [3]
    assert by_weight.isnan().any(1).nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("widths", [(16, 24), (24, 16)])
def test_what_they_do_not_take_is_the_librarys(kernels, gradients, widths):
    outputs, inputs = widths
    pull, weight, x = numbers(9, outputs), numbers(outputs, inputs, seed=1), numbers(9, inputs, seed=2)
    assert is_near(back([pull], [weight], kernels.products), pull, weight)
    (found,) = outer([pull], x, kernels.products)
    assert is_near(found, pull.t(), x)
    assert not gradients.takes(numbers(2, 16).float())


def test_several_gradients_share_what_they_read(kernels, gradients):
    first, second, x = numbers(9, 32), numbers(9, 16, seed=1), numbers(9, 48, seed=2)
    weights = numbers(32, 48, seed=3), numbers(16, 48, seed=4)
    by_first, nothing, by_second = outer([first, None, second], x, kernels.products)
    assert nothing is None
    assert is_near(by_first, first.t(), x)
    assert is_near(by_second, second.t(), x)
    once = gradients.back(first, gradients.pack(weights[0]))
    assert is_near(back([first, second], weights, kernels.products), second, weights[1], more=once)
