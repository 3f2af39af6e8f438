"""The server policy against a stand-in for HTTP: tokens in and out, probes, refusals, and no word of the key."""

import json
import threading

import pytest
import torch
from policy_world import ADDRESS, llama, prompts, tokenizer
from pydantic import ValidationError
from vllm_world import gap_of, speak

from zero2r1.core.errors import ConfigError, ModelError, RunError
from zero2r1.models.load import weights_hash
from zero2r1.policy.base import Sampling
from zero2r1.policy.sampler_config import SamplerConfig, ServerConfig
from zero2r1.policy.vllm_server import VllmServerPolicy, own_logprobs
from zero2r1.rewards.judges.wire import Reply, WireError

SECRET = "a-long-secret-key"
CONFIG = ServerConfig(base_url="http://127.0.0.1:8000/v1", model="m", concurrency=2, max_tokens=128)


@pytest.fixture(scope="module")
def words():
    return tokenizer()


class Server:
    """Completions from a model, as vLLM's interface gives them. `raw`: log-probabilities before the temperature."""

    def __init__(self, model, words, *, raw: bool = False) -> None:
        self.model, self.words, self.raw = model, words, raw
        self.plain = llama(words)
        self.plain.load_state_dict(model.state_dict())
        self.plain.set_attn_implementation("eager")
        self.bodies: list[dict] = []
        self.headers: dict = {}
        self.failures: list[object] = []
        self.lock = threading.Lock()
        self.spoil = lambda choice: choice

    def __call__(self, url, body, headers, *, timeout_s, max_bytes):
        assert url == "http://127.0.0.1:8000/v1/completions"
        with self.lock:
            self.headers = headers
            if self.failures:
                failure = self.failures.pop(0)
                if isinstance(failure, Exception):
                    raise failure
                return reply(failure, {"error": f"no, {SECRET}"})
            asked = json.loads(body)
            self.bodies.append(asked)
            return reply(200, {"choices": [self.spoil(self.answer(asked))]})

    def answer(self, asked):
        prompt = asked["prompt"]
        said, logprobs, finish = speak(self.plain, self.words, prompt, asked)
        whole = (*prompt, *said)
        if self.raw:
            logprobs = own_logprobs(self.model, whole, temperature=1.0)[len(prompt) - 1 :].tolist()
        choice = {"token_ids": said, "logprobs": {"token_logprobs": logprobs}, "finish_reason": finish}
        if "prompt_logprobs" in asked:
            known = own_logprobs(self.model, prompt, temperature=1.0).tolist()
            entries = [{str(t): {"logprob": v}} for t, v in zip(prompt[1:], known, strict=True)]
            choice["prompt_logprobs"] = [None, *entries]
        return choice


def reply(status, content) -> Reply:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Reply(status=status, retry_after="", content_type="application/json", body=body)


def serve(words, model=None, *, config=CONFIG, **about):
    model = model or llama(words)
    server, waits = Server(model, words, **about), []
    return VllmServerPolicy(model, words, config, send=server, sleep=waits.append), server, waits


def draw(subject, sampling=None, count=2):
    return subject.sample(prompts(count), 2, sampling=sampling or Sampling(max_new_tokens=4), address=ADDRESS)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_samples_carry_tokens_logprobs_and_lineage(words, temperature):
    model = llama(words)
    subject, server, _ = serve(words, model)
    groups = draw(subject, Sampling(max_new_tokens=4, temperature=temperature))
    assert [[one.sample for one in group] for group in groups] == [[0, 1]] * 2
    for one in (one for group in groups for one in group):
        assert gap_of(model, one, temperature=temperature or 1.0) < 1e-5
        assert (one.weights_hash, one.policy_version) == (weights_hash(model), 0)
    sent = server.bodies[-1]
    assert sent["prompt"] == list(groups[1][0].prompt_token_ids)
    assert (sent["model"], sent["n"], sent["stop_token_ids"]) == ("m", 1, sorted(subject.eos_ids))
    assert len({body["seed"] for body in server.bodies if "prompt_logprobs" not in body}) == 4


def test_changed_weights_cannot_be_followed_and_the_same_ones_can(words):
    model = llama(words)
    subject, _, _ = serve(words, model)
    subject.follow(model, version=3)
    assert draw(subject)[0][0].policy_version == 3
    with torch.no_grad():
        model.model.norm.weight.mul_(1.01)
    with pytest.raises(RunError, match="cannot follow") as caught:
        subject.follow(model, version=4)
    assert caught.value.code == "Z317"
    assert "sampler.backend=vllm" in caught.value.fix


def test_a_server_with_other_weights_is_refused_at_once(words):
    model, other = llama(words), llama(words)
    with torch.no_grad():
        other.model.embed_tokens.weight.mul_(1.5)
    with pytest.raises(RunError, match="disagree") as caught:
        VllmServerPolicy(model, words, CONFIG, send=Server(other, words), sleep=lambda _: None)
    assert "it holds other weights" in caught.value.why


def test_a_server_that_is_restarted_with_other_weights_is_refused_before_the_next_call(words):
    subject, server, _ = serve(words)
    draw(subject)
    with torch.no_grad():
        for network in (server.plain, server.model):
            network.model.embed_tokens.weight.mul_(1.5)
    subject._model = llama(words)  # the learner's own stays as it was
    with pytest.raises(RunError, match="disagree"):
        draw(subject)


def test_logprobs_from_before_the_temperature_are_refused_where_there_is_one(words):
    subject, _, _ = serve(words, raw=True)
    draw(subject)
    with pytest.raises(RunError, match="its own response") as caught:
        draw(subject, Sampling(max_new_tokens=4, temperature=0.4))
    assert "before the temperature" in caught.value.why
    assert "--logprobs-mode processed_logprobs" in caught.value.fix


def test_failures_that_pass_are_tried_again_and_others_are_not(words):
    subject, server, waits = serve(words)
    server.failures = [WireError("no connection"), 503, 429]
    draw(subject)
    assert len(waits) == 3
    assert waits[0] < waits[1] < waits[2]
    server.failures = [401]
    with pytest.raises(ModelError, match="gives no completions") as caught:
        draw(subject)
    assert (caught.value.code, len(waits)) == ("Z200", 3)
    server.failures = [500] * 9
    with pytest.raises(ModelError, match="gives no completions") as gone:
        draw(subject)
    assert "4 tries" in gone.value.why


def test_the_key_travels_in_its_header_and_appears_in_no_error(words, monkeypatch):
    monkeypatch.setenv("VLLM_TEST_KEY", SECRET)
    subject, server, _ = serve(words, config=CONFIG.model_copy(update={"key_env": "VLLM_TEST_KEY"}))
    assert server.headers["Authorization"] == f"Bearer {SECRET}"
    server.failures = [401]
    with pytest.raises(ModelError) as caught:
        draw(subject)
    assert SECRET not in f"{caught.value} {caught.value.__cause__}"
    monkeypatch.delenv("VLLM_TEST_KEY")
    with pytest.raises(ConfigError) as missing:
        serve(words, config=CONFIG.model_copy(update={"key_env": "VLLM_TEST_KEY"}))
    assert missing.value.code == "Z105"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda choice: {**choice, "token_ids": None},
        lambda choice: {**choice, "token_ids": [1, 2, 3, 4, 5, 6]},
        lambda choice: {**choice, "finish_reason": "abort"},
        lambda choice: {**choice, "logprobs": {}},
        lambda choice: [],
    ],
)
def test_a_reply_of_another_shape_is_named(words, spoil):
    subject, server, _ = serve(words)
    real = server.answer
    server.spoil = spoil
    with pytest.raises(ModelError, match="not that of vLLM's") as caught:
        draw(subject)
    assert caught.value.code == "Z200"
    server.spoil, server.answer = lambda choice: choice, real
    assert draw(subject)


def test_settings_name_a_server_and_follow_the_rules_of_every_address():
    with pytest.raises(ValidationError, match=r"needs server\.base_url"):
        SamplerConfig(backend="vllm_server")
    with pytest.raises(ValidationError, match="http:// to another machine"):
        ServerConfig(base_url="http://192.0.2.1:8000/v1", model="m")
    assert SamplerConfig().backend == "engine"
