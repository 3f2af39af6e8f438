"""bfloat16 arithmetic over float32 master weights."""

import torch
from learning_world import batch, learner, random_rows, tiny_model

from zero2r1.sft.loss import cross_entropy


def test_a_bfloat16_model_learns_with_float32_masters():
    subject = learner(lr=3e-2, compute_dtype="bfloat16")
    rows = batch(random_rows(4, seed=5))
    first = subject.step(rows, cross_entropy)["nll/mean"]
    for _ in range(20):
        last = subject.step(rows, cross_entropy)["nll/mean"]
    assert {parameter.dtype for parameter in subject.model.parameters()} == {torch.bfloat16}
    assert last < first / 10
    state = subject.optimizer.state_tensors()
    for name, parameter in subject.model.named_parameters():
        master = state[f"master.{name}"]
        assert master.dtype == torch.float32
        assert torch.equal(parameter.detach(), master.to(torch.bfloat16))


def test_masters_hold_the_weights_as_they_came_not_rounded():
    subject = learner(compute_dtype="bfloat16")
    state = subject.optimizer.state_tensors()
    for name, parameter in tiny_model().named_parameters():
        assert torch.equal(state[f"master.{name}"], parameter.detach())


def test_updates_too_small_for_bfloat16_are_not_lost():
    # 1e-5 is far below bfloat16's spacing near 1 (2^-8): without masters the norm weights of 1.0 would never move
    subject = learner(lr=1e-5, compute_dtype="bfloat16")
    rows = batch(random_rows(4))
    for _ in range(3):
        subject.step(rows, cross_entropy)
    master = subject.optimizer.state_tensors()["master.model.norm.weight"]
    assert bool((master != 1.0).all())
    assert torch.equal(subject.model.get_parameter("model.norm.weight"), torch.ones(16, dtype=torch.bfloat16))


def test_only_parameters_are_rounded_never_the_rotary_frequencies():
    model = learner(compute_dtype="bfloat16").model
    assert {buffer.dtype for buffer in model.buffers() if buffer.is_floating_point()} == {torch.float32}


def test_the_gradient_is_summed_over_micro_batches_in_float32():
    rows = random_rows(9)
    whole, cut = learner(compute_dtype="bfloat16"), learner(compute_dtype="bfloat16", micro_tokens=10)
    norms = [subject.step(batch(rows), cross_entropy)["grad_norm"] for subject in (whole, cut)]
    assert abs(norms[0] - norms[1]) < 0.02 * norms[0]
    assert whole.optimizer.state_tensors()["exp_avg.model.norm.weight"].dtype == torch.float32
