"""AIC, TIC and STIC: closed forms, both methods, derivatives, and what they refuse."""

import warnings
from fractions import Fraction
from functools import cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import feyngd as fd
from feyngd.landscapes import cross_entropy, digits, tanh_mlp, toys
from feyngd.spectra import _lanczos
from feyngd.training import StabilityWarning, aic, stic, stic_value, tic, tic_value
from feyngd.training._responses import matrix_response, response

KEY = jax.random.key(5)
compiled_value = jax.jit(stic_value, static_argnames=("loss", "steps", "time"))
compiled_response = jax.jit(matrix_response, static_argnums=(2, 3))
TIMES = ("continuous", "discrete")
RATE, STEPS = 0.02, 30


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def quadratic_loss(theta, example):
    """One function for all quadratics, so that it is compiled once: the Hessian comes with every example."""
    x, hessian = example
    return 0.5 * theta @ hessian @ theta + x @ theta


@cache
def quadratic(spectrum, examples=9, seed=0):
    """A quadratic with noise that does not commute with its Hessian, its point 0, and its C and H."""
    rng = np.random.default_rng(seed)
    p = len(spectrum)
    turn = np.linalg.qr(rng.normal(size=(p, p)))[0]
    hessian = turn @ np.diag(spectrum) @ turn.T
    hessian = (hessian + hessian.T) / 2
    noise = rng.normal(size=(examples, p))
    landscape = fd.Landscape(quadratic_loss, (noise, np.repeat(hessian[None], examples, axis=0)))
    return landscape, jnp.zeros(p), np.cov(noise.T).reshape(p, p), hessian


def by_integral(hessian, learning_rate, steps, time):
    """φ(H) from its definition: a sum over steps, or an integral over time by Gauss' rule on many short pieces."""
    if time == "discrete":
        left = np.eye(len(hessian)) - learning_rate * hessian
        return learning_rate * sum(np.linalg.matrix_power(left, t) for t in range(steps))
    h, turn = np.linalg.eigh(hessian)
    points, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(0, learning_rate * steps, 65)
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    at = middle[:, None] + half[:, None] * points
    return turn @ np.diag([np.sum(half[:, None] * weights * np.exp(-at * x)) for x in h]) @ turn.T


# --- closed forms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("spectrum", [[2.0, 0.5, 0.1], [3.0, 0.0, 0.0], [1.0, 1.0, 1.0], [4.0, 0.2, -1.5], [0.0] * 3])
def test_both_forms_are_the_trace(spectrum, time):
    landscape, theta, noise, hessian = quadratic(tuple(spectrum))
    exact = np.trace(noise @ by_integral(hessian, RATE, STEPS, time)) / landscape.num_examples
    options = {"learning_rate": RATE, "steps": STEPS, "time": time}
    estimate = stic(landscape, theta, **options)
    assert (estimate.stderr, estimate.kind, estimate.num_samples) == (None, "exact", 0)
    assert estimate.value == pytest.approx(exact, rel=1e-10)
    assert compiled_value(landscape.loss, theta, landscape.data, **options) == pytest.approx(exact, rel=1e-10)


def well(theta, example):
    x, h = example
    return 0.5 * h * theta**2 + 2 * x * theta


@pytest.mark.parametrize("h", [0.0, 1e-300, 1e-12, 1e-3, 0.5, 40.0, -0.3])
def test_mean_estimation(h):
    x = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 0.0])
    C, N = 4.0, 7  # S² times the unbiased variance of x
    for time, left in (("continuous", np.exp(-RATE * STEPS * h)), ("discrete", (1 - RATE * h) ** STEPS)):
        exact = RATE * STEPS if abs(h) < 1e-10 else (1 - left) / h
        data = x, np.full(N, h)
        value = compiled_value(well, 0.0, data, learning_rate=RATE, steps=STEPS, time=time)
        assert value == pytest.approx(C / N * exact, rel=1e-10)
        assert response(RATE, STEPS, time)(np.array(h)) == pytest.approx(exact, rel=1e-10)


def test_it_is_the_gap_of_gradient_descent():
    """On a quadratic, over all training sets of three of the two signs, the mean is the exact gap."""
    h, s, N = 1.7, 0.8, 3
    landscape, start = toys.mean_estimation(h, s)
    left = (1 - RATE * h) ** STEPS
    gaps, values = [], []
    for signs in np.ndindex(2, 2, 2):
        x = 2.0 * np.array(signs) - 1
        end = -s * x.mean() * (1 - left) / h
        gaps.append(-s * x.mean() * end)
        values.append(compiled_value(landscape.loss, start + end, x, learning_rate=RATE, steps=STEPS))
    assert np.mean(values) == pytest.approx(np.mean(gaps), rel=1e-12)
    assert np.mean(gaps) == pytest.approx(s**2 / (N * h) * (1 - left), rel=1e-12)


# A common Hessian and start, and kinds of examples, in one and two dimensions; C and H commute in none of the latter.
FAMILIES = [
    ([["1"]], ["1/2"], [["1"], ["-1"]]),
    ([["3"]], ["0"], [["2"], ["-1"], ["-1"]]),
    ([["2", "1/2"], ["1/2", "1"]], ["1/3", "-1"], [["1", "0"], ["-1/2", "1"], ["-1/2", "-1"]]),
    ([["1", "0"], ["0", "0"]], ["0", "1/5"], [["1", "1"], ["-1", "2"], ["0", "-3"]]),
    ([["5/2", "1"], ["1", "-1/2"]], ["1/4", "1/4"], [["1", "2"], ["-1", "-2"]]),
]


def fractions(rows):
    return np.array([[Fraction(entry) for entry in row] for row in rows])


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("family", range(len(FAMILIES)))
def test_by_default_it_is_the_gap_of_descent_in_steps(family, steps):
    """Over all training sets, in rational arithmetic, each with its own run and STIC at the end of it."""
    rows, start, kinds = FAMILIES[family]
    hessian, theta, noise = fractions(rows), fractions([start])[0], fractions(kinds)
    count, rate = 3, Fraction(2, 5)
    gaps, values = [], []
    for members in product(range(len(noise)), repeat=count):
        pull, point = noise[list(members)].sum(axis=0) / count, theta
        for _ in range(steps):
            point = point - rate * (hessian @ point + pull)
        gaps.append(-pull @ point)  # the noise of all kinds has mean zero
        x = noise[list(members)].astype(float)
        data = x, np.repeat(hessian.astype(float)[None], count, axis=0)
        values.append(compiled_value(quadratic_loss, point.astype(float), data, learning_rate=0.4, steps=steps))
    assert np.mean(values) == pytest.approx(float(sum(gaps) / len(gaps)), rel=1e-11, abs=1e-13)
    one = stic(fd.Landscape(quadratic_loss, data), point.astype(float), learning_rate=0.4, steps=steps)
    assert one.value == pytest.approx(float(values[-1]), rel=1e-11, abs=1e-13)


def test_twelve_points_and_forty_steps():
    """C = 1.69, H = 1, η = 0.1: descent on twelve points has the gap C/12 (1 − 0.9⁴⁰), gradient flow C/12 (1 − e⁻⁴)."""
    x = np.repeat([-1.0, 1.0], 6) * np.sqrt(1.69 * 11 / 12)
    landscape, options = fd.Landscape(well, (x / 2, np.ones(12))), {"learning_rate": 0.1, "steps": 40}
    assert stic(landscape, jnp.array(0.0), **options).value == pytest.approx(0.13875169, abs=5e-9)
    assert compiled_value(well, 0.0, landscape.data, **options) == pytest.approx(0.13875169, abs=5e-9)
    continuous = stic(landscape, jnp.array(0.0), **options, time="continuous")
    assert continuous.value == pytest.approx(0.13825388, abs=5e-9)
    sampled = stic(landscape, jnp.array(0.0), **options, method="lanczos", num_samples=400, key=KEY)
    assert abs(sampled.value - 0.13875169) < 4 * sampled.stderr


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_where_descent_runs_away_it_warns_once(method):
    landscape, theta, _, _ = quadratic((2.1, 0.5, 0.1))
    call = partial(stic, landscape, theta, learning_rate=1.0, steps=3, method=method, key=KEY)
    with pytest.warns(StabilityWarning, match=r"eigenvalue 2\.1, above 2/η = 2.*time='continuous'") as caught:
        value = call().value
    assert [warning.filename for warning in caught] == [__file__]
    if method == "dense":
        assert value == pytest.approx(np.trace(quadratic((2.1, 0.5, 0.1))[2] @ by_integral(
            quadratic((2.1, 0.5, 0.1))[3], 1.0, 3, "discrete")) / 9, rel=1e-10)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call(time="continuous")
        call(learning_rate=0.95)
        stic(*quadratic((2.0, 0.5, 0.1))[:2], learning_rate=1.0, steps=3, method=method, key=KEY)  # no more than 2


def test_a_true_model_has_the_gap_of_akaike():
    """A Gaussian whose mean is fitted to data of the model's own covariance: C = H = Σ⁻¹."""
    rng = np.random.default_rng(3)
    p, N = 3, 12
    x = rng.normal(size=(N, p))
    precision = np.linalg.inv(np.cov(x.T))
    landscape = fd.Landscape(lambda theta, x: 0.5 * (theta - x) @ precision @ (theta - x), x)
    best = jnp.asarray(x.mean(axis=0))
    assert aic(landscape, best).value == p / N
    assert tic(landscape, best).value == pytest.approx(p / N, rel=1e-10)
    assert stic(landscape, best, learning_rate=1.0, steps=10**6).value == pytest.approx(p / N, rel=1e-9)


def test_logistic_regression_that_is_true():
    """Both labels as often as the model says they are: the Fisher information is C and H alike, up to N/(N − 1)."""
    inputs = np.repeat(np.random.default_rng(1).normal(size=(40, 2)), 2, axis=0)
    labels = np.tile([0.0, 1.0], 40)

    def loss(theta, example):
        x, y = example
        return jnp.logaddexp(0.0, theta @ x) - y * (theta @ x)

    landscape = fd.Landscape(loss, (inputs, labels))  # at θ = 0 each label has probability 1/2
    N = landscape.num_examples
    assert tic(landscape, jnp.zeros(2)).value == pytest.approx(2 / N * N / (N - 1), rel=1e-10)


def test_long_descent_is_tic_and_damping_is_a_penalty():
    landscape, theta, _, _ = quadratic((2.0, 0.5, 0.1))
    damped, _, _, _ = quadratic((2.3, 0.8, 0.4))
    exact = tic(landscape, theta).value
    for time in TIMES:
        assert stic(landscape, theta, learning_rate=0.1, steps=10**5, time=time).value == pytest.approx(exact, rel=1e-9)
    assert tic(landscape, theta, damping=0.3).value == pytest.approx(tic(damped, theta).value, rel=1e-8)


def test_rotations_permutations_and_trees_change_nothing():
    rng = np.random.default_rng(7)
    turn = jnp.asarray(np.linalg.qr(rng.normal(size=(3, 3)))[0])
    x, theta = rng.normal(size=(8, 3)), rng.normal(size=3)

    def loss(theta, x):
        return jnp.tanh(theta @ x) ** 2 + jnp.sum((theta - x) ** 4)

    plain = fd.Landscape(loss, x)
    turned = fd.Landscape(lambda t, x: loss(turn @ t, x), rng.permutation(x))
    trees = fd.Landscape(lambda t, e: loss(jnp.stack([t["b"], *t["a"]]), e["x"]), {"x": x})
    tree = {"a": jnp.asarray(theta[1:]), "b": jnp.asarray(theta[0])}
    for time in TIMES:
        options = {"learning_rate": 0.003, "steps": 20, "time": time}
        value = stic(plain, theta, **options).value
        assert stic(turned, turn.T @ theta, **options).value == pytest.approx(value, rel=1e-9)
        assert stic(trees, tree, **options, chunk_size=3).value == pytest.approx(value, rel=1e-12)


# --- responses ----------------------------------------------------------------------------------------------------


curvature = st.floats(-3, 30)


@given(curvature, st.sampled_from(TIMES))
def test_the_response_grows_with_time_and_falls_with_curvature(h, time):
    times = [float(response(0.03, T, time)(np.array(h))) for T in (1, 2, 3, 50, 51, 10**4)]
    assert np.all(np.diff(times) >= -1e-12 * np.abs(times[1:]))
    sharper = response(0.03, 50, time)(np.array([h, h + 0.1]))
    assert sharper[1] < sharper[0]
    if h > 0.1:
        assert times[-1] == pytest.approx(1 / h, rel=1e-9)


@given(st.lists(curvature, min_size=2, max_size=2), st.sampled_from([1, 37]), st.sampled_from(TIMES))
def test_numbers_and_matrices_agree(spectrum, steps, time):
    with jax.enable_x64(True):
        turn = np.array([[0.6, -0.8], [0.8, 0.6]])
        exact = turn @ np.diag(response(0.05, steps, time)(np.array(spectrum))) @ turn.T
        found = compiled_response(turn @ np.diag(spectrum) @ turn.T, 0.05, steps, time)
        np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-12 * np.abs(exact).max())


@pytest.mark.parametrize("time", TIMES)
def test_long_times_stay_accurate(time):
    spectrum = np.array([0.0, 1e-6, 1e-3, 1.0, 1.9])
    exact = response(1.0, 10**6, time)(spectrum)
    found = np.diag(matrix_response(jnp.diag(jnp.asarray(spectrum)), 1.0, 10**6, time))
    np.testing.assert_allclose(found, exact, rtol=1e-9)


# --- without matrices ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained_mlp():
    model = tanh_mlp((8, 8), 10, (3,))
    landscape = fd.Landscape(cross_entropy(model), digits(60))
    params = model.init(jax.random.key(0))
    slope = jax.jit(jax.grad(landscape.mean_loss))
    for _ in range(150):
        params = jax.tree.map(lambda theta, g: theta - 0.5 * g, params, slope(params))
    return landscape, params


def test_lanczos_agrees_with_matrices_on_a_network(trained_mlp):
    calls = [partial(stic, learning_rate=0.5, steps=150, time=time) for time in TIMES] + [partial(tic, damping=0.05)]
    with jax.enable_x64(False):
        for call in calls:
            exact = call(*trained_mlp)
            sampled = call(*trained_mlp, method="lanczos", num_samples=16, key=KEY)
            assert (sampled.kind, sampled.num_samples) == ("lanczos", 16)
            assert sampled.stderr < 0.15 * exact.value
            assert abs(sampled.value - exact.value) < 4 * sampled.stderr


def test_quadrature_is_exact_for_every_combination():
    landscape, theta, _, hessian = quadratic((3.0, 1.0, 0.3, 0.0, 0.0, -0.2), examples=11)
    phi = response(RATE, STEPS, "continuous")
    options = {"num_samples": 7, "most_steps": 128, "chunk_size": 4, "key": KEY}
    (found,) = _lanczos.sampled_traces(landscape.loss, theta, landscape.data, phi, **options)
    v = np.asarray(_lanczos.signs(KEY, np.arange(7), 11)) @ np.asarray(landscape.data[0])
    exact = np.einsum("mi,ij,mj->m", v, by_integral(hessian, RATE, STEPS, "continuous"), v)
    np.testing.assert_allclose(found.replicates, exact, rtol=1e-3)
    np.testing.assert_allclose(found.weights.sum(axis=1), np.sum(v**2, axis=1), rtol=1e-10)


@pytest.mark.parametrize("spectrum", [[0.0] * 3, [1.0] * 3, [3.0, 0.0, 0.0], [1.0]])
def test_exhausted_spaces(spectrum):
    """Lanczos has nothing left after one or two steps, and the combinations are exact."""
    landscape, theta, _, _ = quadratic(tuple(spectrum))
    options = {"learning_rate": RATE, "steps": STEPS}
    sampled = stic(landscape, theta, **options, method="lanczos", key=KEY)
    assert abs(sampled.value - stic(landscape, theta, **options).value) < 4 * sampled.stderr


def test_memory_does_not_matter(monkeypatch):
    landscape, theta, _, _ = quadratic((2.0, 0.5, 0.1))
    call = partial(stic, landscape, theta, learning_rate=RATE, steps=STEPS, method="lanczos", key=KEY)
    whole = call()
    monkeypatch.setattr(_lanczos, "_MEMORY", 8 * 4 * 3 * 8)  # eight combinations at a time
    assert call().value == pytest.approx(whole.value, rel=1e-9)


def test_intervals_cover():
    landscape, theta, _, _ = quadratic(tuple(np.geomspace(3, 0.01, 8)), examples=40, seed=2)
    options = {"learning_rate": 0.1, "steps": 50}
    exact = stic(landscape, theta, **options).value
    hits = []
    for repeat in range(200):
        estimate = stic(
            landscape, theta, **options, method="lanczos", num_samples=16, key=jax.random.fold_in(KEY, repeat)
        )
        low, high = estimate.interval(0.95)
        hits.append(low <= exact <= high)
    assert 0.90 <= np.mean(hits) <= 0.99


def test_a_cut_quadrature_warns():
    landscape, theta, _, _ = quadratic(tuple(np.geomspace(10, 1e-4, 8)), examples=40)
    with pytest.warns(fd.PrecisionWarning, match="raise max_steps=4") as caught:
        stic(landscape, theta, learning_rate=0.1, steps=10**5, method="lanczos", max_steps=4, key=KEY)
    assert caught[0].filename == __file__


# --- derivatives --------------------------------------------------------------------------------------------------


def along_a_direction(step, spectrum, time):
    noise, direction = (a + a.T for a in np.random.default_rng(0).normal(size=(2, 3, 3)))
    return jnp.sum(noise * matrix_response(jnp.diag(spectrum) + step * direction, 0.1, 17, time))


derivatives = [
    jax.jit(function, static_argnames="time")
    for function in (along_a_direction, jax.grad(along_a_direction), jax.grad(jax.grad(along_a_direction)))
]


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize(
    "spectrum", [[2.0, 0.5, 0.1], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, -0.5, 0.0]]
)
def test_derivatives_of_the_matrix_function(spectrum, time):
    spectrum, h = np.array(spectrum), 1e-4
    value, first, second = (partial(function, spectrum=spectrum, time=time) for function in derivatives)
    assert first(0.0) == pytest.approx(float(value(h) - value(-h)) / (2 * h), rel=1e-6, abs=1e-7)
    assert second(0.0) == pytest.approx(float(value(h) - 2 * value(0.0) + value(-h)) / h**2, rel=1e-4, abs=1e-5)


def penalized(penalty, theta, rate, time):
    """STIC of a loss that is flat at 0 and isotropic around it."""
    x = np.random.default_rng(4).normal(size=(6, 2))

    def loss(theta, x):
        return x @ theta + jnp.sum(theta**4) / 4 + penalty * theta @ theta / 2

    return stic_value(loss, theta, x, learning_rate=rate, steps=9, time=time), x


penalized_value = jax.jit(lambda *args: penalized(*args)[0], static_argnums=3)
penalized_slopes = jax.jit(jax.grad(lambda *args: penalized(*args)[0], argnums=(0, 1, 2)), static_argnums=3)


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("penalty", [0.0, 0.4])
def test_derivatives_by_penalty_point_and_rate(penalty, time):
    point, h = (penalty, jnp.array([0.3, 0.0]), 0.2), 1e-5
    by_penalty, by_point, by_rate = penalized_slopes(*point, time)
    for slope, step in [
        (by_penalty, (h, 0.0, 0.0)),
        (by_point[0], (0.0, jnp.array([h, 0.0]), 0.0)),
        (by_rate, (0.0, 0.0, h)),
    ]:
        up, down = (
            penalized_value(*(a + sign * b for a, b in zip(point, step, strict=True)), time) for sign in (1, -1)
        )
        assert slope == pytest.approx(float(up - down) / (2 * h), rel=1e-6)


@pytest.mark.parametrize(("time", "pairs"), [("continuous", 81 / 2), ("discrete", 72 / 2)])
def test_the_slope_at_zero_curvature(time, pairs):
    """There φ(h) = ηT − h η² T²/2, or with T(T − 1)/2 for steps."""
    slope = penalized_slopes(0.0, jnp.zeros(2), 0.2, time)[0]
    x = penalized(0.0, jnp.zeros(2), 0.2, time)[1]
    assert slope == pytest.approx(-np.trace(np.cov(x.T)) / 6 * 0.2**2 * pairs, rel=1e-9)


def test_vectorized_over_training_sets():
    x = np.random.default_rng(4).normal(size=(5, 6))

    def loss(theta, x):
        return 0.7 * theta**2 + x * theta

    noise = np.var(x, axis=1, ddof=1) / 6
    many = jax.jit(jax.vmap(lambda x: stic_value(loss, jnp.array(0.1), x, learning_rate=0.2, steps=9)))(x)
    np.testing.assert_allclose(many, noise * (1 - (1 - 0.28) ** 9) / 1.4, rtol=1e-10)
    damped = jax.vmap(lambda x: tic_value(loss, jnp.array(0.1), x, damping=0.6))(x)
    np.testing.assert_allclose(damped, noise / 2.0, rtol=1e-10)


# --- what is refused ----------------------------------------------------------------------------------------------

WELL = toys.mean_estimation
GOOD = {"learning_rate": 0.1, "steps": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is an integer ≥ 1"),
        ({"steps": -3}, "steps is an integer ≥ 1"),
        ({"steps": 2.5}, "steps is an integer ≥ 1"),
        ({"steps": True}, "steps is an integer ≥ 1"),
        ({"learning_rate": 0.0}, "learning rate is positive and finite"),
        ({"learning_rate": -0.1}, "learning rate is positive and finite"),
        ({"learning_rate": float("nan")}, "learning rate is positive and finite"),
        ({"learning_rate": "fast"}, "learning rate is positive and finite"),
        ({"time": "sde"}, "continuous"),
    ],
)
def test_bad_descents(options, message):
    landscape, theta = WELL()
    with pytest.raises(fd.ArgumentError, match=message):
        stic(landscape, theta, **GOOD | options)
    if options.get("learning_rate") != "fast":
        with pytest.raises(fd.ArgumentError, match=message):
            stic_value(landscape.loss, theta, landscape.data, **GOOD | options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exact"}, "'auto', 'dense', 'lanczos'"),
        ({"num_samples": 1}, "num_samples is an integer ≥ 2"),
        ({"max_steps": 3}, "max_steps is an integer ≥ 4"),
        ({"chunk_size": 0}, "chunk_size is an integer ≥ 1"),
        ({"method": "lanczos"}, r"key=jax\.random\.key"),
    ],
)
def test_bad_options(options, message):
    landscape, theta = WELL()
    for call in (partial(stic, **GOOD), tic):
        with pytest.raises(fd.ArgumentError, match=message):
            call(landscape, theta, **options)


@pytest.mark.parametrize("damping", [-0.1, float("inf"), "much"])
def test_bad_damping(damping):
    with pytest.raises(fd.ArgumentError, match="damping is a finite number ≥ 0"):
        tic(*WELL(), damping=damping)


@pytest.mark.parametrize("call", [aic, tic, partial(stic, **GOOD)])
def test_not_a_landscape(call):
    with pytest.raises(fd.ArgumentError, match=r"fd\.Landscape\(loss, data\)"):
        call(lambda theta, x: theta * x, 0.0)


def test_one_example():
    landscape, theta = toys.mean_estimation(x=[1.0])
    for call in (tic, partial(stic, **GOOD)):
        with pytest.raises(fd.LandscapeError, match="at least 2 examples"):
            call(landscape, theta)
    with pytest.raises(fd.LandscapeError, match="at least 2 examples"):
        stic_value(landscape.loss, theta, landscape.data, **GOOD)


def test_not_finite():
    landscape = fd.Landscape(lambda theta, x: x * theta**2, np.array([1.0, np.nan]))
    for call in (aic, tic, partial(stic, **GOOD)):
        with pytest.raises(fd.LandscapeError, match="example 1"):
            call(landscape, jnp.array(0.5))
    kinked = fd.Landscape(lambda theta, x: jnp.abs(theta) ** 1.5 * x, np.ones(3))
    root = fd.Landscape(lambda theta, x: theta**1.5 * x, np.ones(3))
    assert np.isfinite(aic(kinked, jnp.array(0.5)).value)
    with pytest.raises(fd.LandscapeError, match="Hessian of the mean loss is not finite"):
        stic(root, jnp.array(0.0), **GOOD)
    with pytest.raises(fd.LandscapeError, match="Hessian of the mean loss is not finite"):
        stic(
            fd.Landscape(lambda theta, x: theta**1.5 * x + theta * x, np.arange(3.0)),
            0.0,
            **GOOD,
            method="lanczos",
            key=KEY,
        )


@pytest.mark.parametrize("method", ["dense", "lanczos"])
@pytest.mark.parametrize("smallest", [0.0, -0.4])
def test_tic_refuses_flat_and_falling_directions(method, smallest):
    landscape, theta, _, _ = quadratic((2.0, 1.0, smallest))
    with pytest.raises(fd.LandscapeError, match="TIC is not defined"):
        tic(landscape, theta, method=method, key=KEY)
    assert tic(landscape, theta, damping=0.5, method=method, key=KEY).value > 0


@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_overflow(method):
    landscape, theta, _, _ = quadratic((2.0, 1.0, -1.0))
    with pytest.raises(fd.LandscapeError, match="overflows: the Hessian has eigenvalues from about -"):
        stic(landscape, theta, learning_rate=1.0, steps=10**4, method=method, key=KEY)


def test_single_precision_warns_where_it_matters():
    landscape, theta, _, _ = quadratic((1e4, 1.0, 1e-5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stic(landscape, theta, learning_rate=1e-4, steps=10**8)
    with jax.enable_x64(False):
        single = fd.Landscape(landscape.loss, jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), landscape.data))
        with pytest.warns(fd.PrecisionWarning, match="jax_enable_x64") as caught:
            stic(single, jnp.zeros(3, jnp.float32), learning_rate=1e-4, steps=10**8)
    assert caught[0].filename == __file__
