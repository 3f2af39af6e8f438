"""Charts as inline SVG: no script, no request, readable in light and dark, on paper and by a screen reader.

Every chart has a text alternative with its numbers. Series differ by dash style as well as by colour (the palette is
Okabe and Ito's, made for colour-blind readers). What it does not do: zooming, hovering, log axes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from zero2r1.report.read import visible

Point = tuple[float, float]

WIDTH, HEIGHT = 320.0, 168.0
LEFT, RIGHT, TOP, BOTTOM = 44.0, 10.0, 10.0, 22.0
LARGEST = 1e30
"""Values beyond this are drawn at the edge: an axis cannot hold them."""
MAX_POINTS = 240
"""A longer curve is drawn as the means of that many equal stretches."""
SMOOTH_FROM = 30
"""Curves with at least so many points get a moving mean over a tenth of them; the points stay visible behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line of a chart."""

    label: str
    points: tuple[Point, ...]
    """(update, value), by update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The axes of a chart: what lies at its edges."""

    first: float
    last: float
    low: float
    high: float

    def path(self, points: Sequence[Point]) -> str:
        """The points as SVG coordinates; values beyond the axis are drawn at its edge."""
        places = []
        for step, value in points:
            across = 0.5 if self.last == self.first else (step - self.first) / (self.last - self.first)
            up = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
            x = LEFT + across * (WIDTH - LEFT - RIGHT)
            y = HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
            places.append(f"{x:.1f},{y:.1f}")
        return " ".join(places)


def attribute(text: object) -> Markup:
    """Text as it may stand in an attribute or between tags."""
    return escape(visible(text))


def line_chart(curves: Sequence[Curve], *, title: str, unit: str, is_share: bool = False) -> Markup:
    """Lines over parameter updates.

    Args:
        curves: at most four, each with points.
        unit: of the values, e.g. `tokens`; shown in the text alternative.
        is_share: values in [0, 1], shown as percent on a full scale.
    """
    values = [value for curve in curves for _, value in curve.points]
    low, high, grid = (0.0, 1.0, 0.25) if is_share else axis(values)
    steps = [step for curve in curves for step, _ in curve.points]
    frame = Frame(first=min(steps), last=max(steps), low=low, high=high)
    parts = [_grid(low, high, grid, is_share), _steps(frame.first, frame.last)]
    for index, curve in enumerate(curves, start=1):
        points = thinned(curve.points)
        if len(points) == 1:
            x, y = frame.path(points).split(",")
            parts.append(f'<circle class="dot c{index}" cx="{x}" cy="{y}" r="3"/>')
            continue
        smooth = smoothed(points)
        if smooth != points:
            parts.append(f'<polyline class="raw c{index}" points="{frame.path(points)}"/>')
        parts.append(f'<polyline class="line c{index}" points="{frame.path(smooth)}"/>')
    told = f"{title}. " + " ".join(described(curve, unit, is_share) for curve in curves)
    return Markup(
        f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{attribute(told)}">'
        f"{''.join(parts)}</svg>"
    )


def described(curve: Curve, unit: str, is_share: bool) -> str:
    """A curve in one sentence, for those who cannot see it."""
    values = [value for _, value in curve.points]
    first, last, least, most = (
        f"{100 * value:.0f} %" if is_share else f"{value:.4g} {unit}".strip()
        for value in (values[0], values[-1], min(values), max(values))
    )
    return (
        f"{curve.label}: from {first} at update {curve.points[0][0]:.0f} to {last} "
        f"at update {curve.points[-1][0]:.0f}, between {least} and {most}."
    )


def thinned(points: Sequence[Point], limit: int = MAX_POINTS) -> tuple[Point, ...]:
    """At most `limit` points: means over equal stretches of a longer curve."""
    if len(points) <= limit:
        return tuple(points)
    edges = [round(index * len(points) / limit) for index in range(limit + 1)]
    return tuple(_mean_point(points[start:end]) for start, end in pairwise(edges))


def smoothed(points: Sequence[Point]) -> tuple[Point, ...]:
    """Centred moving mean over a tenth of the points; short curves stay as they are."""
    if len(points) < SMOOTH_FROM:
        return tuple(points)
    reach = len(points) // 20
    means = []
    for index, (step, _) in enumerate(points):
        near = points[max(0, index - reach) : index + reach + 1]
        means.append((step, math.fsum(value for _, value in near) / len(near)))
    return tuple(means)


def _mean_point(points: Sequence[Point]) -> Point:
    return (
        math.fsum(step for step, _ in points) / len(points),
        math.fsum(value for _, value in points) / len(points),
    )


def axis(values: Sequence[float]) -> tuple[float, float, float]:
    """Ends of the value axis and the distance of its lines, on nice numbers; from 0 where the values come near it."""
    drawn = [min(max(value, -LARGEST), LARGEST) for value in values]
    low, high = min(drawn), max(drawn)
    if 0 <= low < 0.6 * high:
        low = 0.0
    size = max(abs(low), abs(high))
    if size < 1e-30:
        return 0.0, 1.0, 0.25
    if high - low < 1e-6 * size:
        low, high = low - size / 2, high + size / 2
    step = nice_step((high - low) / 3)
    return math.floor(low / step) * step, math.ceil(high / step) * step, step


def nice_step(raw: float) -> float:
    """The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `raw` (positive)."""
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if step * power >= raw * (1 - 1e-9))


def _grid(low: float, high: float, step: float, is_share: bool) -> str:
    """Horizontal lines with their values."""
    lines = []
    for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        value = index * step
        y = HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        label = f"{100 * value:.0f} %" if is_share else tick(value)
        lines.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{label}</text>'
        )
    return "".join(lines)


def _steps(first: float, last: float) -> str:
    y = HEIGHT - 6
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    if first == last:
        return f'<text class="tick" x="{middle}" y="{y}" text-anchor="middle">update {first:.0f}</text>'
    return (
        f'<text class="tick" x="{LEFT}" y="{y}" text-anchor="start">{first:.0f}</text>'
        f'<text class="tick" x="{middle}" y="{y}" text-anchor="middle">update</text>'
        f'<text class="tick" x="{WIDTH - RIGHT}" y="{y}" text-anchor="end">{last:.0f}</text>'
    )


def tick(value: float) -> str:
    """A short label: `0`, `0.25`, `1500`, `12k`, `3e-06`."""
    if value == 0 or abs(value) < 1e-12:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:.4g}k"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def key_sample(index: int) -> Markup:
    """A short piece of line number `index` for a legend."""
    return Markup(
        '<svg class="key" viewBox="0 0 26 8" aria-hidden="true">'
        f'<line class="line c{int(index)}" x1="1" x2="25" y1="4" y2="4"/></svg>'
    )
