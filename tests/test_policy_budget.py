"""A small cache and short pieces cost time and no token: preemption, chunked prefill, sharing."""

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_world import ADDRESS, gap, llama, prompts, qwen, tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from zero2r1.core.types import Completion
from zero2r1.policy.base import Sampling
from zero2r1.policy.config import EngineConfig
from zero2r1.policy.engine import Engine
from zero2r1.policy.network import network_of
from zero2r1.policy.pages import PAGE, PagePool
from zero2r1.policy.samples import Job
from zero2r1.policy.session import Session

SAMPLING = Sampling(max_new_tokens=60)
Outcome = dict[tuple[str, int], Completion]


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return tokenizer()


@pytest.fixture(scope="module")
def network(words: PreTrainedTokenizerFast) -> PreTrainedModel:
    """One way to end: responses of several pages."""
    return qwen(words, num_end_tokens=1)


def outcome(engine: Engine, num_prompts: int = 3, num_samples: int = 3) -> Outcome:
    groups = engine.sample(prompts(num_prompts), num_samples, sampling=SAMPLING, address=ADDRESS)
    return {(one.prompt.id, one.sample): one for group in groups for one in group}


@pytest.fixture(scope="module")
def expected(words: PreTrainedTokenizerFast, network: PreTrainedModel) -> Outcome:
    engine = Engine(network, words)
    found = outcome(engine)
    assert engine.stats.preemptions == 0
    assert sum(len(one.token_ids) > 2 * PAGE for one in found.values()) >= 6
    return found


def same(found: Outcome, expected: Outcome) -> None:
    assert found.keys() == expected.keys()
    for place, one in found.items():
        assert (one.token_ids, one.finish) == (expected[place].token_ids, expected[place].finish)
        assert one.logprobs == pytest.approx(expected[place].logprobs, abs=1e-5)


@pytest.mark.parametrize("make", [qwen, llama])
def test_many_preemptions_change_no_token(words: PreTrainedTokenizerFast, make: Callable[..., PreTrainedModel]) -> None:
    model = make(words, num_end_tokens=1)
    roomy, tight = Engine(model, words), Engine(model, words, max_tokens_in_cache=10 * PAGE)
    wanted, found = outcome(roomy), outcome(tight)
    same(found, wanted)
    assert tight.stats.preemptions >= 4
    assert tight.stats.peak_pages <= tight.stats.num_pages == 10
    assert tight.stats.prefilled_tokens > roomy.stats.prefilled_tokens
    assert tight.stats.sampled_tokens == roomy.stats.sampled_tokens == sum(len(o.token_ids) for o in wanted.values())
    assert gap(model, list(found.values())) <= 1e-5


@settings(max_examples=6)
@given(pages=st.integers(9, 40), chunk=st.integers(1, 70), slots=st.integers(1, 10))
def test_neither_budget_nor_pieces_nor_slots_change_a_token(
    words: PreTrainedTokenizerFast, network: PreTrainedModel, expected: Outcome, pages: int, chunk: int, slots: int
) -> None:
    config = EngineConfig(max_slots=slots, max_tokens_in_cache=pages * PAGE, prefill_tokens=chunk)
    engine = Engine(network, words, **config.model_dump())
    same(outcome(engine), expected)
    assert engine.stats.peak_pages <= pages


@pytest.mark.parametrize("chunk", [5, 16])
def test_prompts_in_pieces_equal_a_plain_forward(
    words: PreTrainedTokenizerFast, network: PreTrainedModel, expected: Outcome, chunk: int
) -> None:
    found = outcome(Engine(network, words, prefill_tokens=chunk))
    same(found, expected)
    assert gap(network, list(found.values())) <= 1e-5


@pytest.mark.parametrize("num_samples", [1, 5])
def test_a_prompt_is_read_once_for_all_its_samples(
    words: PreTrainedTokenizerFast, network: PreTrainedModel, num_samples: int
) -> None:
    for slots in (2, 64):
        engine = Engine(network, words, max_slots=slots)
        outcome(engine, num_samples=num_samples)
        assert engine.stats.prefilled_tokens == sum(len(engine.encode(prompt)) - 1 for prompt in prompts(3))


def test_between_two_decoding_steps_only_so_many_tokens_are_read(
    words: PreTrainedTokenizerFast, network: PreTrainedModel
) -> None:
    plain = network_of(network)
    sizes: list[tuple[str, int]] = []

    def spying(token_ids: torch.Tensor, position_ids: torch.Tensor, context: object) -> torch.Tensor:
        sizes.append((type(context).__name__, len(token_ids)))
        return plain.forward(token_ids, position_ids, context)

    session = Session(
        dataclasses.replace(plain, forward=spying),
        num_slots=4, num_pages=40, prefill_tokens=7, eos_ids=(), decode=str, is_streaming=False,
    )  # fmt: skip
    for group in range(3):
        jobs = [Job(group=group, sample=sample, key=10 * group + sample) for sample in range(2)]
        session.add_jobs(tuple(range(30)), jobs, Sampling(max_new_tokens=12))
    while not session.is_idle:
        session.step()
    assert max(size for name, size in sizes if name == "PrefillContext") == 7
    assert sum(size for name, size in sizes if name == "PrefillContext") == 3 * 29 == session.stats.prefilled_tokens
    # Until the first prompt has been read nobody can decode; from then on every piece is followed by a step.
    names = [name for name, _ in sizes]
    later = names[names.index("StepContext") :]
    assert ("PrefillContext", "PrefillContext") not in pairwise(later)
    assert max(size for name, size in sizes if name == "StepContext") == 4


def test_a_reference_that_is_lost_does_not_go_unnoticed(
    words: PreTrainedTokenizerFast, network: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PagePool, "share", lambda self, pages: list(pages))
    with pytest.raises(ValueError, match="does not hold it"):
        outcome(Engine(network, words))
