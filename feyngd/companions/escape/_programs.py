"""What is compiled for one loss in double precision: derivatives of its mean, and the noise of its gradient."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ...derivatives import (
    FrozenLoss,
    LiftingError,
    frozen_loss,
    is_double_throughout,
    is_key_array,
    lifted,
    sum_over,
)
from ...errors import LandscapeError

_TOGETHER = 4096  # examples at several points that are differentiated together


class Programs:
    """What is compiled for one loss, in double precision; data and points are arguments.

    Args:
        loss: in double precision.
        params: shows the structure.
        chunk: how many examples are differentiated together.
    """

    def __init__(self, loss: Any, params: Any, chunk: int) -> None:
        self._chunk = chunk
        leaves, structure = jax.tree.flatten(params)
        with jax.enable_x64(True):
            _, self.unravel = ravel_pytree(jax.tree.unflatten(structure, [np.asarray(x, dtype=float) for x in leaves]))
        self.loss = lambda theta, example: loss(self.unravel(theta), example)

    def _mean(self, data: Any, function: Callable[[Any], Any]) -> Any:
        """Return the mean over examples of what a function returns as the sum over a chunk."""
        count = jax.tree.leaves(data)[0].shape[0]
        return jax.tree.map(lambda total: total / count, sum_over(function, data, self._chunk))

    def _mean_of_sum(self, data: Any, point: jax.Array, of: Callable[[Callable[[jax.Array], jax.Array]], Any]) -> Any:
        return self._mean(data, lambda chunk: of(lambda at: jnp.sum(jax.vmap(partial(self.loss, at))(chunk))))

    @cached_property
    def gradients(self) -> Any:
        def one(data: Any, point: jax.Array) -> Any:
            return self._mean_of_sum(data, point, lambda total: jax.value_and_grad(total)(point))

        return jax.jit(lambda data, points: jax.lax.map(partial(one, data), points, batch_size=_batch(data)))

    @cached_property
    def products(self) -> Any:
        def of(total: Any, point: jax.Array, vectors: jax.Array) -> jax.Array:
            return jax.vmap(lambda v: jax.jvp(jax.grad(total), (point,), (v,))[1])(vectors)

        return jax.jit(
            lambda data, point, vectors: self._mean_of_sum(data, point, lambda total: of(total, point, vectors))
        )

    @cached_property
    def third(self) -> Any:
        def of(total: Any, point: jax.Array, along: jax.Array, vectors: jax.Array) -> jax.Array:
            def curved(v: jax.Array) -> jax.Array:
                return jax.jvp(lambda at: jax.jvp(jax.grad(total), (at,), (v,))[1], (point,), (along,))[1]

            return jax.vmap(curved)(vectors)

        return jax.jit(
            lambda data, point, along, vectors: self._mean_of_sum(
                data, point, lambda total: of(total, point, along, vectors)
            )
        )

    @cached_property
    def third_and_fourth(self) -> Any:
        def of(total: Any, point: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
            third = _derivative_along(total, v, 3)
            return jax.jvp(third, (point,), (v,))

        return jax.jit(
            lambda data, point, vectors: self._mean_of_sum(
                data, point, lambda total: jax.vmap(partial(of, total, point))(vectors)
            )
        )

    @cached_property
    def fourth(self) -> Any:
        def of(total: Any, point: jax.Array, pair: jax.Array) -> jax.Array:
            u, v = jnp.split(pair, 2)
            return _derivative_along(_derivative_along(total, u, 2), v, 2)(point)

        return jax.jit(
            lambda data, point, pairs: self._mean_of_sum(
                data, point, lambda total: jax.vmap(partial(of, total, point))(pairs)
            )
        )

    @cached_property
    def along(self) -> Any:
        def one(data: Any, given: tuple[jax.Array, jax.Array]) -> Any:
            point, tangent = given

            def sums(chunk: Any) -> Any:
                losses, slopes, bends = self._each_along(chunk, point, tangent)
                return jnp.sum(losses), jnp.sum(slopes), jnp.sum(slopes**2), jnp.sum(bends)

            loss, slope, square, bend = self._mean(data, sums)
            return loss, slope, square - slope**2, bend

        return jax.jit(lambda data, *given: jax.lax.map(partial(one, data), given, batch_size=_batch(data)))

    @cached_property
    def slopes(self) -> Any:
        def one(data: Any, given: tuple[jax.Array, jax.Array]) -> jax.Array:
            def of_example(example: Any) -> jax.Array:
                return jax.jvp(lambda at: self.loss(at, example), given[:1], given[1:])[1]

            return jax.lax.map(of_example, data, batch_size=self._chunk)

        return jax.jit(lambda data, *given: jax.lax.map(partial(one, data), given, batch_size=_batch(data)))

    def _each_along(self, chunk: Any, point: jax.Array, tangent: jax.Array) -> tuple[jax.Array, ...]:
        """Return the loss of every example of a chunk with its first and second derivative along a tangent."""

        def one(example: Any) -> tuple[jax.Array, ...]:
            value = lambda at: self.loss(at, example)  # noqa: E731
            (loss, slope), (_, bend) = jax.jvp(lambda at: jax.jvp(value, (at,), (tangent,)), (point,), (tangent,))
            return loss, slope, bend

        return jax.vmap(one)(chunk)

    @cached_property
    def noise_products(self) -> Any:
        def run(data: Any, point: jax.Array, vectors: jax.Array) -> jax.Array:
            def sums(chunk: Any) -> tuple[jax.Array, jax.Array]:
                losses = lambda at: jax.vmap(partial(self.loss, at))(chunk)  # noqa: E731
                values, pull = jax.vjp(losses, point)
                slopes = jax.vmap(lambda v: jax.jvp(losses, (point,), (v,))[1])(vectors)
                return pull(jnp.ones_like(values))[0], jax.vmap(lambda row: pull(row)[0])(slopes)

            mean, rows = self._mean(data, sums)
            return rows - jnp.outer(vectors @ mean, mean)

        return jax.jit(run)

    @cached_property
    def covariance(self) -> Any:
        def run(data: Any, point: jax.Array) -> jax.Array:
            each = jax.vmap(jax.grad(self.loss), in_axes=(None, 0))
            mean = self._mean(data, lambda chunk: jnp.sum(each(point, chunk), axis=0))

            def squares(chunk: Any) -> jax.Array:
                rows = each(point, chunk) - mean
                return rows.T @ rows

            return self._mean(data, squares)

        return jax.jit(run)

    @cached_property
    def central_moments(self) -> Any:
        def run(data: Any, point: jax.Array) -> Any:
            each = jax.vmap(jax.grad(self.loss), in_axes=(None, 0))
            mean = self._mean(data, lambda chunk: jnp.sum(each(point, chunk), axis=0))

            def powers(chunk: Any) -> tuple[jax.Array, jax.Array]:
                squares = (each(point, chunk) - mean) ** 2
                return jnp.sum(squares, axis=0), jnp.sum(squares**2, axis=0)

            return self._mean(data, powers)

        return jax.jit(run)

    @cached_property
    def gradient_scale(self) -> Any:
        def run(data: Any, point: jax.Array) -> jax.Array:
            each = jax.vmap(jax.grad(self.loss), in_axes=(None, 0))
            return jnp.sqrt(self._mean(data, lambda chunk: jnp.sum(each(point, chunk) ** 2)))

        return jax.jit(run)

    @cached_property
    def combinations(self) -> Any:
        def run(data: Any, point: jax.Array, weights: jax.Array) -> jax.Array:
            def sums(given: Any) -> jax.Array:
                chunk, factors = given
                _, pull = jax.vjp(lambda at: jax.vmap(partial(self.loss, at))(chunk), point)
                return jax.vmap(lambda row: pull(row)[0])(factors.T)

            return sum_over(sums, (data, weights.T), self._chunk)

        return jax.jit(run)


def _derivative_along(function: Any, vector: jax.Array, order: int) -> Any:
    """Return a directional derivative of a function of a point."""
    for _ in range(order):
        function = partial(_slope, function, vector)
    return function


def _slope(function: Any, vector: jax.Array, point: jax.Array) -> jax.Array:
    return jax.jvp(function, (point,), (vector,))[1]


def _batch(data: Any) -> int:
    """Return how many points are taken together."""
    return max(1, min(64, _TOGETHER // jax.tree.leaves(data)[0].shape[0]))


def is_real(leaf: Any) -> bool:
    """Return whether an array holds numbers that can be differentiated."""
    return bool(jnp.issubdtype(leaf.dtype, jnp.inexact))


def in_double(given: Any, frozen: Any, params: Any, example: Any) -> FrozenLoss:
    """Return a loss in double precision, traced once.

    The user's function is traced again with wider arguments, so that numbers written in it, such as 0.1, are not
    rounded. Where that is another function, because it draws random numbers or computes in a lower precision, or where
    it fails, the equations of the first trace are lifted.

    Args:
        given: the user's loss.
        frozen: its trace in the user's precision.
        params: parameters.
        example: shapes of one example.
    """
    wide_params, wide_example = (
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float64 if is_real(x) else x.dtype), tree)
        for tree in (params, example)
    )
    with jax.enable_x64(True):
        if not isinstance(given, FrozenLoss) and not any(is_key_array(leaf) for leaf in jax.tree.leaves(example)):
            with suppress(Exception):  # whatever a user's function may raise for other dtypes
                traced = jax.make_jaxpr(lambda p, e: given(p, e))(wide_params, wide_example)
                if is_double_throughout(traced.jaxpr) and traced.out_avals[0].dtype == np.float64:
                    return frozen_loss(given, traced, frozen)
        try:
            traced = jax.make_jaxpr(lifted(frozen, params, example))(wide_params, wide_example)
        except LiftingError as error:
            raise LandscapeError(
                f"Escape times need double precision, and this loss does not run in it: {error}. Give parameters and "
                "data in double precision, under jax.enable_x64(True)."
            ) from error
        return frozen_loss(frozen, traced, frozen)
