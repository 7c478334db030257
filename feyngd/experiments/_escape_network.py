"""A small network on components of images, trained for a while, for the experiments on what its noise is like."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..landscapes import Landscape
from ._experiment import Setting
from ._networks import images_for
from ._shift_sampling import COMPONENTS, components

WIDTH = 20
OURS = f"MLP of one tanh layer of {WIDTH} units on {COMPONENTS} components of the images"
_STEPS, _RATE = 1000, 0.5


def loss(params: Any, example: Any) -> jax.Array:
    """Return the cross-entropy of an image's label."""
    hidden = jnp.tanh(example[0] @ params["first"] + params["shift"])
    logits = hidden @ params["last"] + params["bias"]
    return jax.nn.logsumexp(logits) - logits[example[1]]


def trained(setting: Setting, key: jax.Array) -> tuple[Landscape, Any, Any]:
    """Return the landscape of an MLP, a random start, and where a thousand steps of full gradients lead from there."""
    images, labels = images_for(setting)
    data = components(np.asarray(images, dtype=float)), np.asarray(labels)
    one, other = jax.random.split(key)
    start = {
        "first": jax.random.normal(one, (COMPONENTS, WIDTH)) / COMPONENTS**0.5,
        "shift": jnp.zeros(WIDTH),
        "last": jax.random.normal(other, (WIDTH, 10)) / WIDTH**0.5,
        "bias": jnp.zeros(10),
    }

    def mean(params: Any) -> jax.Array:
        return jnp.mean(jax.vmap(loss, (None, 0))(params, jax.tree.map(jnp.asarray, data)))

    def step(_: int, params: Any) -> Any:
        return jax.tree.map(lambda leaf, slope: leaf - _RATE * slope, params, jax.grad(mean)(params))

    after = jax.jit(lambda params: jax.lax.fori_loop(0, _STEPS, step, params))(start)
    return Landscape(loss, data), start, after
