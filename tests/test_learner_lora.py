"""LoRA: the same gradients as peft under plain transformers, a frozen base, exact references, and it learns."""

import importlib.util
import math

import peft
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learning_world import (
    batch,
    learner,
    random_rows,
    row,
    state_of,
    tiny_model,
)
from pydantic import ValidationError
from torch import nn

from zero2r1.core.errors import ConfigError, MissingExtraError, ModelError
from zero2r1.learner.config import LearnerConfig, LoraConfig
from zero2r1.learner.learner import Learner, snapshot
from zero2r1.learner.lora import first_bound, target_names
from zero2r1.models.load import weights_hash
from zero2r1.models.lora import effective_weight, has_adapters, merged_parameters, merged_weight
from zero2r1.rl.loss import PolicyLoss
from zero2r1.sft.loss import cross_entropy

LORA = LoraConfig(rank=4, alpha=8)
INNER = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(seed: int = 0, **config: object) -> Learner:
    return learner(seed, **({"lora": LORA} | config))


def moved(seed: int = 0, **config: object) -> Learner:
    """An adapted learner whose B is no longer 0."""
    subject = adapted(seed, **config)
    for step in range(2):
        subject.step(batch(random_rows(4, seed=step)), cross_entropy)
    return subject


def caught_gradient(subject: Learner, rows, loss) -> dict[str, torch.Tensor]:
    caught: dict[str, torch.Tensor] = {}
    named = dict(subject.model.named_parameters())
    subject.optimizer.apply = lambda **_: caught.update(
        {name: p.grad.clone() for name, p in named.items() if p.grad is not None}
    )
    subject.step(batch(rows), loss)
    return caught


def test_the_merged_weight_by_hand():
    # B A = [[1], [2]] [[3, 4]] = [[3, 4], [6, 8]]; half of it added to [[1, 0], [0, 1]].
    merged = merged_weight(torch.eye(2), torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0], [2.0]]), scale=0.5)
    assert merged.tolist() == [[2.5, 2.0], [3.0, 5.0]]


def test_the_merged_weight_is_rounded_once():
    # Above 1 a bfloat16 goes in steps of 2^-7. 1 + 2 * 2^-9 is half a step, to even: 1. 1 + 3 * 2^-9 goes up: 1 + 2^-7.
    one, small = torch.ones(1, 1, dtype=torch.bfloat16), torch.full((1, 1), 2.0**-9, dtype=torch.bfloat16)
    assert float(merged_weight(one, small, one, scale=2.0)) == 1.0
    assert float(merged_weight(one, small, one, scale=3.0)) == 1.0 + 2.0**-7
    assert merged_weight(one, small, one, scale=1.0).dtype == torch.bfloat16


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.floats(-4, 4, width=32))
def test_the_merged_weight_acts_as_the_two_paths_do(out, inputs, rank, scale):
    generator = torch.Generator().manual_seed(out * 100 + inputs * 10 + rank)
    draw = [torch.randn(shape, generator=generator) for shape in ((out, inputs), (rank, inputs), (out, rank))]
    w, a, b = draw
    x = torch.randn(inputs, generator=generator)
    torch.testing.assert_close(
        merged_weight(w, a, b, scale=scale) @ x, w @ x + scale * (b @ (a @ x)), rtol=1e-4, atol=1e-4
    )


def test_the_first_numbers_of_a():
    assert first_bound(16) == 0.25
    layer = adapted().model.model.layers[0].self_attn.q_proj
    a = layer.lora_A["default"].weight
    assert a.shape == (4, 16)
    assert 0.2 < float(a.detach().abs().max()) <= 0.25
    assert layer.scaling["default"] == 2.0  # alpha / rank = 8 / 4
    again, other = adapted(), adapted(lora=LoraConfig(rank=4, alpha=8, seed=1))
    assert torch.equal(again.model.model.layers[0].self_attn.q_proj.lora_A["default"].weight, a)
    assert not torch.equal(other.model.model.layers[0].self_attn.q_proj.lora_A["default"].weight, a)
    assert not torch.equal(again.model.model.layers[0].self_attn.k_proj.lora_A["default"].weight, a)


def test_adding_adapters_draws_no_global_random_number():
    before = torch.random.get_rng_state()
    adapted()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_only_the_adapters_are_trained_and_held():
    subject, base = moved(), tiny_model()
    plain = dict(base.named_parameters())
    for name, parameter in subject.model.named_parameters():
        is_factor = ".lora_" in name
        assert parameter.requires_grad == is_factor
        if not is_factor:
            assert torch.equal(parameter, plain[name.replace(".base_layer", "")]), name
    assert all(".lora_" in name for name in subject.optimizer.state_tensors())
    assert snapshot(subject.model).keys() == {n for n, p in subject.model.named_parameters() if p.requires_grad}
    assert not any(torch.equal(p, torch.zeros_like(p)) for p in snapshot(subject.model).values())
    # rank * (in + out) of q 16x16, k and v 8x16, o 16x16, gate and up 32x16, down 16x32: 4 * (32+24+24+32+48+48+48)
    assert sum(value.numel() for value in snapshot(subject.model).values()) == 4 * 256


@pytest.mark.parametrize("loss", [cross_entropy, PolicyLoss(kl_coef=0.1)])
def test_the_first_loss_is_that_of_the_base_bit_by_bit(loss):
    rows = random_rows(6)
    with_adapters, without = adapted().step(batch(rows), loss), learner().step(batch(rows), loss)
    for name in without.keys() - {"grad_norm"}:
        assert with_adapters[name] == without[name], name


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # asked for by peft's own wrapper
def test_the_gradients_of_a_and_b_are_those_of_peft_under_plain_transformers():
    subject, rows = moved(), random_rows(6)
    # peft's own wrapper around the network of transformers with its eager attention; each row alone, no packing
    plain = tiny_model()
    plain.set_attn_implementation("eager")
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=INNER, task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(plain, settings)
    own = snapshot(subject.model)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(own[name.removeprefix("base_model.model.")])
    total = torch.zeros(())
    for one in rows:
        scores = wrapped(input_ids=one.token_ids[None], use_cache=False).logits[0, :-1].log_softmax(-1)
        logprobs = scores.gather(1, one.token_ids[1:, None])[:, 0]
        total = total - (one.weights[1:] * logprobs * one.loss_mask[1:]).sum()
    total.backward()
    expected = {
        name.removeprefix("base_model.model."): p.grad for name, p in wrapped.named_parameters() if p.grad is not None
    }
    found = caught_gradient(subject, rows, cross_entropy)
    assert found.keys() == expected.keys() == own.keys()
    norm = math.sqrt(sum(float(value.square().sum()) for value in expected.values()))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6 * norm, msg=name)


def test_peft_merges_to_the_same_weights():
    subject = moved()
    ours = merged_parameters(subject.model)
    for name, module in list(subject.model.named_modules()):
        if isinstance(module, peft.tuners.lora.Linear):
            module.merge()
            torch.testing.assert_close(ours[f"{name}.weight"], module.base_layer.weight, rtol=0, atol=1e-6)
            assert not torch.equal(ours[f"{name}.weight"], tiny_model().get_parameter(f"{name}.weight"))


def test_with_full_rank_one_layer_can_become_any_matrix():
    # Rank 16 of a 16 x 16 matrix: with A the unit matrix and scale 1, W + B is whatever B makes it.
    subject = learner(lora=LoraConfig(rank=16, alpha=16, targets=("q_proj",)))
    layer = subject.model.model.layers[0].self_attn.q_proj
    wanted = torch.arange(256.0).reshape(16, 16) / 256
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(torch.eye(16))
        layer.lora_B["default"].weight.copy_(wanted - layer.base_layer.weight)
    torch.testing.assert_close(effective_weight(layer), wanted, rtol=0, atol=1e-6)


def test_the_merged_parameters_are_the_base_s_by_name_and_shape():
    subject, plain = moved(), tiny_model()
    merged = merged_parameters(subject.model)
    assert list(merged) == [name for name, _ in plain.named_parameters()]
    assert [value.shape for value in merged.values()] == [p.shape for _, p in plain.named_parameters()]
    assert not any(value.requires_grad for value in merged.values())
    embedding = subject.model.get_input_embeddings().weight
    assert merged["model.embed_tokens.weight"].data_ptr() == embedding.data_ptr()  # not a copy
    bare = merged_parameters(plain)
    assert all(value.data_ptr() == plain.get_parameter(name).data_ptr() for name, value in bare.items())


def test_an_update_changes_the_hash_and_an_adapter_that_does_nothing_does_not():
    subject = adapted()
    assert subject.base_hash == weights_hash(tiny_model()) == weights_hash(subject.model)
    before = weights_hash(subject.model)
    subject.step(batch(random_rows(4)), cross_entropy)
    after = weights_hash(subject.model)
    assert after != before
    with torch.no_grad():
        for name, parameter in subject.model.named_parameters():
            if ".lora_B." in name:
                parameter.zero_()
    assert weights_hash(subject.model) == before


def test_the_reference_is_the_base_exactly_until_it_is_refreshed():
    subject, rows = adapted(), random_rows(5)
    first = snapshot(subject.model)
    for step in range(3):
        subject.step(batch(random_rows(4, seed=step)), cross_entropy)
    with_first, of_base = subject.logprobs(batch(rows), first), learner().logprobs(batch(rows))
    assert all(torch.equal(left, right) for left, right in zip(with_first, of_base, strict=True))
    now = subject.logprobs(batch(rows))
    assert not torch.equal(torch.cat(now), torch.cat(of_base))
    refreshed = snapshot(subject.model)
    again = subject.logprobs(batch(rows), refreshed)
    assert all(torch.equal(left, right) for left, right in zip(now, again, strict=True))
    assert torch.equal(torch.cat(subject.logprobs(batch(rows))), torch.cat(now))  # the own ones were put back


def test_bfloat16_keeps_float32_masters_of_the_adapters():
    subject = adapted(compute_dtype="bfloat16", lr=1e-6)
    assert {parameter.dtype for parameter in subject.model.parameters()} == {torch.bfloat16}
    name = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    first = subject.optimizer.state_tensors()[f"master.{name}"].clone()
    drawn = adapted().model.get_parameter(name)
    assert torch.equal(first, drawn)  # as drawn, not as rounded
    for step in range(2):  # B is 0 at first, and with it the gradient of A
        subject.step(batch(random_rows(4, seed=step)), cross_entropy)
    states = subject.optimizer.state_tensors()
    assert all(states[key].dtype == torch.float32 for key in states if key.startswith("master."))
    # A step of 1e-6 is lost in bfloat16 at 0.1 (a step is 2^-12 there) and kept in the master.
    assert not torch.equal(states[f"master.{name}"], first)
    assert torch.equal(subject.model.get_parameter(name), first.to(torch.bfloat16))


def test_activation_checkpointing_gives_the_same_gradient():
    rows = random_rows(5)
    one = caught_gradient(moved(), rows, cross_entropy)
    other = caught_gradient(moved(activation_checkpointing=True), rows, cross_entropy)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_step_that_is_not_finite_changes_nothing():
    subject = moved()
    before = state_of(subject)
    bad = row([1, 2, 3], prompt=1, weight=math.nan, advantage=[0.0] * 2, old=[0.0] * 2, reference=[0.0] * 2)
    assert subject.step(batch([bad]), cross_entropy)["nonfinite"] == 1.0
    assert all(torch.equal(value, before[name]) for name, value in state_of(subject).items())


def test_targets_are_found_by_the_end_of_their_names():
    model = tiny_model()
    first = "model.layers.0."
    assert target_names(model, LoraConfig(targets=("q_proj",))) == [first + "self_attn.q_proj"]
    assert target_names(model, LoraConfig(targets=("mlp.up_proj", first + "self_attn.v_proj"))) == [
        first + "self_attn.v_proj", first + "mlp.up_proj",
    ]  # fmt: skip
    assert [name.rpartition(".")[2] for name in target_names(model, LoraConfig())] == INNER


@pytest.mark.parametrize(
    ("target", "why"),
    [("lm_head", "output layer")]  # an adapter there would be without effect: the head's weight is read directly
    + [(name, "no linear layer") for name in ("q_porj", "proj", "embed_tokens", "input_layernorm", "")],
)
def test_a_target_that_cannot_be_adapted_is_refused_by_name(target, why):
    with pytest.raises(ConfigError, match=f"no adapter can be put on '{target}'") as caught:
        learner(lora=LoraConfig(targets=("q_proj", target)))
    assert caught.value.code == "Z110"
    assert why in caught.value.why
    assert "q_proj" in caught.value.fix


def test_a_model_without_linear_layers_has_nothing_to_adapt():
    model = tiny_model()
    model.model.layers = nn.ModuleList()
    with pytest.raises(ConfigError, match="all-linear"):
        target_names(model, LoraConfig())


def test_a_model_is_adapted_once():
    subject = adapted()
    assert has_adapters(subject.model)
    for lora in (LORA, None):
        with pytest.raises(ModelError, match="adapters already") as caught:
            Learner(subject.model, LearnerConfig(lora=lora), total_steps=1)
        assert caught.value.code == "Z202"


@pytest.mark.parametrize(
    "settings", [{"rank": 0}, {"alpha": 0}, {"dropout": 0.1}, {"targets": []}, {"targets": "linear"}, {"r": 8}]
)
def test_settings_that_are_refused(settings):
    with pytest.raises(ValidationError):
        LearnerConfig.model_validate({"lora": settings})


def test_without_peft_the_extra_is_named(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else real(name, *rest))
    with pytest.raises(MissingExtraError) as caught:
        adapted()
    assert (caught.value.code, caught.value.fix) == ("Z201", "pip install 'zero2r1[lora]'")
    learner()  # nothing else needs it
