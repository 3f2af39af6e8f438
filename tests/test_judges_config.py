"""The judges' settings: what is refused, what is taken, and that each explains itself."""

import pytest
from pydantic import ValidationError

from zero2r1.core.config import Document, describe, validate, walk
from zero2r1.rewards.judges.config import EndpointConfig, JudgeConfig, PreferenceConfig, is_loopback


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"base_url": "http://judge.example/v1"}, "allow_plain_http"),
        ({"base_url": "http://127.0.0.1.judge.example/v1"}, "allow_plain_http"),
        ({"base_url": "ftp://judge.example"}, "https://"),
        ({"base_url": "judge.example/v1"}, "https://"),
        ({"base_url": "https://me:pass@judge.example/v1"}, "key_env"),
        ({"base_url": "https://judge.example/v1?key=1"}, "no '\\?'"),
        ({"base_url": "https://judge.example/v1 x"}, "printable"),
        ({"base_url": "https://judge.example:99999/v1"}, "ort"),
        ({"extra_body": {"model": "other"}}, "model cannot be set here"),
        ({"key_env": "sk-0123"}, "pattern"),
        ({"key_env": "A", "key_file": "b"}, "both set"),
        ({"retires": 3}, "extra"),
    ],
)
def test_settings_that_are_wrong_are_refused(settings, reason):
    with pytest.raises(ValidationError, match=reason):
        EndpointConfig(**{"base_url": "https://judge.example/v1", "model": "m", **settings})


def test_settings_that_are_right_are_taken():
    for base_url in ("http://localhost:8000/v1", "http://127.9.9.9/v1", "http://[::1]:80/v1", "https://judge.example"):
        assert EndpointConfig(base_url=base_url, model="m").base_url == base_url
    assert EndpointConfig(base_url="http://judge.example", model="m", allow_plain_http=True).concurrency == 8
    assert JudgeConfig(base_url="https://judge.example", model="m").kind == "endpoint"
    assert not is_loopback("192.168.0.1")


def test_the_settings_explain_themselves():
    assert "Retry-After" in describe(JudgeConfig, "max_wait_s").doc
    assert all(info.doc for model in (JudgeConfig, PreferenceConfig) for info in walk(model) if info.path != "kind")


def test_a_recipe_can_say_them():
    extra = {"top_k": 3, "x": {}}
    data = {"base_url": "https://judge.example/v1", "model": "m", "temperature": None, "extra_body": extra}
    config = validate(JudgeConfig, Document(data))
    assert (config.temperature, config.extra_body) == (None, extra)


def test_votes_must_suffice():
    with pytest.raises(ValidationError, match="min_votes is at most votes"):
        PreferenceConfig(votes=2)
