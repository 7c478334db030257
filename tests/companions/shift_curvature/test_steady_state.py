"""Steady states on a box: closed forms, Laplace's method, and what is refused."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd import ArgumentError, Landscape, LandscapeError
from feyngd.companions.shift_curvature import FIGURES, BasinWarning, Diffusion, basins, steady_state, temperature_sweep

TEMPERATURES = {"left": 0.003, "right": 0.003, "one basin": 0.01, "three basins": 0.01}


def one_dimensional(loss, noise=lambda x: 1.0):
    return Diffusion(lambda x: loss(x[0]), lambda x: jnp.full((1, 1), noise(x[0])), dimension=1)


def test_d1_noise_that_grows_with_the_distance():
    found = steady_state(one_dimensional(lambda x: x**2 / 2, lambda x: 1 + x**2), 0.3, box=[(-300, 300)])
    assert found.mean(lambda x: x[0] ** 2) == pytest.approx(0.3 / 1.7, abs=5e-10)
    # ρ ∝ (1 + θ²)^(−1 − 1/T)
    ratio = found.log_density([1.5]) - found.log_density([0.5])
    assert ratio == pytest.approx((1 + 1 / 0.3) * np.log(1.25 / 3.25), rel=1e-9)


def test_d2_two_dimensions():
    noisy = Diffusion(lambda x: x @ x / 2, lambda x: jnp.diag(1 + x**2), dimension=2)
    found = steady_state(noisy, 0.1, box=[(-5, 5), (-5, 5)])
    logs = found.log_density([[0.5, -0.3], [0, 0]])
    assert -0.05 * (logs[0] - logs[1]) == pytest.approx(0.1701266862, abs=5e-11)
    assert noisy.curl([0.5, -0.3], 0.1) == pytest.approx(0, abs=1e-15)
    # Each coordinate for itself is as D1.
    np.testing.assert_allclose(found.basins[0].covariance, np.eye(2) * 0.1 / 1.9, atol=1e-9)
    with pytest.raises(ArgumentError, match=r"shape \(…, 2\)"):
        found.log_density([0.5])


def test_the_current_vanishes_for_noise_that_is_a_function_of_the_loss():
    """F5, symbolically: with D = I/f'(U), ρ ∝ exp(−2f/T + log f') has the current ∇U ρ + (T/2)∇·(Dρ) = 0.

    Printed, it has not.
    """
    x, y, temperature = sympy.symbols("x y T", positive=True)
    loss = x**2 + 2 * y**2
    f, slope = loss + loss**2, 1 + 2 * loss
    for right, exponent in ((True, -2 * f / temperature), (False, -temperature / 2 * f)):
        log_density = exponent + sympy.log(slope)
        for z in (x, y):
            current = loss.diff(z) + temperature / 2 * ((1 / slope).diff(z) + log_density.diff(z) / slope)
            assert (sympy.simplify(current) == 0) is right


def test_a_loss_whose_noise_is_a_function_of_it():
    """F5 in numbers: D = U I, f = log U."""
    noisy = Diffusion(lambda x: 1 + x @ x, lambda x: (1 + x @ x) * jnp.eye(2), dimension=2)
    logs = -20 * np.log(1 + np.array([0.25, 0])) - np.log(1 + np.array([0.25, 0]))
    force = noisy.field([0.3, 0.4], 0.1)
    np.testing.assert_allclose(force, (2 + 0.1) * np.array([0.3, 0.4]) / 1.25, rtol=1e-12)
    assert -20 * (2.1 / 2) * np.log(1.25) == pytest.approx(logs[0] - logs[1])


@pytest.fixture(scope="module")
def figure():
    return cache(lambda name: steady_state(basins(**FIGURES[name]), TEMPERATURES[name], box=[(-4, 4)]))


@pytest.mark.parametrize(
    "name", ["one basin", "three basins", *(pytest.param(n, marks=pytest.mark.slow) for n in ("left", "right"))]
)
def test_weights_are_laplaces_up_to_the_next_order(figure, name):
    found = figure(name)
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    correction = found.laplace_correction
    assert (np.abs(found.weights - found.laplace_weights) <= np.abs(correction)).all()
    better = found.laplace_weights * (1 + correction)
    better /= better.sum()
    if len(better) > 1:
        left = np.abs(found.weights - better)
        assert (left < 0.3 * np.abs(found.weights - found.laplace_weights)).all()
    # Modes of a constant noise are the minima of the loss.
    assert all((basin.mode_bias == pytest.approx(0, abs=1e-9)) for basin in found.basins)


def test_mixtures_hold_up_to_their_remainders(figure):
    found = figure("one basin")
    parts = found.mixture()
    assert parts.weighted["total"] == pytest.approx(found.test_loss, rel=1e-4)
    assert parts.weighted["total"] == pytest.approx(sum(list(parts.weighted.values())[:4]))
    paper = found.mixture("paper")
    assert paper.total == pytest.approx(found.test_loss, rel=1e-2)
    s, c = 0.03, 0.1 / 0.1**3 / np.sqrt(2 * np.pi) + 2e-3  # the shift, and the curvature of the basin
    assert paper.shift == pytest.approx(c * s**2 / 2)
    with pytest.raises(ArgumentError, match="'direct', 'paper'"):
        found.mixture("other")


def test_weights_by_brute_force(figure):
    theta = np.linspace(-4, 4, 400_001)
    found = figure("three basins")
    loss = -sum(
        w / s / np.sqrt(2 * np.pi) * np.exp(-((theta - m) ** 2) / s**2 / 2)
        for m, w, s in zip(*(FIGURES["three basins"][key] for key in ("minima", "weights", "widths")), strict=True)
    )
    density = np.exp(-200 * (loss + 1e-3 * theta**2 - loss.min()))
    barrier = theta[np.argmax(np.where(abs(theta + 0.4) < 0.3, loss, -np.inf))]
    assert density[theta < barrier].sum() / density.sum() == pytest.approx(found.weights[0], rel=1e-4)


@pytest.mark.slow
def test_next_order_in_two_dimensions():
    """The integral of a small quartic and cubic perturbation, by quadrature."""
    noisy = Diffusion(
        lambda x: x[0] ** 2 + x[1] ** 2 / 2 + 0.3 * x[0] * x[1] ** 2 + x[0] ** 4 + x[1] ** 4,
        lambda x: jnp.eye(2),
        dimension=2,
    )
    found = steady_state(noisy, 0.01, box=[(-0.5, 0.5), (-0.6, 0.6)])
    leading = np.log(np.pi * 0.01) - np.log(2) / 2
    assert -float(found.log_density(found.modes[0])) - leading == pytest.approx(found.laplace_correction[0], rel=0.1)
    assert abs(found.laplace_correction[0]) > 1e-3


def test_temperature_sweep_has_an_optimum(figure):
    """A shallow wide basin on the right takes over as the temperature rises, and shifts cost less in it."""
    found = figure("three basins")
    swept = temperature_sweep(found.diffusion, [0.01, 0.04, 0.1], box=[(-30, 30)])
    assert swept.weights.shape == (3, 3)
    assert swept.losses[0] == pytest.approx(found.test_loss)
    assert swept.weights[0] == pytest.approx(found.weights)
    temperature, loss = swept.optimum
    assert loss <= swept.losses.min()
    beside = temperature_sweep(found.diffusion, [0.99 * temperature, 1.01 * temperature], box=[(-30, 30)])
    assert loss <= beside.losses.min()
    assert beside.optimum is None


REFUSED = [
    ({"temperature": 0.0}, ArgumentError, "finite number above 0"),
    ({"temperature": True}, ArgumentError, "finite number above 0"),
    ({"temperature": np.nan}, ArgumentError, "finite number above 0"),
    ({"temperature": np.ones(2)}, ArgumentError, "finite number above 0"),
    ({"box": [(1, -1)]}, ArgumentError, "low < high"),
    ({"box": [(1, 2)]}, ArgumentError, "no minimum inside the box"),
    ({"box": [(-0.05, 0.05)]}, LandscapeError, "twice the one given, the density is still"),
]


@pytest.mark.parametrize(("changed", "error", "message"), REFUSED)
def test_refused(changed, error, message):
    given = {"temperature": 0.1, "box": [(-4, 4)]} | changed
    with pytest.raises(error, match=message):
        steady_state(one_dimensional(lambda x: x**2 / 2), given["temperature"], box=given["box"])


def test_forces_by_explicit_solution():
    rng = np.random.default_rng(0)
    for size in (2, 3, 4):
        root, point = rng.normal(size=(size, size)), rng.normal(size=size)
        noise = root @ root.T + np.eye(size)
        noisy = Diffusion(lambda x: x @ x / 2, lambda x, noise=noise: jnp.asarray(noise), dimension=size)
        np.testing.assert_allclose(noisy.field(point, 0.1), np.linalg.solve(noise, point), rtol=1e-9)


def test_no_density_is_refused():
    slow = one_dimensional(lambda x: jnp.log1p(x**2) / 2)
    assert steady_state(slow, 0.1, box=[(-10, 10)]).weights == pytest.approx([1])
    with pytest.raises(LandscapeError, match="Z is infinite"):
        steady_state(slow, 2.0, box=[(-100, 100)])
    curled = Diffusion(lambda x: x[0] ** 2 + x[1] ** 2 / 2, lambda x: jnp.array([[1, 0.5], [0.5, 1]]), dimension=2)
    with pytest.raises(LandscapeError, match=r"curl 0\.\d+ at θ = \(0, 0\), allowed 1e-06"):
        steady_state(curled, 0.1, box=[(-2, 2), (-2, 2)])
    with pytest.raises(LandscapeError, match="isotropic=β"):
        steady_state(one_dimensional(lambda x: x**2, lambda x: x**2), 0.1, box=[(-2, 2)])
    with pytest.raises(ArgumentError, match="local_steady_state"):
        steady_state(Diffusion(lambda x: x @ x, lambda x: jnp.eye(4), dimension=4), 0.1, box=[(-2, 2)] * 4)


def test_noise_that_makes_basins_is_warned_of():
    """D is largest at the minimum of U, which noise leaves: v has two minima, U has one."""
    found = steady_state(one_dimensional(lambda x: x**2 / 2, lambda x: 0.2 + jnp.exp(-3 * x**2)), 1.0, box=[(-5, 5)])
    np.testing.assert_allclose(found.modes[:, 0], np.array([-1, 1]) * (np.log(3) / 3) ** 0.5, rtol=1e-9)
    np.testing.assert_allclose(found.weights, 0.5, atol=1e-9)
    with pytest.warns(BasinWarning, match="2 minima in the box, the loss has 1"), pytest.raises(LandscapeError):
        found.mixture()


def test_of_a_landscape():
    x = np.random.default_rng(0).normal(size=(30, 2))
    landscape = Landscape(
        lambda theta, x: jnp.sum((theta - x) ** 2 * (1 + theta**2)) / 2, x[:20], x[20:], reading="conditional"
    )
    noisy = Diffusion.of(landscape, jnp.zeros(2), penalty=0.5, isotropic=0.1)
    theta = np.array([0.3, -0.2])

    def mean_loss(data):
        return np.mean(np.sum((theta - data) ** 2 * (1 + theta**2), axis=1)) / 2

    rows = (theta - x[:20]) * (1 + theta**2) + (theta - x[:20]) ** 2 * theta
    covariance = np.cov(rows.T, bias=True) + 0.01 * np.eye(2)
    np.testing.assert_allclose(noisy.covariance(theta), covariance, rtol=1e-4)
    assert float(noisy.loss(theta)) == pytest.approx(mean_loss(x[:20]) + 0.25 * theta @ theta, rel=1e-5)
    assert float(noisy.test_loss(theta)) == pytest.approx(mean_loss(x[20:]), rel=1e-5)
    silent = Diffusion.of(Landscape(lambda theta, x: (theta @ x) ** 2 / 2, np.eye(3)[:1]), jnp.ones(3))
    with pytest.raises(LandscapeError, match=r"M = 1 examples is not positive definite in p = 3"):
        silent.field(np.ones(3), 0.1)


@pytest.mark.slow
def test_three_dimensions():
    scales, noises = np.array([1.0, 2.0, 0.5]), np.array([1.0, 0.5, 2.0])
    noisy = Diffusion(lambda x: x @ jnp.diag(scales) @ x / 2, lambda x: jnp.diag(noises), dimension=3)
    found = steady_state(noisy, 0.2, box=[(-2.6, 2.6), (-1.3, 1.3), (-5.2, 5.2)])
    np.testing.assert_allclose(found.basins[0].covariance, np.diag(0.1 * noises / scales), atol=1e-9)
    assert found.laplace_correction == pytest.approx([0], abs=1e-12)


def test_noise_that_grows_with_the_parameter_against_real_runs():
    """U = θ²/2 with D = 1 + θ²: T/(2 − T) in continuous time, T/(2 − η − T) in steps of η, B = 1."""
    signs = jnp.array([(a, b) for a in (-1.0, 1.0) for b in (-1.0, 1.0)])
    steps = fd.Landscape(lambda t, x: t**2 / 2 + x[0] * t + x[1] * t**2 / 2, signs, signs, reading="conditional")
    settled = fd.Spacetime.sgd(4, 1, T=150, sampling="with-replacement")
    runs = fd.simulate(steps, jnp.array(0.0), settled, 0.1, runs=20_000, key=jax.random.key(0))
    assert abs(runs.mean[0] - 0.1 / (2 * (2 - 0.1 - 0.1))) < 3 * runs.stderr[0]
    diffusion = Diffusion(lambda t: t @ t / 2, lambda t: jnp.eye(1) * (1 + t @ t), dimension=1)
    state = steady_state(diffusion, 0.1, box=[(-40, 40)])
    assert state.train_loss == pytest.approx(0.1 / (2 * (2 - 0.1)), abs=1e-9)
    assert abs(runs.mean[0] - state.train_loss) > 4 * runs.stderr[0]  # what steps of finite size add is seen
