"""A line of the recent past as inline SVG: no script, no file, coloured by the page's style sheet."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from processors.thresholds import Severity
from processors.trail import Point

WIDTH, HEIGHT, MARGIN = 240, 40, 3
COLUMNS = 120
"""At most so many points are drawn, the last of each column of time."""
GAP = 3.0
"""A pause of so many times the usual step, or an unknown value, interrupts the line."""


def sparkline(points: Sequence[Point], levels: Mapping[Severity, float], title: str) -> str:
    """The line, with those `levels` (by severity) that lie within its range; empty below two known values.

    `title` is read aloud and shown by a pointer; it is text, not markup, and must be escaped by the caller.
    """
    runs = _runs(_thinned(points))
    known = [point for run in runs for point in run]
    if len(known) < 2:
        return ""
    values = [point.value or 0.0 for point in known]
    low, high = min(values), max(values)
    first, last = known[0].at_seconds, known[-1].at_seconds

    def x(at_seconds: float) -> float:
        return round(MARGIN + (WIDTH - 2 * MARGIN) * (at_seconds - first) / ((last - first) or 1), 1)

    def y(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * share, 1)

    lines = [[(x(point.at_seconds), y(point.value or 0.0)) for point in run] for run in runs]
    inside = {severity: level for severity, level in levels.items() if low < level < high}
    dashes = "".join(f'<path class="level {severity}" d="M0 {y(level)}H{WIDTH}"/>' for severity, level in inside.items())
    areas = "".join(f'<path class="area" d="{_path(line)}V{HEIGHT}H{line[0][0]}Z"/>' for line in lines if len(line) > 1)
    strokes = "".join(f'<path class="line" d="{_path(line)}"/>' for line in lines)
    end = lines[-1][-1]
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img"><title>{title}</title>'
        f'{areas}{dashes}{strokes}<path class="end" d="M{end[0]} {end[1]}h0"/></svg>'
    )


def _path(line: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in line)


def _thinned(points: Sequence[Point]) -> Sequence[Point]:
    if len(points) <= COLUMNS:
        return points
    first, span = points[0].at_seconds, points[-1].at_seconds - points[0].at_seconds
    columns = {min(int((point.at_seconds - first) / span * COLUMNS), COLUMNS - 1): point for point in points}
    return list(columns.values())


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """The points in pieces without a hole."""
    steps = sorted(after.at_seconds - before.at_seconds for before, after in pairwise(points))
    usual = steps[len(steps) // 2] if steps else 0.0
    runs: list[list[Point]] = []
    before: Point | None = None
    for point in points:
        if point.value is not None:
            joined = before is not None and before.value is not None and point.at_seconds - before.at_seconds <= GAP * usual
            if joined:
                runs[-1].append(point)
            else:
                runs.append([point])
        before = point
    return runs
