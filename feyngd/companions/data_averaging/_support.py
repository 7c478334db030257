"""Whether a density lies inside its domain and its points resolve it; nothing is integrated over a box that cuts it."""

import numpy as np

from ...errors import LandscapeError
from ._axis import Axis

NATS = 30.0  # by how much a density has fallen at both ends: e^-30 is 1e-13 of its peak
_WRONG = 1e-9  # what the points may miss of a probability, or of a logarithm of the density


def check_ends(log_densities: np.ndarray, name: str, cure: str) -> None:
    """Raise `LandscapeError` unless densities, shape (datasets, G), are 30 nats below their peaks at both ends.

    Args:
        log_densities: their logarithms, up to constants.
        name: what they are, the beginning of the message.
        cure: what to do where no domain is wide enough, its end.
    """
    falls = log_densities.max(axis=1, keepdims=True) - log_densities[:, [0, -1]]
    dataset, side = np.unravel_index(int(np.argmin(falls)), falls.shape)
    if not (least := falls[dataset, side]) >= NATS:
        raise LandscapeError(
            f"{name} has fallen by {least:.3g} nats at the {('lower', 'upper')[int(side)]} end of the domain, and "
            f"integrals take {NATS:g} at both ends. Give a wider domain; if no domain is wide enough there is no such "
            f"density: give {cure}."
        )


def check_resolved(axis: Axis, densities: np.ndarray) -> None:
    """Raise `LandscapeError` unless the points resolve normalised densities, shape (datasets, G)."""
    if (worst := float(axis.unresolved(densities).sum(axis=-1).max())) > _WRONG:
        raise LandscapeError(
            f"The points miss up to {worst:.1e} of a density, which is narrow against the domain: give a narrower "
            "domain or more panels."
        )


def check_slopes(axis: Axis, unresolved: np.ndarray, log_densities: np.ndarray, scale: float) -> None:
    """Raise `LandscapeError` unless the points resolve the slopes of potentials where their densities have not fallen.

    Args:
        axis: the points.
        unresolved: what they miss of ∇v in every panel, shape (datasets, panels).
        log_densities: shape (datasets, G).
        scale: 2/T, by which v enters the potential.
    """
    counts = axis.peaks(log_densities) > log_densities.max(axis=1, keepdims=True) - NATS
    if (worst := float(scale * (unresolved * counts).sum(axis=-1).max())) > _WRONG:
        raise LandscapeError(
            f"The points miss up to {worst:.1e} of a potential, as the noise D + β² varies fast: give a narrower "
            "domain, more panels or more injected noise."
        )
