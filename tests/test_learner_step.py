"""Laws of one learner step: how a batch is cut or ordered never matters, and unsound numbers change nothing."""

import math

import pytest
import torch
from learning_world import batch, learner, random_rows, row, same, state_of
from torch import Tensor

from zero2r1.core.errors import RunError
from zero2r1.learner.base import Tokens
from zero2r1.learner.learner import snapshot
from zero2r1.models.attention import PackedContext
from zero2r1.models.forward import hidden_states
from zero2r1.models.head import head_of
from zero2r1.models.packing import plan
from zero2r1.rl.loss import PolicyLoss
from zero2r1.sft.loss import cross_entropy

LOSSES = [PolicyLoss(), PolicyLoss(ratio="sequence", kl_coef=0.0), PolicyLoss(objective="cispo"), cross_entropy]


def gradient(rows, loss, **config) -> dict[str, Tensor]:
    """The gradient of one step, caught on its way into the optimizer."""
    subject = learner(**config)
    caught: dict[str, Tensor] = {}

    def apply(**_: object) -> None:
        caught.update({name: p.grad.clone() for name, p in subject.model.named_parameters()})

    subject.optimizer.apply = apply
    subject.step(batch(rows, temperature=0.7), loss)
    return caught


def assert_close(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert left
    norm = math.sqrt(sum(float(value.square().sum()) for value in right.values()))
    for name in left:
        # float32 rounding: no entry differs by more than 1e-6 of the whole gradient's norm
        torch.testing.assert_close(left[name], right[name], rtol=0, atol=1e-6 * norm, msg=name)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("micro_tokens", [1, 12, 20, 35])
def test_the_gradient_is_the_same_for_every_micro_batch_split(loss, micro_tokens):
    rows = random_rows(9)
    assert_close(gradient(rows, loss, micro_tokens=micro_tokens), gradient(rows, loss, micro_tokens=4096))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_does_not_depend_on_the_order_of_the_rows(loss):
    rows = random_rows(9)
    assert_close(gradient(rows[::-1], loss), gradient(rows, loss))


def test_the_gradient_equals_a_plain_forward_of_each_row_alone_without_packing():
    rows = random_rows(6)
    subject = learner()
    total = torch.zeros(())
    for one in rows:
        length = len(one.token_ids)
        hidden = hidden_states(subject.model, one.token_ids, torch.arange(length), PackedContext([length]))
        scores = (head_of(subject.model).logits(hidden[:-1]) / 0.7).log_softmax(-1)
        logprobs = scores.gather(1, one.token_ids[1:, None])[:, 0]
        total = total - (one.weights[1:] * logprobs * one.loss_mask[1:]).sum()
    total.backward()
    plain = {name: parameter.grad for name, parameter in subject.model.named_parameters()}
    assert_close(gradient(rows, cross_entropy), plain)


def test_a_long_neighbour_that_forces_padding_does_not_change_a_rows_gradient():
    short = random_rows(2, seed=3)
    long = row(list(range(60)), prompt=59, weight=0.0, advantage=[0.0], old=[-5.0], reference=[-5.0])
    assert_close(gradient([*short, long], PolicyLoss()), gradient(short, PolicyLoss()))


def test_the_micro_batches_of_these_tests_really_differ():
    lengths = [len(one.token_ids) for one in random_rows(9)]
    assert len({len(plan(lengths, budget)) for budget in (1, 12, 20, 35, 4096)}) >= 4


def test_figures_are_global_over_micro_batches():
    rows = random_rows(9)
    whole, cut = learner().step(batch(rows), PolicyLoss()), learner(micro_tokens=10).step(batch(rows), PolicyLoss())
    assert whole.keys() == cut.keys()
    assert cut == pytest.approx(whole, rel=1e-4, abs=1e-6)
    assert whole["tokens"] == sum(int(one.loss_mask.sum()) for one in rows)


def test_the_gradient_norm_is_reported_before_clipping_and_clipped_to_the_limit():
    rows = random_rows(4, weight=5.0)
    free = gradient(rows, cross_entropy, grad_clip=0.0)
    norm = math.sqrt(sum(float(value.square().sum()) for value in free.values()))
    subject = learner(grad_clip=0.5)
    figures = subject.step(batch(rows), cross_entropy)
    assert norm > 1.0
    assert figures["grad_norm"] > 0.5


def poisoned(where: str, bad: float):
    """A loss that is sound but for one number of its first token."""

    def loss(logprobs: Tensor, entropy: Tensor, tokens: Tokens):
        value, metrics = cross_entropy(logprobs, entropy, tokens)
        if where == "loss":
            value = value + bad
        elif where == "gradient":  # the loss itself stays finite: sqrt has an infinite slope at 0
            value = value + bad * 0.0 + (logprobs[0] - logprobs[0].detach()).abs().sqrt()
        else:
            value = value + logprobs[0] * bad
        return value, metrics

    return loss


@pytest.mark.parametrize("where", ["loss", "gradient", "logprob"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_non_finite_number_changes_no_parameter_and_no_optimizer_state(where, bad):
    if where == "gradient":
        bad = 1.0
    subject = learner(weight_decay=0.1)
    rows = random_rows(5)
    subject.step(batch(rows), cross_entropy)
    before, version = state_of(subject), subject.version
    figures = subject.step(batch(rows), poisoned(where, bad))
    assert figures["nonfinite"] == 1.0
    assert same(state_of(subject), before)
    assert subject.version == version
    assert subject.nonfinite_in_a_row == 1
    assert subject.step(batch(rows), cross_entropy)["nonfinite"] == 0.0
    assert not same(state_of(subject), before)
    assert subject.nonfinite_in_a_row == 0


@pytest.mark.parametrize("stream", ["advantage", "old", "reference"])
def test_a_nan_in_a_stream_changes_nothing(stream):
    subject = learner()
    rows = random_rows(3)
    rows[1].streams[stream][-1] = math.nan
    before = state_of(subject)
    assert subject.step(batch(rows), PolicyLoss())["nonfinite"] == 1.0
    assert same(state_of(subject), before)


def test_the_run_stops_after_three_non_finite_updates_in_a_row():
    subject = learner()
    rows = batch(random_rows(2))
    bad = poisoned("loss", math.nan)
    subject.step(rows, bad)
    subject.step(rows, bad)
    subject.step(rows, cross_entropy)  # a sound one in between starts the count anew
    subject.step(rows, bad)
    subject.step(rows, bad)
    with pytest.raises(RunError, match="3 updates in a row") as caught:
        subject.step(rows, bad)
    assert caught.value.code == "Z407"


def test_a_batch_without_tokens_under_the_loss_changes_nothing():
    subject = learner(weight_decay=0.1)
    subject.step(batch(random_rows(2)), cross_entropy)
    before = state_of(subject)
    figures = subject.step(batch([]), cross_entropy)
    assert (figures["tokens"], figures["nonfinite"], figures["grad_norm"]) == (0.0, 0.0, 0.0)
    assert same(state_of(subject), before)
    assert (subject.attempts, subject.version) == (2, 1)


def test_rows_without_variance_give_exactly_zero_gradient_when_there_is_no_kl_term():
    rows = random_rows(6)
    for one in rows:
        one.streams["advantage"].zero_()
    for objective in ("clip", "cispo"):
        for ratio in ("token", "sequence"):
            found = gradient(rows, PolicyLoss(kl_coef=0.0, objective=objective, ratio=ratio))
            assert all(not value.any() for value in found.values())
    assert any(value.any() for value in gradient(rows, PolicyLoss(kl_coef=0.01)).values())


def test_log_probabilities_come_back_by_row_with_zeros_elsewhere():
    rows = random_rows(7)
    subject = learner(micro_tokens=15)
    answers = subject.logprobs(batch(rows, temperature=0.5))
    for one, answer in zip(rows, answers, strict=True):
        length = len(one.token_ids)
        hidden = hidden_states(subject.model, one.token_ids, torch.arange(length), PackedContext([length]))
        scores = (head_of(subject.model).logits(hidden[:-1]) / 0.5).log_softmax(-1)
        plain = torch.cat([torch.zeros(1), scores.gather(1, one.token_ids[1:, None])[:, 0]]) * one.loss_mask
        torch.testing.assert_close(answer, plain.detach(), rtol=0, atol=1e-5)
        assert not answer[~one.loss_mask].any()


def test_log_probabilities_under_other_parameters_leave_the_own_ones_alone():
    rows = batch(random_rows(4))
    subject = learner()
    reference = snapshot(subject.model)
    before = subject.logprobs(rows)
    subject.step(rows, cross_entropy)
    after, own = state_of(subject), subject.logprobs(rows)
    frozen = subject.logprobs(rows, reference)
    assert all(torch.equal(a, b) for a, b in zip(frozen, before, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(own, before, strict=True))
    assert same(state_of(subject), after)
    with pytest.raises(ValueError, match="not those of this model"):
        subject.logprobs(rows, {"lm_head": torch.zeros(1)})


def test_weight_decay_acts_on_matrices_only():
    decayed, free = learner(weight_decay=0.5), learner()
    rows = batch(random_rows(3))
    decayed.step(rows, cross_entropy)
    free.step(rows, cross_entropy)
    for (name, one), (_, other) in zip(decayed.model.named_parameters(), free.model.named_parameters(), strict=True):
        assert torch.equal(one, other) == (one.dim() < 2), name


def test_the_first_adamw_step_matches_the_hand_computation():
    # after one step m/(1-b1) = g and v/(1-b2) = g^2, so the change is -lr * g / (|g| + eps): the sign of g times lr
    subject = learner(lr=0.01, grad_clip=0.0)
    before = state_of(subject)
    rows = random_rows(3)
    slope = gradient(rows, cross_entropy, grad_clip=0.0)["model.norm.weight"]
    subject.step(batch(rows, temperature=0.7), cross_entropy)
    moved = subject.model.get_parameter("model.norm.weight").detach() - before["model.model.norm.weight"]
    torch.testing.assert_close(moved, -0.01 * slope / (slope.abs() + 1e-8), rtol=1e-3, atol=1e-6)


def test_the_schedule_follows_the_attempts():
    subject = learner(lr=1.0, warmup_steps=4)
    rows = batch(random_rows(2))
    found = [subject.step(rows, loss)["lr"] for loss in (cross_entropy, poisoned("loss", math.nan), cross_entropy)]
    assert found == [0.25, 0.5, 0.75]


def test_four_supervised_rows_are_learned_by_heart():
    subject = learner(lr=3e-2)
    rows = batch(random_rows(4, seed=5))
    for _ in range(20):
        figures = subject.step(rows, cross_entropy)
    assert figures["nll/mean"] < 0.05
