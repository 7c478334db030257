"""The exact limits against dense Lyapunov equations, enumeration of all orders, and given numbers."""

import itertools

import numpy as np
import pytest
from scipy import linalg

import feyngd as fd
from feyngd.companions import limiting as co

OPTIMIZERS = [fd.sgd(), fd.momentum(0.9), fd.momentum(0.7, nesterov=True), fd.momentum(0.6, dampening=0.3)]


def matrices(seed, p=5):
    rng = np.random.default_rng(seed)
    a, s = rng.normal(size=(p, p)), rng.normal(size=(p, 2 * p))
    return a @ a.T / p + 0.2 * np.eye(p), s @ s.T / (2 * p), rng


def state_space(optimizer, h, eta):
    """Return M and E of (θ, −u) for a whole Hessian, written from the update itself."""
    beta, keep, one = float(optimizer.beta), 1 - float(optimizer.dampening), np.eye(len(h))
    own, factor = (1.0, beta) if optimizer.nesterov else (0.0, 1.0)
    # v ← βv − keep·g, then θ ← θ + η(factor·v − own·g)
    velocity = np.hstack([-keep * h, beta * one])
    position = np.hstack([one - eta * own * h, 0 * one]) + eta * factor * velocity
    noise = np.vstack([-eta * (own + factor * keep) * one, -keep * one])
    return np.vstack([position, velocity]), noise


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_with_replacement_against_dense_lyapunov(optimizer, seed):
    h, s, rng = matrices(seed)
    p, eta, batch = len(h), 0.08, 3
    d = co.Basin.from_matrices(h, s).limit(eta, batch, optimizer=optimizer)
    m, e = state_space(optimizer, h, eta)
    noise = e @ s @ e.T / batch
    width = linalg.solve_discrete_lyapunov(m, noise)
    keep = np.repeat([1.0, 1 / (1 - float(optimizer.dampening))], p)  # v is in units of undamped gradients
    np.testing.assert_allclose(d.covariance(), keep[:, None] * width * keep, rtol=1e-9, atol=1e-11 * width.max())
    moved = (m - np.eye(2 * p))[:p]
    assert d.position_variance().value == pytest.approx(np.trace(width[:p, :p]), rel=1e-10)
    assert d.speed().value == pytest.approx(np.trace(moved @ width @ moved.T + noise[:p, :p]), rel=1e-10)
    assert d.excess_loss().value == pytest.approx(np.trace(h @ width[:p, :p]) / 2, rel=1e-10)
    if not optimizer.nesterov:
        assert d.kinetic_energy().value == pytest.approx(d.excess_loss().value, rel=1e-10)
    ahead = (width @ moved.T)[:p]
    rotated = d.basin.vectors @ (ahead - ahead.T) @ d.basin.vectors.T / 2
    np.testing.assert_allclose(d.circulation(), rotated, rtol=0, atol=1e-10 * np.abs(rotated).max())
    lags, far = [0, 1, 7, 300], np.linalg.matrix_power
    expected = [2 * np.trace((width - far(m, k) @ width)[:p, :p]) for k in lags]
    np.testing.assert_allclose(d.displacement(lags).mean, expected, rtol=1e-10, atol=1e-15)
    start, velocity = rng.normal(size=p), rng.normal(size=p)
    positions, velocities = d.mean(start, velocity, 9)
    np.testing.assert_allclose(np.append(positions, velocities) / keep, far(m, 9) @ (np.append(start, velocity) / keep))
    after = np.zeros((2 * p, 2 * p))
    for _ in range(6):
        after = m @ after @ m.T + noise
    np.testing.assert_allclose(
        d.covariance(6), keep[:, None] * after * keep, atol=1e-12 * np.abs(after).max(), rtol=1e-9
    )
    later = keep[:, None] * (after @ far(m, 3).T) * keep
    np.testing.assert_allclose(d.covariance(6, 9), later, atol=1e-12 * np.abs(after).max(), rtol=1e-9)
    rest = d.displacement([6], start="minimum").mean[0]
    assert rest == pytest.approx(np.trace(after[:p, :p]), rel=1e-10)
    thrown = d.displacement([6], start=(start, velocity)).mean[0]
    assert thrown == pytest.approx(rest + np.sum((d.mean(start, velocity, 6)[0] - start) ** 2), rel=1e-10)


def test_plain_steps_forget_flat_directions_in_no_formula():
    # Along a flat direction a walk has a speed and a displacement, and no variance.
    d = co.Basin.from_matrices(np.diag([1.0, 0.0]), np.eye(2)).limit(0.1, 1, optimizer=fd.momentum(0.5))
    k, eta, beta = np.array([1, 10, 500]), 0.1, 0.5
    small = eta**2 * (k * (1 + beta) / (1 - beta) - 2 * beta * (1 - beta**k) / (1 - beta) ** 2) / (1 - beta**2)
    curved = co.Basin.from_matrices([[1.0]], [[1.0]]).limit(0.1, 1, optimizer=fd.momentum(0.5))
    np.testing.assert_allclose(d.displacement(k).mean - curved.displacement(k).mean, small, rtol=1e-11)
    assert d.speed().value - curved.speed().value == pytest.approx(eta**2 / (1 - beta**2), rel=1e-12)
    with pytest.raises(fd.LandscapeError, match=r"1 of 2 directions with 0\.5 of tr Σ"):
        d.position_variance()


@pytest.mark.parametrize("sampling", ["reshuffled", "fixed"])
@pytest.mark.parametrize("sizes", [(4, 1), (4, 2), (5, 2), (3, 3)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:3])
def test_epochs_against_all_orders(sampling, sizes, optimizer):
    count, batch = sizes
    m, eta = count // batch, 0.3
    rng = np.random.default_rng(7)
    gradients = rng.normal(size=(count, 2))
    gradients -= gradients.mean(axis=0)
    h = np.diag([1.3, 0.7])
    basin = co.Basin.from_matrices(h, gradients.T @ gradients / count, num_examples=count)
    d = basin.limit(eta, batch, optimizer=optimizer, sampling=sampling, drop_last=count % batch > 0)
    matrix, entry = state_space(optimizer, h, eta)

    def run(orders):
        states = [np.zeros(4)]
        for order in orders:
            for t in range(m):
                drawn = gradients[list(order[t * batch : (t + 1) * batch])].mean(axis=0)
                states.append(matrix @ states[-1] + entry @ drawn)
        return states

    every = list(itertools.permutations(range(count)))
    epochs = 2 if count < 5 else 1
    repeats = [(order,) * epochs for order in every]
    pairs = repeats if sampling == "fixed" else itertools.product(every, repeat=epochs)
    runs = np.array([run(pair) for pair in pairs])
    for first in range(epochs * m + 1):
        for later in range(first, epochs * m + 1):
            expected = runs[:, first].T @ runs[:, later] / len(runs)
            np.testing.assert_allclose(d.covariance(first, later), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampling", ["reshuffled", "fixed"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[:3])
def test_stationary_numbers_of_epochs_are_those_of_late_times(sampling, optimizer):
    h, s, _ = matrices(3, p=3)
    d = co.Basin.from_matrices(h, s, num_examples=12).limit(0.2, 4, optimizer=optimizer, sampling=sampling)
    m, p, late, vectors = 3, 3, 30000, d.basin.vectors
    phases = range(late, late + m)
    width = np.mean([d.covariance(t) for t in phases], axis=0)
    np.testing.assert_allclose(d.covariance(), width, atol=1e-9 * np.abs(width).max())
    assert d.position_variance().value == pytest.approx(np.trace(width[:p, :p]), rel=1e-9)

    def displaced(k):
        moved = [d.covariance(t + k) + d.covariance(t) - 2 * d.covariance(t, t + k) for t in phases]
        return np.trace(np.mean(moved, axis=0)[:p, :p])

    lags = [1, 2, m, 2 * m + 1]
    np.testing.assert_allclose(d.displacement(lags).mean, [displaced(k) for k in lags], rtol=1e-8, atol=1e-14)
    assert d.speed().value == pytest.approx(displaced(1), rel=1e-9)
    ahead = np.mean([d.covariance(t, t + 1) - d.covariance(t) for t in phases], axis=0)[:p, :p]
    rotated = vectors @ (ahead - ahead.T) @ vectors.T / 2
    np.testing.assert_allclose(d.circulation(), rotated, atol=1e-9 * np.abs(rotated).max())


@pytest.mark.parametrize("sampling", ["with-replacement", "reshuffled"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_spectra_sum_up_to_variances(sampling, optimizer):
    h, s, _ = matrices(4, p=3)
    d = co.Basin.from_matrices(h, s, num_examples=12).limit(0.2, 4, optimizer=optimizer, sampling=sampling)
    frequencies = np.linspace(-np.pi, np.pi, 20001)[:-1]
    assert d.spectrum(frequencies).mean(axis=0).sum() == pytest.approx(d.speed().value, rel=1e-9)
    assert d.spectrum(frequencies, of="position").mean(axis=0).sum() == pytest.approx(
        d.position_variance().value, rel=1e-9
    )


@pytest.mark.parametrize("sampling", ["with-replacement", "reshuffled", "fixed"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:3])
def test_averages_sum_the_autocovariance(sampling, optimizer):
    h, s, _ = matrices(5, p=2)
    d = co.Basin.from_matrices(h, s, num_examples=12).limit(0.2, 4, optimizer=optimizer, sampling=sampling)
    k = np.arange(1200)
    covariance = d.position_variance().value - d.displacement(k).mean / 2  # tr C(k)
    for rho in (0.5, 0.95):
        expected = (1 - rho) / (1 + rho) * (2 * rho**k @ covariance - covariance[0])
        found = d.averaged(ema=rho)
        assert found.value == pytest.approx(expected, rel=1e-9)
        assert found.ratio == pytest.approx(expected / covariance[0], rel=1e-9)
    for n in (1, 2, 3, 40):
        expected = (n * covariance[0] + 2 * (n - k[1:n]) @ covariance[1:n]) / n**2
        assert d.averaged(tail=n).value == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_given_numbers():
    propagators = [1 / 4, 5 / 16, 17 / 64, 45 / 256, 89 / 1024, 85 / 4096]
    one = co.Basin.from_matrices([[1.0]], [[1.0]]).limit(0.25, 1, optimizer=fd.momentum(0.5))
    position, velocity = np.array([-0.25]), np.array([-1.0])  # G1: what a unit gradient leaves after its step
    pushed = [-one.mean(position, velocity, k)[0][0] for k in range(6)]
    np.testing.assert_allclose(pushed, propagators, rtol=1e-14)

    two = co.Basin.from_matrices([[0.7]], [[1.0]])  # G2
    exact = np.ravel(two.limit(0.05, 1).mean([1.0], [-2.0], 10))
    np.testing.assert_allclose(exact, [-0.349651193567, -1.740792304341], atol=1e-12)
    equation = np.ravel(two.limit(0.05, 1, time="continuous").mean([1.0], [-2.0], 10))
    np.testing.assert_allclose(equation, [-0.306366446885, -1.624491608772], atol=1e-12)

    h = np.array([4.0, 1.0, 0.1])  # G3
    three = co.Basin.from_matrices(np.diag(h), np.diag(0.3 * h)).limit(0.01, 1)
    np.testing.assert_allclose(
        three.displacement([1, 10, 1000]).mean, [8.124028478895e-4, 0.045055919747, 0.090405730775], rtol=1e-11
    )

    averaged = co.Basin.from_matrices([[0.7]], [[1.0]]).limit(0.05, 1, optimizer=fd.momentum(0.8))  # G5
    assert averaged.averaged(ema=0.95).ratio == pytest.approx(0.263099903984, abs=1e-12)
    assert averaged.averaged(tail=100).value == pytest.approx(0.020169372617, abs=1e-12)


def test_regimes_and_peaks():
    beta, eta = 0.81, 0.1
    edges = np.array([(1 - beta**0.5) ** 2, (1 + beta**0.5) ** 2])  # of ηh, where heavy ball oscillates
    damping = np.array([3.615, 1.0, edges[0], 0.005])
    basin = co.Basin.from_matrices(np.diag(damping / eta), np.eye(4))
    modes = basin.limit(eta, 1, optimizer=fd.momentum(beta)).modes
    assert modes.regime.tolist() == ["alternating", "underdamped", "critical", "overdamped"]
    np.testing.assert_allclose(modes.frequency[1], np.arccos((1 + beta - 1.0) / (2 * beta**0.5)))
    np.testing.assert_allclose(modes.radius[1], beta**0.5)
    frequencies = np.linspace(0, np.pi, 100001)
    peak = frequencies[basin.limit(eta, 1, optimizer=fd.momentum(beta)).spectrum(frequencies).argmax(axis=0)]
    np.testing.assert_allclose(np.cos(peak[1:]), 1 - damping[1:] / (2 * beta**0.5), atol=1e-4)
    nesterov = co.Basin.from_matrices(np.diag(np.array([0.99, 0.5, 0.01]) / eta), np.eye(3))
    regimes = nesterov.limit(eta, 1, optimizer=fd.momentum(beta, nesterov=True)).modes.regime
    assert regimes.tolist() == ["underdamped", "underdamped", "overdamped"]


def test_exponents_from_stationarity_stay_below_their_bound():
    rng = np.random.default_rng(0)
    beta = 0.8
    for _ in range(4):
        h = 10 ** rng.uniform(-4, 0, size=6)
        d = co.Basin.from_matrices(np.diag(h), np.diag(rng.uniform(size=6))).limit(0.2, 1, optimizer=fd.momentum(beta))
        for k in (50, 200):
            assert d.exponent((k, 2 * k)) <= k / (k - 2 * beta / (1 - beta**2))
    lags = np.arange(10, 31, 5)
    slope = np.polyfit(np.log(lags), np.log(d.displacement(lags).mean), 1)[0]
    assert d.exponent((10, 30), every=5) == pytest.approx(slope)


def test_weight_decay_moves_the_minimum():
    h, s, rng = matrices(6, p=3)
    theta, decay = rng.normal(size=3), 0.3
    d = co.Basin.from_matrices(h, s, minimum=theta).limit(0.05, 1, weight_decay=decay)
    np.testing.assert_allclose(d.minimum, linalg.solve(h + decay * np.eye(3), h @ theta), rtol=1e-12)
    np.testing.assert_allclose(d.mean(theta, np.zeros(3), 3000)[0], d.minimum, rtol=1e-9)
    plain = co.Basin.from_matrices(h + decay * np.eye(3), s).limit(0.05, 1)
    assert d.excess_loss().value == pytest.approx(plain.excess_loss().value, rel=1e-12)


def test_subspaces_are_the_sharpest_directions():
    h, s, _ = matrices(8)
    basin = co.Basin.from_matrices(h, s)
    d = basin.limit(0.05, 2, subspace=2)
    vectors = np.linalg.eigh(h)[1][:, ::-1][:, :2]
    whole = basin.limit(0.05, 2).covariance()[:5, :5]
    assert d.position_variance().value == pytest.approx(np.trace(vectors.T @ whole @ vectors), rel=1e-10)
    assert d.covariance().shape == (4, 4)
    np.testing.assert_allclose(d.covariance()[:2, :2], d.basin.vectors[:2] @ whole @ d.basin.vectors[:2].T, atol=1e-12)
    assert basin.limit(0.05, 2).mixing_steps(1e-3) >= d.mixing_steps(1e-3) > 0
