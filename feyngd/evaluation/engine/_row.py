"""Expressions at one row of examples: derivatives of the loss at one example for every position."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...derivatives import Loss
from ...landscapes import other_use
from ..planning import TEST, Dot, Given, Input, Mean, Number, Product, Vector
from ._factored_vectors import FactoredVector, TangentSpace
from ._field_space import FieldSpace, derivative

Constants = Mapping[Mean | Given, PyTree]  # averaged and given vectors, pytrees like the parameters
Space = TangentSpace | FieldSpace
Rows = dict[int, Int[np.ndarray, " rows"]]  # the numbers of the examples at every position


@dataclass(frozen=True)
class Measured:
    """A function that takes the place of the loss at the position `TEST`, whose derivatives are written out.

    Attributes:
        function: of parameters and example.
        params: the point.
    """

    function: Loss
    params: PyTree

    @classmethod
    def at(cls, function: Loss | None, params: PyTree) -> "Measured | None":
        """Return it at a point; `None` where there is no such function."""
        return None if function is None else cls(function, params)

    def number(self, example: PyTree, directions: Sequence[PyTree]) -> Float[Array, ""]:
        """Return the derivative along all directions."""
        return derivative(lambda params: self.function(params, example), directions)(self.params)

    def vector(self, example: PyTree, directions: Sequence[PyTree]) -> PyTree:
        """Return the gradient, differentiated along all directions."""
        return derivative(jax.grad(lambda params: self.function(params, example)), directions)(self.params)


class Row:
    """The expressions of one row of examples; every vector is computed once.

    Args:
        space: the point, and the loss of one example.
        constants: the means and given vectors.
        examples: the example at every position.
        measured: the function of the position `TEST`; `None` where it is the loss.
    """

    def __init__(
        self,
        space: Space,
        constants: Constants,
        examples: Mapping[int, PyTree],
        measured: Measured | None = None,
    ) -> None:
        self._space, self._constants, self._examples, self._measured = space, constants, examples, measured
        self._vectors: dict[Input, FactoredVector] = {}

    def number(self, number: Number) -> Float[Array, ""]:
        """Return a number; a derivative in all slots needs no reverse mode."""
        if isinstance(number, Product):
            one, other = (self.number(factor) for factor in number.inputs)
            return one * other
        directions = [self.vector(item) for item in number.inputs]
        if isinstance(number, Dot):
            return self._space.dot(*directions)
        if self._measured is not None and number.position == TEST:
            return self._measured.number(self._examples[TEST], [self._space.dense(each) for each in directions])
        return self._space.number(self._examples[number.position], directions)

    def vector(self, item: Input) -> FactoredVector:
        """Return a vector of the space."""
        if item not in self._vectors:
            self._vectors[item] = self._computed(item)
        return self._vectors[item]

    def dense(self, item: Input) -> PyTree:
        """Return a vector as a pytree like the parameters."""
        return self._space.dense(self.vector(item))

    def components(self, basis: Mean | Given, item: Input) -> Float[Array, " stacked"]:
        """Return the inner products of a vector with stacked vectors."""
        return self._space.components(self._constants[basis], self.vector(item))

    def _computed(self, item: Input) -> FactoredVector:
        if not isinstance(item, Vector):
            return self._space.constant(self._constants[item])
        if item.basis:
            return self._space.outside(self.vector(item.whole), self._constants[item.basis])
        if item.centred:
            return self._space.minus(self.vector(item.uncentred), self._constants[Mean(item.uncentred)])
        directions = [self.vector(inner) for inner in item.inputs]
        if self._measured is not None and item.position == TEST:
            dense = [self._space.dense(each) for each in directions]
            return self._space.constant(self._measured.vector(self._examples[TEST], dense))
        return self._space.vector(self._examples[item.position], directions)


def examples_at(data: PyTree, index: Int[Array, "*rows"], *, noise_of: int | None = None) -> PyTree:
    """Return the examples with these numbers.

    Args:
        data: examples; with noise at every use pairs, of M examples and the words of a key for each.
        index: their numbers. With noise n + kM is example n with the k-th draw of its noise at the position.
        noise_of: the position whose noise they have; `None` where there is no noise.
    """
    if noise_of is None:
        return jax.tree.map(lambda leaf: leaf[index], data)
    inner, words = data
    draws, which = jnp.divmod(index, len(words))

    def drawn(own: Array, draw: Array) -> Array:
        return other_use(other_use(own, noise_of - TEST), draw)

    noise = drawn(words[which], draws) if index.ndim == 0 else jax.vmap(drawn)(words[which], draws)
    return jax.tree.map(lambda leaf: leaf[which], inner), noise


def shared_vector(
    loss: Loss, params: PyTree, constants: Constants, vector: Vector, examples: PyTree, mask: Bool[Array, " rows"]
) -> PyTree:
    """Return a vector with constant directions, summed over a chunk of examples: derivatives of the summed loss."""

    def total(params: PyTree) -> Float[Array, ""]:
        return jnp.sum(jnp.where(mask, jax.vmap(partial(loss, params))(examples), 0))

    return derivative(jax.grad(total), [constants[item] for item in vector.inputs])(params)  # type: ignore[index]
