"""Equality, hashing and automorphisms against networkx and against brute force."""

import copy
import pickle
from itertools import combinations, permutations
from math import factorial, prod
from random import Random

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networkx.algorithms.isomorphism import DiGraphMatcher, categorical_node_match

import feyngd as fd
from feyngd import Diagram


@st.composite
def raw_diagrams(draw, max_order=8):
    """Parents and labels of any partitioned tree, in no canonical order."""
    order = draw(st.integers(0, max_order))
    parents = [-1] + [draw(st.integers(0, node)) for node in range(order)]
    labels = draw(st.lists(st.integers(0, order), min_size=order + 1, max_size=order + 1))
    return parents, labels


def shuffled(parents, labels, random):
    """The same partitioned tree with other node numbers (root still 0) and other part names."""
    size = len(parents)
    numbers = [0, *random.sample(range(1, size), size - 1)]
    names = random.sample(range(100), size + 1)
    moved_parents, moved_labels = [-1] * size, [0] * size
    for node in range(size):
        moved_parents[numbers[node]] = numbers[parents[node]] if node else -1
        moved_labels[numbers[node]] = names[labels[node]]
    return moved_parents, moved_labels


def as_graph(diagram):
    """Tree and partition as one directed graph with three kinds of nodes."""
    graph = nx.DiGraph()
    graph.add_node(0, kind="root")
    graph.add_nodes_from(range(1, diagram.order + 1), kind="node")
    graph.add_edges_from(diagram.tree.edges)
    for index, part in enumerate(diagram.parts):
        graph.add_node(("part", index), kind="part")
        graph.add_edges_from((node, ("part", index)) for node in part)
    return graph


def isomorphic(a, b):
    return DiGraphMatcher(as_graph(a), as_graph(b), node_match=categorical_node_match("kind", None)).is_isomorphic()


@settings(max_examples=200)
@given(raw_diagrams(), st.integers(0, 2**32))
def test_relabelling_changes_nothing(raw, seed):
    diagram, other = Diagram.from_labels(*raw), Diagram.from_labels(*shuffled(*raw, Random(seed)))
    assert diagram == other
    assert hash(diagram) == hash(other)
    assert (diagram.parents, diagram.labels) == (other.parents, other.labels)
    assert diagram.automorphisms == other.automorphisms
    assert str(diagram) == str(other)


@settings(max_examples=50)
@given(raw_diagrams(6), st.integers(0, 2**32))
def test_networkx_trees_with_any_nodes_in_any_order(raw, seed):
    parents, labels = raw
    random = Random(seed)
    names = random.sample("abcdefghijkl", len(parents))
    edges = [(names[parent], names[node]) for node, parent in enumerate(parents) if node]
    random.shuffle(edges)
    tree = nx.DiGraph(edges)
    tree.add_nodes_from(names)
    partition = [{names[v] for v in range(len(parents)) if labels[v] == label} for label in set(labels)]
    random.shuffle(partition)
    assert Diagram(tree, partition) == Diagram.from_labels(parents, labels)


def test_all_listed_diagrams_are_pairwise_non_isomorphic():
    for order in (1, 2, 3):
        for a, b in combinations(fd.diagrams(order, root_tied=True), 2):
            assert a != b
            assert not isomorphic(a, b)


@settings(max_examples=150)
@given(raw_diagrams(6), raw_diagrams(6), st.integers(0, 2**32), st.booleans())
def test_equality_agrees_with_networkx(raw, other, seed, near):
    """Random pairs; half of them differ by moving one label only, so that both answers occur."""
    random = Random(seed)
    if near:
        parents, labels = shuffled(*raw, random)
        labels[random.randrange(len(labels))] = random.choice(labels)
        other = parents, labels
    a, b = Diagram.from_labels(*raw), Diagram.from_labels(*other)
    assert (a == b) == isomorphic(a, b)


def brute_automorphisms(diagram):
    count, parts = 0, set(diagram.parts)
    for images in permutations(range(1, diagram.order + 1)):
        moved = (0, *images)
        if all(diagram.parents[moved[v]] == moved[diagram.parents[v]] for v in range(1, diagram.order + 1)):
            count += {frozenset(moved[v] for v in part) for part in parts} == parts
    return count


@pytest.mark.parametrize("order", range(6))
def test_automorphisms_equal_brute_force(order):
    for diagram in fd.diagrams(order, root_tied=order < 5):
        assert diagram.automorphisms == brute_automorphisms(diagram), diagram


@pytest.mark.parametrize("leaves", [1, 7, 20, 60])
def test_automorphisms_of_stars(leaves):
    """All leaves tied or all alone: any permutation; two tied classes: each permuted on its own, and swapped."""
    star = [-1] + [0] * leaves
    assert Diagram.from_labels(star, range(leaves + 1)).automorphisms == factorial(leaves)
    assert Diagram.from_labels(star, [0] + [1] * leaves).automorphisms == factorial(leaves)
    assert Diagram.from_labels(star, [0] * (leaves + 1)).automorphisms == factorial(leaves)
    double = [-1] + [0] * (2 * leaves)
    halves = Diagram.from_labels(double, [0] + [1] * leaves + [2] * leaves)
    assert halves.automorphisms == 2 * factorial(leaves) ** 2


@pytest.mark.parametrize("pairs", [1, 2, 3, 4, 5])
def test_automorphisms_of_paired_stars_and_brooms(pairs):
    """Leaves tied in pairs: swap within pairs and permute the pairs; the same with every pair on its own branch."""
    star = Diagram.from_labels([-1] + [0] * (2 * pairs), [0] + [1 + i // 2 for i in range(2 * pairs)])
    assert star.automorphisms == 2**pairs * factorial(pairs)
    branches = [-1] + [0] * pairs + [1 + i // 2 for i in range(2 * pairs)]
    broom = Diagram.from_labels(branches, [0, *range(1, pairs + 1), *(pairs + 1 + i // 2 for i in range(2 * pairs))])
    assert broom.automorphisms == 2**pairs * factorial(pairs)


def test_automorphisms_see_ties_across_branches():
    """Cyclic and crossed ties between equal branches that colour refinement alone cannot tell apart."""
    assert Diagram.parse("[a[b] b[a]]").automorphisms == 2
    assert Diagram.parse("[a[b] a[b]]").automorphisms == 2
    assert Diagram.parse("[a[b] b[c] c[a]]").automorphisms == 3
    one_cycle = Diagram.parse("[a[b] b[c] c[d] d[e] e[f] f[a]]")
    two_cycles = Diagram.parse("[a[b] b[c] c[a] d[e] e[f] f[d]]")
    assert one_cycle.automorphisms == 6
    assert two_cycles.automorphisms == 18
    assert one_cycle != two_cycles


def bell(n):
    row = [1]
    for _ in range(n):
        following = [row[-1]]
        for value in row:
            following.append(following[-1] + value)
        row = following
    return row[0]


@pytest.mark.parametrize("order", range(6))
def test_orbit_counting(order):
    """Σ_D order!/|Aut D| counts trees on nodes 0 … order rooted at 0, (order+1)^(order−1), times set partitions."""
    trees = prod([order + 1] * (order - 1)) if order else 1
    alone = sum(factorial(order) // D.automorphisms for D in fd.diagrams(order))
    assert alone == trees * bell(order)
    everything = sum(factorial(order) // D.automorphisms for D in fd.diagrams(order, root_tied=True))
    assert everything == trees * bell(order + 1)


def test_copies_are_equal():
    diagram = Diagram.parse("a[a b[c c]]")
    for twin in (pickle.loads(pickle.dumps(diagram)), copy.copy(diagram), copy.deepcopy(diagram)):
        assert twin == diagram
        assert hash(twin) == hash(diagram)
        assert twin.automorphisms == diagram.automorphisms == 2


def test_comparison_with_other_things():
    diagram = Diagram.parse("[a]")
    assert diagram != "[a]"
    assert diagram not in [(), None]
    with pytest.raises(TypeError):
        diagram < "[a]"  # noqa: B015
