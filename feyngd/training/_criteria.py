"""Criteria of generalization: test minus train loss, estimated from the training set alone.

At a minimum of the training loss the gradients of single examples still differ: the fit has followed their noise. How
far depends on the curvature. AIC assumes that every parameter has followed it all the way and that the model is true.
TIC measures noise and curvature, but still assumes all the way. STIC goes as far as descent went.
"""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._arguments import check_integer
from .._learning_rates import check_learning_rate
from ..derivatives import CHUNK, Loss, num_params
from ..errors import ArgumentError, LandscapeError
from ..estimates import Estimate
from ..landscapes import Landscape, check_updates_kept, enter
from ..spectra import Trace, check_num_examples, compiled_matrices, covariance_and_hessian
from ._raw_loss import RawLoss
from ._responses import TIMES, matrix_response, response


class StabilityWarning(UserWarning):
    """Gradient descent at this learning rate diverges at this point: a curvature is above 2/η."""


def aic(landscape: Landscape, params: Any) -> Estimate:
    """Return Akaike's estimate of the generalization gap, p/N.

    It is the gap of a maximum-likelihood fit of a model that holds the truth, in units of the negative log-likelihood
    of one example: the classical AIC is 2N times training loss plus this. Parameters without effect count too.

    Args:
        landscape: the loss and the training set, its data of N examples; test data are not used.
        params: the trained parameters, a pytree of p floating-point numbers in all.

    Returns:
        An exact `Estimate`, in the unit of the loss.

    Raises:
        ArgumentError: `landscape` is not a `Landscape`.
        LandscapeError: loss or gradient are not finite real numbers at these parameters.

    References:
        Tenka, after corollary 2.

    Examples:
        >>> import jax.numpy as jnp
        >>> import feyngd as fd
        >>> landscape = fd.Landscape(lambda theta, x: (theta - x) @ (theta - x) / 2, jnp.eye(3))
        >>> aic(landscape, jnp.ones(3) / 3).value
        1.0
    """
    landscape, params = enter(landscape, params, forward=False)
    landscape.validate(params)
    return Estimate(num_params(params) / landscape.num_examples, None, 0, "exact")


def tic(
    landscape: Landscape,
    params: Any,
    *,
    damping: float = 0.0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 128,
    chunk_size: int = CHUNK,
    key: jax.Array | None = None,
) -> Estimate:
    """Return Takeuchi's estimate of the generalization gap, tr[C (H + δ)⁻¹]/N, at a minimum of the training loss.

    C is the covariance of the examples' gradients, divided by N − 1, and H the Hessian of the mean loss. With C = H, as
    for a model that holds the truth, this is AIC.

    It is not defined where H has eigenvalues of zero or below. Such H are refused, since the result of a pseudo-inverse
    depends on an arbitrary cutoff. A damping δ is the Hessian of δ/2 ‖θ‖², and `stic` needs none.

    Args:
        landscape: the loss and the training set, its data of N examples; test data are not used.
        params: the trained parameters, a pytree of p floating-point numbers in all.
        damping: δ, added to every eigenvalue of H, in the unit of H; for a loss trained with the penalty δ/2 ‖θ‖² that
            the landscape leaves out.
        method: as in `stic`. The matrix-free method converges slowly where H has small eigenvalues.
        num_samples: as in `stic`.
        max_steps: as in `stic`.
        chunk_size: as in `stic`.
        key: as in `stic`.

    Returns:
        An `Estimate`, in the unit of the loss.

    Raises:
        ArgumentError: an option is invalid, or a key is needed.
        LandscapeError: loss, gradient or Hessian are not finite, there is one example only, or H + δ has an eigenvalue
            that is not above zero by more than rounding.

    References:
        Tenka, after corollary 2.
    """
    if not _is_number(damping) or damping < 0:
        raise ArgumentError(f"damping is a finite number ≥ 0, in the unit of the Hessian; got {damping!r}.")

    def inverse(h: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return 1 / (h + damping)

    def check(nodes: np.ndarray, rounding: float) -> None:
        if nodes.min() + damping <= rounding:
            raise LandscapeError(
                f"TIC is not defined here: the Hessian has the eigenvalue {nodes.min():.2g}"
                f"{f', with damping {nodes.min() + damping:.2g}' if damping else ''}, and rounding reaches "
                f"{rounding:.1g}. Train on to a minimum, give damping= for a penalty damping/2 ‖θ‖², or use stic, "
                "which is defined for flat and falling directions."
            )

    return Trace(landscape, params, method, num_samples, max_steps, chunk_size, key).estimate(inverse, check)


def stic(
    landscape: Landscape,
    params: Any,
    *,
    learning_rate: float,
    steps: int,
    time: str = "discrete",
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 128,
    chunk_size: int = CHUNK,
    key: jax.Array | None = None,
) -> Estimate:
    """Return the stabilized TIC: the generalization gap after T steps of descent near a minimum.

    It is tr[C φ(H)]/N with φ(h) = (1 − (1 − ηh)^T)/h, C the covariance of the examples' gradients, divided by N − 1,
    and H the Hessian of the mean loss. On quadratic losses that share H, its mean over training sets is exactly the
    mean gap of plain gradient descent, whether C and H commute or not. Along directions of curvature well above 1/(ηT)
    it is TIC, along flat ones ηT C/N; it has no singularity, and grows like e^{ηT|h|} where curvature is negative.

    Args:
        landscape: the loss and the training set, its data of N examples; test data are not used.
        params: the trained parameters, a pytree of p floating-point numbers in all, near a minimum of the mean loss.
        learning_rate: η.
        steps: the number of steps T.
        time: "discrete" as above; or "continuous", φ(h) = (1 − e^{−ηTh})/h, that of gradient flow for a time ηT. The
            two agree while ηh is small. They part at ηh > 2, where gradient descent diverges and so does the discrete
            form. Parameters that were trained with momentum, averaging or decaying rates may lie beyond it:
            "continuous" is the form for these.
        method: "dense" writes C and H out, p² numbers each, and is exact; "lanczos" needs Hessian-vector products only
            and has a standard error; "auto" is dense up to 1,500 parameters.
        num_samples: the number of random combinations of gradients for the standard error, at least 2; "lanczos" only.
        max_steps: the most Hessian-vector products for each of them, at least 4; fewer where the value settles.
        chunk_size: how many examples are differentiated together.
        key: a JAX random key; needed by "lanczos".

    Returns:
        An `Estimate`, in the unit of the loss: exact, or of kind "lanczos" with `num_samples` replicates.

    Raises:
        ArgumentError: an option is invalid, or a key is needed.
        LandscapeError: loss, gradient or Hessian are not finite, there is one example only, or the value overflows.

    Warns:
        PrecisionWarning: rounding of the Hessian, which in 32-bit floats blurs curvatures below about 1e-7 of the
            largest, changes the value by more than 5 %; or Lanczos' quadrature still moves by more than 0.1 % and than
            a twentieth of the standard error.
        StabilityWarning: an eigenvalue of H is above 2/η, where gradient descent runs away, and time is "discrete".

    References:
        Tenka, theorem 2 with its propagator (I − ηH)^t, corollary 2 and section 5.5; the paper has the continuous form.

    Examples:
        >>> import jax.numpy as jnp
        >>> import feyngd as fd
        >>> landscape = fd.Landscape(lambda theta, x: 2 * theta**2 + x * theta, jnp.array([-1.0, 0.0, 1.0]))
        >>> print(stic(landscape, jnp.array(0.0), learning_rate=0.01, steps=10))  # (1 − 0.96¹⁰)/12
        0.0279306
        >>> print(tic(landscape, jnp.array(0.0)), aic(landscape, jnp.array(0.0)))
        0.0833333 0.333333
    """
    rate, steps = _check_descent(learning_rate, steps, time)
    trace = Trace(landscape, params, method, num_samples, max_steps, chunk_size, key)
    check_updates_kept(params, "STIC")
    phi, sharpest = response(rate, steps, time), []
    estimate = trace.estimate(phi, lambda nodes, rounding: sharpest.append(float(nodes.max()) - rounding))
    if time == "discrete" and rate * max(sharpest) > 2:
        warnings.warn(
            f"The Hessian has the eigenvalue {max(sharpest):.2g}, above 2/η = {2 / rate:.2g}: there gradient descent "
            "runs away, and STIC with it. Give the learning rate of the steps that were taken, or time='continuous' "
            "where they were not plain gradient descent.",
            StabilityWarning,
            stacklevel=2,
        )
    return estimate


def stic_value(
    loss: Loss,
    params: Any,
    data: Any,
    *,
    learning_rate: jax.Array | float,
    steps: int,
    time: str = "discrete",
    chunk_size: int = CHUNK,
) -> jax.Array:
    """Return STIC as a pure function, to be differentiated, compiled and vectorized by JAX.

    The value of `stic` with dense matrices, as a function of the parameters, the data, the learning rate and all that
    the loss closes over, such as the strength of a penalty. It is differentiable to any order, also where eigenvalues
    of the Hessian coincide or vanish. It takes about p³ · 2 log₂(ηT‖H‖) operations, and it is vectorized best over
    small p. Nothing is checked that depends on values.

    Args:
        loss: `loss(params, example)`, a scalar.
        params: the parameters, a pytree of p floating-point numbers in all.
        data: N ≥ 2 examples, a pytree of arrays with a leading axis.
        learning_rate: η; may be traced.
        steps: the number of steps T, a plain integer.
        time: "discrete" or "continuous", as in `stic`.
        chunk_size: how many examples are differentiated together.

    Returns:
        A scalar array, in the unit of the loss.

    Raises:
        ArgumentError: T, the form of time or a learning rate that is not traced is invalid.
        LandscapeError: there is one example only, the data or the parameters are not arrays, or the loss is not a real
            number, fails on an example or has a `jax.custom_vjp`.

    References:
        Tenka, section 5.5.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([-1.0, 0.0, 1.0])
        >>> def value(penalty):
        ...     loss = lambda theta, x: x * theta + penalty * theta**2 / 2
        ...     return stic_value(loss, jnp.array(0.0), x, learning_rate=0.01, steps=10)
        >>> print(f"{value(0.0):.5f} {jax.grad(value)(0.0):.6f}")  # ηT/3 and −η² T(T − 1)/6
        0.03333 -0.001500
    """
    _check_descent(1.0 if isinstance(learning_rate, jax.core.Tracer) else learning_rate, steps, time)
    noise, hessian, count = _matrices(loss, params, data, chunk_size)
    return jnp.sum(noise * matrix_response(hessian, learning_rate, steps, time)) / count


def tic_value(
    loss: Loss, params: Any, data: Any, *, damping: jax.Array | float = 0.0, chunk_size: int = CHUNK
) -> jax.Array:
    """Return TIC as a pure function, to be differentiated, compiled and vectorized by JAX.

    Args:
        loss: `loss(params, example)`, a scalar.
        params: the parameters, a pytree of p floating-point numbers in all.
        data: N ≥ 2 examples, a pytree of arrays with a leading axis.
        damping: δ, added to every eigenvalue of H; may be traced.
        chunk_size: how many examples are differentiated together.

    Returns:
        A scalar array, in the unit of the loss; not finite or meaningless where H + δ is singular or indefinite, as
        nothing is checked that depends on values.

    Raises:
        ArgumentError: `chunk_size` is not a positive integer.
        LandscapeError: as for `stic_value`.
    """
    noise, hessian, count = _matrices(loss, params, data, chunk_size)
    damped = hessian + damping * jnp.eye(len(hessian), dtype=hessian.dtype)
    return jnp.trace(jnp.linalg.solve(damped, noise)) / count


def _matrices(loss: Loss, params: Any, data: Any, chunk_size: int) -> tuple[jax.Array, jax.Array, int]:
    """Return C, H and the number of examples."""
    raw, chunk_size = RawLoss(loss, params, data), check_integer("chunk_size", chunk_size, least=1)
    check_num_examples(raw.size)
    raw.check_forward_mode()
    chunk_size, loss_now = min(chunk_size, raw.size), raw.frozen()
    if loss_now is None:
        noise, hessian = covariance_and_hessian(raw.function, params, raw.data, chunk_size)
    else:
        noise, hessian = compiled_matrices(loss_now, chunk_size)(params, raw.data)
    return noise, hessian, raw.size


def _check_descent(learning_rate: Any, steps: Any, time: str) -> tuple[float, int]:
    rate = check_learning_rate(learning_rate)
    if time not in TIMES:
        raise ArgumentError(f"Unknown time {time!r}; it is {' or '.join(map(repr, TIMES))}.")
    return rate, check_integer("steps", steps, least=1)


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
