"""The Triton functions of a layer: numbers by hand, and the formulas in float64. On a GPU where there is one."""

import copy
import math
import sys

import pytest
import torch
from networks import network, ours, run_packed, token_rows
from torch.nn.functional import silu

from zero2r1.models import gpu
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.gpu.ops import gpu_kernels
from zero2r1.models.head import head_of
from zero2r1.models.kernels.build import NoKernelsError
from zero2r1.models.kernels.choice import kernels_for
from zero2r1.models.kernels.protocol import AnyKernels
from zero2r1.models.layers import is_quick, quicken
from zero2r1.models.logprobs import token_logprobs
from zero2r1.models.packing import pack

# numpy, with which Triton's interpreter computes, warns of numbers that `where` then leaves out.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
# One unit in the last place, of numbers of size 1: the interpreter cuts bfloat16 off instead of rounding it.
NEAR = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
WIDTHS = [16, 48, 576, 1536]


@pytest.fixture
def numbers(triton_kernels):
    def drawn(*shape, seed=0, dtype=torch.float32):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(triton_kernels.device_type, dtype)

    return drawn


def close(found, exact, dtype):
    scale = max(1.0, float(exact.abs().max()))
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=NEAR[dtype] * scale)


def normed(x, weight, eps):
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * weight


def test_they_have_the_surface_of_kernels(triton_kernels):
    assert isinstance(triton_kernels, AnyKernels)
    assert triton_kernels.attention is None
    assert not triton_kernels.products.takes(torch.zeros(16, 16))


def test_no_device_but_cpu_and_cuda_has_kernels():
    with pytest.raises(NoKernelsError, match="meta"):
        kernels_for(torch.device("meta"))


def test_rms_norm_by_hand(triton_kernels):
    # x + delta = 2 everywhere: mean square 4, root 2, so y = weight = 3. Backward of a pull of 1 on entry 0, x = 2:
    # s = 1/2, g = (3, 0, ...), mean(g x) = 6/16, dx = s g - x s^3 mean = 1.5 - 2/8 * 0.375 = 1.40625, and -0.09375.
    x, delta, weight = (torch.full(shape, value).to(triton_kernels.device_type) for shape, value in
                        (((1, 16), 0.5), ((1, 16), 1.5), ((16,), 3.0)))  # fmt: skip
    y = triton_kernels.rms_norm(x, delta, weight, eps=0.0)
    torch.testing.assert_close(y, torch.full_like(y, 3.0))
    torch.testing.assert_close(x, torch.full_like(x, 2.0))
    pull = torch.zeros_like(x)
    pull[0, 0] = 1.0
    by_x, by_weight = triton_kernels.rms_norm_backward(pull, x, weight, eps=0.0)
    assert by_x[0].tolist() == pytest.approx([1.40625] + [-0.09375] * 15)
    assert by_weight.tolist() == pytest.approx([1.0] + [0.0] * 15)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("stream", "dtype"), [*((dtype, dtype) for dtype in DTYPES), (torch.float32, torch.bfloat16)])
def test_rms_norm_and_its_gradients(triton_kernels, numbers, width, stream, dtype):
    x, weight, pull = numbers(37, width, dtype=stream), numbers(width, seed=1, dtype=dtype), numbers(37, width, seed=2)
    pull = pull.to(dtype)
    exact_x, exact_weight = x.double().requires_grad_(), weight.double().requires_grad_()
    exact = normed(exact_x, exact_weight, 1e-5)
    close(triton_kernels.rms_norm(x, None, weight, eps=1e-5), exact.detach(), dtype)
    exact.backward(pull.double())
    by_x, by_weight = triton_kernels.rms_norm_backward(pull, x, weight, eps=1e-5)
    assert (by_x.dtype, by_weight.dtype) == (stream, torch.float32)
    close(by_x, exact_x.grad, stream)
    close(by_weight, exact_weight.grad, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_added_stays_in_the_stream(triton_kernels, numbers, dtype):
    x, delta, weight = numbers(5, 48), numbers(5, 48, seed=1, dtype=dtype), numbers(48, seed=2, dtype=dtype)
    total = x.double() + delta.double()
    found = triton_kernels.rms_norm(x, delta, weight, eps=1e-5)
    close(x, total, torch.float32)
    close(found, normed(total, weight.double(), 1e-5), dtype)


def test_the_gradient_of_a_weight_over_many_rows(triton_kernels, numbers):
    """More rows than there are parts of the sum, the last part not full."""
    x, pull = numbers(1101, 16), numbers(1101, 16, seed=1)
    weight = torch.ones(16, device=x.device)
    _, found = triton_kernels.rms_norm_backward(pull, x, weight, eps=0.0)
    exact = (pull.double() * normed(x.double(), 1.0, 0.0)).sum(0)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4)


def test_silu_mul_by_hand(triton_kernels):
    # gate = ln 3: s = 3/4, silu = 0.823959; up = 6: 4.943755. Gradients of a pull of 2:
    # dgate = 2 * 6 * 3/4 (1 + ln 3 / 4) = 11.471880, dup = 2 * 0.823959 = 1.647918.
    gate, up, pull = (torch.full((1, 16), value).to(triton_kernels.device_type) for value in (math.log(3), 6.0, 2.0))
    assert float(triton_kernels.silu_mul(gate, up)[0, 3]) == pytest.approx(4.943755)
    found = [float(each[0, 15]) for each in triton_kernels.silu_mul_backward(pull, gate, up)]
    assert found == pytest.approx([4.943755, 11.471880, 1.647918])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [48, 1536])
def test_silu_mul_and_its_gradients_of_rows_that_lie_apart(triton_kernels, numbers, width, dtype):
    gate, up = numbers(7, 2 * width, dtype=dtype).mul_(3).chunk(2, dim=1)
    pull = numbers(7, width, seed=1, dtype=dtype)
    exact_gate, exact_up = gate.double().requires_grad_(), up.double().requires_grad_()
    exact = silu(exact_gate) * exact_up
    exact.backward(pull.double())
    close(triton_kernels.silu_mul(gate, up), exact.detach(), dtype)
    wanted = (exact.detach(), exact_gate.grad, exact_up.grad)
    for found, right in zip(triton_kernels.silu_mul_backward(pull, gate, up), wanted, strict=True):
        close(found, right, dtype)


def test_gates_far_from_zero_overflow_nothing(triton_kernels):
    gate = torch.tensor([[-200.0, 200.0] * 8], device=triton_kernels.device_type)
    up = torch.ones_like(gate)
    assert triton_kernels.silu_mul(gate, up)[0, :2].tolist() == [0.0, 200.0]
    _, by_gate, by_up = triton_kernels.silu_mul_backward(up, gate, up)
    assert (by_gate[0, :2].tolist(), by_up[0, :2].tolist()) == ([0.0, 1.0], [0.0, 200.0])


def turned(heads, cosines, sines):
    a, b = heads.chunk(2, dim=-1)
    return heads * cosines + torch.cat([-b, a], dim=-1) * sines


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(9, 3, 64), (4, 2, 80), (3, 0, 16), (5, 1, 128)])
@pytest.mark.parametrize("has_norms", [False, True])
def test_heads_are_normed_and_turned_where_they_lie(triton_kernels, numbers, heads, kv_heads, width, has_norms, dtype):
    columns = (heads + 2 * kv_heads) * width
    wide = numbers(7, columns + 32, dtype=dtype)
    qkv, before = wide[:, :columns], wide.double()
    angles = numbers(7, width // 2, seed=1).repeat(1, 2)
    cosines, sines = angles.cos(), angles.sin()
    weights = [numbers(width, seed=seed, dtype=dtype) for seed in (2, 3)] if has_norms else [None, None]
    triton_kernels.rotate(
        qkv, cosines, sines, heads=heads, kv_heads=kv_heads, query_norm=weights[0], key_norm=weights[1], eps=1e-6
    )
    parts = before[:, :columns].unflatten(1, (-1, width)).split([heads, kv_heads, kv_heads], dim=1)
    tables = cosines.double()[:, None], sines.double()[:, None]
    for part, found, weight in zip(
        parts, qkv.unflatten(1, (-1, width)).split([heads, kv_heads, kv_heads], dim=1), [*weights, None], strict=True
    ):
        exact = part if weight is None else normed(part, weight.double(), 1e-6).to(dtype).double()
        is_turned = found.shape[1] and found.data_ptr() != qkv[0, (heads + kv_heads) * width :].data_ptr()
        close(found, turned(exact, *tables) if is_turned else exact, dtype) if found.numel() else None
    assert torch.equal(wide[:, columns:].double(), before[:, columns:])


def test_a_quarter_turn_by_hand(triton_kernels):
    # cos 0, sin 1: (a, b) -> (-b, a).
    device = triton_kernels.device_type
    x = torch.arange(16.0, device=device)[None]
    zeros, ones = torch.zeros(1, 16, device=device), torch.ones(1, 16, device=device)
    triton_kernels.rotate(x, zeros, ones, heads=1, kv_heads=0)
    assert x[0].tolist() == [-8.0, -9, -10, -11, -12, -13, -14, -15, 0, 1, 2, 3, 4, 5, 6, 7]


def learned(model, kernels=None):
    """Log-probabilities of a packed row, and the gradient of their weighted sum."""
    rows = pack(token_rows(11, 6))
    device = model.device
    context = PackedContext(rows.lengths, device=device)
    hidden = hidden_states(model, rows.token_ids.to(device), rows.position_ids.to(device), context)
    head = head_of(model, None if kernels is None else kernels.head)
    logprobs, entropy = token_logprobs(head, hidden, rows.token_ids.roll(-1).to(device), temperature=0.7)
    pull = torch.randn(17, generator=torch.Generator().manual_seed(5)).to(device)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad((logprobs * pull).sum(), parameters)
    return torch.stack([logprobs.detach(), entropy]), dict(zip(names, gradients, strict=True))


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_a_network_with_them_learns_the_same(triton_kernels, family):
    model = ours(network(family, head_dim=16)).to(triton_kernels.device_type)
    numbers, gradients = learned(model)
    assert quicken(model, triton_kernels) >= 2 * 4 + 1  # attention included
    assert all(is_quick(layer.self_attn) and is_quick(layer.mlp) for layer in model.model.layers)
    quick_numbers, quick = learned(model, triton_kernels)
    torch.testing.assert_close(quick_numbers, numbers, rtol=0, atol=1e-5)
    for name, right in gradients.items():
        torch.testing.assert_close(quick[name], right, rtol=0, atol=1e-5 * float(right.abs().max()), msg=name)


def test_a_network_on_another_device_runs_as_before(kernels, triton_kernels):
    """Kernels of one device leave a network of another one alone, also one that moved."""
    other = copy.copy(triton_kernels)
    other.device_type = "meta"
    model = ours(network("llama", head_dim=16))
    assert quicken(model, other) == 0
    before = run_packed(model, token_rows(5))[0]
    assert quicken(model, kernels) > 0
    for module in model.modules():
        if "forward" in module.__dict__:
            module.__dict__["forward"]._kernels = other
    assert torch.equal(run_packed(model, token_rows(5))[0], before)


def test_without_triton_there_are_no_kernels(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "triton" or name.startswith(gpu.__name__ + ".")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("layers", "logits", "pages"):
        monkeypatch.delattr(gpu, name, raising=False)
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(NoKernelsError, match="Triton cannot be imported"):
        gpu_kernels()
