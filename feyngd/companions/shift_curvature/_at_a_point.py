"""What is needed of a landscape at one point: gradients of examples, products and third derivatives of mean losses.

Everything takes and gives flat vectors in double precision; the loss itself computes in the precision of the
parameters. Test data are those of the conditional reading, and the data in the other readings.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import CHUNK, Loss, flat_loss, num_examples, per_loss, sum_over
from ...landscapes import Landscape

Flat = Callable[[jax.Array], jax.Array]


def gradients_of(landscape: Landscape, params: Any) -> np.ndarray:
    """Return the gradient of every example of the data, shape (M, p)."""
    return np.asarray(_compiled_gradients(landscape.loss)(params, landscape.data), dtype=float)


def data_of(landscape: Landscape, of: str) -> Any:
    """Return the data of the "train" or the "test" loss."""
    return landscape.test_data if of == "test" and landscape.test_data is not None else landscape.data


class PointLoss:
    """The mean loss over some data around a point, plus a penalty α|θ|²/2, with derivatives.

    Args:
        landscape: frozen, as `enter` returns it.
        params: the point.
        of: "train" or "test".
        penalty: α.
    """

    def __init__(self, landscape: Landscape, params: Any, of: str = "train", penalty: float = 0.0) -> None:
        self._data, self.penalty = data_of(landscape, of), penalty
        self._loss, self._params = landscape.loss, params
        self.start = np.asarray(flat_loss(landscape.loss, params)[0], dtype=float)
        self.eps = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(params))).eps)

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient at a point, shape (p,)."""
        value, slope = _compiled_value_and_gradient(self._loss)(self._params, self._data, theta)
        return (
            float(value) + self.penalty / 2 * float(theta @ theta),
            np.asarray(slope, dtype=float) + self.penalty * theta,
        )

    def products(self, theta: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return products of the Hessian at a point with vectors, shape (n, p)."""
        images = _compiled_products(self._loss)(self._params, self._data, theta, vectors)
        return np.asarray(images, dtype=float) + self.penalty * vectors

    def third(self, theta: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return the vectors J[·, x, x] for vectors x, shape (n, p); the penalty has no third derivative."""
        return np.asarray(_compiled_third(self._loss)(self._params, self._data, theta, vectors), dtype=float)


@per_loss
def _compiled_gradients(loss: Loss) -> Callable[[Any, Any], jax.Array]:
    """Compile the gradients of all examples as rows."""

    @jax.jit
    def gradients(params: Any, data: Any) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)
        return jax.lax.map(lambda example: jax.grad(example_loss)(theta, example), data, batch_size=CHUNK)

    return gradients


def _mean(loss: Loss, params: Any, theta: Any, of_chunk: Callable[[Flat, jax.Array], Any], data: Any) -> Any:
    """Return the mean over examples of something of the loss summed over a chunk, at θ in the loss's precision."""
    start, example_loss = flat_loss(loss, params)
    point = jnp.asarray(theta, start.dtype)

    def of(chunk: Any) -> Any:
        return of_chunk(lambda at: jnp.sum(jax.vmap(partial(example_loss, at))(chunk)), point)

    count = num_examples(data)
    return jax.tree.map(lambda total: total / count, sum_over(of, data, min(CHUNK, count)))


@per_loss
def _compiled_value_and_gradient(loss: Loss) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Compile the mean loss and its gradient."""
    return jax.jit(
        lambda params, data, theta: _mean(loss, params, theta, lambda f, at: jax.value_and_grad(f)(at), data)
    )


@per_loss
def _compiled_products(loss: Loss) -> Callable[..., jax.Array]:
    """Compile products of the Hessian with vectors in rows."""

    def products(params: Any, data: Any, theta: Any, vectors: Any) -> jax.Array:
        def of_chunk(f: Flat, at: jax.Array) -> jax.Array:
            rows = jnp.asarray(vectors, at.dtype)
            return jax.vmap(lambda v: jax.jvp(jax.grad(f), (at,), (v,))[1])(rows)

        return _mean(loss, params, theta, of_chunk, data)

    return jax.jit(products)


@per_loss
def _compiled_third(loss: Loss) -> Callable[..., jax.Array]:
    """Compile J[·, x, x] for vectors x in rows."""

    def third(params: Any, data: Any, theta: Any, vectors: Any) -> jax.Array:
        def of_chunk(f: Flat, at: jax.Array) -> jax.Array:
            def along(x: jax.Array) -> jax.Array:
                def product(point: jax.Array) -> jax.Array:
                    return jax.jvp(jax.grad(f), (point,), (x,))[1]

                return jax.jvp(product, (at,), (x,))[1]

            return jax.vmap(along)(jnp.asarray(vectors, at.dtype))

        return _mean(loss, params, theta, of_chunk, data)

    return jax.jit(third)
