"""The rim of an outline: the boundary of all that is near the curves that join the nodes of a part."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

from ._curves import Curve, Point, distance, samples

_TURN = math.pi / 12  # the rim goes around the ends of curves in steps of this angle
_HALVINGS = 10  # where the rim goes inside is found to a thousandth of the distance between two points
_SLACK = 0.02  # of the radius: by how much a point of the rim may be inside, as curves are sampled


def rims(curves: Sequence[Curve], radius: float) -> list[list[Point]]:
    """Return the boundary of the points within a radius of curves, as lines through points.

    Around every curve runs a closed line at that distance. What of it is inside of another curve's, or of the same
    curve's where it bends, is left out.

    Args:
        curves: curves that are joined to one another.
        radius: the distance.
    """
    lines = [samples(curve) for curve in curves]
    segments = [segment for line in lines for segment in pairwise(line)]

    def is_outside(point: Point) -> bool:
        return all(distance(point, *segment) >= (1 - _SLACK) * radius for segment in segments)

    return [run for line in lines for run in _outside(list(_around(line, radius)), is_outside)]


def _outside(loop: Sequence[Point], is_outside: Callable[[Point], bool]) -> list[list[Point]]:
    """Return the pieces of a closed line that are outside, cut where it goes in and comes out."""
    found: list[list[Point]] = []
    run = [loop[0]] if is_outside(loop[0]) else []
    for before, point in pairwise(loop):
        was, now = bool(run), is_outside(point)
        if was != now:
            run.append(_crossing(before, point, is_outside) if was else _crossing(point, before, is_outside))
        if now:
            run.append(point)
        elif was:
            found.append(run)
            run = []
    return [*found, run] if run else found


def _crossing(outside: Point, inside: Point, is_outside: Callable[[Point], bool]) -> Point:
    """Return where the way from a point outside to one inside goes in."""
    for _ in range(_HALVINGS):
        middle = (outside[0] + inside[0]) / 2, (outside[1] + inside[1]) / 2
        if is_outside(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _around(line: Sequence[Point], radius: float) -> Iterator[Point]:
    """Iterate over points at a distance from a line, all around it and back to the first."""
    there = list(_beside(line, radius))
    back = list(_beside(line[::-1], radius))
    yield from there
    yield from _cap(line[-1], there[-1], radius)
    yield from back
    yield from _cap(line[0], back[-1], radius)
    yield there[0]


def _beside(line: Sequence[Point], radius: float) -> Iterator[Point]:
    """Iterate over points beside those of a line, at right angles to it."""
    ends = [line[0], *line, line[-1]]
    for before, (x, y), after in zip(ends[:-2], line, ends[2:], strict=True):
        dx, dy = after[0] - before[0], after[1] - before[1]
        size = math.hypot(dx, dy) or 1.0
        yield x - radius * dy / size, y + radius * dx / size


def _cap(centre: Point, start: Point, radius: float) -> Iterator[Point]:
    """Iterate over points on the half circle around an end, from one side of the line to the other."""
    first = math.atan2(start[1] - centre[1], start[0] - centre[0])
    for step in range(1, round(math.pi / _TURN)):
        angle = first - step * _TURN
        yield centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)
