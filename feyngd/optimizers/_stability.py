"""Optimizers whose steps are all alike, near a minimum: what a step does along an eigenvector of the Hessian.

Along an eigenvector with the curvature h the optimizer is linear, and all there is to know follows from a small matrix:
which curvatures are stable at which learning rate, and how a gradient is passed on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import ArgumentError
from ._optimizer import Optimizer
from ._steps_alike import later_step, stable_bound


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
    direct, gain, decay, readout = later_step(optimizer)
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
    return stable_bound(optimizer)
