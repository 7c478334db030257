"""A linear chain in few dimensions beside every draw, whose second moments are known: it takes much of the spread away.

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

from ..evaluation import Loss, num_examples
from ._sums import Sums
from ._urns import Urns, gradients_together, picked

PILOTS = 16  # draws, of every equivalence of steps, that tell which directions matter
_EXAMPLES = 256  # examples, at most, that make the curvature that all pilots share
_LEAST = 1e-4  # of the largest pilot direction: below, there is nothing to read
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
    def nothing(cls, steps: int, num_params: int, num_ties: int, dtype: Any) -> "Reduced":
        """Return no coordinates, which control nothing."""
        matrices = np.zeros((steps + 1, 0, 0))
        return cls(
            jnp.zeros((steps + 1, 0, num_params), dtype),
            jnp.zeros((steps + 1, 0, 0), dtype),
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
        noise: how many random examples make the noise of a step; all of them if `None`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        size: k, how many coordinates to find.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), labels of steps
        0 to T, shape (T + 1, S), what examples are drawn from, and keys, shape (R,). It returns, for every t from 0 to
        T: the path, shape (T + 1, P), D_t, R_t, and the second derivatives of the mean loss and of the test loss or
        `None` by the coordinates.
    """

    @jax.jit
    def pilots(
        params: Any, data: Any, test_data: Any, rates: jax.Array, labels: jax.Array, urns: Urns, keys: jax.Array
    ) -> tuple[Any, ...]:
        sums = Sums(loss, params, chunk_size)
        ties = labels.shape[1]

        def products(point: jax.Array, near: tuple[Any, jax.Array], vectors: jax.Array) -> jax.Array:
            # As many side by side as there are draws, which takes no more memory than the draws that follow.
            return jax.lax.map(lambda vector: sums.product(point, *near, vector), vectors, batch_size=len(keys))

        def pushes(point: jax.Array, slope: jax.Array, tied: tuple[jax.Array, jax.Array]) -> jax.Array:
            """Return the noise of all pilots of one equivalence of steps."""

            def push(key: jax.Array) -> jax.Array:
                own = jax.random.fold_in(jax.random.fold_in(key, tied[0]), tied[1])
                indices, weights = urns.noise.signed(own, noise)
                return sums.gradient(point, picked(data, indices), weights)[1] - jnp.sum(weights) * slope

            return jax.vmap(push)(keys)

        def step(carry: Any, given: Any) -> Any:
            point, draws, moved = carry
            rate, time, labels = given
            for_data, for_test = jax.random.split(jax.random.fold_in(keys[0], time))
            _, slope = sums.mean_gradient(point, data)
            curved = products(point, urns.curvature.examples(for_data, data, _some(data)), draws)
            read = _leading(draws, curved, ties, size)
            directions, vectors = read @ curved, read @ draws
            train = vectors @ directions.T
            test = None
            if tested:
                probe = urns.probe.examples(for_test, test_data, _some(test_data))
                test = vectors @ products(point, probe, vectors).T
            noises = jax.lax.map(partial(pushes, point, slope), (jnp.arange(ties), labels)).reshape(draws.shape)
            after = draws - rate * (curved + noises), vectors - rate * directions
            return (point - rate * slope, *after), (point, directions, directions @ moved.T, train, test)

        zeros = jnp.zeros((ties * len(keys), len(sums.start)), sums.start.dtype)
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels
        start = sums.start, zeros, jnp.zeros((size, len(sums.start)), sums.start.dtype)
        return jax.lax.scan(step, start, steps)[1]

    return pilots


def _some(data: Any) -> int | None:
    """Return how many examples make the curvature of pilots; `None` for all."""
    return _EXAMPLES if num_examples(data) > _EXAMPLES else None


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
        sums = Sums(loss, params, 1)
        count, together = num_examples(data), gradients_together(len(sums.start))

        def step(carry: tuple[jax.Array, jax.Array], given: Any) -> Any:
            own, past = carry
            point, read, move, rate, begins = given
            pushes = jax.lax.map(
                lambda example: read @ sums.example_gradient(point, example), data, batch_size=min(together, count)
            )
            pushes = pushes - jnp.mean(pushes, axis=0)
            # The noise of one class: an example's share of it moves all coordinates of its own chain.
            past = jnp.where(begins[:, None, None], past + _second(own), past)
            own = jnp.where(begins[:, None, None], 0, own)
            own, past = own @ move.T - rate * pushes, move @ past @ move.T
            return (own, past), past + _second(own)

        ties, size = begins.shape[1], directions.shape[1]
        start = jnp.zeros((ties, count, size), sums.start.dtype), jnp.zeros((ties, size, size), sums.start.dtype)
        found = jax.lax.scan(step, start, (path[:-1], directions[1:], moves[1:], rates, begins))[1]
        return jnp.moveaxis(jnp.concatenate([start[1][None], found]), 0, 1)

    return moments


def _second(rows: jax.Array) -> jax.Array:
    return jnp.einsum("sxi,sxj->sij", rows, rows) / rows.shape[1]
