"""LoRA learns, by examples and by rewards; the sampler has the adapter, and a sampler that has it not is caught."""

import copy
from itertools import islice

import pytest
import torch
from learning_world import (
    CountingTask,
    PlainSampler,
    address,
    batch,
    random_rows,
    reward_by,
    tiny_model,
    tokenizer,
)

from zero2r1.core.errors import RunError
from zero2r1.core.types import Message
from zero2r1.learner.config import LearnerConfig, LoraConfig
from zero2r1.learner.learner import Learner
from zero2r1.models.load import weights_hash
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Reference, grpo
from zero2r1.sft.data import encode_all
from zero2r1.sft.loss import cross_entropy
from zero2r1.sft.train import sft

LORA = LoraConfig(rank=4, alpha=8)


def sure(**config: object) -> Learner:
    """An adapted learner of a base that can be sure of a word: adapters do not reach the head, and with the drawn one
    no word of 264 ever gets a chance above a half."""
    model = tiny_model()
    with torch.no_grad():
        model.model.norm.weight.fill_(6.0)
    settings = {"micro_tokens": 4096, "lora": LORA} | config
    return Learner(model, LearnerConfig(**settings), total_steps=100)


def test_fine_tuning_learns():
    subject = sure(lr=1e-2)
    turns = [[Message(role="user", content=f"{i}?"), Message(role="assistant", content=str(i * 7))] for i in range(4)]
    examples = encode_all(turns, tokenizer()).examples
    found = list(sft(learner=subject, examples=examples, batch_rows=4, steps=80, address=address()))
    assert found[0].metrics["nll/mean"] > 1.0
    assert found[-1].metrics["nll/mean"] < 0.1


def run(subject: Learner, policy, *, judge, **settings: object):
    base = {"prompts_per_step": 2, "samples_per_prompt": 16, "minibatches": 1, "max_new_tokens": 1, "kl_coef": 0.0}
    return grpo(
        policy=policy, learner=subject, reference=Reference(), task=CountingTask(), reward=reward_by(judge),
        config=RLConfig.model_validate(base | settings), address_of=address,
    )  # fmt: skip


def low(said) -> float:
    return float(said.token_ids[0] < 30)


@pytest.mark.parametrize("make", [PlainSampler, lambda model: Engine(model, tokenizer())])
def test_reinforcement_learning_learns_with_a_sampler_that_has_the_adapters(make):
    subject = sure(lr=1e-2)
    found = list(islice(run(subject, make(subject.model), judge=low, kl_coef=0.001), 32))
    rewards = [update.metrics["reward/mean"] for update in found]
    assert sum(rewards[:2]) / 2 < 0.3
    assert sum(rewards[-8:]) / 8 > 0.7  # questions differ from update to update, and so do their rewards
    # 1e-5 nats is what logits of usual size agree to; those of this base are six times as large.
    assert max(update.metrics["gap/max"] for update in found) <= 6e-5
    assert len({update.weights_hash for update in found}) == len(found)
    assert found[-1].weights_hash == weights_hash(subject.model)


class BaseSampler(PlainSampler):
    """The mutant: it is told of every update and samples from the base all the same."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self._base = copy.deepcopy(model)

    def follow(self, model, *, version):
        super().follow(self._base, version=version)


def test_a_sampler_that_never_gets_the_adapter_is_caught():
    subject = sure(lr=1e-2)
    policy = BaseSampler(subject.model)
    updates = run(subject, policy, judge=low, max_gap_nats=0.05)
    first = next(updates)
    assert first.metrics["gap/max"] <= 1e-5  # B is 0 still
    assert first.weights_hash != weights_hash(subject.model)
    with pytest.raises(RunError, match="sampler and learner disagree") as caught:
        list(islice(updates, 20))
    assert caught.value.code == "Z317"


def test_the_engine_notices_an_adapter_changed_behind_its_back():
    subject = sure()
    engine = Engine(subject.model, tokenizer())
    subject.step(batch(random_rows(4)), cross_entropy)
    with pytest.raises(RunError, match="weights changed") as caught:
        engine.sample(CountingTask().draw(1), 1, sampling=Sampling(max_new_tokens=1), address=address())
    assert caught.value.code == "Z317"
