"""What noise does along the noiseless path to second order: first and second derivatives by ε, from few examples.

Noise is random signs of q random examples, drawn anew where steps are not tied. The Hessian and the third derivative of
the mean loss, too, are those of m random examples, drawn anew in every step: they enter the second order linearly, so
that this is unbiased, except that the first derivative enters twice. So there are two of them, a and b, of the same
signs and of curvatures of their own. Only the path itself takes the gradient of the whole mean loss.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from ..evaluation import Loss, flat_loss, num_examples, sum_over, with_products
from ._fields import picked, random_examples, random_signs


@lru_cache(maxsize=64)
def compiled_chains(
    loss: Loss, noise: int | None, curvature: int | None, chunk_size: int, tested: bool
) -> Callable[..., Any]:
    """Compile a run along the noiseless path with R replicates of noise for each of S equivalences of steps.

    Args:
        loss: `loss(params, example)`.
        noise: q, how many examples make the noise of a step; all of them if `None`.
        curvature: m, how many examples each chain's curvature is averaged over; all of them if `None`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), the labels of
        steps 0 to T, the same for those that are tied, shape (T + 1, S), keys, shape (R,), and D_t and R_t of a
        `Reduced`. It returns for every t from 0 to T: the mean loss and the test loss or `None`, shape (T + 1,); their
        second derivatives, shape (T + 1, R, S); ∂F_t(θ_t)/∂ε for the noise F_t, likewise; and the coordinates of the
        reduced chain, shape (T + 1, R, S, k).
    """

    @jax.jit
    def chains(
        params: Any,
        data: Any,
        test_data: Any,
        rates: jax.Array,
        labels: jax.Array,
        keys: jax.Array,
        directions: jax.Array,
        moves: jax.Array,
    ) -> tuple[Any, ...]:
        theta, example_loss = flat_loss(with_products(loss), params)

        def summed(point: jax.Array, examples: Any) -> jax.Array:
            return jnp.sum(jax.vmap(partial(example_loss, point))(examples))

        def mean_gradient(theta: jax.Array, examples: Any) -> tuple[jax.Array, jax.Array]:
            value, slope = sum_over(lambda chunk: jax.value_and_grad(summed)(theta, chunk), examples, chunk_size)
            return value / num_examples(examples), slope / num_examples(examples)

        def curved(theta: jax.Array, examples: Any, a: jax.Array, b: jax.Array, c: jax.Array) -> Any:
            """Return H·a, H·b and D³l[a, b] + H·c, averaged over examples."""

            def sums(chunk: Any) -> Any:
                slope = jax.grad(partial(summed, examples=chunk))
                # Where the point moves along b, the direction a moves along c.
                (_, along_a), (along_b, both) = jax.jvp(
                    lambda point, a: jax.jvp(slope, (point,), (a,)), (theta, a), (b, c)
                )
                return along_a, along_b, both

            return tuple(part / num_examples(examples) for part in sum_over(sums, examples, chunk_size))

        def product(theta: jax.Array, examples: Any, vector: jax.Array) -> jax.Array:
            def sums(chunk: Any) -> jax.Array:
                return jax.jvp(jax.grad(partial(summed, examples=chunk)), (theta,), (vector,))[1]

            return sum_over(sums, examples, chunk_size) / num_examples(examples)

        def pushed(theta: jax.Array, key: jax.Array, vector: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Return the gradient of the noise and its Hessian times a vector."""
            indices, signs = random_signs(key, num_examples(data), noise, theta.dtype)

            def sums(chunk: tuple[Any, jax.Array]) -> Any:
                examples, weights = chunk
                slope = jax.grad(lambda point: jnp.dot(weights, jax.vmap(partial(example_loss, point))(examples)))
                return jax.jvp(slope, (theta,), (vector,))

            return sum_over(sums, (picked(data, indices), signs), chunk_size)

        def one(theta: jax.Array, slopes: Any, given: Any, key: jax.Array, state: Any) -> Any:
            """Take a step of one replicate, all equivalences, which share their curvatures."""
            rate, time, labels, read, move = given
            for_noise, for_curvature = jax.random.split(key)
            keys = jax.random.split(jax.random.fold_in(for_curvature, time), 3)
            sets = [random_examples(k, data, curvature) for k in keys[:2]]
            probe = random_examples(keys[2], test_data, curvature) if tested else None

            def tied(number: jax.Array, label: jax.Array, state: tuple[jax.Array, ...]) -> Any:
                a, b, c, y = state
                along_a, other_b, both = curved(theta, sets[0], a, b, c)
                along_b = other_b if curvature is None else product(theta, sets[1], b)
                own = jax.random.fold_in(jax.random.fold_in(for_noise, number), label)
                push, turn = pushed(theta, own, a + b)
                mean = jnp.dot(slopes[0], c) + jnp.dot(a, other_b + along_b) / 2
                test = jnp.dot(slopes[1], c) + jnp.dot(a, product(theta, probe, b)) if tested else None
                moved = a - rate * (along_a + push), b - rate * (along_b + push), c - rate * (both + turn)
                return (*moved, move @ y - rate * (read @ push)), (mean, test, jnp.dot(push, a + b) / 2, y)

            return jax.vmap(tied)(jnp.arange(len(labels)), labels, state)

        def step(carry: Any, given: Any) -> Any:
            theta, state = carry
            value, slope = mean_gradient(theta, data)
            tested_value, test_slope = mean_gradient(theta, test_data) if tested else (None, None)
            state, found = jax.vmap(partial(one, theta, (slope, test_slope), given))(keys, state)
            return (theta - given[0] * slope, state), (value, tested_value, *found)

        zeros, few = (
            jnp.zeros((len(keys), labels.shape[1], size), theta.dtype) for size in (len(theta), directions.shape[1])
        )
        # A step leads to the next coordinates; after the last there are none.
        following = (jnp.concatenate([array[1:], array[-1:]]) for array in (directions, moves))
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels, *following
        return jax.lax.scan(step, (theta, (zeros, zeros, zeros, few)), steps)[1]

    return chains
