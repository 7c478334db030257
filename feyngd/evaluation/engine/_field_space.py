"""Vectors of parameters where steps follow an update that is no gradient: its derivatives, by forward mode alone.

The derivative ∇^k f of an update has one slot that points up, to the node's parent in the tree, and k slots for its
children. It is not symmetric in them, so that a tree can be contracted towards its root only.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from ...derivatives import Loss
from ..planning import Given, Mean, Vector

DenseVector = list[Any]  # arrays, one for every parameter, in the order of its leaves


class FieldSpace:
    """The vectors at one point, for updates and losses of single examples; it stands where a `TangentSpace` does.

    Args:
        loss: what is measured at the root.
        update: what a step follows, as one vector.
        params: the point, a pytree of arrays.
    """

    def __init__(self, loss: Loss, update: Loss, params: PyTree) -> None:
        self._loss, self._update, self._params = loss, update, params

    def constant(self, tree: PyTree) -> DenseVector:
        """Return a pytree of parameters as a vector that all rows share."""
        return jax.tree.leaves(tree)

    def dense(self, vector: DenseVector) -> PyTree:
        """Return a vector as a pytree of parameters."""
        return jax.tree.unflatten(jax.tree.structure(self._params), vector)

    def sum_rows(self, vectors: DenseVector, mask: Bool[Array, " rows"]) -> PyTree:
        """Return the sum of vectors over rows, a pytree of parameters; arrays have a leading axis of rows."""

        def total(entry: Array) -> Array:
            return jnp.sum(jnp.where(mask.reshape(-1, *(1 for _ in entry.shape[1:])), entry, 0), axis=0)

        return self.dense([total(entry) for entry in vectors])

    def dot(self, left: DenseVector, right: DenseVector) -> Float[Array, ""]:
        """Return the inner product of two vectors."""
        return jnp.sum(jnp.stack([jnp.sum(a * b) for a, b in zip(left, right, strict=True)]))

    def minus(self, vector: DenseVector, shared: PyTree) -> DenseVector:
        """Return a vector less a pytree of parameters that all rows share."""
        return [a - b for a, b in zip(vector, jax.tree.leaves(shared), strict=True)]

    def components(self, basis: PyTree, vector: DenseVector) -> Float[Array, " stacked"]:
        """Return the inner products Q_a·v with stacked pytrees of parameters Q."""
        pairs = zip(jax.tree.leaves(basis), vector, strict=True)
        return sum(jnp.sum(q * v, tuple(range(1, q.ndim))) for q, v in pairs)  # type: ignore[return-value]

    def outside(self, vector: DenseVector, basis: PyTree) -> DenseVector:
        """Return v − Σ_a (Q_a·v) Q_a for stacked orthonormal pytrees of parameters Q."""
        inside = self.components(basis, vector)
        return [v - jnp.tensordot(inside, q, axes=1) for v, q in zip(vector, jax.tree.leaves(basis), strict=True)]

    def number(self, example: PyTree, directions: Sequence[DenseVector]) -> Float[Array, ""]:
        """Return the derivative of the loss along all directions."""
        dense = [self.dense(direction) for direction in directions]
        return derivative(lambda params: self._loss(params, example), dense)(self._params)

    def vector(self, example: PyTree, directions: Sequence[DenseVector]) -> DenseVector:
        """Return the update, differentiated along all directions."""
        dense = [self.dense(direction) for direction in directions]
        return jax.tree.leaves(derivative(partial(_unravelled, self._update, example=example), dense)(self._params))


def shared_update(
    update: Loss,
    params: PyTree,
    constants: Mapping[Mean | Given, PyTree],
    vector: Vector,
    examples: PyTree,
    mask: Bool[Array, " rows"],
) -> PyTree:
    """Return an update with constant directions, summed over a chunk of examples."""

    def total(params: PyTree) -> PyTree:
        rows = jax.vmap(lambda example: update(params, example))(examples)
        return unravelled(jnp.sum(jnp.where(mask[:, None], rows, 0), axis=0), params)

    return derivative(total, [constants[item] for item in vector.inputs])(params)  # type: ignore[index]


def unravelled(row: Float[Array, " params"], params: PyTree) -> PyTree:
    """Return one vector as a pytree of the shapes of the parameters."""
    leaves, structure = jax.tree.flatten(params)
    ends = accumulate(leaf.size for leaf in leaves)
    pieces = [row[end - leaf.size : end].reshape(leaf.shape) for end, leaf in zip(ends, leaves, strict=True)]
    return jax.tree.unflatten(structure, pieces)


def derivative(function: Callable[[PyTree], PyTree], directions: Sequence[PyTree]) -> Callable[[PyTree], PyTree]:
    """Differentiate a function of the parameters along each direction in turn, in forward mode."""
    for direction in directions:
        function = partial(_along, function, direction)
    return function


def _along(function: Callable[[PyTree], PyTree], direction: PyTree, params: PyTree) -> PyTree:
    return jax.jvp(function, (params,), (direction,))[1]


def _unravelled(update: Loss, params: PyTree, *, example: PyTree) -> PyTree:
    return unravelled(update(params, example), params)
