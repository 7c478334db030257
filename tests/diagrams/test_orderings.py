"""Orderings of diagrams against pictures that are listed one by one, with no code of the package."""

from collections import Counter
from itertools import permutations, product

import pytest

import feyngd as fd

TOTALS = {1: [1], 2: [2, 1], 3: [6, 7, 1], 4: [24, 46, 21, 1], 5: [120, 326, 271, 64, 1]}


def smallest(parents, labels):
    """Return the least picture of a rooted tree with parts among all ways to number the nodes but the root."""
    best = None
    for order in permutations(range(1, len(parents))):
        place = (0, *order)
        moved = sorted(range(len(parents)), key=place.__getitem__)
        names: dict[int, int] = {}
        picture = (
            tuple(-1 if node == 0 else place[parents[node]] for node in moved),
            tuple(names.setdefault(labels[node], len(names)) for node in moved),
        )
        best = picture if best is None else min(best, picture)
    return best


def pictures(edges):
    """Count, for each diagram, sequences of steps in which every node says which later node it feeds, or the root.

    Position 1 comes first and the root, 0, last. Cutting the sequence makes parts of neighbours; a node and the one it
    feeds are never in one part. Sequences that look alike are one: that is what orderings up to automorphisms are.
    """
    found = Counter()
    for feeds in product(*([0, *range(position + 1, edges + 1)] for position in range(1, edges + 1))):
        for cuts in product((0, 1), repeat=max(edges - 1, 0)):
            labels = [0] + [1 + sum(cuts[:position]) for position in range(edges)]
            parents = (-1, *feeds)
            if all(labels[node] != labels[parents[node]] for node in range(1, edges + 1)):
                found[smallest(parents, labels)] += 1
    return found


@pytest.mark.parametrize("edges", [1, 2, 3, 4, 5])
def test_orderings_are_those_listed_one_by_one(edges):
    listed = pictures(edges)
    counted = {smallest(D.parents, D.labels): fd.count_orderings(D) for D in fd.diagrams(edges)}
    assert {picture: count for picture, count in counted.items() if count} == dict(listed)
    by_ties = Counter()
    for diagram in fd.diagrams(edges):
        by_ties[edges + 1 - len(diagram.parts)] += fd.count_orderings(diagram)
    assert [by_ties[ties] for ties in range(edges)] == TOTALS[edges]


def test_orderings_of_a_tied_root_are_up_to_its_own_automorphisms():
    untied, tied = fd.Diagram.parse("[a b]"), fd.Diagram.parse("a[a b]")
    assert (fd.count_orderings(untied), fd.count_orderings(tied)) == (1, 2)
    assert fd.count_orderings(fd.Diagram.parse("a[b[a[c]]]")) == 1  # the numbering changes when the root is untied


def test_parts_that_wait_for_each_other_have_no_ordering():
    crossed = fd.Diagram.parse("[a[b] b[a]]")
    assert crossed.order == 4
    assert fd.count_orderings(crossed) == 0
    assert fd.count_orderings(fd.Diagram.parse("[a[a]]")) == 0


def test_orderings_are_of_a_diagram():
    with pytest.raises(fd.ArgumentError, match="The orderings of a Diagram are counted"):
        fd.count_orderings("[a b]")
