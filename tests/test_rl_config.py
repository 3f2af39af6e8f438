"""Settings of reinforcement learning: rows of the table, overrides, the schedule of caps, refusals."""

import pytest
from pydantic import ValidationError

from zero2r1.rl.algorithms import ALGORITHMS
from zero2r1.rl.config import RLConfig


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_an_algorithm_fills_in_its_row(name):
    config = RLConfig(algorithm=name)
    assert {key: getattr(config, key) for key in ALGORITHMS[name]} == dict(ALGORITHMS[name])


def test_a_key_that_is_set_wins_over_the_row():
    config = RLConfig(algorithm="dapo", kl_coef=0.5)
    assert (config.kl_coef, config.clip_high) == (0.5, 0.28)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_resolved_config_reads_back_equal(name):
    config = RLConfig(algorithm=name, max_new_tokens=7)
    assert RLConfig.model_validate(config.model_dump()) == config


def test_the_cap_follows_the_schedule_of_the_paper():
    config = RLConfig()
    assert [config.cap_at(step) for step in (0, 8_199, 8_200, 10_000)] == [32_768, 32_768, 65_536, 65_536]


def test_one_number_is_a_cap_for_ever():
    assert RLConfig(max_new_tokens=48).cap_at(10**6) == 48


@pytest.mark.parametrize("starts", [[1], [0, 5, 5], [0, 9, 3]])
def test_a_schedule_starts_at_zero_and_rises(starts):
    caps = [{"from_step": start, "max_new_tokens": 8} for start in starts]
    with pytest.raises(ValidationError, match="from_step must start at 0 and rise"):
        RLConfig.model_validate({"max_new_tokens": caps})


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"top_k": 50}])
def test_cut_sampling_is_refused_with_its_reason(cut):
    with pytest.raises(ValidationError, match="does not exist in RL: the ratio needs"):
        RLConfig.model_validate(cut)


def test_an_unknown_algorithm_or_key_is_refused():
    with pytest.raises(ValidationError):
        RLConfig.model_validate({"algorithm": "ppo"})
    with pytest.raises(ValidationError):
        RLConfig.model_validate({"kl_coeff": 0.1})


def test_a_cap_alone_means_truncation_as_it_did_before_there_was_a_choice():
    config = RLConfig.model_validate({"importance_cap": 3.0})
    assert (config.importance_correction, config.importance_cap) == ("truncate", 3.0)
    assert (RLConfig().importance_correction, RLConfig().importance_cap) == ("none", None)


@pytest.mark.parametrize(("correction", "cap"), [("truncate", 2.0), ("mask", 5.0)])
def test_a_correction_brings_its_cap_and_reads_back_equal(correction, cap):
    config = RLConfig.model_validate({"importance_correction": correction})
    assert config.importance_cap == cap
    assert RLConfig.model_validate(config.model_dump()) == config


def test_corrections_that_do_nothing_or_everything_are_refused():
    with pytest.raises(ValidationError, match="has no effect"):
        RLConfig.model_validate({"importance_correction": "none", "importance_cap": 2.0})
    with pytest.raises(ValidationError, match="every token is masked"):
        RLConfig.model_validate({"importance_correction": "mask", "importance_cap": 0.4})
