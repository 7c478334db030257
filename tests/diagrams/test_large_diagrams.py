"""Diagrams with thousands of nodes: no recursion over the tree, no factorial cost, and right answers."""

import copy
import pickle
import sys
from math import factorial
from random import Random

import networkx as nx
import numpy as np
import pytest

import feyngd as fd
from feyngd import Diagram
from feyngd.diagrams import reroot

ORDER = 5000
RANDOM = Random(7)


def path(labels):
    return [*range(-1, len(labels) - 1)], labels


def star(labels):
    return [-1] + [0] * (len(labels) - 1), labels


def deep(order, labels):
    """A random tree as deep as a third of its order."""
    return [-1] + [RANDOM.randrange(max(0, node - 5), node) for node in range(1, order + 1)], labels


# Diagram and, where a formula gives it, the number of automorphisms.
LARGE = {
    "path": (path(range(ORDER + 1)), 1),
    "path, tied": (path([node % 2 for node in range(ORDER + 1)]), 1),
    "star": (star(range(ORDER + 1)), factorial(ORDER)),
    "star, leaves tied": (star([0] + [1] * ORDER), factorial(ORDER)),
    "star, all tied": (star([0] * (ORDER + 1)), factorial(ORDER)),
    "star, tied in pairs": (
        star([0] + [1 + leaf // 2 for leaf in range(ORDER)]),
        2 ** (ORDER // 2) * factorial(ORDER // 2),
    ),
    "caterpillar": (([-1, *(node - node % 2 for node in range(ORDER))], range(ORDER + 1)), 2),
    "two paths, tied level by level": (
        ([-1, 0, *range(ORDER - 1)], [0, *(1 + node // 2 for node in range(ORDER))]),
        2,
    ),
    "two paths that differ at their ends": (([-1, 0, *range(ORDER - 1)], [*range(ORDER), ORDER - 5]), 1),
    "binary tree": (([-1, *(node // 2 for node in range(4094))], range(4095)), 2**2047),
    "binary tree, siblings tied": (
        ([-1, *(node // 2 for node in range(4094))], [0, *(1 + node // 2 for node in range(4094))]),
        2**2047,
    ),
    "random tree": (deep(ORDER, range(ORDER + 1)), None),
    "random tree, tied": (deep(ORDER, [RANDOM.randrange(ORDER) for _ in range(ORDER + 1)]), None),
    "random tree, few parts": (deep(ORDER, [RANDOM.randrange(3) for _ in range(ORDER + 1)]), None),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_diagrams_are_canonical_and_written_and_read(name):
    (parents, labels), automorphisms = LARGE[name]
    limit = sys.getrecursionlimit()
    diagram = Diagram.from_labels(parents, labels)
    size = len(parents)
    numbers = [0, *RANDOM.sample(range(1, size), size - 1)]
    moved_parents, moved_labels = [-1] * size, [0] * size
    for node in range(size):
        moved_parents[numbers[node]] = numbers[parents[node]] if node else -1
        moved_labels[numbers[node]] = labels[node]
    again = Diagram.from_labels(np.array(moved_parents), np.array(moved_labels))
    assert again == diagram
    assert hash(again) == hash(diagram)
    assert again.automorphisms == diagram.automorphisms
    if automorphisms is not None:
        assert diagram.automorphisms == automorphisms
    assert Diagram.parse(str(diagram)) == diagram
    assert Diagram(diagram.tree, diagram.parts) == diagram
    assert pickle.loads(pickle.dumps(diagram)) == copy.deepcopy(diagram) == diagram
    assert diagram.untie_root().order == next(diagram.each_coarsening()).order == size - 1
    assert next(diagram.refinements())[1] in (1, *{(-1) ** (len(p) - 1) * factorial(len(p) - 1) for p in diagram.parts})
    for options in ({}, {"basis": "moment"}, {"latex": True}, {"indexed": True}):
        assert fd.tensor_expression(diagram, **options)
    assert sys.getrecursionlimit() == limit


def test_large_diagrams_differ_where_they_should():
    (parents, labels), _ = LARGE["random tree, tied"]
    changed = [*labels]
    leaf = next(node for node in range(len(parents)) if node not in set(parents))
    changed[leaf] = max(labels) + 1 if labels.count(labels[leaf]) > 1 else labels[leaf - 1]
    assert Diagram.from_labels(parents, changed) != Diagram.from_labels(parents, labels)
    assert Diagram.from_labels(*star([0] + [1] * ORDER)) != Diagram.from_labels(*star([0] * (ORDER + 1)))


def test_the_value_of_a_large_diagram_does_not_depend_on_its_root():
    parents, labels = deep(60, [RANDOM.randrange(30) for _ in range(61)])
    diagram = Diagram.from_labels(parents, labels)
    texts = {fd.tensor_expression(reroot(diagram, node)) for node in range(0, 61, 7)}
    assert len(texts) == 1
    assert fd.tensor_expression(Diagram.from_labels(*path(range(200)))) == "G" + 198 * "H" + "G"
    tied = [*range(199), 0]
    assert fd.tensor_expression(Diagram.from_labels(*path(tied))) == f"tr({198 * 'H'}C)"


def test_large_diagrams_are_drawn():
    for parents, labels in (path([0, *range(5), *range(1200)]), star([0] + [1 + leaf % 9 for leaf in range(1200)])):
        diagram = Diagram.from_labels(parents, labels)
        assert fd.drawing.diagram_svg(diagram).count('class="edge"') == diagram.order


def test_large_diagrams_are_placed_one_by_one():
    """The first placement comes at once; a path of k nodes has one placement in k steps, and none in fewer."""
    chain = Diagram.from_labels(*path(range(1501)))
    (only,) = fd.embeddings(chain, fd.Spacetime.sgd(1500))
    assert only[1] == (1499, 1499)
    assert only[1500] == (0, 0)
    assert list(fd.embeddings(Diagram.from_labels(*path(range(31))), fd.Spacetime.sgd(29))) == []
    assert len(next(fd.embeddings(Diagram.from_labels(*star([0] + [1] * 1500)), fd.Spacetime.gd(3, 2)))) == 1500


def test_exact_values_of_deep_diagrams():
    """GH…HG on θ²: G = 2θ and H = 2."""
    values = fd.testing.ExactValues(fd.testing.PolynomialLandscape([{(2,): 1}]), [1])
    assert values.moment(Diagram.from_labels(*path([0] * 1501))) == 2**1501


@pytest.mark.parametrize("branches", [6, 8])
def test_entangled_diagrams_take_few_tries(branches):
    """Every two of the branches are tied by a pair of leaves: any permutation of the branches is an automorphism."""
    parents, labels = [-1] + [0] * branches, [*range(branches + 1)]
    for one in range(1, branches + 1):
        for other in range(1, one):
            parents += [one, other]
            labels += [len(labels)] * 2
    assert Diagram.from_labels(parents, labels).automorphisms == factorial(branches)
    ring = [-1] + [0] * 100 + [*range(1, 101)], [*range(101), *(1 + (branch + 1) % 100 for branch in range(100))]
    assert Diagram.from_labels(*ring).automorphisms == 100


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.int32, int])
def test_labels_come_in_lists_and_arrays_of_any_integers(kind):
    expected = Diagram.parse("[a a]")
    assert Diagram.from_labels(np.array([-1, 0, 0], dtype=kind), np.array([0, 1, 1], dtype=kind)) == expected
    assert Diagram.from_labels([-1, kind(0), kind(0)], [kind(0), kind(1), kind(1)]) == expected


def test_labels_of_jax_arrays():
    jnp = pytest.importorskip("jax.numpy")
    assert Diagram.from_labels(jnp.array([-1, 0, 1]), jnp.array([0, 1, 1])) == Diagram.parse("[a[a]]")


@pytest.mark.parametrize(
    ("parents", "labels", "words"),
    [
        (np.array([-1.0, 0.0]), [0, 1], r"parents are integers.*node 0 has -1\.0"),
        ([-1, 0], np.array([0.5, 1]), r"labels are integers.*node 0 has 0\.5"),
        (np.array([[-1, 0]]), [0, 1], "one-dimensional"),
        ([-1, 0], ["a", "b"], r"labels are integers.*'a'"),
        (5, [0], "parents are integers|list of one integer"),
        (None, [0], "list of one integer"),
    ],
)
def test_labels_that_are_no_integers(parents, labels, words):
    with pytest.raises(fd.DiagramError, match=words):
        Diagram.from_labels(parents, labels)


def test_messages_about_large_diagrams_are_short():
    with pytest.raises(fd.DiagramError) as caught:
        Diagram.parse("[" + "a " * 5000)
    assert len(str(caught.value)) < 400
    with pytest.raises(fd.DiagramError) as caught:
        Diagram.from_labels([-1] + [9999] * 5000, range(5001))
    assert len(str(caught.value)) < 400
    with pytest.raises(fd.DiagramError) as caught:
        Diagram.from_labels(*path(range(5001))).tie(0, 9999)
    assert len(str(caught.value)) < 400


def test_networkx_graphs_of_any_depth():
    tree = nx.path_graph(3001, create_using=nx.DiGraph)
    assert Diagram(tree, [{node} for node in tree]) == Diagram.from_labels(*path(range(3001)))
