"""Flat minima: the order of growth along a line, and the probability of a basin that is flat to second order."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..._arguments import check_integer
from ...errors import ArgumentError, LandscapeError
from .._numbers import check_number, check_temperature


def leading_order(f: Callable[[Any], Any], *, most: int = 8, tolerance: float) -> tuple[int, float]:
    """Return the first order J ≥ 1 at which a function of one number changes at 0, and its J-th derivative there.

    Along a line through a minimum J is even and the derivative positive. The converse fails: a minimum along every line
    need not be one, as (y − x²)(y − 2x²) shows at 0.

    Args:
        f: a JAX function of a scalar, such as `lambda r: loss(minimum + r * direction)`.
        most: the highest derivative to look at.
        tolerance: up to which a derivative counts as 0, in the unit of f over that of its argument to the power J.

    Raises:
        ArgumentError: an argument is invalid.
        LandscapeError: no derivative up to `most` exceeds the tolerance, or one is not finite.

    References:
        Bradley et al., appendix E (corrected: the claim about lines is false).

    Examples:
        >>> from feyngd.companions.shift_curvature import leading_order
        >>> leading_order(lambda r: 3 * r**4 + r**6, tolerance=1e-9)
        (4, 72.0)
    """
    check_integer("most", most, least=1)
    small = check_number("tolerance", tolerance, above=0)
    with jax.enable_x64(True):
        for order in range(1, most + 1):
            f = _derivative(f)
            value = float(f(jnp.zeros(())))
            if not math.isfinite(value):
                raise LandscapeError(f"Derivative {order} at 0 is {value}: give a function that is smooth there.")
            if abs(value) > small:
                return order, value
    raise LandscapeError(
        f"No derivative up to order {most} exceeds {tolerance:g} at 0: the function is flat there to this order. Raise "
        "most, lower the tolerance, or add a penalty."
    )


def flat_weight(order: int | Sequence[int], eigenvalues: ArrayLike, temperature: float, depth: float) -> float:
    """Return the integral of exp(−2v/T) over a basin with v ≈ depth + Σ_i λ_i z_i^J / J!, its weight before norming.

    It is e^(−2 depth/T) Π_i 2Γ(1 + 1/J)(T J!/(2λ_i))^(1/J); in units of θ to the power p. For J = 2 this is Laplace's.

    Args:
        order: J, even; one for all directions, or one for each.
        eigenvalues: λ > 0, shape (p,).
        temperature: T = η/B.
        depth: v at the minimum.

    Raises:
        ArgumentError: an order is odd or below 2, an eigenvalue not positive, or their numbers differ. Directions in
            which v does not grow make the integral infinite.

    References:
        Bradley et al., equations 30 and 31 (corrected: the power p is missing in print, and with fewer directions than
        dimensions the integral diverges).

    Examples:
        >>> from feyngd.companions.shift_curvature import flat_weight
        >>> print(f"{flat_weight(4, [24.0], 2.0, 0.0):.6f}")  # the integral of exp(−z⁴), 2Γ(5/4)
        1.812805
    """
    rate, growth = check_temperature(temperature), np.asarray(eigenvalues, dtype=float)
    if growth.ndim != 1 or not len(growth) or not (np.isfinite(growth) & (growth > 0)).all():
        raise ArgumentError(
            f"Eigenvalues are of shape (p,) and above 0; got {np.asarray(eigenvalues).tolist()}. Along a direction "
            "with λ ≤ 0 the integral diverges: give its own leading order, or add a penalty."
        )
    orders = _even_orders(order, len(growth))
    return math.exp(-2 * depth / rate) * math.prod(
        2 * math.gamma(1 + 1 / j) * (rate * math.factorial(j) / (2 * value)) ** (1 / j)
        for j, value in zip(orders, growth.tolist(), strict=True)
    )


def flat_excess(order: int | Sequence[int], temperature: float, *, directions: int = 1) -> float:
    """Return E[v] minus its minimum in a basin of leading orders J_i: T Σ_i 1/(2J_i), for all eigenvalues alike.

    Args:
        order: J, even; one for all directions, or one for each, which leaves `directions` unused.
        temperature: T = η/B.
        directions: how many there are, if the order is one number.

    Raises:
        ArgumentError: an order is odd or below 2, or an argument is invalid.
    """
    rate = check_temperature(temperature)
    count = check_integer("directions", directions, least=1)
    orders = _even_orders(order, count if np.ndim(order) == 0 else len(np.asarray(order)))
    return rate * sum(1 / (2 * j) for j in orders)


def _derivative(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return the derivative of a function of a scalar."""
    return lambda r: jax.jvp(f, (r,), (jnp.ones(()),))[1]


def _even_orders(order: Any, count: int) -> list[int]:
    """Return one even order for each of several directions."""
    orders = [order] * count if np.ndim(order) == 0 else list(order)
    if len(orders) != count:
        raise ArgumentError(f"Give one order, or one for each of {count} eigenvalues; got {len(orders)}.")
    for each in orders:
        if check_integer("order", each, least=2) % 2:
            raise ArgumentError(f"An order is even at a minimum, 2, 4, …; got {each}: the function falls on one side.")
    return orders
