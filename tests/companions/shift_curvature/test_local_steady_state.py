"""Around one minimum: against the diagrams, closed forms, exact averages over data sets, and without matrices."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

import feyngd as fd
from feyngd.companions.shift_curvature import assumptions, compare_minima, expected_shift, local_steady_state, minimum
from feyngd.companions.shift_curvature._local_settings import warn_of_precision
from feyngd.landscapes import toys
from feyngd.minima import DenseMinimum
from feyngd.training import stic, tic

KEY = jax.random.key(0)
NOISES = np.array(
    [[1.0, -0.5, 0.3, -0.2, 0.4, 0.1], [-0.2, 0.8, -0.5, 0.3, 0.1, -0.2], [-0.8, -0.3, 0.2, -0.1, -0.5, 0.1]]
)


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def bumpy(theta, noise):
    """A mean loss with a minimum at 0 and third derivatives there; the noises of all examples cancel."""
    u, w = theta
    mean = 0.5 * u**2 + 0.2 * u * w + 0.35 * w**2 + 0.3 * u**3 - 0.2 * u**2 * w + 0.25 * u * w**2 + 0.1 * w**4
    return mean + noise @ jnp.array([u, w, u**2, u * w, w**2, u**3])


ZERO = np.zeros(2)


@pytest.fixture(scope="module")
def hill():
    """That loss in double precision."""
    with jax.enable_x64(True):
        return fd.Landscape(bumpy, NOISES)


@pytest.fixture(scope="module")
def network():
    """A small net at a penalised minimum, with separate test data."""
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(1), (40, 3))
        y = jnp.sin(x[:, 0]) + 0.5 * jax.random.normal(jax.random.key(2), (40,))

        def loss(params, example):
            hidden = jnp.tanh(params["first"] @ example[0])
            return (params["second"] @ hidden - example[1]) ** 2 / 2

        params = {"first": jax.random.normal(KEY, (4, 3)), "second": jnp.ones(4) / 2}
        landscape = fd.Landscape(loss, (x[:30], y[:30]), (x[30:], y[30:]), reading="conditional")
        return landscape, minimum(landscape, params, penalty=0.1, key=KEY).params


def test_mean_bias_is_minus_the_drift_of_the_diagrams(hill):
    """H9: [a[b b]] is the mean bias; ∇·D, which makes the bias of the mode, never appears there."""
    drift = fd.entropic_drift(hill, ZERO, fd.Spacetime.sgd(500), 0.3)
    found = local_steady_state(hill, ZERO, learning_rate=0.3, batch_size=1, time="discrete")
    np.testing.assert_allclose(found.bias, -drift, atol=1e-10)
    assert np.abs(drift).min() > 0.1


@pytest.mark.slow
def test_mean_bias_in_a_valley_with_walls():
    valley, start = toys.cubic_valley(x=[1.0, -1.0])
    walled = fd.Landscape(lambda theta, x: valley.loss(theta, x) + 0.2 * jnp.sum(theta**2), valley.data)
    drift = fd.entropic_drift(walled, start, fd.Spacetime.sgd(800), 0.1)
    found = local_steady_state(walled, start, learning_rate=0.1, batch_size=1, time="discrete")
    np.testing.assert_allclose(found.bias, -drift, atol=1e-10)
    assert np.abs(drift).max() > 1e-3


def test_covariances_solve_their_equations_with_a_current(hill):
    hessian = np.asarray(jax.hessian(hill.mean_loss)(ZERO))
    rows = NOISES[:, :2]
    noise = rows.T @ rows / 3
    found = local_steady_state(hill, ZERO, temperature=0.1)
    np.testing.assert_allclose(found.covariance, linalg.solve_continuous_lyapunov(hessian, 0.1 * noise), rtol=1e-8)
    assert found.train_excess.value == pytest.approx(0.1 / 4 * np.trace(noise))
    product = hessian @ noise
    expected = np.linalg.norm(product - product.T) / math.sqrt(2) / np.linalg.norm(product)
    assert expected > 0.1
    assert found.commutator.value == pytest.approx(expected)
    steps = local_steady_state(hill, ZERO, learning_rate=0.3, batch_size=3, time="discrete").covariance
    np.testing.assert_allclose(
        hessian @ steps + steps @ hessian - 0.3 * hessian @ steps @ hessian, 0.1 * noise, rtol=1e-8
    )


def test_the_direct_test_loss_has_no_error_of_first_order():
    """A train loss of noise x and a test loss elsewhere, in one dimension, against the exact density."""
    data, test = jnp.array([1.0, -1.0]), jnp.array([0.4, 0.6])

    def loss(theta, x):
        return theta[0] ** 2 / 2 + 0.3 * theta[0] ** 3 / 3 + 0.2 * theta[0] ** 4 - x * theta[0]

    landscape = fd.Landscape(loss, data, test, reading="conditional")
    rest = []
    for temperature in (0.004, 0.002):
        grid = np.linspace(-0.6, 0.6, 4001)
        train = grid**2 / 2 + 0.1 * grid**3 + 0.2 * grid**4
        density = np.exp(-2 * train / temperature)
        exact = density @ (train - 0.5 * grid) / density.sum()
        rest.append(local_steady_state(landscape, np.zeros(1), temperature=temperature).test_loss.value - exact)
    assert rest[0] / rest[1] == pytest.approx(4, rel=0.05)
    assert abs(rest[1]) < 0.01 * 0.002


@pytest.mark.slow
def test_without_matrices(network):
    landscape, params = network
    settings = {"temperature": 0.02, "penalty": 0.1}
    dense = local_steady_state(landscape, params, **settings)
    sampled = local_steady_state(landscape, params, **settings, method="krylov", num_samples=64, key=KEY)
    assert dense.covariance.shape == (16, 16)
    assert sampled.covariance is None
    for name, exact in dense.estimates.items():
        found = sampled.estimates[name]
        assert exact.stderr is None
        assert abs(found.value - exact.value) < 3 * found.stderr, name
        assert found.stderr < max(abs(exact.value), 0.01)
    for one, other in zip(jax.tree.leaves(dense.bias), jax.tree.leaves(sampled.bias), strict=True):
        assert np.abs(one - other).max() < 0.5 * np.abs(one).max()
    # What failed is carried along; an assumption that is sampled is judged as the exact one.
    assert dense.assumptions.keys() == ["noise and curvature commute", "strict minimum", "small fluctuations"]
    assert str(dense.assumptions.failing) in str(dense)
    steps = {"learning_rate": 0.3, "batch_size": 15, "penalty": 0.1}
    dense, sampled = (
        assumptions(landscape, params, **steps, **way)
        for way in ({}, {"method": "krylov", "num_samples": 64, "key": KEY})
    )
    for row, exact in zip(sampled, dense, strict=True):
        assert (row.name, exact.stderr, row.holds) == (exact.name, None, exact.holds)
        assert abs(row.measured - exact.measured) < 3 * row.stderr + 1e-9, row.name
    exact = expected_shift(landscape, params, num_test=10, penalty=0.1)
    found = expected_shift(landscape, params, num_test=10, penalty=0.1, method="krylov", num_samples=64, key=KEY)
    assert abs(found.value - exact.value) < 3 * found.stderr


@pytest.mark.slow
def test_pairs_and_diagonals_of_the_diagram_a_a():
    """H10: after many steps with replacement, [a a] is the expected shift and what fluctuations add."""
    landscape, start = toys.quadratic([[1.0, 0.3], [0.3, 0.5]], [[0.5, -0.1], [-0.1, 0.2]])
    N, B, eta = 5, 2, 0.2
    spacetime = fd.Spacetime.sgd(N, B, T=400, sampling="with-replacement")
    expected = DenseMinimum(landscape, start).expected("test_loss", spacetime, eta)
    ours = local_steady_state(landscape, start, learning_rate=eta, batch_size=B, time="discrete")
    shift = expected_shift(landscape, start, num_test=math.inf).value * landscape.num_examples / N
    around = ours.train_excess.value * (1 - 1 / N)
    base = float(landscape.mean_loss(start))
    assert expected - base == pytest.approx(shift + around, rel=1e-9)
    train = DenseMinimum(landscape, start).expected("train_loss", spacetime, eta)
    assert train - base == pytest.approx(-shift + around, rel=1e-9)


def test_minima_are_compared_from_training_data():
    landscape = fd.Landscape(
        lambda theta, x: jnp.sum((theta**2 - 1) ** 2 * jnp.array([1.0, 2.0])) / 8 - 0.2 * x @ theta * (1.2 + theta[0]),
        jnp.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]]),
    )
    descent = {"learning_rate": 0.05, "steps": 30}
    table = compare_minima(landscape, [np.ones(2), -np.ones(2)], temperature=0.05, **descent)
    assert table.best == 1
    for row, point in zip(table.rows, (np.ones(2), -np.ones(2)), strict=True):
        assert row.tic.value == pytest.approx(tic(landscape, point).value)
        assert row.stic.value == pytest.approx(stic(landscape, point, **descent).value)
    with pytest.raises(fd.ArgumentError, match="give both, or neither"):
        compare_minima(landscape, [np.ones(2)], temperature=0.05, steps=30)
    point = minimum(landscape, np.ones(2), penalty=0.3, key=KEY).params
    held = compare_minima(landscape, [point], temperature=0.05, penalty=0.3).rows[0]
    assert held.tic.value == pytest.approx(tic(landscape, point, damping=0.3).value)
    assert held.stic is None
    for row in table.rows:
        assert row.crossover * row.covariance / 0.05 == pytest.approx(row.expected_shift.value)
        assert row.criterion == pytest.approx(row.train_loss + 2 * row.expected_shift.value + row.covariance)
    assert str(table).splitlines()[2].startswith("* 1")
    with pytest.raises(fd.LandscapeError, match=r"Minimum 1: Not at a minimum.*call minimum"):
        compare_minima(landscape, [np.ones(2), np.full(2, 1.3)], temperature=0.05)


REFUSED = [
    ({}, fd.ArgumentError, "got neither"),
    ({"temperature": 0.1, "learning_rate": 0.1, "batch_size": 1}, fd.ArgumentError, r"Give temperature= .* or"),
    ({"learning_rate": 0.1}, fd.ArgumentError, "learning_rate= and batch_size="),
    ({"temperature": 0.1, "time": "discrete"}, fd.ArgumentError, "size of a step"),
    ({"temperature": -0.1}, fd.ArgumentError, "above 0"),
    ({"temperature": 0.1, "method": "exact"}, fd.ArgumentError, "'auto', 'dense', 'krylov'"),
    ({"temperature": 0.1, "method": "krylov"}, fd.ArgumentError, r"jax.random.key\(seed\)"),
    ({"learning_rate": 4.0, "batch_size": 1, "time": "discrete"}, fd.ArgumentError, "allowed below 2"),
]


@pytest.mark.parametrize(("given", "error", "message"), REFUSED)
def test_refused(hill, given, error, message):
    with pytest.raises(error, match=message):
        local_steady_state(hill, ZERO, **given)


def test_flat_directions_are_refused_where_there_is_noise():
    landscape = fd.Landscape(lambda theta, x: theta[0] ** 2 / 2 + x @ theta, jnp.array([[1.0, 0.5], [-1.0, -0.5]]))
    with pytest.raises(fd.LandscapeError, match=r"curvature 0 along a direction with noise.*penalty="):
        local_steady_state(landscape, ZERO, temperature=0.1)
    # F15: with a penalty the noise along them is held, at T β²/(2α) per unit of noise.
    silent = fd.Landscape(lambda theta, x: theta[0] ** 2 / 2 + x[0] * theta[0], landscape.data)
    held = {"penalty": 0.05, "isotropic": 0.3}
    found = local_steady_state(silent, ZERO, temperature=0.02, **held)
    assert found.covariance[1, 1] == pytest.approx(0.018, abs=1e-12)
    found = local_steady_state(silent, ZERO, learning_rate=0.1, batch_size=5, time="discrete", **held)
    assert found.covariance[1, 1] == pytest.approx(0.018045113, abs=5e-10)


@pytest.mark.slow
def test_a_valley_whose_walls_narrow_is_refused():
    bent = fd.Landscape(lambda theta, x: theta[0] ** 2 * (1 + theta[1]) / 2 + x * theta[0], jnp.array([1.0, -1.0]))
    with pytest.raises(fd.LandscapeError, match="drift and do not settle"):
        local_steady_state(bent, ZERO, temperature=0.1)


def test_single_precision_is_warned_of():
    with pytest.warns(fd.PrecisionWarning, match="float32"):
        warn_of_precision(jnp.zeros(2, jnp.float32))
