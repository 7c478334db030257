"""Where nodes go: parents in the middle of their children, tied siblings together, no needless crossings."""

from itertools import combinations

import pytest

import feyngd as fd
from feyngd.svg._tree_layout import tree_layout

COLUMN, ROW = 60.0, 40.0


def layout(diagram):
    return tree_layout(diagram.parents, diagram.parts, column=COLUMN, row=ROW)


def test_parents_are_in_the_middle_of_their_children():
    for diagram in fd.diagrams(4):
        places = layout(diagram)
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
    places = layout(diagram)
    links = [tuple(places[node] for node in sorted(part)) for part in diagram.parts if len(part) == 2]
    assert len(links) == 2
    assert not any(crosses(*one, *other) for one, other in combinations(links, 2))


def test_no_stranger_stands_between_tied_siblings():
    places = layout(fd.Diagram.parse("[a a b[a]]"))
    assert [places[node][1] for node in (1, 2, 3)] in ([0, ROW, 2 * ROW], [2 * ROW, ROW, 0], [ROW, 0, 2 * ROW])
