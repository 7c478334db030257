"""Derivatives of the perturbed path by the size of the noise, of all orders up to K, step by step.

With batch losses l + ε F_t the iterate is a function θ_t(ε). Its derivatives θ^(1) … θ^(K) at ε = 0 follow from one
another on the path of gradient descent on l:

    θ^(k)_{t+1} = θ^(k)_t − η (d^k/dε^k ∇l(θ_t(ε)) + k d^{k−1}/dε^{k−1} ∇F_t(θ_t(ε)))

Nothing is stored but the current ones.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..._mesh import ALONE, Devices
from ...derivatives import Loss, per_loss
from ._importance import ExampleSampler, picked
from ._noise import Noise
from ._shared_sums import SharedSums


@per_loss
def compiled_higher_orders(
    loss: Loss, order: int, chunk_size: int, tested: bool, curvature: int | None = None, devices: Devices = ALONE
) -> Callable[..., Any]:
    """Compile a run along the noiseless path with R replicates of noise.

    Args:
        loss: `loss(params, example)`.
        order: K, the number of derivatives.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.
        curvature: how many random examples stand for all in derivatives of the mean loss; all of them if `None`. With
            some of them the result gives only an order of magnitude.
        devices: those that share the replicates, and the examples of the path.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, R replicates of noise, and
        the sampler and the key that examples are drawn by. For every t from 0 to T it returns the mean loss, shape
        (T + 1,); its derivatives 1 to K, (T + 1, R, K); derivatives 0 to K − 1 of F_t(θ_t), (T + 1, R, K); and the test
        loss with its derivatives, (T + 1, R, K + 1), or `None`.
    """

    def higher_orders(
        params: PyTree,
        data: PyTree,
        test_data: PyTree,
        rates: Float[Array, " steps"],
        noise: Noise,
        sampler: ExampleSampler,
        key: PRNGKeyArray,
    ) -> tuple[Any, ...]:
        sums = SharedSums(loss, params, chunk_size, devices)
        replicates = noise.share.shape[1]
        noise = Noise(noise.indices, *(part.astype(sums.start.dtype) for part in noise[1:]))

        def along(
            theta: Float[Array, " params"],
            derivatives: tuple[Float[Array, " params"], ...],
            examples: PyTree,
            weights: Float[Array, " examples"],
        ) -> tuple[Any, ...]:
            """Return the derivatives of a sum and of its gradient along the curve θ(ε), each a pair."""
            return sums.over(
                lambda total: derivatives_along(jax.value_and_grad(total), theta, derivatives), examples, weights
            )

        def replicate(
            theta: Float[Array, " params"],
            on_path: tuple[Float[Array, ""], Float[Array, " params"]],
            derivatives: tuple[Float[Array, " params"], ...],
            noise: Noise,
            key: PRNGKeyArray | None,
        ) -> tuple[tuple[Float[Array, " params"], ...], Float[Array, " order"], Float[Array, " order"]]:
            """Return by what −η times the derivatives of θ move, the derivatives of the mean loss, and those of F."""
            of_mean = [on_path, *along(theta, derivatives, *sampler.examples(key, data, curvature))[1:]]
            of_batch = along(theta, derivatives[:-1], picked(data, noise.indices), noise.weights)
            # F is the weighted sum less its share of the mean loss; each entry has a value and a gradient.
            of_noise = [
                tuple(x - noise.share * y for x, y in zip(*pair, strict=True))
                for pair in zip(of_batch, of_mean, strict=False)
            ]
            moves = tuple(of_mean[k][1] + k * of_noise[k - 1][1] for k in range(1, order + 1))
            losses = jnp.stack([value for value, _ in of_mean[1:]])
            return moves, losses, jnp.stack([value for value, _ in of_noise])

        def measured(
            theta: Float[Array, " params"], derivatives: tuple[Float[Array, " params"], ...]
        ) -> Float[Array, " orders"]:
            """Return the test loss and its derivatives."""
            equal = sums.equal(test_data)
            return jnp.stack(sums.over(lambda total: derivatives_along(total, theta, derivatives), test_data, equal))

        def step(
            carry: tuple[Float[Array, " params"], tuple[Float[Array, "replicates params"], ...]],
            given: tuple[Noise, Float[Array, ""], PRNGKeyArray],
        ) -> Any:
            """Take a step of θ and of its derivatives θ^(1) … θ^(K), a row a replicate."""
            theta, derivatives = carry
            noise, rate, key = given
            value, gradient = sums.mean_gradient(theta, data)
            noise = devices.own(noise)
            keys = None if curvature is None else devices.own(jax.random.split(key, replicates))
            moves, losses, noises = jax.vmap(replicate, in_axes=(None, None, 0, 0, None if keys is None else 0))(
                theta, (value, gradient), derivatives, noise, keys
            )
            test = jax.vmap(measured, in_axes=(None, (0,) * order))(theta, derivatives) if tested else None
            moved = tuple(old - rate * move for old, move in zip(derivatives, moves, strict=True))
            return (theta - rate * gradient, moved), (value, losses, noises, test)

        start = (jnp.zeros((devices.each(replicates), len(sums.start)), sums.start.dtype),) * order
        steps = noise, jnp.append(rates, 0), jax.random.split(key, len(rates) + 1)
        values, *of_replicates = jax.lax.scan(step, (sums.start, start), steps)[1]
        return values, *devices.collected(of_replicates, replicates, axis=1)

    return devices.compiled(higher_orders)


def derivatives_along(
    function: Callable[[Array], Any],
    theta: Float[Array, " params"],
    derivatives: tuple[Float[Array, " params"], ...],
) -> tuple[Any, ...]:
    """Return the derivatives of a function, from the 0-th on, along a curve through θ that has the given ones."""

    def raised(below: Callable[..., tuple[Any, ...]], k: int) -> Callable[..., tuple[Any, ...]]:
        """Return derivatives 0 to k, given a function of θ and k − 1 derivatives that returns those from 0 to k − 1."""

        def above(*curve: Float[Array, " params"]) -> tuple[Any, ...]:
            values, changes = jax.jvp(below, curve[:k], curve[1:])
            return (*values, changes[-1])

        return above

    climbed: Callable[..., tuple[Any, ...]] = lambda point: (function(point),)  # noqa: E731
    for k in range(1, len(derivatives) + 1):
        climbed = raised(climbed, k)
    return climbed(theta, *derivatives)
