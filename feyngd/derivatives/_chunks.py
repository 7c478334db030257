"""Sums over many examples, chunk by chunk, in memory that does not grow with the data."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

Loss = Callable[[Any, Any], Any]


CHUNK = 64  # examples that are differentiated together


def num_examples(data: Any) -> int:
    """Return the length of the leading axis."""
    return int(jax.tree.leaves(data)[0].shape[0])


def num_params(params: Any) -> int:
    """Return how many numbers the parameters are."""
    return sum(int(jnp.size(leaf)) for leaf in jax.tree.leaves(params))


def flat_loss(loss: Loss, params: Any) -> tuple[jax.Array, Callable[[jax.Array, Any], jax.Array]]:
    """Return the parameters as one vector, and the loss as a function of such vectors."""
    theta, unravel = ravel_pytree(params)
    return theta, lambda point, example: loss(unravel(point), example)


def sum_over(function: Callable[[Any], Any], data: Any, chunk_size: int) -> Any:
    """Sum a function of stacked examples over the data, chunk by chunk and what is left over last."""
    count = num_examples(data)
    full = count - count % chunk_size
    total = None
    if full:
        chunks = jax.tree.map(lambda leaf: leaf[:full].reshape(-1, chunk_size, *leaf.shape[1:]), data)
        shapes = jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], chunks))
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        total, _ = jax.lax.scan(lambda sums, chunk: (jax.tree.map(jnp.add, sums, function(chunk)), None), zeros, chunks)
    if full < count:
        last = function(jax.tree.map(lambda leaf: leaf[full:], data))
        total = last if total is None else jax.tree.map(jnp.add, total, last)
    return total
