"""The spread of simulated runs: variances with the jackknife's errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.errors import ArgumentError
from feyngd.simulation._spread import spread_samples

KEY = jax.random.key(3)
S = fd.Spacetime.sgd(4, 2)


@pytest.fixture(scope="module")
def bowl():
    rows = np.array([[1.0, 0.0], [-1.0, 0.5], [0.5, -1.0], [0.0, 2.0]])
    return fd.Landscape(lambda theta, row: jnp.sum((theta - row) ** 2) + jnp.sum(theta**3), rows), np.array([0.2, 0.1])


def test_pseudo_values_are_those_of_the_jackknife():
    samples = np.random.default_rng(0).exponential(size=7)
    left_out = [np.var(np.delete(samples, k), ddof=1) for k in range(7)]
    expected = 7 * np.var(samples, ddof=1) - 6 * np.array(left_out)
    np.testing.assert_allclose(spread_samples("test_loss_variance", samples), expected, rtol=1e-12)
    points = np.random.default_rng(1).normal(size=(7, 3))
    trace = np.trace(np.cov(points.T))
    np.testing.assert_allclose(spread_samples("covariance_trace", points).mean(), trace, rtol=1e-12)


def test_variances_are_those_of_the_same_runs(bowl):
    options = {"runs": 50, "key": KEY}
    runs = fd.simulate(*bowl, S, [0.05, 0.1], **options)
    found = fd.simulate(*bowl, S, [0.05, 0.1], quantity="test_loss_variance", **options)
    np.testing.assert_allclose(found.mean, np.var(runs.samples, axis=1, ddof=1), rtol=1e-6)
    squares = fd.simulate(*bowl, S, [0.05, 0.1], quantity="test_loss_second_moment", **options)
    np.testing.assert_allclose(squares.mean, np.mean(runs.samples**2, axis=1), rtol=1e-6)


def test_the_trace_is_the_sum_over_coordinates(bowl):
    options = {"runs": 50, "times": [1, 2], "key": KEY}
    trace = fd.simulate(*bowl, S, [0.1], quantity="covariance_trace", **options)
    each = [
        fd.simulate(*bowl, S, [0.1], quantity=fd.variance(fd.measurement("one", lambda t, k=k: t[k])), **options)
        for k in (0, 1)
    ]
    assert trace.mean.shape == (1, 2)
    np.testing.assert_allclose(trace.mean, each[0].mean + each[1].mean, rtol=1e-5)


def test_the_train_loss_has_the_luck_of_its_training_set():
    """After no step that matters its variance is that of a mean of N losses."""
    losses = np.array([0.0, 1.0, 5.0])
    flat = fd.Landscape(lambda theta, row: row + 0 * jnp.sum(theta), losses)
    found = fd.simulate(flat, np.zeros(1), S, 0.1, quantity="train_loss_variance", runs=4000, key=KEY)
    assert abs(found.mean[0] - losses.var() / 4) < 4 * found.stderr[0]


def test_errors_cover():
    """Intervals of four standard errors hold the variance of a normal step, one of one and a half about as often."""
    rows = np.random.default_rng(0).exponential(size=400)
    walk = fd.Landscape(lambda theta, row: jnp.sum(theta) * row, rows)
    quantity = fd.variance(fd.measurement("theta", lambda theta: theta[0]))
    one_step, pulls = fd.Spacetime.sgd(1, 1), []
    for k in range(60):
        found = fd.simulate(walk, np.zeros(1), one_step, 1.0, quantity=quantity, runs=200, key=jax.random.key(k))
        pulls.append((found.mean[0] - rows.var()) / found.stderr[0])
    assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.8


def test_what_has_no_spread_is_refused(bowl):
    with pytest.raises(ArgumentError, match="runs"):
        fd.simulate(*bowl, S, 0.1, quantity="test_loss_variance", runs=2, key=KEY)
    with pytest.raises(ArgumentError, match="control takes away"):
        fd.simulate(*bowl, S, 0.1, quantity="test_loss_variance", control=True, key=KEY)
    sample = fd.Landscape(bowl[0].loss, np.ones((9, 2)), reading="unbiased")
    with pytest.raises(ArgumentError, match="share its examples"):
        fd.simulate(sample, bowl[1], S, 0.1, quantity="test_loss_variance", key=KEY)
    with pytest.raises(ArgumentError, match="fewer runs"):
        fd.simulate(*bowl, S, 0.1, quantity="covariance_trace", runs=2**29, key=KEY)
    with pytest.raises(ArgumentError, match="is a matrix"):
        fd.simulate(*bowl, S, 0.1, quantity="covariance", key=KEY)


def test_the_noise_of_a_measurement_is_no_spread_of_runs():
    noisy = fd.Landscape(lambda t, x, key: (t - x) ** 2 * jax.random.uniform(key), jnp.ones(3), per_use_noise=True)
    options = {"runs": 10, "key": jax.random.key(0)}
    with pytest.raises(ArgumentError, match="draws noise anew"):
        fd.simulate(noisy, jnp.array(0.0), fd.Spacetime.sgd(2), [0.1], quantity="test_loss_variance", **options)
    assert (
        fd.simulate(noisy, jnp.array(0.0), fd.Spacetime.sgd(2), [0.1], quantity="covariance_trace", **options).mean > 0
    )
