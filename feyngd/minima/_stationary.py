"""The noise that lasts: covariance and speed of the parameters that fluctuate around a minimum for ever.

In the diagram [a a] two edges carry one example's gradient to the loss. Summed over all times, their propagators give
the covariance that the noise sustains: Cov_ij = η² Σ_Δ K_i(Δ) K_j(Δ) C_ij / B along eigenvectors i and j of the
Hessian. Increments K(Δ) − K(Δ − 1) in their place give the speed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .._arguments import check_integer
from .._learning_rates import check_learning_rate
from ..errors import ArgumentError, LandscapeError
from ..optimizers import PLAIN, Companion, Optimizer, check_optimizer, companion, stable_damping


@dataclass(frozen=True, eq=False)
class StationaryNoise:
    """How the parameters fluctuate around a minimum in the long run, in the eigenbasis of the Hessian.

    Attributes:
        covariance: that of θ, or of its average, shape (k, k), in the squared unit of the parameters.
        speed: E[δ δᵀ] of the steps δ, by which it moves in one update, shape (k, k); same unit.
    """

    covariance: np.ndarray
    speed: np.ndarray


def stationary_noise(
    curvatures: ArrayLike,
    noise: ArrayLike,
    learning_rate: float,
    *,
    batch_size: int = 1,
    optimizer: Optimizer = PLAIN,
) -> StationaryNoise:
    """Return what noise sustains around a minimum, on a quadratic loss, when batches are independent draws.

    That is so with replacement, and in one pass over fresh points. It is exact in discrete time, for any noise that
    does not depend on θ, also where its covariance does not commute with the Hessian.

    Args:
        curvatures: the eigenvalues of the Hessian, shape (k,), positive.
        noise: the covariance of the examples' gradients in the eigenbasis, shape (k, k).
        learning_rate: η.
        batch_size: B.
        optimizer: of a constant rate; measured at the last iterate or at an exponential average.

    Raises:
        ArgumentError: shapes do not fit, the noise is not symmetric, or the optimizer has symbols, a metric or steps
            that differ.
        LandscapeError: a curvature is not positive, or not stable at this rate.

    References:
        Closed forms for heavy ball and Nesterov's momentum: the project's own, against "The limiting dynamics of SGD",
        whose covariance is the limit of small ηh.

    Examples:
        >>> import feyngd as fd
        >>> found = stationary_noise([1.0], [[1.0]], 0.1, optimizer=fd.momentum(0.5))
        >>> print(f"{found.covariance[0, 0]:.6f} {found.speed[0, 0]:.6f}")
        0.103448 0.013793
    """
    h, covariance, rate = np.asarray(curvatures, dtype=float), np.asarray(noise, dtype=float), float(learning_rate)
    rate, batch = check_learning_rate(learning_rate), check_integer("batch_size", batch_size, least=1)
    if h.ndim != 1 or covariance.shape != (len(h), len(h)):
        raise ArgumentError(
            f"Curvatures are of shape (k,) and their noise of shape (k, k); got {h.shape} and {covariance.shape}."
        )
    if not np.allclose(covariance, covariance.T, rtol=1e-9, atol=0):
        raise ArgumentError("The noise is a covariance, a symmetric matrix; this one is not.")
    bound = stable_damping(check_optimizer(optimizer))
    if not np.all((h > 0) & (rate * h < bound)):
        raise LandscapeError(
            f"Noise settles where curvatures are above 0 and below {bound:.4g}/η = {bound / rate:.4g} for {optimizer}; "
            f"got {h.min():.4g} to {h.max():.4g}. Leave flat directions out, or give a smaller learning rate."
        )
    step = companion(optimizer, rate * h)
    between, states = overlaps(step)
    at_once = step.readout @ step.source  # the first increment, K(1)
    later = np.einsum("a,iab->ib", step.readout, step.matrix - np.eye(len(step.source)))
    increments = at_once**2 + np.einsum("ia,ijab,jb->ij", later, states, later)
    return StationaryNoise(rate**2 * between * covariance / batch, rate**2 * increments * covariance / batch)


def overlaps(step: Companion) -> tuple[np.ndarray, np.ndarray]:
    """Return Σ_Δ K_i(Δ) K_j(Δ) for all pairs of curvatures, shape (k, k), and that of the states, (k, k, s, s).

    Args:
        step: what a step does along eigenvectors, stable for all of them.
    """
    size, count = len(step.source), len(step.matrix)
    # X_ij = A_i X_ij A_jᵀ + e eᵀ: a Lyapunov equation of s² unknowns for every pair.
    pairs = np.einsum("iab,jcd->ijacbd", step.matrix, step.matrix).reshape(count, count, size**2, size**2)
    source = np.outer(step.source, step.source).ravel()
    solved = np.linalg.solve(np.eye(size**2) - pairs, np.broadcast_to(source[:, None], (count, count, size**2, 1)))
    states = solved.reshape(count, count, size, size)
    return np.einsum("a,ijab,b->ij", step.readout, states, step.readout), states
