"""The JAX side of expressions: derivatives of a loss along directions, forward mode over one reverse pass."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ._expressions import Dot, Given, Input, Mean, Number, Scalar, Vector

Loss = Callable[[Any, Any], jax.Array]
Constants = Mapping[Mean | Given, Any]


class Row:
    """The expressions of one row of examples; every vector is computed once.

    Args:
        loss: loss(params, example) → scalar.
        params: a pytree of arrays.
        constants: the means and given vectors, pytrees like the parameters.
        examples: the example at every position.
    """

    def __init__(self, loss: Loss, params: Any, constants: Constants, examples: Mapping[int, Any]) -> None:
        self._loss, self._params, self._constants, self._examples = loss, params, constants, examples
        self._vectors: dict[Vector, Any] = {}

    def number(self, number: Number) -> jax.Array:
        """Return a number; a derivative in all slots needs no reverse pass."""
        directions = [self.vector(item) for item in number.inputs]
        if isinstance(number, Dot):
            return dot(*directions)
        return derivative(self._loss_at(number), directions)(self._params)

    def vector(self, item: Input) -> Any:
        """Return a vector, a pytree like the parameters."""
        if not isinstance(item, Vector):
            return self._constants[item]
        if item not in self._vectors and item.basis:
            self._vectors[item] = _outside(self.vector(item.whole), self._constants[item.basis])
        if item not in self._vectors:
            directions = [self.vector(inner) for inner in item.inputs]
            found = derivative(jax.grad(self._loss_at(item)), directions)(self._params)
            if item.centred:
                found = jax.tree.map(jnp.subtract, found, self._constants[Mean(item.uncentred)])
            self._vectors[item] = found
        return self._vectors[item]

    def _loss_at(self, item: Vector | Scalar) -> Callable[[Any], jax.Array]:
        return lambda params: self._loss(params, self._examples[item.position])


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


def dot(left: Any, right: Any) -> jax.Array:
    """Return the inner product of two pytrees.

    Products are summed elementwise: under `vmap`, XLA's batched `dot` of long vectors is several times slower.
    """
    products = jax.tree.map(lambda a, b: jnp.sum(a * b), left, right)
    return jax.tree.reduce(jnp.add, products)


def _along(function: Callable, direction: Any, params: Any) -> Any:
    return jax.jvp(function, (params,), (direction,))[1]


def components(basis: Any, vector: Any) -> jax.Array:
    """Return the inner products of a vector with stacked vectors."""
    pairs = zip(jax.tree.leaves(basis), jax.tree.leaves(vector), strict=True)
    return sum(jnp.tensordot(q, v, axes=v.ndim) if v.ndim else q * v for q, v in pairs)  # type: ignore[return-value]


def _outside(vector: Any, basis: Any) -> Any:
    inside = components(basis, vector)
    return jax.tree.map(lambda v, q: v - jnp.tensordot(inside, q, axes=1), vector, basis)
