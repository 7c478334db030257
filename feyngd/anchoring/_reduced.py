"""A linear chain in few dimensions beside every draw, whose second moments are known: it takes most of the spread away.

To second order a draw is mostly δ·Hδ, where δ, the first derivative by ε, is linear in the noise, and few directions of
it matter. Pilot draws tell which, y = D_t δ, and by which matrices R_t they move. Then

    y_{t+1} = R_{t+1} y_t − η D_{t+1} (the noise of step t)

is driven by a draw's own noise, and the mean of y yᵀ follows from the covariance of the noise over all examples,
whatever D and R are. So y·My less its mean is a control variate: it leaves means as they are, however well y stands
for δ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..evaluation import Loss, flat_loss, num_examples, sum_over, with_products
from ._fields import picked, random_examples, random_signs

PILOTS = 16  # draws, of every equivalence of steps, that tell which directions matter
_EXAMPLES = 256  # examples, at most, that make the noise of a pilot, and the curvature that all pilots share
_LEAST = 1e-4  # of the largest pilot direction: below, there is nothing to read
_GRADIENTS = 2**24  # numbers that gradients of single examples may take at a time
_FITTED = 128  # draws from which on the control's factor is fitted; with fewer, errors of the fit would count


@dataclass(frozen=True)
class Reduced:
    """Few coordinates y = D_t δ along the path, k of them.

    Attributes:
        directions: D_t, shape (T + 1, k, P).
        moves: R_t, shape (T + 1, k, k); the first is not used.
        train: the second derivative of the mean loss by y, shape (T + 1, k, k), about.
        test: that of the test loss.
        moments: E y yᵀ for every equivalence of steps, shape (S, T + 1, k, k); NaN where it is not known.
    """

    directions: jax.Array
    moves: jax.Array
    train: np.ndarray
    test: np.ndarray
    moments: np.ndarray

    @classmethod
    def nothing(cls, steps: int, num_params: int, num_ties: int) -> "Reduced":
        """Return no coordinates, which control nothing."""
        matrices = np.zeros((steps + 1, 0, 0))
        return cls(
            jnp.zeros((steps + 1, 0, num_params)),
            jnp.zeros((steps + 1, 0, 0)),
            matrices,
            matrices,
            np.zeros((num_ties, steps + 1, 0, 0)),
        )

    def controlled(self, rows: np.ndarray, y: np.ndarray, curvature: np.ndarray) -> np.ndarray:
        """Return draws of a second derivative less their control variates, shape (R, S, T + 1).

        Args:
            rows: the draws.
            y: their coordinates, shape (R, S, T + 1, k).
            curvature: `train` or `test`.
        """
        known = np.einsum("tij,stij->st", curvature, self.moments)
        control = np.einsum("rsti,tij,rstj->rst", y, curvature, y) - known
        usable = np.isfinite(known)
        return np.where(usable, rows - _factors(rows, control) * control, rows)


def _factors(rows: np.ndarray, control: np.ndarray) -> np.ndarray:
    """Return how much of the control to take off: fitted to the other half of the draws, which keeps it unbiased."""
    if len(rows) < _FITTED:
        return np.ones_like(rows)
    found = np.empty_like(rows)
    halves = slice(0, None, 2), slice(1, None, 2)
    for own, other in (halves, halves[::-1]):
        x, z = rows[other] - rows[other].mean(axis=0), control[other] - control[other].mean(axis=0)
        scale = np.sum(z * z, axis=0)
        found[own] = np.divide(np.sum(x * z, axis=0), scale, out=np.zeros_like(scale), where=scale > 0)
    return found


@lru_cache(maxsize=64)
def compiled_pilots(loss: Loss, noise: int | None, chunk_size: int, tested: bool, size: int) -> Callable[..., Any]:
    """Compile pilot draws along the noiseless path.

    Args:
        loss: `loss(params, example)`.
        noise: how many examples make the noise of a step, 256 at most; as many as that if `None`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        size: k, how many coordinates to find.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), labels of steps
        0 to T, shape (T + 1, S), and keys, shape (R,). It returns, for every t from 0 to T: the path, shape (T + 1, P),
        D_t, R_t, and the second derivatives of the mean loss and of the test loss or `None` by the coordinates.
    """

    @jax.jit
    def pilots(
        params: Any, data: Any, test_data: Any, rates: jax.Array, labels: jax.Array, keys: jax.Array
    ) -> tuple[Any, ...]:
        theta, example_loss = flat_loss(with_products(loss), params)
        ties = labels.shape[1]

        def weighted(point: jax.Array, examples: Any, weights: jax.Array) -> jax.Array:
            return jnp.dot(weights, jax.vmap(partial(example_loss, point))(examples))

        def mean(point: jax.Array, examples: Any) -> jax.Array:
            return jnp.mean(jax.vmap(partial(example_loss, point))(examples))

        def slope(point: jax.Array) -> jax.Array:
            def sums(chunk: Any) -> jax.Array:
                return jax.grad(lambda point: jnp.sum(jax.vmap(partial(example_loss, point))(chunk)))(point)

            return sum_over(sums, data, chunk_size) / num_examples(data)

        def products(point: jax.Array, examples: Any, vectors: jax.Array) -> jax.Array:
            near = jax.grad(partial(mean, examples=examples))
            # As many side by side as there are draws, which takes no more memory than the draws that follow.
            return jax.lax.map(lambda vector: jax.jvp(near, (point,), (vector,))[1], vectors, batch_size=len(keys))

        def pushes(point: jax.Array, tied: tuple[jax.Array, jax.Array]) -> jax.Array:
            """Return the noise of all pilots of one equivalence of steps."""

            def push(key: jax.Array) -> jax.Array:
                own = jax.random.fold_in(jax.random.fold_in(key, tied[0]), tied[1])
                indices, signs = random_signs(own, num_examples(data), _some(data, noise), theta.dtype)
                return jax.grad(weighted)(point, picked(data, indices), signs)

            return jax.vmap(push)(keys)

        def step(carry: Any, given: Any) -> Any:
            point, draws, moved = carry
            rate, time, labels = given
            for_data, for_test = jax.random.split(jax.random.fold_in(keys[0], time))
            curved = products(point, random_examples(for_data, data, _some(data)), draws)
            read = _leading(draws, curved, ties, size)
            directions, vectors = read @ curved, read @ draws
            train = vectors @ directions.T
            test = None
            if tested:
                probe = random_examples(for_test, test_data, _some(test_data))
                test = vectors @ products(point, probe, vectors).T
            noises = jax.lax.map(partial(pushes, point), (jnp.arange(ties), labels)).reshape(draws.shape)
            after = draws - rate * (curved + noises), vectors - rate * directions
            return (point - rate * slope(point), *after), (point, directions, directions @ moved.T, train, test)

        zeros = jnp.zeros((ties * len(keys), len(theta)), theta.dtype)
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels
        start = theta, zeros, jnp.zeros((size, len(theta)), theta.dtype)
        return jax.lax.scan(step, start, steps)[1]

    return pilots


def _some(data: Any, size: int | None = None) -> int | None:
    """Return how many examples to draw: so many, but no more than go through a pilot at a time; `None` for all."""
    least = min(_EXAMPLES, size or _EXAMPLES)
    return least if num_examples(data) > least else None


def _leading(draws: jax.Array, curved: jax.Array, ties: int, size: int) -> jax.Array:
    """Return A, shape (k, draws): D = A (curved) reads the coordinates of the vectors E = A (draws), so that D Eᵀ = 1.

    They are the leading directions of δ·Hδ, every equivalence of steps counting the same.
    """
    kind = jnp.promote_types(draws.dtype, jnp.float32)
    energy = jnp.sum(jnp.abs(jnp.sum(draws * curved, axis=1, dtype=kind)).reshape(ties, -1), axis=1)
    scales = jnp.where(energy > 0, energy, 1) ** -0.5
    weights = jnp.repeat(jnp.where(energy > 0, scales, 0), len(draws) // ties)
    inner = (weights[:, None] * draws.astype(kind)) @ (weights[:, None] * curved.astype(kind)).T
    values, vectors = jnp.linalg.eigh((inner + inner.T) / 2)
    values, vectors = values[-size:], vectors[:, -size:]
    kept = values > _LEAST * jnp.maximum(values[-1], 0)
    factors = jnp.where(kept, jnp.where(kept, values, 1) ** -0.5, 0)
    return (factors[:, None] * vectors.T * weights).astype(draws.dtype)


@lru_cache(maxsize=64)
def compiled_moments(loss: Loss) -> Callable[..., jax.Array]:
    """Compile the second moments of coordinates, for noise that is independent between classes of successive steps.

    Returns:
        A function of the parameters, the data, the path, D_t, R_t, the learning rates, and whether a new class begins
        in steps 0 to T − 1, shape (T, S). It returns E y yᵀ, shape (S, T + 1, k, k).
    """

    @jax.jit
    def moments(
        params: Any,
        data: Any,
        path: jax.Array,
        directions: jax.Array,
        moves: jax.Array,
        rates: jax.Array,
        begins: jax.Array,
    ) -> jax.Array:
        theta, example_loss = flat_loss(with_products(loss), params)
        count, together = num_examples(data), max(1, _GRADIENTS // len(theta))

        def step(carry: tuple[jax.Array, jax.Array], given: Any) -> Any:
            own, past = carry
            point, read, move, rate, begins = given
            slope = jax.grad(example_loss)
            pushes = jax.lax.map(lambda example: read @ slope(point, example), data, batch_size=min(together, count))
            pushes = pushes - jnp.mean(pushes, axis=0)
            # The noise of one class: an example's share of it moves all coordinates of its own chain.
            past = jnp.where(begins[:, None, None], past + _second(own), past)
            own = jnp.where(begins[:, None, None], 0, own)
            own, past = own @ move.T - rate * pushes, move @ past @ move.T
            return (own, past), past + _second(own)

        ties, size = begins.shape[1], directions.shape[1]
        start = jnp.zeros((ties, count, size), theta.dtype), jnp.zeros((ties, size, size), theta.dtype)
        found = jax.lax.scan(step, start, (path[:-1], directions[1:], moves[1:], rates, begins))[1]
        return jnp.moveaxis(jnp.concatenate([start[1][None], found]), 0, 1)

    return moments


def _second(rows: jax.Array) -> jax.Array:
    return jnp.einsum("sxi,sxj->sij", rows, rows) / rows.shape[1]
