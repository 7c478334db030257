"""Fluctuations that last, from re-summed diagrams, against Lyapunov equations and closed forms."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import solve_discrete_lyapunov

import feyngd as fd
from feyngd.series import ResummedSeries

PAIR = fd.Diagram.parse("[a a]")
shares = st.floats(0.05, 0.9)


def random_quadratic(seed, size=3):
    """Curvatures and a covariance of gradients that does not commute with the Hessian."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size))
    return rng.uniform(0.2, 2.0, size), root @ root.T


def by_lyapunov(optimizer, rate, h, noise):
    """Return the covariances of θ and of the steps, from the update of θ and velocity, all directions together."""
    size, beta, one = len(h), float(optimizer.beta), np.eye(len(h))
    # heavy ball: θ ← θ − η u_new; Nesterov: θ ← θ − η (g + β u_new); u_new = β u + g, g = h θ + ξ
    of_gradient, of_velocity = (1, beta) if optimizer.nesterov else (0, 1)
    moved = rate * np.block([[-(of_gradient + of_velocity) * np.diag(h), -of_velocity * beta * one]])
    matrix = np.block([[one + moved[:, :size], moved[:, size:]], [np.diag(h), beta * one]])
    kicked = np.vstack([-rate * (of_gradient + of_velocity) * one, one])
    state = solve_discrete_lyapunov(matrix, kicked @ noise @ kicked.T, method="direct")
    return state[:size, :size], moved @ state @ moved.T + kicked[:size] @ noise @ kicked[:size].T


@settings(max_examples=15)
@given(seed=st.integers(0, 100), beta=shares, nesterov=st.booleans(), share=shares)
def test_the_diagram_settles_at_the_solution_of_lyapunovs_equation(seed, beta, nesterov, share):
    optimizer = fd.momentum(beta, nesterov=nesterov)
    h, noise = random_quadratic(seed)
    rate = share * fd.optimizers.stable_damping(optimizer) / h.max()
    covariance, speed = by_lyapunov(optimizer, rate, h, noise)
    endless = ResummedSeries("test_loss", 2, fd.Spacetime.sgd(2**40), optimizer=optimizer)  # one epoch of fresh points
    pair = 2 * endless.coefficient(PAIR, [h[:, None], h[None, :]], rate)
    found = fd.stationary_noise(h, noise, rate, optimizer=optimizer)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(pair * noise / scale, covariance / scale, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.covariance / scale, covariance / scale, rtol=1e-10, atol=1e-10)
    scale = np.sqrt(np.outer(np.diag(speed), np.diag(speed)))
    np.testing.assert_allclose(found.speed / scale, speed / scale, rtol=1e-10, atol=1e-10)


def test_the_speed_is_that_of_the_mean_of_the_last_two_iterates():
    """A step is θ − θ', so that E δδ' = 4 (Cov θ − Cov of their mean)."""
    optimizer, (h, noise) = fd.momentum(0.5), random_quadratic(1)
    tail = ResummedSeries("test_loss", 2, fd.Spacetime.sgd(400), optimizer=fd.averaged(optimizer, tail=2))
    found = fd.stationary_noise(h, noise, 0.2, optimizer=optimizer)
    mean = 2 * tail.coefficient(PAIR, [h[:, None], h[None, :]], 0.2) * noise
    np.testing.assert_allclose(4 * (found.covariance - mean), found.speed, rtol=1e-10)


@settings(max_examples=40)
@given(seed=st.integers(0, 100), beta=shares, share=shares, rho=shares)
def test_closed_forms_of_heavy_ball_nesterov_and_averages(seed, beta, share, rho):
    h, noise = random_quadratic(seed)
    s, eta, a = np.diag(noise), share * 2 * (1 + beta) / h.max(), h[:, None] + h[None, :]
    found = fd.stationary_noise(h, noise, eta, optimizer=fd.momentum(beta))
    den = (1 - beta) ** 2 * ((1 + beta) * a - eta * np.outer(h, h)) + beta * eta * (h[:, None] - h) ** 2
    np.testing.assert_allclose(found.covariance, eta * (1 - beta**2) * noise / den, rtol=1e-9)
    np.testing.assert_allclose(found.speed, eta**2 * (1 - beta) * a * noise / den, rtol=1e-9)
    averaged = fd.stationary_noise(h, noise, eta, optimizer=fd.averaged(fd.momentum(beta), ema=rho))
    above = (1 - rho) * (1 + rho + beta * (1 - rho**2) - beta**2 * rho * (1 + rho) - eta * h * rho * (1 - beta))
    ratio = above / ((1 + beta) * (1 + rho) * ((1 - rho) * (1 - beta * rho) + eta * h * rho))
    np.testing.assert_allclose(np.diag(averaged.covariance), ratio * np.diag(found.covariance), rtol=1e-9)
    eta = share * 2 * (1 + beta) / (1 + 2 * beta) / h.max()
    found = fd.stationary_noise(h, noise, eta, optimizer=fd.momentum(beta, nesterov=True))
    D = (1 - beta + beta * eta * h) * (2 * (1 + beta) - (1 + 2 * beta) * eta * h)
    spread = eta * s * (1 + beta + beta * (1 + 2 * beta) * eta * h) / (h * D)
    speed = 2 * eta**2 * s * (1 + 2 * beta - 2 * beta**3 + beta * eta * h * (1 + 3 * beta + 2 * beta**2)) / D
    np.testing.assert_allclose(np.diag(found.covariance), spread, rtol=1e-9)
    np.testing.assert_allclose(np.diag(found.speed), speed, rtol=1e-9)


@pytest.mark.parametrize(("N", "B", "E", "drop_last"), [(12, 3, 3000, None), (14, 3, 3000, True)])
@pytest.mark.parametrize("nesterov", [False, True])
def test_ends_of_reshuffled_epochs_have_their_covariance(N, B, E, drop_last, nesterov):
    """Within an epoch batches are anticorrelated; training sets of N points add what their minima spread."""
    h, eta, beta = np.array([0.3, 1.1]), 0.2, 0.6
    optimizer = fd.momentum(beta, nesterov=nesterov)
    step = fd.optimizers.companion(optimizer, eta * h)
    a, b, steps = (N - B) / (B * (N - 1)), -1 / (N - 1), N // B
    ends = []
    for i, j in ((0, 0), (0, 1), (1, 1)):
        powers = [[np.linalg.matrix_power(step.matrix[k], n) for n in range(steps + 1)] for k in (i, j)]
        kicks = [np.array([power @ step.source for power in powers[k][:steps]]) for k in (0, 1)]
        noise = (a - b) * kicks[0].T @ kicks[1] + b * np.outer(kicks[0].sum(axis=0), kicks[1].sum(axis=0))
        pair = np.kron(powers[0][steps], powers[1][steps])
        ends.append(eta**2 * np.linalg.solve(np.eye(len(pair)) - pair, noise.ravel())[0])
    expected = (
        np.array([ends[0], ends[1], ends[2]]) * (N - 1) / N + np.array([h[0] ** -2, 1 / np.prod(h), h[1] ** -2]) / N
    )
    series = ResummedSeries("test_loss", 2, fd.Spacetime.sgd(N, B, E, drop_last=drop_last), optimizer=optimizer)
    found = [2 * float(series.coefficient(PAIR, [h[i], h[j]], eta)) for i, j in ((0, 0), (0, 1), (1, 1))]
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_what_does_not_settle_is_refused():
    one = np.eye(1)
    for h, rate, optimizer in (
        ([0.0], 0.1, fd.sgd()),
        ([1.0], 2.0, fd.sgd()),
        ([1.0], 1.5, fd.momentum(0.5, nesterov=True)),
    ):
        with pytest.raises(fd.LandscapeError, match="Noise settles where curvatures are above 0 and below"):
            fd.stationary_noise(h, one, rate, optimizer=optimizer)
    for optimizer, message in (
        (fd.schedule([1, 0.5]), "differ"),
        (fd.schedule(lambda t: 1.0), "differ"),
        (fd.averaged(fd.sgd(), tail=2), "only exponential ones settle"),
        (fd.preconditioned(fd.sgd(), [2.0]), "metric"),
        (fd.momentum(sympy.Symbol("beta")), "has the symbols beta"),
    ):
        with pytest.raises(fd.ArgumentError, match=message):
            fd.stationary_noise([1.0], one, 0.1, optimizer=optimizer)
    with pytest.raises(fd.ArgumentError, match="shape"):
        fd.stationary_noise([1.0, 2.0], one, 0.1)
    with pytest.raises(fd.ArgumentError, match="symmetric"):
        fd.stationary_noise([1.0, 2.0], [[1.0, 0.5], [0.0, 1.0]], 0.1)


@settings(max_examples=60)
@given(beta=shares, nesterov=st.booleans(), dampening=st.floats(0, 0.9), share=st.floats(0.01, 1.5))
def test_bounds_are_where_the_spectral_radius_passes_one(beta, nesterov, dampening, share):
    optimizer = fd.momentum(beta, nesterov=nesterov, dampening=0 if nesterov else dampening)
    if abs(share - 1) > 1e-6:
        damping = share * fd.optimizers.stable_damping(optimizer)
        radius = np.abs(np.linalg.eigvals(fd.optimizers.companion(optimizer, damping).matrix)).max()
        assert (radius < 1) == (share < 1)
