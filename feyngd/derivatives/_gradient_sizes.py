"""The sizes of the gradients of single examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ._chunks import Loss, flat_loss, num_examples, sum_over
from ._frozen_loss import per_loss


@per_loss
def compiled_gradient_sizes(loss: Loss, chunk_size: int) -> Callable[[Any, Any], jax.Array]:
    """Compile |g_x − G|² for every example, shape (M,), as a function of the parameters and the data."""

    @jax.jit
    def sizes(params: Any, data: Any) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)
        slopes = jax.vmap(jax.grad(example_loss), in_axes=(None, 0))
        mean = sum_over(lambda chunk: jnp.sum(slopes(theta, chunk), axis=0), data, chunk_size) / num_examples(data)

        def size(example: Any) -> jax.Array:
            return jnp.sum((jax.grad(example_loss)(theta, example) - mean) ** 2)

        return jax.lax.map(size, data, batch_size=chunk_size)

    return sizes
