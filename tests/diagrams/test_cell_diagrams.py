"""Diagrams with cells: notation, canonical form, automorphisms, and their number counted two ways."""

import pickle
from collections import Counter
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import feyngd as fd
from feyngd import CellDiagram, Diagram
from feyngd.errors import ArgumentError, DiagramError

NESTED = [1, 1, 3, 12, 60, 358]  # pairs of a partition of n things and one that refines it


@pytest.mark.parametrize("order", range(6))
def test_there_are_as_many_as_counted(order):
    found = fd.cell_diagrams(order)
    assert len(found) == len(set(found)) == fd.count_cell_diagrams(order)
    # Every labelled pair of partitions of a tree's nodes once: an orbit has |Aut tree| / |Aut diagram| of them.
    shares = Counter()
    for diagram in found:
        shares[diagram.parents] += Fraction(1, diagram.automorphisms)
    for tree, share in shares.items():
        bare = Diagram.from_labels(tree, [0, *[1] * order])
        assert share == Fraction(NESTED[order], bare.automorphisms)


@pytest.mark.parametrize("order", range(4))
def test_tied_roots_are_counted_too(order):
    found = fd.cell_diagrams(order, root_tied=True)
    assert len(set(found)) == fd.count_cell_diagrams(order, root_tied=True)


@given(fd.testing.cell_diagrams(max_order=4))
def test_notation_and_pickles_are_read_back(diagram):
    assert CellDiagram.parse(str(diagram)) == diagram
    assert pickle.loads(pickle.dumps(diagram)) == diagram


@given(fd.testing.cell_diagrams(max_order=4), st.data())
def test_isomorphic_ones_are_equal_and_automorphisms_are_counted(diagram, data):
    nodes = range(1, diagram.order + 1)
    order = [0, *data.draw(st.permutations(nodes))]
    place = {node: at for at, node in enumerate(order)}
    above = [-1 if not node else place[diagram.parents[node]] for node in order]
    moved = CellDiagram.from_labels(
        above, [diagram.labels[node] for node in order], [diagram.cells[node] for node in order]
    )
    assert moved == diagram
    assert hash(moved) == hash(diagram)
    alike = 0
    for images in permutations(nodes):
        image = (0, *images)
        edges = all(diagram.parents[image[v]] == image[diagram.parents[v]] for v in nodes)
        kept = all(
            (part[u] == part[v]) is (part[image[u]] == part[image[v]])
            for part in (diagram.labels, diagram.cells)
            for u in range(diagram.order + 1)
            for v in range(u)
        )
        alike += edges and kept
    assert diagram.automorphisms == alike


def test_networkx_trees_have_cells():
    tree = Diagram.parse("[a a[b]]").tree
    whole = CellDiagram(tree, Diagram.parse("[a a[b]]").parts)
    assert whole == CellDiagram.parse("[a a[b]]")
    split = CellDiagram(tree, Diagram.parse("[a a[b]]").parts, [{0}, {1}, {2}, {3}])
    assert split == CellDiagram.parse("[a.1 a.2[b]]")
    assert split.without_cells == Diagram.parse("[a a[b]]")
    assert split.edge_notation() == "(01-02-23)(0-12-3)(0-1-2-3)"


def test_they_differ_from_diagrams_without_cells():
    assert CellDiagram.parse("[a a]") != Diagram.parse("[a a]")
    assert CellDiagram.of(Diagram.parse("a[a b]")) == CellDiagram.parse("a[a b]")
    assert not CellDiagram.parse("[a[a]]").can_be_placed
    assert CellDiagram.parse("[a.1[a.2]]").can_be_placed
    assert [D.has_split_parts for D in map(CellDiagram.parse, ("[a a]", "a[a]", "[a.1 a.2]"))] == [False, False, True]


def test_pictures_and_tensors_tell_cells_apart():
    diagram = CellDiagram.parse("[a.1 a.2[b]]")
    svg = fd.drawing.diagram_svg(diagram)
    assert svg.count('class="cell"') == 2
    assert fd.drawing.diagram_svg(CellDiagram.parse("[a a[b]]")).count('class="cell"') == 0
    assert diagram._repr_svg_().startswith("<svg")
    assert fd.tensor_expression(diagram, basis="moment") == "E[⟨g_i⟩ ⟨h_jk⟩] G_k H_ij"
    latex = fd.tensor_expression(diagram, basis="moment", latex=True)
    assert latex.startswith(r"\mathbb{E}[\langle g_{i} \rangle")
    with pytest.raises(ArgumentError, match="moments and no cumulants"):
        fd.tensor_expression(diagram)


def test_what_is_no_diagram_with_cells_is_refused():
    with pytest.raises(DiagramError, match="Cells lie within parts"):
        CellDiagram.from_labels([-1, 0, 0], [0, 1, 2], [0, 1, 1])
    with pytest.raises(DiagramError, match="root is a cell of its own"):
        CellDiagram.from_labels([-1, 0], [0, 0], [0, 0])
    with pytest.raises(DiagramError, match="one parent and one cell, got 2 and 1"):
        CellDiagram.from_labels([-1, 0], [0, 1], [0])
    with pytest.raises(DiagramError, match="hold every node of the tree once"):
        CellDiagram(Diagram.parse("[a b]").tree, [{0}, {1}, {2}], [{0}, {1}])
    with pytest.raises(DiagramError, match="Cannot read"):
        CellDiagram.parse("[a.x]")
    with pytest.raises(DiagramError, match="which have moments and no cumulants"):
        list(CellDiagram.parse("[a a]").refinements())
    with pytest.raises(ArgumentError, match="diagrams with cells of order 6"):
        fd.cell_diagrams(6, limit=1000)
    with pytest.raises(ArgumentError, match="without cells"):
        fd.outline(CellDiagram.parse("[a a]"))
