"""The paper's estimator of the covariance, from two halves of a batch, by enumeration and beside the other."""

from functools import partial
from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd import ArgumentError
from feyngd.training import gdc_gradient, gdc_loss

POPULATION = np.array([[1.0, -0.5], [0.25, 2.0], [-1.5, 0.75]])
PARAMS = np.array([0.3, -0.7])
RATE, B = 0.4, 4
FACTOR = RATE / 4 * (1 - 1 / B)


def loss(params, example):
    return jnp.tanh(example @ params) + 0.5 * jnp.sum(example * params**2)


def mean_loss(params, batch):
    return jnp.mean(jax.vmap(partial(loss, params))(batch))


@partial(jax.jit, static_argnums=1)
def traces(batches, estimator):
    """Return tr Ĉ of every batch."""

    def trace(batch):
        whole = gdc_loss(loss, jnp.asarray(PARAMS), batch, learning_rate=RATE, chunk_size=1, estimator=estimator)
        return (whole - mean_loss(jnp.asarray(PARAMS), batch)) / FACTOR

    return jax.vmap(trace)(batches)


def test_halves_are_unbiased_over_all_batches_and_average_to_the_examples_over_all_orders():
    with jax.enable_x64(True):
        gradients = np.asarray(jax.vmap(partial(jax.grad(loss), jnp.asarray(PARAMS)))(POPULATION))
        batch = np.array([*POPULATION, [0.5, 0.5]])
        draws = list(product(POPULATION, repeat=B))
        orders = [batch[list(order)] for order in permutations(range(B))]
        every = jnp.asarray(draws + orders)
        by_examples, by_halves = (np.asarray(traces(every, name)) for name in ("examples", "halves"))
        count, expected = len(draws), np.sum(np.var(gradients, axis=0))
        np.testing.assert_allclose([by_examples[:count].mean(), by_halves[:count].mean()], expected, rtol=1e-12)
        assert np.var(by_halves[:count]) > 2 * np.var(by_examples[:count])
        np.testing.assert_allclose(by_examples[count:], by_halves[count:].mean(), rtol=1e-12)

        # As the paper writes it.
        g = np.asarray(jax.vmap(partial(jax.grad(loss), jnp.asarray(PARAMS)))(batch))
        x, y = g[: B // 2].mean(axis=0), g[B // 2 :].mean(axis=0)
        np.testing.assert_allclose(by_halves[count], B / 2 * x @ (x - y), rtol=1e-12)


def test_the_gradient_is_that_of_the_loss_for_any_chunks_and_in_a_chain():
    optax = pytest.importorskip("optax")
    from feyngd.training import gdc

    draw = np.random.default_rng(1).normal
    params = {"w": draw(size=3), "b": draw(size=())}
    batch = draw(size=(6, 3)), draw(size=6)

    def network(params, example):
        x, y = example
        return jnp.square(jnp.tanh(x @ params["w"]) + params["b"] * jnp.sum(x) - y)

    with jax.enable_x64(True):
        params, batch = jax.tree.map(jnp.asarray, (params, batch))
        options = {"learning_rate": RATE, "emulate_batch_size": 2, "estimator": "halves"}
        expected = jax.jit(jax.grad(lambda p: gdc_loss(network, p, batch, **options)))(params)
        found = gdc_gradient(network, params, batch, chunk_size=2, **options)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), found, expected)
        of_chain = {"emulate_batch_size": 2, "estimator": "halves", "chunk_size": 2}
        optimizer = optax.chain(gdc(network, RATE, **of_chain), optax.sgd(RATE))
        plain = jax.grad(lambda p: jnp.mean(jax.vmap(partial(network, p))(batch)))(params)
        updates, _ = optimizer.update(plain, optimizer.init(params), params, batch=batch)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, -RATE * b, rtol=1e-11), updates, expected)


def test_what_it_refuses():
    from feyngd.training import gdc

    odd, params = np.zeros((3, 2), np.float32), np.float32(PARAMS)
    for function in (gdc_loss, gdc_gradient):
        with pytest.raises(ArgumentError, match="3 examples have no halves"):
            function(loss, params, odd, learning_rate=0.1, estimator="halves")
        with pytest.raises(ArgumentError, match="Unknown estimator 'half'; known are 'examples', 'halves'"):
            function(loss, params, odd, learning_rate=0.1, estimator="half")
    with pytest.raises(ArgumentError, match="Unknown estimator"):
        gdc(loss, 0.1, estimator="half")
