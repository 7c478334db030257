"""The oracle of the continuous-time limits: their generator, applied to the mean loss again and again.

Diagrams and orders of times do not appear here. On a polynomial landscape the covariance of the gradient is a matrix
of polynomials, the generator turns polynomials into polynomials, and the expected loss is e^{tL} l, power by power.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import factorial
from typing import Any

from ..errors import ArgumentError
from ._enumerated_runs import check_power
from ._polynomials import Exponents, Polynomial, PolynomialLandscape, combine, differentiate

_LIMITS = ("ode", "sde")


def exact_limit_series(
    limit: str,
    landscape: PolynomialLandscape,
    theta: Sequence[Any],
    steps: Any,
    order: int,
    *,
    batch_size: Any = 1,
) -> tuple[Fraction, ...]:
    """Return the exact Taylor coefficients in η of the expected loss after gradient flow or the SDE for the time ηT.

    The generator of dθ = −∇l dt + √(ηC(θ)/B) dW is L f = −∇l·∇f + (η/2B) Σ_ij C_ij ∂_i ∂_j f; gradient flow lacks the
    second term. The expected loss is Σ_k ((ηT)^k/k!) L^k l, taken at θ.

    Args:
        limit: "ode" or "sde".
        landscape: the population of polynomial losses.
        theta: the starting point, rational coordinates.
        steps: T, a rational number ≥ 0.
        order: the highest power of η.
        batch_size: B, a rational number > 0; it has no effect on the ODE.

    Returns:
        The coefficients of η⁰ … η^order.

    Raises:
        ArgumentError: the limit is unknown, the order is not an integer ≥ 0, T or B is out of range or a float.
        LandscapeError: θ has the wrong number of coordinates.

    Examples:
        >>> import feyngd as fd
        >>> landscape = fd.testing.PolynomialLandscape([{(2,): 1, (1,): 1}, {(2,): 1, (1,): -1}])
        >>> fd.testing.exact_limit_series("sde", landscape, [0], steps=3, order=3)
        (Fraction(0, 1), Fraction(0, 1), Fraction(3, 1), Fraction(-18, 1))
    """
    if limit not in _LIMITS:
        raise ArgumentError(f"Unknown limit {limit!r}. Known: {', '.join(map(repr, _LIMITS))}.")
    check_power(order)
    duration, batch = _rational("steps", steps), _rational("batch_size", batch_size)
    if batch == 0:
        raise ArgumentError("batch_size divides the covariance, so it is > 0; got 0.")
    point = landscape.check_point(theta)
    gradient = [differentiate(landscape.mean, i) for i in range(landscape.dimensions)]
    covariance = _covariance(landscape, gradient) if limit == "sde" else {}
    total = [Fraction(0)] * (order + 1)
    applied: list[Polynomial] = [landscape.mean] + [{}] * order  # L^k l as a power series in η
    for k in range(order + 1):
        for power, polynomial in enumerate(applied):
            total[k + power] += duration**k / factorial(k) * _at(polynomial, point)
        applied = [
            combine(
                (Fraction(1), polynomial)
                for polynomial in (
                    _drift(gradient, applied[power]),
                    _diffuse(covariance, batch, applied[power - 1]) if power else {},
                )
            )
            for power in range(order - k)
        ]
    return tuple(total)


def _rational(name: str, value: Any) -> Fraction:
    try:
        number = None if isinstance(value, (bool, float, str)) else Fraction(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number < 0:
        raise ArgumentError(f"{name} is a rational number ≥ 0, such as 3 or Fraction(1, 2); got {value!r}.")
    return number


def _covariance(landscape: PolynomialLandscape, gradient: Sequence[Polynomial]) -> dict[tuple[int, int], Polynomial]:
    """Return C_ij = E[∂_i l_n ∂_j l_n] − ∂_i l ∂_j l, each entry a polynomial in θ."""
    entries: dict[tuple[int, int], Polynomial] = {}
    for i in range(landscape.dimensions):
        for j in range(landscape.dimensions):
            squares = [
                (weight, _product(differentiate(loss, i), differentiate(loss, j)))
                for weight, loss in zip(landscape.weights, landscape.losses, strict=True)
            ]
            entries[i, j] = combine([*squares, (Fraction(-1), _product(gradient[i], gradient[j]))])
    return entries


def _drift(gradient: Sequence[Polynomial], function: Polynomial) -> Polynomial:
    """Return −∇l·∇f."""
    return combine((Fraction(-1), _product(part, differentiate(function, i))) for i, part in enumerate(gradient))


def _diffuse(covariance: dict[tuple[int, int], Polynomial], batch: Fraction, function: Polynomial) -> Polynomial:
    """Return (1/2B) Σ_ij C_ij ∂_i ∂_j f."""
    return combine(
        (1 / (2 * batch), _product(entry, differentiate(differentiate(function, i), j)))
        for (i, j), entry in covariance.items()
    )


def _product(a: Polynomial, b: Polynomial) -> Polynomial:
    total: dict[Exponents, Fraction] = {}
    for left, x in a.items():
        for right, y in b.items():
            powers = tuple(m + n for m, n in zip(left, right, strict=True))
            total[powers] = total.get(powers, Fraction(0)) + x * y
    return total


def _at(polynomial: Polynomial, point: Sequence[Fraction]) -> Fraction:
    total = Fraction(0)
    for powers, value in polynomial.items():
        for coordinate, power in zip(point, powers, strict=True):
            value *= coordinate**power
        total += value
    return total
