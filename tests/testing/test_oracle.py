"""The oracle against hand computation, closed forms of simple models, and a SymPy run of SGD written from scratch."""

from fractions import Fraction
from itertools import permutations, product

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd import Spacetime
from feyngd.testing import PolynomialLandscape, exact_series

ETA = sympy.Symbol("eta")


def taylor(expression, order):
    """Coefficients in η of a rational expression that is a polynomial or a power series in η."""
    series = sympy.series(sympy.expand(expression), ETA, 0, order + 1).removeO()
    return tuple(Fraction(int(c.p), int(c.q)) for c in (series.coeff(ETA, k) for k in range(order + 1)))


def run_by_hand(losses, variables, start, batches):
    """Run SGD literally: substitute the iterate into the gradient of each batch's mean loss."""
    point = [sympy.Rational(x.numerator, x.denominator) for x in start]
    for batch in batches:
        mean = sum((losses[kind] for kind in batch), sympy.Integer(0)) / len(batch)
        place = dict(zip(variables, point, strict=True))
        moved = [x - ETA * mean.diff(v).subs(place, simultaneous=True) for x, v in zip(point, variables, strict=True)]
        point = [sympy.expand(x) for x in moved]
    return dict(zip(variables, point, strict=True))


def two_point_runs(sampling):
    """Every equally likely sequence of two batches on the points 0 and 1."""
    return {
        "fixed": [((0,), (1,))],
        "reshuffled": [tuple((n,) for n in order) for order in permutations(range(2))],
        "with-replacement": [((a,), (b,)) for a, b in product(range(2), repeat=2)],
        "full-batch": [((0, 1), (0, 1))],
        "explicit": [((0, 0, 1), (1,))],
    }[sampling]


def two_point_spacetime(sampling):
    if sampling == "full-batch":
        return Spacetime.gd(2, 2)
    if sampling == "explicit":
        return Spacetime.from_batches([[0, 0, 1], [1]], N=2)
    if sampling == "with-replacement":
        return Spacetime.sgd(2, T=2, sampling=sampling)
    return Spacetime.sgd(2, sampling=sampling)


@pytest.mark.parametrize("sampling", ["fixed", "reshuffled", "with-replacement", "full-batch", "explicit"])
@pytest.mark.parametrize("dimensions", [1, 2])
def test_oracle_equals_a_literal_run_on_two_points(sampling, dimensions):
    """Enumerate the training sets and runs and take the steps in SymPy expressions."""
    variables = sympy.symbols("x y")[:dimensions]
    x, y = variables[0], variables[-1]
    losses = [x**3 / 2 - x * y + 1, x**2 * y - 2 * y / 3 + x]
    weights = [Fraction(1, 3), Fraction(2, 3)]
    start = [Fraction(1, 2), Fraction(-1)][:dimensions]
    order = 3
    mean = sum(sympy.Rational(w.numerator, w.denominator) * loss for w, loss in zip(weights, losses, strict=True))
    expected = {"test_loss": sympy.Integer(0), "train_loss": sympy.Integer(0)}
    runs = two_point_runs(sampling)
    for training_set in product(range(2), repeat=2):
        chance = weights[training_set[0]] * weights[training_set[1]] / len(runs)
        for run in runs:
            batches = [[training_set[n] for n in batch] for batch in run]
            end = run_by_hand(losses, variables, start, batches)
            train = (losses[training_set[0]] + losses[training_set[1]]) / 2
            share = sympy.Rational(chance.numerator, chance.denominator)
            expected["test_loss"] += share * mean.subs(end, simultaneous=True)
            expected["train_loss"] += share * train.subs(end, simultaneous=True)
    expected["gap"] = expected["test_loss"] - expected["train_loss"]
    landscape = PolynomialLandscape.from_expressions(losses, variables, weights)
    for quantity, truth in expected.items():
        got = exact_series(quantity, landscape, start, two_point_spacetime(sampling), order)
        polynomial = sympy.Poly(sympy.expand(truth), ETA)
        assert got == tuple(
            Fraction(int(c.p), int(c.q)) for c in (polynomial.coeff_monomial(ETA**k) for k in range(order + 1))
        )


def test_one_step_on_one_point_by_hand():
    """l = θ³ at θ = 1, one step: (1 − 3η)³."""
    landscape = PolynomialLandscape([{(3,): 1}])
    assert exact_series("test_loss", landscape, [1], Spacetime.gd(1, 1), 4) == (1, -9, 27, -27, 0)


def test_no_steps_leave_the_start():
    landscape = PolynomialLandscape([{(2,): 1}, {(1,): 5}], ["1/4", "3/4"])
    for spacetime in (Spacetime.gd(2, 0), Spacetime.sgd(2, 1, 0), Spacetime.from_batches([], N=2)):
        assert exact_series("test_loss", landscape, [2], spacetime, 2) == (1 + Fraction(15, 2), 0, 0)
        assert exact_series("gap", landscape, [2], spacetime, 2) == (0, 0, 0)


@st.composite
def mean_estimation(draw):
    """l_x(θ) = hθ²/2 + xsθ with x = ±1, its h, s and θ0."""
    h, s, start = (draw(st.fractions(-2, 2, max_denominator=3)) for _ in range(3))
    h = h or Fraction(1)
    landscape = PolynomialLandscape([{(2,): h / 2, (1,): s}, {(2,): h / 2, (1,): -s}])
    exact = [sympy.Rational(v.numerator, v.denominator) for v in (h, s, start)]
    return landscape, start, *exact


@settings(max_examples=15)
@given(mean_estimation(), st.integers(1, 4), st.integers(1, 4))
def test_full_batch_on_mean_estimation(model, points, steps):
    """The iterate is linear in the training mean, so test loss and gap have closed forms."""
    landscape, start, h, s, x0 = model
    shrink = (1 - ETA * h) ** steps
    spread = sympy.cancel((1 - shrink) / h)
    spacetime = Spacetime.gd(points, steps)
    test = h * (shrink**2 * x0**2 + spread**2 * s**2 / points) / 2
    assert exact_series("test_loss", landscape, [start], spacetime, 4) == taylor(test, 4)
    assert exact_series("gap", landscape, [start], spacetime, 4) == taylor(s**2 * spread / points, 4)


@settings(max_examples=15)
@given(mean_estimation(), st.integers(1, 4))
def test_one_epoch_of_single_points_on_mean_estimation(model, points):
    """Each point kicks once; the kicks are independent and decay."""
    landscape, start, h, s, x0 = model
    decay = 1 - ETA * h
    variance = ETA**2 * s**2 * sum(decay ** (2 * k) for k in range(points))
    gap = s**2 * ETA / points * sum(decay**k for k in range(points))
    for sampling in ("fixed", "reshuffled"):
        spacetime = Spacetime.sgd(points, sampling=sampling)
        test = h * (decay ** (2 * points) * x0**2 + variance) / 2
        assert exact_series("test_loss", landscape, [start], spacetime, 4) == taylor(test, 4)
        assert exact_series("gap", landscape, [start], spacetime, 4) == taylor(gap, 4)


@settings(max_examples=15)
@given(mean_estimation(), st.integers(1, 3), st.integers(2, 3))
def test_fixed_epochs_on_mean_estimation(model, points, epochs):
    """With a fixed order a point's kicks add up coherently over epochs."""
    landscape, start, h, s, _ = model
    decay, steps = 1 - ETA * h, points * epochs
    kicks = [sum(decay ** (steps - 1 - n - points * e) for e in range(epochs)) for n in range(points)]
    gap = s**2 * ETA / points * sum(kicks)
    noise = ETA**2 * s**2 * sum(kick**2 for kick in kicks)
    spacetime = Spacetime.sgd(points, 1, epochs, sampling="fixed")
    assert exact_series("gap", landscape, [start], spacetime, 3) == taylor(gap, 3)
    at_minimum = exact_series("test_loss", landscape, [0], spacetime, 3)
    assert at_minimum == taylor(h * noise / 2, 3)


@settings(max_examples=10)
@given(st.data(), st.sampled_from([(2, 1), (2, 2), (3, 1)]))
def test_full_batch_minus_single_points_is_the_gradient_of_the_noise(data, sizes):
    """GD − SGD = η²(M/2)(N−1) G·∇(tr C)/2, with tr C differentiated as a polynomial in θ."""
    points, epochs = sizes
    landscape = data.draw(fd.testing.landscapes(dimensions=(1, 2), kinds=(2, 3)))
    theta = data.draw(fd.testing.points(landscape))
    variables = sympy.symbols("x:3")[: landscape.dimensions]

    def polynomial(loss):
        return sum(
            sympy.Rational(c.numerator, c.denominator)
            * sympy.Mul(*(v**p for v, p in zip(variables, powers, strict=True)))
            for powers, c in loss.items()
        )

    weights = [sympy.Rational(w.numerator, w.denominator) for w in landscape.weights]
    losses = [polynomial(loss) for loss in landscape.losses]
    mean = sum(w * loss for w, loss in zip(weights, losses, strict=True))
    spread = sum(
        sum(w * loss.diff(v) ** 2 for w, loss in zip(weights, losses, strict=True)) - mean.diff(v) ** 2
        for v in variables
    )
    push = sum(mean.diff(v) * sympy.expand(spread).diff(v) for v in variables) / 2
    place = {v: sympy.Rational(x.numerator, x.denominator) for v, x in zip(variables, theta, strict=True)}
    expected = sympy.Rational(epochs * (points - 1), 2) * sympy.expand(push).subs(place)
    full = exact_series("test_loss", landscape, theta, Spacetime.gd(points, points * epochs), 2)
    single = exact_series("test_loss", landscape, theta, Spacetime.sgd(points, 1, epochs, sampling="fixed"), 2)
    difference = [a - b for a, b in zip(full, single, strict=True)]
    assert difference == [0, 0, Fraction(int(expected.p), int(expected.q))]


def test_gap_is_test_minus_train():
    landscape = PolynomialLandscape([{(3,): 1, (1,): 1}, {(2,): 1}], ["1/3", "2/3"])
    spacetime = Spacetime.sgd(3, 1, 2)
    test, train, gap = (exact_series(q, landscape, ["1/2"], spacetime, 4) for q in ("test_loss", "train_loss", "gap"))
    assert gap == tuple(a - b for a, b in zip(test, train, strict=True))
    assert any(gap)


def test_oracle_names_what_it_cannot_do():
    landscape = PolynomialLandscape([{(2,): 1}])
    here = Spacetime.gd(1, 1)
    with pytest.raises(fd.ArgumentError, match=r"'loss'.*'test_loss', 'train_loss', 'gap'"):
        exact_series("loss", landscape, [0], here, 1)
    for order in (-1, True, 1.0, None):
        with pytest.raises(fd.ArgumentError, match="order"):
            exact_series("gap", landscape, [0], here, order)
    with pytest.raises(fd.SpacetimeError, match=r"replace N with numbers"):
        exact_series("gap", landscape, [0], Spacetime.gd(sympy.Symbol("N", integer=True, positive=True), 1), 1)
    with pytest.raises(fd.LandscapeError, match=r"θ has 2 coordinate\(s\), the landscape 1"):
        exact_series("gap", landscape, [0, 1], here, 1)


@pytest.mark.parametrize(
    "spacetime",
    [fd.Spacetime.sgd(30), fd.Spacetime.gd(30, 1), fd.Spacetime.sgd(3, 2, T=30, sampling="with-replacement")],
)
def test_too_much_to_enumerate_is_refused_at_once(spacetime):
    landscape = fd.testing.PolynomialLandscape([{(2,): 1}, {(1,): 1}])
    with pytest.raises(fd.ArgumentError, match=r"the limit is .* use fewer points or steps"):
        fd.testing.exact_series("gap", landscape, [1], spacetime, order=1)
