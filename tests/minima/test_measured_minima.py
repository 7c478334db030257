"""Measurements of one's own near a minimum: against the drift, the loss, and simulated runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.errors import ArgumentError, LandscapeError
from feyngd.landscapes import toys
from feyngd.minima import minimum

KEY = jax.random.key(0)
RUNS = [fd.Spacetime.sgd(20, 2, 3), fd.Spacetime.sgd(6, 6, T=10, sampling="with-replacement"), fd.Spacetime.gd(6, 20)]
ROWS = np.random.default_rng(0).normal(size=(40, 3))


def loss(theta, row):
    bowl = 0.5 * jnp.sum(jnp.array([1.0, 2.0]) * (theta - row[:2]) ** 2)
    return bowl + 0.3 * theta[0] ** 2 * theta[1] * (1 + 0.5 * row[2]) + 0.25 * jnp.sum(theta**4)


@pytest.fixture(scope="module")
def at_minimum():
    with jax.enable_x64(True):
        landscape = fd.Landscape(loss, ROWS)
        params = minimum(landscape, jnp.zeros(2), key=KEY).params
        yield landscape, params, fd.near_minimum(landscape, params, key=KEY)


@pytest.mark.parametrize("spacetime", RUNS, ids=str)
@pytest.mark.parametrize("optimizer", [fd.sgd(), fd.momentum(0.5)], ids=str)
def test_a_coordinate_drifts_as_it_does(spacetime, optimizer):
    with jax.enable_x64(True):
        landscape, valley = toys.cubic_valley()
        near = fd.near_minimum(landscape, valley, key=KEY)
        along = fd.measurement("along", lambda params: jnp.ravel(params)[1])
        found = near.predict(spacetime, [0.05], quantity=along, optimizer=optimizer)
        drift = fd.entropic_drift(landscape, valley, spacetime, 0.05, optimizer=optimizer)
    assert found.start == 0
    assert found.mean[0] == pytest.approx(drift[1], rel=1e-9)


@pytest.mark.parametrize("spacetime", RUNS, ids=str)
def test_the_loss_as_a_measurement_is_the_test_loss(spacetime, at_minimum):
    landscape, _, near = at_minimum
    for measurement in (fd.measurement("loss", loss), fd.measurement("mean loss", landscape.mean_loss)):
        found = near.predict(spacetime, [0.01, 0.05], quantity=measurement)
        test_loss = near.predict(spacetime, [0.01, 0.05])
        assert found.mean == pytest.approx(test_loss.mean, rel=1e-6)


def test_on_parabolas_nothing_is_left_out():
    with jax.enable_x64(True):
        landscape = fd.Landscape(
            lambda theta, x: theta[0] ** 2 + 0.5 * theta[1] ** 2 + x @ theta, ROWS[:, :2] - ROWS[:, :2].mean(0)
        )
        square = fd.measurement("product", lambda theta: theta[0] * theta[1] + 3 * theta[1] ** 2)
        near = fd.near_minimum(landscape, jnp.zeros(2), key=KEY)
        spacetime, rate, cov = (
            fd.Spacetime.sgd(4, T=30, sampling="with-replacement"),
            0.1,
            np.cov(ROWS[:, :2].T, bias=True),
        )
        found = near.predict(spacetime, [rate], quantity=square)
    # Cov θ = η² Σ_{s, t} over steps that meet the same of N points always or by chance.
    left = 1 - rate * np.array([2.0, 1.0])
    powers = np.array([left**k for k in range(30)])  # (steps, 2)
    same = np.einsum("ki,kj->ij", powers, powers)
    every = np.outer(powers.sum(0), powers.sum(0))
    covariance = rate**2 * cov * (same * (1 - 1 / 4) + every / 4)
    assert found.mean[0] == pytest.approx(covariance[0, 1] + 3 * covariance[1, 1], rel=1e-9)
    assert found.truncation[0] < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [fd.sgd(), fd.momentum(0.5)], ids=str)
def test_predictions_are_those_of_runs_up_to_what_is_left_out(optimizer, at_minimum):
    landscape, params, near = at_minimum
    curve = fd.measurement("curve", lambda theta: jnp.exp(theta[0]) * jnp.cos(theta[1]) + theta[1] ** 2)
    options = {"quantity": curve, "optimizer": optimizer}
    spacetime, rates = fd.Spacetime.sgd(20, 4, 10), [0.01, 0.03]
    with jax.enable_x64(True):
        found = near.predict(spacetime, rates, **options)
        runs = fd.simulate(landscape, params, spacetime, rates, runs=20_000, chunk_size=250, key=KEY, **options)
    assert found.converged.all()
    assert fd.compare(found, runs).agrees.all()
    assert np.all(np.abs(found.mean - runs.mean)[:1] < 3 * runs.stderr[:1])


def test_kinks_of_a_measurement_are_found(at_minimum):
    _, params, near = at_minimum
    bent = fd.measurement("bent", lambda theta: jax.nn.relu(theta[0] - params[0] + 1e-3))
    with pytest.warns(fd.SmoothnessWarning):
        assert not near.predict(RUNS[0], [0.01], quantity=bent).converged.any()


def test_what_is_not_measured_is_refused(at_minimum):
    landscape, params, near = at_minimum
    with pytest.raises(ArgumentError, match="a name and no function"):
        near.predict(RUNS[0], [0.01], quantity=fd.measurement("name"))
    first = fd.measurement("first", lambda theta: theta[0])
    with jax.enable_x64(True):
        away = fd.near_minimum(landscape, params + 1, key=KEY)
        with pytest.raises(LandscapeError, match="starts at a minimum"):
            away.predict(RUNS[0], [0.01], quantity=first)
    wide = fd.Landscape(lambda theta, x: jnp.sum((theta - x) ** 2), np.random.default_rng(1).normal(size=(5, 101)))
    many = fd.near_minimum(wide, jnp.asarray(wide.data).mean(0), key=KEY)
    with pytest.raises(ArgumentError, match="up to 100; these are 101"):
        many.predict(RUNS[0], [0.01], quantity=first)
