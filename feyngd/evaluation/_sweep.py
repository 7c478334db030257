"""One sweep over rows of examples: the contraction of a plan at every row, in chunks, averaged."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ._plan import Plan

FlatLoss = Callable[[jax.Array, Any], jax.Array]


def make_sweep(loss: FlatLoss, plan: Plan, *, is_vector: bool, chunk_size: int) -> Callable[..., tuple]:
    """Compile the sweep of a plan.

    Args:
        loss: loss(theta, example) → scalar, theta a vector of p numbers.
        plan: what to contract.
        is_vector: whether the plan is open at its root (its mean is a vector of shape (p,)) or closed (a scalar).
        chunk_size: how many rows are contracted together.

    Returns:
        A function of theta, the list of averaged vectors (in the order of `plan.core` and `plan.vectors`), the data and
        the rows, an integer array of shape (num_parts, M) of example numbers. It returns the sums over each chunk,
        stacked, and for every row whether its contraction is finite.
    """

    def contract(theta: jax.Array, vectors: Sequence[jax.Array], examples: list[Any]) -> jax.Array:
        given = dict(zip(plan.core, _grouped(plan, vectors), strict=True))

        def message(node: int) -> jax.Array:
            directions = [*given[node], *(message(child) for child in plan.children[node])]
            local = partial(_swap, loss, examples[plan.part_of[node]])
            if node == plan.core[0] and not is_vector:
                return _derivative(local, directions)(theta)
            return _derivative(jax.grad(local), directions)(theta)

        return message(plan.core[0])

    @jax.jit
    def sweep(theta: jax.Array, vectors: Sequence[jax.Array], data: Any, rows: jax.Array) -> tuple:
        total = rows.shape[1]
        chunks = -(-total // chunk_size)
        padded = jnp.pad(rows, ((0, 0), (0, chunks * chunk_size - total)))
        real = jnp.arange(chunks * chunk_size) < total

        def one_chunk(carry: None, chunk: tuple[jax.Array, jax.Array]) -> tuple[None, tuple]:
            indices, mask = chunk
            examples = [jax.tree.map(lambda leaf, i=index: leaf[i], data) for index in indices]
            results = jax.vmap(lambda *row: contract(theta, vectors, list(row)))(*examples)
            axes = tuple(range(1, results.ndim))
            kept = jnp.where(mask.reshape(-1, *(1 for _ in axes)), results, 0)
            return carry, (jnp.sum(kept, axis=0), jnp.all(jnp.isfinite(results), axis=axes))

        indices = jnp.moveaxis(padded.reshape(len(rows), chunks, chunk_size), 1, 0)
        _, (sums, finite) = jax.lax.scan(one_chunk, None, (indices, real.reshape(chunks, chunk_size)))
        return sums, finite.reshape(-1)[:total]

    return sweep


def _swap(loss: FlatLoss, example: Any, theta: jax.Array) -> jax.Array:
    return loss(theta, example)


def _derivative(function: Callable, directions: list[jax.Array]) -> Callable:
    """Differentiate along each direction in turn, forward mode; over `jax.grad` this is forward over reverse."""
    for direction in directions:
        function = partial(_along, function, direction)
    return function


def _along(function: Callable, direction: jax.Array, theta: jax.Array) -> jax.Array:
    return jax.jvp(function, (theta,), (direction,))[1]


def _grouped(plan: Plan, vectors: Sequence[jax.Array]) -> list[list[jax.Array]]:
    supply = iter(vectors)
    return [[next(supply) for _ in plan.vectors[node]] for node in plan.core]
