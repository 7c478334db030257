"""Re-summed predictions near a minimum: exact on quadratics, and honest about what they leave out elsewhere."""

import itertools
import json
import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import feyngd as fd
from feyngd.landscapes import cross_entropy, digits, tanh_mlp, toys
from feyngd.minima._near_minimum import _relaxation, _spread
from feyngd.series import ResummedSeries

KEY = jax.random.key(2)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def quadratic_loss(theta, example):
    x, hessian = example
    return 0.5 * theta @ hessian @ theta + x @ theta


@cache
def quadratic(spectrum, seed):
    """A quadratic with noise that does not commute with its Hessian, and its C and H; the minimum is 0."""
    rng = np.random.default_rng(seed)
    p, examples = len(spectrum), 7
    turn = np.linalg.qr(rng.normal(size=(p, p)))[0]
    hessian = turn @ np.diag(spectrum) @ turn.T
    hessian = (hessian + hessian.T) / 2
    noise = rng.normal(size=(examples, p)) ** 3
    noise -= noise.mean(axis=0)
    landscape = fd.Landscape(quadratic_loss, (noise, np.repeat(hessian[None], examples, axis=0)))
    return landscape, noise.T @ noise / examples, hessian


def weights(spacetime):
    """W(s, t), the expected sum over datapoints of their shares in two steps, as theory has it."""
    N, B, T = int(spacetime.N), int(spacetime.B), int(spacetime.T)
    same = np.eye(T, dtype=bool)
    epoch = np.arange(T) // (N // B)
    if spacetime.sampling == "full-batch":
        return np.full((T, T), 1 / N)
    if spacetime.sampling == "with-replacement":
        return np.where(same, 1 / B + (B - 1) / (B * N), 1 / N)
    if spacetime.sampling == "fixed":
        return np.where((np.arange(T)[:, None] - np.arange(T)) % (N // B) == 0, 1 / B, 0.0)
    return np.where(same, 1 / B, np.where(epoch[:, None] == epoch, 0.0, 1 / N))


def by_recursion(spacetime, rate, hessian, noise, gradient):
    """The expected loss over that at the start, and the gap, on a quadratic: sums over steps of powers of 1 − ηH."""
    T = int(spacetime.T)
    powers = [rate * np.linalg.matrix_power(np.eye(len(hessian)) - rate * hessian, T - 1 - t) for t in range(T)]
    W = weights(spacetime)
    spread = sum(W[s, t] * powers[s] @ noise @ powers[t] for s in range(T) for t in range(T))
    end = -sum(powers) @ gradient
    gap = sum(np.trace(power @ noise) for power in powers) / int(spacetime.N)
    return gradient @ end + end @ hessian @ end / 2, np.trace(hessian @ spread) / 2, gap


spacetimes = st.one_of(
    st.builds(lambda n, t: fd.Spacetime.gd(n, t), st.integers(1, 5), st.integers(1, 6)),
    st.builds(
        lambda b, m, e, sampling: fd.Spacetime.sgd(b * m, b, e, sampling=sampling),
        st.integers(1, 3),
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from(["reshuffled", "fixed", "with-replacement"]),
    ),
)


@settings(max_examples=40)
@given(
    spectrum=st.sampled_from([(0.5, 2.0), (0.0, 1.0, 1.0), (3.0,), (-0.2, 0.0, 0.7)]),
    spacetime=spacetimes,
    rate=st.floats(0.01, 0.4),
    off=st.sampled_from([0.0, 0.3]),
)
def test_exact_on_quadratics(spectrum, spacetime, rate, off):
    landscape, noise, hessian = quadratic(spectrum, 0)
    params = off * jnp.arange(1.0, len(spectrum) + 1)
    drift, added, gap = by_recursion(spacetime, rate, hessian, noise, hessian @ np.asarray(params))
    start = float(landscape.mean_loss(params))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.TruncationWarning)
        near = at(spectrum, off)
        test, train, difference = (
            near.predict(spacetime, rate, quantity=name) for name in ("test_loss", "train_loss", "gap")
        )
    assert test.noise == pytest.approx(added, rel=1e-9, abs=1e-12)
    assert test.noiseless == pytest.approx(drift, rel=1e-9, abs=1e-12)
    assert test.mean == pytest.approx(start + drift + added, rel=1e-9, abs=1e-12)
    assert difference.mean == pytest.approx(gap, rel=1e-9, abs=1e-12)
    assert train.mean == pytest.approx(start + drift + added - gap, rel=1e-9, abs=1e-12)
    assert test.stderr == 0
    assert test.truncation == pytest.approx(0, abs=1e-9 * (1 + added))


@cache
def at(spectrum, off, method="auto", samples=16):
    landscape, _, _ = quadratic(spectrum, 0)
    params = off * jnp.arange(1.0, len(spectrum) + 1)
    return fd.near_minimum(landscape, params, method=method, num_samples=samples, key=KEY)


@pytest.mark.parametrize("quantity", ["test_loss", "gap"])
def test_lanczos_covers_the_exact_value(quantity):
    spacetime, spectrum = fd.Spacetime.sgd(20, 2, 2), (0.1, 0.5, 1.0, 2.0)
    exact = at(spectrum, 0.0).predict(spacetime, [0.1, 0.3], quantity=quantity)
    sampled = at(spectrum, 0.0, "lanczos", 200).predict(spacetime, [0.1, 0.3], quantity=quantity)
    assert sampled.replicates.shape == (200, 2)
    np.testing.assert_array_less(0, sampled.stderr)
    np.testing.assert_array_less(np.abs(sampled.mean - exact.mean), 4 * sampled.stderr)
    np.testing.assert_array_less(sampled.stderr, 0.2 * exact.noise)


def by_enumeration(landscape, params, spacetime, rate):
    """The expected loss of vanilla SGD by all sequences of examples."""
    gradient, loss = jax.grad(landscape.loss), landscape.loss

    @jax.jit
    @jax.vmap
    def end(indices):
        def step(theta, i):
            return theta - rate * gradient(theta, landscape.data[i]), None

        theta = jax.lax.scan(step, params, indices)[0]
        return jnp.mean(jax.vmap(loss, in_axes=(None, 0))(theta, landscape.data))

    count = landscape.num_examples
    sequences = np.array(list(itertools.product(range(count), repeat=int(spacetime.T))))
    return float(jnp.mean(end(jnp.asarray(sequences))))


@settings(max_examples=6)
@given(toy=st.sampled_from(["cosh", "gauss fit", "skewed"]), rate=st.floats(0.1, 0.5), steps=st.sampled_from([3, 6]))
@pytest.mark.slow
def test_the_truncation_figure_is_of_the_size_of_what_is_left_out(toy, rate, steps):
    x = {"cosh": [-1.0, 1.0], "gauss fit": [-1.5, -0.5, 0.5, 1.5], "skewed": [-1.0, -1.0, 2.0]}[toy]
    x = np.array(x) / np.std(x)
    landscape, params = toys.gauss_fit(x=x) if toy == "gauss fit" else toys.cosh(x=x)
    spacetime = fd.Spacetime.sgd(steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.TruncationWarning)
        found = fd.near_minimum(landscape, params, num_samples=64, key=KEY).predict(spacetime, rate)
    missing = abs(by_enumeration(landscape, params, spacetime, rate) - found.mean[0])
    assert missing <= 3 * found.truncation[0]
    assert found.truncation[0] <= 30 * missing + 0.1 * found.noise[0]


@pytest.fixture(scope="module")
def small_network():
    with jax.enable_x64(True):
        images, labels = digits(120)
        images = images.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
        model = tanh_mlp((4, 4), 10, (4,))
        plain = cross_entropy(model)

        def loss(params, example):
            return plain(params, example) + 0.01 * sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

        landscape = fd.Landscape(loss, (images, labels))
        params = jax.tree.map(lambda leaf: leaf.astype(float), model.init(jax.random.key(0)))

        @jax.jit
        def descend(params):
            def step(_, carry):
                params, speed = carry
                slope = jax.grad(landscape.mean_loss)(params)
                speed = jax.tree.map(lambda v, g: 0.95 * v - 0.2 * g, speed, slope)
                return jax.tree.map(jnp.add, params, speed), speed

            return jax.lax.fori_loop(0, 3000, step, (params, jax.tree.map(jnp.zeros_like, params)))[0]

        return landscape, descend(params)


@pytest.mark.slow
def test_a_trained_network_far_beyond_the_plain_series(small_network):
    landscape, params = small_network
    spacetime, rates = fd.Spacetime.sgd(400, 40, 10), [0.05, 0.1]
    near = fd.near_minimum(landscape, params, key=KEY)
    assert rates[0] * 100 * near.point.curvatures[1] > 5
    for quantity in ("test_loss", "gap"):
        prediction = near.predict(spacetime, rates, quantity=quantity)
        assert prediction.converged.all()
        simulation = fd.simulate(landscape, params, spacetime, rates, quantity=quantity, runs=300, key=KEY)
        found = fd.compare(prediction, simulation)
        assert found.agrees.all(), str(found)
        np.testing.assert_array_less(found.allowed, 0.2 * prediction.noise)
    with pytest.warns(fd.TruncationWarning):
        plain = fd.predict(landscape, params, spacetime, rates, quantity="gap", order=2, key=KEY)
    np.testing.assert_array_less(simulation.mean, np.abs(plain.mean - simulation.mean))


@pytest.mark.slow
def test_both_methods_agree_on_a_network(small_network):
    landscape, params = small_network
    spacetime, rates = fd.Spacetime.sgd(400, 40, 10), [0.02, 0.1]
    exact = fd.near_minimum(landscape, params, key=KEY).predict(spacetime, rates)
    sampled = fd.near_minimum(landscape, params, method="lanczos", num_samples=40, key=KEY).predict(spacetime, rates)
    np.testing.assert_array_less(np.abs(sampled.mean - exact.mean), 4 * sampled.stderr)
    np.testing.assert_allclose(sampled.truncation, exact.truncation, rtol=0.8)


def test_comparisons_are_printed_drawn_and_kept():
    landscape, params = toys.cosh()
    near = fd.near_minimum(landscape, params, key=KEY)
    spacetime, rates = fd.Spacetime.sgd(40), [0.1, 0.2]
    simulation = fd.simulate(landscape, params, spacetime, rates, runs=200, key=KEY)
    found = fd.compare(near.predict(spacetime, rates), simulation)
    assert "re-summed" in str(found)
    assert found.passed
    record = json.loads(json.dumps(found.to_dict()))
    assert record["prediction"]["resummed"] is True
    assert record["prediction"]["mean"] == pytest.approx(found.prediction.mean)
    ax = found.plot()
    assert ax.get_xlabel() == "learning rate η"
    assert "1 parameters" in repr(near)
    with pytest.raises(fd.ArgumentError, match="spacetime"):
        fd.compare(near.predict(fd.Spacetime.sgd(41), rates), simulation)


@pytest.mark.parametrize("examples", [10, 300])
@pytest.mark.parametrize("method", ["dense", "lanczos"])
@pytest.mark.parametrize("double", [False, True])
def test_a_truncation_that_is_rounding_noise_is_zero(double, method, examples):
    """A quadratic has no higher orders, whatever single or double precision makes of differences that are zero."""
    with jax.enable_x64(double):
        noise = np.random.default_rng(0).normal(size=examples).astype(float if double else np.float32)
        landscape = fd.Landscape(lambda theta, x: 0.005 * theta**2 + x * theta, noise - noise.mean())
        near = fd.near_minimum(landscape, jnp.zeros((), noise.dtype), method=method, key=KEY)
        for quantity in ("test_loss", "gap"):
            found = near.predict(fd.Spacetime.sgd(500), [0.01, 0.3], quantity=quantity)
            assert found.noise.all()
            np.testing.assert_array_equal(found.truncation, 0)
            assert "± 0 (truncation)" in str(found)


def test_a_truncation_beside_which_the_noise_is_no_larger_than_rounding_is_kept():
    with jax.enable_x64(False):
        noise = np.array([-1e-4, 1e-4], dtype=np.float32)
        landscape = fd.Landscape(lambda theta, x: 1.0 + jnp.cosh(theta) + x * theta, noise)
        near = fd.near_minimum(landscape, jnp.float32(0), key=KEY)
        with pytest.warns(fd.TruncationWarning):
            assert near.predict(fd.Spacetime.sgd(500), 0.1).truncation > 0


def test_a_start_that_is_no_minimum_is_named():
    landscape, _ = toys.mean_estimation()
    near = fd.near_minimum(landscape, jnp.array(30.0), key=KEY)
    with pytest.warns(fd.TruncationWarning, match="not near a minimum"):
        near.predict(fd.Spacetime.sgd(20), 0.1)


@pytest.mark.parametrize(("ratio", "named"), [(0.9, False), (1.1, True)])
def test_a_gradient_counts_from_where_it_does_more_than_the_noise(ratio, named, recwarn):
    """On a quadratic noise is the same anywhere, and what the gradient does goes with the square of the distance."""
    landscape, start = toys.mean_estimation()

    def predicted(offset):
        return fd.near_minimum(landscape, start + offset, key=KEY).predict(fd.Spacetime.sgd(20), 0.1)

    first = predicted(0.01)
    found = predicted(0.01 * np.sqrt(ratio * first.noise[0] / abs(first.noiseless[0])))
    assert abs(found.noiseless[0]) == pytest.approx(ratio * found.noise[0], rel=1e-3)
    assert ["not near a minimum" in str(one.message) for one in recwarn] == [True] * named


def test_large_noise_is_named():
    landscape, params = toys.cosh()
    with pytest.warns(fd.TruncationWarning, match="Higher orders of the noise"):
        fd.near_minimum(landscape, params, key=KEY).predict(fd.Spacetime.sgd(100), 1.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "cg"}, "'auto', 'dense', 'lanczos'"),
        ({"num_samples": 1}, "num_samples"),
        ({"max_steps": 3}, "max_steps"),
        ({"chunk_size": 0}, "chunk_size"),
        ({"key": None}, "key"),
    ],
)
def test_invalid_options_are_refused(options, words):
    landscape, params = toys.cosh()
    with pytest.raises(fd.ArgumentError, match=words):
        fd.near_minimum(landscape, params, **{"key": KEY, **options})


def test_other_readings_are_refused():
    landscape = fd.Landscape(lambda theta, x: (theta - x) ** 2, np.arange(4.0), reading="unbiased")
    with pytest.raises(fd.ArgumentError, match="population reading"):
        fd.near_minimum(landscape, jnp.array(1.5), key=KEY)


def test_invalid_questions_are_refused():
    landscape, params = toys.cosh()
    near = fd.near_minimum(landscape, params, key=KEY)
    with pytest.raises(fd.ArgumentError, match="displacement"):
        near.predict(fd.Spacetime.sgd(4), 0.1, quantity="displacement")
    with pytest.raises(fd.ArgumentError, match="positive"):
        near.predict(fd.Spacetime.sgd(4), [-0.1])
    with pytest.raises(fd.ArgumentError, match="spacetime"):
        near.predict(4, 0.1)
    with pytest.raises(fd.SpacetimeError):
        near.predict(fd.Spacetime.sgd("N"), 0.1)
    with pytest.raises(fd.LandscapeError, match="overflows"):
        near.predict(fd.Spacetime.gd(2, 10**6), 30.0)


@pytest.mark.parametrize("rates", [2.0, [0.1, 100.0], 1e6])
def test_learning_rates_beyond_the_edge_are_refused(rates):
    """The curvature is 1: descent is stable below 2. At 100 it was ± nan, with a warning of NumPy's."""
    landscape, params = toys.cosh()
    near = fd.near_minimum(landscape, params, key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(fd.LandscapeError, match=r"2/h = 2 for the greatest curvature, h = 1\b.*leaves the minimum"):
            near.predict(fd.Spacetime.sgd(20), rates)
    assert np.isfinite(near.predict(fd.Spacetime.sgd(20), 1e-3).truncation).all()


def test_nothing_but_finite_numbers_comes_below_the_edge():
    landscape, params = toys.cosh()
    near = fd.near_minimum(landscape, params, key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fd.TruncationWarning)
        found = near.predict(fd.Spacetime.sgd(20), [0.5, 1.5, 1.9])
    for numbers in (found.mean, found.stderr, found.truncation):
        assert np.isfinite(numbers).all()


@pytest.mark.parametrize(("h", "rate", "steps"), [(1.0, 0.1, 5), (0.3, 0.5, 40), (2.0, 0.7, 3)])
def test_relaxation_follows_a_push(h, rate, steps):
    """Descent on h θ²/2 + θ goes to −(1 − (1 − ηh)^T)/h."""
    theta = 0.0
    for _ in range(steps):
        theta -= rate * (h * theta + 1)
    assert _relaxation(fd.Spacetime.sgd(steps), rate)(np.array([h]))[0] == pytest.approx(-theta)


@pytest.mark.parametrize("bend", [0.3, -0.6])
def test_the_cloud_drifts_down_the_slope_that_curvature_makes(bend):
    """On θ²/2 + bend θ³/6 + xθ the figure is what the cloud does: noise is the same anywhere, skewness is taken off.

    Noise of variance s² makes the mean slope bend s²/2, and the cloud relaxes against it.
    """
    with jax.enable_x64(True):
        x = np.array([-1.0, 1.0])
        landscape = fd.Landscape(lambda theta, x: theta**2 / 2 + bend * theta**3 / 6 + x * theta, x)
        near = fd.near_minimum(landscape, jnp.array(0.0), num_samples=8, key=KEY)
        spacetime, rate = fd.Spacetime.sgd(20), 0.4
        found = near.predict(spacetime, rate).truncation[0]
        found -= near._third_cumulants(ResummedSeries("test_loss", 3, spacetime), rate)
        spread = _spread(spacetime, rate)
        offsets = np.asarray(near.point.cloud.apply(spread)).ravel()
    offsets = np.concatenate([offsets, -offsets])
    drift = -(1 - (1 - rate) ** 20) * np.mean(bend * offsets**2 / 2)
    cloud = drift + offsets
    nodes, weights = near.point.cloud.quadrature()
    quadratic = np.mean(np.sum(weights * nodes * spread(nodes) ** 2, axis=1)) / 2
    assert found == pytest.approx(abs(np.mean(cloud**2 / 2 + bend * cloud**3 / 6) - quadratic), rel=1e-6)
