"""JAX's derivatives along the noiseless path against rational arithmetic: all signs, all runs, and draws of them."""

import math
from fractions import Fraction
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from noise_by_definition import functionals, tied

import feyngd as fd
from feyngd import Spacetime
from feyngd.anchoring import Ties
from feyngd.anchoring._noise_weights import RUN, STEP
from feyngd.anchoring.path._higher_orders import compiled_higher_orders
from feyngd.anchoring.path._importance import ExampleSampler
from feyngd.anchoring.path._noise import Noise, example_noise, sign_noise, tie_labels
from feyngd.anchoring.path._noiseless_path import NoiselessPath
from feyngd.testing import PolynomialLandscape, exact_anchored_series

X, Y = sympy.symbols("x y")
POINT = (Fraction(1, 2), Fraction(-3, 4))
START = np.array([0.5, -0.75])
RATES = tuple(Fraction(k, 16) for k in (4, 2, 6, 4, 1, 3))
MOST_STEPS, MOST_REPLICATES = len(RATES), 512
QUANTITIES = ("test_loss", "train_loss", "gap")
CLOSE = {"rtol": 1e-10, "atol": 1e-13}


def cubic(theta, numbers):
    z = numbers[0] * theta[0] + numbers[1] * theta[1]
    return z**3 / 4 + numbers[2] * theta[0] * theta[1] + numbers[3] * z**2 + numbers[4] * theta[1] + theta @ theta


def numbers(seed, count):
    return np.random.default_rng(seed).integers(-3, 4, (count, 5)) / 4


def polynomials(rows):
    def expression(a, b, c, d, e):
        z = a * X + b * Y
        return z**3 / 4 + c * X * Y + d * z**2 + e * Y + X**2 + Y**2

    exact = [[sympy.Rational(int(4 * x), 4) for x in row] for row in rows]
    return PolynomialLandscape.from_expressions([expression(*row) for row in exact], (X, Y))


def shares(batch, count):
    """The shares of all examples in a batch."""
    return np.array([np.bincount(rows, minlength=count) / len(rows) for rows in batch])


def derivatives(order, data, test, rates, weights, share=0.0):
    """Derivatives up to an order of the mean loss, of F_t and of the test loss, each of shape (R, T + 1, …).

    F_t is given by weights of all examples, from which a share of the mean loss is taken. Steps and replicates are
    filled up to the same number, so that everything is compiled once.
    """
    steps, replicates, count = weights.shape
    filled = np.zeros((MOST_STEPS + 1, MOST_REPLICATES, count))
    filled[:steps, :replicates] = weights
    rates = np.append(as_floats(rates), np.zeros(MOST_STEPS + 1 - steps))
    with jax.enable_x64(True):
        run = compiled_higher_orders(cubic, order, 2, test is not None)
        everything = jnp.broadcast_to(jnp.arange(count), filled.shape)
        noise = Noise(everything, jnp.asarray(filled), jnp.full(filled.shape[:2], share))
        sampler = ExampleSampler.of_sizes(np.ones(len(data)), float)
        value, losses, noise, tested = run(
            *map(jnp.asarray, (START, data)), test, jnp.asarray(rates), noise, sampler, jax.random.key(0)
        )
    start = np.broadcast_to(np.asarray(value)[:, None, None], (*losses.shape[:2], 1))
    mean = np.concatenate([start, losses], axis=2)
    arrays = (mean, np.asarray(noise), mean if test is None else np.asarray(tested))
    return [np.moveaxis(array[:steps, :replicates], 0, 1) for array in arrays]


def as_floats(fractions):
    return np.array(fractions, dtype=float)


@pytest.mark.parametrize("ties", [STEP, RUN, Ties("epoch", 2), Ties("place", 2)], ids=str)
@pytest.mark.parametrize("reading", ["population", "conditional"])
def test_all_signs_average_to_the_functionals(ties, reading):
    """Over all signs of three examples in three steps: E d²/dε² = Σ_{s~t} E_x D_st, at every step of the path."""
    rates, data = RATES[:3], numbers(1, 3)
    test = numbers(2, 2) if reading == "conditional" else None
    labels = tie_labels([ties], len(rates))[:, 0]
    assert labels[-1] == labels[-2]
    signs = np.array(list(product((-1, 1), repeat=3 * (labels.max() + 1)))).reshape(-1, labels.max() + 1, 3)
    centred = (signs - signs.mean(axis=2, keepdims=True)) / 3**0.5
    mean, noise, tested = derivatives(2, data, test, rates, np.moveaxis(centred[:, labels], 0, 1))
    landscape = polynomials(data)
    together = tied(ties, len(rates))
    noiseless, D, influence = functionals(landscape, landscape.mean, POINT, rates)
    np.testing.assert_allclose(mean[0, :, 0], as_floats(noiseless), **CLOSE)
    np.testing.assert_allclose(mean[:, :, 1].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(mean[:, :, 2].mean(axis=0), as_floats((together * D).sum(axis=(1, 2))), **CLOSE)
    if ties == RUN:
        np.testing.assert_allclose(noise[:, :, 1].mean(axis=0), as_floats(influence.sum(axis=1)), **CLOSE)
    if test is not None:
        noiseless, D, _ = functionals(landscape, polynomials(test).mean, POINT, rates)
        np.testing.assert_allclose(tested[0, :, 0], as_floats(noiseless), **CLOSE)
        np.testing.assert_allclose(tested[:, :, 2].mean(axis=0), as_floats((together * D).sum(axis=(1, 2))), **CLOSE)


def test_drawn_signs_are_those_that_are_enumerated():
    """Centred signs over √M: the same in tied steps, independent in others and in other draws, all equally often."""
    ties = [STEP, RUN, Ties("epoch", 2), Ties("place", 2)]
    keys, steps = jax.random.split(jax.random.key(3), 400), 4
    noise = sign_noise(ties, keys, steps, ExampleSampler.of_sizes(np.array([1.0, 3.0]), float), None)
    np.testing.assert_array_equal(noise.indices, np.broadcast_to([0, 1], noise.indices.shape))
    np.testing.assert_allclose(noise.share, 0, atol=1e-6)
    drawn = np.asarray(noise.weights)
    drawn = np.moveaxis(drawn.reshape(steps + 1, len(ties), 400, 2), 0, 2)
    assert {tuple(row) for row in np.round(drawn.reshape(-1, 2) * 2**0.5, 6)} == {(0, 0), (1, -1), (-1, 1)}
    for one, rows in zip(ties, drawn[:, :, :, 0] * 2**0.5, strict=True):
        products = rows[:, :steps].T @ rows[:, :steps] / 400  # on average 1/2 where steps are tied, otherwise 0
        assert (np.abs(products - tied(one, steps) / 2) < 4 * 0.5 / 400**0.5).all(), one
        same = (rows[:, :steps, None] == rows[:, None, :steps]).all(axis=0)
        np.testing.assert_array_equal(same, tied(one, steps) == 1)
        np.testing.assert_array_equal(rows[:, steps], rows[:, steps - 1])


def test_drawn_examples_are_in_one_class_each():
    ties, steps, replicates = [STEP, RUN, Ties("epoch", 2), Ties("place", 2)], 4, 400
    sampler = ExampleSampler.of_sizes(np.array([1.0, 3.0, 0.0]), float)
    keys = jax.random.split(jax.random.key(3), replicates)
    noise, factors = example_noise(ties, keys, steps, sampler, 2)
    weights = np.asarray(noise.weights)
    assert (weights[..., 1] == 0).all()
    np.testing.assert_array_equal(weights[..., 0], noise.share)
    drawn = np.asarray(noise.indices)[..., 0]
    assert (drawn == drawn[0]).all()
    active = np.moveaxis(weights[:steps, :, 0].reshape(steps, 4, replicates), 0, 2)
    examples, factors = drawn[0].reshape(4, replicates), np.asarray(factors).reshape(4, replicates)
    for one, rows, chosen, factor in zip(ties, active, examples, factors, strict=True):
        labels = one.labels(steps)
        classes = labels.max() + 1
        own = np.array([labels[row == 1] for row in rows])
        assert (own == own[:, :1]).all()  # all of a class, and of no other
        assert (rows.sum(axis=1) == steps / classes).all()
        np.testing.assert_array_equal(np.bincount(own[:, 0]), replicates // classes)
        np.testing.assert_allclose(factor, classes * np.asarray(sampler.weights)[chosen])


@pytest.mark.parametrize("reading", ["population", "conditional"])
def test_third_derivatives_of_single_examples_are_the_skewness_of_the_exact_series(reading):
    """Noise of one example a step is that of one point a step; of one example a run, that of a single point."""
    data = np.concatenate([numbers(3, 1)] * 3 + [numbers(4, 1)])  # one of four is another
    steps, replicates, test = 3, 4000, numbers(5, 2) if reading == "conditional" else None
    with jax.enable_x64(True):
        landscape = fd.Landscape(cubic, data, test, reading=reading)
        path = NoiselessPath(landscape, jnp.asarray(START), as_floats(RATES[:steps]), 4, 64, 64)
        third, _ = path.higher_orders([STEP, RUN], replicates, replicates, jax.random.key(2))
    alike = {STEP: Spacetime.sgd(3, 1), RUN: Spacetime.gd(1, 3)}
    if reading == "conditional":  # where single points are the whole training set, or come with replacement
        alike = {STEP: Spacetime.sgd(4, 1, T=steps, sampling="with-replacement")}
    options = {} if test is None else {"test": polynomials(test)}
    for rows, spacetime in zip(third, alike.values(), strict=False):
        series = exact_anchored_series(
            "test_loss", polynomials(data), POINT, spacetime, RATES[:steps], 3, reading=reading, **options
        )
        stderr = rows[:, -1].std(ddof=1) / replicates**0.5
        assert 0 < stderr < 0.25 * abs(6 * float(series[3]))
        assert abs(rows[:, -1].mean() - 6 * float(series[3])) < 4 * stderr


RUNS = [
    ("population", Spacetime.sgd(2, 1, 2)),
    ("population", Spacetime.sgd(3, 1, 1)),
    ("population", Spacetime.sgd(2, 1, 3, sampling="fixed")),
    ("population", Spacetime.sgd(2, 2, T=2, sampling="with-replacement")),
    ("population", Spacetime.gd(3, 4)),
    ("conditional", Spacetime.sgd(3, 1, 2)),
    ("conditional", Spacetime.sgd(3, 2, T=2, sampling="with-replacement")),
    ("conditional", Spacetime.sgd(3, 1, T=4, sampling="with-replacement")),
]


@pytest.mark.parametrize(("reading", "spacetime"), RUNS, ids=str)
def test_all_runs_average_to_the_exact_series(reading, spacetime):
    """Over all training sets and runs the first four derivatives are k! times the coefficients of ε^k."""
    N, steps = int(spacetime.N), int(spacetime.T)
    rates = RATES[:steps]
    data = numbers(3, 3)
    test = numbers(4, 2) if reading == "conditional" else None
    sets = list(product(range(3), repeat=N)) if reading == "population" else [tuple(range(3))]
    listed = [(np.array(drawn)[np.array(run)], chance) for drawn in sets for chance, run in spacetime.outcomes()]
    batches = np.stack([run for run, _ in listed], axis=1)
    chances = np.array([float(chance) for _, chance in listed]) / len(sets)
    weights = [shares(batch, 3) for batch in batches]
    mean, noise, tested = derivatives(4, data, test, rates, np.stack([*weights, weights[-1]]), share=1.0)
    factorials = [math.factorial(k) for k in range(5)]

    def exact(quantity):
        options = {} if test is None else {"test": polynomials(test)}
        return as_floats(
            exact_anchored_series(quantity, polynomials(data), POINT, spacetime, rates, 4, reading=reading, **options)
        )

    np.testing.assert_allclose(chances @ tested[:, -1] / factorials, exact("test_loss"), **CLOSE)
    if test is not None:
        np.testing.assert_allclose(chances @ mean[:, -1] / factorials, exact("train_loss"), **CLOSE)
    elif spacetime.sampling == "full-batch":  # F of the last step is that of the training set
        deviation = np.append(0, chances @ noise[:, -1] / factorials[:4])
        np.testing.assert_allclose(-deviation, exact("gap"), **CLOSE)


def tilted(theta, x):
    """Losses that differ in their gradients alone."""
    return (theta @ theta) ** 2 / 4 + theta[0] ** 3 / 3 + x @ theta


@pytest.mark.slow
def test_higher_derivatives_take_the_curvature_of_few_examples():
    """Where all examples have the same curvature and equal chances it does not matter which of them stand for all."""
    angles = np.arange(6) * np.pi / 3 + np.array([[0.2], [0.5]])  # around their mean, all as far from it
    drawn = np.stack([np.cos(angles), np.sin(angles)], axis=2)
    landscape = fd.Landscape(tilted, *drawn, reading="conditional")  # whose test loss is that of all test examples
    ties, key = [STEP, RUN], jax.random.key(2)
    with jax.enable_x64(True):
        by_few, by_all = (
            np.stack(
                NoiselessPath(landscape, jnp.array(START), as_floats(RATES), 4, 6, count).higher_orders(ties, 3, 2, key)
            )
            for count in (2, 6)
        )
    assert (np.abs(by_all[..., -1]).max(axis=2) > 1e-3).all()
    np.testing.assert_allclose(by_few, by_all, rtol=1e-9, atol=1e-12)
