"""Weighted sums of losses and their derivatives are those of all examples at once, however they are cut into chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.derivatives._loss_sums import Sums

EXAMPLES, SIZE = 5, 3


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def loss(theta, x):
    z = x @ theta
    return z**3 / 6 + jnp.tanh(z) * x[0] + jnp.sum(theta**4) / 8


@pytest.mark.parametrize("chunk_size", [1, 2, 5, 8])
def test_derivatives_of_sums_are_those_of_the_whole(chunk_size):
    rng = np.random.default_rng(0)
    data, weights, point = (
        rng.normal(size=(EXAMPLES, SIZE)),
        rng.normal(size=EXAMPLES),
        jnp.array(rng.normal(size=SIZE)),
    )
    vectors, (a, b, c) = jnp.array(rng.normal(size=(2, SIZE))), jnp.array(rng.normal(size=(3, SIZE)))

    def whole(theta):
        return weights @ jax.vmap(loss, in_axes=(None, 0))(theta, data)

    hessian, third = jax.hessian(whole)(point), jax.jacfwd(jax.hessian(whole))(point)
    sums, given = Sums(loss, point, chunk_size), (jnp.array(data), jnp.array(weights))
    value, gradient = sums.gradient(point, *given)
    assert value == pytest.approx(float(whole(point)), rel=1e-12)
    np.testing.assert_allclose(sums.value(point, *given), whole(point), rtol=1e-12)
    np.testing.assert_allclose(gradient, jax.grad(whole)(point), rtol=1e-12)
    np.testing.assert_allclose(sums.products(point, *given, vectors), vectors @ hessian, rtol=1e-11)
    bent = jnp.einsum("ijk,j,k->i", third, a, b) + hessian @ c
    np.testing.assert_allclose(sums.second_order(point, *given, a, b, c), bent, rtol=1e-11)
    along = jnp.einsum("ijk,j,vk->vi", third, a, vectors)
    np.testing.assert_allclose(sums.third_products(point, *given, a, vectors), along, rtol=1e-11)
