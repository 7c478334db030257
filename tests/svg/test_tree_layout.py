"""Where nodes and outlines go: parents in the middle, outlines apart and without needless crossings."""

import math
from itertools import combinations

import pytest

import feyngd as fd
from feyngd.drawing import spacetime_svg
from feyngd.drawing._embedding import _places
from feyngd.svg._curves import Surroundings, aside, best_curve, line, samples, ways
from feyngd.svg._outlines import outline_curves
from feyngd.svg._tree_layout import tree_layout
from feyngd.svg.elements import number

COLUMN, ROW = 60.0, 40.0


@pytest.mark.parametrize(
    ("value", "written"), [(1.1, "1.1"), (2.0, "2"), (-0.001, "0"), (-2.5, "-2.5"), (0.126, "0.13"), (100.0, "100")]
)
def test_coordinates_are_short(value, written):
    assert number(value) == written


def test_parents_are_in_the_middle_of_their_children():
    for diagram in fd.diagrams(4):
        places = tree_layout(diagram, COLUMN, ROW)
        leaves = sorted(places[node][1] for node in range(5) if not diagram.children[node])
        assert leaves == [ROW * k for k in range(len(leaves))]
        for node in range(5):
            if below := [places[child] for child in diagram.children[node]]:
                heights = [y for _, y in below]
                assert places[node][1] == pytest.approx((min(heights) + max(heights)) / 2)
                assert {x for x, _ in below} == {places[node][0] - COLUMN}


def crosses(a, b, c, d):
    """Whether two segments cross, by the intersection of their lines."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = a, b, c, d
    turn = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx)
    if not turn:
        return False
    s = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / turn
    t = ((cx - ax) * (by - ay) - (cy - ay) * (bx - ax)) / turn
    return 0 < s < 1 and 0 < t < 1


@pytest.mark.parametrize("notation", ["[a b[a[b c]]]", "[a[b c c[a]]]", "[a b a b]"])
def test_links_that_need_not_cross_do_not(notation):
    """In the first two the shorter links would cross."""
    diagram = fd.Diagram.parse(notation)
    places = tree_layout(diagram, COLUMN, ROW)
    links = [tuple(places[node] for node in sorted(part)) for part in diagram.parts if len(part) == 2]
    assert len(links) == 2
    assert not any(crosses(*one, *other) for one, other in combinations(links, 2))


def test_no_stranger_stands_between_tied_siblings():
    places = tree_layout(fd.Diagram.parse("[a a b[a]]"), COLUMN, ROW)
    assert [places[node][1] for node in (1, 2, 3)] in ([0, ROW, 2 * ROW], [2 * ROW, ROW, 0], [ROW, 0, 2 * ROW])


@pytest.mark.parametrize(
    ("cells", "row"), [([(0, 0), (1, 1)], 1), ([(2, 2), (1, 1)], 2), ([(1, 0), (0, 0)], 0), ([(0, 1), (2, 1)], 0)]
)
def test_a_free_root_is_level_with_its_last_child(cells, row):
    """Of several in the last step, with the uppermost."""
    diagram, spacetime = fd.Diagram.parse("[a b]"), fd.Spacetime.gd(3, 3)
    places = _places(diagram, dict(enumerate(cells, start=1)), 3, 10.0)
    assert places[0] == pytest.approx((39.0, 10 * (row + 0.5)))
    assert spacetime_svg(spacetime, diagram, dict(enumerate(cells, start=1)))


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


def test_outlines_keep_off_each_other():
    """Two long links side by side: the second, whose straight line would run along the first, bends away from it."""
    places = {1: (0.0, 0.0), 2: (100.0, 0.0), 3: (-10.0, 15.0), 4: (110.0, 15.0)}
    first, second = (
        [point for curve in curves for point in samples(curve)]
        for curves in outline_curves(places, [{1, 2}, {3, 4}], clearance=5.0, width=20.0).values()
    )
    assert all(y == 0 for _, y in first)
    middle = min(second, key=lambda point: abs(point[0] - 50))
    assert middle[1] > 20
