"""Re-summed values of single embeddings: summed over all of them, against the re-summed series."""

from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd

P = fd.Diagram.parse
IRREDUCIBLE = [D for order in range(1, 4) for D in fd.diagrams(order) if D.is_irreducible]
SPACETIMES = [
    fd.Spacetime.sgd(3),
    fd.Spacetime.sgd(2, 1, 2, sampling="fixed"),
    fd.Spacetime.sgd(4, 2, 2, sampling="fixed"),
    fd.Spacetime.gd(2, 3),
    fd.Spacetime.from_batches([[0, 0], [1, 2], [0, 1]], 3),
]
BETA = F(1, 3)
OPTIMIZERS = [
    lambda T: fd.sgd(),
    lambda T: fd.momentum(BETA),
    lambda T: fd.momentum(BETA, nesterov=True),
    lambda T: fd.momentum(BETA, dampening=F(1, 5)),
    lambda T: fd.schedule([F(k + 1, 2) for k in range(T)], optimizer=fd.momentum(BETA, classical=True)),
    lambda T: fd.averaged(fd.momentum(BETA), weights=[F(1, T)] * T),
]
CURVATURES = [F(1, 2), F(-1, 3), F(3)]
ETA = F(1, 7)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(IRREDUCIBLE), st.sampled_from(SPACETIMES), st.sampled_from(OPTIMIZERS))
def test_all_embeddings_together_are_the_coefficient_of_the_re_summed_series(diagram, spacetime, make):
    optimizer = make(int(spacetime.T))
    curvatures = CURVATURES[: diagram.order]
    total = sum(
        fd.embedding_value(diagram, placed, spacetime, curvatures, ETA, optimizer=optimizer)
        for placed in fd.embeddings(diagram, spacetime, basis="cumulant")
    )
    share = F(-1, int(spacetime.B)) ** diagram.order / diagram.automorphisms
    series = fd.expand("test_loss", order=3, spacetime=spacetime, optimizer=optimizer, resummed=True)
    assert share * total == series.coefficient(diagram, curvatures, ETA)


@pytest.mark.parametrize("diagram", [D for order in range(4) for D in fd.diagrams(order, root_tied=True)])
def test_cumulant_embeddings_are_all_that_are_counted(diagram):
    for spacetime in (*SPACETIMES[1:], fd.Spacetime.sgd(3, drop_last=False, B=2, sampling="fixed")):
        listed = list(fd.embeddings(diagram, spacetime, basis="cumulant"))
        assert len(listed) == fd.count_embeddings(diagram, spacetime, basis="cumulant")


def test_a_propagator_solves_its_equation():
    steps, h = 6, F(2, 3)
    optimizer = fd.momentum(BETA, nesterov=True)
    spacetime, chain = fd.Spacetime.gd(1, steps), P("[a[a]]")

    def propagator(t, s):
        chains = sum(optimizer.kernel(t, u) * propagator(u, s) for u in range(s + 1, t))
        return optimizer.kernel(t, s) - ETA * h * chains

    for t in range(1, steps):
        for s in range(t):
            value = fd.embedding_value(chain, {1: (0, t), 2: (0, s)}, spacetime, [h, h], ETA, optimizer=optimizer)
            assert value == ETA**2 * propagator(t, s) * propagator(steps, t)


def test_contraction_with_all_eigenvectors():
    rng = np.random.default_rng(0)
    diagram, spacetime = P("[a a[b]]"), fd.Spacetime.sgd(5)
    placed = next(iter(fd.embeddings(diagram, spacetime)))
    eigenvalues, tensor = [0.3, 1.1, -0.2], rng.normal(size=(3, 3, 3))
    expected = sum(
        tensor[index] * fd.embedding_value(diagram, placed, spacetime, [eigenvalues[i] for i in index], 0.1)
        for index in product(range(3), repeat=3)
    )
    assert fd.embedding_value(diagram, placed, spacetime, eigenvalues, 0.1, values=tensor) == pytest.approx(expected)
    # Arrays broadcast, and exact numbers stay exact.
    grid = np.meshgrid(*[np.array(eigenvalues)] * 3, indexing="ij")
    assert np.sum(tensor * fd.embedding_value(diagram, placed, spacetime, grid, 0.1)) == pytest.approx(expected)
    exact = np.array([[F(1, 2), F(0)], [F(1, 3), F(2)]], dtype=object)
    pair = {1: (0, 0), 2: (0, 0)}
    found = fd.embedding_value(P("[a a]"), pair, spacetime, [1, 2], F(1, 10), values=exact)
    one, two = (F(1, 10) * (1 - h * F(1, 10)) ** 4 for h in (1, 2))
    assert found == F(1, 2) * one * one + F(1, 3) * two * one + 2 * two * two
    h, eta, beta = sympy.symbols("h eta beta")
    symbolic = fd.embedding_value(P("[a]"), {1: (3, 3)}, spacetime, [h], eta, optimizer=fd.momentum(beta))
    assert sympy.expand(symbolic - eta * (1 + beta - eta * h)) == 0
    assert fd.embedding_value(P("[]"), {}, spacetime, [], 0.1) == 1
    drawn = fd.Spacetime.sgd(3, 1, 2)  # reshuffled: any point at any step
    assert fd.embedding_value(P("[a]"), {1: (np.int64(2), 0)}, drawn, [0], F(1, 2)) == F(1, 2)


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ({1: (0, 2)}, "is a dict whose keys are the nodes"),
        ([(0, 2), (0, 1)], "is a dict whose keys are the nodes"),
        ({1: (0, 1), 2: (0, 1)}, "a child is strictly earlier than its parent"),
        ({1: (0, 2), 2: (1, 1)}, "Nodes 1 and 2 are tied"),
        ({1: (0, 9), 2: (0, 1)}, "which SGD does not visit"),
        ({1: (4, 2), 2: (4, 1)}, "which SGD does not visit"),
        ({1: (1, 2), 2: (1, 0)}, "which SGD does not visit"),
        ({1: (True, 2), 2: (True, 1)}, "which SGD does not visit"),
    ],
)
def test_placements_it_refuses(embedding, message):
    spacetime = fd.Spacetime.from_batches([[0], [0, 1], [0, 1]], 2)
    with pytest.raises(fd.ArgumentError, match=message):
        fd.embedding_value(P("[a[a]]"), embedding, spacetime, [1, 1], 0.1)


def test_what_else_it_refuses():
    spacetime, placed = fd.Spacetime.sgd(3), {1: (0, 0), 2: (0, 0)}
    with pytest.raises(fd.ArgumentError, match="has 2 edges, each with an eigenvalue; got 3"):
        fd.embedding_value(P("[a a]"), placed, spacetime, [1, 2, 3], 0.1)
    with pytest.raises(fd.ArgumentError, match=r"shape \(3, 3\), got \(2, 2\)"):
        fd.embedding_value(P("[a a]"), placed, spacetime, [1, 2, 3], 0.1, values=np.eye(2))
    with pytest.raises(fd.SpacetimeError, match="symbol"):
        fd.embedding_value(P("[a a]"), placed, fd.Spacetime.sgd(sympy.Symbol("N")), [1, 2], 0.1)
    with pytest.raises(fd.ArgumentError, match="steps"):
        fd.embedding_value(P("[a a]"), placed, spacetime, [1, 2], 0.1, optimizer=fd.schedule([1, 2]))
    with pytest.raises(fd.ArgumentError, match="A Diagram without cells is placed"):
        fd.embedding_value("[a a]", placed, spacetime, [1, 2], 0.1)
    for curvatures, message in (
        ([float("nan"), 1], "finite number"),
        (["h", 1], "got 'h'"),
        (3, "are a list"),
        ("hk", "a list"),
    ):
        with pytest.raises(fd.ArgumentError, match=message):
            fd.embedding_value(P("[a a]"), placed, spacetime, curvatures, 0.1)
    with pytest.raises(fd.ArgumentError, match="The learning rate is a finite number"):
        fd.embedding_value(P("[a a]"), placed, spacetime, [1, 2], "eta")
    with pytest.raises(fd.ArgumentError, match="basis"):
        fd.embeddings(P("[a a]"), spacetime, basis="moments")
