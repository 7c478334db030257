"""What noise does along the noiseless path to second order: first and second derivatives by ε, from few examples.

Noise is random signs of q random examples, drawn anew where steps are not tied. The Hessian and the third derivative of
the mean loss, too, are those of m random examples, drawn anew in every step: they enter the second order linearly, so
that this is unbiased, except that the first derivative enters twice. So there are two of them, a and b, of the same
signs and of curvatures of their own. Only the path itself takes the gradient of the whole mean loss, and only the
directions that matter its whole curvature.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ...derivatives import Loss, Sums, per_loss
from ._adjoints import Adjoints
from ._importance import Urns, picked
from ._noise_directions import Directions


class Draws(NamedTuple):
    """What a draw of noise adds to what is measured, and control variates of it with known means, as arrays.

    Attributes:
        train: the second derivative of the mean loss.
        test: that of the test loss; the same without test data.
        field: ∂F_t(θ_t)/∂ε for the noise F_t.
        train_controls: control variates of `train`, two of them along a last axis.
        test_controls: those of `test`.
        field_controls: one control variate of `field`.
    """

    train: Any
    test: Any
    field: Any
    train_controls: Any
    test_controls: Any
    field_controls: Any


class _State(NamedTuple):
    """The first derivatives a and b, the second one c, and of the reduced chain y and u."""

    a: jax.Array
    b: jax.Array
    c: jax.Array
    y: jax.Array
    u: jax.Array


@per_loss
def compiled_chains(
    loss: Loss, noise: int | None, curvature: int | None, chunk_size: int, tested: bool
) -> Callable[..., tuple[jax.Array, jax.Array, Draws]]:
    """Compile a run along the noiseless path with R replicates of noise, for each of C columns of tied steps.

    Args:
        loss: `loss(params, example)`.
        noise: q, how many examples make the noise of a step; all of them if `None`.
        curvature: m, how many examples each chain's curvature is averaged over; all of them if `None`.
        chunk_size: how many examples are differentiated together.
        tested: whether the loss is measured on test data too.

    Returns:
        A function of the parameters, the data, the test data or `None`, the learning rates, shape (T,), the labels of
        steps 0 to T, the same for those that are tied, shape (T + 1, C), what examples are drawn from, keys, shape
        (R,), directions, and adjoints. It returns for every t from 0 to T the mean loss and the test loss, shape
        (T + 1,), and draws, shape (T + 1, R, C).
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
        directions: Directions,
        adjoints: Adjoints,
    ) -> tuple[jax.Array, jax.Array, Draws]:
        sums = Sums(loss, params, chunk_size)
        replicates, columns = len(keys), labels.shape[1]
        own = jax.vmap(lambda key: jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(columns)))(keys).ravel()

        def step(carry: tuple[jax.Array, _State], given: Any) -> Any:
            theta, state = carry
            rate, time, labels = given
            value, slope = sums.mean_gradient(theta, data)
            tested_value, test_slope = sums.mean_gradient(theta, test_data) if tested else (value, slope)
            shared = theta, slope, test_slope, data, test_data, urns, rate, time
            rows = own, jnp.tile(labels, replicates)
            state, draws = jax.vmap(
                partial(_chain_step, (noise, curvature), sums, directions, adjoints.at(time), shared)
            )(rows, state)
            draws = jax.tree.map(lambda rows: rows.reshape(replicates, columns, *rows.shape[1:]), draws)
            return (theta - rate * slope, state), (value, tested_value, draws)

        wide, few = (
            jnp.zeros((replicates * columns, size), sums.start.dtype)
            for size in (len(sums.start), directions.vectors.shape[1])
        )
        steps = jnp.append(rates, jnp.zeros((), rates.dtype)), jnp.arange(len(labels)), labels
        return jax.lax.scan(
            step, (sums.start, _State(wide, wide, wide, few, adjoints.unread(replicates * columns))), steps
        )[1]

    return chains


def _chain_step(
    sizes: tuple[int | None, int | None],
    sums: Sums,
    directions: Directions,
    adjoints: Adjoints,
    given: Any,
    row: tuple[jax.Array, jax.Array],
    state: _State,
) -> tuple[_State, Draws]:
    """Take a step of one chain, whose key and label are its row, with the noise and curvature of so many examples."""
    noise, curvature = sizes
    theta, slope, test_slope, data, test_data, urns, rate, time = given
    (key, label), (a, b, c, y, u) = row, state
    now, following = directions.at(time), directions.at(time + 1)
    few = now.vectors.shape[0] > 0
    for_noise, for_curvature = jax.random.split(key)
    for_a, for_b, for_test = jax.random.split(jax.random.fold_in(for_curvature, time), 3)
    near_a: tuple[Any, jax.Array] = urns.curvature.examples(for_a, data, curvature)
    near_b: tuple[Any, jax.Array] = urns.curvature.examples(for_b, data, curvature)

    (of_a, a_left), (of_b, b_left) = now.split(a), now.split(b)
    along_a, along_b = sums.product(theta, *near_a, a_left), sums.product(theta, *near_b, b_left)
    train = jnp.dot(slope, c) + of_a @ now.train @ of_b + (jnp.dot(b_left, along_a) + jnp.dot(a_left, along_b)) / 2
    along_a, along_b = along_a + of_a @ now.readings, along_b + of_b @ now.readings
    both = sums.second_order(theta, *near_a, a, b, c)
    test = train
    if test_data is not None:
        probe: tuple[Any, jax.Array] = urns.probe.examples(for_test, test_data, curvature)
        seen = of_b @ now.vectors
        on_left, on_seen = (
            sums.products(theta, *probe, jnp.stack([b_left, seen]))
            if few
            else (sums.product(theta, *probe, b), jnp.zeros_like(b))
        )
        test = jnp.dot(test_slope, c) + of_a @ now.test @ of_b + jnp.dot(a, on_left) + jnp.dot(a_left, on_seen)

    indices, weights = urns.noise.signed(jax.random.fold_in(for_noise, label), noise)
    # The derivatives of both chains together, and those of the reduced one in their place.
    reduced = y @ now.vectors
    vectors = jnp.stack([a + b, 2 * reduced] if few else [a + b])
    push, turns = sums.gradient_and_products(theta, picked(data, indices), weights, vectors)
    # The noise is that of losses less their mean.
    total = jnp.sum(weights)
    push, turn = push - total * slope, turns[0] - total * (along_a + along_b)
    read = adjoints.vectors @ (turns[-1] - 2 * total * (y @ now.readings)) + (adjoints.bends @ y) @ y

    second = u * adjoints.factors if few else jnp.zeros(1)
    moved = _State(
        a - rate * (along_a + push),
        b - rate * (along_b + push),
        c - rate * (both + turn),
        following.moves @ y - rate * (following.readings @ push),
        u - rate * read,
    )
    return moved, Draws(
        train,
        test,
        jnp.dot(push, a + b) / 2,
        jnp.stack([y @ now.train @ y, second[adjoints.train]]),
        jnp.stack([y @ now.test @ y, second[adjoints.test]]),
        jnp.stack([jnp.dot(push, reduced)]),
    )
