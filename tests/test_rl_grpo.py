"""The GRPO loop: it learns, tells what it did, goes on exactly from a cursor, and stops when it cannot be trusted."""

import math
from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from learning_world import (
    CountingTask,
    PlainSampler,
    address,
    learner,
    reward_by,
    same,
    state_of,
    tiny_model,
)

from zero2r1.core.errors import RunError
from zero2r1.learner.learner import Learner, snapshot
from zero2r1.models.load import weights_hash
from zero2r1.rl.config import RLConfig
from zero2r1.rl.grpo import Cursor, Reference, Update, grpo


def config(**settings: object) -> RLConfig:
    base = {"prompts_per_step": 2, "samples_per_prompt": 4, "minibatches": 2, "max_new_tokens": 3, "kl_coef": 0.05}
    return RLConfig.model_validate(base | settings)


def low_tokens(said) -> float:
    """A reward that nearly every group disagrees on from the first rollout."""
    return sum(token < 130 for token in said.token_ids) / 3


def updates(
    subject: Learner,
    settings: RLConfig,
    *,
    judge=low_tokens,
    policy: PlainSampler | None = None,
    reference: Reference | None = None,
    start: Cursor | None = None,
) -> Iterator[Update]:
    return grpo(
        policy=policy or PlainSampler(subject.model),
        learner=subject,
        reference=reference or Reference(),
        task=CountingTask(),
        reward=reward_by(judge),
        config=settings,
        address_of=address,
        start=start,
    )


def test_the_reward_of_a_bandit_rises():
    # One token a response, reward for the first 30 of 280 tokens: from a chance of 1 in 9 to near certainty.
    settings = config(max_new_tokens=1, samples_per_prompt=16, minibatches=1, kl_coef=0.0)
    run = updates(learner(lr=5e-2), settings, judge=lambda said: float(said.token_ids[0] < 30))
    rewards = [update.metrics["reward/mean"] for update in islice(run, 16)]
    assert sum(rewards[:4]) / 4 < 0.25
    assert sum(rewards[-3:]) / 3 > 0.9


def test_updates_are_numbered_and_rollouts_end_after_their_minibatches():
    subject = learner()
    found = list(islice(updates(subject, config()), 4))
    assert [update.step for update in found] == [1, 2, 3, 4]
    assert [update.is_rollout_end for update in found] == [False, True, False, True]
    assert [len(update.rows) for update in found] == [16, 0, 16, 0]
    assert found[1].cursor == found[0].cursor == Cursor(rollout=1, prompts=4, step=2)
    assert found[3].cursor == Cursor(rollout=2, prompts=8, step=4)
    assert [update.weights_hash for update in found[:3:2]] == ["", ""]
    assert found[3].weights_hash == weights_hash(subject.model)
    assert subject.version == 4


def test_rows_name_the_weights_that_sampled_them():
    policy = PlainSampler(tiny_model())
    found = list(islice(updates(learner(), config(), policy=policy), 3))
    assert {row.scored.completion.policy_version for row in found[2].rows} == {2}
    assert {row.scored.completion.weights_hash for row in found[2].rows} == {found[1].weights_hash}


def test_the_metrics_have_the_names_of_the_log():
    first, second = islice(updates(learner(), config()), 2)
    rollout = {
        "accuracy", "reward/mean", "reward/accuracy/mean", "reward/zero_std_frac", "reward/error_frac", "length/mean",
        "length/truncated_frac", "reflective_words", "rollout/groups_dropped",
    }  # fmt: skip
    update = {
        "loss", "grad_norm", "lr", "tokens", "nonfinite", "clip/frac", "kl/mean", "entropy/mean", "ratio/mean",
    }  # fmt: skip
    assert set(first.metrics) == rollout | update | {"gap/mean", "gap/max"}
    assert set(second.metrics) == rollout | update
    assert {name: first.metrics[name] for name in rollout} == {name: second.metrics[name] for name in rollout}
    assert all(math.isfinite(value) for value in first.metrics.values())


def test_learner_and_sampler_agree_on_the_first_update_of_each_rollout():
    found = list(islice(updates(learner(), config(temperature=0.8)), 6))
    for update in found[::2]:
        assert update.metrics["gap/mean"] <= 1e-6
        assert update.metrics["gap/max"] <= 1e-5
        assert update.metrics["ratio/mean"] == pytest.approx(1.0, abs=1e-5)
    assert any(abs(update.metrics["ratio/mean"] - 1.0) > 1e-3 for update in found[1::2])


class StaleSampler(PlainSampler):
    """Says that it follows, and goes on with its old weights."""

    def follow(self, model, *, version):
        self.weights_hash = "f" * 16
        self.version = version


def test_a_sampler_with_stale_weights_trips_the_gap():
    policy = StaleSampler(tiny_model())
    run = updates(learner(lr=5e-2), config(max_gap_nats=0.05), policy=policy)
    first = next(run)
    assert first.metrics["gap/mean"] <= 1e-6
    with pytest.raises(RunError, match="sampler and learner disagree") as caught:
        list(islice(run, 5))
    assert caught.value.code == "Z317"


def test_many_ungraded_outputs_stop_the_run():
    subject = learner()
    before = state_of(subject)
    with pytest.raises(RunError, match="could not be graded") as caught:
        next(updates(subject, config(), judge=lambda said: None if said.sample == 0 else 1.0))
    assert caught.value.code == "Z318"
    assert "4 times: no reason given" in caught.value.why
    assert same(state_of(subject), before)


def test_an_update_whose_rows_are_all_ungraded_changes_nothing():
    subject = learner()
    before = state_of(subject)
    found = list(islice(updates(subject, config(max_error_frac=1.0), judge=lambda said: None), 2))
    assert [update.metrics["tokens"] for update in found] == [0.0, 0.0]
    assert same(state_of(subject), before)


def test_an_ungraded_group_gives_no_gradient_and_does_not_count_in_the_normaliser():
    # Three questions, the last one ungraded: the step must be that of the first two alone (up to the order of sums).
    def judge(said):
        return None if said.prompt.gold == "2" else low_tokens(said)

    alone, beside = learner(), learner()
    settings = {"minibatches": 1, "max_error_frac": 1.0, "split": "groups"}
    (first,) = islice(updates(alone, config(**settings, prompts_per_step=2), judge=judge), 1)
    (second,) = islice(updates(beside, config(**settings, prompts_per_step=3), judge=judge), 1)
    assert [row.masked for row in second.rows] == [False] * 8 + [True] * 4
    assert second.metrics["reward/error_frac"] == pytest.approx(1 / 3)
    assert second.metrics["tokens"] == first.metrics["tokens"]
    for name in ("loss", "grad_norm", "reward/mean"):
        assert second.metrics[name] == pytest.approx(first.metrics[name], rel=1e-5, abs=1e-9)
    for name, value in snapshot(alone.model).items():
        torch.testing.assert_close(snapshot(beside.model)[name], value, rtol=1e-5, atol=1e-5)


def test_groups_without_variance_do_not_move_the_weights_without_a_kl_term():
    subject = learner()
    before = snapshot(subject.model)
    found = list(islice(updates(subject, config(kl_coef=0.0), judge=lambda said: 0.25), 2))
    assert [update.metrics["grad_norm"] for update in found] == [0.0, 0.0]
    assert found[0].metrics["reward/zero_std_frac"] == 1.0
    assert same(snapshot(subject.model), before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reward_that_is_no_number_is_an_error_and_reaches_no_weight(bad):
    def judge(said, value=None):
        return value if said.sample == 0 and said.prompt.gold == "1" else low_tokens(said)

    poisoned, masked = learner(), learner()
    list(islice(updates(poisoned, config(), judge=lambda said: judge(said, bad)), 2))
    list(islice(updates(masked, config(), judge=lambda said: judge(said, None)), 2))
    assert same(state_of(poisoned), state_of(masked))


@pytest.mark.parametrize("algorithm", ["grpo", "dr_grpo", "dapo", "gspo", "cispo"])
def test_every_algorithm_runs_and_moves_the_weights(algorithm):
    subject = learner()
    before = snapshot(subject.model)
    settings = RLConfig.model_validate(
        {"algorithm": algorithm, "prompts_per_step": 2, "samples_per_prompt": 4, "minibatches": 2, "max_new_tokens": 3}
    )
    found = list(islice(updates(subject, settings), 2))
    assert not same(snapshot(subject.model), before)
    assert ("kl/mean" in found[0].metrics) == (algorithm == "grpo")


def test_truncated_importance_is_one_where_sampler_and_learner_agree():
    plain, corrected = learner(), learner()
    list(islice(updates(plain, config(minibatches=1)), 2))
    list(islice(updates(corrected, config(minibatches=1, importance_cap=2.0)), 2))
    for name, value in snapshot(plain.model).items():
        torch.testing.assert_close(snapshot(corrected.model)[name], value, rtol=0, atol=1e-4)


def test_the_reference_is_the_start_and_becomes_the_newest_policy_every_k_updates():
    subject = learner()
    start = snapshot(subject.model)
    reference = Reference()
    run = updates(subject, config(reference_every=3), reference=reference)
    hashes = []
    for update in islice(run, 8):
        assert update.metrics["kl/mean"] >= 0.0
        hashes.append(same(dict(reference.parameters), start))
        if update.step == 4:  # the rollout of updates 3 and 4 reaches 3
            assert same(dict(reference.parameters), snapshot(subject.model))
            start = snapshot(subject.model)
    assert hashes == [True, True, True, False, True, False, False, False]


def test_the_kl_is_that_to_the_reference_and_not_to_the_start_of_the_rollout():
    found = list(islice(updates(learner(), config(reference_every=4)), 5))
    # the first updates of the first and of the third rollout see a reference that was taken just before
    assert found[0].metrics["kl/mean"] == pytest.approx(0.0, abs=1e-6)
    assert found[2].metrics["kl/mean"] > 1e-4
    assert found[4].metrics["kl/mean"] == pytest.approx(0.0, abs=1e-6)


def test_without_a_kl_term_no_reference_is_kept_and_none_is_computed():
    subject = learner()
    subject.logprobs = None  # would fail when called
    reference = Reference()
    list(islice(updates(subject, config(kl_coef=0.0), reference=reference), 2))
    assert reference.parameters is None


def test_the_length_cap_follows_its_schedule():
    caps = [{"from_step": 0, "max_new_tokens": 2}, {"from_step": 2, "max_new_tokens": 4}]
    found = list(islice(updates(learner(), config(max_new_tokens=caps)), 3))
    assert [max(len(row.scored.completion.token_ids) for row in update.rows) for update in found[::2]] == [2, 4]


@pytest.mark.parametrize("settings", [config(reference_every=3), config(kl_coef=0.0, dynamic_sampling=True)])
def test_a_run_resumed_from_a_cursor_equals_the_run_that_never_stopped(settings):
    whole, reference = learner(), Reference()
    straight = list(islice(updates(whole, settings, reference=reference), 8))

    broken, first_reference = learner(), Reference()
    head = list(islice(updates(broken, settings, reference=first_reference), 4))
    assert head[-1].is_rollout_end
    resumed = learner(seed=1)  # other weights, which the copies below replace
    resumed.model.load_state_dict(broken.model.state_dict())
    resumed.optimizer.load_state_tensors(broken.optimizer.state_tensors())
    resumed.attempts, resumed.version = broken.attempts, broken.version
    second_reference = Reference(first_reference.parameters)
    tail = list(islice(updates(resumed, settings, reference=second_reference, start=head[-1].cursor), 4))

    assert [update.metrics for update in head + tail] == [update.metrics for update in straight]
    assert [update.cursor for update in head + tail] == [update.cursor for update in straight]
    assert same(state_of(resumed), state_of(whole))
    assert (second_reference.parameters is None) == (reference.parameters is None)
    if reference.parameters is not None:
        assert same(dict(second_reference.parameters), dict(reference.parameters))


def test_each_question_is_consumed_exactly_once_across_a_restart():
    policy, again = PlainSampler(tiny_model()), PlainSampler(tiny_model())
    settings = config(kl_coef=0.0)
    head = list(islice(updates(learner(), settings, policy=policy), 2))
    list(islice(updates(learner(), settings, policy=again, start=head[-1].cursor), 2))
    assert policy.asked + again.asked == [one.id for one in CountingTask().draw(8)]
