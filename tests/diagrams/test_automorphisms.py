"""Automorphisms against brute force without colours: permutations built node by node, and known cases."""

from math import factorial
from random import Random

import networkx as nx
import pytest

from feyngd import Diagram


def count_by_backtracking(parents, labels):
    """Count the maps of the tree to itself that keep the root, parents and ties, one node after the other."""
    size = len(parents)
    children = [[child for child in range(size) if parents[child] == node] for node in range(size)]
    order = [0]
    for node in order:
        order.extend(children[node])

    def extend(index, image):
        if index == size:
            return 1
        node = order[index]
        found = 0
        for target in children[image[parents[node]]]:
            fits = target not in image.values() and len(children[target]) == len(children[node])
            if fits and all((labels[node] == labels[v]) == (labels[target] == labels[image[v]]) for v in image):
                found += extend(index + 1, {**image, node: target})
        return found

    return extend(1, {0: 0})


@pytest.mark.parametrize(
    ("text", "automorphisms"),
    [
        ("[a[a] b[c] c[b]]", 2),  # no automorphism maps the pair tied to itself to the two tied to each other
        ("[a[a] b[b] c[d] d[c]]", 4),
        ("[a[b] b[a] c[d] d[e] e[c]]", 6),
        ("[a[b] b[a] c[d] d[c]]", 8),
        ("[a[b b] b[a a]]", 8),
        ("[a[b c] b[a c] c[a b]]", 6),
        ("[a a b b c c]", 48),
        ("[a a a b b]", 12),
        ("a[a a b b]", 4),
        ("[a[b c] d[b c]]", 4),
        ("[a[b c] d[b e]]", 2),
    ],
)
def test_known_automorphisms(text, automorphisms):
    diagram = Diagram.parse(text)
    assert diagram.automorphisms == automorphisms
    assert count_by_backtracking(diagram.parents, diagram.labels) == automorphisms


def test_leaves_of_one_parent_are_twins_only_if_their_ties_are_alike():
    """Two of the leaves are tied to each other, or to leaves elsewhere: 8 automorphisms, not 24."""
    parents = (-1, 0, 0, 0, 0, 0, 0, 4, 4, 5, 5, 6, 6)
    labels = (0, 1, 2, 3, 1, 2, 3, 4, 4, 5, 6, 5, 6)
    assert count_by_backtracking(parents, labels) == 8
    assert Diagram.from_labels(parents, labels).automorphisms == 8


@pytest.mark.parametrize("seed", range(12))
def test_random_diagrams_of_orders_six_to_twelve(seed):
    """Trees with equal branches, tied by few or many parts, which are often symmetric or nearly so."""
    random = Random(seed)
    for _ in range(40):
        branch = [-1] + [random.randrange(node) for node in range(1, random.randint(1, 4))]
        copies = random.randint(2, 3)
        parents = [-1]
        for _ in range(copies):
            start = len(parents)
            parents += [0 if parent < 0 else start + parent for parent in branch]
        period = random.choice([1, 2, len(branch), len(parents)])
        labels = [0] + [1 + random.choice([node % period, node // 2, random.randrange(period)]) for node in parents[1:]]
        diagram = Diagram.from_labels(parents, labels)
        assert diagram.automorphisms == count_by_backtracking(parents, labels), diagram
        assert diagram.automorphisms == count_by_backtracking(diagram.parents, diagram.labels)


@pytest.mark.parametrize("cycles", [(1, 2), (2, 4), (3, 3), (1, 1, 2), (6,), (2, 2, 2), (5, 3)])
def test_rings_of_ties_that_refinement_cannot_tell_apart(cycles):
    """Branches tied in rings: a ring of n turns in n ways, equal rings are exchanged; 1 is a branch tied to itself."""
    parents, labels, start = [-1], [0], 1
    for length in cycles:
        ring = [start + i for i in range(length)]
        for i in range(length):
            parents += [0, len(parents)]
            labels += [ring[i], ring[(i + 1) % length]]
        start += length
    expected = 1
    for length in cycles:
        expected *= length
    for length in set(cycles):
        expected *= factorial(cycles.count(length))
    diagram = Diagram.from_labels(parents, labels)
    assert diagram.automorphisms == expected
    if len(parents) <= 13:
        assert count_by_backtracking(parents, labels) == expected


def diagram_of(*graphs):
    """A branch for every vertex and a pair of tied leaves for every edge: the diagram has the graphs' automorphisms."""
    graph = nx.disjoint_union_all(graphs)
    number = {vertex: index + 1 for index, vertex in enumerate(graph)}
    parents, labels = [-1] + [0] * len(graph), [*range(len(graph) + 1)]
    for edge in graph.edges:
        parents += [number[vertex] for vertex in edge]
        labels += [len(labels)] * 2
    return Diagram.from_labels(parents, labels)


@pytest.mark.parametrize(
    ("graph", "automorphisms"),
    [
        (nx.frucht_graph(), 1),  # every vertex has three neighbours, and no two vertices are alike
        (nx.tutte_graph(), 3),
        (nx.truncated_tetrahedron_graph(), 24),
        (nx.cubical_graph(), 48),
        (nx.petersen_graph(), 120),
        (nx.heawood_graph(), 336),
        (nx.dodecahedral_graph(), 120),
        (nx.circular_ladder_graph(3), 12),
        (nx.complete_bipartite_graph(3, 3), 72),
    ],
)
def test_regular_graphs_as_diagrams(graph, automorphisms):
    """Refinement sees no difference between vertices of regular graphs, alike or not."""
    assert diagram_of(graph).automorphisms == automorphisms
    vertices = list(graph)
    Random(1).shuffle(vertices)
    again = nx.relabel_nodes(graph, dict(zip(graph, vertices, strict=True)))
    shuffled = nx.Graph()
    shuffled.add_nodes_from(sorted(again))
    shuffled.add_edges_from(again.edges)
    assert diagram_of(shuffled) == diagram_of(graph)


def test_pieces_that_differ_in_their_ties_alone_are_not_exchanged():
    prism, utility = nx.circular_ladder_graph(3), nx.complete_bipartite_graph(3, 3)
    assert diagram_of(prism, utility).automorphisms == 12 * 72
    assert diagram_of(utility, utility).automorphisms == 72 * 72 * 2
    assert diagram_of(prism, prism, utility).automorphisms == 12 * 12 * 2 * 72
    assert len({diagram_of(*pair) for pair in ((prism, prism), (prism, utility), (utility, utility))}) == 3
    assert diagram_of(prism, utility) == diagram_of(utility, prism)
