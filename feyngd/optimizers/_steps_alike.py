"""Steps that are all alike, near a minimum: their numbers, their matrix, and the damping they stand."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError

_ALIKE = 1e-6  # relative: of the steps of a kernel that was measured


def step_matrix(optimizer: Any, damping: ArrayLike) -> np.ndarray:
    """Return what a step does to (θ, ηu) along an eigenvector, u being PyTorch's velocity; shape (..., 2, 2)."""
    direct, gain, decay, readout = later_step(optimizer)
    x = np.asarray(damping, dtype=float)
    matrix = np.zeros((*x.shape, 2, 2))
    # The recurrence remembers β u, which Nesterov's steps read by β once more.
    matrix[..., 0, 0], matrix[..., 0, 1] = 1 - x * direct, 0.0 - readout * decay
    matrix[..., 1, 0], matrix[..., 1, 1] = x * (gain / decay if decay else direct), decay
    return matrix


def stable_bound(optimizer: Any) -> float:
    """Return the bound of ηh below which steps are stable."""
    # The eigenvalues of [[1 − c d, r], [−c g, λ]] are inside the unit circle if and only if its determinant is below 1
    # and 1 ± trace + determinant are positive: Jury's conditions.
    direct, gain, decay, readout = later_step(optimizer)
    crossing = direct * (1 + decay) - gain * readout  # an eigenvalue leaves at −1
    turning = gain * readout - decay * direct  # a pair leaves elsewhere
    bounds = [2 * (1 + decay) / crossing] if crossing > 0 else []
    if turning > 0:
        bounds.append((1 - decay) / turning)
    return min(bounds, default=float("inf"))


def later_step(optimizer: Any) -> tuple[float, float, float, float]:
    """Return direct, gain, decay and readout of the steps after the first, which are all alike.

    Raises:
        ArgumentError: the optimizer has symbols, a metric, or steps that differ.
    """
    floats = replace(optimizer, average=None).in_floats()
    if floats.metric is not None:
        raise ArgumentError(
            "Near a minimum a metric changes the Hessian: use the landscape in the coordinates M^(−½) θ, and the "
            "optimizer without it."
        )
    if callable(floats.multipliers) or len(set(floats.multipliers or ())) > 1:
        raise ArgumentError(f"Steps of {optimizer} differ: give an optimizer of a constant rate.")
    steps = 2 if floats.multipliers is None else len(floats.multipliers)
    recurrence = floats.recurrence(steps if floats.measured is None else floats.measured.steps)
    parts = np.array([recurrence.direct, recurrence.gain, recurrence.decay, recurrence.readout], dtype=float)
    later = parts[:, 1:] if parts.shape[1] > 1 else parts
    if np.any(np.ptp(later, axis=1) > _ALIKE * np.abs(later).max(axis=1)):
        raise ArgumentError(f"Steps of {optimizer} differ: give an optimizer of a constant rate.")
    direct, gain, decay, readout = later[:, 0].tolist()
    return direct, gain, decay, readout
