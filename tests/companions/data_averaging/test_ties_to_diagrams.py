"""Where data averaging meets the diagrams: the same gaps from runs, from densities and from re-summed series."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions.data_averaging import ensemble, steady_state
from feyngd.landscapes import toys
from feyngd.minima import DenseMinimum
from feyngd.training import tic

KEY = jax.random.key(0)
H, C = np.diag([2.0, 0.5]), np.array([[1.0, 0.3], [0.3, 0.4]])


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_from_a_minimum_in_finite_steps(rate):
    """The gap (1/n) tr[C (I − (I − λH)^t) H⁻¹], which needs no density: re-summed, from real runs, at leading order."""
    n, steps = 6, 12
    space = fd.Spacetime.sgd(N=n, B=1, T=steps, sampling="with-replacement")
    landscape, start = toys.quadratic(H, C)
    left = np.linalg.matrix_power(np.eye(2) - rate * H, steps)
    exact = np.trace(C @ (np.eye(2) - left) @ np.linalg.inv(H)) / n
    predicted = fd.near_minimum(landscape, start, key=KEY).predict(space, rate, quantity="gap")
    assert predicted.mean[0] == pytest.approx(exact, rel=1e-5)
    runs = ensemble(landscape, start, space, rate, datasets=2000, records=2, chunk_size=1000, key=KEY)
    gap = runs.level("gap", tail=0)
    assert abs(gap.value - exact) < 4 * gap.stderr
    first = fd.expand("gap", order=1, spacetime=space, basis="cumulant")
    (weight,) = [coefficient for diagram, coefficient in first.items() if diagram.order == 1 and coefficient]
    small = 1e-4
    leading = np.trace(C @ (np.eye(2) - np.linalg.matrix_power(np.eye(2) - small * H, steps)) @ np.linalg.inv(H)) / n
    assert float(weight) * small * np.trace(C) == pytest.approx(leading, rel=2e-3)


@pytest.mark.parametrize("T", [0.1, 0.4])
def test_in_endless_steps_the_gap_is_that_of_takeuchi(T):
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2 / 2, jnp.array([-1.0, 1.0]))
    state = steady_state(landscape, jnp.array(0.0), 12, noise=0.5, domain=(-5.0, 5.0))
    twelve = fd.Landscape(landscape.loss, jnp.array([-1.0, 1.0] * 6))
    # TIC estimates C with N − 1, as its N examples are a sample.
    assert state.averages(T).gap.value == pytest.approx(tic(twelve, jnp.array(0.0)).value * 11 / 12, rel=1e-6)


@pytest.mark.slow
def test_one_quartic_vertex_bends_the_gap():
    """On cosh, N gap = 1 − T/4 + …: from diagrams of four edges, and from ρ ∝ exp(−(2/T) Ū) to first order."""
    n, T = 1000, 0.02
    landscape, start = toys.cosh()
    space = fd.Spacetime.sgd(N=n, B=1, T=1000, sampling="with-replacement")
    diagrams = n * DenseMinimum(landscape, start).expected("gap", space, T, order=4)
    state = steady_state(landscape, start, n, potential="loss", domain=(-1.8, 1.8))
    density = n * state.linear_gap(T).value
    assert diagrams == pytest.approx(0.994510, abs=1e-6)
    assert density == pytest.approx(0.995053, abs=1e-6)
    assert abs(diagrams - density) < T**2 + 2 / n
    assert density == pytest.approx(1 - T / 4, abs=T**2)


@pytest.mark.slow
def test_the_bend_is_that_of_real_runs():
    """At η = 0.2 and N = 50 in 80 steps; 600,000 runs gave 0.9511 ± 0.0033. Two noises alone say 1."""
    n, rate = 50, 0.2
    landscape, start = toys.cosh()
    space = fd.Spacetime.sgd(N=n, B=1, T=80, sampling="with-replacement")
    minimum = DenseMinimum(landscape, start)
    plain, bent = (n * minimum.expected("gap", space, rate, order=order) for order in (2, 4))
    assert (plain, bent) == pytest.approx((1.0, 0.943008), abs=1e-6)
    state = steady_state(landscape, start, n, potential="loss", domain=(-4.0, 4.0))
    density = n * state.linear_gap(rate).value
    assert density == pytest.approx(0.954690, abs=1e-6)
    runs = ensemble(landscape, start, space, rate, datasets=60_000, records=2, chunk_size=10_000, key=KEY)
    gaps = (runs.test_loss - runs.train_loss)[:, 0].astype(float)
    # The gap at the start is luck of mean 0.
    found = fd.Estimate.from_replicates(n * (gaps[:, -1] - gaps[:, 0]))
    assert found.stderr < 0.011
    for theory in (bent, density, 0.9511):
        assert abs(found.value - theory) < 3.5 * found.stderr
    assert plain - found.value > 3.5 * found.stderr


@pytest.mark.slow
def test_reshuffled_epochs_have_another_noise_than_the_temperature():
    """Mean estimation in 60 epochs of 20: E θ² from every point's weight, which is no function of λ/B."""
    n, count, rate = 20, 60, 0.1
    space = fd.Spacetime.sgd(N=n, B=1, E=count)
    landscape, start = toys.mean_estimation()
    # The weight of a point is a sum over epochs of λ (1 − λ)^(steps left), at independent uniform positions.
    weights = rate * (1 - rate) ** np.arange(n * count - 1, -1, -1).reshape(count, n)
    square = n * (weights.var(axis=1).sum() + weights.mean(axis=1).sum() ** 2)
    predicted = fd.near_minimum(landscape, start, key=KEY).predict(space, rate)
    # This landscape's loss is that of (θ − x)²/2 less its mean at the minimum, ½.
    assert predicted.mean[0] == pytest.approx(square / 2, rel=1e-5)
    replaced = 1 / n + rate * (1 - 1 / n) / (2 - rate)
    assert square < 0.8 * replaced


@pytest.mark.slow
def test_real_runs_settle_where_the_steady_state_says():
    """At λ = T = 0.1 the diffusion is off by less than 0.0007."""
    landscape = fd.Landscape(lambda theta, m: jnp.log1p(jnp.exp(-m * theta)), jnp.array([2.0, 1.0, 0.5, -1.0]))
    ridge = {"weight_decay": 1.0, "noise": 1.0}
    losses = steady_state(landscape, jnp.array(0.0), 12, domain=(-6.0, 6.0), panels=80, **ridge).averages(0.1)
    assert (losses.train.value, losses.test.value) == pytest.approx((0.628389, 0.643430), abs=6e-7)
    space = fd.Spacetime.sgd(N=12, B=1, T=120, sampling="with-replacement")
    options = {"datasets": 60_000, "records": 2, "chunk_size": 6000, "key": KEY}
    runs = ensemble(landscape, jnp.array(0.0), space, 0.1, **ridge, **options)
    for name, exact in (("train_loss", losses.train), ("test_loss", losses.test)):
        level = runs.level(name, tail=0)
        assert level.stderr < 4e-4
        assert abs(level.value - exact.value) < 7e-4 + 3 * level.stderr
