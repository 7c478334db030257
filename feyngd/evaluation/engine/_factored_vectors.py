"""Vectors of parameters at one example, with the gradients of weight matrices kept as products.

A `Product` stands for the matrix `leftᵀ right + Σ weights · stacks`: factors that differ from row to row, and matrices
that all rows share. As a direction it acts on activations x as `(x leftᵀ) right`, so the matrix is never written down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ...derivatives import TracedLoss


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Product:
    """The matrix leftᵀ right + Σ_a weights_a stacks_a, for every pair of weights and stacks.

    Attributes:
        left: shape (k, inputs), or `None`.
        right: shape (k, outputs), or `None`.
        weights: arrays of shape (a,).
        stacks: arrays of shape (a, inputs, outputs).
    """

    left: Any = None
    right: Any = None
    weights: tuple = ()
    stacks: tuple = ()

    def act(self, x: jax.Array) -> Any:
        """Return x times the matrix, for x of shape (P, inputs)."""
        total: Any = 0.0 if self.left is None else (x @ self.left.T) @ self.right
        for weights, stack in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.einsum("a,apo->po", weights, jnp.einsum("pi,aio->apo", x, stack))
        return total

    def with_shared(self, weights: jax.Array, stack: jax.Array) -> "Product":
        """Return the matrix with shared matrices added."""
        return Product(self.left, self.right, (*self.weights, weights), (*self.stacks, stack))

    def against(self, stack: jax.Array) -> Any:
        """Return the inner products with stacked matrices, shape (a,)."""
        total: Any = jnp.zeros(stack.shape[0], stack.dtype)
        if self.left is not None:
            total = jnp.sum(jnp.einsum("ki,aio->ako", self.left, stack) * self.right, axis=(1, 2))
        for weights, own in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.einsum("b,bio,aio->a", weights, own, stack)
        return total

    def dot(self, other: "Product") -> Any:
        """Return the inner product with another such matrix."""
        total: Any = 0.0
        if self.left is not None and other.left is not None:
            total = jnp.sum((self.left @ other.left.T) * (self.right @ other.right.T))
        for weights, stack in zip(other.weights, other.stacks, strict=True):
            total = total + jnp.dot(weights, self.against(stack))
        factors = Product(other.left, other.right)
        for weights, stack in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.dot(weights, factors.against(stack))
        return total

    def matrix(self) -> Any:
        """Return the matrix, shape (inputs, outputs)."""
        total: Any = 0.0 if self.left is None else self.left.T @ self.right
        for weights, stack in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.tensordot(weights, stack, axes=1)
        return total


Vector = list  # for every parameter a `Product` if it is a site, and otherwise an array


class Space:
    """The vectors at one point, for losses of single examples.

    Args:
        traced: the loss.
        params: the point, a pytree of arrays.
    """

    def __init__(self, traced: TracedLoss, params: Any) -> None:
        self._traced = traced
        self._leaves, self._structure = jax.tree.flatten(params)
        self._site_of = {site.leaf: index for index, site in enumerate(traced.sites)}

    def constant(self, tree: Any) -> Vector:
        """Return a pytree of parameters as a vector that all rows share."""
        one = jnp.ones(1, self._leaves[0].dtype)
        return [
            Product(None, None, (one.astype(leaf.dtype),), (self._flip(index, leaf)[None],))
            if index in self._site_of
            else leaf
            for index, leaf in enumerate(jax.tree.leaves(tree))
        ]

    def dense(self, vector: Vector) -> Any:
        """Return a vector as a pytree of parameters."""
        leaves = [self._flip(i, leaf.matrix()) if isinstance(leaf, Product) else leaf for i, leaf in enumerate(vector)]
        return jax.tree.unflatten(self._structure, leaves)

    def sum_rows(self, vectors: Vector, mask: jax.Array) -> Any:
        """Return the sum of vectors over rows, a pytree of parameters; leaves have a leading axis of rows."""

        def total(index: int, leaf: Any) -> jax.Array:
            if isinstance(leaf, Product):
                kept = jnp.where(mask[:, None, None], leaf.left, 0)
                right = jnp.where(mask[:, None, None], leaf.right, 0)
                return self._flip(index, jnp.einsum("xki,xko->io", kept, right))
            return jnp.sum(jnp.where(mask.reshape(-1, *(1 for _ in leaf.shape[1:])), leaf, 0), axis=0)

        return jax.tree.unflatten(self._structure, [total(index, leaf) for index, leaf in enumerate(vectors)])

    def dot(self, left: Vector, right: Vector) -> jax.Array:
        """Return the inner product of two vectors.

        Products are summed elementwise: under `vmap`, XLA's batched `dot` of long vectors is several times slower.
        """
        pairs = zip(left, right, strict=True)
        return sum(a.dot(b) if isinstance(a, Product) else jnp.sum(a * b) for a, b in pairs)  # type: ignore[return-value]

    def minus(self, vector: Vector, shared: Any) -> Vector:
        """Return a vector less a pytree of parameters that all rows share."""
        taken = self.constant(shared)
        return [
            a.with_shared(-b.weights[0], b.stacks[0]) if isinstance(a, Product) else a - b
            for a, b in zip(vector, taken, strict=True)
        ]

    def components(self, basis: Any, vector: Vector) -> jax.Array:
        """Return the inner products of a vector with stacked pytrees of parameters, shape (a,)."""
        pairs = zip(self._stacks(basis), vector, strict=True)
        return sum(
            v.against(q) if isinstance(v, Product) else jnp.sum(q * v, tuple(range(1, q.ndim))) for q, v in pairs
        )  # type: ignore[return-value]

    def outside(self, vector: Vector, basis: Any) -> Vector:
        """Return a vector less its projection on the span of stacked pytrees of parameters."""
        inside = self.components(basis, vector)
        return [
            v.with_shared(-inside, q) if isinstance(v, Product) else v - jnp.tensordot(inside, q, axes=1)
            for v, q in zip(vector, self._stacks(basis), strict=True)
        ]

    def number(self, example: Any, directions: Sequence[Vector]) -> jax.Array:
        """Return the derivative of the loss along all directions, by forward sweeps alone."""

        def loss(leaves: list, steps: list) -> jax.Array:
            return self._traced(leaves, example, self._behind(directions, steps))[0]

        for index, direction in enumerate(directions):
            loss = _tangent_of(loss, index, self._dense_part(direction))
        return loss(self._leaves, [jnp.zeros(())] * len(directions))

    def vector(self, example: Any, directions: Sequence[Vector]) -> Vector:
        """Return the gradient, differentiated along all directions: forward sweeps over one reverse sweep."""

        def gradient(leaves: list, steps: list) -> tuple:
            def loss(own: list, taps: list) -> tuple:
                merged = [leaf if a is None else a for a, leaf in zip(own, leaves, strict=True)]
                return self._traced(merged, example, self._behind(directions, steps, taps))

            own = [None if index in self._site_of else leaf for index, leaf in enumerate(leaves)]
            taps = [jnp.zeros((site.rows, site.outputs), self._leaves[site.leaf].dtype) for site in self._traced.sites]
            gradients, activations = jax.grad(loss, argnums=(0, 1), has_aux=True)(own, taps)
            return *gradients, activations

        for index, direction in enumerate(directions):
            gradient = _with_tangent_of(gradient, index, self._dense_part(direction))
        order = len(directions)
        results = _unnested(gradient(self._leaves, [jnp.zeros(())] * order), order)
        own, _, _ = results[(1,) * order]
        return [
            self._product(self._site_of[index], results, order) if index in self._site_of else own[index]
            for index in range(len(self._leaves))
        ]

    def _product(self, index: int, results: dict[tuple[int, ...], tuple], order: int) -> Product:
        """Differentiate activations ⊗ cotangents by the product rule."""
        subsets = [(0,) * order] if self._traced.sites[index].is_fixed else list(product((0, 1), repeat=order))
        left = [results[subset][2][index] for subset in subsets]
        right = [results[tuple(1 - taken for taken in subset)][1][index] for subset in subsets]
        return Product(jnp.concatenate(left), jnp.concatenate(right))

    def _behind(self, directions: Sequence[Vector], steps: list, taps: Sequence[jax.Array] = ()) -> Any:
        """Return what to add behind a site: the steps along the directions, and a tap to differentiate by."""

        def added(index: int, x: jax.Array) -> Any:
            leaf = self._traced.sites[index].leaf
            total: Any = taps[index] if taps else 0.0
            for direction, step in zip(directions, steps, strict=True):
                total = total + _step(step, direction[leaf].act(x))
            return total

        return added if directions or taps else None

    def _dense_part(self, direction: Vector) -> list:
        return [
            jnp.zeros_like(own) if isinstance(leaf, Product) else leaf
            for own, leaf in zip(self._leaves, direction, strict=True)
        ]

    def _stacks(self, basis: Any) -> list[jax.Array]:
        leaves = jax.tree.leaves(basis)
        return [self._flip(index, leaf) if index in self._site_of else leaf for index, leaf in enumerate(leaves)]

    def _flip(self, index: int, matrix: jax.Array) -> jax.Array:
        """Turn a parameter into a matrix (inputs, outputs) and back; leading axes stay."""
        return jnp.swapaxes(matrix, -1, -2) if self._traced.sites[self._site_of[index]].transposed else matrix


@jax.custom_jvp
def _step(size: jax.Array, change: jax.Array) -> jax.Array:
    """Return size · change for a size that is always 0 and matters by its derivatives only, at no cost."""
    return jnp.zeros_like(change)


def _step_rule(primals: tuple, tangents: tuple) -> tuple:
    (size, change), (along, moved) = primals, tangents
    tangent = jnp.zeros_like(change) if isinstance(along, SymbolicZero) else along * change
    # The step itself and its second part are 0, but their derivatives by the size, taken later, are not.
    return _step(size, change), tangent if isinstance(moved, SymbolicZero) else tangent + size * moved


_step.defjvp(_step_rule, symbolic_zeros=True)


def _tangent_of(function: Any, index: int, direction: list) -> Any:
    def tangent(leaves: list, steps: list) -> Any:
        return _push(function, index, direction, leaves, steps)[1]

    return tangent


def _with_tangent_of(function: Any, index: int, direction: list) -> Any:
    def both(leaves: list, steps: list) -> Any:
        return _push(function, index, direction, leaves, steps)

    return both


def _push(function: Any, index: int, direction: list, leaves: list, steps: list) -> tuple:
    def along(leaves: list, step: jax.Array) -> Any:
        return function(leaves, [*steps[:index], step, *steps[index + 1 :]])

    return jax.jvp(along, (leaves, steps[index]), (direction, jnp.ones(())))


def _unnested(nested: Any, order: int) -> dict[tuple[int, ...], Any]:
    """Return the mixed derivatives by which directions they are taken along; the last direction is outermost."""
    if not order:
        return {(): nested}
    return {(*inner, taken): value for taken in (0, 1) for inner, value in _unnested(nested[taken], order - 1).items()}
