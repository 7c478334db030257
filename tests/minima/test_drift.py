"""The drift from a minimum: every power of the noise against enumeration, closed forms, and what is refused."""

import itertools
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
from feyngd.minima import DenseMinimum, entropic_drift
from feyngd.minima._noise_orders import displacement_coefficient, displacement_diagrams

RATE = 0.3
NOISES = np.array(
    [[1.0, -0.5, 0.3, -0.2, 0.4, 0.1], [-0.2, 0.8, -0.5, 0.3, 0.1, -0.2], [-0.8, -0.3, 0.2, -0.1, -0.5, 0.1]]
)


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def bumpy(theta, noise):
    """A loss whose mean has a minimum at 0 and derivatives of all kinds there; the noises of all examples cancel."""
    u, w = theta
    mean = 0.5 * u**2 + 0.2 * u * w + 0.35 * w**2 + 0.3 * u**3 - 0.2 * u**2 * w + 0.25 * u * w**2 + 0.1 * w**4
    terms = jnp.array([u, w, u**2, u * w, w**2, u**3])
    return mean + 0.15 * u**4 + 0.05 * u**3 * w**2 + noise @ terms


@cache
def bumpy_minimum():
    return DenseMinimum(fd.Landscape(bumpy, NOISES), jnp.zeros(2))


def epochs_of(N, E):
    return [sum(orders, ()) for orders in itertools.product(itertools.permutations(range(N)), repeat=E)]


SCHEMES = {  # a spacetime and, equally likely, the points of the batch of every step
    "one epoch": (fd.Spacetime.sgd(3), [[(n,) for n in order] for order in epochs_of(3, 1)]),
    "two epochs": (fd.Spacetime.sgd(2, 1, 2), [[(n,) for n in order] for order in epochs_of(2, 2)]),
    "full batch": (fd.Spacetime.gd(2, 3), [[(0, 1)] * 3]),
    "with replacement": (
        fd.Spacetime.sgd(2, 1, T=3, sampling="with-replacement"),
        [[(n,) for n in order] for order in itertools.product(range(2), repeat=3)],
    ),
}


def enumerated_displacement(spacetime, runs):
    """E θ_T from 0 as a function of factors on the noise, by going through all training sets and orders."""
    sets = np.array(list(itertools.product(range(3), repeat=int(spacetime.N))))
    batches = jnp.array([training_set[np.array(run)] for training_set in sets for run in runs])

    @jax.jit
    @jax.vmap
    def mean_end(factor):
        def run(batches):
            def step(theta, batch):
                slopes = jax.vmap(jax.grad(bumpy), (None, 0))(theta, factor * jnp.array(NOISES)[batch])
                return theta - RATE * slopes.mean(axis=0), None

            return jax.lax.scan(step, jnp.zeros(2), batches)[0]

        return jnp.mean(jax.vmap(run)(batches), axis=0)

    return mean_end


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.slow
def test_every_power_of_the_noise_is_exact(scheme):
    spacetime, runs = SCHEMES[scheme]
    factors = 0.2 * np.cos(np.pi * (np.arange(16) + 0.5) / 16)
    ends = enumerated_displacement(spacetime, runs)(jnp.array(factors))
    coefficients = np.polynomial.polynomial.polyfit(factors, ends, 12)
    predicted = [bumpy_minimum().displacement(spacetime, RATE, noises=noises) for noises in (2, 3, 4)]
    np.testing.assert_allclose(predicted[0], coefficients[2], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(predicted[1] - predicted[0], coefficients[3], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(predicted[2] - predicted[1], coefficients[4], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_coefficients_are_those_of_the_series(scheme):
    spacetime, _ = SCHEMES[scheme]
    series = fd.expand("displacement", order=3, spacetime=spacetime, resummed=True).at_minimum()
    by_noise = {D for noises in (2, 3) for D in displacement_diagrams(noises) if D.order <= 3}
    assert set(series) <= by_noise
    for diagram in by_noise:
        eigenvalues = [0.5, 0.0, -0.2][: diagram.order]
        expected = float(series.coefficient(diagram, eigenvalues, RATE))
        assert displacement_coefficient(diagram, spacetime, eigenvalues, RATE) == pytest.approx(expected, rel=1e-12)


@settings(max_examples=2)
@given(angle=st.floats(0.1, 3.0))
def test_drift_turns_with_the_parameters(angle):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = fd.Landscape(lambda theta, noise: bumpy(turn.T @ theta, noise), NOISES)
    spacetime = fd.Spacetime.sgd(2, 1, 2)
    straight = bumpy_minimum().displacement(spacetime, RATE)
    np.testing.assert_allclose(entropic_drift(turned, jnp.zeros(2), spacetime, RATE), turn @ straight, rtol=1e-9)


def test_drift_in_valleys_has_its_closed_forms():
    h0, h1, s, steps = 1.5, -0.4, 0.7, 60
    keep = 1 - RATE * h0
    spread = RATE**2 * s**2 * (1 - keep ** (2 * np.arange(steps))) / (1 - keep**2)  # of w before every step
    moved = entropic_drift(*toys.cubic_valley(h0, h1, s), fd.Spacetime.sgd(steps), RATE)
    np.testing.assert_allclose(moved, [0, -RATE * h1 / 2 * spread.sum()], rtol=1e-10, atol=1e-14)
    screw = DenseMinimum(*toys.linear_screw())
    late, early = (screw.displacement(fd.Spacetime.sgd(T), RATE)[2] for T in (300, 200))
    assert (late - early) / 100 == pytest.approx(RATE**2 / (6 - 4 * RATE), rel=1e-9)


@pytest.mark.slow
def test_the_screws_closed_form_is_that_of_the_second_power_of_the_noise():
    """A simulation of 4,000 runs of 7,500 steps, with its own gradients, gives 0.18422 ± 0.00007."""
    screw, rate = DenseMinimum(*toys.linear_screw()), 0.15
    for noises, drift in ((2, 1 / (6 - 4 * rate)), (4, 0.184277)):
        late, early = (screw.displacement(fd.Spacetime.sgd(T), rate, noises=noises)[2] for T in (400, 267))
        assert (late - early) / 133 / rate**2 == pytest.approx(drift, abs=6e-7)


def test_expected_losses_of_quadratics_have_their_closed_forms():
    h, c, count, steps = np.array([2.0, 0.3]), np.array([0.5, 1.5]), 4, 7
    minimum, spacetime = DenseMinimum(*toys.quadratic(np.diag(h), np.diag(c))), fd.Spacetime.gd(count, steps)
    moved = 1 - (1 - RATE * h) ** steps
    assert minimum.expected("test_loss", spacetime, RATE) == pytest.approx(np.sum(c * moved**2 / h) / (2 * count))
    assert minimum.expected("gap", spacetime, RATE) == pytest.approx(np.sum(c * moved / h) / count)


def test_drift_refuses_what_it_cannot_do():
    landscape, start = toys.cubic_valley()
    vanilla = fd.Spacetime.sgd(5)
    with pytest.raises(fd.LandscapeError, match="descend on the mean loss first"):
        entropic_drift(landscape, start.at[0].set(1.0), vanilla, 0.1)
    held_out = fd.Landscape(landscape.loss, landscape.data, landscape.data, reading="conditional")
    with pytest.raises(fd.ArgumentError, match="conditional reading"):
        entropic_drift(held_out, start, vanilla, 0.1)
    with pytest.raises(fd.ArgumentError, match="learning rate"):
        entropic_drift(landscape, start, vanilla, 0.0)
    with pytest.raises(fd.ArgumentError, match="noises"):
        entropic_drift(landscape, start, vanilla, 0.1, noises=1)
    with pytest.raises(fd.ArgumentError, match="limit"):
        entropic_drift(*toys.quadratic(np.eye(12)), vanilla, 0.1, noises=4)
    symbolic = fd.Spacetime.sgd(sympy.Symbol("N", integer=True, positive=True))
    with pytest.raises(fd.SpacetimeError):
        entropic_drift(landscape, start, symbolic, 0.1)
