"""Dense derivatives of the examples' losses, and their joint cumulants, with an axis for every edge of a diagram."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..derivatives import Loss, flat_loss, per_loss
from ..diagrams import Diagram, set_partitions
from ..landscapes import Landscape

Edges = tuple[int, ...]  # the edges that meet at a node, named by their lower node less one: their axes

_CHUNK_NUMBERS = 4_000_000  # in all derivatives that are in memory together, 32 MB in double precision


def edges_at(diagram: Diagram, node: int) -> Edges:
    """Return the edges that meet at a node, the one above it first."""
    below = tuple(child - 1 for child in diagram.children[node])
    return (node - 1, *below) if node else below


def cumulant(nodes: Sequence[Edges], derivatives: "Derivatives", order: int) -> Any:
    """Return the joint cumulant of derivatives of the loss of one example, from means of products."""
    total: Any = 0.0
    for blocks in set_partitions(nodes):
        term: Any = (-1) ** (len(blocks) - 1) * math.factorial(len(blocks) - 1)
        for block in blocks:
            term = term * _spread(derivatives.mean_product(block), block, order)
        total = total + term
    return total


def _spread(array: np.ndarray, block: Sequence[Edges], order: int) -> np.ndarray:
    """Give an array with one axis for every edge that meets the block's nodes an axis of length 1 for every other."""
    present = {edge for node in block for edge in node}
    return np.expand_dims(array, tuple(edge for edge in range(order) if edge not in present))


class Derivatives:
    """The derivatives of the examples' losses along the eigenvectors of H, and means of their products."""

    def __init__(self, landscape: Landscape, params: Any, axes: np.ndarray) -> None:
        self._loss, self._params, self._data = landscape.loss, params, landscape.data
        self._axes = jnp.asarray(axes, jnp.result_type(*jax.tree.leaves(params)))
        self._count, self._size = landscape.num_examples, len(axes)

    def mean_product(self, nodes: Sequence[Edges]) -> np.ndarray:
        """Return the mean over examples of the product of derivatives, one for each node, an axis for every edge."""
        edges = sorted({edge for node in nodes for edge in node})
        total = np.zeros((self._size,) * len(edges))
        for examples in self._chunks(max(len(node) for node in nodes)):
            operands: list[Any] = []
            for node in nodes:
                of_rank = _compiled_derivatives(self._loss, len(node))
                derivative = np.asarray(of_rank(self._params, self._axes, examples), dtype=float)
                operands += [derivative, [0, *(1 + edge for edge in node)]]
            total += np.einsum(*operands, [1 + edge for edge in edges], optimize="greedy")
        return total / self._count

    def each_hessian(self) -> np.ndarray:
        """Return the Hessian of every example, shape (M, k, k) for k axes."""
        of_rank = _compiled_derivatives(self._loss, 2)
        chunks = [np.asarray(of_rank(self._params, self._axes, examples), float) for examples in self._chunks(2)]
        return np.concatenate(chunks)

    def _chunks(self, rank: int) -> Iterator[Any]:
        size = max(1, min(self._count, _CHUNK_NUMBERS // self._size**rank))
        for first in range(0, self._count, size):
            yield jax.tree.map(lambda leaf, first=first: leaf[first : first + size], self._data)


@per_loss
def _compiled_derivatives(example_loss: Loss, rank: int) -> Callable[[Any, jax.Array, Any], jax.Array]:
    """Compile all derivatives of a rank along axes, the columns of a matrix, for a few examples together."""

    @jax.jit
    def derivatives(params: Any, axes: jax.Array, examples: Any) -> jax.Array:
        theta, loss = flat_loss(example_loss, params)

        def along(moved: jax.Array, example: Any) -> jax.Array:
            return loss(theta + axes @ moved, example)

        derivative: Callable[..., Any] = along
        for level in range(rank):
            derivative = jax.jacfwd(derivative) if level else jax.grad(derivative)
        return jax.vmap(partial(derivative, jnp.zeros_like(theta)))(examples)

    return derivatives
