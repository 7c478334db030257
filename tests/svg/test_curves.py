"""Curves that go around what is in their way."""

import math

import pytest

from feyngd.svg._curves import Surroundings, aside, best_curve, line, samples, ways


@pytest.mark.parametrize("end", [(40.0, 0.0), (30.0, 40.0), (-30.0, 40.0)])
def test_aside_means_the_same_side_from_either_end(end):
    start = (0.0, 0.0)
    curve, back = aside(start, end, 5.0, 9.0), aside(end, start, 9.0, 5.0)
    for ours, theirs in zip(curve, reversed(back), strict=True):
        assert ours == pytest.approx(theirs)
    # Positive distances are downwards, which is to larger y.
    straight = line(start, end)
    for control, plain, distance in ((curve[1], straight[1], 5.0), (curve[2], straight[2], 9.0)):
        assert control[1] > plain[1]
        assert math.dist(control, plain) == pytest.approx(distance)


def test_curves_go_around_obstacles_by_their_clearance():
    start, end, obstacle = (0.0, 0.0), (100.0, 0.0), (50.0, 1.0)
    cost, curve = best_curve(ways(start, end, 10.0), Surroundings([obstacle], 10.0))
    nearest = min(math.dist(obstacle, point) for point in samples(curve))
    assert nearest >= 10
    assert cost < 130
    free = best_curve(ways(start, end, 10.0), Surroundings([(50.0, 30.0)], 10.0))
    assert free == (pytest.approx(100), line(start, end))
