"""Averages of iterates: their variance along single directions, from the autocovariance, for every sampling."""

from typing import Any

import numpy as np


def exponential_variance(response: Any, h: np.ndarray, rho: float) -> np.ndarray:
    """Return the variance of w ← ρ w + (1 − ρ) θ in the long run: a mean over phases where epochs have them.

    It is (1 − ρ)/(1 + ρ) (2 Σ_k ρ^k C(k) − C(0)) for the autocovariance C of positions.
    """
    if getattr(response, "repeats", False):
        m = response.period
        within = response.lagged(h, h, np.arange(m))[..., 0, 0]
        total = np.tensordot(rho ** np.arange(m), within, axes=1) / (1 - rho**m)
        return (1 - rho) / (1 + rho) * (2 * total - within[0])
    m = response.period
    states = response.lagged(h, h, np.arange(m + 1))
    later = np.linalg.inv(np.eye(2) - rho * response.transition(h)) @ states[m]  # from lags m on, Mᵏ⁻ᵐ C(m)
    total = np.tensordot(rho ** np.arange(m), states[:m], axes=1) + rho**m * later if m else later
    return (1 - rho) / (1 + rho) * (2 * total - states[0])[..., 0, 0]


def tail_variance(response: Any, h: np.ndarray, count: int) -> np.ndarray:
    """Return the variance of the mean of the last n iterates, (C(0) + 2 Σ_{0<k<n} (1 − k/n) C(k))/n."""
    if getattr(response, "repeats", False):
        m = response.period
        lags = np.arange(1, count)
        shares = np.bincount(lags % m, weights=count - lags, minlength=m)
        within = response.lagged(h, h, np.arange(m))[..., 0, 0]
        return (count * within[0] + 2 * np.tensordot(shares, within, axes=1)) / count**2
    first = min(response.period, count - 1)
    states = response.lagged(h, h, np.arange(first + 1))
    shares = count - np.arange(1, first + 1)
    total = np.tensordot(shares, states[1:], axes=1) if first else 0 * states[0]
    total = total + _falling(response.transition(h), count - first) @ states[first]
    return (count * states[0] + 2 * total)[..., 0, 0] / count**2


def _falling(matrix: np.ndarray, count: int) -> np.ndarray:
    """Return Σ_{0<k<n} (n − k) M^k without inverting 1 − M, as a block of a power of a matrix of blocks."""
    blocks = np.zeros((*matrix.shape[:-2], 6, 6))
    blocks[..., :2, :2] = matrix
    for i, j in ((0, 2), (2, 2), (2, 4), (4, 4)):
        blocks[..., i : i + 2, j : j + 2] = np.eye(2)
    return matrix @ np.linalg.matrix_power(blocks, count)[..., :2, 4:]
