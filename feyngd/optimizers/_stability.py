"""Optimizers whose steps are all alike, near a minimum: what a step does along an eigenvector of the Hessian.

Along an eigenvector with the curvature h the optimizer is linear, and all there is to know follows from a small matrix:
which curvatures are stable at which learning rate, and how a gradient is passed on.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError
from ._optimizer import Optimizer

_ALIKE = 1e-6  # relative: of the steps of a kernel that was measured


@dataclass(frozen=True)
class Companion:
    """What steps do to the state along an eigenvector: z ← matrix z + source ξ, where ξ is the gradient's noise.

    The state z has the iterate, the memory if the optimizer has one, and the exponential average if it has one; all are
    in units of −η. So the propagator is K(Δ) = readout · matrix^(Δ−1) · source, in units of η.

    Attributes:
        matrix: shape (..., k, k).
        source: shape (k,).
        readout: shape (k,): picks the point of measurement from the state.
    """

    matrix: np.ndarray
    source: np.ndarray
    readout: np.ndarray


def companion(optimizer: Optimizer, damping: ArrayLike) -> Companion:
    """Return what the steps of an optimizer do along eigenvectors of the Hessian.

    Args:
        optimizer: the optimizer, without symbols. Steps after the first are all alike, and a loss is measured at the
            last iterate or at an exponential average.
        damping: ηh, the learning rate times the curvature; a number or an array.

    Raises:
        ArgumentError: steps differ, or it averages otherwise.

    References:
        The state (θ, u) of heavy ball and Nesterov's momentum, as in "The limiting dynamics of SGD".

    Examples:
        >>> from feyngd.optimizers import momentum
        >>> companion(momentum(0.5), 0.25).matrix
        array([[ 0.75 ,  1.   ],
               [-0.125,  0.5  ]])
    """
    direct, gain, decay, readout = _later_step(optimizer)
    x = np.asarray(damping, dtype=float)
    has_memory = bool(gain and readout)
    matrix = np.zeros((*x.shape, 3, 3))
    matrix[..., 0, 0], matrix[..., 0, 1] = 1 - x * direct, readout
    matrix[..., 1, 0], matrix[..., 1, 1] = -x * gain, decay
    source, kept = np.array([direct, gain, 0.0]), [0, 1] if has_memory else [0]
    measured = 0
    if optimizer.average is not None:
        if optimizer.average.ema is None:
            raise ArgumentError(
                f"Of averages only exponential ones settle; got {optimizer}: use averaged(…, ema=…), or a concrete T."
            )
        rho = float(optimizer.average.ema)
        matrix[..., 2, :] = (1 - rho) * matrix[..., 0, :]  # w ← ρ w + (1 − ρ) (the new iterate)
        matrix[..., 2, 2] += rho
        source[2] = (1 - rho) * direct
        kept, measured = [*kept, 2], len(kept)
    return Companion(matrix[..., kept, :][..., kept], source[kept], np.eye(len(kept))[measured])


def stable_damping(optimizer: Optimizer) -> float:
    """Return the bound below which every ηh > 0 is stable, so that the optimizer descends on a curvature h.

    It is 2 for SGD, 2(1 + β) for heavy ball and 2(1 + β)/(1 + 2β) for Nesterov's momentum. Averages do not change it.

    Raises:
        ArgumentError: steps differ.

    Examples:
        >>> from feyngd.optimizers import momentum
        >>> stable_damping(momentum(0.5)), stable_damping(momentum(0.5, nesterov=True))
        (3.0, 1.5)
    """
    # The eigenvalues of [[1 − c d, r], [−c g, λ]] are inside the unit circle if and only if its determinant is below 1
    # and 1 ± trace + determinant are positive: Jury's conditions.
    direct, gain, decay, readout = _later_step(optimizer)
    crossing = direct * (1 + decay) - gain * readout  # an eigenvalue leaves at −1
    turning = gain * readout - decay * direct  # a pair leaves elsewhere
    bounds = [2 * (1 + decay) / crossing] if crossing > 0 else []
    if turning > 0:
        bounds.append((1 - decay) / turning)
    return min(bounds, default=float("inf"))


def _later_step(optimizer: Optimizer) -> tuple[float, float, float, float]:
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
