"""The arguments of toy landscapes: noise populations, checked numbers and matrices."""

import math
import reprlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError, LandscapeError
from .checks import as_numbers


def normal_population() -> NDArray[np.float64]:
    """Thirty equally likely values with the first seven moments of the standard normal.

    x² is 0, 1 or 6 with probabilities 1/3, 3/5 and 1/15, so E x² = 1, E x⁴ = 3 and E x⁶ = 15 (but E x⁸ = 87, not 105).

    Returns:
        Float array of shape (30,): ten zeros, nine of each of −1 and 1, and ±√6.
    """
    root = math.sqrt(6.0)
    return np.array([-root] + [-1.0] * 9 + [0.0] * 10 + [1.0] * 9 + [root])


def real_numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Convert to a float64 array, or say which argument is not made of real numbers."""
    try:
        array = as_numbers(values, name)
    except LandscapeError as error:
        raise ArgumentError(f"{name} must be real numbers; got {reprlib.repr(values)}. {error}") from error
    if array.dtype.kind in "bc":
        raise ArgumentError(f"{name} must be real numbers; got dtype {array.dtype}. Convert them yourself.")
    return array.astype(np.float64)


def noise_values(x: ArrayLike | None, default: NDArray[np.float64]) -> NDArray[np.float64]:
    """The population of scalar noise: the default, or the one given after its checks."""
    if x is None:
        return default
    noise = real_numbers("x", x)
    if noise.ndim != 1 or noise.size == 0 or not np.all(np.isfinite(noise)):
        raise ArgumentError(
            "x must be the equally likely noise values: 1-dimensional, finite and not empty; "
            f"got shape {noise.shape}{'' if np.all(np.isfinite(noise)) else ' with entries that are not finite'}."
        )
    return noise


def finite_number(name: str, value: Any, at_least: float = -math.inf) -> float:
    """One finite number, no less than a bound."""
    array = real_numbers(name, value)
    number = float(array) if array.ndim == 0 else math.nan
    if not math.isfinite(number) or number < at_least:
        bound = "" if at_least == -math.inf else f", at least {at_least:g}"
        raise ArgumentError(f"{name} must be a finite number{bound}; got {value!r}.")
    return number


def symmetric_matrix(name: str, matrix: ArrayLike) -> NDArray[np.float64]:
    """A finite symmetric matrix, symmetrised against rounding."""
    array = real_numbers(name, matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) == 0:
        raise ArgumentError(f"{name} must be a square matrix, shape (p, p); got shape {array.shape}.")
    if not np.all(np.isfinite(array)) or not np.allclose(array, array.T):
        raise ArgumentError(f"{name} must be finite and symmetric; got {array.tolist()}. Use (A + Aᵀ)/2 to symmetrise.")
    return 0.5 * (array + array.T)


def vectors_with_covariance(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 2p vectors ±√p Lₖ with Lₖ the columns of V√w: their mean is 0 and their covariance Σ Lₖ Lₖᵀ."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    if eigenvalues[0] < -1e-12 * max(1.0, abs(eigenvalues[-1])):
        raise ArgumentError(
            f"covariance must be positive semidefinite; its smallest eigenvalue is {eigenvalues[0]:g}. "
            "Give a covariance matrix, for instance A Aᵀ."
        )
    columns = np.sqrt(len(covariance)) * (vectors * np.sqrt(np.clip(eigenvalues, 0.0, None))).T
    return np.concatenate([columns, -columns])
