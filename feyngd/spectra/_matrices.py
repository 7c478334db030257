"""Covariance of gradients and curvature of the mean loss at a point, in memory that does not grow with the data."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._mesh import ALONE, Devices
from ..derivatives import CHUNK, Loss, flat_loss, num_examples, per_loss, sum_over
from ..errors import LandscapeError

Sum = TypeVar("Sum")

_COLUMNS = 64  # of a Hessian that are computed together


def covariance_and_hessian(
    loss: Loss, params: PyTree, data: PyTree, chunk_size: int = CHUNK, devices: Devices = ALONE
) -> tuple[Float[Array, "params params"], Float[Array, "params params"]]:
    """Return C and H as matrices; differentiable in the parameters, the data and what the loss closes over.

    Args:
        loss: `loss(params, example)`.
        params: the point, a pytree of p numbers in all.
        data: N ≥ 2 examples.
        chunk_size: how many examples are differentiated together.
        devices: those that share the examples, in a program that they run.

    Returns:
        The covariance of the examples' gradients, divided by N − 1, and the Hessian of their mean loss.
    """
    theta, example_loss = flat_loss(loss, params)
    count, size = num_examples(data), len(theta)
    blocks = -(-size // _COLUMNS)
    width = -(-size // blocks)
    # A few rows of zeros fill the last block: a block of another size would be compiled for itself.
    directions = jnp.eye(blocks * width, size, dtype=theta.dtype).reshape(blocks, width, size)
    gradients = jax.vmap(jax.grad(example_loss), in_axes=(None, 0))
    mean = _sum_over(lambda chunk: jnp.sum(gradients(theta, chunk), axis=0), data, chunk_size, devices) / count

    def sums(chunk: PyTree) -> tuple[Float[Array, "params params"], Float[Array, "params params"]]:
        rows = gradients(theta, chunk) - mean
        gradient = _chunk_gradient(example_loss, chunk)
        columns = jax.lax.map(jax.vmap(lambda v: jax.jvp(gradient, (theta,), (v,))[1]), directions)
        return jnp.matmul(rows.T, rows, precision="highest"), columns.reshape(-1, size)[:size]

    noise, curvature = _sum_over(sums, data, chunk_size, devices)
    return noise / (count - 1), (curvature + curvature.T) / (2 * count)


def _sum_over(function: Callable[[PyTree], Sum], data: PyTree, chunk_size: int, devices: Devices) -> Sum:
    """Sum a function of stacked examples over the data, chunk by chunk, every device over its share.

    Shares are of one length. The examples that are left over go to the first devices, one to each.
    """
    if devices.mesh is None:
        return sum_over(function, data, chunk_size)
    count = num_examples(data)
    each, left = divmod(count, devices.size)
    totals = []
    if each:
        own = devices.own(jax.tree.map(lambda leaf: leaf[: count - left], data))
        totals.append(sum_over(function, own, min(chunk_size, each)))
    if left:
        one = function(devices.own(jax.tree.map(lambda leaf: leaf[count - left :], data)))
        (real,) = devices.own_weights(jnp.ones(left)) > 0
        totals.append(jax.tree.map(lambda part: jnp.where(real, part, 0), one))
    return devices.total(jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *totals))


def _chunk_gradient(
    example_loss: Callable[[Float[Array, " params"], PyTree], Any], chunk: PyTree
) -> Callable[[Float[Array, " params"]], Float[Array, " params"]]:
    """Return the gradient of the sum of the losses of a chunk, as a function of the point."""
    return jax.grad(lambda point: jnp.sum(jax.vmap(partial(example_loss, point))(chunk)))


@per_loss
def compiled_matrices(
    loss: Loss, chunk_size: int, devices: Devices = ALONE
) -> Callable[[PyTree, PyTree], tuple[Float[Array, "params params"], Float[Array, "params params"]]]:
    """Compile `covariance_and_hessian` as a function of the parameters and the data."""
    return devices.compiled(lambda params, data: covariance_and_hessian(loss, params, data, chunk_size, devices))


@per_loss
def compiled_combinations(
    loss: Loss, chunk_size: int, devices: Devices = ALONE
) -> Callable[..., Float[Array, "combinations params"]]:
    """Compile Σ_n w_n g_n, sums of gradients with weights."""

    def combinations(
        params: PyTree, data: PyTree, weights: Float[Array, "combinations examples"]
    ) -> Float[Array, "combinations params"]:
        theta, example_loss = flat_loss(loss, params)

        def sums(chunk: PyTree) -> Float[Array, "combinations params"]:
            examples, factors = chunk
            losses, pull = jax.vjp(lambda point: jax.vmap(partial(example_loss, point))(examples), theta)
            return jax.vmap(lambda row: pull(row)[0])(factors.T.astype(losses.dtype))

        return _sum_over(sums, (data, weights.T), chunk_size, devices)

    return devices.compiled(combinations)


@per_loss
def compiled_products(
    loss: Loss, chunk_size: int, devices: Devices = ALONE
) -> Callable[..., Float[Array, "vectors params"]]:
    """Compile Hv, products of the Hessian of the mean loss with vectors v, forward over reverse."""

    def products(
        params: PyTree, data: PyTree, vectors: Float[Array, "vectors params"]
    ) -> Float[Array, "vectors params"]:
        theta, example_loss = flat_loss(loss, params)

        def sums(chunk: PyTree) -> Float[Array, "vectors params"]:
            gradient = _chunk_gradient(example_loss, chunk)
            return jax.vmap(lambda v: jax.jvp(gradient, (theta,), (v,))[1])(vectors)

        return _sum_over(sums, data, chunk_size, devices) / num_examples(data)

    return devices.compiled(products)


@per_loss
def compiled_moments(
    loss: Loss, chunk_size: int, devices: Devices = ALONE
) -> Callable[..., tuple[Array, Array, Array]]:
    """Compile the first moments of the loss and its gradients, at the parameters plus each of several offsets.

    Returns:
        A function that returns the mean loss, the mean gradient, and the trace of the gradients' covariance.
    """

    def moments(
        params: PyTree, data: PyTree, offsets: Float[Array, "points params"]
    ) -> tuple[Float[Array, " points"], Float[Array, "points params"], Float[Array, " points"]]:
        theta, example_loss = flat_loss(loss, params)

        def at(offset: Float[Array, " params"]) -> tuple[Float[Array, ""], Float[Array, " params"], Float[Array, ""]]:
            def sums(chunk: PyTree) -> tuple[Float[Array, ""], Float[Array, " params"], Float[Array, ""]]:
                each = jax.vmap(jax.value_and_grad(example_loss), in_axes=(None, 0))
                losses, gradients = each(theta + offset, chunk)
                return jnp.sum(losses), jnp.sum(gradients, axis=0), jnp.sum(gradients**2)

            totals = _sum_over(sums, data, chunk_size, devices)
            mean, gradient, squares = (total / num_examples(data) for total in totals)
            return mean, gradient, squares - jnp.sum(gradient**2)

        return jax.lax.map(at, offsets)

    return devices.compiled(moments)


@per_loss
def compiled_cubics(loss: Loss, chunk_size: int, devices: Devices = ALONE) -> Callable[..., tuple[Array, Array, Array]]:
    """Compile three forms of vectors u and w that belong to examples x.

    Returns:
        A function that returns ∇∇∇l[u, u, u], w·(∇∇l_x − H)u and u·(∇∇l_x − H)u.
    """

    def cubics(
        params: PyTree,
        data: PyTree,
        examples: PyTree,
        u: Float[Array, "examples params"],
        w: Float[Array, "examples params"],
    ) -> tuple[Float[Array, " examples"], Float[Array, " examples"], Float[Array, " examples"]]:
        theta, example_loss = flat_loss(loss, params)

        def along(u: Float[Array, " params"]) -> tuple[Float[Array, " params"], Float[Array, ""]]:
            """Return H u and ∇∇∇l[u, u, u]."""

            def sums(chunk: PyTree) -> tuple[Float[Array, " params"], Float[Array, ""]]:
                def product(point: Float[Array, " params"]) -> Float[Array, " params"]:
                    return jax.jvp(_chunk_gradient(example_loss, chunk), (point,), (u,))[1]

                image, change = jax.jvp(product, (theta,), (u,))
                return image, jnp.dot(change, u)

            image, third = _sum_over(sums, data, chunk_size, devices)
            return image / num_examples(data), third / num_examples(data)

        def of_example(
            given: tuple[PyTree, Float[Array, " params"], Float[Array, " params"]],
        ) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
            example, u, w = given
            image, third = along(u)
            own = jax.jvp(jax.grad(lambda point: example_loss(point, example)), (theta,), (u,))[1]
            return third, jnp.dot(w, own - image), jnp.dot(u, own - image)

        return jax.lax.map(of_example, (examples, u, w))

    return devices.compiled(cubics)


def check_finite(curvatures: Float[np.ndarray, "..."]) -> None:
    """Raise unless the entries of a Hessian, or of products with it, are finite."""
    if not np.all(np.isfinite(curvatures)):
        raise LandscapeError(
            "The Hessian of the mean loss is not finite at these parameters, although gradients are. Look for a square "
            "root, norm or logarithm at 0, or start from other parameters."
        )
