"""Matrices as products do what the matrices written out do, and shapes that do not fit are refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from feyngd.evaluation.engine._factored_matrix import FactoredMatrix

INPUTS, OUTPUTS, FACTORS, STACKED = 5, 4, 2, 3


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng((seed, *shape)).normal(size=shape), jnp.float32)


def made(seed):
    """A matrix of factors, and one of factors and shared matrices; each with the matrix written out by NumPy."""
    left, right = random(FACTORS, INPUTS, seed=seed), random(FACTORS, OUTPUTS, seed=seed)
    weights, stack = random(STACKED, seed=seed), random(STACKED, INPUTS, OUTPUTS, seed=seed)
    factors = FactoredMatrix(left, right)
    written = np.asarray(left).T @ np.asarray(right)
    shared = np.einsum("a,aio->io", np.asarray(weights), np.asarray(stack))
    return (
        (factors, written),
        (factors.with_shared(weights, stack), written + shared),
        (FactoredMatrix(None, None, (weights,), (stack,)), shared),
    )


@pytest.mark.parametrize(("one", "other"), [(i, j) for i in range(3) for j in range(3)])
def test_inner_products(one, other):
    (a, A), (b, B) = made(1)[one], made(2)[other]
    np.testing.assert_allclose(a.dot(b), np.sum(A * B), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", range(3))
def test_actions_and_components(which):
    a, A = made(1)[which]
    x, stack = random(7, INPUTS), random(6, INPUTS, OUTPUTS)
    np.testing.assert_allclose(a.matrix(), A, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(a.act(x), np.asarray(x) @ A, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(a.against(stack), np.einsum("aio,io->a", stack, A), rtol=1e-4, atol=1e-5)


def test_shapes_that_do_not_fit_are_refused():
    a, _ = made(1)[0]
    with pytest.raises(TypeCheckError):
        a.act(random(INPUTS))
    with pytest.raises(TypeCheckError):
        FactoredMatrix(random(2, INPUTS), random(3, OUTPUTS))
    with pytest.raises(TypeCheckError):
        jax.jit(a.with_shared)(random(3), random(2, INPUTS, OUTPUTS))
