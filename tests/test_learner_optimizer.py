"""The optimizer alone: the sum over micro-batches, the clip, and what it leaves untouched. Numbers by hand."""

import math

import pytest
import torch
from torch import nn

from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.optimizer import CHUNK, Optimizer, add_widened, clip_factor


class Pair(nn.Module):
    """A matrix and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        self.vector = nn.Parameter(torch.tensor([1.0, -1.0]))


def optimizer(module: nn.Module, **config: object) -> Optimizer:
    return Optimizer(module, LearnerConfig(**{"lr": 0.1, "compute_dtype": "bfloat16"} | config))


def test_gradients_of_bfloat16_are_summed_without_rounding_the_sum():
    # 256 + 1 + 1: bfloat16 has 8 bits, so 256 + 1 rounds to 256 there and the sum of three would be 256
    module = Pair()
    subject = optimizer(module)
    for value in (256.0, 1.0, 1.0):
        module.vector.grad = torch.full((2,), value, dtype=torch.bfloat16)
        subject.collect()
        assert module.vector.grad is None
    assert float(subject.grad_norm()) == pytest.approx(258 * math.sqrt(2))


@pytest.mark.parametrize("size", [1, 7, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_a_sum_in_pieces_is_the_sum_of_the_whole(size):
    generator = torch.Generator().manual_seed(size)
    total = torch.randn(size, generator=generator)
    gradient = torch.randn(size, generator=generator).to(torch.bfloat16)
    wanted = total + gradient.to(torch.float32)
    add_widened(total, gradient)
    assert torch.equal(total, wanted)


def test_a_transposed_gradient_is_added_where_it_belongs():
    total = torch.zeros(2, 3)
    add_widened(total, torch.arange(6.0).reshape(3, 2).to(torch.bfloat16).t())
    assert total.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_a_gradient_with_nan_spoils_the_norm():
    module = Pair()
    subject = optimizer(module)
    for value in (1.0, math.nan):
        module.vector.grad = torch.tensor([0.0, value], dtype=torch.bfloat16)
        subject.collect()
    assert math.isnan(float(subject.grad_norm()))
    subject.clear()
    assert float(subject.grad_norm()) == 0.0


def test_the_clip_by_hand():
    # norm 5, limit 1: 1 / 5.000001; norm 0.5: as it is; limit 0: never
    assert clip_factor(torch.tensor(5.0), 1.0) == pytest.approx(1 / 5.000001, rel=1e-7)
    assert clip_factor(torch.tensor(0.5), 1.0) == 1.0
    assert clip_factor(torch.tensor(5.0), 0) == 1.0


def test_the_clip_is_that_of_torch_bit_by_bit():
    module, other = Pair(), Pair()
    subject = optimizer(module, compute_dtype="float32")
    for each in (module, other):
        each.matrix.grad = torch.tensor([[3.0, 0.1], [0.2, 0.3]])
        each.vector.grad = torch.tensor([4.0, 0.7])
    norm = torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
    assert torch.equal(subject.grad_norm(), norm)
    subject.apply(lr=0.0, grad_clip=1.0, grad_norm=norm)
    assert torch.equal(module.matrix.grad, other.matrix.grad)
    assert torch.equal(module.vector.grad, other.vector.grad)


@pytest.mark.parametrize("offload", ["none", "cpu"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_step_of_adamw_by_hand(dtype, offload):
    # the first step is lr * g / (|g| + eps), so lr * sign(g) = 0.1 down; no decay of vectors: 1 - 0.1 = 0.9, -1 + 0.1 =
    # -0.9. Matrices decay by lr * 0.5 = 0.05 of themselves first: 1 * 0.95 - 0.1 = 0.85; 3 * 0.95 = 2.85, no gradient.
    module = Pair()
    subject = optimizer(module, compute_dtype=dtype, offload=offload, weight_decay=0.5)
    module.matrix.grad = torch.tensor([[2.0, 0.0], [0.0, 0.0]], dtype=module.matrix.dtype)
    module.vector.grad = torch.tensor([8.0, -8.0], dtype=module.vector.dtype)
    subject.collect()
    subject.apply(lr=0.1, grad_clip=0.0, grad_norm=subject.grad_norm())
    near = {"float32": 1e-6, "bfloat16": 2**-8}[dtype]
    assert module.vector.tolist() == pytest.approx([0.9, -0.9], rel=near)
    assert [value for row in module.matrix.tolist() for value in row] == pytest.approx([0.85, 1.9, 2.85, 3.8], rel=near)


def test_what_wants_no_gradient_is_rounded_but_not_trained():
    module = Pair()
    module.matrix.requires_grad_(False)
    subject = optimizer(module)
    module.vector.grad = torch.ones(2, dtype=torch.bfloat16)
    subject.collect()
    subject.apply(lr=0.1, grad_clip=1.0, grad_norm=subject.grad_norm())
    assert module.matrix.dtype == torch.bfloat16
    assert module.matrix.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert set(subject.state_tensors()) == {
        "master.vector", "exp_avg.vector", "exp_avg_sq.vector", "step.vector",
    }  # fmt: skip
