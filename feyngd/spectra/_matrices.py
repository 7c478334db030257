"""Covariance of gradients and curvature of the mean loss at a point, in memory that does not grow with the data."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..derivatives import CHUNK, Loss, flat_loss, num_examples, per_loss, sum_over
from ..errors import LandscapeError

_COLUMNS = 64  # of a Hessian that are computed together


def covariance_and_hessian(loss: Loss, params: Any, data: Any, chunk_size: int = CHUNK) -> tuple[jax.Array, jax.Array]:
    """Return C and H as matrices; differentiable in the parameters, the data and what the loss closes over.

    Args:
        loss: `loss(params, example)`.
        params: the point, a pytree of p numbers in all.
        data: N ≥ 2 examples.
        chunk_size: how many examples are differentiated together.

    Returns:
        The covariance of the examples' gradients, divided by N − 1, and the Hessian of their mean loss, shapes (p, p).
    """
    theta, example_loss = flat_loss(loss, params)
    count, size = num_examples(data), len(theta)
    blocks = -(-size // _COLUMNS)
    width = -(-size // blocks)
    # A few rows of zeros fill the last block: a block of another size would be compiled for itself.
    directions = jnp.eye(blocks * width, size, dtype=theta.dtype).reshape(blocks, width, size)
    slopes = jax.vmap(jax.grad(example_loss), in_axes=(None, 0))
    mean = sum_over(lambda chunk: jnp.sum(slopes(theta, chunk), axis=0), data, chunk_size) / count

    def sums(chunk: Any) -> tuple[jax.Array, jax.Array]:
        rows = slopes(theta, chunk) - mean
        slope = jax.grad(lambda point: jnp.sum(jax.vmap(partial(example_loss, point))(chunk)))
        columns = jax.lax.map(jax.vmap(lambda v: jax.jvp(slope, (theta,), (v,))[1]), directions)
        return jnp.matmul(rows.T, rows, precision="highest"), columns.reshape(-1, size)[:size]

    noise, curvature = sum_over(sums, data, chunk_size)
    return noise / (count - 1), (curvature + curvature.T) / (2 * count)


@per_loss
def compiled_matrices(loss: Loss, chunk_size: int) -> Callable[[Any, Any], tuple[jax.Array, jax.Array]]:
    """Compile `covariance_and_hessian` as a function of the parameters and the data."""
    return jax.jit(lambda params, data: covariance_and_hessian(loss, params, data, chunk_size))


@per_loss
def compiled_combinations(loss: Loss, chunk_size: int) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """Compile sums of gradients with weights.

    Returns:
        A function of the parameters, the data and weights of shape (m, N) that returns Σ_n w_n g_n, shape (m, p).
    """

    @jax.jit
    def combinations(params: Any, data: Any, weights: jax.Array) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)

        def sums(chunk: Any) -> jax.Array:
            examples, factors = chunk
            losses, pull = jax.vjp(lambda point: jax.vmap(partial(example_loss, point))(examples), theta)
            return jax.vmap(lambda row: pull(row)[0])(factors.T.astype(losses.dtype))

        return sum_over(sums, (data, weights.T), chunk_size)

    return combinations


@per_loss
def compiled_products(loss: Loss, chunk_size: int) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """Compile Hessian-vector products, forward over reverse.

    Returns:
        A function of the parameters, the data and vectors of shape (m, p) that returns Hv for the Hessian of the mean
        loss and every row v, shape (m, p).
    """

    @jax.jit
    def products(params: Any, data: Any, vectors: jax.Array) -> jax.Array:
        theta, example_loss = flat_loss(loss, params)

        def sums(chunk: Any) -> jax.Array:
            slope = jax.grad(lambda point: jnp.sum(jax.vmap(partial(example_loss, point))(chunk)))
            return jax.vmap(lambda v: jax.jvp(slope, (theta,), (v,))[1])(vectors)

        return sum_over(sums, data, chunk_size) / num_examples(data)

    return products


@per_loss
def compiled_moments(loss: Loss, chunk_size: int) -> Callable[[Any, Any, jax.Array], tuple[jax.Array, ...]]:
    """Compile the first moments of the loss and its gradients at several points.

    Returns:
        A function of the parameters, the data and offsets of shape (m, p) that returns, at the parameters plus every
        offset, the mean loss, shape (m,), the mean gradient, (m, p), and the trace of the gradients' covariance, (m,).
    """

    @jax.jit
    def moments(params: Any, data: Any, offsets: jax.Array) -> tuple[jax.Array, ...]:
        theta, example_loss = flat_loss(loss, params)

        def at(offset: jax.Array) -> tuple[jax.Array, ...]:
            def sums(chunk: Any) -> tuple[jax.Array, ...]:
                losses, slopes = jax.vmap(jax.value_and_grad(example_loss), in_axes=(None, 0))(theta + offset, chunk)
                return jnp.sum(losses), jnp.sum(slopes, axis=0), jnp.sum(slopes**2)

            mean, slope, squares = (total / num_examples(data) for total in sum_over(sums, data, chunk_size))
            return mean, slope, squares - jnp.sum(slope**2)

        return jax.lax.map(at, offsets)

    return moments


@per_loss
def compiled_cubics(loss: Loss, chunk_size: int) -> Callable[..., tuple[jax.Array, ...]]:
    """Compile forms of vectors that belong to examples x.

    Returns:
        A function of the parameters, the data, examples, m of them, and vectors u and w of shape (m, p) that returns
        ∇∇∇l[u, u, u], w·(∇∇l_x − H)u and u·(∇∇l_x − H)u, each of shape (m,).
    """

    @jax.jit
    def cubics(params: Any, data: Any, examples: Any, vectors: jax.Array, others: jax.Array) -> tuple[jax.Array, ...]:
        theta, example_loss = flat_loss(loss, params)

        def along(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
            def sums(chunk: Any) -> tuple[jax.Array, jax.Array]:
                def slope(point: jax.Array) -> jax.Array:
                    return jax.grad(lambda point: jnp.sum(jax.vmap(partial(example_loss, point))(chunk)))(point)

                def product(point: jax.Array) -> jax.Array:
                    return jax.jvp(slope, (point,), (vector,))[1]

                image, change = jax.jvp(product, (theta,), (vector,))
                return image, jnp.dot(change, vector)

            image, third = sum_over(sums, data, chunk_size)
            return image / num_examples(data), third / num_examples(data)

        def one(given: tuple[Any, jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
            example, vector, other = given
            image, third = along(vector)
            own = jax.jvp(jax.grad(lambda point: example_loss(point, example)), (theta,), (vector,))[1]
            return third, jnp.dot(other, own - image), jnp.dot(vector, own - image)

        return jax.lax.map(one, (examples, vectors, others))

    return cubics


def check_finite(curvatures: np.ndarray) -> None:
    """Raise unless the entries of a Hessian, or of products with it, are finite."""
    if not np.all(np.isfinite(curvatures)):
        raise LandscapeError(
            "The Hessian of the mean loss is not finite at these parameters, although gradients are. Look for a square "
            "root, norm or logarithm at 0, or start from other parameters."
        )
