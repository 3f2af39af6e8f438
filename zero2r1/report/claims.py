"""The paper's claims against this run's numbers, each with a plain verdict.

A claim compares one metric of two stages. It holds when the whole 95 % interval of the difference lies above the
claim's margin, does not hold when the whole interval lies below it, and cannot be told otherwise. Stages are found by
what they are (kind and parents), not by their names.

What a verdict is not: a statement about DeepSeek-R1. It is about this run, its model and its questions. Several claims
are tested at 95 % each, without a correction for their number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from zero2r1.report.data import ReportData, StageData
from zero2r1.report.read import mapping, number
from zero2r1.report.scores import Difference, Estimate, difference, estimate

KEEPS_REASONING = -0.03
"""Dev3 may lose this much pass@1 and still count as keeping Dev2's reasoning. Ours: 3 points."""
KEEPS_LANGUAGE = -0.02
"""Language consistency may fall by this much and still count as stable. Ours: 2 points."""


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNKNOWN = "cannot tell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim of the paper and what was measured here."""

    title: str
    paper: str
    """What the paper reports, with its numbers where it gives any."""
    metric: str
    before: StageData | None
    after: StageData | None
    margin: float
    """The difference must exceed this (in the metric's unit)."""
    before_score: Estimate | None = None
    after_score: Estimate | None = None
    change: Difference | None = None
    verdict: Outcome = Outcome.UNKNOWN
    why: str = ""
    """One sentence for the verdict."""
    remarks: tuple[str, ...] = field(default=())

    @property
    def is_in_run(self) -> bool:
        """Both stages belong to this run, measured or not."""
        return self.before is not None and self.after is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Which stage plays which part of the paper; None for a part this run does not have."""

    base: StageData | None
    zero: StageData | None
    dev1: StageData | None
    dev2: StageData | None
    dev3: StageData | None
    students: tuple[tuple[StageData, StageData], ...]
    """(trained by RL alone, distilled) pairs of the same base."""


def roles(data: ReportData) -> Roles:
    """Find the parts by kind and parents."""
    dev1 = _first(data, "cold_start")
    dev3 = _first(data, "rejection_sampling")
    taught = data.stage(dev1.parents.get("teacher")) if dev1 else None
    own_rl = [stage for stage in data.stages if stage.kind == "zero_rl"]
    students = [stage for stage in data.stages if stage.kind == "distill"]
    student_bases = {stage.parents["base"] for stage in students if "base" in stage.parents}
    teachers = [s for s in own_rl if s is taught] or [s for s in own_rl if s.parents.get("base") not in student_bases]
    zero = next(iter(teachers), None)
    dev2s = [stage for stage in data.stages if stage.kind == "reasoning_rl"]
    of_dev1 = [stage for stage in dev2s if dev1 is not None and dev1.name in stage.parents.values()]
    dev2 = next(iter(of_dev1 or dev2s), None)
    pairs = [
        (alone, student)
        for student in students
        for alone in own_rl
        if alone is not zero and alone.parents.get("base") is not None
        if alone.parents.get("base") == student.parents.get("base")
    ]
    base = data.stage(zero.parents.get("base")) if zero else None
    return Roles(base=base, zero=zero, dev1=dev1, dev2=dev2, dev3=dev3, students=tuple(pairs))


def _first(data: ReportData, kind: str) -> StageData | None:
    return next((stage for stage in data.stages if stage.kind == kind), None)


def claims(data: ReportData) -> list[Claim]:
    """All claims in the order of the pipeline, judged."""
    part = roles(data)
    found = [
        Claim(
            title="Reinforcement learning alone makes a base model reason",
            paper="R1-Zero, AIME 2024 pass@1: 15.6\u00a0% → 77.9\u00a0% over training",
            metric="pass@1", before=part.base, after=part.zero, margin=0.0,
        ),
        Claim(
            title="A cold start makes the answers readable",
            paper="R1-Zero reads poorly and mixes languages; Dev1 is made to cure that (no number given)",
            metric="readable", before=part.zero, after=part.dev1, margin=0.0,
        ),
        Claim(
            title="Reasoning RL after the cold start improves reasoning",
            paper="Dev1 → Dev2, AIME 2024: 59.0\u00a0% → 74.0\u00a0%, MATH-500: 94.2\u00a0% → 95.9\u00a0%",
            metric="pass@1", before=part.dev1, after=part.dev2, margin=0.0,
        ),
        Claim(
            title="With the language reward, thinking stays in one language during RL",
            paper="With it language consistency stays stable, without it it deteriorates (ablation)",
            metric="language", before=part.dev1, after=part.dev2, margin=KEEPS_LANGUAGE,
            remarks=_language_reward_remark(part.dev2),
        ),
        Claim(
            title="Rejection sampling and SFT from the base keep the reasoning",
            paper="Dev2 → Dev3, AIME 2024: 74.0\u00a0% → 78.1\u00a0%, MATH-500: 95.9\u00a0% → 95.4\u00a0%",
            metric="pass@1", before=part.dev2, after=part.dev3, margin=KEEPS_REASONING,
        ),
    ]  # fmt: skip
    for alone, student in part.students or ((None, None),):
        found.append(
            Claim(
                title="A distilled student beats the same student trained by RL alone",
                paper="Qwen-32B, AIME 2024: 47.0\u00a0% by RL alone, 72.6\u00a0% distilled",
                metric="pass@1", before=alone, after=student, margin=0.0,
            )
        )  # fmt: skip
    return [_judged(claim, data.suite) for claim in found]


def _language_reward_remark(stage: StageData | None) -> tuple[str, ...]:
    if stage is None:
        return ()
    weight = number(mapping(stage.config.get("rewards")).get("language"))
    return ("the language reward is switched off in this run",) if weight == 0.0 else ()


def _judged(claim: Claim, suite: str) -> Claim:
    change = difference(claim.before, claim.after, claim.metric, suite)
    verdict, why = judge(None if change is None else change.estimate, claim.margin)
    if change is None:
        missing = [
            s.name for s in (claim.before, claim.after) if s is not None and not estimate(s, claim.metric, suite)
        ]
        why = (
            f"no {claim.metric} measured for {', '.join(missing)}"
            if claim.is_in_run
            else "this run has no such pair of stages"
        )
    return Claim(
        title=claim.title,
        paper=claim.paper,
        metric=claim.metric,
        before=claim.before,
        after=claim.after,
        margin=claim.margin,
        before_score=estimate(claim.before, claim.metric, suite),
        after_score=estimate(claim.after, claim.metric, suite),
        change=change,
        verdict=verdict,
        why=why,
        remarks=claim.remarks + (change.remarks if change else ()),
    )


def summary(judged: Sequence[Claim]) -> str:
    """How many of the claims hold, in one sentence; empty for none."""
    count = {outcome: sum(claim.verdict is outcome for claim in judged) for outcome in Outcome}
    if not judged:
        return ""
    held = count[Outcome.HOLDS]
    said = [f"{held} of {len(judged)} claims {'holds' if held == 1 else 'hold'}"]
    if count[Outcome.FAILS]:
        said.append(f"{count[Outcome.FAILS]} {'does' if count[Outcome.FAILS] == 1 else 'do'} not hold")
    if count[Outcome.UNKNOWN]:
        said.append(f"{count[Outcome.UNKNOWN]} cannot be told")
    return ", ".join(said) + "."


def judge(change: Estimate | None, margin: float) -> tuple[Outcome, str]:
    """Verdict on `change > margin`, and one sentence for it.

    Ours: low > margin holds, high < margin does not hold, else the interval contains the margin and cannot tell.
    """
    limit = "0" if margin == 0 else f"{100 * margin:+.0f} points"
    if change is None:
        return Outcome.UNKNOWN, "not measured"
    if change.low is None or change.high is None:
        return Outcome.UNKNOWN, "too few questions for an interval"
    if change.low > margin:
        return Outcome.HOLDS, f"the whole interval lies above {limit}"
    if change.high < margin:
        return Outcome.FAILS, f"the whole interval lies below {limit}"
    return Outcome.UNKNOWN, f"the interval contains {limit}"
