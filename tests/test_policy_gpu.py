"""The engine on a GPU: recorded steps say what transformers' network says, whatever was recorded before."""

from collections.abc import Callable

import pytest
import torch
from policy_world import ADDRESS, gap, llama, prompts, qwen, tokenizer

from zero2r1.learner.base import Batch, Row
from zero2r1.learner.config import LearnerConfig
from zero2r1.learner.learner import Learner
from zero2r1.policy.base import Sampling
from zero2r1.policy.engine import Engine
from zero2r1.policy.pages import PAGE

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]
SAMPLING = Sampling(max_new_tokens=50)


def said(engine: Engine, sampling: Sampling = SAMPLING, *, count: int = 5, samples: int = 4) -> list:
    return [
        one for group in engine.sample(prompts(count), samples, sampling=sampling, address=ADDRESS) for one in group
    ]


@pytest.mark.parametrize("make", [qwen, llama])
def test_recorded_steps_say_what_transformers_says(make: Callable) -> None:
    words = tokenizer()
    model = make(words).cuda()
    engine = Engine(model, words)
    assert engine.arithmetic == "compiled"
    found, plain = said(engine), said(Engine(model, words, kernels="off"))
    assert [(one.token_ids, one.finish) for one in found] == [(one.token_ids, one.finish) for one in plain]
    assert gap(model, found) <= 1e-5
    for sampling in (Sampling(max_new_tokens=9, temperature=0.7), Sampling(max_new_tokens=9, temperature=0.0)):
        again = said(engine, sampling)
        assert gap(model, again, temperature=sampling.temperature or 1.0) <= 1e-5
    assert gap(model, said(engine, Sampling(max_new_tokens=30, top_p=0.8))) <= 1e-5


def test_few_slots_and_pages_change_no_token() -> None:
    words = tokenizer()
    model = qwen(words, num_end_tokens=1).cuda()
    roomy, tight = Engine(model, words), Engine(model, words, max_tokens_in_cache=14 * PAGE, max_slots=5)
    assert [one.token_ids for one in said(tight)] == [one.token_ids for one in said(roomy)]
    assert tight.stats.preemptions > 0


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 0.2)])
def test_a_learner_and_its_sampler_agree_after_each_update(dtype: str, most: float) -> None:
    words = tokenizer()
    model = qwen(words).cuda()
    learner = Learner(model, LearnerConfig(lr=1e-3, compute_dtype=dtype), total_steps=3)
    engine = Engine(model, words)
    before = model.lm_head.weight.detach().clone()
    for version in range(3):
        rows, recorded = [], []
        for one in said(engine):
            token_ids = torch.tensor((*one.prompt_token_ids, *one.token_ids))
            is_response = torch.arange(len(token_ids)) >= len(one.prompt_token_ids)
            rows.append(Row(token_ids=token_ids, loss_mask=is_response, weights=is_response / len(token_ids)))
            recorded.append(torch.tensor(one.logprobs))
        again = learner.logprobs(Batch(rows=tuple(rows)))
        apart = [(values[row.loss_mask] - own).abs() for values, row, own in zip(again, rows, recorded, strict=True)]
        assert float(torch.cat(apart).max()) <= most
        if dtype == "bfloat16":
            assert float(torch.cat(apart).mean()) <= 0.02
        learner.step(
            Batch(rows=tuple(rows)), lambda logprobs, entropy, tokens: (-(logprobs * tokens.weights).sum(), {})
        )
        engine.follow(model, version=version + 1)
    assert not torch.equal(before, model.lm_head.weight)
