"""Our side: the models, the engine, and the reward that all steps of the benchmarks are given."""

from typing import Any

from peers.workload import coin

MODEL = "smollm2-135m"


def folder() -> str:
    """The Hugging Face directory of SmolLM2-135M-Instruct, fetched once; all sides load it."""
    from zero2r1.models.fetch import get_model

    return str(get_model(MODEL))


def load(dtype: str) -> tuple[Any, Any]:
    """That model and its tokenizer."""
    from zero2r1.models.load import load_model, load_tokenizer

    return load_model(folder(), dtype=dtype), load_tokenizer(folder())


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


def coin_reward(prompt: Any, completion: Any) -> Any:
    """A `Reward`: the coin of `workload`."""
    from zero2r1.core.types import Score, Verdict

    value = coin(completion.text)
    return Score(value=value, verdict=Verdict.RIGHT if value else Verdict.WRONG, parts={"coin": value})
