"""GDC: gradient descent with a penalty on the gradient's covariance, which acts like SGD with small batches."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from .._arguments import check_integer
from ..derivatives import Loss
from ..errors import ArgumentError, FeynGDError
from ._composition import GDCState, check_accumulation, check_gradients, with_constants
from ._penalty import Penalty, check_estimator, check_rate
from ._raw_loss import check_loss

if TYPE_CHECKING:
    import optax


def gdc_loss(
    loss: Loss,
    params: Any,
    batch: Any,
    *,
    learning_rate: Any,
    emulate_batch_size: int = 1,
    batch_size: int | None = None,
    chunk_size: int = 32,
    estimator: str = "examples",
) -> jax.Array:
    """The loss that lets gradient descent on a batch act like SGD with smaller batches.

    For a batch of B examples with losses l_n, mean loss l, and gradients' covariance Ĉ (unbiased: B − 1 below), it is

        l + (η/4) (1/b − 1/B) tr Ĉ,        tr Ĉ = Σ_n |∇l_n − ∇l|² / (B − 1).

    T steps on it at learning rate η have the same expected test loss, train loss and gap to order η² as T steps of SGD
    on batches of b at the same learning rate, if both go through the N training points in full epochs, reshuffled in
    each. With B = N that is gradient descent on the training set. N does not enter otherwise: the factor is made of
    the two batch sizes. SGD's own order may also be fixed, for the average over training sets. It must not draw with
    replacement: that adds (η²T/2b)(1 − 1/N) tr(HC), which no penalty reproduces, and lacks this one.

    It can be differentiated, but then holds every example's derivatives in memory; use `gdc_gradient` to descend.

    Args:
        loss: `loss(params, example)` returns the smooth loss of one example, a scalar.
        params: the parameters, a pytree of floating-point arrays.
        batch: the B ≥ 2 examples, a pytree of arrays that share their leading axis.
        learning_rate: the rate η of the step that follows, a number or a traced scalar. A schedule keeps the
            statement above where it is constant within every epoch.
        emulate_batch_size: the batch size b of the SGD to act like, from 1 to B.
        batch_size: B, if `batch` is only a part of the step's examples and the results of parts of equal size are
            averaged, as where gradients are accumulated or come from several devices. A part's covariance is unbiased:
            over random parts the average is that of the whole batch. By default the batch is whole.
        chunk_size: how many examples are evaluated together; memory grows with it, the result does not depend on it
            beyond rounding.
        estimator: "examples": Ĉ as above, from every example's gradient. "halves": the paper's, from the mean gradients
            g_x and g_y of the first and the second half of the batch: (B/2) g_x · (g_x − g_y). Both are unbiased, and
            the average of the second over the orders of the batch is the first, which is never noisier: for Gaussian
            gradients the variances are 2 tr(C²)/(B − 1) and 3 tr(C²) + B GᵀCG. On 1,000 digits, logistic regression at
            zero, tr C = 14.3, standard deviations are 0.86 and 6.1 at B = 10, 0.21 and 7.0 at B = 100, 0.09 and 7.1 at
            B = 500. Halves need no example's own gradient.

    Returns:
        A scalar array, in the unit of the loss.

    Raises:
        ArgumentError: the loss is not callable, the learning rate is not a finite number ≥ 0, a size is invalid, or the
            batch has a single example, or an odd number of them and no halves.
        LandscapeError: the batch is not made of arrays with one leading axis, the parameters are not made of floats, or
            the loss fails on an example or is not a real scalar.

    References:
        Tenka, the corollary on batch size and the algorithm GDC (there B = N and b = 1); section 5.2 for halves.

    Examples:
        >>> import jax.numpy as jnp
        >>> from feyngd.training import gdc_loss
        >>> def loss(theta, x):  # the gradients of the examples differ by their x
        ...     return 0.5 * theta**2 + x * theta
        >>> batch = jnp.array([-1.0, 0.0, 1.0])  # tr Ĉ = 1
        >>> print(f"{gdc_loss(loss, jnp.array(0.0), batch, learning_rate=0.3):.3f}")  # 0.3 / 4 · (1 − 1/3) · 1
        0.050
    """
    penalty = Penalty(
        loss,
        params,
        batch,
        learning_rate,
        emulate_batch_size=emulate_batch_size,
        batch_size=batch_size,
        chunk_size=chunk_size,
        estimator=estimator,
    )
    return penalty.penalised_loss()


def gdc_gradient(
    loss: Loss,
    params: Any,
    batch: Any,
    *,
    learning_rate: Any,
    emulate_batch_size: int = 1,
    batch_size: int | None = None,
    chunk_size: int = 32,
    estimator: str = "examples",
) -> Any:
    """The gradient of `gdc_loss`, in memory that does not grow with the batch but for a copy of it.

    The gradient of tr Ĉ is 2 Σ_n H_n (∇l_n − ∇l) / (B − 1): a Hessian-vector product of every example along its own
    noise. They are summed chunk by chunk, so that no more than `chunk_size` gradients are held at once. Call it inside
    `jax.jit`, since it is traced again in every call.

    Args:
        loss: `loss(params, example)` returns the smooth loss of one example, a scalar.
        params: the parameters, a pytree of floating-point arrays.
        batch: the B ≥ 2 examples, a pytree of arrays that share their leading axis.
        learning_rate: the rate η of the step that follows, a number or a traced scalar.
        emulate_batch_size: the batch size b of the SGD to act like, from 1 to B. With b = B it is the plain gradient.
        batch_size: B, if `batch` is a part of the step's examples, as in `gdc_loss`.
        chunk_size: how many examples are differentiated together.
        estimator: of Ĉ, as in `gdc_loss`.

    Returns:
        A pytree like `params`.

    Raises:
        ArgumentError: as for `gdc_loss`.
        LandscapeError: as for `gdc_loss`; or the loss has a `jax.custom_vjp`, which has no forward mode.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from feyngd.training import gdc_gradient
        >>> def loss(theta, x):
        ...     return 0.5 * x * theta**2
        >>> batch = jnp.array([1.0, 3.0])  # l = θ², tr Ĉ = 2 θ²
        >>> print(f"{gdc_gradient(loss, jnp.array(1.0), batch, learning_rate=0.4):.2f}")  # 2 + 0.4 / 4 · (1 − 1/2) · 4
        2.20
    """
    penalty = Penalty(
        loss,
        params,
        batch,
        learning_rate,
        emulate_batch_size=emulate_batch_size,
        batch_size=batch_size,
        chunk_size=chunk_size,
        estimator=estimator,
    )
    if penalty.is_plain:
        return penalty.mean_gradient()
    penalty.check_forward_mode()
    mean = penalty.mean_gradient()
    return penalty.add_gradient(mean, mean)


def gdc(
    loss: Loss,
    learning_rate: Any,
    *,
    emulate_batch_size: int = 1,
    batch_size: int | None = None,
    chunk_size: int = 32,
    estimator: str = "examples",
) -> "optax.GradientTransformationExtraArgs":
    """An optax transformation that adds the gradient of GDC's penalty, as weight decay adds that of its own.

    Chain it before what takes the step, and give `update` the batch:

        optimizer = optax.chain(gdc(loss, 0.1), optax.sgd(0.1))
        updates, state = optimizer.update(gradients, state, params, batch=batch)

    The gradients are those of the batch's mean loss, from the training loop as it was. A regulariser in them that is
    the same for all examples need not be in `loss`, as the noise of a gradient knows nothing of it. The statement in
    `gdc_loss` is about plain gradient descent; before momentum or Adam the penalty is a heuristic, and so is clipping:
    before GDC it shortens the gradient alone, after it the sum of both.

    Where optax shows it a part of the parameters only, inside `optax.masked` or `optax.partition`, the others are
    constants: the covariance is that of the gradient by the parameters that it sees, and the penalty is differentiated
    by these. That is exact where the others are frozen. The loss needs them all: call
    `update(gradients, state, params, batch=batch, all_params=params)`.

    Where optax accumulates gradients, in `optax.MultiSteps`, the batch of a call is not the batch of a step, so
    `batch_size` is required. See "Accumulating gradients" in the documentation.

    Args:
        loss: `loss(params, example)` returns the smooth loss of one example, a scalar. It gets `params` in the form
            that `update` does: in flax's nnx, merge them with the graph; in equinox, combine them with the static part.
        learning_rate: the rate η of the step that follows: a number, or a schedule, a function of the number of steps
            taken so far, as optax has them.
        emulate_batch_size: the batch size b of the SGD to act like, from 1 to the size of the batch.
        batch_size: B, the number of examples of a step, if calls of `update` get parts of them, of equal size, and
            something after GDC averages what it returns; the penalty is then right on average over random parts. By
            default every batch is whole.
        chunk_size: how many examples are differentiated together.
        estimator: of Ĉ, as in `gdc_loss`.

    Returns:
        An `optax.GradientTransformationExtraArgs`: its `update` takes `params` and `batch=`, and `all_params=` where
        `params` are masked; its state is a `GDCState`.

    Raises:
        FeynGDError: optax is not installed.
        ArgumentError: the loss is not callable, the learning rate is neither a schedule nor a finite number ≥ 0, or a
            size is invalid. In `update`: the parameters or the batch are missing or invalid as in `gdc_loss`, the
            gradients are not like the parameters, or gradients are accumulated and the size of a step is not known.

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
    check_loss(loss)
    if not callable(learning_rate):
        check_rate(learning_rate)
    check_integer("emulate_batch_size", emulate_batch_size, least=1)
    check_integer("chunk_size", chunk_size, least=1)
    check_estimator(estimator)
    if batch_size is not None:
        check_integer("batch_size", batch_size, least=2)

    def init(params: Any) -> GDCState:
        return GDCState(jnp.zeros((), jnp.int32))

    def update(
        updates: Any, state: GDCState, params: Any = None, *, batch: Any = None, all_params: Any = None, **others: Any
    ) -> tuple[Any, GDCState]:
        if params is None or batch is None:
            raise ArgumentError(
                "GDC differentiates the loss of every example, so it needs parameters and examples: call "
                "update(gradients, state, params, batch=batch). Wrappers such as optax.lookahead, optax.contrib.sam "
                "and MultiSteps(…).gradient_transformation() do not hand on the batch: GDC cannot be inside of them."
            )
        check_gradients(updates, params)
        if not jax.tree.leaves(params):  # all are masked
            return updates, GDCState(state.step + 1)
        penalty = Penalty(
            with_constants(loss, params, all_params, batch),
            params,
            batch,
            # A schedule counts steps, and every part of a batch is a call.
            (lambda parts: learning_rate(state.step // parts)) if callable(learning_rate) else learning_rate,
            emulate_batch_size=emulate_batch_size,
            batch_size=batch_size,
            chunk_size=chunk_size,
            estimator=estimator,
        )
        check_accumulation(penalty.size, batch_size)
        if not penalty.is_plain:
            penalty.check_forward_mode()
            updates = penalty.add_gradient(updates, penalty.mean_gradient())
        return updates, GDCState(state.step + 1)

    return optax.GradientTransformationExtraArgs(init, update)
