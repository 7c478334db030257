"""The sizes of the gradients of single examples, less their mean."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._chunks import num_examples, sum_over
from ._frozen_loss import per_loss
from ._loss import Loss, flat_loss


def gradient_sizes(
    gradient: Callable[[PyTree], Float[Array, " params"]],
    mean: Float[Array, " params"],
    examples: PyTree,
    chunk_size: int,
) -> Float[Array, " examples"]:
    """Return |g_x − G|² for every example.

    Args:
        gradient: from an example to its gradient g_x.
        mean: their mean G.
        examples: the examples x.
        chunk_size: how many of them are differentiated together.
    """

    def size(example: PyTree) -> Float[Array, ""]:
        return jnp.sum((gradient(example) - mean) ** 2)

    return jax.lax.map(size, examples, batch_size=chunk_size)


@per_loss
def compiled_gradient_sizes(loss: Loss, chunk_size: int) -> Callable[[PyTree, PyTree], Float[Array, " examples"]]:
    """Compile |g_x − G|² for every example as a function of the parameters and the data."""

    @jax.jit
    def sizes(params: PyTree, data: PyTree) -> Float[Array, " examples"]:
        theta, example_loss = flat_loss(loss, params)
        gradients = jax.vmap(jax.grad(example_loss), in_axes=(None, 0))
        total = sum_over(lambda chunk: jnp.sum(gradients(theta, chunk), axis=0), data, chunk_size)
        return gradient_sizes(
            lambda example: jax.grad(example_loss)(theta, example), total / num_examples(data), data, chunk_size
        )

    return sizes
