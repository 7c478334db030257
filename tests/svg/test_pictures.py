"""Trees and grids from plain data."""

from xml.etree import ElementTree

from feyngd.svg import Grid, document, grid_picture, part_colours, tree_picture


def with_class(svg, name):
    return [found for found in ElementTree.fromstring(svg).iter() if name in found.get("class", "").split()]


def test_a_tree_is_drawn_from_parents_and_parts():
    parents, parts = [-1, 0, 0, 2], [{0}, {1, 3}, {2}]
    svg = document(tree_picture(parents, parts, numbered=True), "a tree")
    nodes = {int(node.get("data-node")): node for node in with_class(svg, "node")}
    assert sorted(nodes) == [0, 1, 2, 3]
    assert len(with_class(svg, "edge")) == 3
    assert [outline.get("data-part") for outline in with_class(svg, "outline")] == ["1"]
    assert [label.text for label in with_class(svg, "label")] == ["0", "1", "2", "3"]
    colours = part_colours(parts)
    assert [nodes[node].get("fill") for node in range(4)] == [colours[0], colours[1], colours[2], colours[1]]


def test_a_grid_is_drawn_from_cells():
    grid = Grid(2, 4, {(0, 1): 1, (1, 3): 2}, "row", "column", [2], "half")
    svg = document(grid_picture(grid, cell=10), "a grid")
    assert [(cell.get("y"), cell.get("x")) for cell in with_class(svg, "cell")] == [("0", "10"), ("10", "30")]
    assert [number.text for number in with_class(svg, "multiplicity")] == ["2"]
    assert [line.get("d") for line in with_class(svg, "half")] == ["M20 -3.5V23.5"]
    assert [label.text for label in with_class(svg, "axis")] == ["row", "column"]


def test_an_overlay_widens_the_picture():
    grid = Grid(2, 4, {}, "row", "column")
    plain, wide = grid_picture(grid, cell=10), grid_picture(grid, cell=10, overlay="<circle/>", beyond=1.5)
    assert wide.body == plain.body + "<circle/>"
    assert wide.width == plain.width + 15
