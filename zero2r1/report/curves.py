"""Which curves each stage gets, and one sentence on how to read each.

A curated overview of the metrics log, not all of it. A figure whose metric was never logged is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from zero2r1.core.dialogue import REFLECTIVE_WORDS
from zero2r1.report.charts import Curve, line_chart
from zero2r1.report.data import RL_KINDS, StageData
from zero2r1.report.tables import ends, series

MAX_CURVES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One figure of a stage."""

    title: str
    unit: str
    curves: tuple[tuple[str, tuple[str, ...]], ...]
    """Label and the metric's names; the first one that was logged is drawn."""
    note: str
    """How to read it, in one sentence."""
    is_share: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One drawn figure."""

    title: str
    unit: str
    summary: str
    """First and last value (means over a tenth of the updates) with the unit; empty for several curves."""
    note: str
    chart: Markup
    labels: tuple[str, ...]
    """Of several curves in the order of their line styles, each with its first and last value; empty for one curve."""


def _one(*names: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("", names),)


RL_FIGURES: tuple[Spec, ...] = (
    Spec(
        title="Reward", unit="points", curves=_one("reward/mean"),
        note="Mean over all samples of an update; what is optimised.",
    ),
    Spec(
        title="Accuracy", unit="", is_share=True,
        curves=(("training", ("accuracy", "reward/accuracy/mean")), ("held out", ("heldout/accuracy",))),
        note="Share of right answers; a gap that opens between the two is learning by heart, or a fooled reward.",
    ),
    Spec(
        title="Length", unit="tokens", curves=_one("length/mean"),
        note="Mean response length. In the paper it grows by itself.",
    ),
    Spec(
        title="Language consistency", unit="", curves=_one("reward/language/mean", "language/mean"), is_share=True,
        note="Share of the thinking's words in the question's language.",
    ),
    Spec(
        title="Truncated", unit="", curves=_one("length/truncated_frac"), is_share=True,
        note="Share of samples cut off at the token limit.",
    ),
    Spec(
        title="Groups without a signal", unit="", curves=_one("reward/zero_std_frac"), is_share=True,
        note="Share of questions whose samples all got the same reward: they teach nothing.",
    ),
    Spec(title="Entropy", unit="nats", curves=_one("entropy/mean"), note="Near 0 the policy has stopped exploring."),
    Spec(
        title="KL to the reference", unit="nats", curves=_one("kl/mean"),
        note="Distance from the reference policy, per token.",
    ),
    Spec(
        title="Sampler–learner gap", unit="nats", curves=(("mean", ("gap/mean",)), ("largest", ("gap/max",))),
        note="Difference of their log-probabilities under equal weights; rounding only, else something is stale.",
    ),
    Spec(
        title="Reflective words", unit="per response", curves=_one("reflective_words", "reflective_words/mean"),
        note="Count of " + ", ".join(REFLECTIVE_WORDS) + ".",
    ),
    Spec(title="Gradient norm", unit="", curves=_one("grad_norm"), note="Before clipping."),
)  # fmt: skip

SFT_FIGURES: tuple[Spec, ...] = (
    Spec(title="Cross entropy", unit="nats", curves=_one("nll/mean", "loss"), note="Per trained token."),
)


def is_rl(stage: StageData) -> bool:
    """Whether a stage learns from rewards: by its kind, or by its log when nothing says its kind."""
    return stage.kind in RL_KINDS or (not stage.kind and any("reward/mean" in row for row in stage.metrics))


def figures(stage: StageData) -> list[Figure]:
    """The figures of one stage, in order; empty for a stage that has logged nothing."""
    specs = [*RL_FIGURES[:1], *_parts(stage), *RL_FIGURES[1:]] if is_rl(stage) else list(SFT_FIGURES)
    return [figure for spec in specs if (figure := draw(spec, stage)) is not None]


def _parts(stage: StageData) -> list[Spec]:
    """The reward's parts in one figure, whatever they are called; one part alone says nothing new."""
    names = sorted(
        {
            name
            for row in stage.metrics
            for name in row
            if name.startswith("reward/") and name.endswith("/mean") and name.count("/") == 2
        }
    )
    if len(names) < 2:
        return []
    order = {"accuracy": 0, "format": 1, "language": 2}
    names.sort(key=lambda name: order.get(name.split("/")[1], len(order)))
    curves = tuple((name.split("/")[1], (name,)) for name in names[:MAX_CURVES])
    return [Spec(title="Reward parts", unit="points", curves=curves, note="Unweighted, each on its own.")]


def draw(spec: Spec, stage: StageData) -> Figure | None:
    """One figure, or None when none of its metrics was logged."""
    found: Mapping[str, list[tuple[float, float]]] = {
        label: series(stage.metrics, *names) for label, names in spec.curves
    }
    curves = [Curve(label=label or spec.title, points=tuple(points)) for label, points in found.items() if points]
    if not curves:
        return None
    summaries = [_summary(curve, spec) for curve in curves]
    return Figure(
        title=spec.title,
        unit=spec.unit,
        summary=f"{summaries[0]} {spec.unit}".strip() if len(curves) == 1 else "",
        note=spec.note,
        chart=line_chart(curves, title=f"{stage.name}: {spec.title}", unit=spec.unit, is_share=spec.is_share),
        labels=tuple(f"{curve.label} {told}" for curve, told in zip(curves, summaries, strict=True))
        if len(curves) > 1
        else (),
    )


def _summary(curve: Curve, spec: Spec) -> str:
    first, last = ends(curve.points)
    return f"{_value(first, spec)} → {_value(last, spec)}"


def _value(value: float | None, spec: Spec) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.0f}\u00a0%" if spec.is_share else f"{value:.3g}"
