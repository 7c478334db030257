"""Pictures of spacetimes and embeddings."""

from itertools import islice
from xml.etree import ElementTree

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.drawing import spacetime_svg

SVG = "{http://www.w3.org/2000/svg}"
CELL = 22.0


def with_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [found for found in root.iter() if name in found.get("class", "").split()]


def shaded(root: ElementTree.Element) -> list[tuple[int, int]]:
    return sorted(
        (round(float(rect.get("y")) / CELL), round(float(rect.get("x")) / CELL)) for rect in with_class(root, "cell")
    )


@settings(max_examples=40, deadline=None)
@given(fd.testing.spacetimes(samplings=("fixed", "full-batch", "explicit")))
def test_visited_cells_are_shaded(spacetime: fd.Spacetime) -> None:
    svg = spacetime_svg(spacetime)
    root = ElementTree.fromstring(svg)
    listed = [(n, t) for t, batch in enumerate(spacetime.batches()) for n in batch]
    assert shaded(root) == sorted(set(listed))
    repeated = sorted(str(listed.count(cell)) for cell in set(listed) if listed.count(cell) > 1)
    assert sorted(number.text for number in with_class(root, "multiplicity")) == repeated
    assert root.find(f"{SVG}title").text == str(spacetime)
    assert svg == spacetime_svg(spacetime)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_embeddings_are_drawn_in_their_cells(data: st.DataObject) -> None:
    spacetime = data.draw(fd.testing.spacetimes(samplings=("fixed", "full-batch", "explicit"), max_points=3))
    diagram = data.draw(fd.testing.diagrams(max_order=3))
    found = list(islice(fd.embeddings(diagram, spacetime), 40))
    if not found:
        return
    embedding = data.draw(st.sampled_from(found))
    root = ElementTree.fromstring(spacetime_svg(spacetime, diagram, embedding))
    nodes = {int(node.get("data-node")): node for node in with_class(root, "node")}
    assert sorted(nodes) == list(range(diagram.order + 1))
    for node, (n, t) in embedding.items():
        assert (float(nodes[node].get("cy")) // CELL, float(nodes[node].get("cx")) // CELL) == (n, t)
    places = [(node.get("cx"), node.get("cy")) for node in nodes.values()]
    assert len(set(places)) == len(places)
    assert float(nodes[0].get("cx")) > int(spacetime.T) * CELL
    assert len(with_class(root, "edge")) == diagram.order
    assert len(with_class(root, "outline")) == sum(len(part) > 1 for part in diagram.parts)
    box = [float(value) for value in root.get("viewBox").split()]
    assert box[0] + box[2] > float(nodes[0].get("cx")) + 0.3 * CELL


def test_tied_root_is_in_the_row_of_its_part() -> None:
    spacetime = fd.Spacetime.sgd(4, 1, 2, sampling="fixed")
    for diagram in (diagram for diagram in fd.diagrams(3, root_tied=True) if diagram.is_root_tied):
        for embedding in islice(fd.embeddings(diagram, spacetime), 20):
            root = ElementTree.fromstring(spacetime_svg(spacetime, diagram, embedding))
            row = float(with_class(root, "root")[0].get("cy")) // CELL
            colour = with_class(root, "root")[0].get("fill")
            tied = {int(x.get("data-node")) for x in with_class(root, "node") if x.get("fill") == colour} - {0}
            assert {embedding[node][0] for node in tied} == {row}
            assert tied == diagram.parts[0] - {0}


def test_epochs_are_separated() -> None:
    assert (
        len(with_class(ElementTree.fromstring(spacetime_svg(fd.Spacetime.sgd(4, 2, 3, sampling="fixed"))), "epoch"))
        == 2
    )
    for spacetime in (fd.Spacetime.sgd(4, 2), fd.Spacetime.gd(4, 3), fd.Spacetime.from_batches([[0], [1]], 2)):
        assert not with_class(ElementTree.fromstring(spacetime_svg(spacetime)), "epoch")


def test_axes_are_labelled_and_ticks_thin_out() -> None:
    small, large = (ElementTree.fromstring(spacetime_svg(fd.Spacetime.gd(N, 3))) for N in (4, 60))
    assert [label.text for label in with_class(small, "axis")] == ["datapoint n", "step t"]
    assert [tick.text for tick in with_class(small, "tick")] == ["0", "1", "2", "3", "0", "1", "2"]
    assert [tick.text for tick in with_class(large, "tick")][:3] == ["0", "5", "10"]


def test_one_reshuffled_epoch_is_drawn_in_order() -> None:
    assert shaded(ElementTree.fromstring(spacetime_svg(fd.Spacetime.sgd(3)))) == [(0, 0), (1, 1), (2, 2)]


def test_notebooks_show_the_grid_of_small_spacetimes() -> None:
    for spacetime in (fd.Spacetime.sgd(4, 2, 3, sampling="fixed"), fd.Spacetime.sgd(5), fd.Spacetime.gd(3, 2)):
        assert spacetime._repr_svg_() == spacetime_svg(spacetime)
    random, large = fd.Spacetime.sgd(4, 2, 3), fd.Spacetime.gd(41, 3)
    symbolic = fd.Spacetime.gd(sympy.Symbol("N", integer=True, positive=True), 3)
    assert random._repr_svg_() is large._repr_svg_() is symbolic._repr_svg_() is None


def test_no_steps_and_order_zero() -> None:
    for spacetime in (fd.Spacetime.gd(3, 0), fd.Spacetime.gd(3, 1)):
        root = ElementTree.fromstring(spacetime_svg(spacetime, fd.Diagram.parse("[]"), {}))
        assert len(with_class(root, "node")) == 1


def test_many_nodes_in_one_cell_stay_apart() -> None:
    diagram, spacetime = fd.Diagram.parse("[a a a a a a a a]"), fd.Spacetime.gd(1, 1)
    root = ElementTree.fromstring(spacetime_svg(spacetime, diagram, {node: (0, 0) for node in range(1, 9)}))
    nodes = [(float(x.get("cx")), float(x.get("cy")), float(x.get("r"))) for x in with_class(root, "node")]
    for i, (x, y, r) in enumerate(nodes):
        assert all((x - u) ** 2 + (y - v) ** 2 > (r + s) ** 2 for u, v, s in nodes[:i])


@pytest.mark.parametrize(
    "spacetime", [fd.Spacetime.sgd(4, 2, 2), fd.Spacetime.sgd(3, T=2, sampling="with-replacement")]
)
def test_random_batches_are_refused_with_a_cure(spacetime: fd.Spacetime) -> None:
    with pytest.raises(fd.SpacetimeError, match=r"Spacetime\.from_batches\(spacetime\.batches\(rng\), N\)"):
        spacetime_svg(spacetime)


def test_symbols_are_refused() -> None:
    with pytest.raises(fd.SpacetimeError, match="subs"):
        spacetime_svg(fd.Spacetime.sgd(sympy.Symbol("N", integer=True, positive=True)))


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ({1: (1, 1)}, r"keys are the nodes \[1, 2\], got \[1\]"),
        ({0: (2, 2), 1: (1, 1), 2: (0, 0)}, r"got \[0, 1, 2\]"),
        ([(1, 1), (0, 0)], "got list"),
        ({1: (1, 1), 2: (1, 0)}, r"\(1, 0\), which SGD does not visit.*\(0, 0\), \(0, 3\)"),
        ({1: (1, 1), 2: (9, 9)}, "does not visit"),
        ({1: (1, 1), 2: [0, 0]}, "does not visit"),
        ({1: (0, 0), 2: (1, 1)}, "strictly earlier"),
        ({1: (0, 3), 2: (1, 1)}, "share the datapoint"),
    ],
)
def test_bad_embeddings(embedding: dict[int, tuple[int, int]], message: str) -> None:
    tied = "share" in message
    diagram = fd.Diagram.parse("[a[a]]" if tied else "[a[b]]")
    with pytest.raises(fd.ArgumentError, match=message):
        spacetime_svg(fd.Spacetime.sgd(3, 1, 2, sampling="fixed"), diagram, embedding)


def test_other_bad_arguments() -> None:
    spacetime, diagram = fd.Spacetime.sgd(3), fd.Diagram.parse("[a]")
    with pytest.raises(fd.ArgumentError, match="both"):
        spacetime_svg(spacetime, diagram)
    with pytest.raises(fd.ArgumentError, match="both"):
        spacetime_svg(spacetime, embedding={1: (0, 0)})
    with pytest.raises(fd.ArgumentError, match="Only diagrams"):
        spacetime_svg(spacetime, "[a]", {1: (0, 0)})  # type: ignore[arg-type]
    with pytest.raises(fd.ArgumentError, match=r"made by Spacetime\.sgd"):
        spacetime_svg("3 points")  # type: ignore[arg-type]
    with pytest.raises(fd.ArgumentError, match="cell"):
        spacetime_svg(spacetime, cell=0)
