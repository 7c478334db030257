"""The mean of a landscape's loss over train or test data around a point, with a penalty and directional derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..derivatives import CHUNK, Loss, flat_loss, num_examples, per_loss, sum_over
from ..landscapes import Landscape

Flat = Callable[[jax.Array], jax.Array]

_BLOCK = 32  # vectors that are multiplied together: always as many, or a single one, so that two programs serve all


class MeanLoss:
    """The mean loss plus α|θ|²/2, as a function of flat vectors.

    Vectors are in double precision; the loss itself computes in that of the parameters.

    Args:
        landscape: frozen, as `feyngd.landscapes.enter` returns it.
        params: a point, which shows the structure.
        of: "train": over the data; "test": over the test data, or the data in readings that have none.
        penalty: α.
    """

    def __init__(self, landscape: Landscape, params: Any, of: str = "train", penalty: float = 0.0) -> None:
        self._loss, self._params, self.penalty = landscape.loss, params, penalty
        self.data = landscape.test_data if of == "test" and landscape.test_data is not None else landscape.data
        self.start = np.asarray(flat_loss(landscape.loss, params)[0], dtype=float)
        self.eps = float(jnp.finfo(jnp.result_type(*jax.tree.leaves(params))).eps)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient at a point, shape (p,)."""
        value, slope = _compiled_gradient(self._loss)(self._params, self.data, theta)
        penalty = self.penalty / 2 * float(theta @ theta)
        return float(value) + penalty, np.asarray(slope, dtype=float) + self.penalty * theta

    def products(self, theta: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return products of the Hessian at a point with vectors, shape (n, p)."""
        compiled = partial(_compiled_products(self._loss), self._params, self.data, theta)
        return _in_blocks(compiled, vectors) + self.penalty * vectors

    def third(self, theta: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return the vectors J[·, x, x] for vectors x, shape (n, p); the penalty has no third derivative."""
        return _in_blocks(partial(_compiled_third(self._loss), self._params, self.data, theta), vectors)

    def hessian(self, theta: np.ndarray) -> np.ndarray:
        """Return the Hessian at a point, shape (p, p)."""
        matrix = self.products(theta, np.eye(len(theta)))
        return (matrix + matrix.T) / 2

    def shaped(self, theta: np.ndarray) -> Any:
        """Return a vector with the structure and the precision of the parameters."""
        leaves, structure = jax.tree.flatten(self._params)
        places = np.cumsum([leaf.size for leaf in leaves])[:-1]
        parts = zip(np.split(theta, places), leaves, strict=True)
        return jax.tree.unflatten(
            structure, [jnp.asarray(part.reshape(leaf.shape), leaf.dtype) for part, leaf in parts]
        )


def _in_blocks(function: Callable[[np.ndarray], Any], rows: np.ndarray) -> np.ndarray:
    """Return a function of each row, a block at a time; blocks are filled up with zeros."""
    size = 1 if len(rows) == 1 else _BLOCK
    found = [np.zeros((0, rows.shape[1]))]
    for first in range(0, len(rows), size):
        block = rows[first : first + size]
        filled = np.concatenate([block, np.zeros((size - len(block), rows.shape[1]))])
        found.append(np.asarray(function(filled), dtype=float)[: len(block)])
    return np.concatenate(found)


def _mean(loss: Loss, params: Any, data: Any, theta: Any, of_sum: Callable[[Flat, jax.Array], Any]) -> Any:
    """Return the mean over examples of something of the sum of losses of a chunk, at θ in the loss's precision."""
    start, example_loss = flat_loss(loss, params)
    point, count = jnp.asarray(theta, start.dtype), num_examples(data)

    def of_chunk(chunk: Any) -> Any:
        return of_sum(lambda at: jnp.sum(jax.vmap(partial(example_loss, at))(chunk)), point)

    return jax.tree.map(lambda total: total / count, sum_over(of_chunk, data, min(CHUNK, count)))


@per_loss
def _compiled_gradient(loss: Loss) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Compile the mean loss and its gradient."""

    @jax.jit
    def gradient(params: Any, data: Any, theta: Any) -> tuple[jax.Array, jax.Array]:
        return _mean(loss, params, data, theta, lambda total, at: jax.value_and_grad(total)(at))

    return gradient


@per_loss
def _compiled_products(loss: Loss) -> Callable[..., jax.Array]:
    """Compile products of the Hessian with vectors in rows."""

    @jax.jit
    def products(params: Any, data: Any, theta: Any, vectors: Any) -> jax.Array:
        def of_sum(total: Flat, at: jax.Array) -> jax.Array:
            return jax.vmap(lambda v: jax.jvp(jax.grad(total), (at,), (v,))[1])(jnp.asarray(vectors, at.dtype))

        return _mean(loss, params, data, theta, of_sum)

    return products


@per_loss
def _compiled_third(loss: Loss) -> Callable[..., jax.Array]:
    """Compile J[·, x, x] for vectors x in rows."""

    @jax.jit
    def third(params: Any, data: Any, theta: Any, vectors: Any) -> jax.Array:
        def of_sum(total: Flat, at: jax.Array) -> jax.Array:
            def along(x: jax.Array) -> jax.Array:
                return jax.jvp(lambda point: jax.jvp(jax.grad(total), (point,), (x,))[1], (at,), (x,))[1]

            return jax.vmap(along)(jnp.asarray(vectors, at.dtype))

        return _mean(loss, params, data, theta, of_sum)

    return third
