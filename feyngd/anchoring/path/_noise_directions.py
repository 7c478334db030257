"""Few directions of the path that matter for its noise, found by pilot draws, and what curvature does to them, exactly.

To second order a draw of noise is mostly δ·Hδ, where δ, the first derivative by ε, is linear in the noise, and few
directions of it matter. Pilot draws show which, in every step. The products of the Hessian of all examples with them
serve twice. Curvature that is averaged over few examples acts only on what is left outside of these directions, which
makes it less noisy (deflation). And a linear process in these directions has known means, which makes it a control
variate.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, Shaped

from ..._mesh import ALONE, Devices
from ...derivatives import Loss, num_examples, per_loss
from ._importance import ExampleSamplers, picked
from ._shared_sums import SharedSums

PILOTS = 16  # draws, of every column, that show which directions matter
_EXAMPLES = 256  # examples, at most, that make the curvature that all pilots share
_BROAD = 8  # times as many examples side by side where there are few vectors
# Directions of less than this share of the largest δ·Hδ are left out. Single precision gives an inner product of
# vectors to about 1e-6 of the largest one, so that two digits are left of what is kept.
_LEAST = 1e-4
# Directions found by the curvature of few examples have E H Eᵀ = 1 by it. Where the curvature of all examples gives
# less than this, they were led by the few, and normalising would make them larger by more than 0.3^(−1/2) = 1.8.
_FOUND = 0.3


class Directions(NamedTuple):
    """Directions E_t of the path, k of them, in steps 0 to T.

    Attributes:
        vectors: E_t, with E_t H_t E_tᵀ = 1 for the Hessian H_t of the mean loss; unused ones are zero.
        readings: D_t = E_t H_t: coordinates are y = D_t δ.
        moves: R_t = D_t (1 − η H) E_{t−1}ᵀ, by which coordinates move; the first is not used.
        train: E H Eᵀ of the mean loss.
        test: E H Eᵀ of the test loss; the same without test data.
    """

    vectors: Float[Array, "*steps directions params"]
    readings: Float[Array, "*steps directions params"]
    moves: Float[Array, "*steps directions directions"]
    train: Float[Array, "*steps directions directions"]
    test: Float[Array, "*steps directions directions"]

    @classmethod
    def none(cls, steps: int, num_params: int, dtype: Any) -> "Directions":
        """Return no directions, where there is no memory for any or none are wanted."""
        wide, square = (jnp.zeros((steps + 1, 0, size), dtype) for size in (num_params, 0))
        return cls(wide, wide, square, square, square)

    def at(self, time: Int[Array, ""]) -> "Directions":
        """Return those of one step; of the last one after it."""
        return Directions(*(array[jnp.minimum(time, len(array) - 1)] for array in self))

    def split(self, vector: Float[Array, " params"]) -> tuple[Float[Array, " directions"], Float[Array, " params"]]:
        """Return, in one step, a vector's coordinates y and what is left of it, δ − y E, of which y is zero."""
        y = self.readings @ vector
        return y, vector - y @ self.vectors


class _Pilots(NamedTuple):
    """What pilots carry from step to step.

    Attributes:
        point: θ_t, the noiseless path.
        draws: δ_t, the first derivative by ε of every pilot.
        moved: (1 − η H) E_{t−1}ᵀ, the directions of the step before as they have moved, in rows.
    """

    point: Float[Array, " params"]
    draws: Float[Array, "pilots params"]
    moved: Float[Array, "directions params"]


@per_loss
def compiled_directions(
    loss: Loss, noise: int | None, chunk_size: int, tested: bool, size: int, devices: Devices = ALONE
) -> Callable[..., tuple[Float[Array, "points params"], Directions]]:
    """Compile pilot draws along the noiseless path.

    Args:
        loss: `loss(params, example)`.
        noise: how many random examples make the noise of a step; all of them if `None`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        size: k, how many directions to find.
        devices: those that share the pilots and the examples.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, labels of steps 0 to T in
        every column, what examples are drawn from, and a key for every pilot of a column. It returns the path and the
        directions.
    """

    def directions(
        params: PyTree,
        data: PyTree,
        test_data: PyTree,
        rates: Float[Array, " steps"],
        labels: Int[Array, "points columns"],
        samplers: ExampleSamplers,
        keys: Shaped[Array, "draws ..."],
    ) -> tuple[Float[Array, "points params"], Directions]:
        sums, broad = (SharedSums(loss, params, size, devices) for size in (chunk_size, _BROAD * chunk_size))
        columns, own_keys = labels.shape[1], devices.own(keys)

        def products(
            point: Float[Array, " params"],
            examples: tuple[PyTree, Float[Array, " examples"]],
            vectors: Float[Array, "vectors params"],
        ) -> Float[Array, "vectors params"]:
            """Return Hv for the Hessian of weighted examples."""
            return jax.lax.map(lambda vector: broad.product(point, *examples, vector), vectors, batch_size=len(keys))

        def mean_products(
            point: Float[Array, " params"], examples: PyTree, vectors: Float[Array, "vectors params"]
        ) -> Float[Array, "vectors params"]:
            """Return Hv for the Hessian of the mean over examples."""
            return devices.total(products(point, broad.own(examples), vectors))

        def noise_gradients(
            point: Float[Array, " params"],
            gradient: Float[Array, " params"],
            tied: tuple[Int[Array, ""], Int[Array, ""]],
        ) -> Float[Array, "draws params"]:
            """Return ∇F of this device's pilots of one column, given its number and label."""
            column, label = tied

            def of_pilot(key: PRNGKeyArray) -> Float[Array, " params"]:
                indices, weights = samplers.noise.signed(jax.random.fold_in(key, column), label, noise)
                return sums.gradient(point, picked(data, indices), weights)[1] - jnp.sum(weights) * gradient

            return jax.vmap(of_pilot)(own_keys)

        def step(carry: _Pilots, given: Any) -> Any:
            point, draws, moved = carry
            rate, time, labels = given
            gradient = sums.mean_gradient(point, data)[1]
            near = samplers.curvature.examples(jax.random.fold_in(keys[0], time), data, _some(data))
            curved = devices.collected(products(point, near, devices.own(draws)), len(draws))  # H δ by few examples
            leading = _leading(draws, curved, columns, size) @ draws
            vectors, readings = _normalised(leading, mean_products(point, data, leading))  # E and E H
            train = test = vectors @ readings.T
            if tested:
                test = vectors @ mean_products(point, test_data, vectors).T
            noises = jax.lax.map(partial(noise_gradients, point, gradient), (jnp.arange(columns), labels))
            noises = devices.collected(noises, len(keys), axis=1)
            after = _Pilots(
                point=point - rate * gradient,
                draws=draws - rate * (curved + noises.reshape(draws.shape)),
                moved=vectors - rate * readings,
            )
            return after, (point, Directions(vectors, readings, readings @ moved.T, train, test))

        start = _Pilots(
            point=sums.start,
            draws=jnp.zeros((columns * len(keys), len(sums.start)), sums.start.dtype),
            moved=jnp.zeros((size, len(sums.start)), sums.start.dtype),
        )
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels
        return jax.lax.scan(step, start, steps)[1]

    return devices.compiled(directions)


def _some(data: PyTree) -> int | None:
    """Return how many examples make the curvature of pilots; `None` for all."""
    return _EXAMPLES if num_examples(data) > _EXAMPLES else None


def _leading(
    draws: Float[Array, "pilots params"], curved: Float[Array, "pilots params"], columns: int, size: int
) -> Float[Array, "directions pilots"]:
    """Return A, for which E = A (draws) are the leading directions of δ·Hδ, and E·(curved)ᵀAᵀ = 1.

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


def _normalised(
    leading: Float[Array, "directions params"], curved: Float[Array, "directions params"]
) -> tuple[Float[Array, "directions params"], Float[Array, "directions params"]]:
    """Return E and D = E H with E Dᵀ = 1, without the directions whose curvature pilots overestimated by far."""
    kind = jnp.promote_types(leading.dtype, jnp.float32)
    inner = leading.astype(kind) @ curved.astype(kind).T
    values, vectors = jnp.linalg.eigh((inner + inner.T) / 2)
    kept = values > _FOUND
    factors = (jnp.where(kept, jnp.where(kept, values, 1) ** -0.5, 0)[:, None] * vectors.T).astype(leading.dtype)
    return factors @ leading, factors @ curved
