"""The expansion in the noise in rational arithmetic: enumeration against D_st by definition, and against the series."""

from fractions import Fraction

import pytest
import sympy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from noise_by_definition import second_order

import feyngd as fd
from feyngd import Spacetime
from feyngd.anchoring import noise_weights
from feyngd.testing import PolynomialLandscape, exact_anchored_series, exact_series

QUANTITIES = ("test_loss", "train_loss", "gap")
SIZES = [(1, 1, 2), (2, 1, 1), (2, 1, 2), (2, 2, 3), (3, 1, 1), (3, 3, 2), (4, 2, 1), (4, 2, 2), (4, 1, 1), (4, 4, 2)]
# N, B, T and what is done with the rest of an epoch; some runs end inside one.
UNEVEN = [(3, 2, 2, False), (3, 2, 3, False), (3, 2, 4, False), (3, 2, 3, True), (4, 3, 2, False), (2, 1, 3, None)]
SPACETIMES = {
    "reshuffled": [Spacetime.sgd(N, B, E) for N, B, E in SIZES],
    "fixed": [Spacetime.sgd(N, B, E, sampling="fixed") for N, B, E in SIZES],
    "reshuffled, uneven": [Spacetime.sgd(N, B, T=T, drop_last=drop_last) for N, B, T, drop_last in UNEVEN],
    "fixed, uneven": [Spacetime.sgd(*sizes[:2], T=sizes[2], sampling="fixed", drop_last=sizes[3]) for sizes in UNEVEN],
    "with-replacement": [
        Spacetime.sgd(N, B, T=T, sampling="with-replacement")
        for N, B, T in [(1, 1, 2), (2, 1, 4), (2, 2, 2), (2, 3, 1), (3, 1, 3), (3, 2, 2), (4, 1, 3)]
    ],
    "full-batch": [Spacetime.gd(N, T) for N, T in [(1, 3), (2, 4), (3, 3), (4, 2)]],
}
RATES = [Fraction(1, 2), Fraction(1, 3), Fraction(-1, 4)]
CASES = [("population", sampling) for sampling in SPACETIMES]
CASES += [("conditional", sampling) for sampling in SPACETIMES if not sampling.startswith("fixed")]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@st.composite
def problems(draw, reading, sampling, degree=None, spacetimes=SPACETIMES):
    """A spacetime, losses of at most two coordinates, test losses or `None`, and a start."""
    spacetime = draw(st.sampled_from(spacetimes[sampling]))
    degree = degree or (4 if spacetime.T <= 3 else 3)  # fractions grow with the degree to the power of the steps
    kinds = (2, 3) if reading == "population" else (int(spacetime.N),)
    landscape = draw(fd.testing.landscapes(dimensions=(1, 2), kinds=kinds, degree=degree, monomials=3))
    test = None
    if reading == "conditional":
        landscape = PolynomialLandscape(landscape.losses)
        size = landscape.dimensions
        test = draw(fd.testing.landscapes(dimensions=(size,), kinds=(1, 2), degree=degree, monomials=3))
    return spacetime, landscape, test, draw(fd.testing.points(landscape))


@pytest.mark.parametrize(("reading", "sampling"), CASES)
@settings(max_examples=10, suppress_health_check=SLOW)
@given(data=st.data())
def test_second_order_is_w_times_d_by_definition(reading, sampling, data):
    """ε⁰ is the noiseless path, ε¹ is zero, ε² is ½ Σ W(s,t) D_st, and the influence for the gap: all exactly."""
    spacetime, landscape, test, theta = data.draw(problems(reading, sampling))
    steps = int(spacetime.T)
    rates = data.draw(st.lists(st.sampled_from(RATES), min_size=steps, max_size=steps))
    weights = noise_weights(spacetime, reading)
    by_definition = second_order(landscape, theta, rates, weights, int(spacetime.N), test)
    for quantity, (noiseless, noise) in by_definition.items():
        found = exact_anchored_series(quantity, landscape, theta, spacetime, rates, 2, reading=reading, test=test)
        assert found == (noiseless[-1], 0, noise[-1]), quantity


def with_noise(landscape, size):
    """The losses l + ε (l_x − l)."""
    means, losses = landscape.mean, landscape.losses
    every = {powers for loss in losses for powers in loss}
    noisy = [{p: size * loss.get(p, 0) + (1 - size) * means.get(p, Fraction(0)) for p in every} for loss in losses]
    return PolynomialLandscape(noisy, landscape.weights)


SHORT = {name: [one for one in given if one.T <= 3] for name, given in SPACETIMES.items()}


@pytest.mark.parametrize(("reading", "sampling"), CASES)
@settings(max_examples=8, suppress_health_check=SLOW)
@given(data=st.data(), size=st.sampled_from([Fraction(1), Fraction(-2), Fraction(2, 3)]))
def test_anchored_oracle_is_sgd_on_losses_with_noise(reading, sampling, data, size):
    """On quadratic losses both the series in ε and that in η end: their sums are the same expected loss of SGD."""
    spacetime, landscape, test, theta = data.draw(problems(reading, sampling, degree=2, spacetimes=SHORT))
    end, rate = 2 * int(spacetime.T) + 1, Fraction(1, 3)
    noisy = with_noise(landscape, size)
    for quantity in QUANTITIES:
        anchored = exact_anchored_series(quantity, landscape, theta, spacetime, rate, end, reading=reading, test=test)
        plain = exact_series(quantity, noisy, theta, spacetime, end, reading=reading, test=test)
        total = sum(value * size**k for k, value in enumerate(anchored))
        assert total == sum(value * rate**k for k, value in enumerate(plain)), quantity


def in_powers_of_eta(quantity, landscape, theta, spacetime, order, test, reading):
    """The series in ε as polynomials in η, by interpolation: for every power of ε the coefficients of η⁰ … η^order."""
    eta, degree = (
        sympy.Symbol("eta"),
        3 * {1: 1, 2: 3}[int(spacetime.T)],
    )  # of θ_T 1 and 3 on cubic losses, of l 3 times
    rates = [Fraction(k, 2) for k in range(-(degree // 2), degree - degree // 2 + 1)]
    rows = [
        exact_anchored_series(quantity, landscape, theta, spacetime, rate, 4, reading=reading, test=test)
        for rate in rates
    ]
    found = []
    for values in zip(*rows, strict=True):
        places = [(sympy.Rational(str(rate)), sympy.Rational(str(v))) for rate, v in zip(rates, values, strict=True)]
        polynomial = sympy.Poly(sympy.interpolate(places, eta), eta)
        found.append([Fraction(str(polynomial.coeff_monomial(eta**k))) for k in range(order + 1)])
    return found


TWO_STEPS = {name: [one for one in given if 1 <= one.T <= 2] for name, given in SPACETIMES.items()}


@pytest.mark.parametrize("sampling", SPACETIMES)
@settings(max_examples=4, suppress_health_check=SLOW)
@given(data=st.data(), quantity=st.sampled_from(QUANTITIES))
def test_orders_in_the_noise_are_cumulant_diagrams_by_their_ties(sampling, data, quantity):
    """ε^k of η^d is the sum of the cumulant diagrams of order d with k nodes in parts of two or more.

    So ε² is the re-summation of all diagrams with exactly one tied pair, to all orders in η.
    """
    spacetime, landscape, test, theta = data.draw(problems("population", sampling, degree=3, spacetimes=TWO_STEPS))
    exact = in_powers_of_eta(quantity, landscape, theta, spacetime, 3, test, "population")
    series = fd.expand(quantity, order=3, spacetime=spacetime, basis="cumulant")
    values = fd.testing.ExactValues(landscape, theta)
    expected = [[Fraction(0)] * 4 for _ in range(5)]
    for diagram, coefficient in series.items():
        noise = sum(len(part) for part in diagram.parts if len(part) > 1)
        expected[noise][diagram.order] += Fraction(str(coefficient)) * values.cumulant(diagram)
    assert exact == expected


def test_anchored_oracle_by_hand():
    """Gradients hθ ± s, two steps of one point each: the noise of both steps, and of the one twice where N = 1."""
    h, s, start, rate = Fraction(1, 2), Fraction(2), Fraction(3), Fraction(1, 3)
    landscape = PolynomialLandscape([{(2,): h / 2, (1,): s}, {(2,): h / 2, (1,): -s}])
    shrink = 1 - rate * h
    end, kicks = shrink**2 * start, (rate * s * shrink, rate * s)
    one_each = (h / 2 * end**2, 0, h / 2 * (kicks[0] ** 2 + kicks[1] ** 2))
    the_same = (h / 2 * end**2, 0, h / 2 * sum(kicks) ** 2)
    assert exact_anchored_series("test_loss", landscape, [start], Spacetime.sgd(2), rate, 2) == one_each
    assert exact_anchored_series("test_loss", landscape, [start], Spacetime.gd(1, 2), rate, 2) == the_same
    assert exact_anchored_series("gap", landscape, [start], Spacetime.gd(1, 2), rate, 2) == (0, 0, s * sum(kicks))


def test_anchored_oracle_names_what_it_cannot_do():
    landscape, here = PolynomialLandscape([{(2,): 1}, {(1,): 1}]), Spacetime.gd(2, 2)

    def refused(match, error=fd.ArgumentError, quantity="gap", theta=(0,), spacetime=here, rate="1/2", order=1, **more):
        with pytest.raises(error, match=match):
            exact_anchored_series(quantity, landscape, theta, spacetime, rate, order, **more)

    refused(r"'loss'.*'test_loss', 'train_loss', 'gap'", quantity="loss")
    refused("order is an integer ≥ 0", order=-1)
    refused(r"Fraction\('0.1'\)", rate=0.1)
    refused(r"rational number.*'fast'", rate="fast")
    refused(r"each of 2 steps; got 3", rate=["1/2"] * 3)
    refused("'unbiased'.*'population', 'conditional'", reading="unbiased")
    refused("Test losses are given in the conditional reading", reading="conditional")
    refused("Test losses are given in the conditional reading", test=landscape)
    refused(r"needs N = 2.*got N=3", spacetime=Spacetime.gd(3, 2), reading="conditional", test=landscape)
    plane = PolynomialLandscape([{(1, 1): 1}])
    refused(r"2 coordinate\(s\) of θ, the training losses 1", reading="conditional", test=plane)
    refused(r"θ has 2 coordinate\(s\)", error=fd.LandscapeError, theta=(0, 1))
    symbol = sympy.Symbol("N", integer=True, positive=True)
    refused("replace N with numbers", error=fd.SpacetimeError, spacetime=Spacetime.gd(symbol, 1))
    refused("use fewer points or steps", spacetime=Spacetime.gd(40, 1))
