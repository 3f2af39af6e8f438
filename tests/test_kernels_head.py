"""The compiled functions behind the hidden states: log-probabilities and gradients."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

VOCABULARIES = st.sampled_from([1, 5, 16, 17, 33, 127, 128, 129, 300])


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.fixture(scope="module")
def head(kernels):
    return kernels.head


@given(seed=st.integers(0, 10**6), vocabulary=VOCABULARIES, spread=st.sampled_from([0.1, 3.0, 30.0]))
def test_logits_are_read_as_log_softmax_reads_them(head, seed, vocabulary, spread):
    logits = numbers(6, vocabulary, seed=seed) * spread
    targets = torch.randint(0, vocabulary, (6,), generator=torch.Generator().manual_seed(seed))
    slope = torch.empty_like(logits)
    logprobs, entropy, normaliser = head.read_logits(logits, targets, slope, inverse=1 / 0.7)
    exact = (logits.double() / 0.7).log_softmax(-1)
    near = {"rtol": 1e-6, "atol": 1e-6 * max(1.0, spread)}
    torch.testing.assert_close(logprobs.double(), exact.gather(-1, targets[:, None])[:, 0], **near)
    torch.testing.assert_close(entropy.double(), -(exact.exp() * exact).sum(-1), **near)
    torch.testing.assert_close(normaliser.double(), (logits.double() / 0.7).logsumexp(-1), **near)
    onehot = torch.nn.functional.one_hot(targets, vocabulary)
    torch.testing.assert_close(slope.double(), exact.exp() - onehot, rtol=0, atol=1e-5)


def test_two_words_by_hand(head):
    # Logits (ln 3, 0): odds 3/4 and 1/4. Target 1: log 1/4; entropy 0.562335; normaliser ln 4; slope (3/4, -3/4).
    logits, slope = torch.tensor([[math.log(3.0), 0.0]]), torch.empty(1, 2)
    found = head.read_logits(logits, torch.tensor([1]), slope, inverse=1.0)
    assert [float(value) for value in found] == pytest.approx([math.log(0.25), 0.562335, math.log(4.0)], abs=1e-6)
    assert slope.flatten().tolist() == pytest.approx([0.75, -0.75], abs=1e-6)


def test_the_slope_may_be_written_over_the_logits(head):
    logits, targets = numbers(3, 40), torch.tensor([0, 39, 7])
    apart = torch.empty_like(logits)
    head.read_logits(logits, targets, apart, inverse=1.0)
    head.read_logits(logits, targets, logits, inverse=1.0)
    assert torch.equal(logits, apart)


def test_words_without_a_chance_and_unsound_logits(head):
    logits = torch.tensor([[0.0, 0.0, -math.inf], [0.0, math.nan, 0.0], [math.inf, 0.0, 0.0]])
    slope = torch.empty_like(logits)
    logprobs, entropy, _ = head.read_logits(logits, torch.zeros(3, dtype=torch.int64), slope, inverse=1.0)
    assert float(entropy[0]) == pytest.approx(math.log(2.0), abs=1e-6)
    assert slope[0].tolist() == pytest.approx([-0.5, 0.5, 0.0], abs=1e-6)
    assert not logprobs[1:].isfinite().any()
