"""Moments of the effective potential over datasets: what temperature makes of the spreads of v and a."""

from typing import Any

import numpy as np

from ...errors import ArgumentError
from .._numbers import check_symmetric, check_temperature


def potential_variance(temperature: float, *, var_v: Any, var_a: Any, cov_va: Any) -> np.ndarray:
    """Return the variance over datasets of g = (2/T) v + a: σ_g² = 4σ_v²/T² + σ_a² + 4σ_va/T, without a unit.

    Half of it is the exponent by which the log-normal density exceeds exp(−ḡ), in (23) and (25).

    Args:
        temperature: T = λ/B.
        var_v: the variance of v over datasets, at one or many θ.
        var_a: that of a.
        cov_va: their covariance.

    Raises:
        ArgumentError: the temperature is not positive, a variance is negative, or the covariance exceeds what the
            variances allow.

    References:
        "Studying Generalization Through Data Averaging", equations (22)–(25); corrected: the printed forms lack the
        cross term, 4σ_va/T here and 2σ_va/T in the exponent of (23); the last term of (25) is (2/T)σ_va.

    Examples:
        >>> print(f"{potential_variance(0.8, var_v=0.09, var_a=0.25, cov_va=0.09):.4f}")
        1.2625
    """
    T = check_temperature(temperature)
    v, a, va = _moments(var_v, var_a, cov_va)
    return 4 * v / T**2 + a + 4 * va / T


def small_spread_factor(temperature: float, *, var_v: Any, var_a: Any, cov_va: Any) -> np.ndarray:
    """Return σ_g T/(2σ_v), by which a and its covariance change the bound (2/T) n^(−½) ⟨⟨σ_l σ_v⟩⟩ of small spreads.

    Args:
        temperature: T = λ/B.
        var_v: the variance of v over datasets, positive, at one or many θ.
        var_a: that of a.
        cov_va: their covariance.

    Raises:
        ArgumentError: as for `potential_variance`, or a variance of v is zero.

    References:
        "Studying Generalization Through Data Averaging", equation (24); corrected: the root of
        1 + T σ_va/σ_v² + T² σ_a²/(4σ_v²), of which the printed form lacks the middle term.

    Examples:
        >>> print(f"{small_spread_factor(0.8, var_v=0.09, var_a=0.25, cov_va=0.0):.4f}")
        1.2019
    """
    if not np.all(np.asarray(var_v, dtype=float) > 0):
        raise ArgumentError("The factor divides by the variance of v over datasets, which is zero: use the bound (11).")
    total = potential_variance(temperature, var_v=var_v, var_a=var_a, cov_va=cov_va)
    return np.sqrt(total * float(temperature) ** 2 / (4 * np.asarray(var_v, dtype=float)))


def delta_covariance(first: Any, covariance: Any, second: Any) -> float:
    """Return ∇fᵀ Σ ∇h, the covariance of two functions of a variable by the delta method.

    Args:
        first: ∇f at the mean of the variable, shape (k,), or a number.
        covariance: Σ, of the variable, shape (k, k), or a number.
        second: ∇h, as `first`.

    Raises:
        ArgumentError: Σ is not symmetric, or shapes differ.

    References:
        "Studying Generalization Through Data Averaging", equation (50); corrected: it also subtracts
        ¼ tr(Σ∇²f) tr(Σ∇²h), which makes Var(x²) = −σ⁴ at mean 0.

    Examples:
        >>> delta_covariance([1.0, 2.0], [[1.0, 0.5], [0.5, 2.0]], [0.0, 1.0])
        4.5
    """
    spread = check_symmetric("The covariance", covariance)
    f, h = (np.atleast_1d(np.asarray(part, dtype=float)) for part in (first, second))
    if f.shape != (len(spread),) or h.shape != f.shape:
        raise ArgumentError(
            f"Slopes have a number for each of the {len(spread)} variables; got shapes {f.shape} and {h.shape}."
        )
    return float(f @ spread @ h)


def _moments(var_v: Any, var_a: Any, cov_va: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    v, a, va = (np.asarray(part, dtype=float) for part in (var_v, var_a, cov_va))
    if not (np.all(v >= 0) and np.all(a >= 0)):
        raise ArgumentError(f"Variances of v and a are not negative; got {v.min():g} and {a.min():g} at the least.")
    if not np.all(va**2 <= v * a * (1 + 1e-9)):
        raise ArgumentError(
            "A covariance is at most the root of the product of the variances, in size; the one of v and a exceeds it."
        )
    return v, a, va
