"""Masters and moments in host memory: without an accelerator every number is the same, and so are the files."""

from pathlib import Path

import pytest
import torch
from learning_world import LOSS, Heard, batch, learner, random_rows, same, save, state_of, train

from zero2r1.learner.checkpoint import load_latest
from zero2r1.learner.learner import Learner
from zero2r1.sft.loss import cross_entropy

DTYPES = ("float32", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
def test_offloading_changes_no_number(dtype):
    settings = {"compute_dtype": dtype, "micro_tokens": 12, "weight_decay": 0.1, "grad_clip": 0.05}
    beside, away = learner(**settings), learner(**settings, offload="cpu")
    told = train(beside, 0, 5)
    assert told == train(away, 0, 5)
    assert all(figures["grad_norm"] > 0.05 for figures in told)  # the clip took part
    assert same(state_of(beside), state_of(away))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_masters_are_tensors_of_their_own(dtype):
    subject = learner(compute_dtype=dtype, offload="cpu")
    lent = {parameter.data_ptr() for parameter in subject.model.parameters()}
    held = subject.optimizer._adamw.param_groups
    masters = [master for group in held for master in group["params"]]
    assert len(masters) == len(lent)
    assert lent.isdisjoint(master.data_ptr() for master in masters)
    assert {master.dtype for master in masters} == {torch.float32}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("first", "second"), [("none", "cpu"), ("cpu", "none"), ("cpu", "cpu")])
def test_a_checkpoint_does_not_tell_and_a_run_goes_on_under_either(tmp_path: Path, dtype, first, second):
    whole = learner(compute_dtype=dtype)
    train(whole, 0, 6)
    begun = learner(compute_dtype=dtype, offload=first)
    train(begun, 0, 3)
    save(tmp_path, 3, begun)
    resumed: Learner = learner(seed=1, compute_dtype=dtype, offload=second)  # other weights, all to be replaced
    heard = Heard()
    assert load_latest(tmp_path, resumed, report=heard) is not None
    assert heard.events == []
    train(resumed, 3, 6)
    assert same(state_of(whole), state_of(resumed))


def test_an_update_that_is_not_finite_changes_nothing():
    subject = learner(offload="cpu", compute_dtype="bfloat16")
    train(subject, 0, 2)
    before = state_of(subject)
    figures = subject.step(batch(random_rows(3, weight=float("nan"))), LOSS)
    assert figures["nonfinite"] == 1.0
    assert same(before, state_of(subject))


def test_it_learns():
    subject = learner(offload="cpu", lr=3e-2)
    rows = batch(random_rows(4, seed=5))
    first = subject.step(rows, cross_entropy)["nll/mean"]
    for _ in range(20):
        last = subject.step(rows, cross_entropy)["nll/mean"]
    assert last < first / 10
