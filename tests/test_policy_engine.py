"""The engine against a plain transformers forward, and the laws of what its tokens may depend on."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_world import ADDRESS, gap, llama, prompts, qwen, tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Finish
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine

SAMPLING = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return tokenizer()


@pytest.fixture(scope="module")
def network(words: PreTrainedTokenizerFast) -> PreTrainedModel:
    return qwen(words)


@pytest.fixture(scope="module")
def expected(words: PreTrainedTokenizerFast, network: PreTrainedModel) -> dict[tuple[str, int], Completion]:
    """Six prompts, three samples each, every one sampled in a call of its own prompt with one slot."""
    engine = Engine(network, words, max_slots=1)
    groups = [engine.sample([prompt], 3, sampling=SAMPLING, address=ADDRESS)[0] for prompt in prompts(6)]
    return {(one.prompt.id, one.sample): one for group in groups for one in group}


@pytest.mark.parametrize("make", [qwen, llama])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probabilities_equal_a_plain_forward(
    words: PreTrainedTokenizerFast, make: Callable[[PreTrainedTokenizerFast], PreTrainedModel], temperature: float
) -> None:
    model = make(words)
    sampling = Sampling(max_new_tokens=24, temperature=temperature)
    groups = Engine(model, words, max_slots=5).sample(prompts(5), 3, sampling=sampling, address=ADDRESS)
    completions = [one for group in groups for one in group]
    assert len({len(one.token_ids) for one in completions}) > 3
    assert gap(model, completions, temperature=temperature) <= 1e-5 / temperature  # which divides the logits' rounding


def test_the_test_model_is_neither_flat_nor_certain(expected: dict[tuple[str, int], Completion]) -> None:
    logprobs = torch.tensor([value for one in expected.values() for value in one.logprobs])
    assert 1.0 < float(-logprobs.mean()) < 5.0
    assert float(logprobs.std()) > 0.5
    assert {one.finish for one in expected.values()} == {Finish.STOP, Finish.LENGTH}


@settings(max_examples=12)
@given(
    order=st.permutations(range(6)), count=st.integers(1, 6), num_samples=st.integers(1, 3), slots=st.integers(1, 20)
)
def test_tokens_do_not_depend_on_slots_order_or_neighbours(
    words: PreTrainedTokenizerFast,
    network: PreTrainedModel,
    expected: dict[tuple[str, int], Completion],
    order: list[int],
    count: int,
    num_samples: int,
    slots: int,
) -> None:
    some = [prompts(6)[index] for index in order[:count]]
    engine = Engine(network, words, max_slots=slots)
    groups = engine.sample(some, num_samples, sampling=SAMPLING, address=ADDRESS)
    assert [[(one.prompt.id, one.sample) for one in group] for group in groups] == [
        [(prompt.id, sample) for sample in range(num_samples)] for prompt in some
    ]
    for one in [one for group in groups for one in group]:
        alone = expected[one.prompt.id, one.sample]
        assert (one.token_ids, one.finish, one.text) == (alone.token_ids, alone.finish, alone.text)
        assert one.logprobs == pytest.approx(alone.logprobs, abs=1e-5)


@pytest.mark.parametrize("chunk", [1, 5, 50])
def test_tokens_do_not_depend_on_how_prompts_are_prefilled(
    words: PreTrainedTokenizerFast,
    network: PreTrainedModel,
    expected: dict[tuple[str, int], Completion],
    chunk: int,
) -> None:
    engine = Engine(network, words, max_slots=4, prefill_tokens=chunk)
    groups = engine.sample(prompts(6), 3, sampling=SAMPLING, address=ADDRESS)
    assert all(one.token_ids == expected[one.prompt.id, one.sample].token_ids for group in groups for one in group)


def test_a_cache_of_one_sequence_gives_the_same_tokens(
    words: PreTrainedTokenizerFast, network: PreTrainedModel, expected: dict[tuple[str, int], Completion]
) -> None:
    engine = Engine(network, words, max_tokens_in_cache=100)
    groups = engine.sample(prompts(3), 2, sampling=SAMPLING, address=ADDRESS)
    assert all(one.token_ids == expected[one.prompt.id, one.sample].token_ids for group in groups for one in group)


def test_the_same_address_gives_the_same_tokens_and_any_other_gives_others(
    words: PreTrainedTokenizerFast, network: PreTrainedModel
) -> None:
    engine = Engine(network, words)

    def tokens(address: Address) -> list[tuple[int, ...]]:
        return [one.token_ids for one in engine.sample(prompts(1), 4, sampling=SAMPLING, address=address)[0]]

    first = tokens(ADDRESS)
    assert tokens(ADDRESS) == first
    assert len(set(first)) == 4
    for other in [Address(seed=3, stage="test", step=1), Address(seed=4, stage="test", step=0)]:
        assert not set(tokens(other)) & set(first)


def test_a_prompt_given_twice_is_sampled_twice(words: PreTrainedTokenizerFast, network: PreTrainedModel) -> None:
    prompt = prompts(1)[0]
    engine = Engine(network, words)
    first, second = engine.sample([prompt, prompt], 3, sampling=SAMPLING, address=ADDRESS)
    (alone,) = engine.sample([prompt], 3, sampling=SAMPLING, address=ADDRESS)
    assert [one.token_ids for one in first] == [one.token_ids for one in alone]
    assert not {one.token_ids for one in first} & {one.token_ids for one in second}


@pytest.mark.parametrize("make", [qwen, llama])
def test_temperature_zero_equals_greedy_generation_of_transformers(
    words: PreTrainedTokenizerFast, make: Callable[[PreTrainedTokenizerFast], PreTrainedModel]
) -> None:
    model = make(words)
    plain = copy.deepcopy(model)
    plain.set_attn_implementation("eager")
    sampling = Sampling(temperature=0.0, max_new_tokens=24)
    for (one,) in Engine(model, words).sample(prompts(4), 1, sampling=sampling, address=ADDRESS):
        ids = torch.tensor([one.prompt_token_ids])
        said = plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        assert one.token_ids == tuple(said[0, ids.shape[1] :].tolist())


def test_one_token_prompts_need_no_prefill(network: PreTrainedModel) -> None:
    words = tokenizer()
    words.chat_template = "{{ '2' }}"
    groups = Engine(network, words, max_slots=3).sample(prompts(2), 3, sampling=SAMPLING, address=ADDRESS)
    completions = [one for group in groups for one in group]
    assert {len(one.prompt_token_ids) for one in completions} == {1}
    assert gap(network, completions) <= 1e-5


def test_frequencies_of_first_tokens_follow_the_model(words: PreTrainedTokenizerFast, network: PreTrainedModel) -> None:
    count = 1500
    engine = Engine(network, words, max_slots=256)
    (group,) = engine.sample(prompts(1), count, sampling=Sampling(max_new_tokens=1), address=ADDRESS)
    probability = {one.token_ids[0]: float(torch.tensor(one.logprobs[0]).exp()) for one in group}
    common = [token for token, p in probability.items() if p * count >= 10]
    assert len(common) >= 10
    said = [one.token_ids[0] for one in group]
    # Wilson-Hilferty: chi-square with k degrees of freedom stays below k (1 - 2/9k + 3.1 sqrt(2/9k))^3 with p = .999.
    rest = 1.0 - sum(probability[token] for token in common)
    pairs = [(said.count(token), probability[token] * count) for token in common]
    pairs.append((sum(token not in common for token in said), rest * count))
    degrees = len(pairs) - 1
    limit = degrees * (1 - 2 / (9 * degrees) + 3.1 * (2 / (9 * degrees)) ** 0.5) ** 3
    assert sum((seen - wanted) ** 2 / wanted for seen, wanted in pairs) < limit


def test_bfloat16_stays_near_a_plain_bfloat16_forward(words: PreTrainedTokenizerFast) -> None:
    model = qwen(words).to(torch.bfloat16)
    groups = Engine(model, words, max_slots=5).sample(prompts(3), 3, sampling=SAMPLING, address=ADDRESS)
    # Logits between 4 and 8 have a spacing of 2^-5 = .03 in bfloat16; a wrong token or position costs whole nats.
    assert gap(model, [one for group in groups for one in group]) < 0.2


def test_sampling_leaves_no_gradient_and_training_still_works(words: PreTrainedTokenizerFast) -> None:
    model = qwen(words)
    model.requires_grad_(True)
    Engine(model, words).sample(prompts(1), 1, sampling=SAMPLING, address=ADDRESS)
    assert all(parameter.grad is None for parameter in model.parameters())
    model.set_attn_implementation("sdpa")
    model(input_ids=torch.tensor([[1, 2, 3]])).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
