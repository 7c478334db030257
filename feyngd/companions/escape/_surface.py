"""The mean loss of a landscape in double precision, as a function of flat vectors, and the noise of its gradient."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..._arguments import check_integer
from ...derivatives import (
    CHUNK,
    FrozenLoss,
    LiftingError,
    frozen_loss,
    is_double_throughout,
    is_key_array,
    lifted,
    lifted_array,
    noted,
    sum_over,
)
from ...errors import ArgumentError, LandscapeError
from ...kinks import Kink
from ...landscapes import Landscape, enter, find_kinks

DENSE = 1500  # parameters up to which matrices are formed
_COLUMNS = 64  # vectors that are multiplied together
_ROOM = 32  # points that a program for many has room for, at least
_TOGETHER = 4096  # examples at several points that are differentiated together


class Surface:
    """A landscape around parameters of one structure; all points are NumPy vectors of shape (p,), in double precision.

    Args:
        landscape: the loss and its data.
        params: shows the structure.
        chunk_size: how many examples are differentiated together.

    Raises:
        ArgumentError: not a landscape, one whose distribution is unknown, or an invalid chunk size.
        LandscapeError: the loss or the parameters are invalid.
    """

    def __init__(self, landscape: Landscape, params: Any, chunk_size: int = CHUNK) -> None:
        check_integer("chunk_size", chunk_size, least=1)
        given = landscape.loss if isinstance(landscape, Landscape) else None
        landscape, params = enter(landscape, params)
        if landscape.reading == "unbiased":
            raise ArgumentError(
                "In the unbiased reading the distribution is unknown, and so are the loss that is escaped from and its "
                "noise: use reading='population', or 'conditional' for SGD on these data."
            )
        landscape.validate(params)
        self.landscape, self.params = landscape, params
        self.count = landscape.num_examples
        chunk = min(chunk_size, self.count)
        double = in_double(given, landscape.loss, params, landscape.example_shapes)
        self._programs: _Programs = noted(double, f"escape, {chunk}", lambda: _Programs(double, params, chunk))
        with jax.enable_x64(True):
            self._data = jax.tree.map(lambda leaf: lifted_array(leaf) if _is_real(leaf) else leaf, landscape.data)
        self.start = self.flat(params)
        self.size = len(self.start)

    @property
    def is_dense(self) -> bool:
        """Whether matrices are formed."""
        return self.size <= DENSE

    def kinks(self) -> tuple[Kink, ...]:
        """Return where the loss is not smooth within reach of the parameters."""
        loss = self.landscape.loss
        assert isinstance(loss, FrozenLoss)
        return find_kinks(loss, self.params, self.landscape.data, jaxpr=loss.jaxpr)

    # --- structure ----------------------------------------------------------------------------------------------------

    def flat(self, params: Any) -> np.ndarray:
        """Return parameters as a vector.

        Raises:
            ArgumentError: they have another structure, other shapes, or are not finite.
        """
        leaves, structure = jax.tree.flatten(params)
        own, expected = jax.tree.flatten(self.params)
        is_same = str(structure) == str(expected)
        if not is_same or [np.shape(leaf) for leaf in leaves] != [np.shape(leaf) for leaf in own]:
            raise ArgumentError(
                f"Points of one landscape are pytrees of one structure and set of shapes; got {structure} of shapes "
                f"{[np.shape(leaf) for leaf in leaves]} beside {expected} of {[np.shape(leaf) for leaf in own]}."
            )
        vector = np.concatenate([np.ravel(np.asarray(leaf, dtype=float)) for leaf in leaves])
        if not np.all(np.isfinite(vector)):
            raise ArgumentError(
                f"Parameters are finite; {np.sum(~np.isfinite(vector))} of these {len(vector)} are not."
            )
        return vector

    def shaped(self, vectors: np.ndarray, *, precise: bool = True) -> Any:
        """Return vectors of shape (..., p) with the structure of the parameters.

        Args:
            vectors: one, or several with leading axes, which the leaves then have too.
            precise: whether leaves are NumPy arrays in double precision; otherwise JAX arrays like the parameters'.
        """
        leaves, structure = jax.tree.flatten(self.params)
        places = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]
        parts = np.split(np.asarray(vectors, dtype=float), places, axis=-1)
        shaped: list[Any] = [
            part.reshape(vectors.shape[:-1] + leaf.shape) for part, leaf in zip(parts, leaves, strict=True)
        ]
        if not precise:
            shaped = [jnp.asarray(part, leaf.dtype) for part, leaf in zip(shaped, leaves, strict=True)]
        return jax.tree.unflatten(structure, shaped)

    # --- derivatives of the mean loss ---------------------------------------------------------------------------------

    def losses(self, points: np.ndarray) -> np.ndarray:
        """Return the mean loss at points of shape (n, p)."""
        return self.gradients(points)[0]

    def gradient(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """Return loss and gradient at one point."""
        values, slopes = self.gradients(point[None])
        return float(values[0]), slopes[0]

    def gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return losses, shape (n,), and gradients, shape (n, p)."""
        return self._of_points("gradients", points)

    def products(self, point: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return Hv for vectors in rows."""
        return self._in_blocks("products", vectors, point)

    def hessian(self, point: np.ndarray) -> np.ndarray:
        """Return H, shape (p, p)."""
        matrix = self.products(point, np.eye(self.size))
        return (matrix + matrix.T) / 2

    def third(self, point: np.ndarray, along: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return ∇³l[along, v, ·] for vectors v in rows."""
        return self._in_blocks("third", vectors, point, along)

    def third_and_fourth(self, point: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ∇³l[v, v, v] and ∇⁴l[v, v, v, v] for vectors v in rows."""
        return self._in_blocks("third_and_fourth", vectors, point)

    def fourth(self, point: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return ∇⁴l[u, u, v, v] for pairs of vectors in rows."""
        pairs = np.concatenate([first, second], axis=1)
        return self._in_blocks("fourth", pairs, point)

    # --- noise of the gradient ----------------------------------------------------------------------------------------

    def along(self, points: np.ndarray, tangents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return l, G·e, C_e and H_e at points along directions e; each of shape (n,)."""
        return self._of_points("along", points, tangents)

    def slopes(self, points: np.ndarray, tangents: np.ndarray) -> np.ndarray:
        """Return every example's slope g_n = e·∇l_n, shape (n, M)."""
        return self._of_points("slopes", points, tangents)

    def noise_products(self, point: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Return Cv for vectors in rows, with C the covariance of one example's gradient divided by M."""
        return self._in_blocks("noise_products", vectors, point)

    def covariance(self, point: np.ndarray) -> np.ndarray:
        """Return C, shape (p, p)."""
        matrix = self._run("covariance", point)
        return (matrix + matrix.T) / 2

    def gradient_scale(self, point: np.ndarray) -> float:
        """Return rms‖∇l_n‖, against which gradients of the mean count as small."""
        return float(self._run("gradient_scale", point))

    def combinations(self, point: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return Σ_n w_n ∇l_n for weights in rows of shape (m, M); shape (m, p)."""
        return self._run("combinations", point, weights)

    def central_moments(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the second and fourth central moment of every component of the examples' gradients, shape (p,)."""
        return self._run("central_moments", point)

    def traced(self) -> tuple[Callable[..., Any], Callable[..., Any], Any]:
        """Return the loss of a flat vector and an example, the way back to parameters, and the data, for programs."""
        return self._programs.loss, self._programs.unravel, self._data

    def _run(self, name: str, *arguments: Any) -> Any:
        with jax.enable_x64(True):
            found = getattr(self._programs, name)(self._data, *arguments)
            return jax.tree.map(lambda leaf: np.array(leaf, dtype=float), found)

    def _of_points(self, name: str, *rows: np.ndarray) -> Any:
        """Return a function of many points, whose number is rounded up so that few programs serve all numbers."""
        count = len(rows[0])
        room = count if count == 1 else max(_ROOM, 1 << (count - 1).bit_length())
        filled = [np.concatenate([part, np.repeat(part[-1:], room - count, axis=0)]) for part in rows]
        return jax.tree.map(lambda part: part[:count], self._run(name, *filled))

    def _in_blocks(self, name: str, rows: np.ndarray, *before: Any) -> Any:
        """Return a function of rows, a block of one size at a time; the last is filled up with zeros."""
        size = 1 if len(rows) == 1 else min(_COLUMNS, max(4, self.size))
        found = []
        for first in range(0, len(rows), size):
            block = rows[first : first + size]
            filled = np.concatenate([block, np.zeros((size - len(block), rows.shape[1]))])
            found.append(self._run(name, *before, filled))
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(rows)], *found)


class _Programs:
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


def _is_real(leaf: Any) -> bool:
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
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, np.float64 if _is_real(x) else x.dtype), tree)
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
