"""Vectors of parameters at one point: gradients of single examples, their derivatives along others, inner products.

A derivative ∇^k l_n with all but one of its slots filled is a vector. At a site, a weight matrix that the loss uses
once, its entries are a `FactoredMatrix`; at any other parameter they are an array.

Derivatives are taken by one scalar step s_i for every direction v_i, at s = 0: the loss is l(θ + Σ_i s_i v_i). Arrays
move with the parameters themselves. At a site the activations X meet W + s V with a factored V, so s · X V is added
behind the site instead, and V is never written out.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, PyTree

from ...derivatives import TracedLoss
from ._factored_matrix import FactoredMatrix

FactoredVector = list[FactoredMatrix | Array]  # one entry for every parameter, in the order of its leaves
Steps = list[Array]  # s_i of shape ()
Taken = tuple[int, ...]  # for every direction whether a mixed derivative is taken along it, 1 or 0


class TangentSpace:
    """The vectors at one point, for losses of single examples.

    Args:
        traced: the loss.
        params: the point, a pytree of arrays.
    """

    def __init__(self, traced: TracedLoss, params: PyTree) -> None:
        self._traced = traced
        self._leaves, self._structure = jax.tree.flatten(params)
        self._site_of = {site.leaf: index for index, site in enumerate(traced.sites)}

    # --- from and to pytrees ---------------------------------------------------------------------------------------

    def constant(self, tree: PyTree) -> FactoredVector:
        """Return a pytree of parameters as a vector that all rows share."""
        one = jnp.ones(1, self._leaves[0].dtype)
        # At a site it is a stack of one matrix with weight 1, so that rows need no copies of it.
        return [
            FactoredMatrix(None, None, (one.astype(leaf.dtype),), (self._flip(index, leaf)[None],))
            if index in self._site_of
            else leaf
            for index, leaf in enumerate(jax.tree.leaves(tree))
        ]

    def dense(self, vector: FactoredVector) -> PyTree:
        """Return a vector as a pytree of parameters."""
        leaves = [
            self._flip(index, entry.matrix()) if isinstance(entry, FactoredMatrix) else entry
            for index, entry in enumerate(vector)
        ]
        return jax.tree.unflatten(self._structure, leaves)

    def sum_rows(self, vectors: FactoredVector, mask: Bool[Array, " rows"]) -> PyTree:
        """Return the sum of vectors over rows, a pytree of parameters; arrays have a leading axis of rows."""

        def total(index: int, entry: FactoredMatrix | Array) -> Array:
            if isinstance(entry, FactoredMatrix):
                # Σ_x L_xᵀ R_x is one product of matrices over rows and factors together.
                assert entry.left is not None
                assert entry.right is not None
                left = jnp.where(mask[:, None, None], entry.left, 0)
                right = jnp.where(mask[:, None, None], entry.right, 0)
                return self._flip(index, jnp.einsum("xki,xko->io", left, right))
            return jnp.sum(jnp.where(mask.reshape(-1, *(1 for _ in entry.shape[1:])), entry, 0), axis=0)

        return jax.tree.unflatten(self._structure, [total(index, entry) for index, entry in enumerate(vectors)])

    # --- linear algebra --------------------------------------------------------------------------------------------

    def dot(self, left: FactoredVector, right: FactoredVector) -> Float[Array, ""]:
        """Return the inner product of two vectors.

        Arrays are summed elementwise: under `vmap`, XLA's batched `dot` of long vectors is several times slower.
        """
        pairs: Any = zip(left, right, strict=True)
        total: Any = 0
        for a, b in pairs:
            total = total + (a.dot(b) if isinstance(a, FactoredMatrix) else jnp.sum(a * b))
        return total

    def minus(self, vector: FactoredVector, shared: PyTree) -> FactoredVector:
        """Return a vector less a pytree of parameters that all rows share."""
        pairs: Any = zip(vector, self.constant(shared), strict=True)
        return [a.with_shared(-b.weights[0], b.stacks[0]) if isinstance(a, FactoredMatrix) else a - b for a, b in pairs]

    def components(self, basis: PyTree, vector: FactoredVector) -> Float[Array, " stacked"]:
        """Return the inner products Q_a·v with stacked pytrees of parameters Q."""
        pairs = zip(self._stacks(basis), vector, strict=True)
        return sum(
            v.against(q) if isinstance(v, FactoredMatrix) else jnp.sum(q * v, tuple(range(1, q.ndim))) for q, v in pairs
        )  # type: ignore[return-value]

    def outside(self, vector: FactoredVector, basis: PyTree) -> FactoredVector:
        """Return v − Σ_a (Q_a·v) Q_a for stacked orthonormal pytrees of parameters Q."""
        inside = self.components(basis, vector)
        return [
            v.with_shared(-inside, q) if isinstance(v, FactoredMatrix) else v - jnp.tensordot(inside, q, axes=1)
            for v, q in zip(vector, self._stacks(basis), strict=True)
        ]

    # --- derivatives -----------------------------------------------------------------------------------------------

    def number(self, example: PyTree, directions: Sequence[FactoredVector]) -> Float[Array, ""]:
        """Return the derivative of the loss along all directions, by forward mode alone."""

        def loss(leaves: list, steps: Steps) -> Array:
            return self._traced(leaves, example, self._behind_sites(directions, steps))[0]

        for index, direction in enumerate(directions):
            loss = _tangent_of(loss, index, self._at_arrays(direction))
        return loss(self._leaves, [jnp.zeros(())] * len(directions))

    def vector(self, example: PyTree, directions: Sequence[FactoredVector]) -> FactoredVector:
        """Return the gradient, differentiated along all directions: forward mode over one pass of reverse mode.

        At a site, a tap of zeros is added behind the product X W. Its gradient is the cotangent Ȳ, and Xᵀ Ȳ is the
        gradient by W.
        """

        def gradient(leaves: list, steps: Steps) -> tuple:
            """Return, at some leaves and steps, gradients by arrays, cotangents Ȳ and activations X of the sites."""

            def loss(own: list, taps: list[Array]) -> tuple:
                merged = [leaf if a is None else a for a, leaf in zip(own, leaves, strict=True)]
                return self._traced(merged, example, self._behind_sites(directions, steps, taps))

            # Only what is no site is differentiated by itself.
            own = [None if index in self._site_of else leaf for index, leaf in enumerate(leaves)]
            taps = [jnp.zeros((site.rows, site.outputs), self._leaves[site.leaf].dtype) for site in self._traced.sites]
            (gradients, cotangents), activations = jax.grad(loss, argnums=(0, 1), has_aux=True)(own, taps)
            return gradients, cotangents, activations

        for index, direction in enumerate(directions):
            gradient = _with_tangent_of(gradient, index, self._at_arrays(direction))
        order = len(directions)
        # All 2^order mixed derivatives of the three come out together; arrays need the highest one only.
        mixed = _unnested(gradient(self._leaves, [jnp.zeros(())] * order), order)
        gradients, _, _ = mixed[(1,) * order]
        return [
            self._at_site(self._site_of[index], mixed, order) if index in self._site_of else gradients[index]
            for index in range(len(self._leaves))
        ]

    def _at_site(self, site: int, mixed: Mapping[Taken, tuple], order: int) -> FactoredMatrix:
        """Differentiate Xᵀ Ȳ along all directions by the product rule.

        The derivative is Σ_S (∂_S X)ᵀ (∂_S̄ Ȳ) over all subsets S of the directions and their complements S̄. So every
        direction doubles the number of factors, unless X does not depend on the parameters.
        """
        nothing = (0,) * order
        subsets = [nothing] if self._traced.sites[site].is_fixed else list(product((0, 1), repeat=order))
        left = [mixed[taken][2][site] for taken in subsets]  # ∂_S X
        right = [mixed[tuple(1 - along for along in taken)][1][site] for taken in subsets]  # ∂_S̄ Ȳ
        return FactoredMatrix(jnp.concatenate(left), jnp.concatenate(right))

    def _behind_sites(
        self, directions: Sequence[FactoredVector], steps: Steps, taps: Sequence[Array] = ()
    ) -> Callable[[int, Array], Any] | None:
        """Return what is added behind a site whose activations are X: Σ_i s_i X V_i, and its tap."""

        def added(index: int, x: Float[Array, "p inputs"]) -> Float[Array, "p outputs"] | float:
            leaf = self._traced.sites[index].leaf
            total: Any = taps[index] if taps else 0.0
            for direction, step in zip(directions, steps, strict=True):
                factored: Any = direction[leaf]
                total = total + _step(step, factored.act(x))
            return total

        return added if directions or taps else None

    def _at_arrays(self, direction: FactoredVector) -> list[Array]:
        """Return a direction at the parameters that are no sites, and zeros at sites, where `_behind_sites` moves."""
        return [
            jnp.zeros_like(own) if isinstance(entry, FactoredMatrix) else entry
            for own, entry in zip(self._leaves, direction, strict=True)
        ]

    def _stacks(self, basis: PyTree) -> list[Array]:
        leaves = jax.tree.leaves(basis)
        return [self._flip(index, leaf) if index in self._site_of else leaf for index, leaf in enumerate(leaves)]

    def _flip(self, index: int, matrix: Float[Array, "*stacked _ _"]) -> Float[Array, "*stacked _ _"]:
        """Turn a parameter into a matrix (inputs, outputs) and back; leading axes stay."""
        return jnp.swapaxes(matrix, -1, -2) if self._traced.sites[self._site_of[index]].transposed else matrix


@jax.custom_jvp
def _step(size: Float[Array, ""], change: Float[Array, "p outputs"]) -> Float[Array, "p outputs"]:
    """Return size · change for a size that is always 0 and matters by its derivatives only, at no cost."""
    return jnp.zeros_like(change)


def _step_rule(primals: tuple, tangents: tuple) -> tuple:
    """Differentiate s · c along (ds, dc): ds · c + s · dc."""
    (size, change), (size_tangent, change_tangent) = primals, tangents
    tangent = jnp.zeros_like(change) if isinstance(size_tangent, SymbolicZero) else size_tangent * change
    # The step itself and s · dc are 0, but their derivatives by s, taken later, are not.
    if not isinstance(change_tangent, SymbolicZero):
        tangent = tangent + size * change_tangent
    return _step(size, change), tangent


_step.defjvp(_step_rule, symbolic_zeros=True)


def _tangent_of(function: Callable, index: int, direction: list[Array]) -> Callable:
    """Return the derivative of a function of leaves and steps along one direction."""

    def tangent(leaves: list, steps: Steps) -> Any:
        return _value_and_tangent(function, index, direction, leaves, steps)[1]

    return tangent


def _with_tangent_of(function: Callable, index: int, direction: list[Array]) -> Callable:
    """Return a function of leaves and steps together with its derivative along one direction."""

    def both(leaves: list, steps: Steps) -> tuple:
        return _value_and_tangent(function, index, direction, leaves, steps)

    return both


def _value_and_tangent(function: Callable, index: int, direction: list[Array], leaves: list, steps: Steps) -> tuple:
    """Return a function and its derivative by s_index, which moves the arrays along the direction too."""

    def along(leaves: list, step: Array) -> Any:
        return function(leaves, [*steps[:index], step, *steps[index + 1 :]])

    return jax.jvp(along, (leaves, steps[index]), (direction, jnp.ones(())))


def _unnested(nested: Any, order: int) -> dict[Taken, Any]:
    """Return the mixed derivatives by which directions they are taken along; the last direction is outermost."""
    if not order:
        return {(): nested}
    return {(*inner, taken): value for taken in (0, 1) for inner, value in _unnested(nested[taken], order - 1).items()}
