"""Rims: closed around all curves of a part, at their distance, and nowhere inside."""

import math
from itertools import pairwise

import pytest

from feyngd.svg import line, samples
from feyngd.svg._curves import distance
from feyngd.svg._rims import rims

RADIUS = 8.0
PAIR = [line((0, 0), (40, 0))]
CORNER = [*PAIR, line((40, 0), (40, 32))]
STAR = [*CORNER, line((40, 0), (80, -10)), line((40, 0), (10, 20))]


@pytest.mark.parametrize("curves", [PAIR, CORNER, STAR])
def test_a_rim_is_at_its_distance_and_has_no_gaps(curves):
    found = rims(curves, RADIUS)
    segments = [segment for curve in curves for segment in pairwise(samples(curve))]
    for run in found:
        for point in run:
            assert min(distance(point, *segment) for segment in segments) == pytest.approx(RADIUS, rel=0.03)
    # Every end of a piece is on another, or is its own other end.
    for i, run in enumerate(found):
        others = [piece for j, other in enumerate(found) if j != i for piece in pairwise(other)]
        for end, other_end in ((run[0], run[-1]), (run[-1], run[0])):
            near = [distance(end, *piece) for piece in others]
            assert min([math.dist(end, other_end), *near]) < 0.5
    # All around: seen from every node, the rim comes up in every direction in which it is the nearest thing.
    for curve in curves:
        for node in (curve[0], curve[-1]):
            free = [
                angle
                for angle in (math.tau * k / 36 for k in range(36))
                if min(
                    distance((node[0] + RADIUS * math.cos(angle), node[1] + RADIUS * math.sin(angle)), *segment)
                    for segment in segments
                )
                > 0.999 * RADIUS
            ]
            for angle in free:
                there = node[0] + RADIUS * math.cos(angle), node[1] + RADIUS * math.sin(angle)
                assert min(distance(there, *piece) for run in found for piece in pairwise(run)) < 0.2
