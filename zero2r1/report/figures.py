"""The figures that are no curves: scores of all stages on one scale, a difference with its interval, the stage graph.

As in `charts`: inline SVG with a text alternative; marks differ by shape as well as by colour.
"""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from zero2r1.report.charts import attribute
from zero2r1.report.claims import Claim
from zero2r1.report.data import ReportData
from zero2r1.report.scores import Estimate, estimate
from zero2r1.report.tables import percent, points_text

LADDER = (("pass@1", "pass@1", 1), ("readable", "readable", 2), ("language", "one language", 3))
"""Metric, its name in the legend, number of its colour and shape (1 disc, 2 diamond, 3 square)."""

ROW_HEIGHT = 34.0
LADDER_WIDTH = 760.0
LABEL_WIDTH = 130.0
NODE_WIDTH, NODE_HEIGHT, COLUMN, LINE = 128.0, 46.0, 172.0, 78.0


def mark(shape: int, x: float, y: float, size: float = 5.0) -> str:
    """A mark of shape and colour `shape`: 1 disc, 2 diamond, 3 square."""
    if shape == 1:
        return f'<circle class="dot c1" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>'
    if shape == 2:
        reach = size + 1
        corners = ((x, y - reach), (x + reach, y), (x, y + reach), (x - reach, y))
        return f'<polygon class="open c2" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in corners)}"/>'
    side = 2 * size - 1
    return f'<rect class="open c3" x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side}" height="{side}"/>'


def mark_sample(shape: int) -> Markup:
    """The mark alone, for a legend."""
    return Markup(f'<svg class="key" viewBox="0 0 16 14" aria-hidden="true">{mark(shape, 8.0, 7.0, 4.5)}</svg>')


def ladder(data: ReportData) -> Markup | None:
    """The scores of all measured stages on one percent scale, with the interval of pass@1; None without any."""
    rows = [
        (stage.name, {metric: estimate(stage, metric, data.suite) for metric, _, _ in LADDER}) for stage in data.stages
    ]
    rows = [(name, scores) for name, scores in rows if any(scores.values())]
    if not rows:
        return None
    height = 24 + ROW_HEIGHT * len(rows)

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _on_ladder(share)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 20:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 5:.1f}" text-anchor="middle">{share:.0%}</text>')
    told = []
    for index, (name, scores) in enumerate(rows):
        y = 4 + ROW_HEIGHT * (index + 0.5)
        parts.append(f'<text class="label" x="0" y="{y + 4:.1f}">{attribute(_short(name, 18))}</text>')
        parts.append(_marks(scores, y))
        told.append(f"{name}: " + ", ".join(f"{label} {percent(_mean(scores[metric]))}" for metric, label, _ in LADDER))
    return Markup(
        f'<svg class="wide" viewBox="0 0 {LADDER_WIDTH:.0f} {height:.0f}" role="img" '
        f'aria-label="{attribute("Scores by stage. " + "; ".join(told))}">{"".join(parts)}</svg>'
    )


def _on_ladder(share: float) -> float:
    """Place of a share in [0, 1] on the ladder's scale."""
    return LABEL_WIDTH + min(max(share, 0.0), 1.0) * (LADDER_WIDTH - LABEL_WIDTH - 20)


def _on_forest(value: float, reach: float) -> float:
    """Place of a difference on a scale from -reach to +reach."""
    return 4 + (min(max(value / reach, -1.0), 1.0) + 1) / 2 * 132


def _marks(scores: Mapping[str, Estimate | None], y: float) -> str:
    drawn = []
    for metric, _, shape in reversed(LADDER):
        score = scores[metric]
        if score is None:
            continue
        if shape == 1 and score.low is not None and score.high is not None:
            drawn.append(_bar(_on_ladder(score.low), _on_ladder(score.high), y))
        drawn.append(mark(shape, _on_ladder(score.mean), y))
    return "".join(drawn)


def _bar(low: float, high: float, y: float) -> str:
    return f'<line class="bar c1" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _mean(score: Estimate | None) -> float | None:
    return None if score is None else score.mean


def forest(claim: Claim, reach: float) -> Markup:
    """A difference with its interval around the claim's margin, on a scale from -reach to +reach."""
    change = None if claim.change is None else claim.change.estimate
    if change is None:
        return Markup("")
    limit = _on_forest(claim.margin, reach)
    parts = [f'<line class="zero" x1="{limit:.1f}" x2="{limit:.1f}" y1="2" y2="20"/>']
    if change.low is not None and change.high is not None:
        parts.append(_bar(_on_forest(change.low, reach), _on_forest(change.high, reach), 11.0))
    parts.append(mark(1, _on_forest(change.mean, reach), 11.0, 4.0))
    told = f"Difference {points_text(change)}; the claim needs more than {100 * claim.margin:+.0f} points"
    return Markup(
        f'<svg class="forest" viewBox="0 0 140 22" role="img" aria-label="{attribute(told)}">{"".join(parts)}</svg>'
    )


def reach_of(claims: Sequence[Claim]) -> float:
    """The largest |bound| among the claims' differences: one scale for all of them."""
    found = [0.05]
    for claim in claims:
        if claim.change is not None:
            change = claim.change.estimate
            found += [abs(value) for value in (change.mean, change.low, change.high) if value is not None]
    return max(found)


def graph(data: ReportData) -> Markup | None:
    """Which stage starts from which: columns by distance from the start, arrows from parent to child."""
    names = [stage.name for stage in data.stages]
    if not names:
        return None
    edges = [
        (parent, stage.name, role)
        for stage in data.stages
        for role, parent in stage.parents.items()
        if parent in names and names.index(parent) < names.index(stage.name)
    ]
    depth: dict[str, int] = {}
    for name in names:
        depth[name] = 1 + max((depth[parent] for parent, child, _ in edges if child == name), default=-1)
    rows = _rows(data, depth)
    places = {name: (2 + depth[name] * COLUMN, 30 + rows[name] * LINE) for name in names}
    width = 4 + max(depth.values()) * COLUMN + NODE_WIDTH
    height = 4 + (1 + max(rows.values())) * LINE
    parts = [_arrow(places[parent], places[child], role) for parent, child, role in edges]
    for stage in data.stages:
        score = estimate(stage, "pass@1", data.suite)
        below = f"pass@1 {percent(score.mean)}" if score else stage.state
        parts.append(_node(places[stage.name], stage.name, below, is_done=stage.state == "finished"))
    told = "; ".join(f"{child} comes from {parent} ({role})" for parent, child, role in edges) or ", ".join(names)
    return Markup(
        f'<svg class="graph" style="max-width:{width:.0f}px" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{attribute("Stage graph. " + told)}">{"".join(parts)}</svg>'
    )


def _rows(data: ReportData, depth: Mapping[str, int]) -> dict[str, int]:
    """Row of each stage: that of the stage whose weights it starts from, or the next free one of its column."""
    rows: dict[str, int] = {}
    taken: set[tuple[int, int]] = set()
    for stage in data.stages:
        parents = [parent for parent in (stage.parents.get("base"), *stage.parents.values()) if parent in rows]
        row = rows[parents[0]] if parents else 0
        while (depth[stage.name], row) in taken:
            row += 1
        rows[stage.name] = row
        taken.add((depth[stage.name], row))
    return rows


def _node(place: tuple[float, float], name: str, below: str, *, is_done: bool) -> str:
    x, y = place
    middle = x + NODE_WIDTH / 2
    return (
        f'<rect class="node{"" if is_done else " waiting"}" x="{x}" y="{y}" rx="8" width="{NODE_WIDTH}" '
        f'height="{NODE_HEIGHT}"/>'
        f'<text class="label" x="{middle}" y="{y + 20}" text-anchor="middle">{attribute(_short(name, 17))}</text>'
        f'<text class="tick" x="{middle}" y="{y + 36}" text-anchor="middle">{attribute(below)}</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], role: str) -> str:
    """From the right edge of the parent to the left edge of the child; longer ones leave by the lower edge and bow."""
    (x1, y1), (x2, y2) = start, end
    columns = round((x2 - x1) / COLUMN)
    style = "edge" if role == "base" else "edge teaches"
    x2 -= 7
    if columns <= 1:
        x1, y1, y2 = x1 + NODE_WIDTH, y1 + NODE_HEIGHT / 2, y2 + NODE_HEIGHT / 2
        middle = (x1 + x2) / 2
        path = f"M{x1:.1f},{y1:.1f} C{middle:.1f},{y1:.1f} {middle:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    else:
        # Over the boxes in between: out of the parent's upper edge, into the child's left edge from above.
        x1, y2 = x1 + NODE_WIDTH * 0.75, y2 + NODE_HEIGHT / 4
        top = min(y1, y2) - min(22, 9 + 3 * columns)
        path = f"M{x1:.1f},{y1:.1f} C{x1 + 24:.1f},{top:.1f} {x1 + 40:.1f},{top:.1f} {x1 + 64:.1f},{top:.1f}"
        path += f" L{x2 - 46:.1f},{top:.1f} C{x2 - 22:.1f},{top:.1f} {x2 - 24:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"
    head = f"{x2 + 6:.1f},{y2:.1f} {x2 - 1:.1f},{y2 - 3.5:.1f} {x2 - 1:.1f},{y2 + 3.5:.1f}"
    return f'<path class="{style}" d="{path}"/><polygon class="head" points="{head}"/>'


def _short(name: str, limit: int) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
