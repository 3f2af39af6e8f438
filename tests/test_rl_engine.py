"""GRPO with the built-in engine: sampler and learner are the same network and say so."""

from itertools import islice

import pytest
from learning_world import CountingTask, address, learner, reward_by, same, state_of, tokenizer

from zero2r1.policy.engine import Engine
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Reference, Update, grpo


def run(subject, settings: RLConfig, *, max_slots: int = 128) -> list[Update]:
    updates = grpo(
        policy=Engine(subject.model, tokenizer(), max_slots=max_slots),
        learner=subject,
        reference=Reference(),
        task=CountingTask(),
        reward=reward_by(lambda said: sum(token < 130 for token in said.token_ids) / 12),
        config=settings,
        address_of=address,
    )
    return list(islice(updates, 4))


def config(**settings: object) -> RLConfig:
    base = {"prompts_per_step": 2, "samples_per_prompt": 4, "minibatches": 2, "max_new_tokens": 12, "kl_coef": 0.05}
    return RLConfig.model_validate(base | settings)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampler_and_learner_agree_to_float32_rounding(temperature):
    found = run(learner(), config(temperature=temperature))
    for update in found[::2]:
        assert update.metrics["gap/mean"] <= 1e-6
        assert update.metrics["gap/max"] <= 1e-5


def test_in_bfloat16_they_agree_to_its_rounding():
    found = run(learner(compute_dtype="bfloat16"), config())
    assert 0.0 < found[2].metrics["gap/mean"] <= 0.02


def test_the_number_of_slots_changes_no_token():
    wide, narrow = run(learner(), config())[0], run(learner(), config(), max_slots=3)[0]
    said = [[row.scored.completion.token_ids for row in update.rows] for update in (wide, narrow)]
    assert said[0] == said[1]


def test_the_same_run_twice_is_bit_equal():
    first, second = learner(), learner()
    assert [update.metrics for update in run(first, config())] == [update.metrics for update in run(second, config())]
    assert same(state_of(first), state_of(second))
