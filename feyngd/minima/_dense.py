"""Dense derivatives of the examples' losses, and their joint cumulants, with an axis for every edge of a diagram."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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

    def __init__(
        self, loss: Callable[..., jax.Array], theta: jax.Array, axes: np.ndarray, landscape: Landscape
    ) -> None:
        self._loss, self._theta, self._data = loss, theta, landscape.data
        self._axes = jnp.asarray(axes, theta.dtype)
        self._count, self._size = landscape.num_examples, theta.size
        self.of_rank = cache(self._of_rank)

    def _of_rank(self, rank: int) -> Callable[[Any], jax.Array]:
        """Return the function that makes all derivatives of a rank for a few examples together."""

        def along(moved: jax.Array, example: Any) -> jax.Array:
            return self._loss(self._theta + self._axes @ moved, example)

        derivative: Callable[..., Any] = along
        for level in range(rank):
            derivative = jax.jacfwd(derivative) if level else jax.grad(derivative)
        origin = jnp.zeros_like(self._theta)
        return jax.jit(jax.vmap(lambda example: derivative(origin, example)))

    def mean_product(self, nodes: Sequence[Edges]) -> np.ndarray:
        """Return the mean over examples of the product of derivatives, one for each node, an axis for every edge."""
        edges = sorted({edge for node in nodes for edge in node})
        total = np.zeros((self._size,) * len(edges))
        for examples in self._chunks(max(len(node) for node in nodes)):
            operands: list[Any] = []
            for node in nodes:
                derivative = np.asarray(self.of_rank(len(node))(examples), dtype=float)
                operands += [derivative, [0, *(1 + edge for edge in node)]]
            total += np.einsum(*operands, [1 + edge for edge in edges], optimize="greedy")
        return total / self._count

    def _chunks(self, rank: int) -> Iterator[Any]:
        size = max(1, min(self._count, _CHUNK_NUMBERS // self._size**rank))
        for first in range(0, self._count, size):
            yield jax.tree.map(lambda leaf, first=first: leaf[first : first + size], self._data)
