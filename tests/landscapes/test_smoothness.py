"""Kinks are found where they are, and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import feyngd as fd
from feyngd.landscapes import convnet, cross_entropy, digits_landscape, kinks

WEIGHTS, EXAMPLE = jnp.linspace(-1, 1, 6).reshape(2, 3), jnp.array([0.5, -1.0])


def through(function):
    return lambda weights, x: jnp.sum(function(x @ weights) ** 2)


@pytest.mark.parametrize(
    "function",
    [jnp.tanh, jax.nn.gelu, jax.nn.silu, jax.nn.softplus, jax.nn.sigmoid, jax.nn.softmax, jax.nn.logsumexp, jnp.exp],
)
def test_smooth_functions(function):
    assert kinks(through(function), WEIGHTS, EXAMPLE) == []


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jax.nn.relu, "relu"),
        (jax.jit(jax.nn.relu), "relu"),
        (jax.nn.leaky_relu, "leaky_relu"),
        (jax.nn.elu, "elu"),
        (jnp.abs, "abs"),
        (lambda z: jnp.maximum(z, 0), "max"),
        (lambda z: jnp.max(z), "max over an axis"),
        (lambda z: jnp.where(z > 0, z, 0.1 * z), "where on a condition that depends on the parameters"),
        (lambda z: jnp.clip(z, -1, 1), "min"),
        (lambda z: jnp.sort(z), "sort"),
    ],
)
def test_kinked_functions(function, name):
    assert name in kinks(through(function), WEIGHTS, EXAMPLE)


def test_max_pooling():
    def pooled(weights, x):
        z = jnp.outer(x @ weights, x @ weights)[None, :, :, None]
        return jnp.sum(jax.lax.reduce_window(z, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "VALID"))

    assert kinks(pooled, WEIGHTS, EXAMPLE) == ["max-pool"]


def test_kinks_in_the_data_alone_do_not_matter():
    assert kinks(lambda weights, x: jnp.sum((jnp.abs(x) @ weights) ** 2), WEIGHTS, EXAMPLE) == []
    assert kinks(lambda weights, x: jnp.sum(jnp.where(x[0] > 0, x @ weights, 0) ** 2), WEIGHTS, EXAMPLE) == []


@pytest.mark.parametrize("model", ["convnet", "logistic", "mlp"])
def test_the_models_are_smooth(model):
    landscape, params = digits_landscape(model, limit=3, key=jax.random.key(0))
    assert kinks(landscape.loss, params, landscape.example(0)) == []


def test_evaluation_warns_and_names_the_layer():
    model = convnet((4, 4), 2, channels=2, hidden=2, kernel=2, activation=jax.nn.relu)
    images = np.random.default_rng(0).normal(size=(3, 4, 4)).astype(np.float32)
    landscape = fd.Landscape(cross_entropy(model), (images, np.array([0, 1, 1])))
    with pytest.warns(fd.SmoothnessWarning, match="relu") as caught:
        fd.evaluate(fd.Diagram.parse("[a]"), landscape, model.init(jax.random.key(0)), check_dtype=False)
    assert caught[0].filename == __file__
