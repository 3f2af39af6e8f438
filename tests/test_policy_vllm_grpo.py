"""GRPO with a vLLM stand-in: it follows through the loop, and stale weights are seen even where none proves them."""

from itertools import islice

import pytest
from learning_world import CountingTask, address, learner, reward_by
from learning_world import tokenizer as plain_tokenizer
from vllm_world import policy

from zero2r1.core.errors import RunError
from zero2r1.models.load import set_template, weights_hash
from zero2r1.policy.vllm import VllmPolicy
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Reference, grpo

WARN, STOP = 0.05, 0.2
"""Ours: the alarm levels of the gap, in nats a token; `rl.max_gap_nats` is the second."""


def updates(subject, *, kind=VllmPolicy, **settings):
    words = plain_tokenizer()
    set_template(words, "plain")
    base = {"prompts_per_step": 2, "samples_per_prompt": 4, "minibatches": 1, "max_new_tokens": 4, "kl_coef": 0.0}
    sampler, _ = policy(subject.model, words, kind=kind, max_tokens=64)
    return grpo(
        policy=sampler,
        learner=subject,
        reference=Reference(),
        task=CountingTask(),
        reward=reward_by(lambda said: sum(token < 130 for token in said.token_ids) / 4),
        config=RLConfig.model_validate(base | settings),
        address_of=address,
    )


@pytest.mark.parametrize("correction", ["none", "truncate", "mask"])
def test_three_updates_follow_the_learner(correction):
    subject = learner(lr=1e-2)
    found = list(islice(updates(subject, importance_correction=correction), 3))
    assert all(update.metrics["gap/mean"] < 1e-5 for update in found)
    assert found[-1].weights_hash == weights_hash(subject.model)
    assert {row.scored.completion.policy_version for row in found[2].rows} == {2}
    if correction != "none":
        assert found[2].metrics["importance/mean"] == pytest.approx(1.0, abs=1e-4)
        assert found[2].metrics["importance/cut_frac"] == 0.0


class Stale(VllmPolicy):
    """A mutant without proof: it says that it follows, and goes on with its first weights."""

    num = 0

    def _take(self, model, weights):
        self.num += 1
        if self.num == 1:
            super()._take(model, weights)


@pytest.mark.parametrize("correction", ["none", "mask"])
def test_stale_weights_pass_the_level_of_warning_and_then_stop_the_run(correction):
    assert RLConfig().max_gap_nats == STOP
    run = updates(learner(lr=5e-2), kind=Stale, importance_correction=correction, max_gap_nats=1e9)
    gaps = [update.metrics["gap/mean"] for update in islice(run, 4)]
    assert gaps[0] < 1e-5
    assert max(gaps) > STOP > WARN
    stopped = updates(learner(lr=5e-2), kind=Stale, importance_correction=correction)
    with pytest.raises(RunError, match="sampler and learner disagree") as caught:
        list(islice(stopped, 4))
    assert caught.value.code == "Z317"


def test_a_mask_leaves_tokens_of_a_stale_sampler_out_and_counts_them():
    run = updates(
        learner(lr=5e-2), kind=Stale, importance_correction="mask", importance_floor=0.9, importance_cap=1.1,
        max_gap_nats=1e9,
    )  # fmt: skip
    shares = [update.metrics["importance/cut_frac"] for update in islice(run, 3)]
    assert shares[0] == 0.0
    assert max(shares[1:]) > 0.1
