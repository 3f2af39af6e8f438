"""Sessions: streams, requests of different kinds side by side, cancelling, and what is refused."""

import pytest
import torch
from policy_world import ADDRESS, prompts, qwen, tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from zero2r1.core.errors import ConfigError, ModelError, RunError
from zero2r1.core.random import key
from zero2r1.core.types import Finish
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine
from zero2r1.policy.pages import PAGE
from zero2r1.policy.samples import Job
from zero2r1.policy.session import Event, Request, Session

KINDS = (
    Sampling(max_new_tokens=80),
    Sampling(max_new_tokens=60, temperature=0.0),
    Sampling(max_new_tokens=50, temperature=0.7, top_p=0.8),
    Sampling(max_new_tokens=60, top_k=3, stop=("e", " t")),
)


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    return tokenizer()


@pytest.fixture
def model(words: PreTrainedTokenizerFast) -> PreTrainedModel:
    return qwen(words, num_end_tokens=1)


def requests() -> list[Request]:
    return [
        Request(prompt=prompt, sampling=KINDS[index % 4], key=100 + index, samples=2)
        for index, prompt in enumerate(prompts(5))
    ]


def gather(events: list[Event], into: dict[tuple[int, int], list[Event]]) -> None:
    for event in events:
        into.setdefault((event.request, event.sample), []).append(event)


def finish(session: Session) -> dict[tuple[int, int], list[Event]]:
    """All events by request and sample, in their order."""
    found: dict[tuple[int, int], list[Event]] = {}
    while not session.is_idle:
        gather(session.step(), found)
    return found


def text_of(events: list[Event]) -> tuple[tuple[int, ...], Finish | None]:
    return tuple(token for event in events for token in event.token_ids), events[-1].finish


def alone(engine: Engine, request: Request) -> list[tuple[tuple[int, ...], Finish | None]]:
    session = engine.open(is_streaming=False)
    session.add(request)
    return [text_of(events) for _, events in sorted(finish(session).items())]


def test_requests_of_all_kinds_do_not_disturb_each_other(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    wide, narrow = Engine(model, words), Engine(model, words, max_slots=5, max_tokens_in_cache=16 * PAGE)
    for engine in (wide, narrow):
        session = engine.open()
        numbers = [session.add(request) for request in requests()]
        assert numbers == list(range(5))
        found = finish(session)
        for number, request in zip(numbers, requests(), strict=True):
            assert [text_of(found[number, sample]) for sample in range(2)] == alone(wide, request)
    assert session.stats.preemptions > 0
    ends = {events[-1].finish for events in found.values()}
    assert ends == {Finish.STOP, Finish.LENGTH}


def test_a_stream_brings_each_token_once_and_the_end_with_the_last(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    engine = Engine(model, words, max_tokens_in_cache=16 * PAGE)
    found = {}
    for is_streaming in (True, False):
        session = engine.open(is_streaming=is_streaming)
        for request in requests():
            session.add(request)
        found[is_streaming] = finish(session)
    assert found[True].keys() == found[False].keys()
    for place, events in found[True].items():
        (whole,) = found[False][place]
        assert all(len(event.token_ids) == len(event.logprobs) == 1 for event in events)
        assert [event.finish for event in events[:-1]] == [None] * (len(events) - 1)
        assert text_of(events) == (whole.token_ids, whole.finish)
        assert [event.logprobs[0] for event in events] == pytest.approx(whole.logprobs, abs=1e-6)


def test_requests_may_come_while_others_speak(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    engine = Engine(model, words, max_slots=3)
    session, found, coming = engine.open(), {}, requests()
    session.add(coming[0])
    for request in coming[1:]:
        for _ in range(4):
            gather(session.step(), found)
        session.add(request)
    gather([event for events in finish(session).values() for event in events], found)
    for number, request in enumerate(coming):
        assert [text_of(found[number, sample]) for sample in range(2)] == alone(engine, request)
    assert session.step() == []


@pytest.mark.parametrize("pages", [16, 200])
def test_cancelling_leaves_the_others_as_they_are(
    words: PreTrainedTokenizerFast, model: PreTrainedModel, pages: int
) -> None:
    engine = Engine(model, words, max_slots=6, max_tokens_in_cache=pages * PAGE)
    session, found = engine.open(), {}
    for request in requests():
        session.add(request)
    for step in range(9):
        gather(session.step(), found)
        if step in (0, 4, 8):
            session.cancel(step // 2)  # requests 0, 2, 4: live, live or waiting, waiting
            seen = {place: len(events) for place, events in found.items()}
    gather([event for events in finish(session).values() for event in events], found)
    for number, request in enumerate(requests()):
        if number % 2:
            assert [text_of(found[number, sample]) for sample in range(2)] == alone(engine, request)
        else:
            assert all(len(found.get((number, s), [])) == seen.get((number, s), 0) for s in range(2))
    session.cancel(77)
    assert session.step() == []
    assert session.is_idle


def test_one_may_cancel_everything_right_after_something_ended(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    session = Engine(model, words).open()
    number = session.add(Request(prompt=(5, 6), sampling=Sampling(max_new_tokens=3), key=1, samples=4))
    for _ in range(3):
        session.step()
    session.cancel(number)
    assert session.is_idle
    assert session.step() == []
    session.add(Request(prompt=(5, 6), sampling=Sampling(max_new_tokens=3), key=1))
    assert len(finish(session)) == 1


def test_a_session_with_the_engine_s_keys_says_what_the_engine_says(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    engine = Engine(model, words)
    (said,) = engine.sample(prompts(1), 3, sampling=KINDS[0], address=ADDRESS)
    session = engine.open(is_streaming=False)
    jobs = [Job(group=0, sample=i, key=key(ADDRESS, prompts(1)[0].id, i)) for i in range(3)]
    session.add_jobs(engine.encode(prompts(1)[0]), jobs, KINDS[0])
    found = finish(session)
    assert [text_of(found[0, i])[0] for i in range(3)] == [one.token_ids for one in said]


def test_the_samples_of_a_request_differ_and_its_key_repeats_them(
    words: PreTrainedTokenizerFast, model: PreTrainedModel
) -> None:
    engine = Engine(model, words)
    first = Request(prompt=(5, 6, 7), sampling=KINDS[0], key=2**64 - 1, samples=3)
    texts = alone(engine, first)
    assert len(set(texts)) == 3
    assert alone(engine, first) == texts
    other = Request(prompt=(5, 6, 7), sampling=KINDS[0], key=8, samples=3)
    assert not set(alone(engine, other)) & set(texts)


def test_what_cannot_fit_is_refused_when_it_is_added(words: PreTrainedTokenizerFast, model: PreTrainedModel) -> None:
    session = Engine(model, words, max_tokens_in_cache=4 * PAGE).open()
    with pytest.raises(ModelError, match="Z207"):
        session.add(Request(prompt=(1,) * 100, sampling=Sampling(max_new_tokens=29), key=0))
    # 34 + 32 - 1 = 65 tokens need 5 pages, 33 + 32 - 1 = 64 need 4.
    with pytest.raises(ConfigError, match="at least 80"):
        session.add(Request(prompt=(1,) * 34, sampling=Sampling(max_new_tokens=32), key=0))
    session.add(Request(prompt=(1,) * 33, sampling=Sampling(max_new_tokens=32), key=0, samples=2))
    with pytest.raises(ValueError):
        session.add(Request(prompt=(), sampling=KINDS[0], key=0))
    with pytest.raises(ValueError):
        session.add(Request(prompt=(1,), sampling=KINDS[0], key=0, samples=0))
    assert len(finish(session)) == 2
    with pytest.raises(ConfigError, match="Z110"):
        Engine(model, words, max_tokens_in_cache=PAGE - 1).open()


@pytest.mark.parametrize("follows", [True, False])
def test_a_session_ends_with_its_weights(words: PreTrainedTokenizerFast, model: PreTrainedModel, follows: bool) -> None:
    engine = Engine(model, words)
    session = engine.open()
    session.add(requests()[0])
    session.step()
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    if follows:
        engine.follow(model, version=1)
    with pytest.raises(RunError, match="Z317"):
        session.step()
