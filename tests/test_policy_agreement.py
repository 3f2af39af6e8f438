"""Sampler and learner agree to the last bit, whatever is computed beside a token."""

import pytest
import torch
from networks import network, ours
from policy_world import ADDRESS, prompts, tokenizer

from zero2r1.core.types import Completion
from zero2r1.learner.base import Batch, Row
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine
from zero2r1.policy.pages import PAGE

WIDE = {"hidden_size": 96, "intermediate_size": 112, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16}
ENGINES = {
    "roomy": {},
    "preempted": {"max_tokens_in_cache": 9 * PAGE, "max_slots": 7},
    "in pieces": {"prefill_tokens": 5},
    "one by one": {"max_slots": 1},
}


@pytest.fixture(scope="module")
def words():
    return tokenizer()


def model_of(family, dtype, words):
    window = {"sliding_window": None} if family == "mistral" else {}
    changes = WIDE | window | {"vocab_size": len(words), "eos_token_id": words.eos_token_id}
    return ours(network(family, **changes)).to(getattr(torch, dtype))


def row(one: Completion) -> Row:
    ids = torch.tensor([*one.prompt_token_ids, *one.token_ids])
    mask = torch.arange(len(ids)) >= len(one.prompt_token_ids)
    return Row(token_ids=ids, loss_mask=mask, weights=mask.float())


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_log_probabilities_are_the_same_bits(kernels, words, family, dtype, temperature):
    if getattr(torch, dtype) not in kernels.products.dtypes:
        pytest.skip("oneDNN multiplies bfloat16 here")
    said: dict[str, list[Completion]] = {}
    for name, settings in ENGINES.items():
        engine = Engine(model_of(family, dtype, words), words, **settings)
        assert engine.arithmetic == "compiled"
        groups = engine.sample(
            prompts(4), 3, sampling=Sampling(max_new_tokens=40, temperature=temperature), address=ADDRESS
        )
        said[name] = [one for group in groups for one in group]
        assert (engine.stats.preemptions > 0) == (name == "preempted")
        assert [(one.token_ids, one.logprobs) for one in said[name]] == [
            (one.token_ids, one.logprobs) for one in said["roomy"]
        ]
    rows = [row(one) for one in said["roomy"]]
    assert len({len(one.token_ids) for one in rows}) > 1
    for micro_tokens, checkpointing in ((30, False), (10_000, True)):
        config = LearnerConfig(compute_dtype=dtype, micro_tokens=micro_tokens, activation_checkpointing=checkpointing)
        learner = Learner(model_of(family, dtype, words), config, total_steps=1)
        found = learner.logprobs(Batch(rows=tuple(rows), temperature=temperature))
        for values, one, spoken in zip(found, rows, said["roomy"], strict=True):
            assert torch.equal(values[one.loss_mask], torch.tensor(spoken.logprobs))
