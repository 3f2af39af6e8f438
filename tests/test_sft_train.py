"""Supervised fine-tuning: every example once an epoch, in an order that a restart does not change."""

from itertools import islice

import pytest
from learning_world import address, learner, same, state_of, tokenizer

from zero2r1.core.types import Message
from zero2r1.sft.data import Example, encode_all
from zero2r1.sft.train import epoch_order, sft, steps_per_epoch


def examples(count: int) -> tuple[Example, ...]:
    turns = [
        [Message(role="user", content=f"{i}?"), Message(role="assistant", content=str(i * 7))] for i in range(count)
    ]
    return encode_all(turns, tokenizer()).examples


def run(subject, *, start: int = 0, steps: int = 7):
    return sft(learner=subject, examples=examples(5), batch_rows=2, steps=steps, address=address(), start=start)


def test_a_dialogue_set_is_learned():
    subject = learner(lr=4e-2)
    rows = examples(4)
    found = list(sft(learner=subject, examples=rows, batch_rows=4, steps=30, address=address()))
    assert found[0].metrics["nll/mean"] > 1.0
    assert found[-1].metrics["nll/mean"] < 0.05


def test_an_epoch_shows_every_example_once_and_the_next_one_in_another_order():
    first, second = epoch_order(20, 0, address()), epoch_order(20, 1, address())
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first == epoch_order(20, 0, address(5))  # the step of the address does not matter
    assert first != epoch_order(20, 0, type(address())(seed=8, stage="toy", step=0))


def test_steps_epochs_and_the_smaller_last_batch():
    # 5 examples in batches of 2: 2 + 2 + 1, three updates an epoch
    assert steps_per_epoch(5, 2) == 3
    found = list(run(learner()))
    assert [update.step for update in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [update.epoch for update in found] == [0, 0, 0, 1, 1, 1, 2]
    tokens = [update.metrics["tokens"] for update in found]
    total = sum(sum(example.loss_mask) for example in examples(5))
    assert sum(tokens[:3]) == sum(tokens[3:6]) == total


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_a_run_resumed_inside_an_epoch_or_at_its_edge_equals_the_run_that_never_stopped(stop):
    whole = learner()
    straight = [update.metrics for update in run(whole)]
    broken = learner()
    head = [update.metrics for update in islice(run(broken), stop)]
    resumed = learner(seed=1)
    resumed.model.load_state_dict(broken.model.state_dict())
    resumed.optimizer.load_state_tensors(broken.optimizer.state_tensors())
    resumed.attempts, resumed.version = broken.attempts, broken.version
    tail = [update.metrics for update in run(resumed, start=stop)]
    assert head + tail == straight
    assert same(state_of(resumed), state_of(whole))


def test_no_examples_is_an_error():
    with pytest.raises(ValueError, match="at least one example"):
        next(sft(learner=learner(), examples=(), batch_rows=2, steps=1, address=address()))
