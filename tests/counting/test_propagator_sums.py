"""Sums of products of propagators over embeddings, against listing every map from nodes to cells."""

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import Diagram, Spacetime
from feyngd.counting._propagator_sums import propagated_count

SPACETIMES = [
    Spacetime.gd(3, 3),
    Spacetime.sgd(3, 1, 2, sampling="fixed"),
    Spacetime.sgd(4, 2, 2, sampling="fixed"),
    Spacetime.sgd(2, 1, 3, sampling="fixed"),
    Spacetime.sgd(3, 1, 1),
    Spacetime.sgd(4, 2, 1),
    Spacetime.sgd(2, 1, 3),
    Spacetime.sgd(2, 2, T=2, sampling="with-replacement"),
    Spacetime.sgd(3, 1, T=3, sampling="with-replacement"),
    Spacetime.from_batches([[0, 0, 1], [2], [1, 0]], N=3),
]


def by_listing(diagram: Diagram, spacetime: Spacetime, factors: list[Fraction]) -> Fraction:
    """Every way to place the nodes, one by one: children strictly earlier, tied nodes on one datapoint."""
    total = Fraction(0)
    for probability, run in spacetime.outcomes():
        cells = [(n, t, Fraction(int(spacetime.B), len(batch))) for t, batch in enumerate(run) for n in batch]
        for placed in product(cells, repeat=diagram.order):
            at = dict(enumerate(placed, start=1))
            gaps = {v: (at[diagram.parents[v]][1] if diagram.parents[v] else len(run)) - at[v][1] - 1 for v in at}
            tied = all(at[v][0] == at[w][0] for v in at for w in at if diagram.labels[v] == diagram.labels[w])
            if tied and min(gaps.values(), default=0) >= 0:
                term = probability
                for v, gap in gaps.items():
                    term *= factors[v - 1] ** gap * at[v][2]
                total += term
    return total


@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
@settings(max_examples=12)
@given(data=st.data())
def test_transfer_matrices_sum_over_all_embeddings(spacetime, data):
    diagram = data.draw(fd.testing.diagrams(max_order=3))
    factor = st.fractions(min_value=-1, max_value=1, max_denominator=4)
    factors = data.draw(st.lists(factor, min_size=diagram.order, max_size=diagram.order))
    assert propagated_count(diagram, spacetime, factors) == by_listing(diagram, spacetime, factors)


@settings(max_examples=60)
@given(data=st.data())
def test_without_propagation_embeddings_are_counted(data):
    diagram = data.draw(fd.testing.diagrams(max_order=4))
    samplings = ["fixed", "reshuffled", "with-replacement", "full-batch"]  # explicit batches are averaged, not counted
    spacetime = data.draw(fd.testing.spacetimes(samplings=samplings, max_points=6, max_steps=40))
    counted = propagated_count(diagram, spacetime, [Fraction(1)] * diagram.order)
    assert counted == Fraction(str(fd.count_embeddings(diagram, spacetime, basis="cumulant")))
