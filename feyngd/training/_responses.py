"""How far descent follows the noise along a direction of curvature h, as functions of numbers and of matrices.

Near a minimum the gradient's noise pushes the parameters away, and curvature pulls them back. After time τ = ηT the
push has moved them by φ(h) = (1 − e^{−τh})/h per unit of noise: by τ where h is zero, by 1/h where descent has
converged. Plain gradient descent takes steps, φ(h) = (1 − (1 − ηh)^T)/h, which is the polynomial η Σ_{t<T} (1 − ηh)^t.

The functions of matrices use sums and products alone, so derivatives of every order exist where eigenvalues coincide or
vanish; those of an eigendecomposition do not.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ..spectra import Response

TIMES = ("discrete", "continuous")

_TERMS = 10  # of the exponential series, which leave out less than 2⁻⁵³ where the argument is at most 1/8
_MOST_DOUBLINGS = 64


def response(learning_rate: float, steps: int, time: str) -> Response:
    """Return φ as a function of an array of curvatures; infinite where it overflows.

    Args:
        learning_rate: η.
        steps: T.
        time: "continuous" for 1 − e^{−ηTh}, "discrete" for 1 − (1 − ηh)^T in the numerator.
    """

    def phi(h: np.ndarray) -> np.ndarray:
        x = learning_rate * np.asarray(h, dtype=float)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            if time == "continuous":
                change = np.expm1(-steps * x)
            else:
                smooth = np.expm1(steps * np.log1p(-np.minimum(x, 1.0)))
                change = np.where(x <= 1, smooth, (-1.0) ** steps * np.abs(1 - x) ** steps - 1)
            return learning_rate * np.where(x == 0, float(steps), -change / x)

    return phi


def matrix_response(hessian: jax.Array, learning_rate: jax.Array | float, steps: int, time: str) -> jax.Array:
    """Return φ(H), differentiable to any order in H and η.

    Args:
        hessian: H, symmetric, shape (p, p).
        learning_rate: η.
        steps: T.
        time: "continuous" or "discrete", as in `response`.
    """
    scaled = learning_rate * hessian
    if time == "continuous":
        return learning_rate * steps * _decay_average(steps * scaled)
    return learning_rate * _geometric_sum(scaled, steps)


@jax.jit  # eager calls would compile its loop every time
def _decay_average(a: jax.Array) -> jax.Array:
    """Return the average of e^{−sA} over s from 0 to 1, by doubling from a small multiple of A.

    E = e^{−A} − I is doubled instead of e^{−A}, so that nothing cancels however small the multiple is.
    """
    identity = jnp.eye(len(a), dtype=a.dtype)
    size = jnp.max(jnp.sum(jnp.abs(jax.lax.stop_gradient(a)), axis=1))
    doublings = jnp.clip(jnp.ceil(jnp.log2(8 * size)), 0, _MOST_DOUBLINGS)
    small = a * jnp.exp2(-doublings)
    average = identity
    for k in range(_TERMS, 1, -1):
        average = identity - _product(small, average) / k

    @jax.checkpoint
    def step(carry: tuple[jax.Array, jax.Array], index: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        return jax.lax.cond(index < doublings, _doubled, lambda *same: same, *carry), None

    return jax.lax.scan(step, (average, -_product(small, average)), jnp.arange(_MOST_DOUBLINGS))[0][0]


def _doubled(average: jax.Array, change: jax.Array) -> tuple[jax.Array, jax.Array]:
    return average + _product(average, change) / 2, 2 * change + _product(change, change)


def _geometric_sum(a: jax.Array, terms: int) -> jax.Array:
    """Return Σ_{t<T} (I − A)^t, from the binary digits of T; `change` is (I − A)^t − I for the t so far."""
    identity = jnp.eye(len(a), dtype=a.dtype)
    total, change = identity, -a
    for digit in f"{terms:b}"[1:]:
        total, change = 2 * total + _product(total, change), 2 * change + _product(change, change)
        if digit == "1":
            total, change = total + identity + change, change - a - _product(a, change)
    return total


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    # Accelerators multiply with few digits by default.
    return jnp.matmul(a, b, precision="highest")
