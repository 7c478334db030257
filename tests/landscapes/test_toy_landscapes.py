"""Every toy landscape against the formula and the closed forms in its docstring, in double precision."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.errors import ArgumentError
from feyngd.landscapes import Landscape, toys

CONSTRUCTORS = {
    "quadratic": lambda: toys.quadratic([[2.0, 0.5], [0.5, 1.0]]),
    "cosh": toys.cosh,
    "gauss_fit": toys.gauss_fit,
    "linear_screw": toys.linear_screw,
    "mean_estimation": toys.mean_estimation,
    "cubic_chi": toys.cubic_chi,
    "cubic_valley": toys.cubic_valley,
}


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


def statistics(landscape, params):
    """Gradient, Hessian, third derivative and gradient covariance at the start, by automatic differentiation."""
    theta, loss = landscape.flatten(params)
    population = jax.vmap(loss, (None, 0))

    def mean(t):
        return jnp.mean(population(t, landscape.data))

    gradients = jax.vmap(jax.grad(loss), (None, 0))(theta, landscape.data)
    covariance = np.cov(np.asarray(gradients), rowvar=False, bias=True).reshape(theta.size, theta.size)
    derivatives = jax.jit(lambda t: (jax.grad(mean)(t), jax.hessian(mean)(t), jax.jacfwd(jax.hessian(mean))(t)))
    return *derivatives(theta), covariance


def expected_test_loss(landscape, theta, steps):
    """The exact expected test loss of `steps` SGD steps on independent draws with B = 1, as a function of η."""
    count = landscape.num_examples
    draws = jnp.array(list(itertools.product(range(count), repeat=steps)))

    def loss_after(eta):
        def run(draw):
            end = theta
            for index in draw:
                end = end - eta * jax.grad(landscape.loss)(end, landscape.data[index])
            return jnp.mean(jax.vmap(landscape.loss, (None, 0))(end, landscape.data))

        return jnp.mean(jax.vmap(run)(draws))

    return loss_after


def taylor(function, order):
    coefficients = []
    for n in range(order + 1):
        coefficients.append(float(jax.jit(function)(0.0)) / math.factorial(n))
        function = jax.grad(function)
    return coefficients


def drift(landscape, eta, steps, burn_in, coordinate, runs=512):
    """Mean movement of one coordinate per step of B = 1 SGD, and its standard error over runs."""
    key = jax.random.key(1)

    def step(theta, key):
        x = jax.random.choice(key, landscape.data)
        theta = theta - eta * jax.grad(landscape.loss)(theta, x)
        return theta, theta[coordinate]

    def run(key):
        _, path = jax.lax.scan(step, jnp.zeros_like(start), jax.random.split(key, steps))
        return (path[-1] - path[burn_in]) / (steps - 1 - burn_in)

    start = jnp.zeros(3 if coordinate == 2 else 2)
    speeds = jax.jit(jax.vmap(run))(jax.random.split(key, runs))
    return float(jnp.mean(speeds)), float(jnp.std(speeds)) / math.sqrt(runs)


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_every_toy_is_a_valid_landscape_that_starts_at_a_critical_point(name):
    landscape, params = CONSTRUCTORS[name]()
    assert isinstance(landscape, Landscape)
    assert params.dtype == jnp.float64
    landscape.validate(params)
    gradient, _, _, covariance = statistics(landscape, params)
    np.testing.assert_allclose(gradient, 0, atol=1e-14)
    assert np.trace(covariance) > 0


def test_toys_follow_the_precision_they_are_built_in():
    with jax.enable_x64(False):
        landscape, params = toys.linear_screw()
        assert landscape.data.dtype == params.dtype == landscape.mean_loss(params).dtype == jnp.float32


def test_the_normal_population_has_seven_normal_moments():
    x = toys.normal_population()
    assert x.shape == (30,)
    moments = [float(np.mean(x**k)) for k in range(9)]
    np.testing.assert_allclose(moments, [1, 0, 1, 0, 3, 0, 15, 0, 87], atol=1e-12)


def test_quadratic_has_the_hessian_and_covariance_it_was_given():
    h, c = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 0.2]])
    landscape, theta = toys.quadratic(h, c)
    _, hessian, third, covariance = statistics(landscape, theta)
    np.testing.assert_allclose(hessian, h)
    np.testing.assert_allclose(covariance, c)
    assert not np.any(third)
    np.testing.assert_allclose(np.einsum("ni,nj,nk->ijk", *[landscape.data] * 3), 0, atol=1e-14)


def test_quadratic_takes_a_singular_covariance_and_its_own_noise():
    landscape, theta = toys.quadratic(np.eye(2), [[1.0, 1.0], [1.0, 1.0]])
    np.testing.assert_allclose(statistics(landscape, theta)[3], np.ones((2, 2)), atol=1e-14)
    noise = np.array([[1.0, 2.0], [3.0, -1.0], [-4.0, -1.0]])
    np.testing.assert_array_equal(toys.quadratic(np.eye(2), x=noise)[0].data, noise)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hessian": [1.0, 2.0]}, "square"),
        ({"hessian": [[1.0, 2.0], [0.0, 1.0]]}, "symmetric"),
        ({"hessian": [[np.nan]]}, "finite"),
        ({"hessian": np.eye(2), "covariance": np.diag([1.0, -1.0])}, "smallest eigenvalue is -1"),
        ({"hessian": np.eye(2), "covariance": np.eye(3)}, "dimension 3"),
        ({"hessian": np.eye(2), "x": np.ones(2)}, r"\(M, 2\)"),
        ({"hessian": np.eye(2), "x": np.ones((0, 2))}, r"\(M, 2\)"),
        ({"hessian": np.eye(2), "covariance": np.eye(2), "x": np.ones((2, 2))}, "both"),
    ],
)
def test_quadratic_refuses_what_is_not_a_quadratic(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        toys.quadratic(**arguments)


def test_cosh():
    landscape, theta = toys.cosh()
    _, hessian, third, covariance = statistics(landscape, theta)
    np.testing.assert_allclose([hessian.item(), third.item(), covariance.item()], [1, 0, 1], atol=1e-14)
    np.testing.assert_allclose(landscape.loss(0.7, 3.0), math.cosh(0.7) + 2.1)
    np.testing.assert_allclose(expected_test_loss(landscape, theta, 1)(0.3), math.cosh(0.3))


def test_gauss_fit_statistics():
    landscape, h = toys.gauss_fit()
    _, hessian, third, covariance = statistics(landscape, h)
    np.testing.assert_allclose([hessian.item(), third.item(), covariance.item()], [0.5, -0.5, 0.5])
    gradients = 0.5 * (1 - np.asarray(landscape.data) ** 2)
    np.testing.assert_allclose(np.mean(gradients**3), -1)
    np.testing.assert_allclose(landscape.loss(0.3, 2.0), 0.5 * (0.3 + 4 * math.exp(-0.3)))


@pytest.mark.parametrize("steps", [1, 2])
def test_gauss_fit_series(steps):
    # only x² matters, so the squares' own population of 15 keeps the enumeration small
    landscape, h = toys.gauss_fit(x=np.sqrt(np.array([0.0] * 5 + [1.0] * 9 + [6.0])))
    expected = [0.5, 0, steps / 8, -(steps * (steps - 1) / 16 + steps / 12)]
    np.testing.assert_allclose(taylor(expected_test_loss(landscape, h, steps), 3), expected, atol=1e-12)


def test_gauss_fit_default_agrees_with_normal_data_to_third_order():
    landscape, h = toys.gauss_fit()
    normal = taylor(lambda eta: 0.5 * jnp.exp(eta / 2) / jnp.sqrt(1 + eta), 3)
    np.testing.assert_allclose(taylor(expected_test_loss(landscape, h, 1), 3), normal, atol=1e-12)


def test_linear_screw_statistics():
    landscape, theta = toys.linear_screw()
    _, hessian, third, covariance = statistics(landscape, theta)
    np.testing.assert_allclose(hessian, np.diag([2.0, 1.0, 0.0]))
    np.testing.assert_allclose(covariance, np.outer([1, -1, 0], [1, -1, 0]) / 2, atol=1e-14)
    np.testing.assert_allclose(third[0, 1, 2], 1)
    u, v, z, x = 0.3, -0.2, 1.1, 2.0
    lag = z - math.pi / 4
    bowl = 0.5 * (u * u + v * v + (math.cos(z) * u + math.sin(z) * v) ** 2)
    expected = bowl + x * (math.cos(lag) * u + math.sin(lag) * v)
    np.testing.assert_allclose(landscape.loss(jnp.array([u, v, z]), x), expected)


def test_linear_screw_climbs():
    eta = 0.05
    speed, error = drift(toys.linear_screw()[0], eta, steps=2000, burn_in=200, coordinate=2)
    assert abs(speed - eta**2 / 6) < 4 * error + 0.15 * eta**2 / 6  # the formula is the leading order in η


def test_cubic_valley_moves_to_the_flatter_side():
    h0, h1, s, eta = 1.0, 0.3, 0.8, 0.05
    landscape, theta = toys.cubic_valley(h0, h1, s)
    _, hessian, third, covariance = statistics(landscape, theta)
    np.testing.assert_allclose(hessian, np.diag([h0, 0.0]))
    np.testing.assert_allclose(third[0, 0, 1], h1)
    np.testing.assert_allclose(covariance, np.diag([s**2, 0.0]))
    speed, error = drift(landscape, eta, steps=600, burn_in=100, coordinate=1)
    expected = -(eta**2) * s**2 * h1 / (4 * h0)
    assert abs(speed - expected) < 4 * error + 0.15 * abs(expected)


def test_mean_estimation_overfits_as_corollary_2_says():
    h, s, eta, steps, n = 1.7, 0.6, 0.1, 5, 3
    landscape, theta = toys.mean_estimation(h, s)
    _, hessian, _, covariance = statistics(landscape, theta)
    np.testing.assert_allclose([hessian.item(), covariance.item()], [h, s**2])
    excess, gap = [], []
    for draw in itertools.product(landscape.data, repeat=n):
        train = jnp.array(draw)

        def train_loss(t, train=train):
            return jnp.mean(jax.vmap(landscape.loss, (None, 0))(t, train))

        end = theta
        for _ in range(steps):
            end = end - eta * jax.grad(train_loss)(end)
        excess.append(landscape.mean_loss(end))
        gap.append(landscape.mean_loss(end) - train_loss(end))
    progress = 1 - (1 - eta * h) ** steps
    np.testing.assert_allclose(np.mean(excess), s**2 / (2 * n * h) * progress**2)
    np.testing.assert_allclose(np.mean(gap), s**2 / (n * h) * progress)


def test_cubic_chi_feels_the_skew_alone():
    landscape, w = toys.cubic_chi()
    _, hessian, third, covariance = statistics(landscape, w)
    np.testing.assert_allclose([hessian.item(), third.item(), covariance.item()], [0, 6, 2], atol=1e-14)
    np.testing.assert_allclose(np.mean((np.asarray(landscape.data) ** 2 - 1) ** 3), 8)
    np.testing.assert_allclose(expected_test_loss(landscape, w, 1)(0.2), 8 * 0.2**3)


@pytest.mark.parametrize("name", sorted(set(CONSTRUCTORS) - {"quadratic"}))
def test_noise_can_be_given_and_is_checked(name):
    constructor = CONSTRUCTORS[name]
    np.testing.assert_array_equal(constructor(x=[0.5, -0.5, 1.0])[0].data, [0.5, -0.5, 1.0])
    for bad in ([], [[1.0, 2.0]], [1.0, np.nan], 3.0, ["a", "b"]):
        with pytest.raises(ArgumentError, match="x must be"):
            constructor(x=bad)


@pytest.mark.parametrize(
    "build",
    [
        lambda: toys.mean_estimation(-1.0),
        lambda: toys.mean_estimation(1.0, math.inf),
        lambda: toys.mean_estimation("steep"),
        lambda: toys.cubic_valley(h0=0.0),
        lambda: toys.cubic_valley(s=math.nan),
        lambda: toys.cubic_valley(h1=[1.0, 2.0]),
    ],
)
def test_numbers_are_checked(build):
    with pytest.raises(ArgumentError, match="got"):
        build()
