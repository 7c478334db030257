"""The covariance of the iterates near a minimum: against Lyapunov's equation, its sum over steps, and real runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

import feyngd as fd
from feyngd.errors import ArgumentError

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ROOT = RNG.normal(size=(4, 4))
HESSIAN = np.diag([0.3, 0.8, 1.5, 0.6]) + ROOT @ ROOT.T / 20
ROWS = RNG.normal(size=(30, 4)) @ RNG.normal(size=(4, 4))
ROWS -= ROWS.mean(axis=0)
NOISE = ROWS.T @ ROWS / len(ROWS)  # does not commute with the Hessian


def loss(theta, row):
    return theta @ HESSIAN @ theta / 2 + row @ theta


@pytest.fixture(scope="module")
def quadratic():
    with jax.enable_x64(True):
        yield fd.near_minimum(fd.Landscape(loss, ROWS), np.zeros(4), key=KEY)


def by_steps(rate, steps, batch):
    """Sum the noise of every step, carried to the end."""
    total, carried = np.zeros((4, 4)), np.eye(4)
    for _ in range(steps):
        total += carried @ NOISE @ carried.T
        carried = (np.eye(4) - rate * HESSIAN) @ carried
    return rate**2 / batch * total


def test_it_settles_at_the_solution_of_lyapunovs_equation(quadratic):
    with jax.enable_x64(True):
        found = fd.iterate_covariance(quadratic, fd.Spacetime.sgd(2**40, 4), 0.2)
    step = np.eye(4) - 0.2 * HESSIAN
    expected = solve_discrete_lyapunov(step, 0.2**2 * NOISE / 4)
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-10, atol=1e-10 * expected.max())
    assert found.trace.value == pytest.approx(np.trace(expected), rel=1e-10)
    assert found.trace.stderr is None


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_finite_times(quadratic, steps):
    with jax.enable_x64(True):
        found = fd.iterate_covariance(quadratic, fd.Spacetime.sgd(steps * 3, 3), 0.2)
    expected = by_steps(0.2, steps, 3)
    np.testing.assert_allclose(found.matrix, expected, rtol=1e-10, atol=1e-12)
    direction = np.array([1.0, -1.0, 0.5, 2.0])
    assert found.along(direction) == pytest.approx(direction @ expected @ direction, rel=1e-10)


def test_momentum_settles_where_the_stationary_noise_is(quadratic):
    optimizer = fd.momentum(0.7)
    with jax.enable_x64(True):
        found = fd.iterate_covariance(quadratic, fd.Spacetime.sgd(2**12), 0.1, optimizer=optimizer)
    h, vectors = np.linalg.eigh(HESSIAN)
    settled = fd.stationary_noise(h, vectors.T @ NOISE @ vectors, 0.1, optimizer=optimizer).covariance
    np.testing.assert_allclose(found.matrix, vectors @ settled @ vectors.T, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "spacetime",
    [fd.Spacetime.sgd(6, 2, 2), fd.Spacetime.gd(5, 4), fd.Spacetime.sgd(4, 2, T=4, sampling="fixed")],
    ids=str,
)
def test_repeated_points_against_the_series(quadratic, spacetime):
    """On a quadratic loss the plain series to all orders is the re-summed one; at small rates few are enough."""
    rate = 1e-3
    with jax.enable_x64(True):
        found = fd.iterate_covariance(quadratic, spacetime, rate)
        series = fd.predict(
            fd.Landscape(loss, ROWS), np.zeros(4), spacetime, rate, order=4, quantity="covariance_trace", key=KEY
        )
    assert found.trace.value == pytest.approx(series.mean[0], rel=1e-6)


def test_runs_from_a_minimum_that_is_not_quadratic():
    rows = np.concatenate([ROWS, -ROWS])  # so that no loss is skewed, and zero is the minimum
    landscape = fd.Landscape(lambda theta, row: loss(theta, row) + 0.1 * jnp.sum(theta**4), rows)
    minimum = fd.near_minimum(landscape, np.zeros(4, "float32"), key=KEY)
    spacetime = fd.Spacetime.sgd(60, 2)
    found = fd.iterate_covariance(minimum, spacetime, 0.02)
    runs = fd.simulate(
        landscape, np.zeros(4, "float32"), spacetime, 0.02, quantity="covariance_trace", runs=3000, key=KEY
    )
    assert abs(found.trace.value - runs.mean[0]) < 4 * runs.stderr[0] + 0.02 * runs.mean[0]


def test_lanczos_has_the_trace_alone():
    minimum = fd.near_minimum(
        fd.Landscape(loss, ROWS), np.zeros(4, "float32"), method="lanczos", num_samples=200, key=KEY
    )
    spacetime = fd.Spacetime.sgd(40, 2)
    found = fd.iterate_covariance(minimum, spacetime, 0.2)
    assert found.matrix is None
    assert abs(found.trace.value - np.trace(by_steps(0.2, 20, 2))) < 4 * found.trace.stderr
    with pytest.raises(ArgumentError, match="method='dense'"):
        found.along(np.ones(4))


def test_what_has_no_covariance_is_refused(quadratic):
    with pytest.raises(ArgumentError, match="near_minimum"):
        fd.iterate_covariance("minimum", fd.Spacetime.sgd(4), 0.1)
    with pytest.raises(fd.LandscapeError), jax.enable_x64(True):
        fd.iterate_covariance(quadratic, fd.Spacetime.sgd(4000), 10.0)
    with jax.enable_x64(True):
        found = fd.iterate_covariance(quadratic, fd.Spacetime.sgd(4), 0.1)
    with pytest.raises(ArgumentError, match="shape"):
        found.along([1.0])
