"""The endpoint's voice against a server that fails in every way: always a reason, no key anywhere, no endless wait."""

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from judge_server import Canned, chat, serving

from zero2r1.core.errors import ConfigError
from zero2r1.core.types import Message
from zero2r1.rewards.judges.backoff import backoff_s, retry_after_s
from zero2r1.rewards.judges.config import EndpointConfig
from zero2r1.rewards.judges.endpoint import MAX_REPLY_BYTES, EndpointVoice
from zero2r1.rewards.judges.voice import JudgeUnavailable, Voice

ASK = (Message(role="user", content="Is it so?"),)
KEY = "sk-very/secret+0123456789abcdef"


def failing(*replies: Canned, **settings: object) -> tuple[str, int, list[float]]:
    """The reason of a failure, the number of requests, and the waits between them."""
    waits: list[float] = []
    with serving(*replies) as server:
        voice = EndpointVoice(server.config(**{"retries": 0, **settings}), sleep=waits.append)
        with pytest.raises(JudgeUnavailable) as caught:
            voice.say(ASK)
        return str(caught.value), len(server.requests), waits


def test_a_reply_comes_back_and_the_request_is_as_the_settings_say():
    with serving(chat("yes")) as server:
        voice = EndpointVoice(server.config(temperature=0.5, max_tokens=7, extra_body={"top_k": 3}))
        assert isinstance(voice, Voice)
        assert voice.say(ASK, seed=1) == ["yes"]
        [request] = server.requests
    assert server.paths == ["/v1/chat/completions"]
    assert request.pop("seed") < 2**31
    assert request == {
        "model": "fake", "messages": [{"role": "user", "content": "Is it so?"}], "stream": False, "temperature": 0.5,
        "max_tokens": 7, "top_k": 3,
    }  # fmt: skip
    assert "Authorization" not in server.headers[0]


def test_settings_that_are_off_are_not_sent():
    with serving(chat("yes")) as server:
        settings = {"temperature": None, "send_seed": False, "max_tokens_key": "max_completion_tokens"}
        EndpointVoice(server.config(**settings)).say(ASK)
    assert set(server.requests[0]) == {"model", "messages", "stream", "max_completion_tokens"}


def test_samples_are_requests_of_their_own_with_seeds_of_their_own():
    with serving(chat("one"), chat("two"), chat("three")) as server:
        voice = EndpointVoice(server.config())
        assert voice.say(ASK, samples=3, seed=5) == ["one", "two", "three"]
        seeds = [request["seed"] for request in server.requests]
        voice.say(ASK, samples=1, seed=5)
        voice.say(ASK, samples=1, seed=6)
    assert len(set(seeds)) == 3
    assert server.requests[3]["seed"] == seeds[0]
    assert server.requests[4]["seed"] != seeds[0]


def test_content_in_parts_is_one_text():
    parts = [{"type": "text", "text": "y"}, {"type": "image"}, {"type": "text", "text": "es"}]
    with serving(chat(parts)) as server:
        assert EndpointVoice(server.config()).say(ASK) == ["yes"]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Canned(b"<html>hello</html>"), "no JSON"),
        (Canned(b'{"choices": [{"message": {"content": "to'), "no JSON"),
        (Canned(b"[" * 100_000), "no JSON"),
        (Canned(b"\xff\xfe\x00"), "no JSON"),
        (Canned(b"{}"), "another shape"),
        (Canned(b"null"), "another shape"),
        (Canned(b'{"choices": []}'), "another shape"),
        (Canned(b'{"choices": [3]}'), "another shape"),
        (Canned(b'{"choices": [{"message": null}]}'), "another shape"),
        (chat(None), "empty"),
        (chat("  \n"), "empty"),
        (chat(7), "empty"),
        (chat("it is corr", finish="length"), "did not end by itself: finish_reason 'length'"),
        (chat("it is", finish="content_filter"), "content_filter"),
        (Canned(b'data: {"choices": []}\n\n'), "streams"),
        (Canned(b": x", headers={"Content-Type": "text/event-stream; charset=utf-8"}), "streams"),
        (Canned(b"x" * (MAX_REPLY_BYTES + 1)), f"longer than {MAX_REPLY_BYTES} bytes"),
        (Canned(b"{", announced=4000), "ended early"),
        (Canned(b'{"error": {"message": "no such\\nmodel"}}', status=404), "status 404: no such model"),
        (Canned(b"plain words", status=400), "status 400: plain words"),
        (Canned(b"", status=307, headers={"Location": "http://192.0.2.1/x"}), "redirects are not followed"),
        (Canned(b"{", headers={"Content-Encoding": "gzip"}), "no JSON"),
    ],
)
def test_each_failure_has_its_reason(reply: Canned, reason: str):
    said, num_requests, _ = failing(reply)
    assert reason in said
    assert num_requests == 1


def test_a_redirect_is_not_followed_even_to_the_same_host():
    with serving(chat("never seen")) as other:
        target = Canned(status=302, headers={"Location": f"{other.base_url}/chat/completions"})
        assert "status 302" in failing(target, retries=3)[0]
        assert other.requests == []


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(status: int):
    waits: list[float] = []
    with serving(Canned(status=status), Canned(status=status), chat("at last")) as server:
        voice = EndpointVoice(server.config(retries=2, base_wait_s=2.0), sleep=waits.append)
        assert voice.say(ASK) == ["at last"]
    assert len(server.requests) == 3
    assert server.requests[0] == server.requests[2]
    assert 1.0 <= waits[0] < 2.0 <= waits[1] < 4.0  # between half and all of 2 and of 4 seconds


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_not_tried_again(status: int):
    assert failing(Canned(status=status), retries=5)[1:] == (1, [])


def test_tries_end():
    said, num_requests, waits = failing(Canned(b"busy", status=503), retries=3)
    assert (num_requests, len(waits)) == (4, 3)
    assert said == "status 503: busy; 4 tries"


def test_the_servers_wait_is_honoured_and_an_endless_one_is_not():
    refusal = Canned(b"slow down", status=429, headers={"Retry-After": "17"})
    assert failing(refusal, retries=2)[2] == [17.0, 17.0]
    said, num_requests, waits = failing(refusal, retries=2, max_wait_s=16.0)
    assert (num_requests, waits) == (1, [])
    assert "wait of 17 s" in said


def test_nobody_listens():
    with serving(chat("x")) as server:
        config = server.config(retries=1)
    waits: list[float] = []
    with pytest.raises(JudgeUnavailable, match=r"ConnectionRefusedError.*; 2 tries"):
        EndpointVoice(config, sleep=waits.append).say(ASK)
    assert len(waits) == 1


def test_a_server_without_a_certificate_is_not_spoken_to():
    with serving(chat("x")) as server:
        config = server.config(retries=0, base_url=server.base_url.replace("http:", "https:"))
        with pytest.raises(JudgeUnavailable, match="SSLError"):
            EndpointVoice(config).say(ASK)
    assert server.requests == []


@pytest.mark.parametrize(
    "reply",
    [chat("late", delay_s=3.0), chat("byte by byte", drip_s=0.05), chat("x", drip_s=0.05, headers={"Connection": "x"})],
)
def test_the_deadline_is_for_the_whole_reply(reply: Canned):
    began_s = time.monotonic()
    said, _, _ = failing(reply, timeout_s=0.4)
    assert "no whole reply within 0.4 s" in said
    assert time.monotonic() - began_s < 2.5


def test_no_more_requests_at_a_time_than_allowed():
    with serving(chat("yes", delay_s=0.05)) as server:
        voice = EndpointVoice(server.config(concurrency=3))
        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(lambda seed: voice.say(ASK, seed=seed), range(24))) == [["yes"]] * 24
    assert server.most_at_once == 3


def test_waiting_for_another_try_holds_up_nobody():
    is_waiting, may_go_on = threading.Event(), threading.Event()

    def wait(seconds: float) -> None:
        is_waiting.set()
        assert may_go_on.wait(10.0)

    with serving(Canned(status=503), chat("yes")) as server, ThreadPoolExecutor(1) as pool:
        voice = EndpointVoice(server.config(concurrency=1), sleep=wait)
        first = pool.submit(voice.say, ASK)
        assert is_waiting.wait(10.0)
        assert voice.say(ASK) == ["yes"]  # would hang if the one turn were taken
        may_go_on.set()
        assert first.result(10.0) == ["yes"]


@pytest.mark.parametrize("place", ["environment", "file"])
def test_the_key_travels_in_one_header_and_is_cut_out_of_all_that_comes_back(place, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("JUDGE_KEY", KEY)
    (tmp_path / "key").write_text(f"{KEY}\n")
    where = {"key_env": "JUDGE_KEY"} if place == "environment" else {"key_file": str(tmp_path / "key")}
    padding = "x" * 190  # the key would be cut in two at the excerpt's end
    replies = [
        Canned(json.dumps({"error": {"message": f"{padding}{KEY} is wrong"}}).encode(), status=401),
        Canned(f"not JSON, but {KEY}".encode().replace(b"/", b"\\/"), status=500),
        chat("x", finish="y" * 30 + KEY),  # and at the end of what is shown of this
        Canned((" " * 1990 + KEY + " is wrong").encode(), status=401),
        chat(f"your key is {KEY}"),
    ]
    caplog.set_level(logging.DEBUG)
    with serving(*replies) as server:
        voice = EndpointVoice(server.config(retries=0, **where))
        texts = [voice.name, repr(voice), repr(vars(voice)), voice.config.model_dump_json()]
        for _ in replies[:-1]:
            with pytest.raises(JudgeUnavailable) as caught:
                voice.say(ASK)
            assert caught.value.__cause__ is None
            texts.append(str(caught.value))
        texts += voice.say(ASK)
    assert texts[-1] == "your key is [key]"
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
    for text in [*texts, caplog.text, json.dumps(server.requests)]:
        assert KEY[:9] not in text
        assert KEY[-9:] not in text


def test_a_placeholder_for_a_key_is_not_cut_out_of_a_reply(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "correct")
    with serving(chat('{"correctness": "correct"}')) as server:
        assert EndpointVoice(server.config(key_env="JUDGE_KEY")).say(ASK) == ['{"correctness": "correct"}']


@pytest.mark.parametrize("value", ["", "  ", "two words", "line\r\nX-Injected: 1", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_without_being_shown(value, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", value)
    with pytest.raises(ConfigError, match="JUDGE_KEY") as caught:
        EndpointVoice(EndpointConfig(base_url="https://judge.example/v1", model="m", key_env="JUDGE_KEY"))
    assert not value.strip() or value not in str(caught.value)


def test_a_missing_key_is_told_at_the_start(monkeypatch, tmp_path):
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    for where in ({"key_env": "JUDGE_KEY"}, {"key_file": str(tmp_path / "none")}):
        with pytest.raises(ConfigError, match="Z105"):
            EndpointVoice(EndpointConfig(base_url="https://judge.example/v1", model="m", **where))


def test_the_name_tells_settings_apart():
    config = EndpointConfig(base_url="https://judge.example", model="m")
    changes = [{}, {"model": "n"}, {"temperature": 1.0}, {"max_tokens": 5}, {"extra_body": {"a": 1}}]
    names = [EndpointVoice(config.model_copy(update=change)).name for change in changes]
    assert len(set(names)) == len(names)
    assert EndpointVoice(config.model_copy(update={"timeout_s": 1.0, "retries": 0})).name == names[0]


def test_the_wait_grows_to_its_cap():
    # u = 0.5: three quarters of min(60, 2 * 2^n) = 2, 4, 8, ..., 64 -> 60
    waits = [backoff_s(attempt, 0.5, base_s=2.0, cap_s=60.0) for attempt in (0, 1, 2, 5, 5000)]
    assert waits == [1.5, 3.0, 6.0, 45.0, 45.0]
    assert backoff_s(0, 0.0, base_s=2.0, cap_s=60.0) == 1.0


def test_retry_after_is_a_number_or_a_date():
    now = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert retry_after_s("120", now) == 120.0
    assert retry_after_s("1.5", now) == 1.5
    assert retry_after_s("Thu, 02 Jan 2025 03:05:05 GMT", now) == 60.0
    assert retry_after_s("Thu, 02 Jan 2025 03:05:05 -0000", now) == 60.0
    assert retry_after_s("Thu, 02 Jan 2025 03:00:00 GMT", now) == 0.0
    for nonsense in ("", "soon", "-5", "9" * 5000, "Thu, 99 Foo 99999999999999 99:99:99 GMT", "NaN", "\x00"):
        assert retry_after_s(nonsense, now) is None
