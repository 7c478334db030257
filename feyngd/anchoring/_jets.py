"""The noiseless path and the derivatives of the perturbed one by the size of the noise, step by step.

With batch losses l + ε F_t the iterate is a function of ε. Its derivatives at ε = 0, of all orders up to K, follow from
one another step by step, on the path of gradient descent on l: nothing is stored but the current ones.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from ..evaluation import Loss, flat_loss, num_examples, sum_over, with_products
from ._fields import picked, random_examples

# From what a step is given to examples and their weights w, of shape (R, q), and a share c: F = Σ w_n l_n − c l.
Field = Callable[[Any], tuple[jax.Array, jax.Array, Any]]


@lru_cache(maxsize=64)
def compiled_jets(
    loss: Loss, order: int, chunk_size: int, field: Field, tested: bool, curvature: int | None = None
) -> Callable[..., Any]:
    """Compile a run along the noiseless path with R replicates of perturbations.

    Args:
        loss: `loss(params, example)`.
        order: K, the number of derivatives.
        chunk_size: how many examples are differentiated together.
        field: gives the noise F_t from what a step is given.
        tested: whether the loss is measured on test data too.
        curvature: how many random examples stand for all in derivatives of the mean loss; all of them if `None`. With
            some of them what is found is no more than its size.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), what every
        step is given, leading axis T + 1, and a key. For every t from 0 to T it returns the mean loss, shape (T + 1,);
        its derivatives, (T + 1, R, K); those of F_t(θ_t), less than K of them, from the 0-th on, (T + 1, R, K); and the
        test loss with its derivatives, (T + 1, R, K + 1), or `None`.
    """

    @jax.jit
    def jets(params: Any, data: Any, test_data: Any, rates: jax.Array, given: Any, key: jax.Array) -> Any:
        theta, example_loss = flat_loss(with_products(loss), params)
        replicates = jax.eval_shape(field, jax.tree.map(lambda leaf: leaf[0], given))[0].shape[0]

        def mean(point: jax.Array, chunk: Any) -> tuple[jax.Array, jax.Array]:
            return jax.value_and_grad(lambda point: jnp.sum(_losses(example_loss, point, chunk)))(point)

        def weighted(point: jax.Array, chunk: Any) -> tuple[jax.Array, jax.Array]:
            examples, weights = chunk
            return jax.value_and_grad(lambda point: jnp.dot(weights, _losses(example_loss, point, examples)))(point)

        def along(function: Any, examples: Any, theta: jax.Array, derivatives: tuple[jax.Array, ...]) -> Any:
            return sum_over(
                lambda chunk: ladder(partial(function, chunk=chunk), theta, derivatives), examples, chunk_size
            )

        def one(theta: jax.Array, derivatives: tuple[jax.Array, ...], indices: Any, weights: Any, key: Any) -> Any:
            near = random_examples(key, data, curvature)
            of_mean = [
                tuple(part / num_examples(near) for part in pair) for pair in along(mean, near, theta, derivatives)
            ]
            own = along(weighted, (picked(data, indices), weights), theta, derivatives[:-1])
            noise = [
                tuple(x - share * y for x, y in zip(*pair, strict=True)) for pair in zip(own, of_mean, strict=False)
            ]
            pushes = [of_mean[k][1] + k * noise[k - 1][1] for k in range(1, order + 1)]
            losses = jnp.stack([value for value, _ in of_mean[1:]])
            return *of_mean[0], tuple(pushes), losses, jnp.stack([f for f, _ in noise])

        def measured(theta: jax.Array, derivatives: tuple[jax.Array, ...]) -> jax.Array:
            def sums(chunk: Any) -> Any:
                return ladder(lambda point: jnp.sum(_losses(example_loss, point, chunk)), theta, derivatives)

            return jnp.stack(sum_over(sums, test_data, chunk_size)) / num_examples(test_data)

        def step(carry: Any, given_rate: Any) -> Any:
            theta, derivatives = carry
            given, rate, key = given_rate
            indices, weights, _ = field(given)
            # The path is that of all replicates: mapped over them it is computed once, unless its examples differ.
            keys = None if curvature is None else jax.random.split(key, replicates)
            alone = None if curvature is None else 0
            value, slope, pushes, losses, noise = jax.vmap(
                one, in_axes=(None, (0,) * order, 0, 0, alone), out_axes=(alone, alone, 0, 0, 0)
            )(theta, derivatives, indices, weights, keys)
            if curvature is not None:
                value, slope = (part / num_examples(data) for part in along(mean, data, theta, ())[0])
            test = jax.vmap(measured, in_axes=(None, (0,) * order))(theta, derivatives) if tested else None
            moved = tuple(d - rate * push for d, push in zip(derivatives, pushes, strict=True))
            return (theta - rate * slope, moved), (value, losses, noise, test)

        share = field(jax.tree.map(lambda leaf: leaf[0], given))[2]
        start = (jnp.zeros((replicates, len(theta)), theta.dtype),) * order
        steps = given, jnp.append(rates, 0), jax.random.split(key, len(rates) + 1)
        return jax.lax.scan(step, (theta, start), steps)[1]

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
