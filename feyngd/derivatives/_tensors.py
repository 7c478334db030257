"""Whole tensors of derivatives of the loss at single examples, for few parameters.

A tensor ∇^k l_x is symmetric. So only the directions i ≤ j ≤ … of all slots but one are differentiated along, and the
last slot is filled by reverse mode.
"""

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement, product
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ._chunks import num_examples
from ._frozen_loss import per_loss
from ._loss import Loss, flat_loss, num_params

_ENTRIES = 2**20  # of the rows of derivatives that a chunk holds


def num_rows(order: int, size: int) -> int:
    """Return along how many combinations of directions a tensor of some order is differentiated."""
    return comb(size + order - 2, order - 1) if order > 1 else 1


def derivative_tensors(
    loss: Loss, params: PyTree, data: PyTree, orders: Sequence[int], chunk_size: int | None = None
) -> dict[int, Float[np.ndarray, "examples ..."]]:
    """Return ∇^k l_x at every example for some orders k, in the precision of the parameters.

    Args:
        loss: the loss of one example.
        params: the point, a pytree of P numbers.
        data: the examples.
        orders: the orders k; those of 0 are the losses.
        chunk_size: how many examples are differentiated together; chosen by the size of the tensors if `None`.

    Returns:
        For every order an array of shape (examples, P, …, P).
    """
    size, count, wanted = num_params(params), num_examples(data), tuple(sorted(set(orders)))
    if chunk_size is None:
        chunk_size = _ENTRIES // (size * num_rows(wanted[-1], size))
    rows = _compiled_rows(loss, wanted, max(1, min(chunk_size, count)))(params, data)
    return {order: _unfolded(np.asarray(part), order, size) for order, part in zip(wanted, rows, strict=True)}


@per_loss
def _compiled_rows(
    loss: Loss, orders: tuple[int, ...], chunk_size: int
) -> Callable[[PyTree, PyTree], list[Float[Array, "examples ..."]]]:
    """Compile the rows of the tensors, which symmetry leaves, as functions of the parameters and the data."""

    @jax.jit
    def rows(params: PyTree, data: PyTree) -> list[Float[Array, "examples ..."]]:
        theta, example_loss = flat_loss(loss, params)

        def of_one(example: PyTree) -> list[Float[Array, "..."]]:
            return [_rows(lambda at: example_loss(at, example), theta, order) for order in orders]

        return jax.lax.map(of_one, data, batch_size=chunk_size)

    return rows


def _rows(function: Callable[[Array], Array], theta: Float[Array, " params"], order: int) -> Float[Array, "..."]:
    """Return the value, the gradient, or for higher orders its derivatives along directions i ≤ j ≤ …, stacked."""
    if order < 2:
        return jax.grad(function)(theta) if order else function(theta)

    def along(directions: Float[Array, "directions params"]) -> Float[Array, " params"]:
        derivative = jax.grad(function)
        for direction in directions:
            derivative = _tangent(derivative, direction)
        return derivative(theta)

    return jax.vmap(along)(jnp.eye(theta.size, dtype=theta.dtype)[_combinations(order - 1, theta.size)])


def _tangent(function: Callable[[Array], Array], direction: Float[Array, " params"]) -> Callable[[Array], Array]:
    return lambda at: jax.jvp(function, (at,), (direction,))[1]


def _combinations(length: int, size: int) -> Int[np.ndarray, "rows length"]:
    return np.array(list(combinations_with_replacement(range(size), length)), dtype=int)


def _unfolded(rows: Float[np.ndarray, "examples ..."], order: int, size: int) -> Float[np.ndarray, "examples ..."]:
    """Return whole tensors from the rows that symmetry leaves of them."""
    if order < 3:
        return rows
    row_of = {combination: row for row, combination in enumerate(map(tuple, _combinations(order - 1, size).tolist()))}
    table = [row_of[tuple(sorted(directions))] for directions in product(range(size), repeat=order - 1)]
    return rows[:, table].reshape(len(rows), *[size] * order)
