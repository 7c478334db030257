"""The noiseless path and the derivatives of the perturbed one by the size of the noise, step by step.

With batch losses l + ε F_t the iterate is a function of ε. Its derivatives at ε = 0, of all orders up to K, follow from
one another step by step, on the path of gradient descent on l: nothing is stored but the current ones.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ...derivatives import Loss, Sums, per_loss
from ._importance import Urn, picked
from ._noise import Field


@per_loss
def compiled_jets(
    loss: Loss, order: int, chunk_size: int, tested: bool, curvature: int | None = None
) -> Callable[..., Any]:
    """Compile a run along the noiseless path with R replicates of perturbations.

    Args:
        loss: `loss(params, example)`.
        order: K, the number of derivatives.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        curvature: how many random examples stand for all in derivatives of the mean loss; all of them if `None`. With
            some of them what is found is no more than its size.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), the field of
        R replicates, and the urn and the key to draw examples by. For every t from 0 to T it returns the mean loss,
        shape (T + 1,); its derivatives, (T + 1, R, K); those of F_t(θ_t), less than K of them, from the 0-th on,
        (T + 1, R, K); and the test loss with its derivatives, (T + 1, R, K + 1), or `None`.
    """

    @jax.jit
    def jets(
        params: Any, data: Any, test_data: Any, rates: jax.Array, field: Field, urn: Urn, key: jax.Array
    ) -> tuple[Any, ...]:
        sums = Sums(loss, params, chunk_size)
        replicates = field.share.shape[1]
        field = Field(field.indices, *(part.astype(sums.start.dtype) for part in field[1:]))

        def along(theta: jax.Array, derivatives: tuple[jax.Array, ...], examples: Any, weights: jax.Array) -> Any:
            """Return the derivatives of a sum and of its gradient along the curve that is perturbed."""
            return sums.over(lambda total: ladder(jax.value_and_grad(total), theta, derivatives), examples, weights)

        def one(theta: jax.Array, path: Any, derivatives: tuple[jax.Array, ...], noise: Any, key: Any) -> Any:
            indices, weights, share = noise
            of_mean = [path, *along(theta, derivatives, *urn.examples(key, data, curvature))[1:]]
            own = along(theta, derivatives[:-1], picked(data, indices), weights)
            centred = [
                tuple(x - share * y for x, y in zip(*pair, strict=True)) for pair in zip(own, of_mean, strict=False)
            ]
            pushes = [of_mean[k][1] + k * centred[k - 1][1] for k in range(1, order + 1)]
            losses = jnp.stack([value for value, _ in of_mean[1:]])
            return tuple(pushes), losses, jnp.stack([f for f, _ in centred])

        def measured(theta: jax.Array, derivatives: tuple[jax.Array, ...]) -> jax.Array:
            equal = sums.equal(test_data)
            return jnp.stack(sums.over(lambda total: ladder(total, theta, derivatives), test_data, equal))

        def step(carry: Any, given: Any) -> Any:
            theta, derivatives = carry
            noise, rate, key = given
            value, slope = sums.mean_gradient(theta, data)
            keys = None if curvature is None else jax.random.split(key, replicates)
            pushes, losses, noise = jax.vmap(one, in_axes=(None, None, 0, 0, None if keys is None else 0))(
                theta, (value, slope), derivatives, tuple(noise), keys
            )
            test = jax.vmap(measured, in_axes=(None, (0,) * order))(theta, derivatives) if tested else None
            moved = tuple(d - rate * push for d, push in zip(derivatives, pushes, strict=True))
            return (theta - rate * slope, moved), (value, losses, noise, test)

        start = (jnp.zeros((replicates, len(sums.start)), sums.start.dtype),) * order
        steps = field, jnp.append(rates, 0), jax.random.split(key, len(rates) + 1)
        return jax.lax.scan(step, (sums.start, start), steps)[1]

    return jets


def ladder(function: Callable[[jax.Array], Any], theta: jax.Array, derivatives: tuple[jax.Array, ...]) -> tuple:
    """Return a function's derivatives, from the 0-th on, along a curve through θ that has the given ones."""

    def raised(below: Callable[..., tuple], k: int) -> Callable[..., tuple]:
        def above(*curve: jax.Array) -> tuple:
            values, changes = jax.jvp(below, curve[:k], curve[1:])
            return (*values, changes[-1])

        return above

    climbed: Callable[..., tuple] = lambda point: (function(point),)  # noqa: E731
    for k in range(1, len(derivatives) + 1):
        climbed = raised(climbed, k)
    return climbed(theta, *derivatives)
