"""The paper's decomposition of phase space: dissipation, circulation, modified loss and current."""

from typing import Any

import numpy as np

from ...errors import ArgumentError, LandscapeError
from . import _along
from ._ornstein_uhlenbeck import Decomposition, OrnsteinUhlenbeck
from ._paper_sde import PaperSDE

COMMUTE = 1e-8  # |HΣ − ΣH| over |H||Σ|: what rounding leaves
_SINGULAR = 1e-12  # least eigenvalue of Σ over its largest


def commutator(curvatures: np.ndarray, noise: np.ndarray) -> float:
    """Return |[H, Σ]|/(|H||Σ|) in Frobenius norms, from Σ in the eigenbasis of H."""
    sizes = float(np.linalg.norm(curvatures) * np.linalg.norm(noise))
    return float(np.linalg.norm((curvatures[:, None] - curvatures) * noise)) / sizes if sizes else 0.0


def matrices(limit: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return K and Σ, in parameters where all directions are known, else along directions."""
    _along.require_directions(limit, "The process")
    noise = limit.parts[0].noise.matrix
    assert noise is not None
    curvature, noise = np.diag(limit.curvatures), noise[: limit.num_directions, : limit.num_directions]
    if not _along.is_whole(limit):
        return curvature, noise
    vectors = limit.basin.vectors
    return vectors.T @ curvature @ vectors, vectors.T @ noise @ vectors


def _sde(limit: Any) -> PaperSDE:
    if not isinstance(limit.response, PaperSDE):
        raise ArgumentError("The paper's process is in continuous time: ask basin.limit(…, time='continuous').")
    return limit.response


def phase_space(limit: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Return A, D and κ of (θ, v).

    Raises:
        ArgumentError: time is discrete.
    """
    response = _sde(limit)
    curvature, noise = matrices(limit)
    eta, beta = response.step.eta, response.step.beta
    zero, one = np.zeros_like(curvature), np.eye(len(curvature))
    slow = 2 / (eta * (1 + beta))
    drift = np.block([[zero, -one], [slow * curvature, slow * (1 - beta) * one]])
    return drift, np.block([[zero, zero], [zero, slow * (1 - beta) * noise]]), response.kappa


def process(limit: Any) -> OrnsteinUhlenbeck:
    """See `Limit.process`."""
    drift, diffusion, kappa = phase_space(limit)
    middle = _along.center(limit) if _along.is_whole(limit) else np.zeros(limit.num_directions)
    return OrnsteinUhlenbeck(drift, diffusion, kappa=kappa, mean=np.append(middle, np.zeros_like(middle)))


def decomposition(limit: Any) -> Decomposition:
    """See `Limit.decomposition`: the paper's closed form, for noise that commutes with the Hessian.

    Raises:
        ArgumentError: time is discrete.
        LandscapeError: they do not commute, or the noise is singular.
    """
    drift, diffusion, kappa = phase_space(limit)
    curvature, noise = matrices(limit)
    apart = commutator(limit.curvatures, limit.parts[0].noise.matrix[: len(curvature), : len(curvature)])
    if apart > COMMUTE:
        raise LandscapeError(
            f"The closed form needs a noise that commutes with the Hessian; here ‖[H, Σ]‖/(‖H‖‖Σ‖) = {apart:.2g}. Ask "
            ".process().decomposition(), which solves AW + WAᵀ = 2D for any noise, or give subspace=k."
        )
    sizes = np.linalg.eigvalsh(noise)
    if sizes[0] <= _SINGULAR * sizes[-1]:
        raise LandscapeError(
            f"The closed form needs noise in all directions; Σ has eigenvalues from {sizes[0]:.2g} to {sizes[-1]:.2g}. "
            "Give subspace=k for the sharpest directions, or ask .process() for covariances, which need no inverse."
        )
    zero, step = np.zeros_like(noise), limit.step
    inverse = np.linalg.inv(noise)
    stiff = 2 / (step.eta * (1 + step.beta)) * inverse @ curvature
    form = np.block([[(stiff + stiff.T) / 2, zero], [zero, (inverse + inverse.T) / 2]])
    return Decomposition(drift, diffusion, np.block([[zero, -noise], [noise, zero]]), form, kappa)


def _away(limit: Any, params: Any, velocity: Any) -> np.ndarray:
    position, speed = _along.coordinates(limit, params, velocity)
    if _along.is_whole(limit):
        position, speed = position @ limit.basin.vectors, speed @ limit.basin.vectors
    return np.append(position, speed)


def modified_loss(limit: Any, params: Any, velocity: Any) -> float:
    """See `Limit.modified_loss`."""
    form = decomposition(limit).U
    x = _away(limit, params, velocity)
    return float(x @ form @ x) / 2


def current(limit: Any, params: Any, velocity: Any) -> tuple[Any, Any]:
    """See `Limit.current`."""
    parts = decomposition(limit)
    moved = -parts.Q @ parts.U @ _away(limit, params, velocity)
    of_theta, of_v = np.split(moved, 2)
    if not _along.is_whole(limit):
        return of_theta, of_v
    return limit.basin.like(of_theta, params), limit.basin.like(of_v, velocity)
