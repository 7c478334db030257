"""The noiseless path and the derivatives of the perturbed one by the size of the noise, step by step.

With batch losses l + ε F_t the iterate is a function of ε. Its derivatives at ε = 0, of all orders up to K, follow from
one another step by step, on the path of gradient descent on l: nothing is stored but the current ones.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from ..evaluation import Loss, flat_loss, num_examples, sum_over

Field = Callable[[Any], jax.Array]  # from what a step is given to weights of examples, shape (R, M)


@lru_cache(maxsize=64)
def compiled_jets(loss: Loss, order: int, chunk_size: int, field: Field, tested: bool) -> Callable[..., Any]:
    """Compile a run along the noiseless path with R replicates of perturbations.

    Args:
        loss: `loss(params, example)`.
        order: K, the number of derivatives.
        chunk_size: how many examples are differentiated together.
        field: gives the weights w of the examples in F_t = Σ_n w_n l_n from what a step is given.
        tested: whether the loss is measured on test data too.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), and what every
        step is given, leading axis T + 1, that returns for every t from 0 to T: the mean loss, shape (T + 1,); its
        derivatives, (T + 1, R, K); those of F_t(θ_t), less than K of them, from the 0-th on, (T + 1, R, K); and the
        test loss with its derivatives, (T + 1, R, K + 1), or `None`.
    """

    @jax.jit
    def jets(params: Any, data: Any, test_data: Any, rates: jax.Array, given: Any) -> Any:
        theta, example_loss = flat_loss(loss, params)
        replicates = jax.eval_shape(field, jax.tree.map(lambda leaf: leaf[0], given)).shape[0]

        def mean(point: jax.Array, chunk: Any) -> tuple[jax.Array, jax.Array]:
            examples, _ = chunk
            return jax.value_and_grad(lambda point: jnp.sum(_losses(example_loss, point, examples)))(point)

        def weighted(point: jax.Array, chunk: Any) -> tuple[jax.Array, jax.Array]:
            examples, weights = chunk
            return jax.value_and_grad(lambda point: jnp.dot(weights, _losses(example_loss, point, examples)))(point)

        def one(theta: jax.Array, derivatives: tuple[jax.Array, ...], weights: jax.Array) -> Any:
            def sums(chunk: Any) -> Any:
                along = ladder(partial(mean, chunk=chunk), theta, derivatives)
                return along, ladder(partial(weighted, chunk=chunk), theta, derivatives[:-1])

            along, noise = sum_over(sums, (data, weights), chunk_size)
            count = num_examples(data)
            losses, slopes = ([part[i] / count for part in along] for i in range(2))
            pushes = [slopes[k] + k * noise[k - 1][1] for k in range(1, order + 1)]
            return losses[0], slopes[0], tuple(pushes), jnp.stack(losses[1:]), jnp.stack([f for f, _ in noise])

        def measured(theta: jax.Array, derivatives: tuple[jax.Array, ...]) -> jax.Array:
            def sums(chunk: Any) -> Any:
                return ladder(lambda point: jnp.sum(_losses(example_loss, point, chunk)), theta, derivatives)

            return jnp.stack(sum_over(sums, test_data, chunk_size)) / num_examples(test_data)

        def step(carry: Any, given_rate: Any) -> Any:
            theta, derivatives = carry
            given, rate = given_rate
            # The path is that of all replicates: mapped over them it is computed once.
            axes = (None, (0,) * order, 0)
            value, slope, pushes, losses, noise = jax.vmap(one, in_axes=axes, out_axes=(None, None, 0, 0, 0))(
                theta, derivatives, field(given)
            )
            test = jax.vmap(measured, in_axes=axes[:2])(theta, derivatives) if tested else None
            moved = tuple(d - rate * push for d, push in zip(derivatives, pushes, strict=True))
            return (theta - rate * slope, moved), (value, losses, noise, test)

        start = (jnp.zeros((replicates, len(theta)), theta.dtype),) * order
        return jax.lax.scan(step, (theta, start), (given, jnp.append(rates, 0)))[1]

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


def _losses(example_loss: Callable[..., jax.Array], point: jax.Array, examples: Any) -> jax.Array:
    return jax.vmap(partial(example_loss, point))(examples)
