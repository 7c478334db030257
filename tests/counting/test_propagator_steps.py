"""Sums of products of any optimizer's propagators over embeddings, against listing every map from nodes to cells."""

from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.counting import _propagator_steps as steps_module
from feyngd.counting import resummed_count
from feyngd.diagrams import Diagram
from feyngd.testing import diagrams, optimizers, spacetimes

SAMPLINGS = ["fixed", "reshuffled", "with-replacement", "full-batch", "explicit"]


def propagator(optimizer: fd.Optimizer, steps: int, damping: F) -> list[list[F]]:
    """Return K(t, s) from its equation; the last row is that of the point of measurement."""
    recurrence = optimizer.recurrence(steps)
    kernel = [[recurrence.kernel(t, s) for s in range(steps)] for t in range(steps)] + [optimizer.to_end(steps)]
    rows: list[list[F]] = []
    for of_step in kernel:
        row = [
            of_step[s] - damping * sum(of_step[v] * rows[v][s] for v in range(s + 1, len(rows))) for s in range(steps)
        ]
        rows.append(row)
    return rows


def by_listing(diagram: Diagram, spacetime: fd.Spacetime, optimizer: fd.Optimizer, damping: list[F]) -> F:
    """Every way to place the nodes, one by one: tied nodes on one datapoint."""
    steps = int(spacetime.T)
    K = [propagator(optimizer, steps, c) for c in damping]
    total = F(0)
    for probability, run in spacetime.outcomes():
        cells = [(n, t, F(int(spacetime.B), len(batch))) for t, batch in enumerate(run) for n in batch]
        for placed in product(cells, repeat=diagram.order):
            at = dict(enumerate(placed, start=1))
            if any(at[v][0] != at[w][0] for v in at for w in at if diagram.labels[v] == diagram.labels[w]):
                continue
            term = probability
            for v, (_, s, weight) in at.items():
                t = at[diagram.parents[v]][1] if diagram.parents[v] else steps
                term *= K[v - 1][t][s] * weight
            total += term
    return total


@settings(max_examples=60)
@given(data=st.data())
def test_sums_are_those_over_all_embeddings(data):
    """Every sampling, uneven and cut epochs, every optimizer; by powers of the transfer matrix and by single steps."""
    spacetime = data.draw(spacetimes(samplings=SAMPLINGS, max_points=3, max_steps=4, uneven=True))
    optimizer = data.draw(optimizers(int(spacetime.T)))
    diagram = data.draw(diagrams(max_order=3 if spacetime.B <= 2 else 2))
    numbers = st.fractions(min_value=-1, max_value=2, max_denominator=3)
    damping = data.draw(st.lists(numbers, min_size=diagram.order, max_size=diagram.order))
    expected = by_listing(diagram, spacetime, optimizer, damping)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps_module, "_FEW_STEPS", data.draw(st.sampled_from([0, 100])))
        patch.setattr(steps_module, "_FEW_EPOCHS", data.draw(st.sampled_from([0, 100])))
        patch.setattr(steps_module, "_LONG", data.draw(st.sampled_from([0, 100])))
        assert resummed_count(diagram, spacetime, optimizer, damping) == expected
        arrays = [np.array([[float(c)], [0.25]]) for c in damping]
        floats = resummed_count(diagram, spacetime, optimizer.in_floats(), arrays, float)
    assert np.broadcast_to(floats, (2, 1))[0, 0] == pytest.approx(float(expected), rel=1e-9, abs=1e-9)
