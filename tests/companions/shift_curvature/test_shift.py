"""Shifts between minima, lines through them, tests of them, assumptions and stationary runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions.shift_curvature import assumptions, minimum, shift, shift_test, simulate_modified, stationarity

KEY = jax.random.key(0)
CURVATURE = np.array([[2.0, 0.3], [0.3, 0.5]])


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def quadratic(theta, x):
    return (theta - x) @ jnp.asarray(CURVATURE) @ (theta - x) / 2


def split(loss, train, test):
    return fd.Landscape(loss, jnp.asarray(train), jnp.asarray(test), reading="conditional")


def test_quadratics_are_exact():
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(20, 2)), rng.normal(size=(12, 2)) + 0.3
    found = shift(split(quadratic, train, test), jnp.zeros(2), key=KEY)
    s = test.mean(axis=0) - train.mean(axis=0)
    np.testing.assert_allclose(found.vector, s, atol=1e-8)
    for value in (found.shift_curvature, found.rise, found.newton):
        assert value == pytest.approx(s @ CURVATURE @ s / 2)
    assert found.remainder == pytest.approx(0, abs=1e-12)
    assert found.curvature_train == pytest.approx(s @ CURVATURE @ s / (s @ s))
    assert found.test.is_strict
    fit, line = found.symmetrised(), found.line(num=5)
    assert (fit.train, fit.test) == pytest.approx((found.curvature_train, found.curvature_test))
    assert fit.test_residual == pytest.approx(0, abs=1e-10)
    np.testing.assert_allclose(line.r / found.magnitude, [-1, -0.25, 0.5, 1.25, 2])
    assert line.test_losses[2] - found.test.loss == pytest.approx(found.rise / 4)
    right, wrong = line.accuracies(lambda params, example: example[0] > params[0])
    assert right.shape == (5,)
    assert wrong[2] == np.mean(test[:, 0] > train.mean(axis=0)[0] + s[0] / 2)


def test_d5_a_quartic_is_fitted_badly():
    landscape = split(lambda theta, x: 5 * (theta - x) ** 4 / 24, [0.0], [0.4])
    with pytest.warns(fd.TruncationWarning, match="quadratic picture"):
        found = shift(landscape, jnp.array(0.3), tolerance=1e-22, key=KEY)
    assert found.symmetrised().test == pytest.approx(0.04855873, abs=1e-8)
    assert found.rise == pytest.approx(0.005333333, abs=1e-8)
    assert found.symmetrised().test * 0.08 == pytest.approx(0.0039, abs=5e-5)


def test_projections_leave_flat_directions_out():
    """F16: the range of the Hessian is measured; a penalty of the train loss moves θtr along flat directions."""
    landscape = split(lambda theta, x: (theta[0] + theta[1] - x) ** 2 / 2, [0.0, 1.0], [1.0, 2.0])
    start = jnp.array([3.0, 0.0])
    plain = shift(landscape, start, key=KEY)
    projected = shift(landscape, start, project="hessian", key=KEY)
    assert projected.rank == 1
    assert projected.shift_curvature == pytest.approx(plain.shift_curvature) == pytest.approx(0.5)
    held = shift(landscape, start, penalty=1e-3, penalise_test=False, key=KEY)
    assert held.magnitude > 0.5
    sizes = jax.jit(jax.hessian(lambda logits: jax.nn.logsumexp(logits.reshape(2, 4), axis=1).mean()))(jnp.arange(8.0))
    assert np.linalg.matrix_rank(sizes) == 6  # softmax of two examples: above N


def test_minima_by_descent_and_where_none_is():
    landscape = fd.Landscape(lambda theta, x: jnp.cos(theta[0] - x) + theta[1] ** 2, jnp.array([0.0, 0.2]))
    newton = minimum(landscape, jnp.array([0.3, 1.0]), key=KEY)  # from where the curvature is negative
    descent = minimum(landscape, jnp.array([0.3, 1.0]), method="descent", learning_rate=0.4, key=KEY)
    np.testing.assert_allclose(newton.params, [0.1 + np.pi, 0], atol=1e-5)
    np.testing.assert_allclose(newton.params, descent.params, atol=1e-5)
    assert newton.lowest_curvature.value == pytest.approx(np.cos(0.1), rel=1e-6)
    with pytest.warns(fd.PrecisionWarning, match="raise max_steps=2"):
        minimum(landscape, jnp.array([0.3, 1.0]), max_steps=2, key=KEY)
    for given, message in (
        ({"of": "valid"}, "'train', 'test'"),
        ({"of": "test"}, "reading='conditional'"),
        ({"method": "descent"}, "takes a learning_rate"),
        ({"tolerance": -1}, "finite number ≥ 0"),
    ):
        with pytest.raises(fd.ArgumentError, match=message):
            minimum(landscape, jnp.zeros(2), **given, key=KEY)


def test_equal_data_have_no_direction():
    landscape = split(quadratic, np.eye(2), np.eye(2))
    found = shift(landscape, jnp.zeros(2), key=KEY)
    assert (found.shift_curvature, found.magnitude, found.to_dict()["curvature_test"]) == (0, 0, None)
    for call in (found.line, found.symmetrised):
        with pytest.raises(fd.ArgumentError, match="same point"):
            call()
    with pytest.raises(fd.ArgumentError, match="no shift to test"):
        shift_test(landscape, jnp.zeros(2), key=KEY)
    with pytest.raises(fd.ArgumentError, match="use expected_shift"):
        shift(fd.Landscape(quadratic, np.eye(2)), jnp.zeros(2), key=KEY)


@pytest.mark.parametrize(("given", "message"), [({"num": 2}, "≥ 3"), ({"reach": 0.0}, "above 0")])
def test_lines_refused(given, message):
    found = shift(split(quadratic, np.eye(2), 2 * np.eye(2)), jnp.zeros(2), key=KEY)
    for call in (found.line, found.symmetrised):
        with pytest.raises(fd.ArgumentError, match=message):
            call(**given)


@pytest.mark.slow
def test_sampling_is_told_from_another_distribution():
    """F12 over random splits of one data set, and a set that was moved."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=(60, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    splits = []
    for _ in range(2000):
        order = rng.permutation(60)
        s = data[order[:40]].mean(axis=0) - data[order[40:]].mean(axis=0)
        splits.append(s @ CURVATURE @ s / 2)
    tested = shift_test(split(quadratic, data[:40], data[40:]), jnp.zeros(2), key=KEY)
    assert tested.expected.value == pytest.approx(np.mean(splits), rel=0.1)
    assert tested.spread == pytest.approx(np.std(splits), rel=0.2)
    assert abs(tested.z) < 4
    moved = shift_test(split(quadratic, data[:40], data[40:] + 1.5), jnp.zeros(2), key=KEY)
    assert moved.z > 4
    assert moved.ratio > 4
    with pytest.warns(fd.TruncationWarning, match="interpolates"):
        assert shift_test(split(quadratic, data[:40] / 10, data[40:]), jnp.zeros(2), key=KEY).z is None


@pytest.mark.slow
def test_stationary_runs_and_runs_that_drift():
    """F18 and F15: a quadratic with one flat direction, a penalty and noise in all directions."""
    landscape = fd.Landscape(lambda theta, x: theta[0] ** 2 / 2 + x * theta[0], jnp.array([1.0, -1.0]))
    given = {"batch_size": 5, "penalty": 0.05, "isotropic": 0.3, "runs": 150, "key": KEY}
    settled = simulate_modified(landscape, jnp.zeros(2), 0.1, steps=900, **given)
    for number in stationarity(settled):
        assert abs(number.value) < 4 * number.stderr
    variance = settled.params[:, 1].var()
    assert variance == pytest.approx(0.018045113, rel=4 * (2 / 150) ** 0.5)
    drifting = simulate_modified(landscape, jnp.array([3.0, 0.0]), 0.1, steps=5, **given)
    assert all(abs(number.value) > 6 * number.stderr for number in stationarity(drifting))


def test_noise_along_flat_directions_needs_a_penalty():
    landscape = fd.Landscape(lambda theta, x: theta[0] ** 2 / 2 + x * theta[0], jnp.array([1.0, -1.0]))
    with pytest.raises(fd.ArgumentError, match=r"1 directions are flat.*penalty=α above 0"):
        simulate_modified(landscape, jnp.zeros(2), 0.1, steps=5, batch_size=5, isotropic=0.3, key=KEY)


def test_assumptions_are_measured():
    landscape = fd.Landscape(quadratic, np.array([[0.0, 1.0], [0.0, -1.0]]))
    found = assumptions(landscape, jnp.zeros(2), learning_rate=0.3, batch_size=3)
    assert found["noise and curvature commute"].holds is False
    assert found["noise in all directions"].holds is False
    assert found["strict minimum"].holds is True
    assert found["small steps"].measured == pytest.approx(0.3 * np.linalg.eigvalsh(CURVATURE)[1])
    assert found["small fluctuations"].measured == pytest.approx(0, abs=1e-12)
    assert "fails" in str(found["small steps"])
    assert found.failing.keys() == ["noise and curvature commute", "noise in all directions", "small steps"]
