"""On a GPU: quickened networks learn what transformers' own learn, and a step repeats bit by bit."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from learning_world import TINY, batch, random_rows, same, state_of, tiny_model, tokenizer
from networks import network, ours, token_rows

from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.head import head_of
from zero2r1.models.layers import is_quick, quicken_here
from zero2r1.models.logprobs import token_logprobs
from zero2r1.models.tiny import make_tiny
from zero2r1.rl.loss import PolicyLoss

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
WIDE = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32}


def learned(model, kernels=None):
    """Log-probabilities of some packed sequences, two of which begin alike, and the gradient of a sum of them."""
    device = model.device
    row = torch.tensor(token_rows(56)[0])
    places = [torch.arange(30), torch.cat([torch.arange(8), torch.arange(30, 39)]), torch.arange(39, 56)]
    positions = torch.cat([torch.arange(30), torch.arange(8, 17), torch.arange(17)])
    context = PackedContext([30, 17, 17], places=places, device=device)
    hidden = hidden_states(model, row.to(device), positions.to(device), context)
    targets = row.roll(-1).to(device)
    head = head_of(model, None if kernels is None else kernels.head)
    logprobs, entropy = token_logprobs(head, hidden, targets, temperature=0.7)
    pull = torch.randn(len(row), generator=torch.Generator().manual_seed(1)).to(device)
    (logprobs * pull).sum().backward()
    gradients = {name: parameter.grad.double().cpu() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return torch.stack([logprobs, entropy]).detach().double().cpu(), gradients


def distance(found, right):
    return math.sqrt(
        sum(float((found[name] - right[name]).square().sum()) for name in right)
        / sum(float(each.square().sum()) for each in right.values())
    )


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_quick_network_learns_what_transformers_learns(family, dtype):
    plain = ours(network(family, **WIDE)).to(dtype)
    exact_numbers, exact = learned(copy.deepcopy(plain).double())
    plain = plain.cuda()
    numbers, gradients = learned(plain)
    quick = copy.deepcopy(plain)
    kernels = quicken_here(quick)
    assert kernels is not None
    assert kernels.device_type == "cuda"
    assert all(is_quick(layer.self_attn) and is_quick(layer.mlp) for layer in quick.model.layers)
    quick_numbers, quick_gradients = learned(quick, kernels)
    near = 2e-5 if dtype == torch.float32 else 0.0
    assert distance(quick_gradients, exact) <= max(1.2 * distance(gradients, exact), near)
    assert (quick_numbers - exact_numbers).norm() <= max(1.2 * (numbers - exact_numbers).norm(), near)


def test_logits_of_bfloat16_factors_are_not_rounded():
    model = ours(network("llama", **WIDE)).bfloat16().cuda()
    hidden = torch.randn(300, 64, generator=torch.Generator().manual_seed(0)).bfloat16().cuda()
    head = head_of(model)
    exact = hidden.double() @ head.weight.detach().double().t()
    room = torch.empty(300, len(head.weight), device="cuda")
    with torch.no_grad():
        for logits in (head.logits(hidden), head.laid_out(torch.bfloat16).logits(hidden, room)):
            assert logits.dtype == torch.float32
            torch.testing.assert_close(logits.double(), exact, rtol=0, atol=1e-5 * float(exact.abs().max()))


@pytest.mark.parametrize("kept_bytes", [0, 2**32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_log_probabilities_in_pieces_are_those_of_one(kept_bytes, dtype, triton_kernels, monkeypatch):
    monkeypatch.setattr("zero2r1.models.logprobs.GPU_KEPT_BYTES", kept_bytes)
    generator = torch.Generator().manual_seed(0)
    hidden, weight = (torch.randn(*shape, generator=generator).to("cuda", dtype).requires_grad_() for shape in
                      ((130, 32), (5000, 32)))  # fmt: skip
    targets = torch.randint(0, 5000, (130,), generator=generator).cuda()
    head = replace(head_of(network("llama").cuda()), weight=weight)
    pull = torch.randn(130, generator=generator).cuda()
    exact = torch.log_softmax(hidden.double() @ weight.double().t() / 0.7, -1)
    right = torch.autograd.grad((exact.gather(1, targets[:, None])[:, 0] * pull).sum(), (hidden, weight))
    for quick in (head, replace(head, kernels=triton_kernels.head)):
        logprobs, entropy = token_logprobs(quick, hidden, targets, temperature=0.7, chunk=50)
        torch.testing.assert_close(logprobs.double(), exact.gather(1, targets[:, None])[:, 0], rtol=0, atol=1e-4)
        torch.testing.assert_close(entropy.double(), -(exact.exp() * exact).sum(-1), rtol=0, atol=1e-4)
        found = torch.autograd.grad((logprobs * pull).sum(), (hidden, weight))
        near = 1e-5 if dtype == torch.float32 else 2e-2
        for mine, theirs in zip(found, right, strict=True):
            assert (mine.double() - theirs).norm() <= near * theirs.norm()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_a_step_repeats_bit_by_bit(dtype, ratio):
    states = []
    for _ in range(2):
        config = TINY.model_copy(update={"hidden_size": 64, "num_heads": 4, "num_kv_heads": 2})
        model = make_tiny(config, tokenizer(), seed=0).cuda()
        subject = Learner(model, LearnerConfig(lr=1e-2, micro_tokens=64, compute_dtype=dtype), total_steps=10)
        for seed in range(2):
            figures = subject.step(batch(random_rows(12, seed=seed, longest=30)), PolicyLoss(ratio=ratio))
            assert figures["nonfinite"] == 0.0
        states.append(state_of(subject))
    assert same(*states)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_step_on_a_gpu_is_that_on_a_cpu():
    rows = batch(random_rows(12, longest=30))
    figures = [
        Learner(tiny_model().to(device), LearnerConfig(lr=1e-2), total_steps=10).step(rows, PolicyLoss())
        for device in ("cpu", "cuda")
    ]
    assert figures[1] == pytest.approx(figures[0], rel=1e-3, abs=1e-5)
