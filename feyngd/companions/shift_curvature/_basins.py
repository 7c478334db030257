"""Losses with a few basins in one dimension, the paper's examples, to see what the temperature does to them."""

from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from numpy.typing import ArrayLike

from ...errors import ArgumentError
from .._numbers import check_number
from ._diffusion import Diffusion


def basins(
    minima: ArrayLike, weights: ArrayLike, widths: ArrayLike, *, shift: float, confinement: float = 1e-3
) -> Diffusion:
    """Return a loss with a basin around every minimum, and a test loss that is shifted against it.

    U(θ) = −Σ_i w_i φ((θ − m_i)/σ_i)/σ_i + cθ² with the standard normal density φ, V(θ) = U(θ − s), and D = 1.

    Args:
        minima: m, shape (K,), in the unit of θ. The basins' minima are near these.
        weights: w > 0, shape (K,).
        widths: σ > 0, shape (K,), in the unit of θ.
        shift: s, in the unit of θ.
        confinement: c ≥ 0.

    Raises:
        ArgumentError: shapes differ, or a number is not finite or has the wrong sign.

    References:
        Bradley et al., figures 4 and 6. The captions give minima, weights and widths but no formula. Normalised
        Gaussians are the one reading that fits every caption; the confinement and one shift for all basins are ours.

    Examples:
        >>> from feyngd.companions.shift_curvature import basins
        >>> print(f"{basins([0.0], [0.1], [0.1], shift=0.03).loss(np.zeros(1)):.4f}")
        -0.3989
    """
    places, depths, scales = (np.atleast_1d(np.asarray(each, dtype=float)) for each in (minima, weights, widths))
    if not places.ndim == 1 or not places.shape == depths.shape == scales.shape:
        raise ArgumentError(
            f"Minima, weights and widths are of one shape (K,); got {places.shape}, {depths.shape}, {scales.shape}."
        )
    if not (np.isfinite([*places, *depths, *scales, shift]).all() and (depths > 0).all() and (scales > 0).all()):
        raise ArgumentError(
            f"Minima and shift are finite, weights and widths above 0; got minima={minima!r}, "
            f"weights={weights!r}, widths={widths!r}, shift={shift!r}."
        )
    steepness = check_number("confinement", confinement, least=0)

    def loss(theta: Any) -> Any:
        return -jnp.sum(depths * norm.pdf(theta, places, scales)) + steepness * jnp.sum(theta**2)

    def test_loss(theta: Any) -> Any:
        return loss(theta - shift)

    return Diffusion(loss, lambda theta: jnp.ones((1, 1)), dimension=1, test_loss=test_loss)


# Figures 4 and 6: arguments of `basins`.
FIGURES = MappingProxyType(
    {
        "left": {"minima": (-1.0, 1.0), "weights": (0.021, 0.1), "widths": (0.1, 0.5), "shift": 0.1},
        "right": {"minima": (-1.0, 1.0), "weights": (0.019, 0.1), "widths": (0.1, 0.5), "shift": 0.1},
        "one basin": {"minima": (0.0,), "weights": (0.1,), "widths": (0.1,), "shift": 0.03},
        "three basins": {
            "minima": (-1.0, 0.0, 1.0),
            "weights": (0.1, 0.051, 0.3),
            "widths": (0.1, 0.05, 0.3),
            "shift": 0.1,
        },
    }
)
