"""The pipeline: which stage follows which, what is already done, what a changed recipe redoes.

Importing it loads no torch: `evaluate_model` and the stages are imported when they are needed.
"""

from typing import TYPE_CHECKING

from zero2r1.pipeline.graph import PlannedStage, plan
from zero2r1.pipeline.run import RunResult, load_recipe, resume, run
from zero2r1.recipes import Recipe

if TYPE_CHECKING:
    from zero2r1.evals.result import EvalResult

__all__ = ["PlannedStage", "RunResult", "evaluate_model", "load_recipe", "plan", "resume", "run"]


def evaluate_model(source: str, recipe: Recipe, *, stage: str) -> "EvalResult":
    """Ask a model the held-out questions of a stage; see `pipeline.evaluate`."""
    from zero2r1.pipeline.evaluate import evaluate_model as evaluate

    return evaluate(source, recipe, stage=stage)
