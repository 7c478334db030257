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

from ..evaluation import Loss
from ._sums import Sums
from ._urns import Urns, picked


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
        steps 0 to T, the same for those that are tied, shape (T + 1, S), what examples are drawn from, keys, shape
        (R,), and D_t and R_t of a `Reduced`. It returns for every t from 0 to T: the mean loss and the test loss or
        `None`, shape (T + 1,); their second derivatives, shape (T + 1, R, S); ∂F_t(θ_t)/∂ε for the noise F_t, likewise;
        and the coordinates of the reduced chain, shape (T + 1, R, S, k).
    """

    @jax.jit
    def chains(
        params: Any,
        data: Any,
        test_data: Any,
        rates: jax.Array,
        labels: jax.Array,
        urns: Urns,
        keys: jax.Array,
        directions: jax.Array,
        moves: jax.Array,
    ) -> tuple[Any, ...]:
        sums = Sums(loss, params, chunk_size)

        def one(theta: jax.Array, slopes: Any, given: Any, key: jax.Array, state: Any) -> Any:
            """Take a step of one replicate, all equivalences, which share their curvatures."""
            rate, time, labels, read, move = given
            for_noise, for_curvature = jax.random.split(key)
            keys = jax.random.split(jax.random.fold_in(for_curvature, time), 3)
            first, second = (urns.curvature.examples(key, data, curvature) for key in keys[:2])
            probe = urns.probe.examples(keys[2], test_data, curvature) if tested else None

            def tied(number: jax.Array, label: jax.Array, state: tuple[jax.Array, ...]) -> Any:
                a, b, c, y = state
                along_a, other_b, both = sums.second_derivatives(theta, *first, a, b, c)
                along_b = other_b if curvature is None else sums.product(theta, *second, b)
                own = jax.random.fold_in(jax.random.fold_in(for_noise, number), label)
                indices, weights = urns.noise.signed(own, noise)
                push, turn = sums.gradient_and_product(theta, picked(data, indices), weights, a + b)
                # The noise is that of losses less their mean.
                push, turn = push - jnp.sum(weights) * slopes[0], turn - jnp.sum(weights) * (along_a + along_b)
                mean = jnp.dot(slopes[0], c) + jnp.dot(a, other_b + along_b) / 2
                test = jnp.dot(slopes[1], c) + jnp.dot(a, sums.product(theta, *probe, b)) if probe else None
                moved = a - rate * (along_a + push), b - rate * (along_b + push), c - rate * (both + turn)
                return (*moved, move @ y - rate * (read @ push)), (mean, test, jnp.dot(push, a + b) / 2, y)

            return jax.vmap(tied)(jnp.arange(len(labels)), labels, state)

        def step(carry: Any, given: Any) -> Any:
            theta, state = carry
            value, slope = sums.mean_gradient(theta, data)
            tested_value, test_slope = sums.mean_gradient(theta, test_data) if tested else (None, None)
            state, found = jax.vmap(partial(one, theta, (slope, test_slope), given))(keys, state)
            return (theta - given[0] * slope, state), (value, tested_value, *found)

        zeros, few = (
            jnp.zeros((len(keys), labels.shape[1], size), sums.start.dtype)
            for size in (len(sums.start), directions.shape[1])
        )
        # A step leads to the next coordinates; after the last there are none.
        following = (jnp.concatenate([array[1:], array[-1:]]) for array in (directions, moves))
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels, *following
        return jax.lax.scan(step, (sums.start, (zeros, zeros, zeros, few)), steps)[1]

    return chains
