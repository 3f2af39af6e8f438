"""Ends, texts, versions and hashes of what the engine returns, and what it refuses."""

import threading

import pytest
import torch
from policy_world import ADDRESS, llama, prompts, qwen, tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from zero2r1.core.errors import ConfigError, ModelError, RunError
from zero2r1.core.types import Completion, Finish
from zero2r1.models.load import weights_hash
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine

SAMPLING = Sampling(max_new_tokens=24)


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return tokenizer()


@pytest.fixture
def model(words: PreTrainedTokenizerFast) -> PreTrainedModel:
    return qwen(words)


def draw(engine: Engine, sampling: Sampling = SAMPLING, count: int = 4) -> list[Completion]:
    return [one for group in engine.sample(prompts(count), 4, sampling=sampling, address=ADDRESS) for one in group]


def test_a_response_ends_at_the_first_end_token_or_at_the_limit(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    engine = Engine(model, words)
    assert engine.eos_ids == {words.eos_token_id, *range(100, 111)}
    for one in draw(engine):
        is_end = [token in engine.eos_ids for token in one.token_ids]
        assert not any(is_end[:-1])
        assert one.finish == (Finish.STOP if is_end[-1] else Finish.LENGTH)
        assert is_end[-1] or len(one.token_ids) == 24
        assert one.text == words.decode(one.token_ids[:-1] if is_end[-1] else one.token_ids)


def test_an_end_token_in_the_last_place_is_a_stop_and_not_a_truncation(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    engine = Engine(model, words)
    stopped = next(one for one in draw(engine) if one.finish == Finish.STOP and len(one.token_ids) > 1)
    exact = draw(engine, Sampling(max_new_tokens=len(stopped.token_ids)))
    same = next(one for one in exact if (one.prompt.id, one.sample) == (stopped.prompt.id, stopped.sample))
    assert (same.token_ids, same.finish) == (stopped.token_ids, Finish.STOP)
    shorter = draw(engine, Sampling(max_new_tokens=len(stopped.token_ids) - 1))
    same = next(one for one in shorter if (one.prompt.id, one.sample) == (stopped.prompt.id, stopped.sample))
    assert (same.token_ids, same.finish) == (stopped.token_ids[:-1], Finish.LENGTH)


def test_a_stop_text_ends_a_response_at_the_token_that_completes_it(words: PreTrainedTokenizerFast) -> None:
    engine = Engine(llama(words, num_end_tokens=3), words, max_slots=6)
    stop = ("e", "1", " t", "一")
    without = {(one.prompt.id, one.sample): one for one in draw(engine)}
    cut = 0
    for one in draw(engine, Sampling(max_new_tokens=24, stop=stop)):
        full = without[one.prompt.id, one.sample].token_ids
        ends = [end for end in range(1, len(full) + 1) if any(text in words.decode(full[:end]) for text in stop)]
        assert one.token_ids == (full[: ends[0]] if ends else full)
        if ends:
            assert one.finish == Finish.STOP
            assert any(text in one.text for text in stop) or one.token_ids[-1] in engine.eos_ids
            cut += one.token_ids != full
    assert cut >= 4


def test_a_stop_text_may_stretch_over_many_tokens(words: PreTrainedTokenizerFast) -> None:
    engine = Engine(llama(words, num_end_tokens=1), words, max_slots=6)
    full = draw(engine, count=8)
    pieces = [[words.decode([token]) for token in one.token_ids] for one in full]
    # The longest run of printable ASCII tokens that any sample has said.
    runs = [
        (end - start, one, end)
        for one, said in zip(full, pieces, strict=True)
        for start in range(len(said))
        for end in range(start + 1, len(said) + 1)
        if all(piece.isascii() and piece.isprintable() for piece in said[start:end])
    ]
    length, one, end = max(runs, key=lambda run: run[0])
    assert length >= 4
    stop = words.decode(one.token_ids[end - length : end])
    cut = draw(engine, Sampling(max_new_tokens=24, stop=(stop,)), count=8)
    same = next(other for other in cut if (other.prompt.id, other.sample) == (one.prompt.id, one.sample))
    assert (same.token_ids, same.finish) == (one.token_ids[:end], Finish.STOP)
    assert same.text.endswith(stop)


def test_special_tokens_inside_a_response_stay_visible(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    pad = words.pad_token_id
    with torch.no_grad():
        model.get_output_embeddings().weight[pad] = model.get_output_embeddings().weight.abs().max() * 50
    said = "".join(one.text for one in draw(Engine(model, words)))
    assert words.pad_token in said


def test_completions_name_their_weights_and_version(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    engine = Engine(model, words)
    assert engine.version == 0
    assert {(one.policy_version, one.weights_hash) for one in draw(engine)} == {(0, weights_hash(model))}
    with torch.no_grad():
        model.get_input_embeddings().weight[5] += 1.0
    engine.follow(model, version=1)
    assert {(one.policy_version, one.weights_hash) for one in draw(engine)} == {(1, weights_hash(model))}


def test_a_completion_is_handed_over_when_it_finishes(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    engine, told, live = Engine(model, words, max_slots=2), [], []

    def take(one: Completion) -> None:
        told.append(one)
        live.append(threading.current_thread())

    groups = engine.sample(prompts(4), 3, sampling=SAMPLING, address=ADDRESS, on_finished=take)
    flat = [one for group in groups for one in group]
    assert {id(one) for one in told} == {id(one) for one in flat}
    assert len(told) == 12
    assert [(one.prompt.id, one.sample) for one in told] != [(one.prompt.id, one.sample) for one in flat]
    assert set(live) == {threading.main_thread()}
    assert flat == [one for group in engine.sample(prompts(4), 3, sampling=SAMPLING, address=ADDRESS) for one in group]


def test_what_the_callback_raises_ends_the_call(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    def refuse(one: Completion) -> None:
        raise LookupError(one.sample)

    with pytest.raises(LookupError):
        Engine(model, words).sample(prompts(2), 1, sampling=SAMPLING, address=ADDRESS, on_finished=refuse)


@pytest.mark.parametrize("recompute_hash", [True, False])
def test_weights_that_changed_without_notice_are_refused(
    words: PreTrainedTokenizerFast, model: PreTrainedModel, recompute_hash: bool
) -> None:
    engine = Engine(model, words, recompute_hash=recompute_hash)
    draw(engine, count=1)
    weight = next(model.parameters())
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    with pytest.raises(RunError, match="follow"):
        draw(engine, count=1)
    engine.follow(model, version=1)
    draw(engine, count=1)


def test_a_change_behind_the_version_counters_is_seen_by_the_hash(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    engine = Engine(model, words, recompute_hash=True)
    next(model.parameters()).data += 1.0
    with pytest.raises(RunError, match="follow"):
        draw(engine, count=1)


def test_a_version_that_was_sampled_names_one_set_of_weights(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    engine = Engine(model, words)
    draw(engine, count=1)
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    with pytest.raises(RunError, match="two sets"):
        engine.follow(model, version=0)


def test_another_network_can_be_followed(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    engine = Engine(model, words)
    other = llama(words)
    engine.follow(other, version=7)
    said = draw(engine, count=1)
    assert [one.token_ids for one in said] == [one.token_ids for one in draw(Engine(other, words), count=1)]
    assert {(one.policy_version, one.weights_hash) for one in said} == {(7, weights_hash(other))}


def test_broken_weights_stop_the_call(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    with torch.no_grad():
        next(model.parameters())[:, 0] = torch.nan
    with pytest.raises(RunError, match="not finite"):
        draw(Engine(model, words))


def test_a_call_longer_than_the_context_is_refused(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    with pytest.raises(ModelError, match="Z207") as error:
        draw(Engine(model, words), Sampling(max_new_tokens=120))
    longest = max(len(Engine(model, words).encode(prompt)) for prompt in prompts(4))
    assert f"at most {128 - longest}" in error.value.fix
    draw(Engine(model, words), Sampling(max_new_tokens=128 - longest))
    with pytest.raises(ModelError, match="Z207"):
        draw(Engine(model, words), Sampling(max_new_tokens=129 - longest))


def test_a_sequence_larger_than_the_cache_is_refused(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    with pytest.raises(ConfigError, match="max_tokens_in_cache"):
        draw(Engine(model, words, max_tokens_in_cache=20))


def test_a_tokenizer_without_a_template_is_refused(model: PreTrainedModel) -> None:
    bare = tokenizer()
    bare.chat_template = None
    with pytest.raises(ModelError, match="chat template"):
        draw(Engine(model, bare))
    bare.chat_template = "{{ '' }}"
    with pytest.raises(ModelError, match="no tokens"):
        draw(Engine(model, bare))


def test_nothing_asked_nothing_said(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    engine = Engine(model, words)
    assert engine.sample([], 4, sampling=SAMPLING, address=ADDRESS) == []
    assert engine.sample(prompts(2), 0, sampling=SAMPLING, address=ADDRESS) == [[], []]
