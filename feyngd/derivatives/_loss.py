"""The loss of one example, as a function of the parameters as one vector."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

Update = Callable[[PyTree, PyTree], Any]  # update(params, example), a pytree like the parameters
Loss = Callable[[PyTree, PyTree], Any]  # loss(params, example), one real number; checks look at what it really returns


def num_params(params: PyTree) -> int:
    """Return how many numbers the parameters are."""
    return sum(int(jnp.size(leaf)) for leaf in jax.tree.leaves(params))


def flat_loss(
    loss: Loss, params: PyTree
) -> tuple[Float[Array, " params"], Callable[[Float[Array, " params"], PyTree], Any]]:
    """Return the parameters as one vector, and the loss as a function of such vectors and an example."""
    theta, unravel = ravel_pytree(params)
    return theta, lambda point, example: loss(unravel(point), example)
