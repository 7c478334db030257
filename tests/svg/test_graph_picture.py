"""Graphs whose nodes are joined several times, or to themselves."""

from xml.etree import ElementTree

import pytest

from feyngd.svg import Edge, document, graph_picture, line, loop, samples


def test_a_loop_leaves_in_its_direction_and_comes_back():
    points = samples(loop((1.0, 2.0), 10.0, 0.0))
    assert points[0] == pytest.approx((1.0, 2.0))
    assert points[-1] == pytest.approx((1.0, 2.0))
    assert max(x for x, _ in points) == pytest.approx(11.0, abs=0.2)
    assert max(y for _, y in points) - 2 == pytest.approx(2 - min(y for _, y in points))


def test_a_graph_is_inside_its_picture():
    places = [(0.0, 0.0), (30.0, 0.0)]
    picture = graph_picture(places, [Edge(line(*places), marked=True), Edge(loop(places[1], 20.0, 0.0))])
    drawn = list(ElementTree.fromstring(document(picture, "a graph")).iter())
    assert [one.get("class") for one in drawn if one.get("class")] == ["edge marked", "edge", "node", "node"]
    assert [one.get("stroke-dasharray") is None for one in drawn if one.get("d")] == [False, True]
    assert picture.left < 0
    assert picture.left + picture.width > 50
