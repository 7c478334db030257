"""Pictures of diagrams: well formed, complete, and unambiguous about who is tied."""

import math
import re
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

import feyngd as fd
from feyngd.drawing import diagram_svg, diagrams_svg
from feyngd.svg import samples

SVG = "{http://www.w3.org/2000/svg}"
ALL = [diagram for order in range(5) for diagram in fd.diagrams(order, root_tied=True)]
NODE_WIDTH = 8.0


def with_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [found for found in root.iter() if name in found.get("class", "").split()]


def node_places(root: ElementTree.Element) -> dict[int, tuple[float, float]]:
    found = with_class(root, "node")
    places = {int(node.get("data-node")): (float(node.get("cx")), float(node.get("cy"))) for node in found}
    assert len(places) == len(found)
    return places


def outline_points(outline: ElementTree.Element) -> tuple[list[tuple[float, float]], float]:
    layers = outline.findall(f"{SVG}path")
    points: list[tuple[float, float]] = []
    for piece in layers[0].get("d").split("M")[1:]:
        values = [float(value) for value in re.findall(r"-?[\d.]+", piece)]
        points += samples(tuple(zip(values[::2], values[1::2], strict=True)))
    return points, max(float(layer.get("stroke-width")) for layer in layers)


def test_every_small_diagram_is_complete() -> None:
    for diagram in ALL:
        root = ElementTree.fromstring(diagram_svg(diagram))
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root.find(f"{SVG}title").text == str(diagram)
        assert sorted(node_places(root)) == list(range(diagram.order + 1))
        assert len(with_class(root, "edge")) == diagram.order
        assert len(with_class(root, "root")) == len(with_class(root, "ring")) == 1
        outlined = {int(outline.get("data-part")) for outline in with_class(root, "outline")}
        assert outlined == {index for index, part in enumerate(diagram.parts) if len(part) > 1}


def test_root_is_rightmost_children_are_left_of_parents_and_nodes_apart() -> None:
    for diagram in ALL:
        places = node_places(ElementTree.fromstring(diagram_svg(diagram)))
        for node in range(1, diagram.order + 1):
            assert places[node][0] < places[diagram.parents[node]][0]
        assert all(places[node][0] < places[0][0] for node in places if node)
        assert all(math.dist(places[u], places[v]) > 2 * NODE_WIDTH for u, v in combinations(places, 2))


def test_edges_join_child_and_parent() -> None:
    diagram = fd.Diagram.parse("[a b[a c] d[b]]")
    root = ElementTree.fromstring(diagram_svg(diagram))
    places = node_places(root)
    ends = set()
    for edge in with_class(root, "edge"):
        values = [float(value) for value in re.findall(r"-?[\d.]+", edge.get("d"))]
        ends.add((tuple(values[:2]), tuple(values[-2:])))
    assert ends == {(places[node], places[diagram.parents[node]]) for node in range(1, 7)}


def test_outlines_cover_their_part_and_nobody_else() -> None:
    for diagram in ALL:
        root = ElementTree.fromstring(diagram_svg(diagram))
        places = node_places(root)
        for outline in with_class(root, "outline"):
            points, width = outline_points(outline)
            part = diagram.parts[int(outline.get("data-part"))]
            for node, place in places.items():
                nearest = min(math.dist(place, point) for point in points)
                if node in part:
                    assert nearest < 0.02
                else:
                    assert nearest > width / 2 + NODE_WIDTH / 2, str(diagram)


def test_every_outline_stays_in_the_picture() -> None:
    for diagram in ALL:
        root = ElementTree.fromstring(diagram_svg(diagram))
        left, top, width, height = (float(value) for value in root.get("viewBox").split())
        for outline in with_class(root, "outline"):
            points, stroke = outline_points(outline)
            for x, y in points:
                assert left + stroke / 2 <= x <= left + width - stroke / 2
                assert top + stroke / 2 <= y <= top + height - stroke / 2


def test_tied_nodes_share_a_colour_that_no_other_part_has() -> None:
    for diagram in ALL:
        root = ElementTree.fromstring(diagram_svg(diagram))
        colours = {int(node.get("data-node")): node.get("fill") for node in with_class(root, "node")}
        for u, v in combinations(colours, 2):
            tied = diagram.labels[u] == diagram.labels[v]
            alone = all(len(diagram.parts[diagram.labels[node]]) == 1 for node in (u, v))
            assert (colours[u] == colours[v]) == (tied or alone)


def test_pictures_tell_diagrams_apart() -> None:
    pictures = {re.sub("<title>.*?</title>", "", diagram_svg(diagram)) for diagram in ALL}
    assert len(pictures) == len(ALL)


def test_equal_diagrams_are_equal_bytes() -> None:
    first, second = fd.Diagram.parse("[a a[b]]"), fd.Diagram.parse("(02-01-23)(0-12-3)")
    assert first == second
    assert diagram_svg(first) == diagram_svg(second) == first._repr_svg_()


@settings(max_examples=15, deadline=None)
@given(fd.testing.diagrams(min_order=5, max_order=5))
def test_order_five(diagram: fd.Diagram) -> None:
    root = ElementTree.fromstring(diagram_svg(diagram, labels=True))
    assert len(node_places(root)) == 6
    assert [label.text for label in with_class(root, "label")] == list("012345")


@pytest.mark.parametrize("shape", [[0] * 14, list(range(14)), [i // 2 for i in range(14)]])
def test_large_diagrams_with_many_parts(shape: list[int]) -> None:
    diagram = fd.Diagram.from_labels([-1, *shape], [i % 7 for i in range(15)])
    root = ElementTree.fromstring(diagram_svg(diagram))
    places = node_places(root)
    assert len(places) == 15
    assert all(math.dist(places[u], places[v]) > 2 * NODE_WIDTH for u, v in combinations(places, 2))
    assert len(with_class(root, "outline")) == 7


def test_scale_changes_the_size_alone() -> None:
    diagram = fd.Diagram.parse("[a a]")
    one, two = (ElementTree.fromstring(diagram_svg(diagram, scale=scale)) for scale in (1, 2))
    assert one.get("viewBox") == two.get("viewBox")
    assert float(two.get("width")) == pytest.approx(2 * float(one.get("width")), abs=0.02)


def test_sheet_shows_all_with_captions() -> None:
    drawn = fd.diagrams(3)
    root = ElementTree.fromstring(diagrams_svg(drawn, columns=4, tensors=True))
    cells = with_class(root, "diagram")
    assert [cell.find(f"{SVG}title").text for cell in cells] == [str(diagram) for diagram in drawn]
    texts = [[text.text for text in cell.findall(f"{SVG}text")] for cell in cells]
    assert texts == [[str(diagram), fd.tensor_expression(diagram)] for diagram in drawn]
    assert not list(ElementTree.fromstring(diagrams_svg(drawn, captions=False)).iter(f"{SVG}text"))


def test_bad_arguments() -> None:
    diagram = fd.Diagram.parse("[a a]")
    for scale in (0, -1.0, float("nan"), float("inf"), True, "2"):
        with pytest.raises(fd.ArgumentError, match="scale"):
            diagram_svg(diagram, scale=scale)  # type: ignore[arg-type]
    with pytest.raises(fd.ArgumentError, match=r"Diagram\.parse"):
        diagram_svg("[a a]")  # type: ignore[arg-type]
    with pytest.raises(fd.ArgumentError, match="columns"):
        diagrams_svg([diagram], columns=0)
    with pytest.raises(fd.ArgumentError, match="no diagrams"):
        diagrams_svg([])
    with pytest.raises(fd.ArgumentError, match="got str"):
        diagrams_svg([diagram, "[a]"])  # type: ignore[list-item]


def test_outlines_are_hollow_and_ties_are_not() -> None:
    diagram = fd.Diagram.parse("[a a[b] b]")
    both, one = fd.outline(diagram), fd.outline(diagram, [2])
    for outline, hollow in ((both, {1, 2}), (one, {2})):
        for svg in (diagram_svg(outline), outline._repr_svg_()):
            root = ElementTree.fromstring(svg)
            assert root.find(f"{SVG}title").text == str(outline)
            assert {int(found.get("data-part")) for found in with_class(root, "outline")} == {1, 2}
            assert {int(found.get("data-part")) for found in with_class(root, "hollow")} == hollow
            assert len(with_class(root, "edge")) == diagram.order
    sheet = diagrams_svg([diagram, both], tensors=True)
    assert len(with_class(ElementTree.fromstring(sheet), "hollow")) == 2
    assert str(both) in sheet
