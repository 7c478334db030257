"""Basins of landscapes: matrices and Krylov spaces, real runs, the cloud, eigenpairs and assumptions."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.companions import limiting as co
from feyngd.minima import minimum

KEY = jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def logistic(params, example):
    x, y = example
    score = jnp.dot(x, params["w"]) + params["b"]
    return jnp.log1p(jnp.exp(-y * score)) + 0.05 * (jnp.sum(params["w"] ** 2) + params["b"] ** 2)


@pytest.fixture(scope="module")
def problem():
    """Return a landscape of 60 examples and 6 parameters in the conditional reading, and its minimum."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5)) * [2.0, 1.0, 1.0, 0.7, 0.4]
    y = np.where(rng.uniform(size=60) < 1 / (1 + np.exp(-x @ rng.normal(size=5))), 1.0, -1.0)
    data = jnp.array(x), jnp.array(y)
    landscape = fd.Landscape(logistic, data, (data[0][:2], data[1][:2]), reading="conditional")
    start = {"w": jnp.zeros(5), "b": jnp.array(0.0)}
    return landscape, minimum(landscape, start, tolerance=1e-10, key=KEY).params


@pytest.fixture(scope="module")
def dense(problem):
    return co.basin(*problem, key=KEY)


def test_a_landscape_is_its_matrices(problem, dense):
    landscape, params = problem
    theta, loss = landscape.flatten(params)
    rows = np.asarray(jax.vmap(jax.grad(loss), in_axes=(None, 0))(theta, landscape.data))
    hessian = np.asarray(jax.hessian(lambda t: jnp.mean(jax.vmap(loss, in_axes=(None, 0))(t, landscape.data)))(theta))
    by_hand = co.Basin.from_matrices(hessian, np.cov(rows.T, bias=True), minimum=theta, num_examples=60)
    for sampling in ("with-replacement", "reshuffled", "fixed"):
        ours, theirs = (one.limit(0.05, 6, sampling=sampling) for one in (dense, by_hand))
        for name in ("speed", "excess_loss", "kinetic_energy", "position_variance"):
            assert getattr(ours, name)().value == pytest.approx(getattr(theirs, name)().value, rel=1e-8)
        np.testing.assert_allclose(ours.covariance(), theirs.covariance(), atol=1e-10)
    moved, v = ours.mean(params, jax.tree.map(jnp.ones_like, params), 5)
    assert jax.tree.structure(moved) == jax.tree.structure(params)
    flat, flat_v = theirs.mean(np.asarray(theta), np.ones(6), 5)
    np.testing.assert_allclose(np.append(moved["b"], moved["w"]), flat, atol=1e-9)
    np.testing.assert_allclose(np.append(v["b"], v["w"]), flat_v, atol=1e-9)
    np.testing.assert_allclose(dense.minimum["w"], params["w"], atol=1e-8)


def test_limits_need_no_jax_afterwards(dense, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("JAX was used")

    monkeypatch.setattr(jax, "jit", refuse)
    monkeypatch.setattr(jnp, "asarray", refuse)
    limit = dense.limit(0.01, 6, sampling="reshuffled", weight_decay=0.01)
    limit.speed(), limit.displacement([1, 10]), limit.averaged(ema=0.9), limit.modes, limit.covariance(3)


def test_krylov_spaces_find_the_same(problem, dense):
    exact = {time: dense.limit(0.05, 6, time=time) for time in ("discrete", "continuous")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampled = co.basin(*problem, method="lanczos", directions=2, num_samples=64, key=KEY)
    for time, expected in exact.items():
        limit = sampled.limit(0.05, 6, time=time)
        for name in ("speed", "excess_loss", "position_variance", "kinetic_energy"):
            found, value = getattr(limit, name)(), getattr(expected, name)().value
            assert abs(found.value - value) < 4 * found.stderr + 1e-9 * value, name
        # f(0) tr Σ is exact, so that the speed is far more precise than its share of the noise.
        assert limit.speed().stderr < 0.02 * limit.speed().value
        curve, exact_curve = limit.displacement([1, 20, 300]), expected.displacement([1, 20, 300])
        assert np.all(np.abs(curve.mean - exact_curve.mean) < 4 * curve.stderr + 1e-9)
    np.testing.assert_allclose(np.abs(sampled.vectors @ dense.vectors[:2].T), np.eye(2), atol=1e-4)
    np.testing.assert_allclose(limit.circulation(), expected.circulation()[:2, :2], atol=1e-6)
    whole = sampled.limit(0.05, 6, subspace=2)
    assert whole.position_variance().value == pytest.approx(
        dense.limit(0.05, 6, subspace=2).position_variance().value, rel=1e-4
    )
    with pytest.raises(fd.ArgumentError, match="needs all directions"):
        limit.displacement([3], start=(problem[1], problem[1]))


@pytest.mark.parametrize("sampling", ["with-replacement", "reshuffled"])
def test_real_runs_agree_with_the_cloud(problem, dense, sampling):
    landscape, params = problem
    found = co.trajectories(
        landscape, params, 0.05, 12, 6000, sampling=sampling, runs=24, burn_in=400, directions=dense.eigenpairs, key=KEY
    )
    limit = dense.limit(0.05, 12, sampling=sampling)
    averaged = limit.over_cloud(landscape, key=jax.random.key(1))
    assert found.compare(averaged).agree(relative=0.03), str(found.compare(averaged))
    gap = found.stationarity()
    assert abs(gap.value) < 0.01
    if sampling == "with-replacement":
        assert averaged.position_variance().value > limit.position_variance().value
        curvature = found.local_curvature(0)
        assert abs(curvature.value - dense.curvatures[0]) < 3 * curvature.stderr + 0.05 * dense.curvatures[0]
        turn = limit.modes.frequency[0]
        assert abs(found.dominant_frequency(0) - turn) < 0.2 * turn


def test_runs_from_afar_follow_the_mean():
    quadratic = fd.Landscape(
        lambda t, x: 0.5 * jnp.dot(t, jnp.array([2.0, 0.4]) * t) + jnp.dot(x, t), jnp.array([[1.0, 0], [-1.0, 0]])
    )
    limit = co.basin(quadratic, jnp.zeros(2), key=KEY).limit(0.1, 1, optimizer=fd.momentum(0.8, nesterov=True))
    start, v = np.array([3.0, -2.0]), np.array([0.5, 1.0])
    found = co.trajectories(
        quadratic,
        jnp.array(start),
        0.1,
        1,
        30,
        optimizer=fd.momentum(0.8, nesterov=True),
        directions=np.eye(2),
        velocity=v,
        runs=400,
        key=KEY,
    )
    mean = limit.mean(start, v, 30)[0]
    assert found.positions[:, -1, 1] + start[1] == pytest.approx(mean[1], abs=1e-10)  # no noise there
    error = np.sqrt(limit.covariance(30)[0, 0] / 400)
    assert abs(found.positions[:, -1, 0].mean() + start[0] - mean[0]) < 4 * error
    curve = limit.displacement([30], start=(start, v))
    assert found.displacement[:, -1].mean() == pytest.approx(curve.mean[0], rel=0.05)


def test_trajectories_from_checkpoints():
    walk = np.cumsum(np.random.default_rng(0).normal(size=(40, 300, 3)), axis=1)
    found = co.Trajectories.from_arrays(walk, every=5)
    exponent = found.fit_exponent((50, 1000))
    assert abs(exponent.value - 1) < 4 * exponent.stderr
    assert found.speed is None
    with pytest.raises(fd.ArgumentError, match="single steps"):
        found.mean_speed()
    with pytest.raises(fd.ArgumentError, match="at least 3"):
        found.fit_exponent((50, 56))
    assert co.Trajectories.from_arrays(walk[0]).fit_exponent((5, 100)).stderr is None
    time = np.arange(512)
    wave = np.stack([np.cos(0.37 * time), np.sin(0.11 * time)], axis=1)
    turning = co.Trajectories.from_arrays(wave)
    assert turning.dominant_frequency(0) == pytest.approx(0.37, abs=0.003)
    assert turning.dominant_frequency(1) == pytest.approx(0.11, abs=0.003)


@pytest.mark.parametrize("method", ["lanczos", "subspace"])
def test_top_eigenpairs_are_those_of_the_matrix(problem, dense, method):
    found = co.top_eigenpairs(*problem, 2, method=method, tol=1e-6, key=KEY)
    np.testing.assert_allclose(found.values, dense.curvatures[:2], rtol=1e-6)
    np.testing.assert_allclose(np.abs(found.vectors @ dense.vectors[:2].T), np.eye(2), atol=1e-4)
    assert found.residuals.max() < 1e-5
    assert found.as_params(0)["w"].shape == (5,)
    with pytest.warns(fd.PrecisionWarning, match="residuals"):
        co.top_eigenpairs(*problem, 2, method="subspace", tol=1e-12, max_products=4, key=KEY)


def test_assumptions_are_measured(problem, dense):
    every = dense.limit(0.05, 6, sampling="reshuffled").assumptions()
    assert not every["A1 independent batches"].holds
    assert every["A2 small steps"].measured == pytest.approx(0.05 * dense.curvatures[0])
    ratio = dense.limit(0.05, 6).modes  # of the exact variance to that of the equation, where it is largest
    top = ratio.curvature[0]
    assert every["A2 continuous time"].measured == pytest.approx(1 / (1 - 0.05 * top / 3.8))
    assert every["A4 strict minimum"].holds
    assert every["A4 at the minimum"].holds
    assert dense.assumptions()["A2 small steps"].holds is None
    commuting = co.Basin.from_matrices(np.diag([3.0, 2.0, 1.0]), np.diag([3.0, 2.0, 1.0])).assumptions()
    assert commuting["A3 noise and curvature commute"].measured == 0
    assert commuting["A5 noise in proportion to curvature, power"].measured == pytest.approx(0, abs=1e-12)
    assert (
        not co.Basin.from_matrices(np.diag([3.0, 1.0]), [[1.0, 0.9], [0.9, 1.0]])
        .assumptions()["A3 noise and curvature commute"]
        .holds
    )
    flat = co.Basin.from_matrices(np.diag([1.0, 0.0]), np.eye(2)).assumptions()
    assert not flat["A4 strict minimum"].holds


def test_truncation_grows_with_the_cloud(dense):
    small, large = (dense.limit(eta, 6).truncation for eta in (0.01, 0.1))
    assert 0 < small < large
    assert dense.limit(0.1, 6).speed().truncation == large
    with pytest.warns(fd.TruncationWarning, match="over_cloud"):
        dense.limit(0.8, 1).speed()


def test_bad_points_and_readings_are_refused(problem):
    landscape, params = problem
    away = jax.tree.map(lambda leaf: leaf + 1, params)
    basin = co.basin(landscape, away, key=KEY)
    with pytest.raises(fd.LandscapeError, match=r"Not near a minimum: \|g\|² is"):
        basin.limit(0.05, 6)
    unbiased = fd.Landscape(logistic, landscape.data, reading="unbiased")
    with pytest.raises(fd.ArgumentError, match="unbiased reading"):
        co.basin(unbiased, params, key=KEY)
    population = co.basin(fd.Landscape(logistic, landscape.data), params, key=KEY)
    assert population.limit(0.05, 100).speed().value > 0  # fresh draws: any batch size
    with pytest.raises(fd.ArgumentError, match="population reading every batch is fresh"):
        population.limit(0.05, 6, sampling="reshuffled")
    with pytest.raises(fd.ArgumentError, match="more than the 6 parameters"):
        co.basin(landscape, params, directions=7, key=KEY)
    with pytest.raises(fd.ArgumentError, match="Unknown method"):
        co.basin(landscape, params, method="krylov", key=KEY)
    with pytest.raises(fd.ArgumentError, match=r"key=jax\.random\.key"):
        co.basin(landscape, params, key=0)
    with pytest.raises(fd.ArgumentError, match="at most that many"):
        co.top_eigenpairs(landscape, params, 7, key=KEY)
    wide = fd.Landscape(lambda t, x: 0.5 * jnp.sum((t - x) ** 2), jnp.zeros((2, 1501)))
    with pytest.raises(fd.ArgumentError, match="up to 1,500 parameters"):
        co.basin(wide, jnp.zeros(1501), method="dense", key=KEY)
    with pytest.raises(fd.ArgumentError, match="drop_last=True"):
        co.trajectories(landscape, params, 0.05, 7, 10, sampling="reshuffled", key=KEY)
    with pytest.raises(fd.ArgumentError, match="has 6 finite numbers"):
        co.trajectories(landscape, params, 0.05, 6, 10, velocity=jnp.ones(3), key=KEY)
    with pytest.raises(fd.LandscapeError, match="left the finite numbers"):
        co.trajectories(landscape, params, 400.0, 1, 4000, key=KEY)


@pytest.fixture(scope="module")
def digits():
    """Return softmax regression on digits whose pixels are averaged in squares, 170 parameters, and its basin."""
    images, labels = fd.landscapes.digits(400)
    pixels = np.asarray(images, dtype=float).reshape(400, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(400, 16)

    def loss(params, example):
        scores = example[0] @ params["W"] + params["b"]
        penalty = 0.01 * (jnp.sum(params["W"] ** 2) + jnp.sum(params["b"] ** 2))
        return jax.nn.logsumexp(scores) - scores[example[1]] + penalty

    data = pixels, np.asarray(labels)
    landscape = fd.Landscape(loss, data, tuple(part[:10] for part in data), reading="conditional")
    params = minimum(landscape, {"W": jnp.zeros((16, 10)), "b": jnp.zeros(10)}, tolerance=1e-9, key=KEY).params
    return landscape, params, co.basin(landscape, params, key=KEY)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["with-replacement", "reshuffled"])
def test_digits_with_momentum_settle_as_predicted(digits, sampling):
    """As benchmarks/limiting.py, which has 650 parameters."""
    landscape, params, basin = digits
    averaged = basin.limit(0.05, 20, sampling=sampling).over_cloud(landscape, key=KEY)
    found = co.trajectories(landscape, params, 0.05, 20, 2000, sampling=sampling, runs=24, burn_in=500, key=KEY)
    assert found.compare(averaged).agree(relative=0.03), str(found.compare(averaged))
