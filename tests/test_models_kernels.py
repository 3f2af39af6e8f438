"""Each compiled function against its formula, in both dtypes, at the ends of the numbers, and how they are compiled."""

import math
import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zero2r1.models.kernels import build
from zero2r1.models.kernels.ops import Kernels
from zero2r1.policy.sampler import draw

NEAR = {torch.float32: {"rtol": 2e-6, "atol": 2e-6}, torch.bfloat16: {"rtol": 1e-2, "atol": 1e-2}}


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("with_delta", [False, True])
def test_rms_norm_adds_the_residual_and_normalises(kernels, dtype, with_delta):
    x, weight = numbers(5, 48, dtype=dtype), numbers(48, seed=1, dtype=dtype)
    delta = numbers(5, 48, seed=2, dtype=dtype) if with_delta else None
    total = x + delta if with_delta else x.clone()
    wide = total.double()
    want = wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight.double()
    out = kernels.rms_norm(x, delta, weight, eps=1e-5)
    assert torch.equal(x, total)
    torch.testing.assert_close(out.double(), want, **NEAR[dtype])


def test_a_wide_stream_is_normed_for_narrow_weights(kernels):
    x, pull = numbers(70, 48), numbers(70, 48, seed=2, dtype=torch.bfloat16)
    weight, delta = numbers(48, seed=1, dtype=torch.bfloat16), numbers(70, 48, seed=3, dtype=torch.bfloat16)
    total = x + delta.float()
    out = kernels.rms_norm(x, delta, weight, eps=1e-5)
    assert torch.equal(x, total)  # the stream is not rounded
    want = torch.nn.functional.rms_norm(total, (48,), weight.float(), 1e-5)
    assert torch.equal(out, want.bfloat16())
    dx, dweight = kernels.rms_norm_backward(pull, x, weight, eps=1e-5)
    wide = kernels.rms_norm_backward(pull.float(), x, weight.float(), eps=1e-5)
    assert torch.equal(dx, wide[0])
    assert torch.equal(dweight, wide[1])


def test_rms_norm_by_hand(kernels):
    # mean of squares: (4 * 9 + 12 * 1) / 16 = 3, so 3 becomes sqrt(3) and 1 becomes 1 / sqrt(3)
    x = torch.tensor([[3.0] * 4 + [1.0] * 12])
    out = kernels.rms_norm(x, None, torch.ones(16), eps=0.0)
    torch.testing.assert_close(out[0, [0, 15]], torch.tensor([math.sqrt(3), 1 / math.sqrt(3)]))


@pytest.mark.parametrize("dtype", NEAR, ids=str)
def test_silu_mul_is_the_gate_times_up(kernels, dtype):
    gate_up = numbers(7, 96, dtype=dtype) * 4
    gate, up = gate_up.double().split(48, dim=1)
    want = torch.nn.functional.silu(gate) * up
    torch.testing.assert_close(kernels.silu_mul(*gate_up.chunk(2, dim=1)).double(), want, **NEAR[dtype])


def test_silu_mul_at_the_ends_of_the_numbers(kernels):
    gate = torch.tensor([-math.inf, -1e30, -200.0, -88.5, -0.0, 0.0, 88.5, 1e30, math.inf, math.nan] + [1.0] * 6)
    out = kernels.silu_mul(gate[None], torch.ones(1, 16))[0]
    want = torch.nn.functional.silu(gate)
    torch.testing.assert_close(out[1:9], want[1:9], atol=1e-30, rtol=2e-6)
    assert out[[0, 9]].isnan().all()  # -inf * 0, as in torch


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("width", [16, 32, 48, 64])
def test_rotate_turns_queries_and_keys_and_leaves_values(kernels, dtype, normed, width):
    heads, kv_heads, rows = 3, 1, 6
    qkv = numbers(rows, (heads + 2 * kv_heads) * width, dtype=dtype)
    angles = torch.arange(rows)[:, None] * torch.tensor([10000.0 ** (-2 * i / width) for i in range(width // 2)])
    cosines, sines = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
    norms = [numbers(width, seed=3, dtype=dtype), numbers(width, seed=4, dtype=dtype)] if normed else [None, None]
    want = qkv.double().view(rows, -1, width).clone()
    for head in range(heads + kv_heads):
        one = want[:, head]
        if normed:
            one = one / (one.square().mean(-1, keepdim=True) + 1e-6).sqrt()
            one = (one * norms[head >= heads].double()).to(dtype).double()
        a, b = one.chunk(2, dim=-1)
        want[:, head] = one * cosines.double() + torch.cat([-b, a], -1) * sines.double()
    kernels.rotate(
        qkv, cosines, sines, heads=heads, kv_heads=kv_heads, query_norm=norms[0], key_norm=norms[1], eps=1e-6
    )
    torch.testing.assert_close(
        qkv.double().view(rows, -1, width),
        want,
        rtol=NEAR[dtype]["rtol"],
        atol=4e-2 if dtype is torch.bfloat16 else 1e-5,
    )


@pytest.mark.parametrize("dtype", NEAR, ids=str)
@pytest.mark.parametrize("rows", [1, 64, 150])
def test_the_gradients_are_those_of_autograd(kernels, dtype, rows):
    near = {"rtol": 1e-5, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 2e-2, "atol": 2e-2}
    x, weight, pull = (
        numbers(rows, 48, dtype=dtype),
        numbers(48, seed=1, dtype=dtype),
        numbers(rows, 48, seed=2, dtype=dtype),
    )
    a, b = x.double().requires_grad_(), weight.double().requires_grad_()
    (a / (a.square().mean(-1, keepdim=True) + 1e-5).sqrt() * b).backward(pull.double())
    dx, dweight = kernels.rms_norm_backward(pull, x, weight, eps=1e-5)
    torch.testing.assert_close(dx.double(), a.grad, **near)
    torch.testing.assert_close(dweight.double(), b.grad, rtol=1e-4, atol=1e-4)

    gate, up = numbers(rows, 48, seed=3, dtype=dtype) * 4, numbers(rows, 48, seed=4, dtype=dtype)
    a, b = gate.double().requires_grad_(), up.double().requires_grad_()
    (torch.nn.functional.silu(a) * b).backward(pull.double())
    again, *gradients = kernels.silu_mul_backward(pull, gate, up)
    torch.testing.assert_close(again, kernels.silu_mul(gate, up), **near)
    for have, want in zip(gradients, (a.grad, b.grad), strict=True):
        torch.testing.assert_close(have.double(), want, **near)


def test_the_gradient_of_a_weight_does_not_depend_on_threads(kernels):
    x, weight, pull = numbers(400, 48), numbers(48, seed=1), numbers(400, 48, seed=2)
    alone = kernels.rms_norm_backward(pull, x, weight, eps=1e-5)
    torch.set_num_threads(2)
    try:
        both = kernels.rms_norm_backward(pull, x, weight, eps=1e-5)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(alone[0], both[0])
    assert torch.equal(alone[1], both[1])


@given(
    seed=st.integers(0, 10**6),
    vocabulary=st.sampled_from([1, 5, 16, 127, 128, 129, 300, 1000]),
    temperature=st.sampled_from([0.25, 1.0, 3.0]),
    spread=st.sampled_from([0.1, 3.0, 30.0]),
)
def test_draw_finds_the_token_of_the_sampler(kernels, seed, vocabulary, temperature, spread):
    logits = numbers(6, vocabulary, seed=seed) * spread
    uniforms = torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    tokens, logprobs = kernels.head.draw(logits, uniforms, temperature=temperature)
    want = (logits / temperature).log_softmax(-1)
    odds = want.exp()
    reference = draw(odds / odds.amax(-1, keepdim=True), uniforms)
    # At the boundary of two tokens rounding may decide: then the sum before the token is within rounding of u.
    ends = want.double().exp().cumsum(-1)
    for row in (tokens != reference).nonzero()[:, 0].tolist():
        boundary = ends[row, min(int(tokens[row]), int(reference[row]))]
        assert abs(float(boundary) - float(uniforms[row])) < 1e-6
    torch.testing.assert_close(logprobs, want.gather(-1, tokens[:, None])[:, 0], rtol=3e-6, atol=3e-6)


def test_draw_by_hand(kernels):
    # odds 1 : 2 : 1, so the ends are 0.25, 0.75, 1
    logits = torch.tensor([0.0, math.log(2.0), 0.0]).repeat(5, 1)
    uniforms = torch.tensor([0.0, 0.2499, 0.2501, 0.7499, 0.7501], dtype=torch.float64)
    tokens, logprobs = kernels.head.draw(logits, uniforms, temperature=1.0)
    assert tokens.tolist() == [0, 0, 1, 1, 2]
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.25, 0.25, 0.5, 0.5, 0.25]))


def test_draw_never_takes_an_impossible_token(kernels):
    logits = torch.full((64, 512), -math.inf)
    logits[:, [3, 200, 300]] = torch.tensor([0.0, -1.0, 0.5])
    uniforms = torch.tensor(np.linspace(0.0, np.nextafter(1.0, 0.0), 64))
    tokens, _ = kernels.head.draw(logits, uniforms, temperature=1.0)
    assert set(tokens.tolist()) == {3, 200, 300}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("place", [0, 77, 299])
def test_draw_marks_unsound_rows_and_only_those(kernels, bad, place):
    logits = numbers(3, 300)
    logits[1, place] = bad
    _, logprobs = kernels.head.draw(logits, torch.full((3,), 0.5, dtype=torch.float64), temperature=1.0)
    assert logprobs.isfinite().tolist() == [True, False, True]


def test_draw_reads_bfloat16(kernels):
    logits = numbers(4, 300, dtype=torch.bfloat16)
    uniforms = torch.full((4,), 0.3, dtype=torch.float64)
    tokens, logprobs = kernels.head.draw(logits, uniforms, temperature=0.7)
    same_tokens, same_logprobs = kernels.head.draw(logits.float(), uniforms, temperature=0.7)
    assert torch.equal(tokens, same_tokens)
    assert torch.equal(logprobs, same_logprobs)


def test_the_library_is_compiled_once_and_made_anew_for_another_compiler(kernels, tmp_path, monkeypatch):
    first = build.library(tmp_path)
    stamp = first.stat().st_mtime_ns
    assert build.library(tmp_path) == first
    assert first.stat().st_mtime_ns == stamp
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-DOTHER"))
    assert build.library(tmp_path) != first


def test_without_a_compiler_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(build.NoKernelsError, match="no C\\+\\+ compiler"):
        build.library(tmp_path)


def test_a_compiler_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    compiler = tmp_path / "failing"
    compiler.write_text("#!/bin/sh\necho 'kernels.cpp:1: error: no' >&2\nexit 1\n")
    compiler.chmod(0o700)
    monkeypatch.setenv("CXX", str(compiler))
    room = tmp_path / "room"
    with pytest.raises(build.NoKernelsError, match="error: no"):
        build.library(room)
    assert list(room.iterdir()) == []


def test_code_is_not_loaded_from_a_folder_that_others_write_to(kernels, tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(build.NoKernelsError, match="someone else"):
        build.library(tmp_path)


def test_a_damaged_library_is_refused(kernels, tmp_path):
    path = build.library(tmp_path)
    path.write_bytes(b"not a library")
    os.chmod(path, 0o700)
    with pytest.raises(build.NoKernelsError, match="cannot be loaded"):
        Kernels(tmp_path)
