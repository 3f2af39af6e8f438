"""Chunked log-probabilities: numbers by hand, parity with log_softmax, and bounded memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from zero2r1.models import head_gradients, logprobs
from zero2r1.models.head import Head
from zero2r1.models.logprobs import token_logprobs


class LargestTensor(TorchDispatchMode):
    """Counts the elements of the largest tensor that any operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor) and "view" not in str(operation):
                self.numel = max(self.numel, tensor.numel())
        return result


def plain(head, hidden, targets, temperature):
    scores = torch.log_softmax(head.logits(hidden).float() / temperature, dim=-1)
    return scores.gather(-1, targets[:, None])[:, 0], -(scores.exp() * scores).sum(-1)


def problem(num_tokens=23, vocab=57, width=8, *, bias=False, dtype=torch.float32, **head):
    generator = torch.Generator().manual_seed(num_tokens)
    weight = torch.randn(vocab, width, generator=generator).to(dtype).requires_grad_()
    offset = torch.randn(vocab, generator=generator).to(dtype).requires_grad_() if bias else None
    hidden = torch.randn(num_tokens, width, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(0, vocab, (num_tokens,), generator=generator)
    return Head(weight, offset, **head), hidden, targets, torch.randn(num_tokens, generator=generator)


def gradients(of, head, hidden, targets, pull, temperature):
    parameters = [tensor for tensor in (hidden, head.weight, head.bias) if tensor is not None]
    return torch.autograd.grad((of(head, hidden, targets, temperature) * pull).sum(), parameters)


def test_two_words_by_hand():
    # logits (ln 3, 0): p = (3/4, 1/4). ln(1/4) = -1.386294; entropy = -(.75 ln .75 + .25 ln .25) = 0.562335.
    head = Head(torch.tensor([[math.log(3.0)], [0.0]]))
    logprob, entropy = token_logprobs(head, torch.ones(2, 1), torch.tensor([1, 0]))
    torch.testing.assert_close(logprob, torch.tensor([-1.386294, -0.287682]), rtol=0, atol=1e-6)
    torch.testing.assert_close(entropy, torch.tensor([0.562335, 0.562335]), rtol=0, atol=1e-6)


def test_temperature_divides_the_logits():
    # logits (2 ln 3, 0) at temperature 2 are (ln 3, 0): p of word 0 is 3/4.
    head = Head(torch.tensor([[2 * math.log(3.0)], [0.0]]))
    logprob, _ = token_logprobs(head, torch.ones(1, 1), torch.tensor([0]), temperature=2.0)
    torch.testing.assert_close(logprob.exp(), torch.tensor([0.75]))


VARIANTS = [{}, {"bias": True}, {"scale": 0.25}, {"softcap": 3.0}, {"bias": True, "scale": 2.0, "softcap": 5.0}]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("temperature", [1, 0.7])
@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_values_and_gradients_equal_plain_log_softmax(variant, temperature, chunk):
    head, hidden, targets, pull = problem(**variant)

    def chunked(*arguments):
        return token_logprobs(*arguments[:3], temperature=arguments[3], chunk=chunk)[0]

    logprob, entropy = token_logprobs(head, hidden, targets, temperature=temperature, chunk=chunk)
    expected, expected_entropy = plain(head, hidden, targets, temperature)
    torch.testing.assert_close(logprob, expected, rtol=0, atol=2e-6)
    torch.testing.assert_close(entropy, expected_entropy, rtol=0, atol=2e-6)
    assert not entropy.requires_grad
    found = gradients(chunked, head, hidden, targets, pull, temperature)
    wanted = gradients(lambda *a: plain(*a)[0], head, hidden, targets, pull, temperature)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("temperature", [1, 0.7])
def test_in_float64_the_custom_backward_is_autograds_to_ten_digits(variant, temperature):
    head, hidden, targets, pull = problem(dtype=torch.float64, **variant)
    pull = pull.double()
    pull[::5] = 0.0  # tokens without a gradient

    def chunked(*arguments):
        return token_logprobs(*arguments[:3], temperature=arguments[3], chunk=5)[0]

    scores = torch.log_softmax(head.logits(hidden) / temperature, dim=-1)
    wanted = scores.gather(-1, targets[:, None])[:, 0]
    found, entropy = token_logprobs(head, hidden, targets, temperature=temperature, chunk=5)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(entropy, -(scores.exp() * scores).sum(-1), rtol=0, atol=1e-12)
    parameters = [tensor for tensor in (hidden, head.weight, head.bias) if tensor is not None]
    exact = torch.autograd.grad((wanted * pull).sum(), parameters)
    for ours, theirs in zip(gradients(chunked, head, hidden, targets, pull, temperature), exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_tied_weights_get_both_gradients():
    # the same matrix embeds and is the head: hidden = W[ids], logits = hidden W^T
    head, _, targets, pull = problem(dtype=torch.float64)
    ids = targets.flip(0)
    tied = torch.autograd.grad((token_logprobs(head, head.weight[ids], targets, chunk=4)[0] * pull).sum(), head.weight)
    scores = torch.log_softmax(head.weight[ids] @ head.weight.T, dim=-1).gather(-1, targets[:, None])[:, 0]
    torch.testing.assert_close(tied, torch.autograd.grad((scores * pull).sum(), head.weight), rtol=0, atol=1e-10)


def test_the_gradient_of_a_certain_and_of_an_impossible_target_by_hand():
    # logits (100, 0), p = (1, 0). Target 0: onehot - p = (0, 0). Target 1: (0, 1) - (1, 0) = (-1, 1); with weight
    # rows (100), (0) the slope by hidden = -100, and by the rows -1 and 1 times hidden = 1.
    weight = torch.tensor([[100.0], [0.0]], requires_grad=True)
    hidden = torch.ones(2, 1, requires_grad=True)
    logprob, entropy = token_logprobs(Head(weight), hidden, torch.tensor([0, 1]))
    assert logprob.tolist() == [0.0, -100.0]
    assert entropy.tolist() == pytest.approx([0.0, 0.0], abs=1e-38)
    logprob.sum().backward()
    assert hidden.grad.tolist() == [[0.0], [-100.0]]
    assert weight.grad.tolist() == [[-1.0], [1.0]]


@settings(max_examples=20)
@given(num_tokens=st.integers(1, 40), chunk=st.integers(1, 50), temperature=st.floats(0.2, 3.0))
def test_the_size_of_a_chunk_changes_nothing(num_tokens, chunk, temperature):
    head, hidden, targets, _ = problem(num_tokens)
    whole = token_logprobs(head, hidden, targets, temperature=temperature, chunk=1024)
    pieces = token_logprobs(head, hidden, targets, temperature=temperature, chunk=chunk)
    # logits of about 10 carry a rounding of 1e-6, which the temperature then divides
    torch.testing.assert_close(pieces[0], whole[0], rtol=0, atol=4e-6 / min(1.0, temperature))
    torch.testing.assert_close(pieces[1], whole[1], rtol=0, atol=4e-6 / min(1.0, temperature))


@pytest.mark.parametrize(("num_tokens", "chunk"), [(512, 32), (4096, 32)])
def test_no_tensor_is_larger_than_one_chunk_of_logits(num_tokens, chunk):
    vocab, width = 1000, 8
    head, hidden, targets, _ = problem(num_tokens, vocab, width)
    with LargestTensor() as largest:
        logprob, _ = token_logprobs(head, hidden, targets, chunk=chunk)
        logprob.sum().backward()
    assert largest.numel <= max(chunk * vocab, num_tokens * width)
    with LargestTensor() as largest:
        plain(head, hidden, targets, 1.0)[0].sum().backward()
    assert largest.numel == num_tokens * vocab  # the measure does see what the plain way needs


@pytest.mark.parametrize("vocab", [100, 1000, 10000])
def test_the_logits_alive_at_once_do_not_grow_with_the_vocabulary(vocab, monkeypatch):
    monkeypatch.setattr(logprobs, "MAX_LOGITS", 20_000)
    head, hidden, targets, _ = problem(300, vocab, 2)
    with LargestTensor() as largest:
        token_logprobs(head, hidden, targets)[0].sum().backward()
    assert largest.numel <= 2 * 20_000


def test_parts_that_are_frozen_get_no_gradient():
    head, hidden, targets, _ = problem()
    head.weight.requires_grad_(False)
    token_logprobs(head, hidden, targets)[0].sum().backward()
    assert hidden.grad is not None
    assert head.weight.grad is None


def test_bfloat16_hidden_states_give_float32_results_and_their_own_gradients():
    head, hidden, targets, _ = problem(200, dtype=torch.bfloat16)
    logprob, entropy = token_logprobs(head, hidden, targets, chunk=16)
    assert logprob.dtype == entropy.dtype == torch.float32
    torch.testing.assert_close(logprob, plain(head, hidden, targets, 1.0)[0], rtol=0, atol=1e-5)
    logprob.sum().backward()
    assert hidden.grad.dtype == head.weight.grad.dtype == torch.bfloat16
    exact = [tensor.detach().float().requires_grad_() for tensor in (head.weight, hidden)]
    plain(Head(exact[0]), exact[1], targets, 1.0)[0].sum().backward()
    torch.testing.assert_close(head.weight.grad.float(), exact[0].grad, rtol=0.05, atol=0.2)


def test_float32_weights_serve_bfloat16_hidden_states():
    head, hidden, targets, _ = problem()
    low = hidden.detach().bfloat16().requires_grad_()
    token_logprobs(head, low, targets)[0].sum().backward()
    assert (low.grad.dtype, head.weight.grad.dtype) == (torch.bfloat16, torch.float32)


def test_impossible_words_leave_the_entropy_finite():
    head = Head(torch.tensor([[0.0], [0.0], [-torch.inf]]))
    _, entropy = token_logprobs(head, torch.ones(1, 1), torch.tensor([0]))
    torch.testing.assert_close(entropy, torch.tensor([math.log(2.0)]))


def test_no_tokens_are_no_problem():
    head, hidden, targets, _ = problem()
    logprob, entropy = token_logprobs(head, hidden[:0], targets[:0])
    assert logprob.shape == entropy.shape == (0,)
    logprob.sum().backward()
    assert torch.count_nonzero(hidden.grad) == 0


@pytest.mark.parametrize("settings_", [{"temperature": 0.0}, {"temperature": -1}, {"chunk": 0}])
def test_settings_without_meaning_are_refused(settings_):
    head, hidden, targets, _ = problem()
    with pytest.raises(ValueError, match="positive"):
        token_logprobs(head, hidden, targets, **settings_)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("rows_at_once", [1, 3])
def test_few_rows_at_a_time_change_nothing(variant, rows_at_once, monkeypatch):
    """23 rows in chunks of 9, 9 and 5, and inside them in pieces of 1 or 3."""
    head, hidden, targets, pull = problem(dtype=torch.float64, **variant)
    pull = pull.double()

    def chunked(*arguments):
        return token_logprobs(*arguments[:3], temperature=arguments[3], chunk=9)[0]

    whole = (*token_logprobs(head, hidden, targets, temperature=0.7, chunk=9),)
    wanted = gradients(chunked, head, hidden, targets, pull, 0.7)
    monkeypatch.setattr(logprobs, "CACHED_LOGITS", 57 * rows_at_once)
    pieces = token_logprobs(head, hidden, targets, temperature=0.7, chunk=9)
    for ours, theirs in zip(pieces, whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    for ours, theirs in zip(gradients(chunked, head, hidden, targets, pull, 0.7), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("chunk", [16, 2048])
@pytest.mark.parametrize("added_rows", [10, 2**13])
def test_in_bfloat16_the_gradient_is_off_by_its_rounding_only(variant, chunk, added_rows, monkeypatch):
    """Against float64 from the same bfloat16 numbers; eager bfloat16 is the measure."""
    monkeypatch.setattr(head_gradients, "ADDED_ROWS", added_rows)
    monkeypatch.setattr(logprobs, "CACHED_LOGITS", 57 * 3)
    head, hidden, targets, pull = problem(200, dtype=torch.bfloat16, **variant)

    def chunked(*arguments):
        return token_logprobs(*arguments[:3], temperature=arguments[3], chunk=chunk)[0]

    parts = [None if part is None else part.detach().double().requires_grad_() for part in (head.weight, head.bias)]
    exact_head = Head(*parts, head.scale, head.softcap)
    exact_hidden = hidden.detach().double().requires_grad_()
    exact = gradients(lambda *a: plain(*a)[0], exact_head, exact_hidden, targets, pull, 1.0)
    eager = gradients(lambda *a: plain(*a)[0], head, hidden, targets, pull, 1.0)
    found = gradients(chunked, head, hidden, targets, pull, 1.0)
    for ours, theirs, right in zip(found, eager, exact, strict=True):
        assert (ours.double() - right).norm() <= max(1.2 * (theirs.double() - right).norm(), 0.01 * right.norm())


def test_a_chunk_takes_the_same_memory_in_each_dtype(monkeypatch):
    # 8 * 20,000 bytes of rows of 1,000: 26 rows of 4 bytes a logit and 2 for its bfloat16 gradient, 40 in float32 (4),
    # 20 in float64 (8).
    monkeypatch.setattr(logprobs, "MAX_LOGITS", 20_000)
    for dtype, logits in ((torch.bfloat16, 26_000), (torch.float32, 40_000), (torch.float64, 20_000)):
        head, hidden, targets, _ = problem(300, 1000, 2, dtype=dtype)
        with LargestTensor() as largest:
            token_logprobs(head, hidden, targets)
        assert largest.numel == logits
