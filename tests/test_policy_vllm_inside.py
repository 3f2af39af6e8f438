"""The real vLLM, in the environment that has it: agreement, weights that follow and are proved, three GRPO updates.

`make slow` runs this file through `test_policy_vllm_real.py`; where vLLM is missing it is skipped.
"""

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest
import torch

from zero2r1.core.errors import RunError
from zero2r1.core.random import Address
from zero2r1.core.types import AnswerKind, Finish, Message, Prompt, Score, Verdict
from zero2r1.models.fetch import is_fetched
from zero2r1.models.load import load_model, load_tokenizer, weights_hash
from zero2r1.policy.base import Sampling
from zero2r1.policy.sampler_config import VllmConfig
from zero2r1.policy.vllm import open_vllm
from zero2r1.policy.vllm_server import own_logprobs

MODEL = "smollm2-135m"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here"),
    pytest.mark.skipif(not is_fetched(MODEL), reason=f"zero2r1 models get {MODEL}"),
]
QUESTIONS = ("What is the capital of France?", "What is 17 + 25?", "Tell me of a cat.", "Why is the sky blue?")
ADDRESS = Address(seed=1, stage="test", step=0)


def asked(text: str) -> Prompt:
    return Prompt(
        messages=(Message(role="user", content=text),), reference="1", gold="1", answer_kind=AnswerKind.NUMBER,
        domain="test", language="en",
    )  # fmt: skip


PROMPTS = [asked(text) for text in QUESTIONS]


def config(dtype: str) -> VllmConfig:
    return VllmConfig.model_validate({"dtype": dtype, "max_tokens": 256, "cache_gib": 1.0, "max_slots": 16})


def gaps(model, groups, temperature: float) -> torch.Tensor:
    """[N] difference to the float32 model's own log-probabilities, in nats."""
    found = []
    for one in (one for group in groups for one in group):
        own = own_logprobs(model, one.prompt_token_ids + one.token_ids, temperature=temperature)
        found.append((own[len(one.prompt_token_ids) - 1 :] - torch.tensor(one.logprobs)).abs())
    return torch.cat(found)


def change(model, factor: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)


# Measured on this model: mean 6e-6 and 0.03 nats. The bounds leave room for another processor.
@pytest.mark.parametrize(("dtype", "mean", "largest"), [("float32", 1e-4, 1e-3), ("bfloat16", 0.05, 0.6)])
def test_samples_agree_follow_and_are_proved(dtype, mean, largest):
    model, words = load_model(MODEL), load_tokenizer(MODEL)
    with open_vllm(model, words, config(dtype)) as policy:
        for temperature in (1.0, 0.7):
            sampling = Sampling(max_new_tokens=48, temperature=temperature)
            told = []
            groups = policy.sample(PROMPTS, 2, sampling=sampling, address=ADDRESS, on_finished=told.append)
            found = gaps(model, groups, temperature)
            print(f"{dtype} temperature {temperature}: gap mean {found.mean():.2e}, max {found.max():.2e}")
            assert found.mean() < mean
            assert found.max() < largest
            assert {one.id for one in told} == {one.id for group in groups for one in group}
            again = policy.sample(PROMPTS, 2, sampling=sampling, address=ADDRESS)
            assert [one.token_ids for g in groups for one in g] == [one.token_ids for g in again for one in g]
        _stop_texts(policy)
        before = policy.held_hash
        change(model, 1.05)
        policy.follow(model, version=1)
        assert policy.held_hash != before
        moved = policy.sample(PROMPTS, 2, sampling=sampling, address=ADDRESS)
        assert [one.token_ids for g in groups for one in g] != [one.token_ids for g in moved for one in g]
        assert gaps(model, moved, 0.7).mean() < mean
        assert moved[0][0].weights_hash == weights_hash(model)
        _refuses_stale_weights(policy, model)
        assert listening_beyond_loopback() == []


def _stop_texts(policy) -> None:
    [[one]] = policy.sample(PROMPTS[:1], 1, sampling=Sampling(max_new_tokens=48, stop=("a",)), address=ADDRESS)
    assert one.finish is Finish.STOP
    assert "a" in one.text
    [[greedy]] = policy.sample(PROMPTS[:1], 1, sampling=Sampling(max_new_tokens=4, temperature=0.0), address=ADDRESS)
    assert len(greedy.logprobs) == 4


def _refuses_stale_weights(policy, model) -> None:
    """Two mutants: no update at all, and vLLM's own update without the packing that it forgets."""
    change(model, 1.01)
    load, policy._load = policy._load, lambda tensors, dtype: None
    with pytest.raises(RunError, match=r"tensors in the sampler are not the learner's") as caught:
        policy.follow(model, version=2)
    assert caught.value.code == "Z317"
    policy._load = load
    policy.follow(model, version=2)
    change(model, 1.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("zero2r1.policy.vllm.pack_again", lambda network: None)
        with pytest.raises(RunError) as head:
            policy.follow(model, version=3)
    assert "lm_head.weight" in head.value.why


def listening_beyond_loopback() -> list[str]:
    """Sockets of this process that listen on another address than loopback (Linux)."""
    links = Path("/proc/self/fd")
    own = {str(link.readlink()) for link in links.iterdir() if link.is_symlink()}
    loopback = ("0100007F", "0" * 24 + "01000000", "0" * 16 + "FFFF00000100007F")
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            is_listening, inode = state == "0A", rest[5]
            if is_listening and f"socket:[{inode}]" in own and local.split(":")[0] not in loopback:
                found.append(local)
    return found


def test_three_updates_of_grpo():
    from zero2r1.learner.config import LearnerConfig
    from zero2r1.learner.learner import Learner
    from zero2r1.rl.config import RLConfig
    from zero2r1.rl.grpo import Reference, grpo

    class Task:
        name = "questions"

        def draw(self, count, *, start=0, split="train"):
            return [asked(f"{QUESTIONS[i % 4]} {i}") for i in range(start, start + count)]

    def reward(_, completion):
        value = completion.text.count("e") / 10
        return Score(value=value, verdict=Verdict.RIGHT, parts={"accuracy": value})

    # In bfloat16 like the sampler: a float32 learner moves by less than the sampler's weights can show.
    learner = Learner(load_model(MODEL), LearnerConfig(compute_dtype="bfloat16"), total_steps=3)
    with open_vllm(learner.model, load_tokenizer(MODEL), config("bfloat16")) as policy:
        start = policy.held_hash
        updates = grpo(
            policy=policy,
            learner=learner,
            reference=Reference(),
            task=Task(),
            reward=reward,
            config=RLConfig.model_validate(
                {
                    "prompts_per_step": 2, "samples_per_prompt": 4, "minibatches": 1, "max_new_tokens": 24,
                    "kl_coef": 0.0, "importance_correction": "truncate",
                }
            ),
            address_of=lambda rollout: Address(seed=1, stage="grpo", step=rollout),
        )  # fmt: skip
        found = list(islice(updates, 3))
        for update in found:
            print({name: round(update.metrics[name], 5) for name in ("gap/mean", "gap/max", "importance/cut_frac")})
            assert update.metrics["gap/mean"] < 0.1
        assert policy.version == 3
        assert policy.held_hash != start
        assert policy.weights_hash == weights_hash(learner.model) == found[-1].weights_hash
