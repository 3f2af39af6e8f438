"""A gather and its gradient are those of plain indexing, and the gradient is the same bits every time."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.models.gathering import Gather


def test_rows_by_hand():
    # Row 1 twice, row 0 never, 3 stands for zeros. The gradient of row 1 is the sum of the first and the third.
    source = torch.tensor([[1.0], [2.0], [3.0]], requires_grad=True)
    out = Gather(torch.tensor([1, 3, 1, 2]), 3)(source)
    assert out.flatten().tolist() == [2.0, 0.0, 2.0, 3.0]
    out.backward(torch.tensor([[10.0], [20.0], [30.0], [40.0]]))
    assert source.grad.flatten().tolist() == [0.0, 40.0, 40.0]


@given(st.data())
def test_it_is_indexing_with_a_row_of_zeros_at_the_end(data):
    num_rows = data.draw(st.integers(1, 8))
    rows = torch.tensor(data.draw(st.lists(st.integers(0, num_rows), max_size=20)), dtype=torch.int64)
    generator = torch.Generator().manual_seed(len(rows))
    source = torch.randn(num_rows, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    pull = torch.randn(len(rows), 2, 3, generator=generator, dtype=torch.float64)
    plain = torch.cat([source, torch.zeros(1, 2, 3, dtype=torch.float64)])[rows]
    found = Gather(rows, num_rows)(source)
    assert torch.equal(found, plain)
    wanted, back = (torch.autograd.grad((out * pull).sum(), source)[0] for out in (plain, found))
    torch.testing.assert_close(back, wanted, rtol=0, atol=1e-12)


def test_a_row_read_often_is_summed_in_float32():
    # 256 ones in bfloat16: their running sum stops growing at 256 only because it is exact there; 1 + 400 * 2^-8 in
    # bfloat16 would stay 1, since 1 + 2^-8 rounds to 1.
    source = torch.zeros(1, 1, dtype=torch.bfloat16, requires_grad=True)
    pull = torch.full((401, 1), 2.0**-8, dtype=torch.bfloat16)
    pull[0] = 1.0
    Gather(torch.zeros(401, dtype=torch.int64), 1)(source).backward(pull)
    assert source.grad.item() == torch.tensor(1.0 + 400 / 256).bfloat16().item()
