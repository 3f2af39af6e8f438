"""Log-probabilities read by compiled code: the same numbers, with the gradient by the logits kept or made again."""

from dataclasses import replace

import pytest
import torch
from test_models_logprobs import LargestTensor, gradients, problem

from zero2r1.models import logprobs
from zero2r1.models.head import Head
from zero2r1.models.logprobs import token_logprobs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kept_bytes", [0, 2**28])
@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize("chunk", [7, 2048])
def test_compiled_it_gives_the_same_numbers(kernels, dtype, kept_bytes, scale, chunk, monkeypatch):
    """Kept for the backward pass or made again, against float64 from the same numbers."""
    monkeypatch.setattr(logprobs, "KEPT_BYTES", kept_bytes)
    head, hidden, targets, pull = problem(23, 57, 8, dtype=dtype, scale=scale)
    quick = replace(head, kernels=kernels.head)

    def chunked(*arguments):
        return token_logprobs(*arguments[:3], temperature=arguments[3], chunk=chunk)[0]

    exact = Head(head.weight.detach().double().requires_grad_(), None, scale)
    exact_hidden = hidden.detach().double().requires_grad_()
    for found, wanted in zip(
        token_logprobs(quick, hidden, targets, temperature=0.7, chunk=chunk),
        token_logprobs(exact, exact_hidden, targets, temperature=0.7),
        strict=True,
    ):
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-5)
    right = gradients(chunked, exact, exact_hidden, targets, pull.double(), 0.7)
    found = gradients(chunked, quick, hidden, targets, pull, 0.7)
    plainly = gradients(chunked, head, hidden, targets, pull, 0.7)
    for ours, theirs, wanted in zip(found, plainly, right, strict=True):
        allowed = max(1.2 * (theirs.double() - wanted).norm(), 1e-6 * wanted.norm())
        assert (ours.double() - wanted).norm() <= allowed


def test_what_is_kept_is_kept_only_while_it_is_small(kernels, monkeypatch):
    head, hidden, targets, _ = problem(40, 1000, 2)
    quick = replace(head, kernels=kernels.head)
    for kept_bytes, largest_allowed in ((40 * 1000 * 4, 40 * 1000), (40 * 1000 * 4 - 1, 8 * 1000)):
        monkeypatch.setattr(logprobs, "KEPT_BYTES", kept_bytes)
        with LargestTensor() as largest:
            token_logprobs(quick, hidden, targets, chunk=8)[0].sum().backward()
        assert largest.numel == largest_allowed
    monkeypatch.setattr(logprobs, "KEPT_BYTES", 2**28)
    with LargestTensor() as largest, torch.no_grad():
        token_logprobs(quick, hidden, targets, chunk=8)
    assert largest.numel == 8 * 1000  # without a gradient there is nothing to keep
