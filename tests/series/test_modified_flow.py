"""Modified equations: known losses, flows against the oracle, and fields that are no gradients."""

from fractions import Fraction as F

import pytest
import sympy as sp

import feyngd as fd
from feyngd.testing import ExactValues, PolynomialLandscape, exact_displacement

N, B, T, M = sp.symbols("N B T M", integer=True, positive=True)
BETA = sp.Symbol("beta")
X = sp.Symbol("x")
LOSS, SLOPE, TRACE = (fd.Diagram.parse(text) for text in ("[]", "[a]", "a[a]"))


def test_gradient_descent() -> None:
    """l + (η/4) |∇l|², whatever T is."""
    loss = fd.modified_flow(fd.Spacetime.gd(N, T), reading="conditional").loss
    assert dict(loss) == {LOSS: 1, SLOPE: sp.Rational(1, 4)}


def test_one_reshuffled_epoch() -> None:
    """l + (η/4M) Σ |∇l_batch|²: in the mean a batch without replacement has |G|² + tr(C) (N − B)/(B (N − 1))."""
    loss = fd.modified_flow(fd.Spacetime.sgd(N, B), reading="conditional").loss
    assert loss[LOSS] == 1
    assert loss[SLOPE] == sp.Rational(1, 4)
    assert sp.cancel(loss[TRACE] - (N - B) / (4 * B * (N - 1))) == 0


def test_momentum_in_the_limit_of_many_steps() -> None:
    """l/(1 − β) + η (1 + β)/(4 (1 − β)³) |∇l|²."""
    loss = fd.modified_flow(fd.Spacetime.gd(N, T), fd.momentum(BETA), reading="conditional").loss
    for beta in (sp.Rational(1, 2), sp.Rational(9, 10)):
        limits = {diagram: sp.limit(value.subs(BETA, beta), T, sp.oo) for diagram, value in loss.items()}
        assert limits == {LOSS: 1 / (1 - beta), SLOPE: (1 + beta) / (4 * (1 - beta) ** 3)}


@pytest.mark.parametrize("optimizer", [fd.sgd(), fd.momentum(F(1, 2)), fd.schedule([1, F(1, 3), 2])], ids=str)
@pytest.mark.parametrize("order", [2, 3, 4])
def test_flows_end_where_the_mean_iterate_does(optimizer: fd.Optimizer, order: int) -> None:
    """On one polynomial loss, where the field is a function of x: a unit of time along it by its Lie series."""
    landscape, theta, spacetime = (
        PolynomialLandscape([{(2,): F(1, 2), (3,): F(1, 3), (4,): F(1, 4)}]),
        F(1, 2),
        fd.Spacetime.gd(1, 3),
    )
    expected = exact_displacement(landscape, [theta], spacetime, order, optimizer=optimizer)[0]
    flow = fd.modified_flow(spacetime, optimizer, order, basis="moment").field
    loss = X**2 / 2 + X**3 / 3 + X**4 / 4
    eta = sp.Symbol("eta")
    field = sum(3 * c * eta**d.order * _differential(d, loss) for d, c in flow.items())
    moved, total, factor = field, field, sp.Integer(1)
    for power in range(2, order + 1):
        moved, factor = sp.diff(moved, X) * field, factor / power
        total = total + factor * moved
    found = sp.Poly(sp.expand(total.subs(X, sp.Rational(1, 2))), eta)
    for k in range(order + 1):
        assert found.coeff_monomial(eta**k) == sp.Rational(expected[k].numerator, expected[k].denominator)


def _differential(diagram: fd.Diagram, loss: sp.Expr) -> sp.Expr:
    """Return the value of a tree with a loose end, as a function of x."""
    total = sp.Integer(1)
    for node in range(1, diagram.order + 1):
        total *= sp.diff(loss, X, len(diagram.children[node]) + 1)
    return total


def test_the_loss_of_several_examples_is_that_of_the_oracle() -> None:
    """The gradient of the modified loss, times −T, is the displacement to order η², in the population reading."""
    landscape = PolynomialLandscape([{(2,): 1, (3,): F(1, 2)}, {(2,): F(1, 2), (1,): -1}])
    spacetime, step = fd.Spacetime.sgd(3), F(1, 1000)
    loss = fd.modified_flow(spacetime).loss
    at = {shift: ExactValues(landscape, [F(1, 2) + shift * step]).sum(loss) for shift in (-2, -1, 1, 2)}
    expected = exact_displacement(landscape, [F(1, 2)], spacetime, 2)[0]
    # Central differences of fourth order are exact on polynomials of degree four.
    slope = [(at[-2][k] - 8 * at[-1][k] + 8 * at[1][k] - at[2][k]) / (12 * step) for k in range(2)]
    # The flow of time 3η moves by −3η ∇l̃, and by a half of its derivative along itself.
    curvature = F(1, 2) * 9 * _second(landscape, F(1, 2)) * slope[0]
    assert -3 * slope[0] == expected[1]
    assert -3 * slope[1] + curvature == expected[2]


def _second(landscape: PolynomialLandscape, x: F) -> F:
    """Return the second derivative of the mean loss."""
    total = F(0)
    for weight, loss in zip(landscape.weights, landscape.losses, strict=True):
        for (power,), value in loss.items():
            total += weight * value * power * (power - 1) * x ** max(power - 2, 0)
    return total


def test_fields_that_are_no_gradients_are_refused_by_name() -> None:
    flow = fd.modified_flow(fd.Spacetime.gd(N, T), order=3, reading="conditional")
    with pytest.raises(fd.ArgumentError, match=r"no loss: the gradient of .* in the proportion"):
        _ = flow.loss
    assert flow.field[fd.Diagram.parse("[a[b[c]]]")] == sp.Rational(-1, 3)
    assert flow.field[fd.Diagram.parse("[a[b c]]")] == sp.Rational(-1, 12)
    assert str(flow).startswith("displacement to order η^3")


def test_bad_input() -> None:
    with pytest.raises(fd.ArgumentError, match="starts at order 1"):
        fd.modified_flow(fd.Spacetime.gd(1, 2), order=0)
    with pytest.raises(fd.ArgumentError, match="T=0 steps"):
        fd.modified_flow(fd.Spacetime.gd(1, 0))
    with pytest.raises(fd.ArgumentError, match="with fixed batches"):
        fd.modified_flow(fd.Spacetime.sgd(4, sampling="fixed"), reading="conditional")
