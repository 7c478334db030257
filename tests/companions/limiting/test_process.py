"""Ornstein–Uhlenbeck processes and the paper's equation against matrix exponentials, quadrature and residuals."""

import jax
import numpy as np
import pytest
from scipy import integrate, linalg

import feyngd as fd
from feyngd.companions import limiting as co


def stable(seed, n=4):
    rng = np.random.default_rng(seed)
    drift, root = rng.normal(size=(n, n)), rng.normal(size=(n, n - 1))
    drift += (1 - np.linalg.eigvals(drift).real.min()) * np.eye(n)
    return drift, root @ root.T, rng


@pytest.mark.parametrize("seed", range(3))
def test_moments_against_exponentials_and_quadrature(seed):
    drift, diffusion, rng = stable(seed)
    process = co.OrnsteinUhlenbeck(drift, diffusion, kappa=2.5, mean=rng.normal(size=4))
    start, time = rng.normal(size=4), 0.7
    flow = linalg.expm(-drift * time)
    np.testing.assert_allclose(process.mean_at(start, time), process.mean + flow @ (start - process.mean), rtol=1e-12)

    def noise(t):
        away = linalg.expm(-drift * t)
        return (2 / 2.5 * away @ diffusion @ away.T).ravel()

    width = integrate.quad_vec(noise, 0, time, epsrel=1e-11)[0].reshape(4, 4)
    np.testing.assert_allclose(process.covariance_at(time), width, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(process.cross_covariance(time, 1.1), width @ linalg.expm(-drift * 0.4).T, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_decomposition_and_current_leave_no_residual(seed):
    drift, diffusion, rng = stable(seed)
    process = co.OrnsteinUhlenbeck(drift, diffusion, kappa=1.7)
    a, d, q, u, _ = process.decomposition()
    scale = np.abs(a).max()
    assert np.abs((d + q) @ u - a).max() < 1e-12 * scale * max(1, np.linalg.cond(u) / 100)
    assert np.abs(q + q.T).max() == 0
    np.testing.assert_allclose(a @ q + q @ a.T, a @ d - d @ a.T, atol=1e-12 * scale**2 * max(1, np.abs(q).max()))
    # The current of the density p: J = fp − κ⁻¹D∇p with ∇p = −κ∇Ψ p.
    x = rng.normal(size=4)
    np.testing.assert_allclose(process.current(x), -a @ x + d @ u @ x, atol=1e-9 * scale * np.abs(u).max())
    assert process.modified_loss(x) == pytest.approx(x @ u @ x / 2)


def test_given_numbers_of_appendix_h4():
    # Eigenvalues 4 along (−1, 1) and 1 along (1, 1).
    drift = np.array([[2.5, -1.5], [-1.5, 2.5]])
    process = co.OrnsteinUhlenbeck(drift, np.diag([4.0, 1.0]), mean=np.linalg.solve(drift, [-0.1, 0.05]))
    np.testing.assert_allclose(process.mean, [-0.04375, -0.00625], rtol=1e-13)
    np.testing.assert_allclose(process.decomposition().Q, [[0, 0.9], [-0.9, 0]], atol=1e-13)
    np.testing.assert_allclose(process.stationary_covariance(), [[2.1625, 0.9375], [0.9375, 0.9625]], rtol=1e-13)


def test_free_energy_falls_to_zero_and_is_the_divergence():
    drift, diffusion, rng = stable(7, 2)
    process = co.OrnsteinUhlenbeck(drift, diffusion, kappa=3.0)
    start, width = rng.normal(size=2), np.diag([0.3, 0.1])
    energies = [process.free_energy(t, start, width) for t in (0.0, 0.2, 0.5, 1.0, 3.0, 20.0)]
    assert np.all(np.diff(energies) < 0)
    assert energies[-1] == pytest.approx(0, abs=1e-12)
    assert process.free_energy(0.0, start) == np.inf
    # By quadrature at time 0.2.
    mean, cov = process.mean_at(start, 0.2), process.covariance_at(0.2, width)
    inverse, root = np.linalg.inv(cov), np.linalg.cholesky(cov)
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    points = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    weight = np.outer(weights, weights).ravel() / (2 * np.pi)
    at = mean + points @ root.T
    own = -0.5 * np.einsum("ni,ij,nj->n", at - mean, inverse, at - mean) - 0.5 * np.log(np.linalg.det(2 * np.pi * cov))
    other = [np.log(process.density(x)) for x in at]
    assert energies[1] == pytest.approx(weight @ (own - other) / 3.0, rel=1e-9)


def test_paths_have_the_moments_of_the_process():
    drift, diffusion, _ = stable(9, 2)
    process = co.OrnsteinUhlenbeck(drift, diffusion)
    paths = process.sample(np.ones(2), [0.3, 0.8], runs=20000, key=jax.random.key(0))
    assert paths.shape == (20000, 2, 2)
    for i, time in enumerate((0.3, 0.8)):
        width = process.covariance_at(time)
        error = np.sqrt(np.diag(width) / 20000)
        assert np.all(np.abs(paths[:, i].mean(axis=0) - process.mean_at(np.ones(2), time)) < 4 * error)
    cross = (paths[:, 0] - paths[:, 0].mean(axis=0)).T @ (paths[:, 1] - paths[:, 1].mean(axis=0)) / 20000
    scale = np.sqrt(np.outer(np.diag(process.covariance_at(0.3)), np.diag(process.covariance_at(0.8))))
    assert np.all(np.abs(cross - process.cross_covariance(0.3, 0.8)) < 4 * scale / 20000**0.5 * 1.5)
    np.testing.assert_array_equal(paths, process.sample(np.ones(2), [0.3, 0.8], runs=20000, key=jax.random.key(0)))


@pytest.mark.parametrize("beta", [0.6, 0.9, 0.99])
def test_the_equation_is_the_process_in_all_regimes(beta):
    eta = 0.05
    critical = (1 - beta) ** 2 / (2 * eta * (1 + beta))
    h = np.array([3.0, critical * (1 + 1e-9), critical, critical / 5, 1e-4])
    rng = np.random.default_rng(0)
    s = rng.normal(size=(5, 9))
    d = co.Basin.from_matrices(np.diag(h), s @ s.T / 9).limit(eta, 4, optimizer=fd.momentum(beta), time="continuous")
    process = d.process()
    assert process.kappa == pytest.approx(4 * (1 - beta**2))
    np.testing.assert_allclose(d.covariance(), process.stationary_covariance(), rtol=1e-6, atol=1e-9 * s.max())
    start = np.concatenate([rng.normal(size=5), rng.normal(size=5)])
    for k in (1, 30, 4000):
        mean = np.concatenate(d.mean(start[:5], start[5:], k))
        np.testing.assert_allclose(mean, process.mean_at(start, eta * k), atol=1e-9)
        scale = np.abs(process.covariance_at(eta * k)).max()
        np.testing.assert_allclose(d.covariance(k), process.covariance_at(eta * k), atol=1e-9 * scale)
        np.testing.assert_allclose(
            d.covariance(k, k + 5), process.cross_covariance(eta * k, eta * (k + 5)), atol=1e-9 * scale
        )
    # Speed and equipartition, for every noise.
    trace = d.basin.noise.trace
    assert d.speed().value == pytest.approx(eta**2 * trace / process.kappa)
    assert d.excess_loss().value == pytest.approx(eta * trace / (4 * 4 * (1 - beta)))
    assert d.kinetic_energy().value == pytest.approx(d.excess_loss().value)


def test_the_equation_is_the_limit_of_small_steps():
    h, s = np.diag([2.0, 0.5]), np.array([[1.0, 0.4], [0.4, 0.7]])
    basin = co.Basin.from_matrices(h, s)
    gaps = []
    for eta in (1e-2, 1e-3):
        exact, equation = (basin.limit(eta, 1, time=time).covariance()[:2, :2] for time in ("discrete", "continuous"))
        gaps.append(np.abs(exact / equation - 1).max())
    assert gaps[1] < gaps[0] / 5 < 0.01


def test_the_papers_closed_form_where_noise_commutes():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(3, 3))
    h = a @ a.T + np.eye(3)
    d = co.Basin.from_matrices(h, 0.3 * h + 0.1 * h @ h, minimum=[1.0, 2.0, 3.0]).limit(0.02, 2, time="continuous")
    closed, general = d.decomposition(), d.process().decomposition()
    for one, other in zip(closed[:4], general[:4], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10 * np.abs(other).max())
    theta, v = rng.normal(size=3), rng.normal(size=3)
    assert d.modified_loss(theta, v) == pytest.approx(d.process().modified_loss(np.append(theta, v)))
    of_theta, of_v = d.current(theta, v)
    np.testing.assert_allclose(of_theta, v, rtol=1e-10)
    np.testing.assert_allclose(of_v, -2 * h @ (theta - [1, 2, 3]) / (0.02 * 1.9), rtol=1e-9)
    turning = np.sort(np.linalg.eigvals(closed.Q @ closed.U).imag)[3:]
    np.testing.assert_allclose(turning, np.sort(np.sqrt(2 * np.linalg.eigvalsh(h) / (0.02 * 1.9))), rtol=1e-9)


def test_what_has_no_process_is_refused():
    with pytest.raises(fd.LandscapeError, match="least is -1"):
        co.OrnsteinUhlenbeck([[-1.0]], [[1.0]])
    with pytest.raises(fd.ArgumentError, match="no negative eigenvalue"):
        co.OrnsteinUhlenbeck([[1.0]], [[-1.0]])
    with pytest.raises(fd.ArgumentError, match="symmetric"):
        co.OrnsteinUhlenbeck(np.eye(2), [[1.0, 0.5], [0.0, 1.0]])
    with pytest.raises(fd.ArgumentError, match="one shape"):
        co.OrnsteinUhlenbeck(np.eye(2), [[1.0]])
    with pytest.raises(fd.LandscapeError, match="singular"):
        co.OrnsteinUhlenbeck(np.eye(2), np.diag([1.0, 0.0])).decomposition()
    process = co.OrnsteinUhlenbeck(np.eye(2), np.eye(2))
    with pytest.raises(fd.ArgumentError, match="at least time=2"):
        process.cross_covariance(2.0, 1.0)
    with pytest.raises(fd.ArgumentError, match="vector of 2"):
        process.mean_at([1.0], 1.0)
    with pytest.raises(fd.ArgumentError, match="A time"):
        process.covariance_at(float("nan"))
    with pytest.raises(fd.ArgumentError, match="do not fall"):
        process.sample([0.0, 0.0], [1.0, 0.5], key=jax.random.key(0))
    apart = co.Basin.from_matrices(np.diag([1.0, 2.0]), [[1.0, 0.5], [0.5, 1.0]])
    with pytest.raises(fd.LandscapeError, match="commutes"):
        apart.limit(0.01, 1, time="continuous").decomposition()
    with pytest.raises(fd.LandscapeError, match="noise in all directions"):
        co.Basin.from_matrices(np.eye(2), np.diag([1.0, 0])).limit(0.01, 1, time="continuous").decomposition()
    with pytest.raises(fd.ArgumentError, match="time='continuous'"):
        apart.limit(0.01, 1).process()
