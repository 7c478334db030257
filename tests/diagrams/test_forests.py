"""Two-rooted diagrams: their form, their symmetries, how they are written and drawn."""

import pickle
from collections import Counter
from itertools import permutations

import pytest

import feyngd as fd
from feyngd import Diagram, Forest
from feyngd.diagrams import splits


def forests(order):
    return {forest for diagram in fd.diagrams(order) for forest in splits(diagram)}


def test_numbers_of_forests():
    # With two roots alone: beside a bare root there is any of the 1, 1, 4, 17 diagrams; at order 2 also a leaf on each
    # side, tied or not; at order 3 a leaf beside each of the 4 diagrams of order 2, untied or tied to one of its parts.
    assert [len(forests(order)) for order in range(4)] == [1, 1, 4 + 2, 17 + 4 + 5]


@pytest.mark.parametrize("order", range(4))
def test_automorphisms_by_trying_all_permutations(order):
    for forest in forests(order):
        size = len(forest.parents)
        found = 0
        for image in permutations(range(1, size)):
            moved = (0, *image)
            keeps_edges = all(moved[forest.parents[node]] == forest.parents[moved[node]] for node in range(1, size))
            keeps_parts = keeps_edges and {frozenset(moved[node] for node in part) for part in forest.parts} == {
                *forest.parts
            }
            found += keeps_parts
        assert forest.automorphisms == found


@pytest.mark.parametrize("order", range(4))
def test_notation_goes_round(order):
    for forest in forests(order):
        assert Forest.parse(str(forest)) == forest
        assert pickle.loads(pickle.dumps(forest)) == forest
    for text in ("a[] a[b]", "a[a] a[a]", "a[b] b[a]", "a[] [a]"):
        assert str(Forest.parse(text)) == text


def test_the_trees_have_no_order_and_no_other_kind_is_equal():
    forest = Forest.parse("[a] [b a[b]]")
    assert forest == Forest.parse("[x y[x]] [y]")
    assert forest.trees == (Diagram.parse("[a]"), Diagram.parse("[a b[a]]"))
    assert forest.is_linked
    assert not Forest.of(*forest.trees).is_linked
    plain = Diagram.from_labels(forest.parents, forest.labels)
    assert forest != plain
    assert plain != forest
    assert len({forest, plain}) == 2


def test_what_a_forest_counts():
    forest = Forest.parse("a[b] a[c[b]]")
    assert (forest.order, forest.num_points, forest.is_root_tied, forest.is_irreducible) == (3, 2, True, False)
    assert str(forest.untie_root()) == "[a] [b[a]]"
    assert forest.tree.number_of_nodes() == 6
    assert Diagram.parse("a[a b]").num_points == 2


def test_splits_share_out_the_children_of_the_root():
    found = Counter(map(str, splits(Diagram.parse("[a a]"))))
    assert found == {"[] [a a]": 2, "[a] [a]": 2}


def test_tensor_expressions():
    written = {
        "[a] [a]": "GCG",
        "[a a] [b]": "GG tr(HC)",
        "[] [a]": "GG l",
        "a[] a[]": "κ[l, l]",
        "a[b] a[b]": "tr(CC)",
    }
    assert {text: fd.tensor_expression(Forest.parse(text)) for text in written} == written
    assert fd.tensor_expression(Forest.parse("[a] [a]"), open_root=True) == "C_ij"
    assert fd.tensor_expression(Forest.parse("[a] [b[a]]"), open_root=True) == "C_ik H_jk"
    assert fd.tensor_expression(Forest.parse("[a] [a]"), root="s", latex=True) == "C_{i j} s_{i} s_{j}"
    assert fd.tensor_expression(Forest.parse("[a] [a]"), basis="moment") == "E[g_i g_j] G_i G_j"


def test_pictures_have_two_rings_and_no_node_that_joins_them():
    picture = Forest.parse("[a] [a b]")._repr_svg_()
    assert picture.count('class="ring"') == 2
    assert picture.count("data-node=") == 5
    assert picture.count('class="edge"') == 3
    assert fd.drawing.diagrams_svg([Forest.parse("[a] [a]")]).count('class="diagram"') == 1


@pytest.mark.parametrize("text", ["[a]", "[a] [b] [c]", "[a] [b", "[a] [b] x", 3])
def test_what_is_no_forest_is_refused(text):
    with pytest.raises(fd.DiagramError):
        Forest.parse(text)


def test_labels_of_no_forest_are_refused():
    with pytest.raises(fd.DiagramError, match="two trees"):
        Forest.from_labels([-1, 0], [0, 1])
    with pytest.raises(fd.DiagramError, match="alone in its part"):
        Forest.from_labels([-1, 0, 0], [0, 0, 1])


def test_where_one_root_is_needed_a_forest_is_refused_and_says_which_diagram_has_its_steps():
    forest, grid = Forest.parse("[a] [b a]"), fd.Spacetime.sgd(4, E=2)
    assert forest.merged == Diagram.parse("[a a b]")
    assert Forest.parse("[a] [b[a]]").merged == Diagram.parse("[a b[a]]")
    assert Forest.parse("[] []").merged == Diagram.parse("[]")
    for call in (
        lambda: fd.count_embeddings(forest, grid),
        lambda: fd.sanity_check(forest, grid),
        lambda: fd.count_orderings(forest),
        lambda: fd.outline(forest),
        lambda: fd.drawing.spacetime_svg(fd.Spacetime.gd(4, 2), forest, {1: (0, 0)}),
    ):
        with pytest.raises(fd.ArgumentError, match=r"merged"):
            call()
    assert fd.count_embeddings(forest.merged, fd.Spacetime.sgd(4)) == 4 * 3


def test_joined_loose_ends_are_one_edge():
    assert Forest.parse("[a] [a]").joined == Diagram.parse("a[a]")
    assert Forest.parse("[a] [b[a]]").joined == Diagram.parse("a[b[a]]")
    with pytest.raises(fd.DiagramError, match="loose ends"):
        Forest.parse("[a] [a b]").joined  # noqa: B018 - raises


def test_forests_on_axes_have_two_rings():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    box = fd.drawing.diagram_box(Forest.parse("[a] [a b]"))
    circles = [artist for artist in box.get_children() if type(artist).__name__ == "Circle"]
    assert len(circles) == 5 + 2
