"""Measuring any model by a stage's own questions, grammar and sampling: `zero2r1 eval`."""

from zero2r1.core.dialogue import CHAT_TEMPLATES, Dialect
from zero2r1.core.random import Address
from zero2r1.evals.result import EvalResult
from zero2r1.evals.run import evaluate
from zero2r1.models.device import settled_device
from zero2r1.models.load import load_model, load_tokenizer, set_template
from zero2r1.pipeline.process import settle_device
from zero2r1.policy.choice import open_policy
from zero2r1.recipes import Recipe
from zero2r1.rewards.base import make_reward, measuring
from zero2r1.stages.config import PretrainStage, ReasoningRLStage, ZeroRLStage
from zero2r1.tasks.base import make_task


def evaluate_model(source: str, recipe: Recipe, *, stage: str) -> EvalResult:
    """Ask `source` (a directory, a hub id, a key) the held-out questions of a stage of a recipe.

    A tokenizer without one of our chat templates gets the one of the stage's dialect, unless the recipe keeps the
    model's own. The seed, and so the questions and the random numbers, are those of the recipe, and so is the device.
    """
    device = settled_device(recipe.device)
    settle_device(device)
    config = recipe.stages[stage]
    dialect = dialect_of(config)
    tokenizer = load_tokenizer(source)
    origin = getattr(config, "model", None) or recipe.model
    keeps = origin is not None and origin.keep_template
    if tokenizer.chat_template not in CHAT_TEMPLATES.values() and not keeps:
        set_template(tokenizer, dialect)
    with (
        make_reward(measuring(), dialect=dialect, verdicts=config.verdicts) as reward,
        open_policy(load_model(source, device=device), tokenizer, config.sampler) as policy,
    ):
        return evaluate(
            policy,
            make_task(config.tasks, seed=recipe.seed),
            reward,
            config.eval,
            dialect=dialect,
            address=Address(seed=recipe.seed, stage=f"{stage}/eval", step=0),
            template=tokenizer.chat_template,
        )


def dialect_of(stage: object) -> Dialect:
    """The reply grammar that a stage's model speaks."""
    if isinstance(stage, ZeroRLStage | ReasoningRLStage):
        return Dialect(stage.dialect)
    return Dialect.R1_ZERO if isinstance(stage, PretrainStage) else Dialect.R1
