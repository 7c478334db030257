"""Few directions of the path that matter for its noise, found by pilot draws, and what curvature does to them, exactly.

To second order a draw of noise is mostly δ·Hδ, where δ, the first derivative by ε, is linear in the noise, and few
directions of it matter. Pilot draws tell which, in every step. The products of the Hessian of all examples with them
serve twice. Curvature that is averaged over few examples acts on what is left outside of these directions, which makes
it less noisy (deflation). And a linear chain in these directions has known means, which makes it a control variate.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ...derivatives import Loss, Sums, num_examples, per_loss
from ._importance import Urns, picked

PILOTS = 16  # draws, of every column, that tell which directions matter
_EXAMPLES = 256  # examples, at most, that make the curvature that all pilots share
_LEAST = 1e-4  # of the largest pilot direction: below, there is nothing to read
_BROAD = 8  # times as many examples side by side where few vectors are
_FOUND = 0.3  # of the curvature that pilots told, at least, must be that of all examples


class Directions(NamedTuple):
    """Directions E_t of the path, k of them, in steps 0 to T.

    Attributes:
        vectors: E_t, shape (T + 1, k, P), with E_t H_t E_tᵀ = 1 for the Hessian of the mean loss; unused ones are zero.
        readings: D_t = E_t H_t, of the same shape: coordinates are y = D_t δ.
        moves: R_t = D_t (1 − η H) E_{t−1}ᵀ, by which coordinates move, shape (T + 1, k, k); the first is not used.
        train: E H Eᵀ of the mean loss, shape (T + 1, k, k).
        test: that of the test loss; the same without test data.
    """

    vectors: jax.Array
    readings: jax.Array
    moves: jax.Array
    train: jax.Array
    test: jax.Array

    @classmethod
    def none(cls, steps: int, num_params: int, dtype: Any) -> "Directions":
        """Return no directions, where the memory has no room for any or none are wanted."""
        wide, square = (jnp.zeros((steps + 1, 0, size), dtype) for size in (num_params, 0))
        return cls(wide, wide, square, square, square)

    def at(self, time: jax.Array) -> "Directions":
        """Return those of one step; of the last one after it."""
        return Directions(*(array[jnp.minimum(time, len(array) - 1)] for array in self))

    def split(self, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return, in one step, a vector's coordinates y and what is left of it, δ − y E, of which y is zero."""
        y = self.readings @ vector
        return y, vector - y @ self.vectors


@per_loss
def compiled_directions(
    loss: Loss, noise: int | None, chunk_size: int, tested: bool, size: int
) -> Callable[..., tuple[jax.Array, Directions]]:
    """Compile pilot draws along the noiseless path.

    Args:
        loss: `loss(params, example)`.
        noise: how many random examples make the noise of a step; all of them if `None`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        size: k, how many directions to find.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), labels of steps
        0 to T, shape (T + 1, C), what examples are drawn from, and keys, shape (R,). It returns the path, shape
        (T + 1, P), and the directions.
    """

    @jax.jit
    def directions(
        params: Any, data: Any, test_data: Any, rates: jax.Array, labels: jax.Array, urns: Urns, keys: jax.Array
    ) -> tuple[jax.Array, Directions]:
        sums, broad = Sums(loss, params, chunk_size), Sums(loss, params, _BROAD * chunk_size)
        columns = labels.shape[1]

        def products(point: jax.Array, examples: tuple[Any, jax.Array], vectors: jax.Array) -> jax.Array:
            return jax.lax.map(lambda vector: broad.product(point, *examples, vector), vectors, batch_size=len(keys))

        def pushes(point: jax.Array, slope: jax.Array, tied: tuple[jax.Array, jax.Array]) -> jax.Array:
            """Return the noise of all pilots of one column."""

            def push(key: jax.Array) -> jax.Array:
                own = jax.random.fold_in(jax.random.fold_in(key, tied[0]), tied[1])
                indices, weights = urns.noise.signed(own, noise)
                return sums.gradient(point, picked(data, indices), weights)[1] - jnp.sum(weights) * slope

            return jax.vmap(push)(keys)

        def step(carry: Any, given: Any) -> Any:
            point, draws, moved = carry
            rate, time, labels = given
            slope = sums.mean_gradient(point, data)[1]
            near = urns.curvature.examples(jax.random.fold_in(keys[0], time), data, _some(data))
            curved = products(point, near, draws)
            found = _leading(draws, curved, columns, size) @ draws
            vectors, readings = _normalised(found, products(point, (data, sums.equal(data)), found))
            train = test = vectors @ readings.T
            if tested:
                test = vectors @ products(point, (test_data, sums.equal(test_data)), vectors).T
            noises = jax.lax.map(partial(pushes, point, slope), (jnp.arange(columns), labels)).reshape(draws.shape)
            after = draws - rate * (curved + noises), vectors - rate * readings
            return (point - rate * slope, *after), (
                point,
                Directions(vectors, readings, readings @ moved.T, train, test),
            )

        zeros = jnp.zeros((columns * len(keys), len(sums.start)), sums.start.dtype)
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels
        start = sums.start, zeros, jnp.zeros((size, len(sums.start)), sums.start.dtype)
        return jax.lax.scan(step, start, steps)[1]

    return directions


def _some(data: Any) -> int | None:
    """Return how many examples make the curvature of pilots; `None` for all."""
    return _EXAMPLES if num_examples(data) > _EXAMPLES else None


def _leading(draws: jax.Array, curved: jax.Array, columns: int, size: int) -> jax.Array:
    """Return A, shape (k, draws), for which E = A (draws) are the leading directions of δ·Hδ, and E·(curved)ᵀAᵀ = 1.

    All columns count the same.
    """
    kind = jnp.promote_types(draws.dtype, jnp.float32)
    energy = jnp.sum(jnp.abs(jnp.sum(draws * curved, axis=1, dtype=kind)).reshape(columns, -1), axis=1)
    scales = jnp.where(energy > 0, energy, 1) ** -0.5
    weights = jnp.repeat(jnp.where(energy > 0, scales, 0), len(draws) // columns)
    inner = (weights[:, None] * draws.astype(kind)) @ (weights[:, None] * curved.astype(kind)).T
    values, vectors = jnp.linalg.eigh((inner + inner.T) / 2)
    values, vectors = values[-size:], vectors[:, -size:]
    kept = values > _LEAST * jnp.maximum(values[-1], 0)
    factors = jnp.where(kept, jnp.where(kept, values, 1) ** -0.5, 0)
    return (factors[:, None] * vectors.T * weights).astype(draws.dtype)


def _normalised(found: jax.Array, curved: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return E and D = E H with E Dᵀ = 1, without the directions whose curvature pilots told far too large."""
    kind = jnp.promote_types(found.dtype, jnp.float32)
    inner = found.astype(kind) @ curved.astype(kind).T
    values, vectors = jnp.linalg.eigh((inner + inner.T) / 2)
    kept = values > _FOUND
    factors = (jnp.where(kept, jnp.where(kept, values, 1) ** -0.5, 0)[:, None] * vectors.T).astype(found.dtype)
    return factors @ found, factors @ curved
