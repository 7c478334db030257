"""Placements of diagrams with cells: closed forms against listing, and against those of diagrams without cells."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from sympy import symbols

import feyngd as fd
from feyngd import CellDiagram, Spacetime
from feyngd.counting import kernel_count
from feyngd.errors import ArgumentError

N, B, E, T = symbols("N B E T", integer=True, positive=True)
SYMBOLIC = [
    Spacetime.sgd(N, B, E),
    Spacetime.sgd(N, B, E, sampling="fixed"),
    Spacetime.sgd(N, B, T=T, sampling="with-replacement"),
    Spacetime.sgd(N, B, E, sampling="with-replacement"),
    Spacetime.gd(N, T),
]
SAMPLINGS = ("fixed", "reshuffled", "with-replacement", "full-batch", "explicit")


def listed(diagram, spacetime):
    """Place every node in every slot, and keep what the definition allows."""
    total = Fraction(0)
    for chance, batches in spacetime.outcomes():
        slots = [(n, t, s) for t, batch in enumerate(batches) for s, n in enumerate(batch)]
        total += chance * _ways(diagram, slots, [None])
    return total


def _ways(diagram, slots, placed):
    node = len(placed)
    if node > diagram.order:
        return 1
    ways = 0
    for slot in slots:
        parent = placed[diagram.parents[node]]
        is_earlier = parent is None or slot[1] < parent[1]
        agrees = all(
            (slot[0] == other[0]) is (diagram.labels[v] == diagram.labels[node])
            and (slot == other) is (diagram.cells[v] == diagram.cells[node])
            for v, other in enumerate(placed)
            if v
        )
        if is_earlier and agrees:
            ways += _ways(diagram, slots, [*placed, slot])
    return ways


@settings(max_examples=60, deadline=None)
@given(
    fd.testing.cell_diagrams(max_order=3, root_tied=False),
    fd.testing.spacetimes(samplings=SAMPLINGS, max_points=3, max_steps=4, uneven=True),
)
def test_counts_are_those_of_the_definition(diagram, spacetime):
    assert fd.count_embeddings(diagram, spacetime) == listed(diagram, spacetime)


@settings(max_examples=60, deadline=None)
@given(
    fd.testing.cell_diagrams(max_order=4, root_tied=False),
    fd.testing.spacetimes(samplings=SAMPLINGS, max_points=4, uneven=True),
)
def test_sums_over_steps_are_the_closed_forms(diagram, spacetime):
    assert kernel_count(diagram, spacetime, fd.sgd()) == fd.count_embeddings(diagram, spacetime)


@pytest.mark.parametrize("spacetime", SYMBOLIC, ids=str)
def test_all_cells_of_a_part_together_are_the_diagram_without_cells(spacetime):
    for order in (2, 3):
        totals = {}
        for diagram in fd.cell_diagrams(order):
            share = fd.count_embeddings(diagram, spacetime) / diagram.automorphisms
            totals[diagram.without_cells] = totals.get(diagram.without_cells, 0) + share
        for plain, total in totals.items():
            assert (total - fd.count_embeddings(plain, spacetime) / plain.automorphisms).expand() == 0


def test_in_one_epoch_no_point_is_used_twice():
    for diagram in fd.cell_diagrams(3):
        count = fd.count_embeddings(diagram, Spacetime.sgd(N, B, 1))
        if diagram.has_split_parts:
            assert count == 0
        else:
            assert count == fd.count_embeddings(diagram.without_cells, Spacetime.sgd(N, B, 1))


@pytest.mark.parametrize("spacetime", SYMBOLIC, ids=str)
def test_closed_forms_pass_the_sanity_check(spacetime):
    assert fd.sanity_check(CellDiagram.parse("[a.1 a.2]"), spacetime) > 0


def test_embeddings_are_listed():
    run = Spacetime.from_batches([[0], [0, 1]], N=2)
    assert list(fd.embeddings(CellDiagram.parse("[a.1 a.2]"), run)) == [
        {1: (0, 0), 2: (0, 1)},
        {1: (0, 1), 2: (0, 0)},
    ]


def test_what_is_not_counted_is_refused():
    diagram, spacetime = CellDiagram.parse("[a.1 a.2]"), Spacetime.sgd(4)
    with pytest.raises(ArgumentError, match="counted in moments"):
        fd.count_embeddings(diagram, spacetime, basis="cumulant")
    with pytest.raises(ArgumentError, match="counted on concrete spacetimes"):
        fd.count_embeddings(diagram, Spacetime.sgd(N), optimizer=fd.momentum(Fraction(1, 2)))
    with pytest.raises(ArgumentError, match="without cells"):
        fd.embedding_value(diagram, {1: (0, 0), 2: (0, 1)}, spacetime, [1, 1], 0.1)
