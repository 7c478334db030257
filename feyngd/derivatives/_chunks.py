"""Many examples or replicates, taken a number at a time, in memory that does not grow with how many there are."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

Sum = TypeVar("Sum")

CHUNK = 64  # examples that are differentiated together by default; GDC, simulations and plain losses have their own


def num_examples(data: PyTree) -> int:
    """Return the length of the leading axis."""
    return int(jax.tree.leaves(data)[0].shape[0])


def sum_over(function: Callable[[PyTree], Sum], data: PyTree, chunk_size: int) -> Sum:
    """Sum a function of stacked examples over the data, chunk by chunk, and over the rest that fills no chunk last.

    Args:
        function: returns the sum over the examples of one chunk, a pytree of arrays.
        data: the examples.
        chunk_size: how many of them make a chunk.
    """
    count = num_examples(data)
    full = count - count % chunk_size
    total: Any = None
    if full:
        chunks = jax.tree.map(lambda leaf: leaf[:full].reshape(-1, chunk_size, *leaf.shape[1:]), data)
        shapes = jax.eval_shape(lambda chunk: function(chunk), jax.tree.map(lambda leaf: leaf[0], chunks))
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        total, _ = jax.lax.scan(lambda sums, chunk: (jax.tree.map(jnp.add, sums, function(chunk)), None), zeros, chunks)
    if full < count:
        rest: Any = function(jax.tree.map(lambda leaf: leaf[full:], data))
        total = rest if total is None else jax.tree.map(jnp.add, total, rest)
    return total


def full_blocks(count: int, size: int) -> Iterator[Int[np.ndarray, " size"]]:
    """Yield the numbers below `count` in blocks of one size, so that one compiled program serves all of them.

    The last block is filled up by repeating its last number: leave out what is computed for these.

    Examples:
        >>> [block.tolist() for block in full_blocks(5, 2)]
        [[0, 1], [2, 3], [4, 4]]
    """
    for first in range(0, count, size):
        yield np.minimum(np.arange(first, first + size), count - 1)
