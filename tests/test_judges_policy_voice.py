"""The local sampler as a judge's voice: plumbing only, a network without knowledge judges nothing."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from judge_server import verdict_json
from policy_world import qwen, tokenizer
from transformers import PreTrainedModel

from zero2r1.core.errors import ModelError, RunError
from zero2r1.core.random import Address
from zero2r1.core.types import Completion, Finish, Message, Prompt, Verdict
from zero2r1.policy.base import Policy, Sampling
from zero2r1.policy.engine import Engine
from zero2r1.policy.voice import PolicyVoice
from zero2r1.rewards.judges.correctness import CorrectnessJudge
from zero2r1.rewards.judges.voice import JudgeUnavailable, Voice

ASK = (Message(role="user", content="2 + 2"),)


class Obedient:
    """A policy that says what the judge wants to hear, one call at a time."""

    version = 0
    weights_hash = "0" * 16

    def __init__(self, *, finish: Finish = Finish.STOP, problem: Exception | None = None, before: str = "") -> None:
        self.finish, self.problem, self.before = finish, problem, before
        self.at_once = self.most_at_once = 0

    def sample(
        self, prompts: Sequence[Prompt], samples_per_prompt: int, *, sampling: Sampling, address: Address
    ) -> list[list[Completion]]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(0.001)  # long enough for another thread to come in
        if self.problem:
            raise self.problem
        groups = [[self._say(prompt, i) for i in range(samples_per_prompt)] for prompt in prompts]
        self.at_once -= 1
        return groups

    def follow(self, model: PreTrainedModel, *, version: int) -> None:
        raise NotImplementedError

    def _say(self, prompt: Prompt, sample: int) -> Completion:
        return Completion(
            prompt=prompt, sample=sample, prompt_token_ids=(1,), token_ids=(2,), logprobs=(-1.0,),
            text=self.before + verdict_json(prompt.question, "correct"), finish=self.finish, policy_version=0,
            weights_hash=self.weights_hash,
        )  # fmt: skip


def judge_of(policy: Policy, *, prefilled: bool = False) -> CorrectnessJudge:
    return CorrectnessJudge(PolicyVoice(policy, Sampling(max_new_tokens=8), prefilled=prefilled))


def test_a_policys_verdict_arrives_and_calls_come_one_at_a_time():
    policy = Obedient()
    judge = judge_of(policy)
    assert isinstance(judge.voice, Voice)
    with ThreadPoolExecutor(8) as pool:
        grades = list(pool.map(lambda number: judge.judge("q", "r", f"answer {number}"), range(40)))
    assert {grade.verdict for grade in grades} == {Verdict.RIGHT}
    assert policy.most_at_once == 1


def test_a_prefilled_reply_starts_inside_the_thinking():
    assert judge_of(Obedient(before="hm</think>"), prefilled=True).judge("q", "r", "a").verdict is Verdict.RIGHT
    assert judge_of(Obedient(), prefilled=True).judge("q", "r", "a").note == "the judge's thinking never ends"


def test_a_reply_cut_off_and_a_question_too_long_are_errors():
    cut = judge_of(Obedient(finish=Finish.LENGTH)).judge("q", "r", "a")
    assert (cut.verdict, cut.note) == (Verdict.ERROR, "the judge is unavailable: the reply was cut off at 8 tokens")
    long = judge_of(Obedient(problem=ModelError("Z207", "the prompt is too long"))).judge("q", "r", "a")
    assert (long.verdict, long.note) == (Verdict.ERROR, "the judge is unavailable: the prompt is too long")


def test_a_policy_that_cannot_speak_at_all_stops_the_run():
    with pytest.raises(RunError, match="Z317"):
        judge_of(Obedient(problem=RunError("Z317", "stale"))).judge("q", "r", "a")


def test_the_engine_speaks_the_same_for_the_same_seed():
    words = tokenizer()
    engine = Engine(qwen(words), words)
    voice = PolicyVoice(engine, Sampling(max_new_tokens=100))
    texts = voice.say(ASK, samples=3, seed=1)
    assert voice.say(ASK, samples=3, seed=1) == texts
    assert voice.say(ASK, samples=3, seed=2) != texts
    assert len(set(texts)) > 1
    assert engine.weights_hash in voice.name
    assert PolicyVoice(engine, Sampling(max_new_tokens=9)).name != voice.name
    with pytest.raises(JudgeUnavailable, match="1 tokens"):
        PolicyVoice(engine, Sampling(max_new_tokens=1)).say(ASK, samples=8)
    grade = CorrectnessJudge(voice).judge("q", "r", "an answer")
    assert grade.verdict is Verdict.ERROR, "the judge's question is longer than this network's context"
