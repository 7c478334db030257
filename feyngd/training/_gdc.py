"""GDC: gradient descent with a penalty on the gradient's covariance, which acts like SGD with small batches."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from .._arguments import check_integer
from ..errors import ArgumentError, FeynGDError, LandscapeError
from ..landscapes import Landscape

if TYPE_CHECKING:
    import optax

Loss = Callable[[Any, Any], Any]


class GDCState(NamedTuple):
    """The state of `gdc`.

    Attributes:
        step: the number of steps taken so far, a scalar integer array.
    """

    step: jax.Array


def gdc_loss(
    loss: Loss,
    params: Any,
    batch: Any,
    *,
    learning_rate: Any,
    emulate_batch_size: int = 1,
    chunk_size: int = 32,
) -> jax.Array:
    """The loss that lets gradient descent on a batch act like SGD with smaller batches.

    For a batch of B examples with losses l_n, mean loss l, and gradients' covariance Ĉ (unbiased: B − 1 below), it is

        l + (η/4) (1/b − 1/B) tr Ĉ,        tr Ĉ = Σ_n |∇l_n − ∇l|² / (B − 1).

    T steps on it at learning rate η have the same expected test loss, train loss and gap to order η² as T steps of SGD
    on batches of b at the same learning rate, if both go through the N training points in full epochs, reshuffled in
    each. With B = N that is gradient descent on the training set. N does not enter otherwise: the factor is made of
    the two batch sizes. SGD's own order may also be fixed, for the average over training sets. It must not draw with
    replacement: that adds (η²T/2b)(1 − 1/N) tr(HC), which no penalty stands for, and has no part of this one.

    It can be differentiated, but then holds every example's derivatives in memory: descend by `gdc_gradient`.

    Args:
        loss: `loss(params, example)` returns the smooth loss of one example, a scalar.
        params: the parameters, a pytree of floating-point arrays.
        batch: the B ≥ 2 examples, a pytree of arrays that share their leading axis.
        learning_rate: the rate η of the step that follows, a number or a traced scalar. A schedule keeps the
            statement above where it is constant within every epoch.
        emulate_batch_size: the batch size b of the SGD to act like, from 1 to B.
        chunk_size: how many examples are evaluated together; memory grows with it, the result does not depend on it
            beyond rounding.

    Returns:
        A scalar array, in the unit of the loss.

    Raises:
        ArgumentError: the loss is not callable, the learning rate is not a finite number ≥ 0, a size is unfit, or the
            batch has a single example.
        LandscapeError: the batch is not made of arrays with one leading axis, or the loss is not a real scalar.

    References:
        Tenka, the corollary on batch size and the algorithm GDC (there B = N and b = 1).

    Examples:
        >>> import jax.numpy as jnp
        >>> from feyngd.training import gdc_loss
        >>> def loss(theta, x):  # the gradients of the examples differ by their x
        ...     return 0.5 * theta**2 + x * theta
        >>> batch = jnp.array([-1.0, 0.0, 1.0])  # tr Ĉ = 1
        >>> print(f"{gdc_loss(loss, jnp.array(0.0), batch, learning_rate=0.3):.3f}")  # 0.3 / 4 · (1 − 1/3) · 1
        0.050
    """
    task = _Task(loss, params, batch, learning_rate, emulate_batch_size, chunk_size)
    return task.mean_loss() if task.is_plain else task.mean_loss() + task.factor * task.trace()


def gdc_gradient(
    loss: Loss,
    params: Any,
    batch: Any,
    *,
    learning_rate: Any,
    emulate_batch_size: int = 1,
    chunk_size: int = 32,
) -> Any:
    """The gradient of `gdc_loss`, in memory that does not grow with the batch but for a copy of it.

    The gradient of tr Ĉ is 2 Σ_n H_n (∇l_n − ∇l) / (B − 1): a Hessian-vector product of every example along its own
    noise. They are summed chunk by chunk, so that no more than `chunk_size` gradients are held at once. Call it inside
    `jax.jit`, as it is traced anew in every call.

    Args:
        loss: `loss(params, example)` returns the smooth loss of one example, a scalar.
        params: the parameters, a pytree of floating-point arrays.
        batch: the B ≥ 2 examples, a pytree of arrays that share their leading axis.
        learning_rate: the rate η of the step that follows, a number or a traced scalar.
        emulate_batch_size: the batch size b of the SGD to act like, from 1 to B. With b = B it is the plain gradient.
        chunk_size: how many examples are differentiated together.

    Returns:
        A pytree like `params`.

    Raises:
        ArgumentError: as for `gdc_loss`.
        LandscapeError: as for `gdc_loss`.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from feyngd.training import gdc_gradient
        >>> def loss(theta, x):
        ...     return 0.5 * x * theta**2
        >>> batch = jnp.array([1.0, 3.0])  # l = θ², tr Ĉ = 2 θ²
        >>> print(f"{gdc_gradient(loss, jnp.array(1.0), batch, learning_rate=0.4):.2f}")  # 2 + 0.4 / 4 · (1 − 1/2) · 4
        2.20
    """
    task = _Task(loss, params, batch, learning_rate, emulate_batch_size, chunk_size)
    mean = task.mean_gradient()
    return mean if task.is_plain else task.add_penalty_gradient(mean, mean)


def gdc(
    loss: Loss, learning_rate: Any, *, emulate_batch_size: int = 1, chunk_size: int = 32
) -> "optax.GradientTransformationExtraArgs":
    """An optax transformation that adds the gradient of GDC's penalty, as weight decay adds that of its own.

    Chain it before what takes the step, and give `update` the batch:

        optimizer = optax.chain(gdc(loss, 0.1), optax.sgd(0.1))
        updates, state = optimizer.update(gradients, state, params, batch=batch)

    The gradients are those of the batch's mean loss, from the training loop as it was. A regulariser in them that is
    the same for all examples need not be in `loss`, as the noise of a gradient knows nothing of it. The statement in
    `gdc_loss` is about plain gradient descent; before momentum or Adam the penalty is a heuristic.

    Args:
        loss: `loss(params, example)` returns the smooth loss of one example, a scalar. It gets `params` in the form
            that `update` does: in flax's nnx, merge them with the graph; in equinox, combine them with the static part.
        learning_rate: the rate η of the step that follows: a number, or a schedule, a function of the number of steps
            taken so far, as optax has them.
        emulate_batch_size: the batch size b of the SGD to act like, from 1 to the size of the batch.
        chunk_size: how many examples are differentiated together.

    Returns:
        An `optax.GradientTransformationExtraArgs`: its `update` takes `params` and `batch=`, its state is a `GDCState`.

    Raises:
        FeynGDError: optax is not installed.
        ArgumentError: the loss is not callable, the learning rate is neither a schedule nor a finite number ≥ 0, or a
            size is unfit; later, in `update`, the parameters or the batch are missing, or unfit as in `gdc_loss`.

    References:
        Tenka, the corollary on batch size and the algorithm GDC.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from feyngd.training import gdc
        >>> optimizer = optax.chain(gdc(lambda theta, x: 0.5 * x * theta**2, 0.4), optax.sgd(0.4))
        >>> theta, batch = jnp.array(1.0), jnp.array([1.0, 3.0])
        >>> updates, state = optimizer.update(jnp.array(2.0), optimizer.init(theta), theta, batch=batch)
        >>> print(f"{updates:.2f}")
        -0.88
    """
    try:
        import optax
    except ImportError as error:
        raise FeynGDError("feyngd.training.gdc needs optax: pip install 'feyngd[optax]'.") from error
    _check_loss(loss)
    if not callable(learning_rate):
        _check_rate(learning_rate)
    check_integer("emulate_batch_size", emulate_batch_size, least=1)
    check_integer("chunk_size", chunk_size, least=1)

    def init(params: Any) -> GDCState:
        return GDCState(jnp.zeros((), jnp.int32))

    def update(
        updates: Any, state: GDCState, params: Any = None, *, batch: Any = None, **others: Any
    ) -> tuple[Any, GDCState]:
        if params is None or batch is None:
            raise ArgumentError(
                "GDC differentiates the loss of every example, so it needs parameters and examples: call "
                "update(gradients, state, params, batch=batch)."
            )
        rate = learning_rate(state.step) if callable(learning_rate) else learning_rate
        task = _Task(loss, params, batch, rate, emulate_batch_size, chunk_size)
        if not task.is_plain:
            updates = task.add_penalty_gradient(updates, task.mean_gradient())
        return updates, GDCState(state.step + 1)

    return optax.GradientTransformationExtraArgs(init, update)


class _Task:
    """One loss on one batch, checked: sums over its examples, chunk by chunk.

    Attributes:
        size: the number of examples B.
        is_plain: whether b = B, so that there is no penalty.
        factor: (η/4) (1/b − 1/B), what tr Ĉ is multiplied by.
    """

    def __init__(
        self, loss: Loss, params: Any, batch: Any, learning_rate: Any, emulate_batch_size: int, chunk_size: int
    ) -> None:
        _check_loss(loss)
        _check_rate(learning_rate)
        with jax.ensure_compile_time_eval():  # NumPy arrays are looked into, which is possible in jit only like this
            examples = Landscape(loss, batch)
        self.loss, self.params, self.batch, self.size = loss, params, examples.data, examples.num_examples
        self.chunk_size = min(check_integer("chunk_size", chunk_size, least=1), self.size)
        b = check_integer("emulate_batch_size", emulate_batch_size, least=1)
        if self.size < 2:
            raise ArgumentError(
                "A batch of one example has no covariance of gradients, which GDC needs: give it 2 or more examples, "
                "or train by plain SGD."
            )
        if b > self.size:
            raise ArgumentError(
                f"A batch of {self.size} examples acts like smaller ones only: emulate_batch_size is an integer from 1 "
                f"to {self.size}, got {b}. Give larger batches."
            )
        self.is_plain = b == self.size
        self.factor = learning_rate * ((1 / b - 1 / self.size) / 4)
        _check_loss_value(jax.eval_shape(loss, params, examples.example(0)))

    def sum(self, function: Callable[[Any], Any]) -> Any:
        """Return the sum over chunks of a function of the examples in one."""
        rest = self.size % self.chunk_size
        chunks = jax.tree.map(lambda leaf: leaf[rest:].reshape(-1, self.chunk_size, *leaf.shape[1:]), self.batch)
        if rest:
            first = function(jax.tree.map(lambda leaf: leaf[:rest], self.batch))
        else:
            shapes = jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], chunks))
            first = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)

        def add(sums: Any, chunk: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, sums, function(chunk)), None

        return jax.lax.scan(add, first, chunks)[0]

    def mean_loss(self) -> jax.Array:
        """Return the mean loss l of the batch."""
        return self.sum(partial(self._total_loss, self.params)) / self.size

    def mean_gradient(self) -> Any:
        """Return the gradient of the mean loss."""
        total = self.sum(partial(jax.grad(self._total_loss), self.params))
        return jax.tree.map(lambda leaf: leaf / self.size, total)

    def trace(self) -> jax.Array:
        """Return the trace of the covariance of the gradients, tr Ĉ."""
        mean = self.mean_gradient()

        def squares(chunk: Any) -> jax.Array:
            return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(self._noise(mean, chunk))), jnp.zeros(()))

        return self.sum(squares) / (self.size - 1)

    def add_penalty_gradient(self, gradients: Any, mean: Any) -> Any:
        """Return gradients with that of the penalty added, in their own dtypes, given that of the mean loss."""

        def products(chunk: Any) -> Any:
            noise = self._noise(mean, chunk)

            # The slope of the loss along the noise, then its gradient: forward first keeps the sum over examples inside
            # the matrix products, where a gradient of every example would be written out the other way round.
            def slope(params: Any, example: Any, direction: Any) -> jax.Array:
                return jax.jvp(lambda p: self.loss(p, example), (params,), (direction,))[1]

            return jax.grad(lambda params: jnp.sum(jax.vmap(partial(slope, params))(chunk, noise)))(self.params)

        scale = 2 * self.factor / (self.size - 1)
        return jax.tree.map(lambda g, total: g + (scale * total).astype(g.dtype), gradients, self.sum(products))

    def _total_loss(self, params: Any, chunk: Any) -> jax.Array:
        return jnp.sum(jax.vmap(partial(self.loss, params))(chunk))

    def _noise(self, mean: Any, chunk: Any) -> Any:
        gradients = jax.vmap(partial(jax.grad(self.loss), self.params))(chunk)
        return jax.tree.map(jnp.subtract, gradients, mean)


def _check_loss(loss: Any) -> None:
    if not callable(loss):
        raise ArgumentError(f"The loss must be a function loss(params, example); got {type(loss).__name__}.")


def _check_loss_value(value: Any) -> None:
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        found = " and ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(value)) or "nothing"
        raise LandscapeError(
            f"The loss of one example is one real number, float[]; it returned {found}. Return no auxiliary outputs, "
            "and no vector: `loss` gets one example, not the batch."
        )


def _check_rate(rate: Any) -> None:
    """Raise unless the learning rate is a finite number ≥ 0; schedules may end at 0, and tracers pass."""
    if isinstance(rate, jax.core.Tracer) and rate.shape == ():
        return
    try:
        number = float(0.0 + rate)  # the sum refuses text, which float would read
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ArgumentError(f"A learning rate is a finite number ≥ 0, got {rate!r}.")
