"""Updates that are no gradient: values, predictions and simulations against exact enumeration and each other."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd.errors import ArgumentError, LandscapeError
from feyngd.minima import minimum

X, Y = sympy.symbols("x y")
POINT, START = (sympy.Rational(1, 2), sympy.Rational(-3, 4)), np.array([0.5, -0.75])
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
ROWS = np.random.default_rng(5).integers(-3, 4, (5, 4)) / 4
EXACT_ROWS = [[sympy.Rational(float(entry)).limit_denominator(4) for entry in row] for row in ROWS]
SPACETIMES = [
    fd.Spacetime.sgd(3, 1, 2),
    fd.Spacetime.sgd(3, 2, T=2, sampling="with-replacement"),
    fd.Spacetime.gd(3, 3),
]


def loss(theta, row):
    z = row[0] * theta[0] + row[1] * theta[1]
    return z**3 + row[2] * theta[0] * theta[1] + row[3] * z**2


def field(theta, row):
    """Nothing about it is a gradient."""
    first = row[0] * theta[0] * theta[1] ** 2 + row[1] * theta[1] + row[2]
    return first, row[3] * theta[0] ** 2 - row[0] * theta[1] ** 3 + row[2] * theta[0]


def update(theta, row):
    return jnp.stack(field(theta, row))


def polynomial(expression):
    terms = sympy.Poly(expression, X, Y, domain="QQ").terms()
    return {powers: Fraction(int(value.p), int(value.q)) for powers, value in terms}


def polynomials(count):
    rows = EXACT_ROWS[:count]
    losses = [polynomial(loss((X, Y), row)) for row in rows]
    return fd.testing.PolynomialLandscape(
        losses, updates=[[polynomial(entry) for entry in field((X, Y), row)] for row in rows]
    )


@TOO_LARGE
@pytest.mark.parametrize("reading", ["population", "unbiased"])
def test_predictions_are_exact(reading):
    count = 3 if reading == "population" else 4
    with jax.enable_x64(True):
        landscape = fd.Landscape(loss, ROWS[:count], reading=reading, update=update)
        diagrams = [diagram for order in range(4) for diagram in fd.diagrams(order, root_tied=True)]
        values = fd.evaluate(diagrams, landscape, START, estimator="double-sum")
        for spacetime in SPACETIMES:
            for quantity, optimizer in (("test_loss", fd.sgd()), ("train_loss", fd.momentum(0.5)), ("gap", fd.sgd())):
                options = {"reading": reading, "optimizer": optimizer}
                exact = fd.testing.exact_series(quantity, polynomials(count), POINT, spacetime, 3, **options)
                found = fd.predict(
                    landscape, START, spacetime, 0.1, quantity=quantity, values=values, optimizer=optimizer
                )
                np.testing.assert_allclose(found.coefficients, [[float(c) for c in exact]], rtol=1e-9, atol=1e-12)


@TOO_LARGE
@pytest.mark.slow
def test_cumulants_measurements_and_given_training_sets():
    own = fd.measurement("product", lambda theta: theta[0] ** 3 * theta[1])
    measured = fd.testing.PolynomialLandscape([{(3, 1): 1}])
    space = fd.Spacetime.sgd(4, 2, 2)
    with jax.enable_x64(True):
        landscape = fd.Landscape(loss, ROWS[:4], ROWS[4:], reading="conditional", update=update)
        series = fd.expand(own, order=2, spacetime=space)
        values = fd.evaluate(series, landscape, START, estimator="double-sum")
        found = fd.predict(landscape, START, space, 0.1, order=2, quantity=own, values=values)
        exact = fd.testing.exact_series(
            "test_loss", polynomials(4), POINT, space, 2, reading="conditional", test=measured
        )
        np.testing.assert_allclose(found.coefficients, [[float(c) for c in exact]], rtol=1e-9, atol=1e-12)
        population = fd.Landscape(loss, ROWS, update=update)
        moments = fd.expand("gap", order=3, spacetime=space)
        totals = [
            sum(float(c) * values[d].value * 0.1**d.order for d, c in series.items())
            for series in (moments, moments.in_basis("cumulant"))
            for values in [fd.evaluate(series, population, START, estimator="double-sum")]
        ]
    assert totals[0] == pytest.approx(totals[1], rel=1e-9)


def mlp_loss(params, example):
    x, y = example
    return (jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2


@pytest.mark.slow
def test_the_gradient_as_an_update_is_the_gradient():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype("float32")
    start = {"w": rng.normal(size=(3, 4)).astype("float32"), "v": np.full(4, 0.3, "float32")}
    data, key = (x, np.sin(x.sum(1))), jax.random.key(0)
    plain, own = fd.Landscape(mlp_loss, data), fd.Landscape(mlp_loss, data, update=jax.grad(mlp_loss))
    diagrams = [fd.Diagram.parse(text) for text in ("[a]", "a[b a]", "[a b[a]]", "[a[b] b]", "[a[a b]]", "[a b[a[c]]]")]
    exact = fd.evaluate(diagrams, plain, start, estimator="contraction", key=key)
    for estimator in ("auto", "strata"):
        found = fd.evaluate(diagrams, own, start, estimator=estimator, replicates=8, key=key)
        for diagram in diagrams:
            error = 6 * (found[diagram].stderr or 0) + 1e-3 * abs(exact[diagram].value) + 1e-4
            assert abs(found[diagram].value - exact[diagram].value) < error, diagram
    space, options = fd.Spacetime.sgd(8, 2, 2), {"runs": 40, "quantity": "train_loss", "control": True, "key": key}
    ours, theirs = (fd.simulate(made, start, space, [0.02], **options) for made in (own, plain))
    np.testing.assert_allclose(ours.samples, theirs.samples, rtol=1e-4)


def gaussian_loss(theta, x):
    """The negative logarithm of a Gaussian's density, of mean m and log-width s."""
    return theta[1] + 0.5 * jnp.exp(-2 * theta[1]) * (x - theta[0]) ** 2


def natural(theta, x):
    """Its natural gradient: the Fisher information is diag(e^(−2s), 2)."""
    return jax.grad(gaussian_loss)(theta, x) * jnp.stack([jnp.exp(2 * theta[1]), 0.5])


@TOO_LARGE
@pytest.mark.slow
def test_natural_gradient_on_a_gaussian_fit():
    """Against Taylor coefficients of the mean over all training sets and orders, and against simulated runs."""
    points, start, space = np.array([-1.0, 0.5, 2.0]), np.array([0.2, 0.1]), fd.Spacetime.sgd(2, 1, 2)
    with jax.enable_x64(True):
        landscape = fd.Landscape(gaussian_loss, points, update=natural)
        series = fd.expand("test_loss", order=3, spacetime=space)
        values = fd.evaluate(series, landscape, start, estimator="double-sum")
        found = fd.predict(landscape, start, space, [0.01, 0.02], values=values)

        def mean(rate):
            orders = [(a, b, c, d) for a, b in ((0, 1), (1, 0)) for c, d in ((0, 1), (1, 0))]
            sets = jnp.array([[points[i], points[j]] for i in range(3) for j in range(3)])

            def end(chosen, order):
                theta = jnp.asarray(start)
                for slot in range(4):
                    theta = theta - rate * natural(theta, chosen[order[slot]])
                return jnp.mean(jax.vmap(lambda x: gaussian_loss(theta, x))(points))

            return jnp.mean(jax.vmap(lambda s: jnp.mean(jax.vmap(lambda o: end(s, o))(jnp.array(orders))))(sets))

        exact, derivative = [], mean
        for order, factorial in enumerate((1, 1, 2, 6)):
            exact.append(float(derivative(0.0)) / factorial)
            derivative = jax.grad(derivative) if order < 3 else None
        np.testing.assert_allclose(found.coefficients.mean(axis=0), exact, rtol=1e-9)
        runs = fd.simulate(landscape, start, space, [0.01, 0.02], runs=4000, control=True, key=jax.random.key(1))
    assert fd.compare(found, runs).agrees.all()


def test_updates_that_are_none_are_refused():
    landscape = fd.Landscape(mlp_loss, (np.ones((4, 3)), np.ones(4)), update=jax.grad(mlp_loss))
    start, space, key = {"w": jnp.ones((3, 2)), "v": jnp.ones(2)}, fd.Spacetime.sgd(4), jax.random.key(0)
    for call in (
        lambda: fd.near_minimum(landscape, start, key=key),
        lambda: fd.anchor(landscape, start, learning_rate=0.1, steps=4, key=key),
        lambda: fd.training.tic(landscape, start),
        lambda: fd.simulate_sde(landscape, start, space, 0.1, key=key),
        lambda: minimum(landscape, start, key=key),
    ):
        with pytest.raises(ArgumentError, match="follows gradients"):
            call()
    metric = fd.preconditioned(fd.sgd(), {"w": 2.0, "v": 1.0})
    for call in (fd.predict, fd.simulate):
        with pytest.raises(ArgumentError, match="put it into the update"):
            call(landscape, start, space, 0.1, optimizer=metric, key=key)

    def predict(update):
        made = fd.Landscape(mlp_loss, landscape.data, update=update)
        fd.predict(made, start, space, 0.1, order=1, key=key)

    with pytest.raises(ArgumentError, match="function update"):
        predict(3.0)
    with pytest.raises(LandscapeError, match="structure and the shapes of the parameters"):
        predict(lambda p, e: p["w"])
    with pytest.raises(LandscapeError, match="structure and the shapes of the parameters"):
        predict(lambda p, e: {"w": p["w"].T, "v": p["v"]})
    with pytest.raises(LandscapeError, match="raised KeyError"):
        predict(lambda p, e: p["u"])
    with pytest.raises(LandscapeError, match="no derivative"):
        predict(lambda p, e: jax.tree.map(lambda leaf: jax.pure_callback(np.sin, leaf, leaf), p))
    with pytest.warns(fd.SmoothnessWarning):
        predict(lambda p, e: jax.tree.map(lambda leaf: jnp.maximum(leaf - 1.01, 0.0), p))
