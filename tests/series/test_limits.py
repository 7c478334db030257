"""The continuous-time limits against their generator, against SGD in many steps, and against closed forms."""

from fractions import Fraction
from functools import cache
from itertools import permutations

import numpy as np
import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import Diagram, Series, Spacetime
from feyngd.series import ode, sde
from feyngd.testing import ExactValues, PolynomialLandscape, exact_limit_series, exact_series

N, B, E, T = sympy.symbols("N B E T", integer=True, positive=True)
eta = sympy.Symbol("eta", positive=True)
parse = Diagram.parse
LIMITS = {"ode": ode, "sde": sde}


@cache
def symbolic(limit, order):
    return sde(order, B=B) if limit == "sde" else ode(order)


@cache
def vanilla(order):
    """One epoch of SGD on T points, one at a time, in cumulants."""
    return fd.expand("test_loss", order=order, spacetime=Spacetime.sgd(T), basis="cumulant")


def number(value):
    return sympy.Rational(value.numerator, value.denominator)


# --- the equations themselves -------------------------------------------------------------------------------------


def compare_with_generator(data, order, **drawn_from):
    landscape = data.draw(fd.testing.landscapes(**drawn_from))
    theta = data.draw(fd.testing.points(landscape))
    steps = data.draw(st.fractions(min_value=0, max_value=5, max_denominator=2))
    batch = data.draw(st.integers(1, 4))
    values = ExactValues(landscape, theta)
    for limit in LIMITS:
        truth = exact_limit_series(limit, landscape, theta, steps, order, batch_size=batch)
        series = symbolic(limit, order)
        sizes = {T: number(steps), B: batch}
        filled = series.subs({symbol: size for symbol, size in sizes.items() if symbol in series.symbols})
        assert values.sum(filled) == truth, limit
        if order < 4:
            assert values.sum(filled.in_basis("moment")) == truth, limit


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=40, suppress_health_check=SLOW)
@given(data=st.data(), order=st.integers(0, 3))
def test_series_equal_the_generator_to_third_order(data, order):
    compare_with_generator(data, order)


@settings(max_examples=20, suppress_health_check=SLOW)
@given(data=st.data())
def test_series_equal_the_generator_to_fourth_order(data):
    compare_with_generator(data, 4, dimensions=(1, 2, 3), kinds=(2,))


@settings(max_examples=4, suppress_health_check=SLOW)
@given(data=st.data())
def test_series_equal_the_generator_to_fifth_order(data):
    compare_with_generator(data, 5, dimensions=(1, 2), kinds=(2,), monomials=3)


def test_constant_noise_in_a_bowl():
    """Ornstein–Uhlenbeck: E θ² = θ0² e^(−2ht) + ηs²/(2hB) (1 − e^(−2ht)) with t = ηT, to order 6."""
    h, s, x0 = Fraction(3, 2), Fraction(2), Fraction(1, 3)
    landscape = PolynomialLandscape([{(2,): h / 2, (1,): s}, {(2,): h / 2, (1,): -s}])
    series = sde(4, T=3, B=2)
    decay = sympy.exp(-2 * number(h) * eta * 3)
    exact = number(h) / 2 * (number(x0) ** 2 * decay + eta * number(s**2 / (4 * h)) * (1 - decay))
    assert_equal(ExactValues(landscape, [x0]).sum(series), exact)


def test_noise_that_depends_on_the_place():
    """Geometric Brownian motion, l_n = a_n θ²/2: E θ² = θ0² exp((−2a + ησ²/B)ηT) in Itô's sense, and no other."""
    landscape = PolynomialLandscape([{(2,): 1}, {(2,): Fraction(1, 4)}])  # a = 2 or 1/2: mean 5/4, variance 9/16
    exact = sympy.Rational(5, 8) * sympy.exp((-sympy.Rational(5, 2) + eta * sympy.Rational(9, 16) / 3) * eta * 2)
    assert_equal(ExactValues(landscape, [1]).sum(sde(4, T=2, B=3)), exact)


def assert_equal(coefficients, expression):
    expansion = sympy.series(expression, eta, 0, len(coefficients)).removeO().expand()
    assert [number(c) for c in coefficients] == [expansion.coeff(eta, k) for k in range(len(coefficients))]


def test_gradient_flow_has_the_elementary_weights_of_the_exact_flow():
    """(−T)^order / (γ σ): γ is the tree's factorial, σ its symmetry, and the root one more node."""
    for order in range(6):
        for diagram, coefficient in ode(order).of_order(order).items():
            sizes = [1] * (order + 1)
            for node in range(order, 0, -1):
                sizes[diagram.parents[node]] += sizes[node]
            gamma = sympy.prod(sizes[1:])
            assert coefficient == (-T) ** order / (gamma * diagram.automorphisms)
        assert {D for D in fd.diagrams(order) if len(D.parts) == order + 1} == {*ode(order).of_order(order)}


@pytest.mark.parametrize("order", range(5))
def test_coefficients_are_volumes_of_weak_orders_in_time(order):
    """Orders of the parts in time, by trying them all; zero where a part is larger than a pair or before itself."""
    series = sde(order, B=B)
    for diagram in fd.diagrams(order):
        parts = range(1, len(diagram.parts))
        arcs = [(diagram.labels[v], diagram.labels[diagram.parents[v]]) for v in range(1, order + 1)]
        ways = sum(
            all(when.index(child) < when.index(parent) for child, parent in arcs if parent)
            for when in permutations(parts)
        )
        if max(len(part) for part in diagram.parts) > 2:
            ways = 0
        volume = T ** len(parts) / sympy.factorial(len(parts)) * ways
        expected = (-1) ** order * volume / diagram.automorphisms / B ** (order - len(parts))
        assert sympy.cancel(series[diagram] - expected) == 0


# --- how SGD differs from the limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spacetime", [Spacetime.sgd(T), Spacetime.sgd(N, B)], ids=str)
def test_limits_are_what_many_small_steps_tend_to(spacetime):
    """SGD's sum over P different times grows like T^P, with the limits' coefficient, on P parts of any one time."""
    series = fd.expand("test_loss", order=4, spacetime=spacetime, basis="cumulant")
    points, steps = spacetime.N, spacetime.T
    flow, noisy = ode(4, T=steps), sde(4, T=steps, B=spacetime.B)
    for diagram in {*series, *noisy}:
        parts = len(diagram.parts) - 1
        polynomial = sympy.Poly(series[diagram], points)
        assert polynomial.degree() <= parts
        grows = polynomial.coeff_monomial(points**parts) * points**parts
        largest = max(map(len, diagram.parts))
        assert sympy.cancel(noisy[diagram] - (grows if largest <= 2 else 0)) == 0, diagram
        assert sympy.cancel(flow[diagram] - (grows if largest == 1 else 0)) == 0, diagram


def test_deviation_from_the_ode():
    """(η²T/2)(C:H − GHG): the print lacks GHG, which is the discretisation of time."""
    deviation = vanilla(2) - ode(2)
    assert {str(D): c for D, c in deviation.items()} == {"[a a]": T / 2, "[a[b]]": -T / 2}

    def formula(s):
        return s.eta**2 * s.T / 2 * (np.tensordot(s.C, s.H) - s.G @ s.H @ s.G)

    assert fd.testing.check_identity(deviation, formula, spacetime=Spacetime.sgd(T)) == 30
    printed = lambda s: s.eta**2 * s.T / 2 * np.tensordot(s.C, s.H)  # noqa: E731
    with pytest.raises(fd.MismatchError):
        fd.testing.check_identity(deviation, printed, spacetime=Spacetime.sgd(T))


def test_deviation_from_the_sde():
    """The skew of the noise is −(T/6) η³ S:J; all else is the discretisation of time."""
    deviation = vanilla(3) - sde(3)
    assert deviation[parse("[a a a]")] == -T / 6
    assert fd.tensor_expression(parse("[a a a]")) == "S_ijk J_ijk"
    assert {str(D): c for D, c in deviation.of_order(2).items()} == {"[a[b]]": -T / 2}
    assert {str(D): c for D, c in (sde(3) - ode(3)).of_order(2).items()} == {"[a a]": T / 2}

    def formula(s):
        """Every term at order η³, from the statistics alone."""
        G, H, J, C = s.G, s.H, s.J, s.C
        kappa = s.values.tensor(1, 2)  # κ[g_i, h_jk]
        skew = -np.tensordot(s.S, J, 3) / 6
        noise = (
            np.einsum("ijk,k,ij->", kappa, G, H)
            + np.einsum("ij,jk,ki->", H, H, C)
            + np.einsum("ijk,i,jk->", J, G, C) / 2
        ) / 2
        drift = s.T / 2 * (G @ H @ H @ G) + (3 * s.T - 2) / 6 * (G @ H @ H @ G)
        drift += (3 * s.T - 1) / 12 * np.einsum("ijk,i,j,k->", J, G, G, G)
        return s.eta**2 * -s.T / 2 * (G @ H @ G) + s.eta**3 * s.T * (skew + noise + drift)

    assert fd.testing.check_identity(deviation, formula, spacetime=Spacetime.sgd(T)) == 30


@settings(max_examples=25, suppress_health_check=SLOW)
@given(data=st.data(), steps=st.integers(1, 4))
def test_deviation_from_the_sde_at_a_stationary_point(data, steps):
    """η³T (tr(H²C)/2 − S:J/6), between two computations without diagrams: SGD enumerated, and the generator."""
    drawn = data.draw(fd.testing.landscapes(dimensions=(1, 2), kinds=(2, 3) if steps < 4 else (2,)))
    theta = data.draw(fd.testing.points(drawn))
    slope = ExactValues(drawn, theta).tensor(1)
    landscape = PolynomialLandscape([tilted(loss, slope) for loss in drawn.losses], drawn.weights)
    values = ExactValues(landscape, theta)
    H, J, C, S = values.tensor(2), values.tensor(3), values.tensor(1, 1), values.tensor(1, 1, 1)
    third = steps * (np.trace(H @ H @ C) / 2 - np.tensordot(S, J, 3) / 6)
    expected = (0, 0, 0, third.item() if hasattr(third, "item") else third)
    by_running = zip(
        exact_series("test_loss", landscape, theta, Spacetime.sgd(steps), 3),
        exact_limit_series("sde", landscape, theta, steps, 3),
        strict=True,
    )
    assert tuple(sgd - limit for sgd, limit in by_running) == expected
    if steps >= 3:
        assert values.sum((vanilla(3) - sde(3)).subs({T: steps})) == expected


def tilted(loss, slope):
    """Subtract the mean gradient at a point times θ from a loss: the point becomes stationary, and C, S, H, J stay."""
    result = dict(loss)
    for i, part in enumerate(slope):
        powers = tuple(int(i == j) for j in range(len(slope)))
        result[powers] = result.get(powers, Fraction(0)) - part
    return result


def test_gauss_fit():
    """From the truth SGD ends at ½ + η²T/8 − η³(T(T−1)/16 + T/12), the SDE η³T/48 higher, the ODE nowhere."""

    def value(diagram):
        square = sympy.Symbol("square")  # x² of a normal x, with the moments 1, 3, 15, …
        total = sympy.Integer(0)
        for finer, weight in diagram.refinements():
            product = sympy.Integer(weight)
            for part in finer.parts:
                ranks = [finer.tree.degree(node) for node in part]
                factor = sympy.prod(
                    (-1) ** rank * square / 2 + {1: sympy.Rational(1, 2)}.get(rank, 0) for rank in ranks
                )
                powers = sympy.Poly(factor, square).terms()
                product *= sum(c * sympy.factorial2(2 * power - 1) for (power,), c in powers)
            total += product
        return total

    def total(series):
        return sympy.expand(series.to_sympy({D: value(D) for D in series}, eta=eta))

    half = sympy.Rational(1, 2)
    assert total(sde(3)) == half + eta**2 * T / 8 - eta**3 * T**2 / 16
    assert total(vanilla(3) - sde(3)) == -(eta**3) * T / 48
    assert total(ode(3)) == half


# --- limits as series -------------------------------------------------------------------------------------------


def test_defaults_are_symbols():
    for limit in (ode, sde):
        series = limit(2)
        assert (series.quantity, series.basis, series.spacetime) == (
            f"{limit.__name__.upper()} test_loss",
            "cumulant",
            None,
        )
        assert series.symbols == {T}
        assert series == limit(2, T=T)
        assert series.subs({T: 7}) == limit(2, T=7)
        assert Series.from_json(series.to_json()) == series
        assert limit(4).truncate(2) == series
        assert limit(2, T=0) == Series({parse("[]"): 1}, quantity="the start", order=2, basis="cumulant")
    assert sde(2, B=B).subs({B: 1}) == sde(2)
    assert sde(1) == ode(1)
    assert sde(0) == ode(0)


def test_sizes_may_come_from_a_spacetime():
    spacetime = Spacetime.sgd(N, B, E)
    series = sde(3, T=spacetime.T, B=spacetime.B)
    assert series == sde(3, B=B).subs({T: N * E / B})
    assert series.subs({N: 6, B: 2, E: 1}) == sde(3, T=3, B=2)
    assert sde(2, T=Fraction(1, 2)) == sde(2).subs({T: sympy.Rational(1, 2)})


def test_a_symbol_that_is_known_to_be_positive_is_enough():
    length = sympy.Symbol("length", positive=True)
    assert ode(2, T=length)[parse("[a b]")] == length**2 / 2
    assert sde(2, T=sympy.Symbol("T", nonnegative=True), B=length)[parse("[a a]")].free_symbols >= {length}


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("order", [-1, True, 1.0, "1", None])
def test_bad_orders(limit, order):
    with pytest.raises(fd.ArgumentError, match="order counts edges"):
        limit(order)


BAD = [-1, 1.5, True, "3", None, [1], sympy.oo, sympy.nan, sympy.I, sympy.Float(2), sympy.Symbol("T"), {}]


@pytest.mark.parametrize("size", BAD, ids=repr)
def test_bad_sizes(size):
    for limit in (ode, sde):
        with pytest.raises(fd.ArgumentError, match=r"T=.* is not allowed: T is an exact number ≥ 0, or a SymPy expr"):
            limit(1, T=size)
    with pytest.raises(fd.ArgumentError, match=r"B=.* is not allowed: B is an exact number > 0"):
        sde(1, B=size)


def test_a_batch_holds_something():
    with pytest.raises(fd.ArgumentError, match=r"B=0 is not allowed"):
        sde(1, B=0)


# --- the oracle ---------------------------------------------------------------------------------------------------


def test_oracle_by_hand():
    """l = θ²/2 with noise ±θ in the slope, θ0 = 1: L θ²/2 = (−1 + η/2) θ², then L² θ²/2 = (−1 + η/2)(−2 + η) θ²."""
    landscape = PolynomialLandscape([{(2,): 1}, {}])
    assert exact_limit_series("sde", landscape, [1], 1, 3) == (
        Fraction(1, 2),
        -1,
        Fraction(1, 2) + 1,
        -1 - Fraction(2, 3),
    )
    assert exact_limit_series("ode", landscape, [1], 1, 3) == (Fraction(1, 2), -1, 1, Fraction(-2, 3))
    assert exact_limit_series("sde", landscape, [1], 0, 2, batch_size=5) == (Fraction(1, 2), 0, 0)


def test_oracle_refuses():
    landscape = PolynomialLandscape([{(2,): 1}, {(1,): 1}])
    with pytest.raises(fd.ArgumentError, match=r"'sgd'.*'ode', 'sde'"):
        exact_limit_series("sgd", landscape, [0], 1, 1)
    for order in (-1, True, 1.0, None):
        with pytest.raises(fd.ArgumentError, match="order is an integer"):
            exact_limit_series("sde", landscape, [0], 1, order)
    for size in (-1, 0.5, True, None, "1", [1], sympy.Symbol("T")):
        with pytest.raises(fd.ArgumentError, match="steps is a rational number"):
            exact_limit_series("sde", landscape, [0], size, 1)
        with pytest.raises(fd.ArgumentError, match="batch_size is a rational number"):
            exact_limit_series("sde", landscape, [0], 1, 1, batch_size=size)
    with pytest.raises(fd.ArgumentError, match="batch_size divides"):
        exact_limit_series("sde", landscape, [0], 1, 1, batch_size=0)
    with pytest.raises(fd.LandscapeError, match="θ has 2"):
        exact_limit_series("sde", landscape, [0, 0], 1, 1)
