"""The Triton functions behind the hidden states: log-probabilities, gradients and a choice. On a GPU where there is
one."""

import math

import pytest
import torch

from zero2r1.policy.sampler import draw as plain_draw

# numpy, with which Triton's interpreter computes, warns of numbers that `where` then leaves out.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
VOCABULARIES = [1, 5, 127, 300, 4096, 4097, 9001]


@pytest.fixture
def head(triton_kernels):
    return triton_kernels.head


@pytest.fixture
def device(triton_kernels):
    return triton_kernels.device_type


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("spread", [0.1, 3.0, 30.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_logits_are_read_as_log_softmax_reads_them(head, device, vocabulary, spread, dtype):
    logits = (numbers(4, vocabulary, seed=vocabulary) * spread).to(device)
    targets = torch.randint(0, vocabulary, (4,), generator=torch.Generator().manual_seed(1)).to(device)
    slope = torch.empty_like(logits, dtype=dtype)
    logprobs, entropy, normaliser = head.read_logits(logits, targets, slope, inverse=1 / 0.7)
    exact = (logits.double() / 0.7).log_softmax(-1)
    near = {"rtol": 2e-6, "atol": 2e-6 * max(1.0, spread)}
    torch.testing.assert_close(logprobs.double(), exact.gather(-1, targets[:, None])[:, 0], **near)
    torch.testing.assert_close(entropy.double(), -(exact.exp() * exact).sum(-1), **near)
    torch.testing.assert_close(normaliser.double(), (logits.double() / 0.7).logsumexp(-1), **near)
    onehot = torch.nn.functional.one_hot(targets, vocabulary)
    unit = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}[dtype]
    torch.testing.assert_close(slope.double(), exact.exp() - onehot, rtol=0, atol=unit)
    for alone, together in zip(
        head.read_logits(logits, targets, None, inverse=1 / 0.7), (logprobs, entropy, normaliser), strict=True
    ):
        assert torch.equal(alone, together)


def test_two_words_by_hand(head, device):
    # Logits (ln 3, 0): odds 3/4 and 1/4. Target 1: log 1/4; entropy 0.562335; normaliser ln 4; slope (3/4, -3/4).
    logits = torch.tensor([[math.log(3.0), 0.0]], device=device)
    slope = torch.empty_like(logits)
    found = head.read_logits(logits, torch.tensor([1], device=device), slope, inverse=1.0)
    assert [float(value) for value in found] == pytest.approx([math.log(0.25), 0.562335, math.log(4.0)], abs=1e-6)
    assert slope.flatten().tolist() == pytest.approx([0.75, -0.75], abs=1e-6)


def test_the_slope_may_be_written_over_the_logits(head, device):
    logits, targets = numbers(3, 9001).to(device), torch.tensor([0, 9000, 7], device=device)
    apart = torch.empty_like(logits)
    head.read_logits(logits, targets, apart, inverse=1.0)
    head.read_logits(logits, targets, logits, inverse=1.0)
    assert torch.equal(logits, apart)


@pytest.mark.parametrize("floor", [-math.inf, torch.finfo(torch.float32).min])
def test_words_without_a_chance_count_nothing(head, device, floor):
    logits = torch.full((3, 9000), floor, device=device)
    logits[0, :2] = 0.0
    logits[1, [0, 8999]] = 0.0
    logits[2, [5000, 5001]] = 100.0
    targets = torch.tensor([0, 8999, 5000], device=device)
    slope = torch.empty_like(logits)
    logprobs, entropy, normaliser = head.read_logits(logits, targets, slope, inverse=1.0)
    torch.testing.assert_close(logprobs.cpu(), torch.full((3,), -math.log(2.0)))
    torch.testing.assert_close(entropy.cpu(), torch.full((3,), math.log(2.0)))
    torch.testing.assert_close(normaliser.cpu(), torch.tensor([0.0, 0.0, 100.0]) + math.log(2.0))
    torch.testing.assert_close(slope.abs().sum(-1).cpu(), torch.ones(3), rtol=0, atol=1e-4)


def test_unsound_logits_give_no_finite_numbers(head, device):
    logits = torch.zeros(3, 5000, device=device)
    logits[0, 4999], logits[1, 3] = math.nan, math.inf
    logits[2] = -math.inf
    targets = torch.zeros(3, dtype=torch.int64, device=device)
    logprobs, _, _ = head.read_logits(logits, targets, torch.empty_like(logits), inverse=1.0)
    assert not logprobs.isfinite().any()
    tokens, logprobs = head.draw(logits, torch.full((3,), 0.5, dtype=torch.float64, device=device), temperature=1.0)
    assert not logprobs.isfinite().any()
    assert ((tokens >= 0) & (tokens < 5000)).all()


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_word_drawn_is_that_of_the_inverse_distribution_function(head, device, vocabulary, dtype):
    logits = (numbers(20, vocabulary, seed=vocabulary) * 3).to(dtype)
    uniforms = torch.rand(20, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    uniforms[0], uniforms[1] = 0.0, 1.0 - 2**-53
    exact = (logits.double() / 0.7).softmax(-1)
    tokens, logprobs = head.draw(logits.to(device), uniforms.to(device), temperature=0.7)
    ends = exact.cumsum(-1)
    at = tokens.cpu()[:, None]
    assert (ends.gather(-1, at)[:, 0] > uniforms - 1e-6).all()
    assert ((ends - exact).gather(-1, at)[:, 0] <= uniforms + 1e-6).all()
    torch.testing.assert_close(logprobs.cpu().double(), exact.log().gather(-1, at)[:, 0], rtol=0, atol=1e-5)
    assert torch.equal(tokens.cpu(), plain_draw((logits.float() / 0.7).softmax(-1), uniforms))


def test_a_word_without_a_chance_is_never_drawn(head, device):
    logits = torch.full((64, 9000), -math.inf)
    logits[:, [17, 4095, 4096, 8000]] = torch.tensor([0.0, 1.0, 2.0, 0.5])
    uniforms = torch.linspace(0.0, 1.0 - 2**-53, 64, dtype=torch.float64)
    tokens, _ = head.draw(logits.to(device), uniforms.to(device), temperature=1.0)
    odds = torch.tensor([0.0, 1.0, 2.0, 0.5]).double().softmax(0).cumsum(0)
    right = torch.tensor([17, 4095, 4096, 8000])[torch.searchsorted(odds, uniforms, right=True).clamp(max=3)]
    assert torch.equal(tokens.cpu(), right)


def test_rows_may_lie_apart(head, device):
    wide = numbers(4, 700).to(device)
    uniforms = torch.full((4,), 0.4, dtype=torch.float64, device=device)
    for mine, other in zip(
        head.draw(wide[:, :300], uniforms, temperature=1.0),
        head.draw(wide[:, :300].contiguous(), uniforms, temperature=1.0),
        strict=True,
    ):
        assert torch.equal(mine, other)
