"""The JAX side of expressions: derivatives of a loss along directions, forward mode over one reverse pass."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...derivatives import Loss
from ..planning import Dot, Given, Input, Mean, Number, Vector
from ._factored_vectors import Space

Constants = Mapping[Mean | Given, Any]


class Row:
    """The expressions of one row of examples; every vector is computed once.

    Args:
        space: the point, and the loss of one example.
        constants: the means and given vectors, pytrees like the parameters.
        examples: the example at every position.
    """

    def __init__(self, space: Space, constants: Constants, examples: Mapping[int, Any]) -> None:
        self._space, self._constants, self._examples = space, constants, examples
        self._vectors: dict[Input, list] = {}

    def number(self, number: Number) -> jax.Array:
        """Return a number; a derivative in all slots needs no reverse sweep."""
        directions = [self.vector(item) for item in number.inputs]
        if isinstance(number, Dot):
            return self._space.dot(*directions)
        return self._space.number(self._examples[number.position], directions)

    def vector(self, item: Input) -> list:
        """Return a vector of the space."""
        if item not in self._vectors:
            self._vectors[item] = self._found(item)
        return self._vectors[item]

    def dense(self, item: Input) -> Any:
        """Return a vector as a pytree like the parameters."""
        return self._space.dense(self.vector(item))

    def components(self, basis: Mean | Given, item: Input) -> jax.Array:
        """Return the inner products of a vector with stacked vectors."""
        return self._space.components(self._constants[basis], self.vector(item))

    def _found(self, item: Input) -> list:
        if not isinstance(item, Vector):
            return self._space.constant(self._constants[item])
        if item.basis:
            return self._space.outside(self.vector(item.whole), self._constants[item.basis])
        if item.centred:
            return self._space.minus(self.vector(item.uncentred), self._constants[Mean(item.uncentred)])
        directions = [self.vector(inner) for inner in item.inputs]
        return self._space.vector(self._examples[item.position], directions)


def shared_vector(loss: Loss, params: Any, constants: Constants, vector: Vector, examples: Any, mask: jax.Array) -> Any:
    """Return a vector with constant directions, summed over a chunk of examples: derivatives of the summed loss."""

    def total(params: Any) -> jax.Array:
        return jnp.sum(jnp.where(mask, jax.vmap(partial(loss, params))(examples), 0))

    return derivative(jax.grad(total), [constants[item] for item in vector.inputs])(params)  # type: ignore[index]


def derivative(function: Callable, directions: list[Any]) -> Callable:
    """Differentiate a function of the parameters along each direction in turn, forward mode."""
    for direction in directions:
        function = partial(_along, function, direction)
    return function


def _along(function: Callable, direction: Any, params: Any) -> Any:
    return jax.jvp(function, (params,), (direction,))[1]


Rows = dict[int, np.ndarray]
