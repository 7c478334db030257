"""GDC's penalty on one batch: sums over its examples, chunk by chunk, and what is checked before they are taken."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from .._arguments import check_integer
from ..derivatives import Loss, num_examples, per_loss, sum_over
from ..errors import ArgumentError
from ._raw_loss import RawLoss

ESTIMATORS = ("examples", "halves")


class Penalty:
    """The loss of one batch and its penalty (η/4) (1/b − 1/B) tr Ĉ, checked.

    Args:
        loss: `loss(params, example)`.
        params: the parameters.
        batch: examples, all or some of those of a step.
        learning_rate: η, or a function that returns it for the number of batches like this one in a step.
        emulate_batch_size: b.
        batch_size: B, the number of examples of a step; `None` where they are those of `batch`.
        chunk_size: how many examples are differentiated together.
        estimator: of the covariance, one of `ESTIMATORS`.

    Attributes:
        size: the number of examples in `batch`.
        is_plain: whether b = B, so that there is no penalty.
        factor: (η/4) (1/b − 1/B), what tr Ĉ is multiplied by.
        check_forward_mode: raises where `add_gradient` would fail, before anything is computed.
    """

    def __init__(
        self,
        loss: Loss,
        params: Any,
        batch: Any,
        learning_rate: Any,
        *,
        emulate_batch_size: int,
        batch_size: int | None,
        chunk_size: int,
        estimator: str,
    ) -> None:
        if not callable(learning_rate):
            check_rate(learning_rate)
        self._estimator = check_estimator(estimator)
        raw = RawLoss(loss, params, batch)
        self._raw, self._loss, self._params, self.size = raw, raw.frozen(), params, raw.size
        self.check_forward_mode = raw.check_forward_mode
        self._chunk_size = min(check_integer("chunk_size", chunk_size, least=1), self.size)
        b, size = check_integer("emulate_batch_size", emulate_batch_size, least=1), self._size_of_a_step(batch_size)
        if self.size < 2:
            raise ArgumentError(
                "A batch of one example has no covariance of gradients, which GDC needs: give it 2 or more examples, "
                "or train by plain SGD."
            )
        if estimator == "halves" and self.size % 2:
            raise ArgumentError(
                f"estimator='halves' splits the batch evenly, and {self.size} examples have no halves: give an even "
                "number, or take estimator='examples', which is never noisier."
            )
        if b > size:
            raise ArgumentError(
                f"A batch of {size} examples acts like smaller ones only: emulate_batch_size is an integer from 1 "
                f"to {size}, got {b}. Give larger batches."
            )
        rate = learning_rate(size // self.size) if callable(learning_rate) else learning_rate
        check_rate(rate)
        self.is_plain = b == size
        self.factor = rate * ((1 / b - 1 / size) / 4)

    def _size_of_a_step(self, batch_size: int | None) -> int:
        if batch_size is None:
            return self.size
        size = check_integer("batch_size", batch_size, least=1)
        if size % self.size:
            raise ArgumentError(
                f"batch_size counts the examples of a whole step, {size}; the batch given has {self.size}. Give all of "
                "them, or parts of equal size whose results are averaged."
            )
        return size

    def penalised_loss(self) -> jax.Array:
        """Return the mean loss of the batch with the penalty."""
        return self._run("mean_loss") if self.is_plain else self._run("penalised_loss", self.factor)

    def mean_gradient(self) -> Any:
        """Return the gradient of the mean loss."""
        return self._run("mean_gradient")

    def add_gradient(self, gradients: Any, mean: Any) -> Any:
        """Return gradients with that of the penalty added, in their own dtypes, given that of the mean loss."""
        return self._run("add_gradient", gradients, mean, self.factor)

    def _run(self, name: str, *arguments: Any) -> Any:
        if self._loss is None:
            sums = _SUMS[self._estimator](self._raw.function, self._params, self._raw.data, self._chunk_size)
            return getattr(sums, name)(*arguments)
        program = _compiled(self._loss, name, self._chunk_size, self._estimator)
        return program(self._params, self._raw.data, *arguments)


@per_loss
def _compiled(loss: Loss, name: str, chunk_size: int, estimator: str) -> Callable[..., Any]:
    """Compile a method of `_BatchSums` as a function of the parameters, the batch and its arguments."""
    return jax.jit(
        lambda params, batch, *arguments: getattr(_SUMS[estimator](loss, params, batch, chunk_size), name)(*arguments)
    )


class _BatchSums:
    """Sums over the examples of one batch, chunk by chunk."""

    def __init__(self, loss: Loss, params: Any, batch: Any, chunk_size: int) -> None:
        self._loss, self._params, self._batch, self._chunk_size = loss, params, batch, chunk_size
        self._size = num_examples(batch)

    def mean_loss(self) -> jax.Array:
        """Return the mean loss l of the batch."""
        return self._sum(partial(self._total_loss, self._params)) / self._size

    def mean_gradient(self) -> Any:
        """Return the gradient of the mean loss."""
        total = self._sum(partial(jax.grad(self._total_loss), self._params))
        return jax.tree.map(lambda leaf: leaf / self._size, total)

    def penalised_loss(self, factor: jax.Array | float) -> jax.Array:
        """Return the mean loss with the penalty, a factor times tr Ĉ."""
        mean = self.mean_loss()
        trace = self._trace()
        with jax.numpy_dtype_promotion("standard"):
            return mean + factor * trace

    def _trace(self) -> jax.Array:
        """Return the trace of the covariance of the gradients, tr Ĉ."""
        mean = self.mean_gradient()

        def squares(chunk: Any) -> jax.Array:
            sizes = [jnp.sum(leaf**2) for leaf in jax.tree.leaves(self._noise(mean, chunk))]
            with jax.numpy_dtype_promotion("standard"):  # leaves may differ in precision
                return sum(sizes[1:], sizes[0])

        return self._sum(squares) / (self._size - 1)

    def add_gradient(self, gradients: Any, mean: Any, factor: jax.Array | float) -> Any:
        """Return gradients with that of the penalty added, in their own dtypes, given that of the mean loss."""

        def products(chunk: Any) -> Any:
            noise = self._noise(mean, chunk)

            # The derivative of the loss along the noise, then its gradient. Forward mode first keeps the sum over
            # examples inside the matrix products; the other way round writes out a gradient for every example.
            def derivative(params: Any, example: Any, direction: Any) -> jax.Array:
                return jax.jvp(lambda p: self._loss(p, example), (params,), (direction,))[1]

            return jax.grad(lambda params: jnp.sum(jax.vmap(partial(derivative, params))(chunk, noise)))(self._params)

        return _plus(gradients, 2 * factor / (self._size - 1), self._sum(products))

    def _sum(self, function: Callable[[Any], Any]) -> Any:
        """Return the sum over chunks of a function of the examples in one."""
        return sum_over(function, self._batch, self._chunk_size)

    def _total_loss(self, params: Any, chunk: Any) -> jax.Array:
        return jnp.sum(jax.vmap(partial(self._loss, params))(chunk))

    def _noise(self, mean: Any, chunk: Any) -> Any:
        def noise(example: Any) -> Any:
            return jax.tree.map(jnp.subtract, jax.grad(self._loss)(self._params, example), mean)

        return jax.vmap(noise)(chunk)


class _HalfSums(_BatchSums):
    """The same sums, with the covariance from the mean gradients of the first and the second half of the batch.

    With B/2 = m and mean gradients g_x, g_y it is tr Ĉ = m g_x · (g_x − g_y).
    """

    def _half(self, second: bool) -> Any:
        half = self._size // 2
        return jax.tree.map(lambda leaf: leaf[half:] if second else leaf[:half], self._batch)

    def _half_gradient(self) -> Any:
        """Return the mean gradient of the first half."""
        gradient = partial(jax.grad(self._total_loss), self._params)
        total = sum_over(gradient, self._half(False), self._chunk_size)
        return jax.tree.map(lambda leaf: leaf / (self._size // 2), total)

    def _trace(self) -> jax.Array:
        """Return the estimate of tr C."""
        mean, first = self.mean_gradient(), self._half_gradient()
        # The mean is that of both halves, so that g_x − g_y = 2 (g_x − mean).
        sizes = [jnp.sum(g * (g - m)) for g, m in zip(*map(jax.tree.leaves, (first, mean)), strict=True)]
        with jax.numpy_dtype_promotion("standard"):  # leaves may differ in precision
            return self._size * sum(sizes[1:], sizes[0])

    def add_gradient(self, gradients: Any, mean: Any, factor: jax.Array | float) -> Any:
        """Return gradients with that of the penalty added, in their own dtypes, given that of the mean loss.

        The gradient of m g_x · (g_x − g_y) is the sum over the first half of H_n (2 g_x − g_y), less that over the
        second half of H_n g_x.
        """
        first = self._half_gradient()
        along_first = jax.tree.map(lambda g, m: 3 * g - 2 * m, first, mean)

        def products(direction: Any, chunk: Any) -> Any:
            def derivative(params: Any) -> jax.Array:
                return jax.jvp(lambda p: self._total_loss(p, chunk), (params,), (direction,))[1]

            return jax.grad(derivative)(self._params)

        totals = [
            sum_over(partial(products, direction), self._half(second), self._chunk_size)
            for second, direction in ((False, along_first), (True, first))
        ]
        return _plus(gradients, factor, jax.tree.map(jnp.subtract, *totals))


_SUMS = {"examples": _BatchSums, "halves": _HalfSums}


def _plus(gradients: Any, scale: jax.Array | float, totals: Any) -> Any:
    """Return gradients with a multiple of others added, in their own dtypes."""
    with jax.numpy_dtype_promotion("standard"):  # rates and gradients may differ in precision
        return jax.tree.map(lambda g, total: g + (scale * total).astype(g.dtype), gradients, totals)


def check_estimator(estimator: str) -> str:
    """Return the name of an estimator of the covariance, or raise `ArgumentError`."""
    if estimator not in ESTIMATORS:
        raise ArgumentError(f"Unknown estimator {estimator!r}; known are {', '.join(map(repr, ESTIMATORS))}.")
    return estimator


def check_rate(rate: Any) -> None:
    """Raise unless the learning rate is a finite number ≥ 0; schedules may end at 0, and tracers pass."""
    if isinstance(rate, jax.core.Tracer) and rate.shape == ():
        return
    try:
        number = float(0.0 + rate)  # the sum refuses text, which float would read
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ArgumentError(f"A learning rate is a finite number ≥ 0, got {rate!r}.")
