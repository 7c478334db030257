"""Predictions and drifts near a minimum with any optimizer, in uneven and cut epochs too."""

import itertools
import warnings
from fractions import Fraction
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.landscapes import toys
from feyngd.minima import DenseMinimum

KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def loss(theta, example):
    x, hessian = example
    return 0.5 * theta @ hessian @ theta + x @ theta


@cache
def quadratic(off):
    """A quadratic with noise that does not commute with its Hessian, measured at a point beside its minimum, 0."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    hessian = turn @ np.diag([0.4, 1.5]) @ turn.T
    noise = rng.normal(size=(5, 2)) ** 3
    noise -= noise.mean(axis=0)
    landscape = fd.Landscape(loss, (noise, np.repeat(hessian[None], 5, axis=0)))
    params = off * jnp.arange(1.0, 3.0)
    return fd.near_minimum(landscape, params, key=KEY), noise.T @ noise / 5, hessian, np.asarray(params)


@cache
def cosh():
    """A loss in one coordinate of curvature 1 at its minimum."""
    landscape, params = toys.cosh()
    return landscape, params, fd.near_minimum(landscape, params, key=KEY)


def responses(optimizer, steps, rate, hessian):
    """Follow what a unit of gradient at every step does to the point of measurement, by the optimizer's definition.

    Returns:
        Matrices of shape (T, p, p), and the one that follows the start, with the sign of the steps.
    """
    rates, size = rate * np.array(multipliers_of(optimizer, steps)), len(hessian)
    weights = np.array(weights_of(optimizer, steps))
    found = []
    for source in range(-1, steps):
        theta = np.eye(size) if source < 0 else np.zeros((size, size))
        velocity, path = np.zeros((size, size)), [theta]
        for t in range(steps):
            gradient = hessian @ theta + (t == source) * np.eye(size)
            damped = gradient if t == 0 and not optimizer.classical else (1 - float(optimizer.dampening)) * gradient
            scale = rates[t] if optimizer.classical else 1
            velocity = float(optimizer.beta) * velocity + scale * damped
            out = 1 if optimizer.classical else rates[t]
            if optimizer.nesterov:
                theta = theta - rates[t] * gradient - out * float(optimizer.beta) * velocity
            else:
                theta = theta - out * velocity
            path.append(theta)
        found.append(np.tensordot(weights, np.array(path), axes=1))
    return np.array(found[1:]), found[0]


def multipliers_of(optimizer, steps):
    return [1.0] * steps if optimizer.multipliers is None else [float(x) for x in optimizer.multipliers]


def weights_of(optimizer, steps):
    """Return the weights of θ_0 … θ_T."""
    average = optimizer.average
    if average is None:
        return [0.0] * steps + [1.0]
    if average.ema is not None:
        rho = float(average.ema)
        return [rho**steps, *((1 - rho) * rho ** (steps - t) for t in range(1, steps + 1))]
    if average.tail is not None:
        count = steps if average.tail == "all" else average.tail
        return [0.0] * (steps + 1 - count) + [1 / count] * count
    weights = [float(weight) for weight in average.weights]
    return weights if len(weights) == steps + 1 else [0.0, *weights]


def shares(spacetime):
    """Return W(s, t) = E Σ_n c_ns c_nt, c the share of a point in a batch, by listing all runs."""
    N, T = int(spacetime.N), int(spacetime.T)
    total = np.zeros((T, T))
    for probability, run in spacetime.outcomes():
        c = np.array([[batch.count(n) / len(batch) for n in range(N)] for batch in run])
        total += float(probability) * c @ c.T
    return total


@settings(max_examples=12)
@given(data=st.data())
def test_exact_on_quadratics(data):
    spacetime = data.draw(fd.testing.spacetimes(max_steps=4, uneven=True))
    optimizer = data.draw(fd.testing.optimizers(int(spacetime.T)))
    rate, off = data.draw(st.floats(0.01, 0.2)), data.draw(st.sampled_from([0.0, 0.3]))
    near, noise, hessian, params = quadratic(off)
    kernels, start = responses(optimizer, int(spacetime.T), rate, hessian)
    cloud = np.einsum("st,sij,jk,tlk->il", shares(spacetime), kernels, noise, kernels)
    end = start @ params
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.TruncationWarning)
        test, gap = (near.predict(spacetime, rate, quantity=name, optimizer=optimizer) for name in ("test_loss", "gap"))
    added = np.trace(hessian @ cloud) / 2
    assert test.noise == pytest.approx(added, rel=1e-9, abs=1e-12)
    assert test.noiseless == pytest.approx((end @ hessian @ end - params @ hessian @ params) / 2, rel=1e-9, abs=1e-12)
    assert gap.mean == pytest.approx(-np.trace(kernels.sum(axis=0) @ noise) / int(spacetime.N), rel=1e-9, abs=1e-12)
    assert test.truncation == pytest.approx(0, abs=1e-9 * (1 + added))
    assert test.optimizer.acts_like(optimizer, int(spacetime.T))


def test_predictions_agree_with_simulation():
    optimizer = fd.averaged(fd.schedule(lambda t: 1 - t / 300, fd.momentum(0.8, nesterov=True)), ema=0.9)
    (landscape, params, near), spacetime = cosh(), fd.Spacetime.sgd(100, 8, T=100, drop_last=False)
    predicted = near.predict(spacetime, [0.1], optimizer=optimizer)
    simulated = fd.simulate(landscape, params, spacetime, [0.1], runs=400, optimizer=optimizer, key=KEY)
    found = fd.compare(predicted, simulated)
    assert found.passed
    assert found.converged.all()
    assert str(predicted.optimizer) in str(predicted)


@pytest.mark.parametrize("optimizer", [fd.momentum(0.6), fd.averaged(fd.momentum(0.6, nesterov=True), tail=2)], ids=str)
def test_drift_is_that_of_all_runs_at_the_second_power_of_the_noise(optimizer):
    """Every training set of 3 points in batches of 2, to step 3; the second power of a scale of the noise is fitted."""
    noises, rate = np.array([1.0, -0.4, -0.6]), 0.3
    spacetime = fd.Spacetime.sgd(3, 2, T=3, drop_last=False)
    runs = [(float(chance), run) for chance, run in spacetime.outcomes()]
    weights = weights_of(optimizer, 3)

    def slope(theta, n):
        return theta + 0.9 * theta**2 + n

    def mean_end(scale):
        total = 0.0
        for chance, run in runs:
            for points in itertools.product(scale * noises, repeat=3):
                theta, velocity, end = 0.0, 0.0, 0.0
                for batch, weight in zip(run, weights[1:], strict=True):
                    gradient = np.mean([slope(theta, points[i]) for i in batch])
                    velocity = optimizer.beta * velocity + gradient
                    theta -= rate * (gradient + optimizer.beta * velocity if optimizer.nesterov else velocity)
                    end += weight * theta
                total += chance * end / 27
        return total

    scales = 0.2 * np.cos(np.pi * (np.arange(8) + 0.5) / 8)
    second = np.polynomial.polynomial.polyfit(scales, [mean_end(scale) for scale in scales], 7)[2]
    landscape = fd.Landscape(lambda theta, n: 0.5 * theta[0] ** 2 + 0.3 * theta[0] ** 3 + n * theta[0], noises)
    moved = fd.entropic_drift(landscape, jnp.zeros(1), spacetime, rate, optimizer=optimizer)
    assert moved[0] == pytest.approx(second, rel=1e-6)


def test_unstable_rates_are_refused_by_their_bound():
    (landscape, params, near), spacetime = cosh(), fd.Spacetime.sgd(20)
    half, ahead = fd.momentum(Fraction(1, 2)), fd.momentum(0.5, nesterov=True)
    falling = fd.schedule(lambda t: 4 * 0.5**t)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.TruncationWarning)
        near.predict(spacetime, [2.9], optimizer=half)
        near.predict(spacetime, [1.4], optimizer=ahead)
        near.predict(spacetime, [1.0], optimizer=falling)
    for optimizer, rate, bound in ((half, 3.0, r"3/h = 3\b"), (ahead, 1.5, r"1\.5/h"), (falling, 9.0, "enlarge")):
        with pytest.raises(fd.LandscapeError, match=bound):
            near.predict(spacetime, [0.1, rate], optimizer=optimizer)
        with pytest.raises(fd.LandscapeError, match=bound):
            DenseMinimum(landscape, params).displacement(spacetime, rate, optimizer=optimizer)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (fd.momentum(sympy.Symbol("beta")), "has the symbols beta"),
        (fd.preconditioned(fd.sgd(), [2.0]), "give the landscape in the coordinates"),
        (fd.schedule([1, 1]), "schedule has 2 multipliers"),
        (fd.averaged(fd.sgd(), tail=30), "needs as many steps"),
        ("sgd", "An optimizer is made by"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused(optimizer, message):
    landscape, params, near = cosh()
    with pytest.raises(fd.ArgumentError, match=message):
        near.predict(fd.Spacetime.sgd(20), 0.1, optimizer=optimizer)
    with pytest.raises(fd.ArgumentError, match=message):
        fd.entropic_drift(landscape, params, fd.Spacetime.sgd(20), 0.1, optimizer=optimizer)


def test_files_keep_the_optimizer(tmp_path):
    predicted = cosh()[2].predict(fd.Spacetime.sgd(20), 0.1, optimizer=fd.momentum(0.5))
    predicted.save(tmp_path / "predicted.npz")
    again = fd.ResummedPrediction.load(tmp_path / "predicted.npz")
    assert again.optimizer == predicted.optimizer
    assert str(again) == str(predicted)
