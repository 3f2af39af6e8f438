"""Steps in a row, and steps over memory that stays, against steps one by one: the same tokens, at no one's cost."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from policy_world import ADDRESS, gap, llama, prompts, qwen, tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from zero2r1.core.types import Completion, Finish
from zero2r1.models.joined import are_joined, join, whole
from zero2r1.models.load import load_model
from zero2r1.models.save import save_model, weights_hash
from zero2r1.policy import engine as engines
from zero2r1.policy import graphs
from zero2r1.policy import network as networks
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine
from zero2r1.policy.graphs import GraphDecoder, rows_recorded
from zero2r1.policy.pages import PAGE
from zero2r1.policy.requests import Request

SAMPLING = Sampling(max_new_tokens=60)
Found = dict[tuple[str, int], Completion]


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return tokenizer()


def sampled(engine: Engine, sampling: Sampling = SAMPLING, *, samples: int = 3, count: int = 3) -> Found:
    groups = engine.sample(prompts(count), samples, sampling=sampling, address=ADDRESS)
    return {(one.prompt.id, one.sample): one for group in groups for one in group}


def assert_same(found: Found, expected: Found) -> None:
    assert found.keys() == expected.keys()
    for place, one in found.items():
        assert (one.token_ids, one.finish) == (expected[place].token_ids, expected[place].finish)
        assert one.logprobs == pytest.approx(expected[place].logprobs, abs=1e-5)


@pytest.fixture
def rows_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Engines made from now on decode so many steps in a row."""
    return lambda count: monkeypatch.setattr(networks, "_at_once", lambda device: count)


@pytest.mark.parametrize("at_once", [3, 8, PAGE])
@pytest.mark.parametrize("make", [qwen, llama])
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_steps_in_a_row_are_steps_one_by_one(
    words: PreTrainedTokenizerFast, make: Callable, rows_of: Callable, at_once: int, kernels: str
) -> None:
    model = make(words)
    alone = Engine(model, words, kernels=kernels)
    expected = sampled(alone)
    assert {one.finish for one in expected.values()} == {Finish.STOP, Finish.LENGTH} or make is llama
    rows_of(at_once)
    engine = Engine(model, words, kernels=kernels)
    assert_same(sampled(engine), expected)
    assert engine.stats.sampled_tokens == alone.stats.sampled_tokens == sum(len(o.token_ids) for o in expected.values())
    assert engine.stats.steps >= alone.stats.steps


def test_rows_with_few_pages_put_samples_back_and_lose_no_token(
    words: PreTrainedTokenizerFast, rows_of: Callable
) -> None:
    model = qwen(words, num_end_tokens=1)
    expected = sampled(Engine(model, words))
    rows_of(8)
    tight = Engine(model, words, max_tokens_in_cache=10 * PAGE, max_slots=5)
    found = sampled(tight)
    assert_same(found, expected)
    assert tight.stats.preemptions >= 2
    assert tight.stats.peak_pages <= 10
    assert gap(model, list(found.values())) <= 1e-5


def test_a_text_that_ends_a_response_ends_it_in_the_middle_of_a_row(
    words: PreTrainedTokenizerFast, rows_of: Callable
) -> None:
    model = qwen(words, num_end_tokens=1)
    free = sampled(Engine(model, words), samples=6)
    stop = next(one.text[5:7] for one in free.values() if len(one.text) > 20)
    sampling = Sampling(max_new_tokens=60, stop=(stop,))
    expected = sampled(Engine(model, words), sampling, samples=6)
    assert any(one.finish is Finish.STOP and len(one.token_ids) % 8 for one in expected.values())
    rows_of(8)
    assert_same(sampled(Engine(model, words), sampling, samples=6), expected)


def test_a_row_is_told_of_at_once_and_ends_with_its_sequence(words: PreTrainedTokenizerFast, rows_of: Callable) -> None:
    model = qwen(words, num_end_tokens=1)

    def told() -> dict[int, list]:
        session = Engine(model, words).open()
        for number, limit in enumerate((11, 4, 30)):
            session.add(Request(prompt=prompts(3)[number], sampling=Sampling(max_new_tokens=limit), key=number))
        events: dict[int, list] = {}
        while not session.is_idle:
            for event in session.step():
                events.setdefault(event.request, []).append(event)
        return events

    alone = told()
    rows_of(8)
    rows = told()
    for number, events in alone.items():
        assert all(len(event.token_ids) == 1 for event in events)
        assert [t for e in rows[number] for t in e.token_ids] == [t for e in events for t in e.token_ids]
        assert [event.finish for event in rows[number][:-1]] == [None] * (len(rows[number]) - 1)
        assert rows[number][-1].finish == events[-1].finish
    assert [len(event.token_ids) for event in rows[1]] == [4]
    assert [len(event.token_ids) for event in rows[0]][:1] == [8]


def test_steps_of_so_many_rows_are_recorded() -> None:
    found = [rows_recorded(count) for count in range(1, 14)]
    assert found == [1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16]
    assert [rows_recorded(count) for count in (33, 48, 49, 64, 65, 100, 500)] == [48, 48, 64, 64, 96, 128, 512]


def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines on this CPU sample as on a GPU, through Triton's interpreter, and record nothing."""
    pytest.importorskip("triton")
    from zero2r1.models.gpu import layers, logits
    from zero2r1.models.gpu.ops import GpuKernels

    kernels = GpuKernels(layers, logits, device_type="cpu")

    def found(model: PreTrainedModel) -> tuple[GpuKernels, str]:
        join(model)
        return kernels, "compiled"

    monkeypatch.setattr(engines, "find_kernels", found)
    monkeypatch.setattr(networks, "_at_once", lambda device: 8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the real thing is at hand")
@pytest.mark.parametrize("make", [qwen, llama])
def test_steps_over_memory_that_stays_are_those_of_transformers(
    words: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch, make: Callable
) -> None:
    model, sampling = make(words, num_end_tokens=1), Sampling(max_new_tokens=9)
    expected = sampled(Engine(model, words, kernels="off"), sampling, samples=1, count=2)
    interpreted(monkeypatch)
    engine = Engine(model, words)
    found = sampled(engine, sampling, samples=1, count=2)
    assert_same(found, expected)
    assert gap(model, list(found.values())) <= 1e-5
    assert engine.stats.preemptions == 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="the real thing is at hand")
def test_weights_are_read_where_they_are_learned_and_the_cache_stays(
    words: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[GraphDecoder] = []

    class Counted(GraphDecoder):
        def __init__(self, *arguments: object, **named: object) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

    model, sampling = llama(words), Sampling(max_new_tokens=2)
    interpreted(monkeypatch)
    monkeypatch.setattr(graphs, "GraphDecoder", Counted)
    engine = Engine(model, words)
    before = sampled(engine, sampling, samples=1, count=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.05)
    engine.follow(model, version=1)
    after = sampled(engine, sampling, samples=1, count=1)
    assert len(made) == 1
    assert gap(model, list(after.values())) <= 1e-5
    assert before != after
    sampled(engine, sampling, samples=1, count=2)  # more than before
    assert len(made) == 2
    # Somebody gives a parameter other memory: the network is made anew.
    layer = model.model.layers[0].self_attn.k_proj
    layer.weight.data = layer.weight.data * 1.5
    engine.follow(model, version=2)
    assert gap(model, list(sampled(engine, sampling, samples=1, count=1).values())) <= 1e-5
    assert len(made) == 3


def test_joined_weights_are_saved_loaded_and_hashed_as_before(words: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    model = llama(words)
    before = weights_hash(model)
    join(model)
    assert weights_hash(model) == before
    save_model(model, words, tmp_path)
    assert weights_hash(load_model(tmp_path)) == before


def test_joined_weights_are_one_memory_and_the_same_parameters(words: PreTrainedTokenizerFast) -> None:
    model = qwen(words)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assert not are_joined(model)
    join(model)
    join(model)
    assert are_joined(model)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    attention = model.model.layers[1].self_attn
    parts = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
    together = whole(parts)
    assert together.data_ptr() == parts[0].data_ptr()
    with torch.no_grad():
        parts[2][-1, -1] = 7.0
    assert together[-1, -1] == 7.0
    assert together.shape == (sum(map(len, parts)), 32)
    assert whole([parts[1], parts[0]]).data_ptr() not in [part.data_ptr() for part in parts]
