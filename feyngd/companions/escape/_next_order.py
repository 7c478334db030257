"""The next order in D of the time of an escape with constant isotropic noise: three vacuum diagrams at each end.

c₁ = c_a − c_b, with z ~ N(0, |H|⁻¹) and L_k the k-th derivative of the loss along z: c = E[−L₄/24 + ½(L₃/6)²], which
is the figure-eight, the dumbbell and the sunset of vacuum diagrams with the propagator |H|⁻¹, at −1/8, 1/8 and 1/12. At
the saddle the unstable direction e takes part, and c_b has the correction that `_unstable` returns.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from ..._keys import check_key
from ...errors import LandscapeError
from ...estimates import Estimate
from ...landscapes import Landscape
from ...spectra import Krylov
from ._surface import DENSE, Surface

EXACT_TENSORS = 30  # parameters up to which all third and fourth derivatives are contracted
_KRYLOV = 96  # steps of Lanczos' method for |H|^(−½), beyond 1,500 parameters


@dataclass(frozen=True)
class Diagrams:
    """The three vacuum diagrams at one end, exact.

    Attributes:
        figure_eight: l_iijj/(h_i h_j).
        dumbbell: l_iij l_jkk/(h_i h_j h_k).
        sunset: l_ijk²/(h_i h_j h_k).
    """

    figure_eight: float
    dumbbell: float
    sunset: float

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value:.6f}" for name, value in vars(self).items())
        return f"Diagrams({values})"

    @property
    def total(self) -> float:
        """−1/8 figure-eight + 1/8 dumbbell + 1/12 sunset: E[−L₄/24 + ½(L₃/6)²]."""
        return -self.figure_eight / 8 + self.dumbbell / 8 + self.sunset / 12


def vacuum_diagrams(surface: Surface, point: np.ndarray) -> Diagrams:
    """Return the three diagrams by contracting all derivatives, for few parameters."""
    rows = _scaled_modes(surface, point)[0]
    size = len(rows)
    thirds = np.stack([surface.third(point, row, rows) for row in rows]) @ rows.T
    first, second = np.repeat(rows, size, axis=0), np.tile(rows, (size, 1))
    ends = np.einsum("iij->j", thirds)
    return Diagrams(float(surface.fourth(point, first, second).sum()), float(ends @ ends), float(np.sum(thirds**2)))


def next_order(
    surface: Surface, minimum: np.ndarray, saddle: np.ndarray, num_samples: int, key: Any
) -> tuple[Estimate, Estimate]:
    """Return c_a and c_b: exact up to 30 parameters, else averages over draws of z.

    Args:
        surface: the landscape.
        minimum: a.
        saddle: b, of index 1.
        num_samples: how many draws.
        key: a JAX random key, needed beyond 30 parameters.

    Raises:
        ArgumentError: the key is missing where it is needed.
    """
    if surface.size <= EXACT_TENSORS:
        at_saddle = vacuum_diagrams(surface, saddle).total - _unstable(surface, saddle)
        return tuple(  # type: ignore[return-value]
            Estimate(value, None, 0, "exact") for value in (vacuum_diagrams(surface, minimum).total, at_saddle)
        )
    check_key(key, f"Beyond {EXACT_TENSORS} parameters the next order is an average over random directions")
    keys = jax.random.split(key, 3)
    a = _sampled(surface, minimum, num_samples, keys[0])
    b = _sampled(surface, saddle, num_samples, keys[1])
    if surface.size <= DENSE:
        b = b - _unstable(surface, saddle)
    else:
        b = b - _unstable_sampled(surface, saddle, num_samples, keys[2])
    return Estimate.from_replicates(a, "pairing"), Estimate.from_replicates(b, "pairing")


def _scaled_modes(surface: Surface, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvectors in rows over √|h|, the sizes |h| and the eigenvectors themselves, lowest first."""
    values, vectors = np.linalg.eigh(surface.hessian(point))
    sizes = np.abs(values)
    return vectors.T / np.sqrt(sizes)[:, None], sizes, vectors.T


def _unstable(surface: Surface, saddle: np.ndarray) -> float:
    """Return ½Σ T_ij²/(h_i h_j (h_i + h_j + λ)) + ¼(Σ T_ii/h_i)²/λ with T = ∇³l[e, ·, ·] in the eigenbasis of H_b."""
    rows, sizes, vectors = _scaled_modes(surface, saddle)
    third = surface.third(saddle, vectors[0], rows) @ rows.T
    lam = sizes[0]
    return float(0.5 * np.sum(third**2 / (sizes[:, None] + sizes + lam)) + 0.25 * np.trace(third) ** 2 / lam)


def _draws(surface: Surface, point: np.ndarray, num_samples: int, key: Any, decay: float = 0.0) -> np.ndarray:
    """Return z ~ N(0, |H|⁻¹ e^{−u|H|}) in rows; u is `decay`."""
    normal = np.asarray(jax.random.normal(key, (num_samples, surface.size)), dtype=float)
    if surface.size <= DENSE:
        rows, sizes, _ = _scaled_modes(surface, point)
        return normal @ (np.exp(-decay * sizes / 2)[:, None] * rows)
    spaces = Krylov(partial(surface.products, point), normal, _KRYLOV)
    while spaces.steps < spaces.most_steps and not spaces.is_complete:
        spaces.grow()
    return spaces.apply(lambda h: np.exp(-decay * np.abs(h) / 2) / np.sqrt(np.maximum(np.abs(h), 1e-300)))


def _sampled(surface: Surface, point: np.ndarray, num_samples: int, key: Any) -> np.ndarray:
    """Return −L₄/24 + ½(L₃/6)² for every draw."""
    third, fourth = surface.third_and_fourth(point, _draws(surface, point, num_samples, key))
    return -fourth / 24 + (third / 6) ** 2 / 2


def _unstable_sampled(surface: Surface, saddle: np.ndarray, num_samples: int, key: Any) -> np.ndarray:
    """Return unbiased draws of what `_unstable` sums, without matrices.

    1/(h_i + h_j + λ) is an integral over e^{−u(h_i + h_j + λ)}, so that the first sum is the mean of (z·Tz')²/2λ over u
    of mean 1/λ and independent z, z' of covariance |H|⁻¹e^{−u|H|}; ΣT_ii/h_i is the mean of z·Tz.
    """
    for_mode, for_times, for_pairs, for_traces = jax.random.split(key, 4)
    start = np.asarray(jax.random.normal(for_mode, (1, surface.size)), dtype=float)
    space = Krylov(partial(surface.products, saddle), start, _KRYLOV)
    while space.steps < space.most_steps and not space.is_complete:
        space.grow()
    values, _, modes = space.ritz()
    lam, direction = abs(values[0, 0]), modes[0, 0]
    times = np.asarray(jax.random.exponential(for_times, (num_samples,)), dtype=float) / lam
    found = np.empty(num_samples)
    for i, (time, one) in enumerate(zip(times, jax.random.split(for_pairs, num_samples), strict=True)):
        pair = _draws(surface, saddle, 2, one, float(time))
        found[i] = (surface.third(saddle, direction, pair[:1])[0] @ pair[1]) ** 2 / (2 * lam)
    z = _draws(surface, saddle, 2 * num_samples, for_traces)
    traces = np.sum(surface.third(saddle, direction, z) * z, axis=1)
    return found + 0.25 * traces[:num_samples] * traces[num_samples:] / lam


def diagrams_at(landscape: Landscape, params: Any) -> Diagrams:
    """Return the three vacuum diagrams at a minimum or saddle, with the propagator |H|⁻¹.

    In the notation of diagrams their pictures are those of `feyngd.Diagram` closed upon themselves: two loops at one
    node, two loops joined by an edge, and two nodes joined by three edges.

    Args:
        landscape: the loss and its data, of up to 30 parameters.
        params: the point.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: too many parameters, or a curvature of 0.
    """
    surface = Surface(landscape, params)
    if surface.size > EXACT_TENSORS:
        raise LandscapeError(f"Derivatives are contracted for up to {EXACT_TENSORS} parameters; got {surface.size}.")
    values = np.linalg.eigvalsh(surface.hessian(surface.start))
    if np.abs(values).min() <= 1e-10 * np.abs(values).max():
        raise LandscapeError(f"A curvature is 0 up to rounding ({values.min():.3g}): add a penalty to the loss.")
    return vacuum_diagrams(surface, surface.start)
