"""Rows without a gradient are not run backward and only the time shows it; activations may be computed twice."""

import math
from dataclasses import replace

import pytest
import torch
from learning_world import batch, learner, random_rows, same, state_of

from zero2r1.learner.learner import Learner
from zero2r1.rl.loss import PolicyLoss

NO_KL = [
    PolicyLoss(kl_coef=0.0),
    PolicyLoss(kl_coef=0.0, clip_low=0.2, clip_high=0.28),
    PolicyLoss(kl_coef=0.0, ratio="sequence"),
    PolicyLoss(kl_coef=0.0, objective="cispo"),
]
IDS = ["clip 10", "clip 0.2", "sequence", "cispo"]


def rows_with_flat(*flat: int, count: int = 9):
    rows = random_rows(count, seed=1)
    for i in flat:
        rows[i].streams["advantage"].zero_()
        rows[i] = replace(rows[i], has_gradient=False)
    return rows


def all_backward(subject: Learner) -> Learner:
    """The same learner without the short cut."""
    step = subject.step
    subject.step = lambda given, loss: step(
        replace(given, rows=tuple(replace(row, has_gradient=True) for row in given.rows)), loss
    )
    return subject


def passes_of(subject: Learner) -> dict[str, int]:
    """Counts the rows that go backward and those that are only looked at."""
    counts = {"learn": 0, "look": 0}
    learn, look = subject._learn, subject._look

    def counted_learn(rows, *arguments):
        counts["learn"] += len(rows)
        return learn(rows, *arguments)

    def counted_look(rows, *arguments):
        counts["look"] += len(rows)
        return look(rows, *arguments)

    subject._learn, subject._look = counted_learn, counted_look
    return counts


def gradients_of(subject: Learner) -> dict[str, torch.Tensor]:
    """Filled with the gradient of each step on its way into the optimizer."""
    caught: dict[str, torch.Tensor] = {}
    apply = subject.optimizer.apply

    def caught_apply(**settings):
        caught.update({name: parameter.grad.clone() for name, parameter in subject.model.named_parameters()})
        apply(**settings)

    subject.optimizer.apply = caught_apply
    return caught


@pytest.mark.parametrize("loss", NO_KL, ids=IDS)
@pytest.mark.parametrize("micro_tokens", [12, 4096])
def test_the_update_and_its_figures_are_those_of_a_learner_that_runs_all_rows_backward(loss, micro_tokens):
    # the packs hold other rows, so sums are taken in another order: rounding, which Adam can blow up to a share of lr
    settings = {"micro_tokens": micro_tokens, "lr": 3e-6}
    quick, full = learner(**settings), all_backward(learner(**settings))
    ours, theirs = gradients_of(quick), gradients_of(full)
    for step in range(3):
        rows = batch(rows_with_flat(1, 4, 5 + step % 2))
        figures, expected = quick.step(rows, loss), full.step(rows, loss)
        assert figures == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert figures["tokens"] == expected["tokens"]
        for name in theirs:
            atol = 1e-6 * expected["grad_norm"]
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=atol, msg=name)
    for (name, one), (_, other) in zip(quick.model.named_parameters(), full.model.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=5e-7, msg=name)


@pytest.mark.parametrize("loss", NO_KL, ids=IDS)
def test_only_rows_with_an_advantage_go_backward(loss):
    subject = learner()
    counts = passes_of(subject)
    subject.step(batch(rows_with_flat(0, 2, 3)), loss)
    assert counts == {"learn": 6, "look": 3}


def test_without_flat_rows_the_result_is_the_same_bit_for_bit():
    quick, full = learner(micro_tokens=12), all_backward(learner(micro_tokens=12))
    assert quick.step(batch(random_rows(8)), NO_KL[0]) == full.step(batch(random_rows(8)), NO_KL[0])
    assert same(state_of(quick), state_of(full))


def test_a_batch_of_flat_rows_only_still_lets_the_moments_decay():
    quick, full = (learner(weight_decay=0.1), all_backward(learner(weight_decay=0.1)))
    for rows in (random_rows(4), rows_with_flat(*range(4), count=4)):
        quick.step(batch(rows), NO_KL[0])
        full.step(batch(rows), NO_KL[0])
    assert quick.version == full.version == 2
    assert same(state_of(quick), state_of(full))  # the gradient of both is exactly 0


@pytest.mark.parametrize("stream", ["old", "advantage"])
def test_a_nan_in_a_row_is_no_flatness(stream):
    rows = rows_with_flat(0, 1, 2)
    rows[1].streams[stream][-1] = math.nan
    subject = learner()
    before = state_of(subject)
    assert subject.step(batch(rows), NO_KL[0])["nonfinite"] == 1.0
    assert same(state_of(subject), before)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activation_checkpointing_changes_no_bit(dtype):
    plain = learner(compute_dtype=dtype, micro_tokens=20)
    twice = learner(compute_dtype=dtype, micro_tokens=20, activation_checkpointing=True)
    for step in range(2):
        rows = batch(random_rows(6, seed=step), temperature=0.7)
        assert plain.step(rows, PolicyLoss()) == twice.step(rows, PolicyLoss())
    assert same(state_of(plain), state_of(twice))
