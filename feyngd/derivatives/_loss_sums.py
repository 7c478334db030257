"""Weighted sums of the losses of examples, as functions of one vector of parameters, and their derivatives."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ._chunks import Loss, flat_loss, num_examples, sum_over
from ._traced_loss import with_products


class Sums:
    """Sums Σ w_x l_x over given examples, differentiated chunk by chunk.

    Args:
        loss: `loss(params, example)`.
        params: a pytree of parameters; its vector is `start`.
        chunk_size: how many examples are differentiated together.
    """

    def __init__(self, loss: Loss, params: Any, chunk_size: int) -> None:
        self.start, self._example_loss = flat_loss(with_products(loss), params)
        self._chunk_size = chunk_size

    def value(self, point: jax.Array, examples: Any, weights: jax.Array) -> jax.Array:
        """Return the sum over examples that are few."""
        return jnp.dot(weights, jax.vmap(partial(self._example_loss, point))(examples))

    def example_gradient(self, point: jax.Array, example: Any) -> jax.Array:
        """Return the gradient of one example's loss."""
        return jax.grad(self._example_loss)(point, example)

    def own_products(self, point: jax.Array, examples: Any, vectors: jax.Array) -> jax.Array:
        """Return the sum over few examples of every one's Hessian times its own vector, shape (x, P)."""

        def along(point: jax.Array) -> jax.Array:
            each = jax.vmap(
                lambda example, vector: jax.jvp(lambda at: self._example_loss(at, example), (point,), (vector,))[1]
            )
            return jnp.sum(each(examples, vectors))

        return jax.grad(along)(point)

    def gradient(self, point: jax.Array, examples: Any, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the sum and its gradient."""
        return self.over(lambda function: jax.value_and_grad(function)(point), examples, weights)

    def mean_gradient(self, point: jax.Array, examples: Any) -> tuple[jax.Array, jax.Array]:
        """Return the mean over examples and its gradient."""
        return self.gradient(point, examples, self.equal(examples))

    def product(self, point: jax.Array, examples: Any, weights: jax.Array, vector: jax.Array) -> jax.Array:
        """Return the Hessian of the sum times a vector."""
        return self.products(point, examples, weights, vector[None])[0]

    def products(self, point: jax.Array, examples: Any, weights: jax.Array, vectors: jax.Array) -> jax.Array:
        """Return the Hessian of the sum times each of some vectors, shape (v, P)."""
        return self.gradient_and_products(point, examples, weights, vectors)[1]

    def gradient_and_products(
        self, point: jax.Array, examples: Any, weights: jax.Array, vectors: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return the gradient of the sum, and its Hessian times each of some vectors, shape (v, P)."""

        def along(function: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array]:
            slope = jax.grad(function)
            return jax.vmap(lambda vector: jax.jvp(slope, (point,), (vector,)), out_axes=(None, 0))(vectors)

        return self.over(along, examples, weights)

    def second_order(
        self, point: jax.Array, examples: Any, weights: jax.Array, a: jax.Array, b: jax.Array, c: jax.Array
    ) -> jax.Array:
        """Return D³[a, b] + H·c for the Hessian H and the third derivative D³ of the sum."""

        def along(function: Callable[[jax.Array], jax.Array]) -> jax.Array:
            slope = jax.grad(function)
            # Where the point moves along b, the direction a moves along c.
            return jax.jvp(lambda point, a: jax.jvp(slope, (point,), (a,))[1], (point, a), (b, c))[1]

        return self.over(along, examples, weights)

    def third_products(
        self, point: jax.Array, examples: Any, weights: jax.Array, along: jax.Array, vectors: jax.Array
    ) -> jax.Array:
        """Return D³[along, v] for the third derivative D³ of the sum and each of some vectors v, shape (v, P)."""

        def of(function: Callable[[jax.Array], jax.Array]) -> jax.Array:
            def curved(vector: jax.Array) -> jax.Array:
                product = lambda point: jax.jvp(jax.grad(function), (point,), (vector,))[1]  # noqa: E731
                return jax.jvp(product, (point,), (along,))[1]

            return jax.vmap(curved)(vectors)

        return self.over(of, examples, weights)

    def over(self, derivative: Callable[[Callable[[jax.Array], jax.Array]], Any], examples: Any, weights: Any) -> Any:
        """Sum over chunks what is linear in the sum, such as its derivatives, given the sum over a chunk."""

        def of_chunk(chunk: tuple[Any, jax.Array]) -> Any:
            return derivative(lambda point: self.value(point, *chunk))

        if jnp.finfo(weights.dtype).bits >= 32:
            return sum_over(of_chunk, (examples, weights), self._chunk_size)
        # Small weights, as in a mean of many, would underflow on the way through the loss.
        largest = jnp.max(jnp.abs(weights))
        scale = jnp.where(largest > 0, largest, 1).astype(weights.dtype)
        total = sum_over(of_chunk, (examples, weights / scale), self._chunk_size)
        return jax.tree.map(lambda part: scale * part, total)

    def equal(self, examples: Any) -> jax.Array:
        """Return the weights of a mean."""
        count = num_examples(examples)
        return jnp.full(count, 1 / count, self.start.dtype)
