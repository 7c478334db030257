"""Reading and writing diagrams, and the messages about invalid input."""

import networkx as nx
import pytest

import feyngd as fd
from feyngd import Diagram


@pytest.mark.parametrize("order", range(5))
def test_both_notations_round_trip(order):
    for diagram in fd.diagrams(order, root_tied=True):
        assert Diagram.parse(str(diagram)) == diagram
        assert Diagram.parse(diagram.edge_notation()) == diagram
        assert repr(diagram) == f"Diagram('{diagram}')"
    assert len({str(D) for D in fd.diagrams(order, root_tied=True)}) == fd.count_diagrams(order, root_tied=True)


def test_many_parts_have_distinct_names():
    diagram = Diagram.from_labels([-1] + [0] * 70, [*range(70), 69])
    assert Diagram.parse(str(diagram)) == diagram
    assert len(diagram.parts) == 70


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("[]", "()(0)"),
        (" [ a\ta ] ", "[a a]"),
        ("[b c[b]]", "[a b[a]]"),
        ("[x12[y1] y1]", "[a b[a]]"),
        ("[B b]", "[a b]"),
        ("z[a z]", "(01-02)(02-1)"),
        ("[a[]]", "[a]"),
        ("(20-01)(0-1-2)", None),
        ("( 01 - 02 - 23 ) ( 0 - 12 - 3 )", "[a a[b]]"),
        ("(23-02-01)(3-21-0)", "[a a[b]]"),
        ("(12-01)(0-2-1)", "[a[b]]"),
    ],
)
def test_texts_that_mean_the_same(text, same):
    if same is None:
        with pytest.raises(fd.DiagramError, match="root"):
            Diagram.parse(text)
    else:
        assert Diagram.parse(text) == Diagram.parse(same)


def test_the_parts_of_a_parsed_diagram():
    diagram = Diagram.parse("(01-02-13)(0-12-3)")
    assert diagram.order == 3
    assert sorted(map(len, diagram.parts)) == [1, 1, 2]
    assert diagram.parts[0] == {0}
    assert str(diagram) == "[a a[b]]"
    assert Diagram.parse("a[b a]").parts[0] >= {0}
    assert len(Diagram.parse("a[b a]").parts[0]) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no outer bracket"),
        ("a", "no outer bracket"),
        ("a b[c]", "no outer bracket"),
        ("]", "no outer bracket"),
        ("[a", r"lacks 1 closing"),
        ("[a[b[c]", r"lacks 2 closing"),
        ("[a]]", "goes on"),
        ("[a][b]", "goes on"),
        ("[a] b", "goes on"),
        ("[[a]]", "follows no node"),
        ("[a [b] [c]]", "follows no node"),
        ("[a, b]", "Unexpected ','"),
        ("[1 2]", "Unexpected '1'"),
        ("[a (b)]", r"Unexpected '\('"),
        ("(01", "Cannot read"),
        ("(01)", "Cannot read"),
        ("(01)(0-1)(2)", "Cannot read"),
        ("(01-2)(0-1-2)", "Edge '2'.*not a pair"),
        ("(01-)(0-1)", "Edge ''.*not a pair"),
        ("(0A)(0-A)", "Edge '0A'.*not a pair"),
        ("(01-03)(0-1-2)", "nodes are 0 to 2; edge '03'"),
        ("(01-10)(0-1-2)", "points into node 0"),
        ("(01-21)(0-1-2)", "two parents: the edges contain a cycle"),
        ("(12-21)(0-1-2)", "contain a cycle"),
        ("(11)(0-1)", "contain a cycle"),
        ("(01-23-32)(0-1-2-3)", "contain a cycle"),
        ("(01)(0)", "miss node.*1"),
        ("(01)(0-1-)", "empty part"),
        ("(01)()", "empty part"),
        ("(01)(01-1)", "repeat node 1"),
        ("(01)(0-12)", "names '2', which is no node"),
        ("(01)(0-1!)", "names '!', which is no node"),
    ],
)
def test_malformed_text_is_explained(text, words):
    with pytest.raises(fd.DiagramError, match=words) as caught:
        Diagram.parse(text)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("thing", [None, 3, ["[a]"], b"[a]"])
def test_only_text_is_parsed(thing):
    with pytest.raises(fd.DiagramError, match=type(thing).__name__):
        Diagram.parse(thing)


def test_edge_notation_has_36_names():
    longest = Diagram.from_labels([-1, *range(35)], range(36))
    assert Diagram.parse(longest.edge_notation()) == longest
    longer = Diagram.from_labels([-1, *range(36)], range(37))
    with pytest.raises(fd.DiagramError, match="at most 36"):
        longer.edge_notation()
    edges = "-".join(["01"] * 36)
    with pytest.raises(fd.DiagramError, match="at most 36"):
        Diagram.parse(f"({edges})(0)")


@pytest.mark.parametrize(
    ("tree", "partition", "words"),
    [
        (nx.DiGraph(), [], "no nodes"),
        (nx.DiGraph([("r", "a"), ("a", "r")]), [{"r"}, {"a"}], "cycle"),
        (nx.DiGraph([("r", "a"), ("b", "c"), ("c", "b")]), [{"r", "a", "b", "c"}], "cycle"),
        (nx.DiGraph([("r", "a"), ("r", "b"), ("a", "b")]), [{"r"}, {"a"}, {"b"}], "'b' more than one parent"),
        (nx.DiGraph([("r", "a"), ("s", "b")]), [{"r"}, {"a"}, {"s"}, {"b"}], "no path"),
        (nx.Graph([("r", "a")]), [{"r"}, {"a"}], "got Graph"),
        (nx.MultiDiGraph([("r", "a")]), [{"r"}, {"a"}], "multigraph"),
        ("[a]", [{0}], "got str"),
        (nx.DiGraph([("r", "a")]), [{"r"}], "misses node.*'a'"),
        (nx.DiGraph([("r", "a")]), [{"r"}, {"a"}, {"b"}], "names node 'b', which is not in the tree"),
        (nx.DiGraph([("r", "a")]), [{"r", "a"}, {"a"}], "repeats node 'a'"),
        (nx.DiGraph([("r", "a")]), [{"r"}, {"a"}, set()], "empty"),
    ],
)
def test_trees_and_partitions_that_make_no_diagram(tree, partition, words):
    with pytest.raises(fd.DiagramError, match=words):
        Diagram(tree, partition)


@pytest.mark.parametrize(
    ("parents", "labels", "words"),
    [
        ([-1, 0], [0], "got 2 and 1"),
        ([], [], "−1 for the root"),
        ([0, 0], [0, 1], "−1 for the root"),
        ([-1, 5], [0, 1], "node numbers"),
        ([-1, -1], [0, 1], "node numbers"),
        ([-1, 2, 1], [0, 1, 2], "cycle: 2 node"),
    ],
)
def test_parents_and_labels_that_make_no_diagram(parents, labels, words):
    with pytest.raises(fd.DiagramError, match=words):
        Diagram.from_labels(parents, labels)


def test_the_tree_is_a_frozen_arborescence():
    diagram = Diagram.parse("[a b[c]]")
    assert nx.is_arborescence(diagram.tree)
    assert all(parent < child for parent, child in diagram.tree.edges)
    assert Diagram(diagram.tree, diagram.parts) == diagram
    with pytest.raises(nx.NetworkXError):
        diagram.tree.add_edge(0, 9)
