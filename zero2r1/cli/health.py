"""Red flags in the metrics of a running stage, said in words (`zero2r1 explain Z310` has the page of each).

A rule looks at the newest rows of `metrics.jsonl`. Thresholds are those of docs/metrics.md; they are warnings for a
person and stop nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zero2r1.rl.monitors import SUSPICIOUS_ALARM, format_only_gain, reward_without_heldout

Rows = Sequence[Mapping[str, Any]]

LATEST = 10
"""Updates averaged before a rule speaks, so that one odd batch is no alarm. Ours."""


def mean_of(rows: Rows, name: str, count: int = LATEST) -> float | None:
    """Mean of a metric over the newest `count` rows that have it; None when fewer than `count` have."""
    values = [float(row[name]) for row in rows if isinstance(row.get(name), int | float)]
    return sum(values[-count:]) / count if len(values) >= count else None


def above(name: str, limit: float) -> Callable[[Rows], float | None]:
    """A rule: the recent mean, when it is above the limit."""

    def rule(rows: Rows) -> float | None:
        mean = mean_of(rows, name)
        return mean if mean is not None and mean > limit else None

    return rule


def below(name: str, limit: float, *, after: int = LATEST) -> Callable[[Rows], float | None]:
    """A rule: the recent mean, when it is below the limit and `after` updates have passed."""

    def rule(rows: Rows) -> float | None:
        mean = mean_of(rows, name) if len(rows) >= after else None
        return mean if mean is not None and mean < limit else None

    return rule


def format_without_answers(rows: Rows) -> float | None:
    """Format reward full, accuracy nil: the model has learnt to look right."""
    form, accuracy = mean_of(rows, "reward/format/mean"), mean_of(rows, "reward/accuracy/mean")
    return form if form is not None and accuracy is not None and form > 0.95 and accuracy < 0.01 else None


def longer_without_gain(rows: Rows, window: int = 50) -> float | None:
    """Length up by a quarter over the last `window` updates while the reward stood still; the growth is returned."""
    if len(rows) < window:
        return None
    early, late = rows[-window : -window + LATEST], rows[-LATEST:]
    means = [mean_of(part, name) for name in ("length/mean", "reward/mean") for part in (early, late)]
    if any(mean is None for mean in means):
        return None
    before, after, reward_before, reward_after = (mean or 0.0 for mean in means)
    grown = after / before - 1.0 if before else 0.0
    return grown if grown > 0.25 and reward_after - reward_before < 0.01 else None


def told(rule: Callable[[Rows], str]) -> Callable[[Rows], str | None]:
    """A rule that says its own words, or nothing when they are empty."""
    return lambda rows: rule(rows) or None


RULES: tuple[tuple[str, str, Callable[[Rows], float | str | None]], ...] = (
    ("Z301", "reward near zero ({:.2f})", below("reward/mean", 0.05, after=20)),
    ("Z310", "no learning signal: {:.0%} of the groups have equal rewards", above("reward/zero_std_frac", 0.8)),
    ("Z311", "{:.0%} of the answers are cut off", above("length/truncated_frac", 0.5)),
    ("Z312", "entropy collapse ({:.4f} nats)", below("entropy/mean", 0.01)),
    ("Z313", "far from the reference policy (KL {:.2f} nats)", above("kl/mean", 2.0)),
    ("Z314", "large gradients (norm {:.1f})", above("grad_norm", 10.0)),
    ("Z315", "format reward {:.2f} without right answers", format_without_answers),
    ("Z316", "thinking language mixes (consistency {:.2f})", below("reward/language/mean", 0.8)),
    ("Z317", "sampler and learner disagree (gap {:.3f} nats)", above("gap/mean", 0.05)),
    ("Z318", "{:.0%} of the samples could not be judged", above("reward/error_frac", 0.05)),
    ("Z322", "answers {:+.0%} longer in 50 updates, rewards flat", longer_without_gain),
    ("Z324", "a second verifier doubts {:.0%} of the answers it looked at", above("monitor/unconfirmed_frac", 0.02)),
    ("Z325", "{:.0%} of the answers reach for the grader", above("monitor/suspicious_frac", SUSPICIOUS_ALARM)),
    ("Z326", "{}", told(reward_without_heldout)),
    ("Z327", "{}", told(format_only_gain)),
)
"""Code, sentence, rule: a rule returns the number to be said, or None."""


def warnings(rows: Rows) -> list[str]:
    """What is wrong with a stage, most basic first; empty when it is healthy or too young to tell."""
    found = []
    for code, sentence, rule in RULES:
        value = rule(rows)
        if value is not None:
            found.append(f"warning {code} {sentence.format(value)}   (zero2r1 explain {code})")
    return found
