"""Sums over embeddings of products of kernels, against listing every embedding of every outcome."""

from fractions import Fraction as F

import numpy as np
import pytest
import sympy as sp

import feyngd as fd
from feyngd.counting import counts_after_every_step, kernel_count
from feyngd.counting._kernel_sums import Weights, kernel_sum
from feyngd.counting._listing import list_embeddings
from feyngd.counting._time_series import FLOATS, FRACTIONS

OPTIMIZERS = {
    "SGD": lambda steps: fd.sgd(),
    "momentum": lambda steps: fd.momentum(F(1, 2)),
    "Nesterov": lambda steps: fd.momentum(F(1, 3), nesterov=True),
    "averaged": lambda steps: fd.averaged(fd.momentum(F(1, 2)), ema=F(1, 3)),
    "scheduled": lambda steps: fd.schedule([F(k % 3, 2) for k in range(1, steps + 1)], fd.momentum(F(1, 3))),
}
SPACETIMES = [
    fd.Spacetime.sgd(3, 2, T=3, drop_last=False),
    fd.Spacetime.sgd(3, 2, T=3, drop_last=True),
    fd.Spacetime.sgd(3, 1, T=5),
    fd.Spacetime.sgd(4, 2, 2),
    fd.Spacetime.sgd(3, 1, T=5, sampling="fixed"),
    fd.Spacetime.sgd(3, 2, T=4, sampling="fixed", drop_last=False),
    fd.Spacetime.gd(3, 3),
    fd.Spacetime.sgd(2, 2, T=3, sampling="with-replacement"),
    fd.Spacetime.from_batches([[0, 0, 1], [1], [0, 2]], N=4),
]


def listed(diagram: fd.Diagram, spacetime: fd.Spacetime, optimizer: fd.Optimizer) -> tuple[F, list[F]]:
    """Return the sum at the point of measurement, and at the iterate after every number of steps."""
    steps = int(spacetime.T)
    recurrence, to_end = optimizer.recurrence(steps), optimizer.to_end(steps)
    kernel = [[recurrence.kernel(t, s) for s in range(steps)] for t in range(steps + 1)]
    total, curve = F(0), [F(0)] * (steps + 1)
    for probability, batches in spacetime.outcomes():
        for placed in list_embeddings(diagram, batches):
            inner, below_root = probability, []
            for node in range(1, diagram.order + 1):
                step, parent = placed[node][1], diagram.parents[node]
                inner *= F(int(spacetime.B), len(batches[step]))
                if parent:
                    inner *= kernel[placed[parent][1]][step]
                else:
                    below_root.append(step)
            total += inner * _product(to_end[s] for s in below_root)
            curve = [c + inner * _product(kernel[t][s] for s in below_root) for t, c in enumerate(curve)]
    return total, curve


def _product(factors) -> F:
    result = F(1)
    for factor in factors:
        result *= factor
    return result


@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_sums_are_those_over_all_embeddings(kind: str, spacetime: fd.Spacetime) -> None:
    optimizer, rng = OPTIMIZERS[kind](int(spacetime.T)), np.random.default_rng(0)
    few = spacetime.sampling in ("fixed", "full-batch", "explicit") or spacetime.N == 2
    for order in range(4 if few else 3):
        chosen = list(fd.diagrams(order))
        for diagram in [chosen[i] for i in rng.permutation(len(chosen))[:5]]:
            total, curve = listed(diagram, spacetime, optimizer)
            steps = int(spacetime.T)
            recurrence, to_end = optimizer.recurrence(steps), tuple(optimizer.to_end(steps))
            for arithmetic in (FRACTIONS, FLOATS):
                at_end = Weights(spacetime, recurrence, to_end, True, arithmetic)
                every = Weights(spacetime, recurrence, None, True, arithmetic)
                found = kernel_sum(diagram, at_end, basis="moment"), list(kernel_sum(diagram, every, basis="moment"))
                if arithmetic.is_exact:
                    assert found == (total, curve)
                else:
                    assert found[0] == pytest.approx(float(total), rel=1e-12)
                    # In known batches moments are differences of sums over cumulant embeddings.
                    size = float(np.max(kernel_sum(diagram, every, basis="cumulant")))
                    np.testing.assert_allclose(found[1], np.array(curve, float), rtol=1e-12, atol=1e-14 * size)


@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
def test_cumulant_sums_are_those_of_all_coarser_partitions(spacetime: fd.Spacetime) -> None:
    optimizer = fd.momentum(F(1, 2))
    for diagram in fd.diagrams(3):
        coarser = sum(
            (kernel_count(one, spacetime, optimizer) for one in diagram.untie_root().each_coarsening()), sp.Integer(0)
        )
        assert kernel_count(diagram, spacetime, optimizer, basis="cumulant") == coarser


def test_kernels_that_are_one_count_embeddings() -> None:
    """β as a symbol at β = 0 is plain SGD."""
    beta = sp.Symbol("beta")
    for spacetime in SPACETIMES:
        for diagram in fd.diagrams(2):
            with_symbol = fd.count_embeddings(diagram, spacetime, optimizer=fd.momentum(beta))
            assert sp.sympify(with_symbol).subs(beta, 0) == fd.count_embeddings(diagram, spacetime)


def test_symbols_stay_exact_and_floats_are_floats() -> None:
    beta, rho = sp.symbols("beta rho")
    spacetime, diagram = fd.Spacetime.sgd(3), fd.Diagram.parse("[a[b]]")
    optimizer = fd.averaged(fd.momentum(beta), ema=rho)
    form = fd.count_embeddings(diagram, spacetime, optimizer=optimizer)
    numbers = {beta: F(1, 2), rho: F(1, 3)}
    exact = fd.count_embeddings(diagram, spacetime, optimizer=optimizer.subs(numbers))
    assert form.subs({beta: sp.Rational(1, 2), rho: sp.Rational(1, 3)}) == exact
    rational = fd.count_embeddings(diagram, spacetime, optimizer=fd.momentum(beta / (1 + beta)))
    assert (
        sp.cancel(rational.subs(beta, 1) - fd.count_embeddings(diagram, spacetime, optimizer=fd.momentum(F(1, 2)))) == 0
    )
    in_floats = fd.count_embeddings(diagram, spacetime, optimizer=fd.averaged(fd.momentum(0.5), ema=1 / 3))
    assert in_floats.is_Float
    assert float(in_floats) == pytest.approx(float(exact), rel=1e-12)
    with pytest.raises(fd.ArgumentError, match="numbers of an optimizer are exact"):
        fd.count_embeddings(diagram, spacetime, optimizer=fd.schedule([beta, 0.5, 1]))


def test_curves_have_the_counts_of_shorter_runs() -> None:
    spacetime, optimizer = fd.Spacetime.sgd(5, 2, T=7, drop_last=False), fd.momentum(0.9)
    for diagram in (fd.Diagram.parse("[a b[a]]"), fd.Diagram.parse("[a a[b]]")):
        curve = counts_after_every_step(diagram, spacetime, optimizer)
        for t in range(8):
            shorter = fd.Spacetime.sgd(5, 2, T=t, drop_last=False)
            assert curve[t] == pytest.approx(
                float(kernel_count(diagram, shorter, optimizer, averaging=True)), rel=1e-12, abs=1e-14
            )


def test_many_kinds_of_points_are_refused_before_the_work() -> None:
    spacetime = fd.Spacetime.sgd(20_000, T=20_000, sampling="fixed")
    with pytest.raises(fd.ArgumentError, match="use reshuffled batches, fewer steps or a lower order"):
        fd.count_embeddings(fd.Diagram.parse("[a[a]]"), spacetime, optimizer=fd.momentum(0.5))
