"""Samples of one prompt share its tokens in a pass: computed once, with the gradient of copies, and always the same."""

import pytest
import torch
from learning_world import batch, learner, random_rows, row, same, state_of
from test_learner_step import LOSSES, assert_close, gradient

from zero2r1.learner import learner as learning
from zero2r1.models import packing
from zero2r1.rl.loss import PolicyLoss


def group_rows(prompt_tokens=12, *, answers=(5, 3, 9, 1), seed=0):
    """Samples of two prompts, and a row that shares nothing."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(count):
        return torch.randint(0, 200, (count,), generator=generator).tolist()

    rows = []
    for prompt in (tokens(prompt_tokens), tokens(prompt_tokens + 3)):
        rows += [
            row(
                [*prompt, *tokens(count)],
                prompt=len(prompt),
                weight=0.1,
                advantage=[(-1.0) ** count] * count,
                old=[-5.5] * count,
                reference=[-5.2] * count,
            )
            for count in answers
        ]
    return [*rows, *random_rows(2)]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("micro_tokens", [25, 60, 4096])
def test_a_prompt_computed_once_gives_the_gradient_of_copies(loss, micro_tokens, monkeypatch):
    rows = group_rows()
    shared = gradient(rows, loss, micro_tokens=micro_tokens)
    monkeypatch.setattr(packing, "LEAST_SHARED", 10**9)
    assert_close(shared, gradient(rows, loss, micro_tokens=micro_tokens))


def test_a_prompt_goes_through_the_network_once(monkeypatch):
    rows, seen = group_rows(), []
    forward = learning.hidden_states

    def watched(model, ids, *rest, **named):
        seen.append(len(ids))
        return forward(model, ids, *rest, **named)

    monkeypatch.setattr(learning, "hidden_states", watched)
    learner(micro_tokens=4096).step(batch(rows), PolicyLoss())
    alone = sum(len(one.token_ids) for one in rows)
    assert seen == [alone - len(rows) - 3 * 12 - 3 * 15]  # and the last token of a row predicts nothing


def test_shared_prompts_give_the_same_bits_every_time():
    rows = group_rows(answers=(4, 4, 4, 4, 4, 4))
    first, second = learner(), learner()
    for subject in (first, second):
        subject.step(batch(rows), PolicyLoss())
    assert same(state_of(first), state_of(second))


def test_log_probabilities_do_not_notice_a_shared_prompt(monkeypatch):
    rows, subject = group_rows(), learner()
    shared = subject.logprobs(batch(rows))
    monkeypatch.setattr(packing, "LEAST_SHARED", 10**9)
    for ours, theirs in zip(shared, subject.logprobs(batch(rows)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-6)
