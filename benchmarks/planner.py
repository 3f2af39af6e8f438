"""How near the planner comes to a few real updates of the tiny recipe, and of smollm2-zero where its weights are here.

The goal counts each stage's whole step and its peak memory. Run it on a machine that does nothing else.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report import Claim, run

GOAL = 0.15


def measure(arguments: argparse.Namespace) -> Mapping[str, Any]:
    """The distance of each predicted figure from the measured one, by recipe, stage and figure."""
    from zero2r1 import recipes
    from zero2r1.models.fetch import is_fetched
    from zero2r1.pipeline.planning import measure as measuring
    from zero2r1.pipeline.planning.planner import Workshop, make_plan

    names = ["tiny", *(["smollm2-zero"] if is_fetched("smollm2-135m") else [])]
    found: dict[str, float] = {}
    drift: dict[str, float] = {}
    worst = 0.0
    for name in names:
        recipe = recipes.load(name, [f"threads={arguments.threads}"])
        shop = Workshop(recipe=recipe)
        made = make_plan(recipe, workshop=shop)
        with tempfile.TemporaryDirectory() as folder:
            rows = measuring.measure(recipe, shop, made.stages, Path(folder))
        found |= {f"{name}/{row.stage}/{row.what}": round(row.distance, 3) for row in rows}
        drift |= {f"{name}/{row.stage}": round(row.drift, 3) for row in rows}
        worst = max(worst, *(abs(row.distance) for row in rows if row.counts))
    return {"worst": round(worst, 3), "distances": found, "drift": drift}


if __name__ == "__main__":
    run(
        Claim(
            name="planner",
            goal=f"every step's time and peak memory within {GOAL:.0%}",
            meets=lambda found: found["worst"] <= GOAL,
        ),
        measure,
    )
