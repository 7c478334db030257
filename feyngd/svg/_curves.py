"""Cubic Bézier curves, and the search for a curve that goes around obstacles."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Curve = tuple[Point, Point, Point, Point]

_SPACING, _MOST_SAMPLES = 5.0, 400  # pixels between the samples of a curve, and the most samples
# How far the two control points stand aside from the straight line, in units of the clearance: arcs on either side,
# from flat to high, then S-shapes.
_ARCS = [(sign * h, sign * h) for h in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 9.0) for sign in (-1, 1)]
_BENDS = [(sign * h, -sign * h) for h in (1.0, 2.0, 3.0) for sign in (-1, 1)]
# Arcs of which one side is steeper, for obstacles near one end.
_LEANS = [
    (sign * h * a, sign * h * b) for h in (2.0, 4.0, 6.0) for a, b in ((1.0, 0.2), (0.2, 1.0)) for sign in (-1, 1)
]


def line(start: Point, end: Point) -> Curve:
    """Return the straight line as a curve."""
    return aside(start, end, 0.0, 0.0)


def aside(start: Point, end: Point, first: float, second: float) -> Curve:
    """Return the curve whose control points stand aside from the straight line by two distances; up is negative."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    size = math.hypot(dx, dy) or 1.0
    nx, ny = -dy / size, dx / size
    if ny < 0 or (ny == 0 and nx < 0):  # the same side, whichever end comes first
        nx, ny = -nx, -ny
    a = (start[0] + 0.25 * dx + first * nx, start[1] + 0.25 * dy + first * ny)
    b = (start[0] + 0.75 * dx + second * nx, start[1] + 0.75 * dy + second * ny)
    return (start, a, b, end)


def swing(start: Point, end: Point) -> Curve:
    """Return the curve that leaves and arrives horizontally."""
    middle = (start[0] + end[0]) / 2
    return (start, (middle, start[1]), (middle, end[1]), end)


def samples(curve: Curve) -> list[Point]:
    """Return points along a curve, about evenly spaced, the ends included."""
    hull = sum(math.dist(p, q) for p, q in pairwise(curve))
    count = min(max(8, math.ceil(hull / _SPACING)), _MOST_SAMPLES)
    points = []
    for step in range(count + 1):
        t = step / count
        weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
        x = sum(weight * point[0] for weight, point in zip(weights, curve, strict=True))
        y = sum(weight * point[1] for weight, point in zip(weights, curve, strict=True))
        points.append((x, y))
    return points


def distance(point: Point, a: Point, b: Point) -> float:
    """Return the distance from a point to the segment from a to b."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    share = ((point[0] - a[0]) * dx + (point[1] - a[1]) * dy) / (dx * dx + dy * dy or 1.0)
    share = min(1.0, max(0.0, share))
    return math.dist(point, (a[0] + share * dx, a[1] + share * dy))


@dataclass(frozen=True)
class Surroundings:
    """What a curve has to avoid.

    Attributes:
        obstacles: points that it must not pass over.
        clearance: how far from them it must stay.
        traffic: points of other curves, which it should not cover.
        width: how far from those it should stay.
    """

    obstacles: Sequence[Point]
    clearance: float
    traffic: Sequence[Point] = ()
    width: float = 0.0

    def cost(self, curve: Curve) -> tuple[float, float]:
        """Return the length of a curve with all penalties, and the length alone."""
        points = samples(curve)
        length = sum(math.dist(p, q) for p, q in pairwise(points))
        cost = length
        for obstacle in self.obstacles:
            nearest = min(math.dist(obstacle, point) for point in points)
            cost += 60 * max(0.0, self.clearance - nearest)
        if self.traffic:
            covered = sum(any(math.dist(p, q) < self.width for q in self.traffic) for p in points)
            cost += 2 * length * covered / len(points)
        return cost, length


def best_curve(candidates: Iterable[Curve], around: Surroundings) -> tuple[float, Curve]:
    """Return the cheapest curve with its cost; the first one without any penalty ends the search."""
    best: tuple[float, Curve] | None = None
    for curve in candidates:
        cost, length = around.cost(curve)
        if best is None or cost < best[0] - 1e-6:
            best = (cost, curve)
        if best[0] <= length + 1e-6:
            break  # later candidates are longer, and this curve has no penalties
    assert best is not None
    return best


def ways(start: Point, end: Point, unit: float) -> Iterator[Curve]:
    """Iterate over curves from one point to another, the straight line first."""
    yield line(start, end)
    for first, second in (*_ARCS, *_LEANS, *_BENDS):
        yield aside(start, end, first * unit, second * unit)
