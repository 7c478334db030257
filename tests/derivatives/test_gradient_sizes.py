"""The sizes of gradients less their mean are those of their definition, in any chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from feyngd.derivatives._gradient_sizes import compiled_gradient_sizes


def loss(params, x):
    return jnp.tanh(x @ params["w"]) * x[0] + params["b"] ** 2 * x[1]


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 16])
def test_sizes_are_those_of_the_definition(chunk_size):
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        data, params = rng.normal(size=(7, 3)), {"w": rng.normal(size=3), "b": np.array(0.5)}
        found = compiled_gradient_sizes(loss, chunk_size)(params, data)
        by_leaf = jax.vmap(jax.grad(loss), in_axes=(None, 0))(params, data)
    rows = np.concatenate([np.reshape(leaf, (7, -1)) for leaf in jax.tree.leaves(by_leaf)], axis=1)
    np.testing.assert_allclose(found, np.sum((rows - rows.mean(axis=0)) ** 2, axis=1), rtol=1e-10)
