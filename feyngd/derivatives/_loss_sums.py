"""Weighted sums of the losses of examples, as functions of one vector of parameters, and their derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._chunks import num_examples, sum_over
from ._loss import Loss, flat_loss
from ._traced_loss import with_products

Derivative = TypeVar("Derivative")
Function = Callable[[Array], Array]  # from a vector of parameters to a number


class Sums:
    """Sums Σ w_x l_x over given examples, differentiated chunk by chunk.

    Args:
        loss: `loss(params, example)`.
        params: a pytree of parameters; its vector is `start`.
        chunk_size: how many examples are differentiated together.
    """

    def __init__(self, loss: Loss, params: PyTree, chunk_size: int) -> None:
        self.start, self._example_loss = flat_loss(with_products(loss), params)
        self._chunk_size = chunk_size

    def value(
        self, point: Float[Array, " params"], examples: PyTree, weights: Float[Array, " examples"]
    ) -> Float[Array, ""]:
        """Return the sum over a few examples."""
        return jnp.dot(weights, jax.vmap(partial(self._example_loss, point))(examples))

    def example_gradient(self, point: Float[Array, " params"], example: PyTree) -> Float[Array, " params"]:
        """Return the gradient of one example's loss."""
        return jax.grad(self._example_loss)(point, example)

    def own_products(
        self, point: Float[Array, " params"], examples: PyTree, vectors: Float[Array, "examples params"]
    ) -> Float[Array, " params"]:
        """Return the sum over a few examples of each one's Hessian times its own vector."""

        def along(point: Float[Array, " params"]) -> Float[Array, ""]:
            each = jax.vmap(
                lambda example, vector: jax.jvp(lambda at: self._example_loss(at, example), (point,), (vector,))[1]
            )
            return jnp.sum(each(examples, vectors))

        return jax.grad(along)(point)

    def gradient(
        self, point: Float[Array, " params"], examples: PyTree, weights: Float[Array, " examples"]
    ) -> tuple[Float[Array, ""], Float[Array, " params"]]:
        """Return the sum and its gradient."""
        return self.over(lambda function: jax.value_and_grad(function)(point), examples, weights)

    def mean_gradient(
        self, point: Float[Array, " params"], examples: PyTree
    ) -> tuple[Float[Array, ""], Float[Array, " params"]]:
        """Return the mean over examples and its gradient."""
        return self.gradient(point, examples, self.equal(examples))

    def product(
        self,
        point: Float[Array, " params"],
        examples: PyTree,
        weights: Float[Array, " examples"],
        vector: Float[Array, " params"],
    ) -> Float[Array, " params"]:
        """Return the Hessian of the sum times a vector."""
        return self.products(point, examples, weights, vector[None])[0]

    def products(
        self,
        point: Float[Array, " params"],
        examples: PyTree,
        weights: Float[Array, " examples"],
        vectors: Float[Array, "vectors params"],
    ) -> Float[Array, "vectors params"]:
        """Return the Hessian of the sum times each of some vectors."""
        return self.gradient_and_products(point, examples, weights, vectors)[1]

    def gradient_and_products(
        self,
        point: Float[Array, " params"],
        examples: PyTree,
        weights: Float[Array, " examples"],
        vectors: Float[Array, "vectors params"],
    ) -> tuple[Float[Array, " params"], Float[Array, "vectors params"]]:
        """Return the gradient of the sum, and its Hessian times each of some vectors."""

        def along(function: Function) -> tuple[Float[Array, " params"], Float[Array, "vectors params"]]:
            gradient = jax.grad(function)
            return jax.vmap(lambda vector: jax.jvp(gradient, (point,), (vector,)), out_axes=(None, 0))(vectors)

        return self.over(along, examples, weights)

    def second_order(
        self,
        point: Float[Array, " params"],
        examples: PyTree,
        weights: Float[Array, " examples"],
        a: Float[Array, " params"],
        b: Float[Array, " params"],
        c: Float[Array, " params"],
    ) -> Float[Array, " params"]:
        """Return D³[a, b] + H·c for the Hessian H and the third derivative D³ of the sum."""

        def along(function: Function) -> Float[Array, " params"]:
            gradient = jax.grad(function)
            # Where the point moves along b, the direction a moves along c.
            return jax.jvp(lambda point, a: jax.jvp(gradient, (point,), (a,))[1], (point, a), (b, c))[1]

        return self.over(along, examples, weights)

    def third_products(
        self,
        point: Float[Array, " params"],
        examples: PyTree,
        weights: Float[Array, " examples"],
        along: Float[Array, " params"],
        vectors: Float[Array, "vectors params"],
    ) -> Float[Array, "vectors params"]:
        """Return D³[along, v] for the third derivative D³ of the sum and each of some vectors v."""

        def of(function: Function) -> Float[Array, "vectors params"]:
            def curved(vector: Float[Array, " params"]) -> Float[Array, " params"]:
                product = lambda point: jax.jvp(jax.grad(function), (point,), (vector,))[1]  # noqa: E731
                return jax.jvp(product, (point,), (along,))[1]

            return jax.vmap(curved)(vectors)

        return self.over(of, examples, weights)

    def over(
        self, derivative: Callable[[Function], Derivative], examples: PyTree, weights: Float[Array, " examples"]
    ) -> Derivative:
        """Sum over chunks what is linear in the sum, such as its derivatives, given the sum over a chunk."""

        def of_chunk(chunk: tuple[PyTree, Float[Array, " chunk"]]) -> Any:
            return derivative(lambda point: self.value(point, *chunk))

        if jnp.finfo(weights.dtype).bits >= 32:
            return sum_over(of_chunk, (examples, weights), self._chunk_size)
        # Small weights, as in a mean of many, would underflow on the way through the loss.
        largest = jnp.max(jnp.abs(weights))
        scale = jnp.where(largest > 0, largest, 1).astype(weights.dtype)
        total = sum_over(of_chunk, (examples, weights / scale), self._chunk_size)
        return jax.tree.map(lambda part: scale * part, total)

    def equal(self, examples: PyTree) -> Float[Array, " examples"]:
        """Return the weights of a mean."""
        count = num_examples(examples)
        return jnp.full(count, 1 / count, self.start.dtype)
