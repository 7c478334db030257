"""Matrices of weights as products, which is what the gradients of single examples are.

Where P rows of activations X meet a weight matrix W, the gradient by W for one example is Xᵀ Ȳ, with the cotangents Ȳ
of X W. The two factors hold P (inputs + outputs) numbers instead of inputs · outputs.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FactoredMatrix:
    """The matrix A = LᵀR + Σ_i Σ_a c_ia S_ia, never written out.

    Factors L and R differ from row to row of a pass. The stacks S_i are shared by all rows, which differ in their
    weights c_i only: means that are subtracted, and projections on stacked directions. In averages over rows, arrays
    have a leading axis of rows.

    Attributes:
        left: L, or `None` if there are no factors.
        right: R, likewise.
        weights: c_i for every i.
        stacks: S_i for every i.
    """

    left: Float[Array, "*rows k inputs"] | None = None
    right: Float[Array, "*rows k outputs"] | None = None
    weights: tuple[Float[Array, "*rows _"], ...] = ()
    stacks: tuple[Float[Array, "*rows _ inputs outputs"], ...] = ()

    def act(self, x: Float[Array, "p inputs"]) -> Float[Array, "p outputs"] | float:
        """Return x A."""
        total: Array | float = 0.0
        if self.left is not None and self.right is not None:
            # (x Lᵀ) R, in this order, costs P k (inputs + outputs) and never forms LᵀR.
            total = (x @ self.left.T) @ self.right
        for weights, stack in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.einsum("a,apo->po", weights, jnp.einsum("pi,aio->apo", x, stack))
        return total

    def with_shared(
        self, weights: Float[Array, " stacked"], stack: Float[Array, "stacked inputs outputs"]
    ) -> "FactoredMatrix":
        """Return A + Σ_a weights_a stack_a."""
        return FactoredMatrix(self.left, self.right, (*self.weights, weights), (*self.stacks, stack))

    def against(self, stack: Float[Array, "stacked inputs outputs"]) -> Float[Array, " stacked"]:
        """Return the inner products ⟨A, stack_a⟩."""
        total = jnp.zeros(stack.shape[0], stack.dtype)
        # ⟨LᵀR, S_a⟩ = Σ_ko (L S_a)_ko R_ko
        if self.left is not None and self.right is not None:
            total = jnp.sum(jnp.einsum("ki,aio->ako", self.left, stack) * self.right, axis=(1, 2))
        for weights, own in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.einsum("b,bio,aio->a", weights, own, stack)
        return total

    def dot(self, other: "FactoredMatrix") -> Float[Array, ""] | float:
        """Return the inner product ⟨A, B⟩ with another matrix."""
        total: Array | float = 0.0
        if self.left is not None and self.right is not None and other.left is not None and other.right is not None:
            # ⟨LᵀR, L'ᵀR'⟩ = Σ_kk' (L L'ᵀ)_kk' (R R'ᵀ)_kk'
            total = jnp.sum((self.left @ other.left.T) * (self.right @ other.right.T))
        # All of A against the stacks of B, then the stacks of A against the factors of B: every pair once.
        for weights, stack in zip(other.weights, other.stacks, strict=True):
            total = total + jnp.dot(weights, self.against(stack))
        factors = FactoredMatrix(other.left, other.right)
        for weights, stack in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.dot(weights, factors.against(stack))
        return total

    def matrix(self) -> Float[Array, "inputs outputs"]:
        """Return A, written out."""
        total: Array | float = 0.0
        if self.left is not None and self.right is not None:
            total = self.left.T @ self.right
        for weights, stack in zip(self.weights, self.stacks, strict=True):
            total = total + jnp.tensordot(weights, stack, axes=1)
        return jnp.asarray(total)
