"""The gradients of the examples at one point, and their covariance as a matrix, as samples and as products."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import CHUNK, Loss, flat_loss, num_examples, num_params, per_loss, sum_over
from ...landscapes import Landscape
from ...minima import MeanLoss
from ...spectra import compiled_combinations, signs


def gradients_of(landscape: Landscape, params: Any) -> np.ndarray:
    """Return the gradient of every example of the data, shape (M, p)."""
    return np.asarray(_compiled_gradients(landscape.loss)(params, landscape.data), dtype=float)


class Noise:
    """The covariance D of the examples' gradients at a point, divided by M, plus β²I, as a function of vectors.

    Args:
        landscape: frozen, as `enter` returns it.
        params: the point.
        isotropic: β.
    """

    def __init__(self, landscape: Landscape, params: Any, isotropic: float = 0.0) -> None:
        self._landscape, self._params, self._beta = landscape, params, isotropic

    def matrix(self) -> np.ndarray:
        """Return D, shape (p, p)."""
        rows = gradients_of(self._landscape, self._params)
        rows = rows - rows.mean(axis=0)
        return rows.T @ rows / len(rows) + self._beta**2 * np.eye(rows.shape[1])

    def trace(self, of: str = "train") -> float:
        """Return tr D, of the train or of the test data."""
        data = MeanLoss(self._landscape, self._params, of).data
        sizes = np.asarray(_compiled_sizes(self._landscape.loss)(self._params, data), dtype=float)
        return float(sizes[0] - sizes[1]) + self._beta**2 * num_params(self._params)

    def samples(self, count: int, key: Any) -> np.ndarray:
        """Return random combinations v of gradients with E[v vᵀ] = D, shape (count, p)."""
        for_signs, for_rest = jax.random.split(key)
        examples, members = self._landscape.num_examples, np.arange(count)
        weights = np.asarray(signs(for_signs, members, examples)) * ((examples - 1) / examples) ** 0.5
        found = self._combinations(weights)
        if self._beta:
            found = found + self._beta * np.asarray(jax.random.rademacher(for_rest, found.shape, float))
        return found

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """Return D z for vectors z, shape (n, p)."""
        along = _compiled_slopes(self._landscape.loss)(self._params, self._landscape.data, vectors)
        weights = np.asarray(along, dtype=float)
        weights = (weights - weights.mean(axis=1, keepdims=True)) / weights.shape[1]
        return self._combinations(weights) + self._beta**2 * vectors

    def _combinations(self, weights: np.ndarray) -> np.ndarray:
        chunk = min(CHUNK, self._landscape.num_examples)
        combine = compiled_combinations(self._landscape.loss, chunk)
        return np.asarray(combine(self._params, self._landscape.data, jnp.asarray(weights)), dtype=float)


@per_loss
def _compiled_sizes(loss: Loss) -> Callable[[Any, Any], jax.Array]:
    """Compile the mean of |g|² over examples, and |ḡ|²."""

    @jax.jit
    def sizes(params: Any, data: Any) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)

        def sums(chunk: Any) -> tuple[jax.Array, jax.Array]:
            rows = jax.vmap(jax.grad(example_loss), in_axes=(None, 0))(theta, chunk)
            return jnp.sum(rows**2), jnp.sum(rows, axis=0)

        count = num_examples(data)
        square, total = sum_over(sums, data, min(CHUNK, count))
        return jnp.stack([square / count, jnp.sum((total / count) ** 2)])

    return sizes


@per_loss
def _compiled_slopes(loss: Loss) -> Callable[..., jax.Array]:
    """Compile the slope of every example's loss along vectors, shape (n, M)."""

    @jax.jit
    def slopes(params: Any, data: Any, vectors: Any) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)
        rows = jnp.asarray(vectors, theta.dtype)
        each = jax.lax.map(lambda example: rows @ jax.grad(example_loss)(theta, example), data, batch_size=CHUNK)
        return each.T

    return slopes


@per_loss
def _compiled_gradients(loss: Loss) -> Callable[[Any, Any], jax.Array]:
    """Compile the gradients of all examples as rows."""

    @jax.jit
    def gradients(params: Any, data: Any) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)
        return jax.lax.map(lambda example: jax.grad(example_loss)(theta, example), data, batch_size=CHUNK)

    return gradients
