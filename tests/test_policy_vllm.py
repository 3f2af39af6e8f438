"""The in-process vLLM policy against a stand-in: what travels over the border, lineage, and weights that are proved."""

import math
from types import SimpleNamespace

import pytest
import torch
from policy_world import ADDRESS, llama, prompts, qwen, tokenizer
from vllm_world import gap_of, policy, request

from zero2r1.core.errors import ConfigError, ModelError, RunError
from zero2r1.core.types import Finish
from zero2r1.models.load import weights_hash
from zero2r1.policy.base import Sampling
from zero2r1.policy.vllm import VllmPolicy, answer_of

SAMPLING = Sampling(max_new_tokens=6)


@pytest.fixture(scope="module")
def words():
    return tokenizer()


def change(model, factor: float = 1.01) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)


def draw(subject, count: int = 3, samples: int = 2, sampling: Sampling = SAMPLING, **more):
    return subject.sample(prompts(count), samples, sampling=sampling, address=ADDRESS, **more)


@pytest.mark.parametrize("family", [llama, qwen])
@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_tokens_and_logprobs_are_those_of_the_learners_weights(words, family, temperature):
    model = family(words)
    subject, llm = policy(model, words)
    groups = draw(subject, sampling=Sampling(max_new_tokens=6, temperature=temperature))
    assert [[one.sample for one in group] for group in groups] == [[0, 1]] * 3
    for group, prompt in zip(groups, prompts(3), strict=True):
        for one in group:
            assert one.prompt.id == prompt.id
            assert one.prompt_token_ids == subject.encode(prompt)
            assert gap_of(model, one, temperature=temperature or 1.0) < 1e-5
            assert (one.policy_version, one.weights_hash) == (0, weights_hash(model))
            ended = one.token_ids[-1] in subject.eos_ids
            assert one.finish is (Finish.STOP if ended else Finish.LENGTH)
            assert one.text == words.decode(one.token_ids[: -1 if ended else None], skip_special_tokens=False)
    assert len({parameters.seed for parameters in llm.seen}) == 6
    assert all(0 <= parameters.seed < 2**63 for parameters in llm.seen)


def test_a_call_is_repeatable_and_a_repeated_prompt_gets_other_samples(words):
    subject, llm = policy(llama(words), words)
    assert [[one.id for one in group] for group in draw(subject)] == [[one.id for one in g] for g in draw(subject)]
    [one], [two] = subject.sample(prompts(1) * 2, 1, sampling=SAMPLING, address=ADDRESS)
    assert llm.seen[-1].seed != llm.seen[-2].seed
    assert one.prompt.id == two.prompt.id


def test_end_tokens_and_stop_texts_are_sent_and_stay_in_the_response(words):
    model = llama(words, num_end_tokens=1)
    subject, llm = policy(model, words)
    plain = draw(subject, 1, 1)[0][0]
    stop = plain.text[1]
    said = draw(subject, 1, 1, Sampling(max_new_tokens=6, stop=(stop,)))[0][0]
    assert said.text.endswith(stop)
    assert said.finish is Finish.STOP
    sent = vars(llm.seen[-1])
    wanted = {
        "stop": [stop], "include_stop_str_in_output": True, "detokenize": True, "ignore_eos": True, "n": 1,
        "stop_token_ids": [words.eos_token_id], "logprobs": 0, "top_p": 1.0, "top_k": 0, "max_tokens": 6,
        "skip_special_tokens": False, "output_kind": "final",
    }  # fmt: skip
    assert {name: sent[name] for name in wanted} == wanted


def test_on_finished_gets_each_completion_as_it_ends_and_what_it_raises_ends_the_call(words):
    subject, llm = policy(llama(words), words)
    told = []
    groups = draw(subject, on_finished=told.append)
    # the stand-in ends the last request first
    assert [one.id for one in told] == [one.id for group in reversed(groups) for one in reversed(group)]

    def refuse(_):
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        draw(subject, on_finished=refuse)
    assert len(llm.aborted) == 5
    assert not llm.waiting
    assert len(draw(subject)) == 3


def test_nothing_to_say_asks_nothing(words):
    subject, llm = policy(llama(words), words)
    assert draw(subject, 0) == []
    assert draw(subject, 2, 0) == [[], []]
    assert llm.seen == []


def test_with_a_cut_tail_no_logprob_is_told(words):
    subject, _ = policy(llama(words), words)
    said = draw(subject, 1, 1, Sampling(max_new_tokens=4, top_p=0.9))[0][0]
    assert said.token_ids
    assert all(math.isnan(value) for value in said.logprobs)


def test_what_vllm_would_change_or_cannot_hold_is_refused(words):
    subject, _ = policy(llama(words), words, max_tokens=40)
    with pytest.raises(ConfigError, match=r"samples at 0\.01") as caught:
        draw(subject, sampling=Sampling(max_new_tokens=4, temperature=0.005))
    assert caught.value.code == "Z110"
    longest = max(len(subject.encode(prompt)) for prompt in prompts(3))
    draw(subject, sampling=Sampling(max_new_tokens=40 - longest))
    with pytest.raises(ModelError) as long:
        draw(subject, sampling=Sampling(max_new_tokens=41 - longest))
    assert long.value.code == "Z207"


def test_following_loads_once_a_change_and_forgets_cached_keys(words):
    model = llama(words)
    subject, llm = policy(model, words)
    first = draw(subject)
    held = subject.held_hash
    subject.follow(model, version=1)
    assert (llm.num_loads, llm.num_resets, subject.version) == (1, 1, 1)
    change(model, 1.3)
    subject.follow(model, version=2)
    assert (llm.num_loads, llm.num_resets) == (2, 2)
    assert subject.held_hash != held
    second = draw(subject)
    assert [one.logprobs for g in second for one in g] != [one.logprobs for g in first for one in g]
    assert gap_of(model, second[0][0]) < 1e-5
    assert second[0][0].policy_version == 2


def test_one_version_names_one_set_of_weights(words):
    model = llama(words)
    subject, _ = policy(model, words)
    draw(subject)
    change(model)
    with pytest.raises(RunError, match="two sets of weights") as caught:
        subject.follow(model, version=0)
    assert caught.value.code == "Z317"


class Skips(VllmPolicy):
    """A mutant: the first weights arrive, no later ones do."""

    num = 0

    def _load(self, tensors, dtype):
        self.num += 1
        if self.num == 1:
            super()._load(tensors, dtype)


def test_a_sampler_that_skips_an_update_is_caught_before_it_samples(words):
    model = llama(words)
    subject, _ = policy(model, words, kind=Skips)
    change(model)
    with pytest.raises(RunError, match="are not the learner's") as caught:
        subject.follow(model, version=1)
    assert caught.value.code == "Z317"
    with pytest.raises(RunError, match="no weights that were proved"):
        draw(subject)


@pytest.mark.parametrize(
    "name", ["model.layers.1.self_attn.k_proj.weight", "model.layers.0.mlp.up_proj.weight", "model.norm.weight"]
)
def test_one_tensor_that_does_not_arrive_is_named(words, name):
    model = llama(words)
    subject, llm = policy(model, words)
    change(model)
    llm.drops = name
    with pytest.raises(RunError, match="1 of ") as caught:
        subject.follow(model, version=1)
    assert name in caught.value.why


def test_a_stale_packed_head_of_a_tied_embedding_is_seen(words, monkeypatch):
    """What vLLM 0.32 does on a CPU: the embedding is new, the output head still multiplies with the old one."""
    model = llama(words)
    subject, _ = policy(model, words)
    change(model)
    monkeypatch.setattr("zero2r1.policy.vllm.pack_again", lambda network: None)
    with pytest.raises(RunError, match="1 of ") as caught:
        subject.follow(model, version=1)
    assert "lm_head.weight" in caught.value.why


def test_a_cache_that_is_not_let_go_is_an_error(words):
    model = llama(words)
    subject, llm = policy(model, words)
    change(model)
    llm.lets_go = False
    with pytest.raises(RunError, match="old weights"):
        subject.follow(model, version=1)


def test_bfloat16_holds_the_rounded_weights(words):
    model = llama(words)
    exact, rounded = policy(model, words)[0], policy(model, words, dtype=torch.bfloat16)[0]
    assert exact.weights_hash == rounded.weights_hash
    assert exact.held_hash != rounded.held_hash


def test_numbers_that_are_not_finite_and_strange_ends_are_errors(words):
    subject, llm = policy(llama(words), words)
    llm.noise = math.nan
    with pytest.raises(RunError, match="not finite") as caught:
        draw(subject, 1, 1)
    assert caught.value.code == "Z409"
    llm.noise, llm.finish_reason = 0.0, "abort"
    with pytest.raises(RunError, match="'abort'"):
        draw(subject, 1, 1)
    short = SimpleNamespace(token_ids=[1, 2], logprobs=[{1: SimpleNamespace(logprob=-1.0)}], finish_reason="stop")
    with pytest.raises(RunError, match="1 log-probabilities for 2 tokens"):
        answer_of(request(1), short)


def test_a_tokenizer_without_a_template_is_refused(words):
    bare = tokenizer()
    bare.chat_template = None
    with pytest.raises(ModelError) as caught:
        draw(policy(llama(words), bare)[0])
    assert caught.value.code == "Z205"
