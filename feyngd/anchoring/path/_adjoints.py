"""Adjoints of the path: what moving at a step does to the loss later on, and so what noise does to the gradient part.

Part of the second derivative of the loss by ε is G·c, for the gradient G and the second derivative c of the path, in a
later step. With λ = G in that step and λ_s = (1 − η H_s) λ_{s+1} before it, that is −Σ_s η λ_{s+1}·(D³_s[δ_s, δ_s] +
2 ∇²F_s δ_s), a sum over what noise does in every step. In few directions its mean is known, whatever λ and D³ are: so
adjoints of few steps serve all others, with a factor, and D³ is that of few examples.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from ..._mesh import ALONE, Devices
from ...derivatives import Loss, per_loss
from ._importance import ExampleSampler
from ._noise_directions import Directions
from ._shared_sums import SharedSums

ADJOINTS = 4  # steps, at most, whose adjoints are taken: T, T/2, T/4 and T/8
_EXAMPLES = 64  # examples that make D³ in a step


class Adjoints(NamedTuple):
    """J adjoints: those of the mean loss in a few steps of the path and, with test data, after them of the test loss.

    Attributes:
        vectors: λ_{t+1} for steps t from 0 to T; zero from the step on that it belongs to.
        bends: E_t D³_t[λ_{t+1}] E_tᵀ.
        factors: how much of λ_t is nearest to the gradient in step t, 1 in the step that it belongs to.
        train: which of them is read for the mean loss in every step: that of the first step that is not before.
        test: which one is read for the test loss.
    """

    vectors: Float[Array, "*steps adjoints params"]
    bends: Float[Array, "*steps adjoints directions directions"]
    factors: Float[Array, "*steps adjoints"]
    train: Int[Array, "*steps"]
    test: Int[Array, "*steps"]

    @classmethod
    def none(cls, steps: int, num_params: int, dtype: Any) -> "Adjoints":
        """Return none, to go with no directions."""
        vectors, bends, factors = (jnp.zeros((steps + 1, 0, *rest), dtype) for rest in ((num_params,), (0, 0), ()))
        first = jnp.zeros(steps + 1, int)
        return cls(vectors, bends, factors, first, first)

    def at(self, time: Int[Array, ""]) -> "Adjoints":
        """Return those of one step."""
        return Adjoints(*(array[time] for array in self))

    def nothing_read(self, runs: int) -> Float[Array, "runs adjoints"]:
        """Return u = 0, what they have read in each of some runs before the first step."""
        return jnp.zeros((runs, self.vectors.shape[1]), jnp.promote_types(self.vectors.dtype, jnp.float32))


def adjoint_steps(steps: int) -> Int[np.ndarray, " ends"]:
    """Return the steps whose adjoints are taken, in rising order."""
    return np.unique([max(1, steps >> halvings) for halvings in range(ADJOINTS)])


@per_loss
def compiled_adjoints(loss: Loss, chunk_size: int, tested: bool, devices: Devices = ALONE) -> Callable[..., Adjoints]:
    """Compile the way back along the path.

    Args:
        loss: `loss(params, example)`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        devices: those that share the examples.

    Returns:
        A function of the parameters, the data, the test data or `None`, the path, its directions, the learning rates,
        a sampler for curvature, and a key.
    """

    def adjoints(
        params: PyTree,
        data: PyTree,
        test_data: PyTree,
        path: Float[Array, "points params"],
        directions: Directions,
        rates: Float[Array, " steps"],
        sampler: ExampleSampler,
        key: PRNGKeyArray,
    ) -> Adjoints:
        sums = SharedSums(loss, params, chunk_size, devices)
        read = adjoint_steps(len(rates))
        measured = (data, test_data) if tested else (data,)
        ends = jnp.tile(read, len(measured))  # the step that every adjoint belongs to

        def step(later: Float[Array, "adjoints params"], given: Any) -> Any:
            """Go from λ_{t+1} to λ_t."""
            point, vectors, rate, time = given  # θ_t, E_t, η and t
            near = sampler.examples(jax.random.fold_in(key, time), data, _EXAMPLES)

            def bend(own: tuple[Int[Array, ""], Float[Array, " params"]]) -> Float[Array, "directions directions"]:
                """Return E D³[λ_{t+1}] Eᵀ of one adjoint; zeros from the step on that it belongs to."""
                end, adjoint = own
                products = jax.lax.cond(
                    time < end,
                    lambda: sums.third_products(point, *near, adjoint, vectors),
                    lambda: jnp.zeros_like(vectors),
                )
                return products @ vectors.T

            of_losses = jnp.stack([sums.mean_gradient(point, each)[1] for each in measured])
            gradients = jnp.repeat(of_losses, len(read), axis=0)  # G of the loss that every adjoint belongs to
            curved = sums.mean_products(point, data, later)  # H λ_{t+1}
            now = jnp.where((time == ends)[:, None], gradients, later - rate * curved)
            squares = jnp.sum(now * now, axis=1)
            factors = jnp.where(squares > 0, jnp.sum(now * gradients, axis=1) / jnp.where(squares > 0, squares, 1), 0)
            return now, (later, jax.lax.map(bend, (ends, later)), factors)

        last = jnp.zeros((len(ends), len(sums.start)), sums.start.dtype)
        times = jnp.arange(len(path))
        steps = path, directions.vectors, jnp.append(rates, jnp.zeros((), rates.dtype)), times
        vectors, bends, factors = jax.lax.scan(step, last, steps, reverse=True)[1]
        train = jnp.searchsorted(read, times)
        return Adjoints(vectors, bends, factors, train, train + len(read) if tested else train)

    return devices.compiled(adjoints)
