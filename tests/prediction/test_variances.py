"""Predicted variances over runs: exactly against enumeration, against real runs, and what has none."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd.errors import ArgumentError
from feyngd.testing import exact_covariance, exact_variance

X, Y = sympy.symbols("x y")
POINT, START = (sympy.Rational(1, 2), sympy.Rational(-3, 4)), np.array([0.5, -0.75])
ROWS = np.array([[1.0, 0.5, -1.0], [-0.5, 1.0, 0.5], [0.25, -1.0, 1.0]])
TEST = np.array([[0.5, 0.5, 1.0], [-1.0, 0.25, 0.5]])
SPACETIMES = [
    fd.Spacetime.sgd(3, 2, T=3, drop_last=False),
    fd.Spacetime.sgd(3, 2, T=2, sampling="with-replacement"),
    fd.Spacetime.sgd(3, 1, T=2),
]
KEY = jax.random.key(0)
TOO_LARGE = pytest.mark.filterwarnings("ignore::feyngd.TruncationWarning")
ONE_OPTIMIZER = fd.momentum(Fraction(1, 2))


def loss(theta, row):
    z = row[0] * theta[0] + row[1] * theta[1]
    return z**3 + row[2] * theta[0] * theta[1] + z**2


def measured(theta):
    return theta[0] ** 3 - 2 * theta[0] * theta[1]


def polynomials(function, data):
    exact = [[sympy.Rational(float(x)) for x in row] for row in data]
    return fd.testing.PolynomialLandscape.from_expressions([function((X, Y), row) for row in exact], (X, Y))


def own(function):
    return fd.testing.PolynomialLandscape.from_expressions([function((X, Y))], (X, Y))


def coefficients(quantity, landscape, spacetime, **options):
    with jax.enable_x64(True):
        return fd.predict(landscape, START, spacetime, 1e-3, quantity=quantity, key=KEY, **options).coefficients[0]


@TOO_LARGE
@pytest.mark.parametrize("spacetime", SPACETIMES, ids=str)
def test_the_test_loss(spacetime):
    found = coefficients("test_loss_variance", fd.Landscape(loss, ROWS), spacetime)
    exact = exact_variance("test_loss_variance", polynomials(loss, ROWS), POINT, spacetime, 3)
    np.testing.assert_allclose(found, [float(c) for c in exact], rtol=1e-10, atol=1e-12)


@TOO_LARGE
@pytest.mark.parametrize("quantity", ["train_loss_variance", "test_loss_second_moment"])
def test_where_the_loss_itself_counts(quantity):
    spacetime = SPACETIMES[0]
    found = coefficients(quantity, fd.Landscape(loss, ROWS), spacetime, order=2)
    exact = exact_variance(quantity, polynomials(loss, ROWS), POINT, spacetime, 2)
    np.testing.assert_allclose(found, [float(c) for c in exact], rtol=1e-10, atol=1e-12)


@TOO_LARGE
@pytest.mark.parametrize("quantity", ["test_loss_variance", "train_loss_variance"])
def test_the_conditional_reading(quantity):
    landscape, spacetime = fd.Landscape(loss, ROWS, test_data=TEST, reading="conditional"), SPACETIMES[0]
    found = coefficients(quantity, landscape, spacetime)
    losses, tests = polynomials(loss, ROWS), polynomials(loss, TEST)
    exact = exact_variance(quantity, losses, POINT, spacetime, 3, reading="conditional", test=tests)
    assert any(exact)
    np.testing.assert_allclose(found, [float(c) for c in exact], rtol=1e-10, atol=1e-12)


@TOO_LARGE
@pytest.mark.parametrize("optimizer", [fd.sgd(), ONE_OPTIMIZER], ids=str)
def test_measurements_and_the_trace_of_the_covariance(optimizer):
    landscape, spacetime = fd.Landscape(loss, ROWS), SPACETIMES[0]
    quantity, exact_landscape = fd.variance(fd.measurement("s", measured)), polynomials(loss, ROWS)
    exact = exact_variance(
        "test_loss_variance", exact_landscape, POINT, spacetime, 3, test=own(measured), optimizer=optimizer
    )
    found = coefficients(quantity, landscape, spacetime, optimizer=optimizer)
    np.testing.assert_allclose(found, [float(c) for c in exact], rtol=1e-10, atol=1e-12)
    matrix = exact_covariance(exact_landscape, POINT, spacetime, 3, optimizer=optimizer)
    trace = [float(a + b) for a, b in zip(matrix[0][0], matrix[1][1], strict=True)]
    found = coefficients("covariance_trace", landscape, spacetime, optimizer=optimizer)
    np.testing.assert_allclose(found, trace, rtol=1e-10, atol=1e-12)


@TOO_LARGE
def test_updates_that_are_no_gradients():
    def update(theta, row):
        a, b = theta
        moved = row[0] * b**2 - row[1] * a, row[2] * a * b + b
        return moved if isinstance(a, sympy.Symbol) else jnp.stack(moved)

    rows = [[sympy.Rational(float(x)) for x in row] for row in ROWS]
    plain = polynomials(loss, ROWS)
    fields = [
        [{p: Fraction(int(c.p), int(c.q)) for p, c in sympy.Poly(part, X, Y).terms()} for part in update((X, Y), row)]
        for row in rows
    ]
    exact_landscape = fd.testing.PolynomialLandscape(plain.losses, updates=fields)
    landscape, spacetime = fd.Landscape(loss, ROWS, update=update), SPACETIMES[2]
    found = coefficients("test_loss_variance", landscape, spacetime)
    exact = exact_variance("test_loss_variance", exact_landscape, POINT, spacetime, 3)
    np.testing.assert_allclose(found, [float(c) for c in exact], rtol=1e-10, atol=1e-12)
    with pytest.raises(ArgumentError, match="has an update"):
        fd.predict(landscape, START, spacetime, 0.1, quantity="covariance_trace", key=KEY)


@pytest.fixture(scope="module")
def network():
    """A tanh network of 22 parameters, whose interleaved values are sampled."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype("float32")
    start = {"w": rng.normal(size=(3, 5)).astype("float32") / 3, "v": np.full(5, 0.2, "float32")}

    def fit(params, example):
        x, y = example
        return (jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2

    return fd.Landscape(fit, (x, np.sin(x.sum(1)).astype("float32"))), start


@pytest.mark.parametrize(("quantity", "order"), [("test_loss_variance", 3), ("covariance_trace", 3)])
def test_predictions_agree_with_runs(network, quantity, order):
    spacetime, rates = fd.Spacetime.sgd(12, 3, E=2), [0.002, 0.004]
    P = fd.predict(*network, spacetime, rates, quantity=quantity, order=order, key=KEY, check_dtype=False)
    R = fd.simulate(*network, spacetime, rates, quantity=quantity, runs=2000, key=jax.random.key(1))
    assert P.converged.all()
    np.testing.assert_array_less(np.abs(P.mean - R.mean), 4 * np.hypot(P.stderr, R.stderr) + 2 * P.truncation)
    comparison = fd.compare(P, R)
    assert quantity in str(comparison)
    assert f"{P.mean[0]:.3e}" in str(comparison)  # five decimals would show nothing
    assert "expected" not in P.plot().get_ylabel()
    assert P.mean[0] < P.mean[1]


@TOO_LARGE
def test_the_train_loss_varies_with_its_training_set(network):
    spacetime = fd.Spacetime.sgd(12, 3)
    P = fd.predict(*network, spacetime, [0.002], quantity="train_loss_variance", order=2, key=KEY, check_dtype=False)
    R = fd.simulate(*network, spacetime, [0.002], quantity="train_loss_variance", runs=2000, key=jax.random.key(1))
    assert abs(P.mean[0] - R.mean[0]) < 4 * np.hypot(P.stderr[0], R.stderr[0]) + 2 * P.truncation[0]
    assert P.coefficients[0][1] < 0


@pytest.mark.slow
def test_standard_errors_cover(network):
    """Values are sampled where parts are interleaved; their errors cover as often as they say."""
    series = fd.expand("test_loss_variance", order=4, spacetime=fd.Spacetime.sgd(12, 3, E=2), basis="cumulant")
    with jax.enable_x64(True):
        landscape = fd.Landscape(network[0].loss, tuple(np.asarray(leaf, float)[:12] for leaf in network[0].data))
        params = jax.tree.map(lambda leaf: np.asarray(leaf, float), network[1])
        forest = fd.Forest.parse("[a] [a b b]")
        exact = fd.evaluate([forest], landscape, params, basis="cumulant", estimator="double-sum")[forest].value
        found = [
            fd.evaluate([forest], landscape, params, basis="cumulant", estimator="pairing", key=jax.random.key(k))
            for k in range(40)
        ]
    assert forest in series
    pulls = np.array([(values[forest].value - exact) / values[forest].stderr for values in found])
    assert 0.6 < np.sqrt(np.mean(pulls**2)) < 1.6


@TOO_LARGE
def test_predictions_and_simulations_are_kept(network, tmp_path):
    quantity = fd.variance(fd.measurement("norm", lambda params: jnp.sum(params["v"] ** 2)))
    spacetime = fd.Spacetime.sgd(12, 3)
    P = fd.predict(*network, spacetime, [0.01], order=2, quantity=quantity, key=KEY, check_dtype=False)
    R = fd.simulate(*network, spacetime, [0.01], quantity=quantity, runs=8, key=KEY)
    for result in (P, R):
        result.save(tmp_path / "kept.npz")
        again = type(result).load(tmp_path / "kept.npz")
        assert str(again) == str(result)
        assert "variance of norm" in str(again)


@TOO_LARGE
def test_values_can_be_used_again(network):
    spacetime, options = fd.Spacetime.sgd(12, 3), {"order": 2, "quantity": "test_loss_variance"}
    series = fd.expand("test_loss_variance", order=2, spacetime=spacetime, basis="cumulant")
    values = fd.evaluate(series, *network, key=KEY, check_dtype=False)
    P = fd.predict(*network, spacetime, 0.01, values=values, check_dtype=False, **options)
    assert P.mean[0] > 0
    moments = fd.evaluate(series.in_basis("moment"), *network, key=KEY, check_dtype=False)
    with pytest.raises(ArgumentError, match="cumulant basis"):
        fd.predict(*network, spacetime, 0.01, values=moments, **options)


def test_what_has_no_variance_is_refused(network):
    spacetime = fd.Spacetime.sgd(12, 3)
    arguments = (*network, spacetime, 0.01)
    with pytest.raises(ArgumentError, match="covariance_trace"):
        fd.predict(*arguments, quantity="covariance", key=KEY)
    with pytest.raises(ArgumentError, match="matrices of parameters"):
        fd.evaluate(fd.expand("covariance", order=2, spacetime=spacetime), *network)
    with pytest.raises(ArgumentError, match="Learning curves"):
        fd.predict(*arguments, quantity="test_loss_variance", times="all", key=KEY)
    metric = fd.preconditioned(fd.sgd(), jax.tree.map(np.ones_like, network[1]))
    with pytest.raises(ArgumentError, match="single parameters"):
        fd.predict(*arguments, quantity="covariance_trace", optimizer=metric, key=KEY)
    noisy = fd.Landscape(
        lambda theta, row, key: jnp.sum(theta) * row * jax.random.normal(key), np.ones(3), per_use_noise=True
    )
    with pytest.raises(ArgumentError, match="no series of"):
        fd.predict(noisy, np.ones(2), spacetime, 0.01, quantity="test_loss_variance", key=KEY)
    given = fd.Landscape(loss, ROWS, test_data=TEST, reading="conditional")
    with pytest.raises(ArgumentError, match="conditional reading, the series"):
        fd.evaluate(fd.expand("test_loss_variance", order=2, spacetime=SPACETIMES[0]), given, START)
    four = fd.variance(fd.measurement("s", measured))
    with pytest.raises(ArgumentError, match="up to order 3"):
        fd.predict(fd.Landscape(loss, ROWS), START, SPACETIMES[0], 0.01, quantity=four, order=4, key=KEY)
    with pytest.raises(ArgumentError, match="has one root"):
        fd.evaluate(fd.Diagram.parse("[a a]"), *network, root="joined", key=KEY)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "rate"), [("logistic", 0.01), ("mlp", 0.008)])
def test_the_variance_on_digits_is_that_of_runs_to_a_tenth(model, rate):
    landscape, params = fd.landscapes.digits_landscape(model, limit=200, key=KEY)
    spacetime = fd.Spacetime.sgd(20, 4)
    options = {"quantity": "test_loss_variance", "key": jax.random.key(1)}
    P = fd.predict(landscape, params, spacetime, [rate], order=4, check_dtype=False, **options)
    R = fd.simulate(landscape, params, spacetime, [rate], runs=4000, chunk_size=64, **options)
    assert P.converged.all()
    assert R.stderr[0] < 0.03 * R.mean[0]
    assert abs(P.mean[0] / R.mean[0] - 1) < 0.1
