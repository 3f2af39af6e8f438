"""What a run folder holds, as frozen plain data: stages parents first, with their metrics, evaluations and manifests.

A stage is known from its folder, from the resolved recipe, or from both; so a run that was killed in its second stage
still shows all of them. What cannot be read becomes a line in `problems`. It does not judge (`claims`) or lay out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from zero2r1.core.run import name_is_safe
from zero2r1.report.read import Row, json_file, mapping, number, rows_file, text_file, yaml_file

KINDS: Mapping[str, str] = {
    "pretrain": "base model",
    "zero_rl": "R1-Zero: RL alone",
    "cold_start": "cold start + SFT",
    "reasoning_rl": "reasoning RL",
    "rejection_sampling": "rejection sampling + SFT",
    "distill": "distillation: SFT of a student",
}
"""Stage kind -> what it is, in words."""

RL_KINDS = ("zero_rl", "reasoning_rl")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageData:
    """One stage of a run."""

    name: str
    kind: str
    """A key of `KINDS`, or whatever the run says; empty when nothing says."""
    parents: Mapping[str, str]
    """Role (`base`, `teacher`) -> stage name."""
    state: str
    """`finished`, `running`, `unfinished` or `not started`."""
    folder: Path
    manifest: Row
    config: Row
    metrics: tuple[Row, ...]
    """Rows of metrics.jsonl, in order."""
    timings: tuple[Row, ...]
    """Rows of timings.jsonl, in order."""
    evals: Mapping[str, Row]
    """Suite -> evaluation result."""
    problems: tuple[str, ...] = ()

    @property
    def seconds(self) -> float | None:
        """Wall time of the stage as its manifest says."""
        return number(self.manifest.get("seconds"))

    @property
    def updates(self) -> int | None:
        """Parameter updates: the manifest's count, else the last step logged; None when nothing is known."""
        said = number(self.manifest.get("updates"))
        if said is None:
            said = max((step for row in self.metrics if (step := number(row.get("step"))) is not None), default=None)
        return None if said is None else int(said)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """One run."""

    root: Path
    name: str
    recipe: Row
    """config.resolved.yaml."""
    recipe_text: str
    command: str
    environment: Row
    status: Row
    events: tuple[Row, ...]
    stages: tuple[StageData, ...]
    """Parents first."""
    problems: tuple[str, ...]
    """What could not be read."""

    def stage(self, name: str | None) -> StageData | None:
        """The stage of this name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    @property
    def suite(self) -> str:
        """The suite that most stages were measured on (of equals the first by name); empty without evaluations."""
        counts: dict[str, int] = {}
        for stage in self.stages:
            for suite in stage.evals:
                counts[suite] = counts.get(suite, 0) + 1
        return min(counts, key=lambda suite: (-counts[suite], suite), default="")


def build(run_dir: Path) -> ReportData:
    """Read a run folder, whatever state it is in. Writes nothing."""
    root = Path(run_dir)
    recipe, recipe_problem = yaml_file(root / "config.resolved.yaml")
    environment, environment_problem = json_file(root / "env.json")
    status, status_problem = json_file(root / "status.json")
    events, events_problem = rows_file(root / "events.jsonl")
    planned = mapping(recipe.get("stages"))
    on_disk = _folders(root / "stages")
    names = [*(name for name in planned if name_is_safe(name)), *(name for name in on_disk if name not in planned)]
    stages = [_stage(root / "stages" / name, mapping(planned.get(name)), status) for name in names]
    problems = [recipe_problem, environment_problem, status_problem, events_problem]
    problems += [f"{stage.name}: {problem}" for stage in stages for problem in stage.problems]
    return ReportData(
        root=root,
        name=str(recipe.get("name") or root.resolve().name),
        recipe=recipe,
        recipe_text=text_file(root / "config.resolved.yaml"),
        command=text_file(root / "cmd.txt").strip(),
        environment=environment,
        status=status,
        events=events,
        stages=tuple(_parents_first(stages)),
        problems=tuple(problem for problem in problems if problem),
    )


def _folders(stages: Path) -> list[str]:
    """Names of the stage folders; links and unsafe names are left alone."""
    if not stages.is_dir():
        return []
    return sorted(
        path.name for path in stages.iterdir() if path.is_dir() and not path.is_symlink() and name_is_safe(path.name)
    )


def _stage(folder: Path, planned: Row, status: Row) -> StageData:
    manifest, manifest_problem = json_file(folder / "manifest.json")
    metrics, metrics_problem = rows_file(folder / "metrics.jsonl")
    timings, timings_problem = rows_file(folder / "timings.jsonl")
    evals, eval_problems = _evals(folder / "evals")
    parents = mapping(manifest.get("parents")) or _planned_parents(planned)
    problems = (manifest_problem, metrics_problem, timings_problem, *eval_problems)
    return StageData(
        name=folder.name,
        kind=str(manifest.get("kind") or planned.get("kind") or ""),
        parents={role: str(parent) for role, parent in parents.items()},
        state=_state(folder, manifest, status),
        folder=folder,
        manifest=manifest,
        config=mapping(manifest.get("config")) or planned,
        metrics=metrics,
        timings=timings,
        evals=evals,
        problems=tuple(problem for problem in problems if problem),
    )


def _planned_parents(planned: Row) -> dict[str, str]:
    """The parents of a stage that has no manifest yet, from the recipe; `model` is the recipe's own model, no stage."""
    roles = {"base": planned.get("init"), "teacher": planned.get("teacher")}
    return {role: str(parent) for role, parent in roles.items() if isinstance(parent, str) and parent != "model"}


def _state(folder: Path, manifest: Row, status: Row) -> str:
    if manifest:
        return "finished"
    if not folder.is_dir():
        return "not started"
    is_running = status.get("state") == "running" and status.get("stage") == folder.name
    return "running" if is_running else "unfinished"


def _evals(folder: Path) -> tuple[dict[str, Row], list[str]]:
    evals: dict[str, Row] = {}
    problems = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        result, problem = json_file(path)
        if problem:
            problems.append(problem)
        elif mapping(result.get("metrics")):
            evals[path.stem] = result
    return evals, problems


def _parents_first(stages: list[StageData]) -> list[StageData]:
    """A stable order with parents before children; what waits in a circle comes last, as it was."""
    known = {stage.name for stage in stages}
    done: list[StageData] = []
    left = list(stages)
    while left:
        names = {stage.name for stage in done}
        ready = [s for s in left if all(p in names or p not in known or p == s.name for p in s.parents.values())]
        chosen = ready[0] if ready else left[0]
        done.append(chosen)
        left.remove(chosen)
    return done
