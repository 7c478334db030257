"""Steps along the geodesics of sphere, plane and hyperbolic plane, in normal coordinates of the start.

Points are those of a surface x₀² + K |X|² = 1 in three dimensions, with x₀ = cos √z, X = x sin(√z)/√z and z = K |x|².
All functions of z are entire, so that one formula serves every sign of K, and K = 0.
"""

from math import factorial

import jax.numpy as jnp
from jaxtyping import Array, Float

_TERMS = 14
_COSINE = [(-1) ** k / factorial(2 * k) for k in range(_TERMS)]
_SINE = [(-1) ** k / factorial(2 * k + 1) for k in range(_TERMS)]
_SINE_SLOPE = [(k + 1) * _SINE[k + 1] for k in range(_TERMS - 1)]
# arccos(1 − h)² = 4 arcsin(√(h/2))², whose terms fall like (h/2)^n
_ANGLE = [0.0] + [2.0 ** (n + 1) * factorial(n) ** 2 / (n**2 * factorial(2 * n)) for n in range(1, 50)]


def geodesic_update(
    x: Float[Array, "2"], gradient: Float[Array, "2"], curvature: Float[Array, ""], rate: Float[Array, ""]
) -> Float[Array, "2"]:
    """Return the field f with which x − η f is the end of the geodesic step exp_x(−η g⁻¹ ∇l).

    Args:
        x: the point, in normal coordinates of the start. On a sphere x and the step's end are less than a quarter of
            the way round from the start.
        gradient: the partial derivatives ∂l/∂x.
        curvature: the sectional curvature K.
        rate: the learning rate η.
    """
    z = curvature * (x @ x)
    cosine, sine, slope = (_polynomial(terms, z) for terms in (_COSINE, _SINE, _SINE_SLOPE))
    excess = _polynomial(_SINE[1:], z) * (sine + 1) / sine**2  # (1 − 1/s²)/z
    w = -rate * (gradient / sine**2 + curvature * excess * (x @ gradient) * x)  # −η g⁻¹ ∇l
    length = curvature * -rate * (w @ gradient)  # K |w|², as g w = −η ∇l
    along, across = _polynomial(_COSINE, length), _polynomial(_SINE, length)
    height = along * cosine - across * curvature * sine * (x @ w)
    flat = along * sine * x + across * (sine * w + 2 * curvature * slope * (x @ w) * x)
    return (x - flat / _polynomial(_SINE, _polynomial(_ANGLE, 1 - height))) / rate


def _polynomial(coefficients: list[float], z: Float[Array, ""]) -> Float[Array, ""]:
    total = jnp.zeros_like(z)
    for coefficient in reversed(coefficients):
        total = total * z + coefficient
    return total
