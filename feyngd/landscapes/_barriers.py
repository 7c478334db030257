"""Toy landscapes with barriers between minima, for escape times: wells, and small networks with mirrored minima."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from ..errors import ArgumentError
from ._datasets import digits
from ._landscape import Landscape
from ._toy_arguments import finite_number, noise_values, normal_population, real_numbers

Toy = tuple[Landscape, jax.Array]

_LEFT = -2.9035340278  # the deepest minimum of ½(u⁴ − 16u² + 5u)
_COPIES = 30  # of the population, shuffled for every coordinate
_MODES = 48  # principal components of the digits
_SEEN = 120  # digits of the classes 0 and 1


def double_well(tilt: float = 0.1, scale: float = 1.0, *, x: ArrayLike | None = None) -> Toy:
    """Two wells of unequal depth with additive noise, l_x(θ) = θ⁴/4 − θ²/2 + tilt·θ + scale·xθ, from the left one.

    For a tilt of 0.1 minima are at −1.0466805318 and 0.9456492739, and the barrier is at 0.1010312579, higher than the
    left minimum by 0.3574115894. C = scale² E x² everywhere.

    Args:
        tilt: what sets the wells apart; both exist while it is below 2/√27 ≈ 0.385 in size.
        scale: of the noise.
        x: the noise values, 1-dimensional; `normal_population()` by default. Closed forms assume mean 0.

    Returns:
        The landscape and the scalar θ = −1, near the left minimum.

    Raises:
        ArgumentError: there is only one well, a number is not finite, or `x` is not 1-dimensional, finite and filled.
    """
    slope, size = finite_number("tilt", tilt), finite_number("scale", scale)
    if abs(slope) >= 2 / 27**0.5:
        raise ArgumentError(f"Two wells exist for a tilt below 2/√27 = {2 / 27**0.5:.6g} in size; got {tilt!r}.")

    def double_well_loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        return theta**4 / 4 - theta**2 / 2 + slope * theta + size * x * theta

    return Landscape(double_well_loss, noise_values(x, normal_population())), jnp.asarray(-1.0, dtype=float)


def styblinski_tang(n: int = 1, x: ArrayLike | None = None) -> Toy:
    """Styblinski and Tang's function, shifted at random: l_x(θ) = f(θ − x), f(u) = ½ Σ_i (u_i⁴ − 16 u_i² + 5 u_i).

    f has its deepest minimum at −2.9035340278 in every coordinate, others at 2.7468027710, and barriers at
    0.1567312568, where it is 39.3617780628 higher for one coordinate. The mean over x ~ N(0, 1) has its minimum at
    −2.351910 instead, where C is 959.9917: 41 times H.

    Args:
        n: the number of parameters.
        x: the shifts, shape (M, n), or (M,) for one parameter; `[0]` gives f itself. By default 900 shifts for more
            than one parameter, 30 for one: every coordinate has `normal_population()`, which shares what enters l and C
            with the normal, in an order of its own, so that coordinates are nearly independent.

    Returns:
        The landscape and θ of shape (n,), near the deepest minimum of f.

    Raises:
        ArgumentError: n is not an integer of at least 1, or the shifts are not finite or of another shape.

    References:
        Xie, Sato and Sugiyama, "A Diffusion Theory For Deep Learning Dynamics", appendix C.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ArgumentError(f"n is the number of parameters, an integer ≥ 1; got {n!r}.")
    if x is None:
        rng, values = np.random.default_rng(0), normal_population()
        columns = [values] if n == 1 else [rng.permutation(np.tile(values, _COPIES)) for _ in range(n)]
        shifts = np.stack(columns, axis=1)
    else:
        shifts = real_numbers("x", x)
        if n == 1 and shifts.ndim == 1:
            shifts = shifts[:, None]
        if shifts.ndim != 2 or shifts.shape[1] != n or not len(shifts) or not np.all(np.isfinite(shifts)):
            raise ArgumentError(f"x are finite shifts in rows, shape (M, {n}); got shape {np.shape(x)}.")

    def styblinski_tang_loss(theta: jax.Array, x: jax.Array) -> jax.Array:
        u = theta - x
        return 0.5 * jnp.sum(u**4 - 16 * u**2 + 5 * u)

    return Landscape(styblinski_tang_loss, shifts), jnp.full(n, _LEFT, dtype=float)


def two_layer(penalty: float = 0.2) -> Toy:
    """A linear network of two layers of width 1, l(u, v) = ½(y − vux)² + (penalty/2)(u² + v²), with two minima.

    The four examples have E x² = E xy = 1 and E y² = 1.25. Minima are at u = v = ±√(1 − penalty), curvatures 2(1 −
    penalty) along the path between them and 2·penalty across. The saddle is at 0, with curvatures penalty ∓ 1, higher
    by ½(1 − penalty)². Every example's gradient vanishes there, so that SGD has no noise.

    Args:
        penalty: α, between 0 and 1.

    Returns:
        The landscape and θ = (u, v) at the positive minimum.

    Raises:
        ArgumentError: the penalty is not between 0 and 1.
    """
    alpha = finite_number("penalty", penalty)
    if not 0 < alpha < 1:
        raise ArgumentError(
            f"The penalty is between 0, where minima are flat, and 1, where they merge; got {penalty!r}."
        )

    def two_layer_loss(theta: jax.Array, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, y = example
        return 0.5 * (y - theta[1] * theta[0] * x) ** 2 + 0.5 * alpha * jnp.dot(theta, theta)

    x, y = np.array([1.0, 1.0, -1.0, -1.0]), np.array([1.5, 0.5, -1.5, -0.5])
    return Landscape(two_layer_loss, (x, y)), jnp.full(2, (1 - alpha) ** 0.5, dtype=float)


def digits_unit(penalty: float = 0.3) -> Toy:
    """One tanh unit that tells digits 0 from digits 1, l(θ) = ½(y − v tanh(u·x))² + (penalty/2)|θ|², y = ±1.

    x are the first 48 principal components of 120 images, scaled to a mean square of 1 in all. (v, u) and (−v, −u)
    are the same network, so that minima come in pairs; the saddle between them is at 0, where every example's gradient
    vanishes: SGD has no noise there.

    Args:
        penalty: α, above 0.

    Returns:
        The landscape and θ = (v, u), shape (49,), at a minimum.

    Raises:
        ArgumentError: the penalty is not positive.
    """
    alpha = finite_number("penalty", penalty)
    if alpha <= 0:
        raise ArgumentError(f"The penalty is positive: minima are flat without; got {penalty!r}.")
    images, labels = digits(None)
    chosen = np.flatnonzero(labels < 2)[:_SEEN]
    pixels = np.asarray(images, dtype=float)[chosen].reshape(len(chosen), -1)
    pixels = pixels - pixels.mean(axis=0)
    _, _, directions = np.linalg.svd(pixels, full_matrices=False)
    features = pixels @ directions[:_MODES].T
    features /= np.sqrt(np.mean(np.sum(features**2, axis=1)))
    signs = np.where(np.asarray(labels)[chosen] == 1, 1.0, -1.0)

    def digits_unit_loss(theta: jax.Array, example: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, y = example
        return 0.5 * (y - theta[0] * jnp.tanh(jnp.dot(theta[1:], x))) ** 2 + 0.5 * alpha * jnp.dot(theta, theta)

    def mean_loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        units = np.tanh(features @ theta[1:])
        errors = theta[0] * units - signs
        slopes = features.T @ (errors * theta[0] * (1 - units**2)) / len(signs)
        value = 0.5 * np.mean(errors**2) + 0.5 * alpha * theta @ theta
        return float(value), np.concatenate([[np.mean(errors * units)], slopes]) + alpha * theta

    along = features.T @ signs
    start = np.concatenate([[1.0], along / np.linalg.norm(along)])
    found = optimize.minimize(mean_loss, start, jac=True, method="BFGS", options={"gtol": 1e-9}).x
    return Landscape(digits_unit_loss, (features, signs)), jnp.asarray(found, dtype=float)
