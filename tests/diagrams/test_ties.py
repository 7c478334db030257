"""Merging and splitting parts: ties, coarsenings, refinements and Möbius inversion."""

from collections import Counter
from math import comb

import pytest

import feyngd as fd
from feyngd import Diagram

UP_TO_3 = [D for d in range(4) for D in fd.diagrams(d, root_tied=True)]


def bell(n):
    return 1 if n == 0 else sum(comb(n - 1, k) * bell(k) for k in range(n))


def test_tie_by_index_and_by_members():
    diagram = Diagram.parse("[a b[c]]")
    for p in range(4):
        for q in range(4):
            if p != q:
                by_index = diagram.tie(p, q)
                assert by_index == diagram.tie(q, p) == diagram.tie(diagram.parts[p], set(diagram.parts[q]))
                assert len(by_index.parts) == 3
                assert by_index.is_root_tied == (0 in (p, q))


@pytest.mark.parametrize(("p", "q"), [(1, 1), ({1}, 1), (-1, 1), (1, 4), ({1, 2}, 0), (1, []), ({0, 9}, 1)])
def test_tie_rejects_what_is_no_pair_of_parts(p, q):
    with pytest.raises(fd.DiagramError, match="part"):
        Diagram.parse("[a b[c]]").tie(p, q)


@pytest.mark.parametrize("diagram", UP_TO_3, ids=str)
def test_coarsenings_are_counted_by_bell_numbers(diagram):
    others = len(diagram.parts) - 1
    assert diagram.coarsenings().total() == bell(others)
    assert diagram.coarsenings(root=True).total() == bell(others + 1)
    assert diagram.coarsenings()[diagram] >= 1
    assert diagram.root_ties().total() == others
    assert all(joint.is_root_tied for joint in diagram.root_ties())
    assert not diagram.untie_root().is_root_tied
    if not diagram.is_root_tied:
        assert all(not coarse.is_root_tied for coarse in diagram.coarsenings())
        assert diagram.untie_root() == diagram


@pytest.mark.parametrize("diagram", UP_TO_3, ids=str)
def test_refinements_are_counted_by_products_of_bell_numbers(diagram):
    expected = 1
    for part in diagram.parts:
        expected *= bell(len(part))
    refinements = list(diagram.refinements())
    assert len(refinements) == expected
    assert [weight for finer, weight in refinements if finer == diagram] == [1]
    assert sum(weight for _, weight in refinements) == (1 if expected == 1 else 0)


@pytest.mark.parametrize("diagram", UP_TO_3, ids=str)
def test_moebius_weights_invert_unit_weights(diagram):
    back, forth = Counter(), Counter()
    for finer, weight in diagram.refinements():
        for finest, inner in finer.refinements():
            back[finest] += weight
            forth[finest] += inner
    assert {D: c for D, c in back.items() if c} == {diagram: 1}
    assert {D: c for D, c in forth.items() if c} == {diagram: 1}


def test_coarsenings_and_refinements_count_the_same_pairs():
    """Pairs fine ≤ coarse on labelled nodes: mergings / |Aut fine| = splittings / |Aut coarse|."""
    listed = fd.diagrams(3, root_tied=True)
    splittings = {D: Counter(finer for finer, _ in D.refinements()) for D in listed}
    for fine in listed:
        mergings = fine.coarsenings(root=True)
        for coarse in listed:
            assert mergings[coarse] * coarse.automorphisms == splittings[coarse][fine] * fine.automorphisms


def test_untying_the_root_undoes_tying_it():
    for diagram in fd.diagrams(3):
        assert {joint.untie_root() for joint in diagram.root_ties()} <= {diagram}
