"""Our side: the models, the engine, and the reward that all steps of the benchmarks are given."""

from collections.abc import Sequence
from typing import Any

from peers import shapes
from peers.workload import QUESTIONS, coin

MODEL = "smollm2-135m"


def folder() -> str:
    """The Hugging Face directory of SmolLM2-135M-Instruct, fetched once; all sides load it."""
    from zero2r1.models.fetch import get_model

    return str(get_model(MODEL))


def load(dtype: str) -> tuple[Any, Any]:
    """That model and its tokenizer."""
    from zero2r1.models.load import load_model, load_tokenizer

    return load_model(folder(), dtype=dtype), load_tokenizer(folder())


def on_device(name: str, device: str) -> tuple[Any, Any]:
    """That model, or one of `shapes`, in bfloat16 on a device, and a tokenizer: of a shape, one to read prompts."""
    from zero2r1.models.attention import register_attention
    from zero2r1.models.fetch import is_fetched
    from zero2r1.models.load import load_tokenizer, set_template
    from zero2r1.models.tokenizer import make_tokenizer

    if name == MODEL:
        model, tokenizer = load("bfloat16")
        return model.to(device), tokenizer
    model = shapes.make(name, attention=register_attention(), device=device)
    if is_fetched(MODEL):
        tokenizer = load_tokenizer(MODEL)
        if len(tokenizer) <= model.config.vocab_size:
            return model, tokenizer
    tokenizer = make_tokenizer(QUESTIONS, vocab_size=320)
    set_template(tokenizer, "plain")
    return model, tokenizer


def load_tiny() -> tuple[Any, Any, Any]:
    """The model of the recipe `tiny` with random weights, its tokenizer, and the recipe."""
    from zero2r1 import recipes
    from zero2r1.core.dialogue import Dialect
    from zero2r1.models.load import set_template
    from zero2r1.models.tiny import make_tiny
    from zero2r1.pipeline.planning.planner import Workshop

    recipe = recipes.load("tiny")
    shop = Workshop(recipe=recipe)
    model, origin = shop.model_of("r1_zero")
    tokenizer = shop.tokenizer(model, origin)
    set_template(tokenizer, Dialect.R1_ZERO)
    assert model.tiny is not None
    return make_tiny(model.tiny, tokenizer, seed=recipe.seed), tokenizer, recipe


def make_engine(model: Any, tokenizer: Any, *, is_endless: bool = False, **options: Any) -> Any:
    """The engine with its defaults; an endless one says its end token like any other and goes on to the cap."""
    from zero2r1.policy.engine import Engine

    class Endless(Engine):
        eos_ids = frozenset()

    return (Endless if is_endless else Engine)(model, tokenizer, **options)


def gap(learner: Any, said: Sequence[Any]) -> dict[str, float]:
    """|log-probability of the sampler - that of the learner| over the tokens of completions, mean and max, in nats."""
    import torch

    from zero2r1.learner.base import Batch, Row

    rows = []
    for one in said:
        token_ids = torch.tensor((*one.prompt_token_ids, *one.token_ids))
        is_response = torch.arange(len(token_ids)) >= len(one.prompt_token_ids)
        rows.append(Row(token_ids=token_ids, loss_mask=is_response, weights=torch.zeros(len(token_ids))))
    again = learner.logprobs(Batch(rows=tuple(rows)))
    apart = [
        (values[row.loss_mask] - torch.tensor(one.logprobs)).abs()
        for values, row, one in zip(again, rows, said, strict=True)
    ]
    both = torch.cat(apart)
    return {"gap_mean": round(float(both.mean()), 6), "gap_max": round(float(both.max()), 4)}


def coin_reward(prompt: Any, completion: Any) -> Any:
    """A `Reward`: the coin of `workload`."""
    from zero2r1.core.types import Score, Verdict

    value = coin(completion.text)
    return Score(value=value, verdict=Verdict.RIGHT if value else Verdict.WRONG, parts={"coin": value})
