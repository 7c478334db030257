"""Kinks of losses that are fitted exactly, so that examples have no direction of their own; guards stay silent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.landscapes import find_kinks

RNG = np.random.default_rng(4)
X = RNG.normal(size=(12, 6)).astype(np.float32)
W = RNG.normal(size=(6, 4)).astype(np.float32)


def by_relu(z):
    return jax.nn.relu(z)


def by_where(z):
    return jnp.where(z > 0, z, 0)


def by_cond(z):
    return jax.lax.cond(z > 0, lambda: z, lambda: 0 * z)


def fitted(rectify):
    return lambda w, e: 0.5 * (rectify(e[0] @ w) - e[1]) ** 2


def test_three_examples_that_are_fitted():
    (kink,) = find_kinks(fitted(by_relu), jnp.array([1.0, 2.0, 3.0]), (jnp.eye(3), jnp.ones(3)))
    assert (kink.operation, kink.order, kink.examples) == ("relu", 1, 3)


@pytest.mark.parametrize("size", [3, 40, 400])
@pytest.mark.parametrize("rectify", [by_relu, by_where, by_cond])
def test_one_unit_that_is_fitted(rectify, size):
    rng = np.random.default_rng(size - 1)
    inputs, weights = rng.normal(size=(10, size)), rng.normal(size=size)
    (kink,) = find_kinks(fitted(rectify), weights, (inputs, np.maximum(inputs @ weights, 0)))
    assert kink.order == 1


@pytest.mark.parametrize("seed", [0, 1, 5, 8, 46, 48, 50])
def test_the_order_is_the_lowest_within_reach(seed):
    """A unit that is off has relu(z)², with a kink of second order; one that is on and fitted has one of first."""
    rng = np.random.default_rng(seed)
    inputs, weights = rng.normal(size=(10, 3)), rng.normal(size=3)
    (kink,) = find_kinks(fitted(by_relu), weights, (inputs, np.maximum(inputs @ weights, 0)))
    moves = inputs @ weights / np.linalg.norm(inputs, axis=1) / np.linalg.norm(weights)  # in sizes of the weights
    nearest = moves[moves > 0].min()
    assert not 0.28 < nearest < 0.5, "this seed decides nothing"
    assert kink.order == (1 if nearest < 0.5 else 2)


@pytest.mark.parametrize("examples", [6, 20])
@pytest.mark.parametrize("steps", [0, 3000])
@pytest.mark.parametrize("kind", ["two layers", "hinge", "pinball"])
def test_few_examples_at_random_and_trained_parameters(kind, steps, examples):
    rng = np.random.default_rng(examples)
    x, y = rng.normal(size=(examples, 3)), rng.normal(size=examples)
    params = (rng.normal(size=(3, 4)), rng.normal(size=4)) if kind == "two layers" else rng.normal(size=3)

    def loss(p, e):
        if kind == "two layers":
            return 0.5 * (jax.nn.relu(e[0] @ p[0]) @ p[1] - e[1]) ** 2
        if kind == "hinge":
            return jnp.maximum(0, 1 - jnp.sign(e[1]) * (e[0] @ p))
        return jnp.maximum(0.9 * (e[1] - e[0] @ p), 0.1 * (e[0] @ p - e[1]))

    slope = jax.jit(jax.grad(lambda p: jnp.mean(jax.vmap(loss, (None, 0))(p, (x, y)))))
    for _ in range(steps):
        params = jax.tree.map(lambda leaf, part: leaf - 0.05 * part, params, slope(params))
    (kink,) = find_kinks(loss, params, (x, y))
    assert kink.order == 1


@pytest.mark.parametrize(
    "loss",
    [
        lambda w, x: jnp.sum((x @ w / jnp.maximum(jnp.linalg.norm(x @ w), 1e-12)) ** 3),
        lambda w, x: jnp.sum(jnp.tanh(x @ (w / jnp.linalg.norm(w, axis=0, keepdims=True)))),
        lambda w, x: jnp.log(jnp.sum(jnp.exp(x @ w - jnp.max(x @ w)))) + jnp.max(x @ w),
        lambda w, x: -jnp.log(jnp.clip(jax.nn.sigmoid(x @ w[:, 0]), 1e-7, 1 - 1e-7)),
    ],
)
def test_guards_are_silent_on_all_lines(loss):
    assert find_kinks(loss, W, X) == ()


def test_lookups_by_the_wide_integers_of_numpy():
    ids = np.random.default_rng(5).integers(0, 6, size=(8, 5))

    def loss(table, ids):
        x = table[ids]
        return jnp.mean((x / jnp.maximum(jnp.abs(x), 1e-9).sum()) ** 2) + jnp.sum(jax.nn.relu(x) ** 2)

    kinks = find_kinks(loss, W, ids)
    assert ids.dtype == np.int64
    assert all(kink.examples == 8 for kink in kinks)
    assert "relu" in [kink.operation for kink in kinks]
