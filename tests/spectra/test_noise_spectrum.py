"""Sums over examples of gradients, Hessians and third derivatives are those of their definitions, in any chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.derivatives._gradient_sizes import compiled_gradient_sizes
from feyngd.estimates import PrecisionWarning
from feyngd.landscapes import enter
from feyngd.progress import Progress
from feyngd.spectra import Point
from feyngd.spectra._lanczos import Krylov, relative_change, signs
from feyngd.spectra._matrices import (
    compiled_combinations,
    compiled_cubics,
    compiled_matrices,
    compiled_moments,
    compiled_products,
)
from feyngd.spectra._noise_spectrum import Traces

EXAMPLES, SIZE = 5, 3
DATA = np.random.default_rng(4).normal(size=(EXAMPLES, SIZE))
START = np.random.default_rng(5).normal(size=SIZE) / 2


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def loss(theta, x):
    z = x @ theta
    return z**3 / 6 + jnp.tanh(z) * x[0] + jnp.sum(theta**4) / 8 + theta @ theta / 2


def at(point, derivative):
    """The derivatives of all examples' losses at a point."""
    return np.asarray(jax.vmap(derivative, in_axes=(None, 0))(jnp.asarray(point), DATA))


def gradients(point):
    return at(point, jax.grad(loss))


@pytest.fixture(scope="module")
def exact():
    with jax.enable_x64(True):
        return gradients(START), at(START, jax.hessian(loss)), at(START, jax.jacfwd(jax.hessian(loss)))


@pytest.mark.parametrize("chunk_size", [2, 5])
def test_matrices_products_and_combinations(chunk_size, exact, rng):
    slopes, hessians, _ = exact
    noise, hessian = compiled_matrices(loss, chunk_size)(START, DATA)
    np.testing.assert_allclose(noise, np.cov(slopes.T, ddof=1), rtol=1e-9)
    np.testing.assert_allclose(hessian, hessians.mean(axis=0), rtol=1e-9)
    vectors, weights = rng.normal(size=(2, SIZE)), rng.normal(size=(2, EXAMPLES))
    products = compiled_products(loss, chunk_size)(START, DATA, vectors)
    np.testing.assert_allclose(products, vectors @ hessians.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(compiled_combinations(loss, chunk_size)(START, DATA, weights), weights @ slopes)
    centred = slopes - slopes.mean(axis=0)
    sizes = compiled_gradient_sizes(loss, chunk_size)(START, DATA)
    np.testing.assert_allclose(sizes, np.sum(centred**2, axis=1), rtol=1e-9)


def test_moments_are_those_at_the_offsets(rng):
    offsets = rng.normal(size=(3, SIZE))
    values, slopes, noise = compiled_moments(loss, 2)(START, DATA, offsets)
    for k, offset in enumerate(offsets):
        own = gradients(START + offset)
        assert values[k] == pytest.approx(at(START + offset, loss).mean(), rel=1e-9)
        np.testing.assert_allclose(slopes[k], own.mean(axis=0), rtol=1e-9)
        assert noise[k] == pytest.approx(np.trace(np.cov(own.T, ddof=0)), rel=1e-9)


def test_forms_of_single_examples(exact, rng):
    _, hessians, thirds = exact
    drawn = np.array([3, 0, 3, 4])
    u, w = rng.normal(size=(2, len(drawn), SIZE))
    third, bent, curved = compiled_cubics(loss, 2)(START, DATA, DATA[drawn], u, w)
    turned = hessians[drawn] - hessians.mean(axis=0)
    np.testing.assert_allclose(third, np.einsum("abc,xa,xb,xc->x", thirds.mean(axis=0), u, u, u), rtol=1e-9)
    np.testing.assert_allclose(bent, np.einsum("xa,xab,xb->x", w, turned, u), rtol=1e-9)
    np.testing.assert_allclose(curved, np.einsum("xa,xab,xb->x", u, turned, u), rtol=1e-9)


def point(dense, num_samples=4):
    landscape = fd.Landscape(loss, DATA)
    frozen, params = enter(landscape, START)
    options = {"max_steps": 8, "chunk_size": 2, "progress": Progress(), "key": jax.random.key(1)}
    return Point(landscape, frozen, params, dense=dense, num_samples=num_samples, **options)


def test_third_cumulants_weigh_every_draw_by_its_chance(exact):
    """Examples are drawn by the squares of their centred gradients, and count by the inverse of their chances."""
    slopes, hessians, thirds = exact
    made = point(dense=True)
    values, axes = np.linalg.eigh(hessians.mean(axis=0))

    def phi(h):
        return 1 / (2 + h)

    centred = slopes - slopes.mean(axis=0)
    chances = np.sum(centred**2, axis=1) / np.sum(centred**2)
    shares = 1 / (EXAMPLES * len(made._drawn) * chances[made._drawn])
    smooth, other = (axes @ np.diag(f) @ axes.T for f in (phi(values), values * phi(values) ** 2))
    u, w = centred[made._drawn] @ smooth, centred[made._drawn] @ other
    turned = (hessians - hessians.mean(axis=0))[made._drawn]
    expected = (
        np.einsum("x,abc,xa,xb,xc->", shares, thirds.mean(axis=0), u, u, u),
        np.einsum("x,xa,xab,xb->", shares, w, turned, u),
        np.einsum("x,xa,xab,xb->", shares, u, turned, u),
    )
    assert len(set(made._drawn.tolist())) > 1
    assert made.third_cumulants(phi) == pytest.approx(expected, rel=1e-9)


def test_the_noise_is_that_of_the_population_divided_by_its_size(exact):
    """By matrices exactly; by random combinations on average, each of which is a centred sum with random signs."""
    slopes, hessians, _ = exact
    values, axes = np.linalg.eigh(hessians.mean(axis=0))
    noise = np.sum(axes * (np.cov(slopes.T, ddof=0) @ axes), axis=0)
    (nodes, weights), *_ = point(dense=True).noise.groups
    np.testing.assert_allclose(nodes[0], values, rtol=1e-9)
    np.testing.assert_allclose(weights[0], noise, rtol=1e-9)
    made = point(dense=False)
    drawn = signs(jax.random.split(jax.random.key(1))[0], np.arange(4), EXAMPLES)
    combined = np.asarray(drawn) @ slopes * ((EXAMPLES - 1) / EXAMPLES) ** 0.5
    np.testing.assert_allclose(
        made.noise.replicates(np.exp), np.sum((combined @ axes) ** 2 * np.exp(values), axis=1), rtol=1e-8
    )
    np.testing.assert_allclose(made.cloud.apply(np.exp), combined @ axes @ np.diag(np.exp(values)) @ axes.T, rtol=1e-7)


def test_signs_are_centred_and_have_the_covariance_of_draws_without_replacement():
    rows = np.asarray(signs(jax.random.key(0), np.arange(4000), 6))
    np.testing.assert_allclose(rows.sum(axis=1), 0, atol=1e-12)
    expected = (np.eye(6) - 1 / 6) / 5
    np.testing.assert_allclose(rows.T @ rows / 4000, expected, atol=5 * 0.2 / 4000**0.5)


def test_an_exhausted_space_puts_what_has_no_weight_where_functions_are_defined():
    """The start is an eigenvector: after one step there is nothing more, and the log of the rest must not be asked."""
    spectrum = np.array([2.0, 5.0, 7.0])
    spaces = Krylov(lambda rows: rows * spectrum, np.array([[0.0, 3.0, 0.0], [1.0, 1.0, 1.0]]), 3)
    for _ in range(3):
        spaces.grow()
    nodes, weights = spaces.quadrature()
    assert nodes.min() > 1
    np.testing.assert_allclose(np.sum(weights * np.log(nodes), axis=1), [9 * np.log(5), np.log(70)], rtol=1e-9)
    np.testing.assert_allclose(spaces.apply(np.log), [[0, 3 * np.log(5), 0], np.log(spectrum)], atol=1e-9)
    assert spaces.is_complete


def test_bases_stay_orthonormal_over_many_decades():
    """Taking earlier vectors off once is not enough where little is left."""
    spectrum = np.logspace(-9, 0, 40)
    spaces = Krylov(lambda rows: rows * spectrum, np.ones((1, 40)), 40)
    for _ in range(12):
        spaces.grow()
    basis = spaces._basis[0, :13]
    assert (np.abs(spaces._offdiagonals[:12]) > 0).all()
    np.testing.assert_allclose(basis @ basis.T, np.eye(13), atol=1e-14)


@pytest.mark.parametrize(
    ("means", "change"),
    [([1, 1, 1], np.inf), ([4, 3, 2, 1], 1.0), ([1, 2, 3, 4, 5, 6, 7, 8], 0.25), ([1, 2, 3, 0], np.inf)],
)
def test_change_is_that_over_the_last_quarter(means, change):
    assert relative_change(list(map(float, means))) == pytest.approx(change)


def test_traces_tell_how_settled_and_how_blurred_they_are():
    fine = [(np.array([[1.0, 2.0]]), np.array([[3.0, 1.0]])), (np.array([[4.0, 5.0]]), np.array([[0.0, 2.0]]))]
    coarse = [(np.array([[1.0]]), np.array([[4.0]])), (np.array([[4.0]]), np.array([[2.0]]))]
    traces = Traces(fine, coarse)
    square = np.square
    assert traces.replicates(square).tolist() == [7.0, 50.0]
    assert traces.unsettled(square) == pytest.approx(1 - (4 + 32) / 57)
    assert Traces(fine).unsettled(square) == 0
    # An error of r of a curvature h changes h² by 2hr.
    assert traces.blur(square, 0.1) == pytest.approx(2 * 0.1 * np.mean([3 * 1 + 1 * 2, 2 * 5]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_of_a_curvature_goes_with_the_greatest_and_the_number_of_parameters(dtype):
    curvatures = np.array([4.0, -6.0, 1.0, 0.5], dtype)
    data = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [-1, -1, 0, -1]], dtype)
    landscape = fd.Landscape(lambda theta, x: curvatures @ theta**2 / 2 + x @ theta, data)
    near = fd.near_minimum(landscape, np.zeros(4, dtype), method="dense", num_samples=2, key=jax.random.key(0))
    assert near.point.rounding == pytest.approx(2 * np.finfo(dtype).eps * 6)
    assert near.point.curvatures == pytest.approx((-6, 4))


@pytest.mark.parametrize("max_steps", [6, 12])
def test_spaces_that_are_too_small_are_named(max_steps, recwarn):
    """Twelve curvatures over four decades: six products do not settle the quadrature, twelve are exact."""
    curvatures = np.logspace(-4, 0, 12)
    data = np.random.default_rng(0).normal(size=(40, 12))
    data -= data.mean(axis=0)
    landscape = fd.Landscape(lambda theta, x: curvatures @ theta**2 / 2 + x @ theta, data)
    options = {"method": "lanczos", "num_samples": 60, "max_steps": max_steps, "key": jax.random.key(0)}
    near = fd.near_minimum(landscape, np.zeros(12), **options)
    recwarn.clear()
    found = near.predict(fd.Spacetime.sgd(400), 0.3)
    named = [one for one in recwarn if issubclass(one.category, PrecisionWarning)]
    assert [f"max_steps={max_steps}" in str(one.message) for one in named] == [True] * (max_steps < 12)
    if max_steps == 12:
        exact = fd.near_minimum(landscape, np.zeros(12), method="dense", num_samples=60, key=jax.random.key(0))
        np.testing.assert_allclose(
            near.point.noise.replicates(np.sqrt), exact.point.cloud.quadrature()[1] @ np.sqrt(curvatures), rtol=1e-8
        )
    assert np.isfinite(found.mean).all()
