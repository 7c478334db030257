"""The simulated SDE against equations with known solutions, against the Euler–Maruyama mean, and against its series."""

import json
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import feyngd as fd
from feyngd.landscapes import toys
from feyngd.series import ode, sde
from feyngd.simulation import SDESimulation, simulate_sde
from feyngd.testing import ExactValues, PolynomialLandscape

KEY = jax.random.key(5)
SPACETIME = fd.Spacetime.sgd(8, 2)  # T = 4 steps
SLOPES = np.array([0.2, 1.0, 1.8])


def scale(theta, a):
    """A bowl whose curvature is random: the noise grows with the distance, and θ is a geometric Brownian motion."""
    return a * theta**2 / 2


@pytest.fixture(scope="module")
def landscape():
    return fd.Landscape(scale, SLOPES)


def assert_agrees(simulation, truth, besides=0):
    """Within 4.5 standard errors, a small part of the figure for the time steps, and what else is allowed."""
    allowed = 4.5 * simulation.stderr + 0.2 * simulation.discretization + besides
    assert np.all(np.abs(simulation.mean - truth) < allowed)


# --- known solutions ----------------------------------------------------------------------------------------------


def test_mean_estimation_is_ornstein_uhlenbeck():
    """E θ² = θ0² e^(−2ht) + ηs²/(2hB) (1 − e^(−2ht)) with t = ηT."""
    h, s, start, rates = 1.5, 2.0, 0.5, np.array([0.1, 0.3])
    landscape, zero = toys.mean_estimation(hessian=h, scale=s)
    simulation = simulate_sde(landscape, zero + start, SPACETIME, rates, runs=20000, chunk_size=1000, key=KEY)
    decay = np.exp(-2 * h * rates * int(SPACETIME.T))
    assert_agrees(simulation, h / 2 * (start**2 * decay + rates * s**2 / (2 * h * int(SPACETIME.B)) * (1 - decay)))


def test_noise_follows_the_place(landscape):
    """Geometric Brownian motion by Itô: E θ² = θ0² exp((−2a + ησ²/B)t); by Stratonovich ησ² would be twice that.

    Every substep of Δ is one of Euler and Maruyama, which multiplies E θ² by (1 − aΔ)² + ησ²Δ/B.
    """
    rates, steps, substeps, mean, variance = np.array([0.2, 0.8]), 3, 8, SLOPES.mean(), SLOPES.var()
    simulation = simulate_sde(
        landscape, 1.0, fd.Spacetime.sgd(steps), rates, substeps=substeps, runs=20000, chunk_size=1000, key=KEY
    )
    assert_agrees(simulation, 0.5 * np.exp((-2 * mean + rates * variance) * steps * rates))
    stratonovich = 0.5 * np.exp((-2 * mean + 2 * rates * variance) * steps * rates)
    assert np.all(np.abs(simulation.mean - stratonovich) > 8 * simulation.stderr)

    def euler(count):
        step = rates / count
        return 0.5 * ((1 - mean * step) ** 2 + rates * variance * step) ** (count * steps)

    fine, coarse = simulation.samples - simulation.refinements, simulation.samples - 2 * simulation.refinements
    root, change = simulation.runs**0.5, simulation.refinements
    for samples, truth in ((fine, euler(8)), (coarse, euler(4)), (change, euler(8) - euler(4))):
        assert np.all(np.abs(samples.mean(axis=1) - truth) < 4.5 * samples.std(axis=1) / root)
    assert np.all(change.std(axis=1) < 0.3 * fine.std(axis=1))  # the same noise drives both
    figure = np.hypot(change.mean(axis=1), change.std(axis=1) / root)
    np.testing.assert_allclose(simulation.discretization, figure, rtol=1e-3)


def test_covariance_of_several_coordinates():
    """One short step from a point: the covariance of the move is ηC·t/B, with C of unequal and correlated entries."""
    data = np.array([[1.0, 0.5], [-2.0, 0.0], [0.5, 1.5], [3.0, -0.5]])
    direction = jnp.array([0.6, -1.1])
    landscape = fd.Landscape(lambda theta, x: jnp.dot(x, theta), data)
    # The loss is linear, so that along a direction it tells the normal move: mean l = m·θ, and θ has no curvature.
    slope, spread = data.mean(axis=0), np.cov(data.T, bias=True)
    rate, steps, batch = 0.3, int(SPACETIME.T), int(SPACETIME.B)
    simulation = simulate_sde(landscape, direction, SPACETIME, rate, runs=20000, chunk_size=2000, key=KEY)
    length = rate * steps
    mean, variance = slope @ direction - length * slope @ slope, length * rate / batch * slope @ spread @ slope
    assert abs(simulation.mean[0] - mean) < 4.5 * simulation.stderr[0]
    assert simulation.samples.var() == pytest.approx(variance, rel=0.05)
    np.testing.assert_allclose(simulation.refinements, 0, atol=1e-5)  # Euler is exact for constant coefficients


def test_skew_is_beyond_the_sde():
    """Cubic chi from w = 0: SGD gains −(T/6) η³ S:J = 8η³T, and the SDE, whose noise has no skew, −42 η⁵T³ at first."""
    landscape, start = toys.cubic_chi()
    simulation = simulate_sde(landscape, start, fd.Spacetime.sgd(4), 0.04, runs=20000, chunk_size=1000, key=KEY)
    truth = -42 * 0.04**5 * 4**3
    assert abs(simulation.mean[0] - truth) < 4.5 * simulation.stderr[0] + 0.2 * abs(truth)
    assert 8 * 0.04**3 * 4 - truth > 20 * simulation.stderr[0]


def test_series_at_small_learning_rates():
    """Two coordinates, noise that depends on the place, and a fourth order that is small."""
    powers = [(1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (1, 3)]
    table = [[4, -5, 1, 1, 1, 1, 0], [-4, 3, 0, 0, 1, 0, 1], [3, 4, 2, -1, 1, 0, 0], [-4, -2, 1, 1, 1, 1, 1]]
    exact = PolynomialLandscape([dict(zip(powers, row, strict=True)) for row in table])
    values = ExactValues(exact, [Fraction(1, 4), Fraction(-1, 4)])

    def loss(theta, row):
        return jnp.dot(row, jnp.stack([theta[0] ** m * theta[1] ** n for m, n in powers]))

    rates = np.array([0.01, 0.02])
    series = sde(4, T=int(SPACETIME.T), B=int(SPACETIME.B))
    terms = np.array([float(c) * rates**k for k, c in enumerate(values.sum(series))])
    landscape = fd.Landscape(loss, np.array(table, dtype=float))
    start = jnp.array([0.25, -0.25])
    simulation = simulate_sde(landscape, start, SPACETIME, rates, runs=25000, chunk_size=1000, key=KEY)
    assert_agrees(simulation, terms.sum(axis=0), besides=np.abs(terms[4]))
    noise = np.array(values.sum(series - ode(4, T=int(SPACETIME.T))), dtype=float)
    assert 4.5 * simulation.stderr[1] + abs(terms[4, 1]) < abs(noise[3]) * rates[1] ** 3  # its third order is seen


def test_conditional_reading_is_tested_on_test_data():
    """Ornstein–Uhlenbeck again, in nested parameters and data."""
    data, test_data = np.array([-1.0, 1.0, 0.5, 1.5]), np.array([2.0, 3.0])

    def loss(params, example):
        return (params["a"][0] - params["b"] - example["x"]) ** 2 / 4

    landscape = fd.Landscape(loss, {"x": data}, {"x": test_data}, reading="conditional")
    start = {"a": np.zeros(1, np.float32), "b": np.float32(0)}
    simulation = simulate_sde(landscape, start, fd.Spacetime.sgd(4), 0.2, runs=10000, chunk_size=1000, key=KEY)
    length = 0.2 * 4  # a − b moves by −(a − b − x) in all, with the noise of x
    mean, variance = data.mean() * (1 - np.exp(-length)), 0.2 * data.var() * (1 - np.exp(-2 * length)) / 2
    assert_agrees(simulation, (mean - test_data.mean()) ** 2 / 4 + variance / 4 + test_data.var() / 4)


# --- how it runs --------------------------------------------------------------------------------------------------


def test_neither_chunks_nor_other_rates_matter(landscape):
    """Three hundred paths, a number that 7 does not divide, and more than one block of them."""
    even, odd = (
        simulate_sde(landscape, 1.0, SPACETIME, rates, runs=300, chunk_size=size, key=KEY)
        for rates, size in (([0.3, 0.1, 0.3], 10), (0.1, 7))
    )
    np.testing.assert_array_equal(even.samples[0], even.samples[2])
    np.testing.assert_allclose(odd.samples[0], even.samples[1], rtol=1e-5)
    assert all(len(np.unique(row)) > 290 for row in even.samples)


def test_no_steps_leave_the_start(landscape):
    simulation = simulate_sde(landscape, 1.0, fd.Spacetime.gd(2, 0), 0.1, runs=3, key=KEY)
    np.testing.assert_allclose(simulation.samples, 0.5, rtol=1e-6)
    assert simulation.discretization.tolist() == [0.0]


def test_one_example_has_no_noise():
    """What is left is gradient flow, by Euler's method and extrapolated."""
    landscape = fd.Landscape(lambda theta, x: x * theta**2 / 2, np.array([1.0]))
    simulation = simulate_sde(landscape, 1.0, SPACETIME, 0.2, substeps=4, runs=2, key=KEY)
    assert simulation.mean[0] == pytest.approx((1 - 0.05) ** 32 - 0.5 * (1 - 0.1) ** 16, rel=1e-5)
    assert simulation.stderr[0] == 0
    assert abs(simulation.mean[0] - 0.5 * np.exp(-2 * 4 * 0.2)) < 0.2 * simulation.discretization[0]


def test_paths_that_diverge_are_reported():
    landscape = fd.Landscape(lambda theta, x: -(theta**4) + x * theta, np.array([-1.0, 1.0]))
    simulation = simulate_sde(landscape, 1.0, fd.Spacetime.sgd(20), 0.5, runs=4, key=KEY)
    assert not np.isfinite(simulation.mean[0])
    assert "4 of 4 runs diverged" in str(simulation)
    saved = json.loads(json.dumps(simulation.to_dict(), allow_nan=False))
    assert saved["mean"] == saved["discretization"] == [None]


def test_summary_and_comparison():
    samples, refinements = np.array([[1.0, 2.0, 6.0]]), np.array([[3.0, 3.0, 3.0]])
    simulation = SDESimulation("test_loss", SPACETIME, np.array([0.1]), samples, 4, refinements)
    assert (simulation.runs, simulation.mean.tolist()) == (3, [3.0])
    assert simulation.discretization.tolist() == [3.0]
    assert str(simulation).splitlines() == [
        "SDE test_loss simulated by 3 runs, reshuffled, N=8, B=2, E=1, 4 substeps a step",
        "  η = 0.1       3 ± 1.5   ± 3 (time steps)",
    ]
    assert repr(simulation).startswith("<SDESimulation of test_loss, 3 runs")
    saved = json.loads(json.dumps(simulation.to_dict(), allow_nan=False))
    assert (saved["limit"], saved["substeps"], saved["discretization"]) == ("SDE", 4, [3.0])
    prediction = fd.Prediction("test_loss", SPACETIME, np.array([0.1]), np.array([[4.0, -5.0]]), None)
    assert fd.compare(prediction, simulation).difference.tolist() == [0.5]


# --- what it refuses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [0, -0.1, [0.1, 0.0], float("nan"), [], [[0.1]], "fast", None])
def test_bad_learning_rates(rates, landscape):
    with pytest.raises(fd.ArgumentError, match=r"[Ll]earning rate"):
        simulate_sde(landscape, 1.0, SPACETIME, rates, key=KEY)


@pytest.mark.parametrize("substeps", [0, 1, 3, -2, 4.0, True, None, "4"])
def test_bad_substeps(substeps, landscape):
    with pytest.raises(fd.ArgumentError, match=r"substeps is an integer ≥ 2|substeps is even"):
        simulate_sde(landscape, 1.0, SPACETIME, 0.1, substeps=substeps, key=KEY)


@pytest.mark.parametrize(
    "option", [{"runs": 1}, {"runs": 2.0}, {"chunk_size": 0}, {"chunk_size": None}, {"runs": True}]
)
def test_bad_numbers(option, landscape):
    with pytest.raises(fd.ArgumentError, match=f"{next(iter(option))} is an integer ≥"):
        simulate_sde(landscape, 1.0, SPACETIME, 0.1, key=KEY, **option)


def test_bad_spacetimes_and_landscapes(landscape):
    with pytest.raises(fd.ArgumentError, match="Spacetime"):
        simulate_sde(landscape, 1.0, 10, 0.1, key=KEY)
    with pytest.raises(fd.SpacetimeError, match="SDE is simulated only on a concrete"):
        simulate_sde(landscape, 1.0, fd.Spacetime.sgd(sympy.Symbol("N", integer=True, positive=True)), 0.1, key=KEY)
    uneven = fd.Spacetime.from_batches([[0], [1, 2]], N=3)
    with pytest.raises(fd.SpacetimeError, match=r"one batch size, and these batches have \[1, 2\]"):
        simulate_sde(landscape, 1.0, uneven, 0.1, key=KEY)
    with pytest.raises(fd.ArgumentError, match=r"unbiased .* reading='population'"):
        simulate_sde(fd.Landscape(scale, SLOPES, reading="unbiased"), 1.0, fd.Spacetime.sgd(2), 0.1, key=KEY)
    conditional = fd.Landscape(scale, SLOPES, SLOPES, reading="conditional")
    with pytest.raises(fd.SpacetimeError, match="N = 3"):
        simulate_sde(conditional, 1.0, fd.Spacetime.sgd(2), 0.1, key=KEY)
    with pytest.raises(fd.ArgumentError, match="Landscape"):
        simulate_sde(scale, 1.0, SPACETIME, 0.1, key=KEY)
    with pytest.raises(fd.LandscapeError, match="finite"):
        simulate_sde(landscape, float("inf"), SPACETIME, 0.1, key=KEY)
    with pytest.raises(fd.ArgumentError, match="noise is drawn at random"):
        simulate_sde(landscape, 1.0, SPACETIME, 0.1, key=3.5)
    with pytest.raises(TypeError, match="key"):
        simulate_sde(landscape, 1.0, SPACETIME, 0.1)
