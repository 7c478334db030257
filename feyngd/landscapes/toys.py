"""Toy landscapes whose series are known in closed form.

Every constructor returns `(landscape, params)`: a landscape with a finite population of noise values x, each equally
likely, so that population averages are plain finite sums, and the start point. A closed form written for x ~ N(0, 1)
uses only some of the moments of x; each docstring says which ones the default population shares with the normal.

Two populations serve as defaults:

| population | E x | E x² | E x³ | E x⁴ | E x⁶ | shares with N(0, 1) |
|---|---|---|---|---|---|---|
| the two signs −1, 1 | 0 | 1 | 0 | 1 | 1 | moments 1 to 3 |
| `normal_population()`, 30 values | 0 | 1 | 0 | 3 | 15 | moments 1 to 7 |

Pass `x=` to use another population. Closed forms assume E x = 0 and E x² = 1 then too.

Examples:
    >>> from feyngd.landscapes import toys
    >>> landscape, params = toys.gauss_fit()
    >>> float(landscape.mean_loss(params))
    0.5
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError
from ._barriers import digits_unit, double_well, styblinski_tang, two_layer
from ._landscape import Landscape
from ._toy_arguments import (
    finite_number,
    noise_values,
    normal_population,
    real_numbers,
    symmetric_matrix,
    vectors_with_covariance,
)

__all__ = [
    "cosh",
    "cubic_chi",
    "cubic_valley",
    "digits_unit",
    "double_well",
    "gauss_fit",
    "linear_screw",
    "mean_estimation",
    "normal_population",
    "quadratic",
    "styblinski_tang",
    "two_layer",
]

Toy = tuple[Landscape, jax.Array]

_SIGNS = np.array([-1.0, 1.0])


def quadratic(hessian: ArrayLike, covariance: ArrayLike | None = None, *, x: ArrayLike | None = None) -> Toy:
    """A quadratic with additive noise, l_x(θ) = ½ θᵀHθ + x·θ, from its minimum θ = 0.

    The gradients Hθ + x have covariance C everywhere. GD on N examples for T steps has expected excess test loss
    `(1/2N) tr[C H⁻¹ (I − (I − ηH)^T)²]`, exactly, where H and C commute; corollary 2 has `e^{−ηTH}` for `(I − ηH)^T`.

    Args:
        hessian: H, symmetric, shape (p, p).
        covariance: C, symmetric and positive semidefinite, shape (p, p); the identity by default. The population is
            then the 2p vectors ±√p times the columns of C^½ in its eigenbasis: mean 0, covariance C, no third cumulant.
        x: the noise vectors themselves, shape (M, p), instead of a covariance.

    Returns:
        The landscape, with data of shape (M, p), and θ = 0 of shape (p,).

    Raises:
        ArgumentError: a matrix is not finite, square, symmetric or, for C, positive semidefinite; the shapes disagree;
            or both `covariance` and `x` are given.

    References:
        Tenka, corollary 2.
    """
    h = symmetric_matrix("hessian", hessian)
    p = len(h)
    if x is not None and covariance is not None:
        raise ArgumentError("Give either covariance or the noise vectors x, which have their own covariance; got both.")
    if x is None:
        noise = vectors_with_covariance(np.eye(p) if covariance is None else symmetric_matrix("covariance", covariance))
    else:
        noise = real_numbers("x", x)
        if noise.ndim != 2 or len(noise) == 0 or not np.all(np.isfinite(noise)):
            raise ArgumentError(
                f"x must be finite noise vectors, one per row, shape (M, {p}); got shape {noise.shape}."
            )
    if noise.shape[1] != p:
        raise ArgumentError(f"The hessian is {p}×{p}, but the noise has dimension {noise.shape[1]}; make them agree.")

    def quadratic_loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        return 0.5 * theta @ jnp.asarray(h, theta.dtype) @ theta + x @ theta

    return Landscape(quadratic_loss, noise), jnp.zeros(p)


def cosh(*, x: ArrayLike | None = None) -> Toy:
    """A nonlinear well with additive noise, l_x(θ) = cosh θ + xθ, from its minimum θ = 0.

    There G = 0, H = 1, J = 0, the fourth derivative is 1 and C = E x². One step of B = 1 from 0 has expected test loss
    `E cosh(ηx)`, which is cosh η for the two signs.

    Args:
        x: the noise values, 1-dimensional; the two signs by default. Closed forms assume mean 0.

    Returns:
        The landscape and the scalar θ = 0.

    Raises:
        ArgumentError: `x` is not 1-dimensional, finite and non-empty.
    """

    def cosh_loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.cosh(theta) + x * theta

    return Landscape(cosh_loss, noise_values(x, _SIGNS)), _scalar(0.0)


def gauss_fit(*, x: ArrayLike | None = None) -> Toy:
    """The log-variance h of a centred normal fitted to data, l_x(h) = ½(h + x² e^{−h}), from the truth h = 0.

    There G = 0, H = ½, J = −½ and, for normal data, C = ½ and S = −1: the gradients are skewed. One epoch of vanilla
    SGD (B = 1) has `E l = ½ + η²T/8 − η³[T(T−1)/16 + T/12] + O(η⁴)`; one step on normal data has `½ e^{η/2}/√(1+η)`.

    Args:
        x: the data, 1-dimensional; `normal_population()` by default, which shares the moments that the series uses
            up to η³.

    Returns:
        The landscape and the scalar h = 0.

    Raises:
        ArgumentError: `x` is not 1-dimensional, finite and non-empty.

    References:
        Tenka, section 5.3, "Comparison to continuous time".
    """

    def gauss_fit_loss(h: jax.Array, x: jax.Array) -> jax.Array:
        return 0.5 * (h + x**2 * jnp.exp(-h))

    return Landscape(gauss_fit_loss, noise_values(x, normal_population())), _scalar(0.0)


def linear_screw(*, x: ArrayLike | None = None) -> Toy:
    """A valley of minima that SGD climbs like a screw, at θ = (u, v, z) = 0.

    l_x(θ) = ½(u² + v² + (cos z·u + sin z·v)²) + x (cos(z − π/4)·u + sin(z − π/4)·v). The mean loss is 0 all along the
    valley u = v = 0, yet SGD with B = 1 drifts there by +η²/6 in z per step, to leading order in η and for large T.

    Re-summed in η that is η²/(6 − 4η), which is exact to the second power of the noise and no further. At η = 0.15 it
    is 0.185185 η², to the fourth power of the noise 0.184277 η², and simulated 0.18422 ± 0.00007 η².

    Args:
        x: the noise values, 1-dimensional; the two signs by default, which have the variance that the drift depends on.

    Returns:
        The landscape and θ = (u, v, z) = 0, shape (3,).

    Raises:
        ArgumentError: `x` is not 1-dimensional, finite and non-empty.

    References:
        Tenka, section 5.4, "Nonconservative entropic force".
    """

    def linear_screw_loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        u, v, z = theta[0], theta[1], theta[2]
        lag = z - jnp.pi / 4
        bowl = 0.5 * (u**2 + v**2 + (jnp.cos(z) * u + jnp.sin(z) * v) ** 2)
        return bowl + x * (jnp.cos(lag) * u + jnp.sin(lag) * v)

    return Landscape(linear_screw_loss, noise_values(x, _SIGNS)), jnp.zeros(3)


def mean_estimation(hessian: float = 1.0, scale: float = 1.0, *, x: ArrayLike | None = None) -> Toy:
    """Estimating a mean, l_x(θ) = ½ H θ² + x S θ, from the true minimum θ = 0.

    C = S² and H are independent of θ. GD on N examples for T steps has expected excess test loss
    `(S²/2NH)(1 − (1 − ηH)^T)²`, small for both sharp and flat minima, and gap `(S²/NH)(1 − (1 − ηH)^T)`.

    Args:
        hessian: the curvature H, positive or zero.
        scale: the noise scale S.
        x: the noise values, 1-dimensional; the two signs by default, which have the variance that matters here.

    Returns:
        The landscape and the scalar θ = 0.

    Raises:
        ArgumentError: H is negative, a number is not finite, or `x` is not 1-dimensional, finite and non-empty.

    References:
        Tenka, section 5.5, "Sharp and flat minima both overfit less".
    """
    h, s = finite_number("hessian", hessian, at_least=0.0), finite_number("scale", scale)

    def mean_estimation_loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        return 0.5 * h * theta**2 + x * s * theta

    return Landscape(mean_estimation_loss, noise_values(x, _SIGNS)), _scalar(0.0)


def cubic_chi(*, x: ArrayLike | None = None) -> Toy:
    """A cubic with skewed gradient noise, l_x(w) = w³ − w(x² − 1), from w = 0.

    There G = 0, H = 0 and J = 6, so the skew of the gradients, S = −E(x² − 1)³, acts alone: from w = 0 one step with
    B = 1 has expected test loss η³ E(x² − 1)³, exactly, 8η³ by default.

    Args:
        x: the data, 1-dimensional; `normal_population()` by default, for which E(x² − 1)² = 2 and E(x² − 1)³ = 8 as for
            normal data.

    Returns:
        The landscape and the scalar w = 0.

    Raises:
        ArgumentError: `x` is not 1-dimensional, finite and non-empty.

    References:
        Tenka, corollary 3.
    """

    def cubic_chi_loss(w: jax.Array, x: jax.Array) -> jax.Array:
        return w**3 - w * (x**2 - 1)

    return Landscape(cubic_chi_loss, noise_values(x, normal_population())), _scalar(0.0)


def cubic_valley(h0: float = 1.0, h1: float = 1.0, s: float = 1.0, *, x: ArrayLike | None = None) -> Toy:
    """A valley of minima that widens along itself, l_x(w, z) = ½(h0 + h1 z) w² + x s w, from (0, 0).

    SGD with B = 1 moves toward the flatter side, `v_z = −η² s² h1/(4 h0)` per step, to leading order in η and after w
    has forgotten its start.

    Args:
        h0: the curvature across the valley at z = 0, positive.
        h1: how fast it grows along the valley. Beyond z = −h0/h1 the loss is unbounded below.
        s: the noise scale.
        x: the noise values, 1-dimensional; the two signs by default, which have the variance that the drift depends on.

    Returns:
        The landscape and θ = (w, z) = 0, shape (2,).

    Raises:
        ArgumentError: h0 is not positive, a number is not finite, or `x` is not 1-dimensional, finite and non-empty.

    References:
        Tenka, corollary 1.
    """
    base, slope, scale = finite_number("h0", h0), finite_number("h1", h1), finite_number("s", s)
    if base <= 0:
        raise ArgumentError(f"h0 is the curvature across the valley and must be positive; got {h0!r}.")

    def cubic_valley_loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        w, z = theta[0], theta[1]
        return 0.5 * (base + slope * z) * w**2 + x * scale * w

    return Landscape(cubic_valley_loss, noise_values(x, _SIGNS)), jnp.zeros(2)


def _scalar(value: float) -> jax.Array:
    return jnp.asarray(value, dtype=float)
