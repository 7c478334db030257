"""The next order in D of the time of an escape with constant isotropic noise: three vacuum diagrams at each end.

c₁ = c_a − c_b, with z ~ N(0, |H|⁻¹) and L_k the k-th derivative of the loss along z: c = E[−L₄/24 + ½(L₃/6)²], which
is the figure-eight, the dumbbell and the sunset of vacuum diagrams with the propagator |H|⁻¹, at −1/8, 1/8 and 1/12. At
the saddle the unstable direction e takes part, and c_b has the two more that `_unstable` returns, at −1/4 and −1/2.
"""

from functools import partial
from typing import Any

import jax
import numpy as np

from ..._keys import check_key
from ...errors import LandscapeError
from ...estimates import Estimate
from ...landscapes import Landscape
from ...spectra import Krylov
from ._critical_point import FLAT
from ._surface import DENSE, Surface
from ._vacuum_diagrams import Diagrams

EXACT_TENSORS = 30  # parameters up to which all third and fourth derivatives are contracted
_NEARLY = 1e-3  # of rms‖∇l_n‖, below which a point that is given counts as critical
_ROUNDED = 1e-6  # of the largest curvature times the size of the point: a gradient of single precision's rounding
_KRYLOV = 96  # steps of Lanczos' method for |H|^(−½), beyond 1,500 parameters


def vacuum_diagrams(surface: Surface, point: np.ndarray) -> Diagrams:
    """Return all diagrams of a minimum or a saddle by contracting all derivatives, for few parameters."""
    rows, values, vectors = _scaled_modes(surface, point)
    size, sizes = len(rows), np.abs(values)
    thirds = np.stack([surface.third(point, row, rows) for row in rows]) @ rows.T
    first, second = np.repeat(rows, size, axis=0), np.tile(rows, (size, 1))
    ends = np.einsum("iij->j", thirds)
    plain = float(surface.fourth(point, first, second).sum()), float(ends @ ends), float(np.sum(thirds**2))
    if values[0] > 0:
        return Diagrams(*plain)
    return Diagrams(*plain, *_unstable(surface, point, rows, sizes, vectors[0]), index=1)


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
        a, b = (Estimate(vacuum_diagrams(surface, at).total, None, 0, "exact") for at in (minimum, saddle))
        return a, b
    check_key(key, f"Beyond {EXACT_TENSORS} parameters the next order is an average over random directions")
    keys = jax.random.split(key, 3)
    at_minimum = _sampled(surface, minimum, num_samples, keys[0])
    at_saddle = _sampled(surface, saddle, num_samples, keys[1])
    if surface.size <= DENSE:
        rows, values, vectors = _scaled_modes(surface, saddle)
        dumbbell, sunset = _unstable(surface, saddle, rows, np.abs(values), vectors[0])
        at_saddle = at_saddle - sunset / 2 - dumbbell / 4
    else:
        at_saddle = at_saddle - _unstable_sampled(surface, saddle, num_samples, keys[2])
    return Estimate.from_replicates(at_minimum, "pairing"), Estimate.from_replicates(at_saddle, "pairing")


def _scaled_modes(surface: Surface, point: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return eigenvectors in rows over √|h|, the eigenvalues h and the eigenvectors themselves, lowest first."""
    values, vectors = np.linalg.eigh(surface.hessian(point))
    return vectors.T / np.sqrt(np.abs(values))[:, None], values, vectors.T


def _unstable(
    surface: Surface, saddle: np.ndarray, rows: np.ndarray, sizes: np.ndarray, direction: np.ndarray
) -> tuple[float, float]:
    """Return (Σ T_ii/h_i)²/λ and Σ T_ij²/(h_i h_j (h_i + h_j + λ)) with T = ∇³l[e, ·, ·] in the eigenbasis of H_b."""
    third = surface.third(saddle, direction, rows) @ rows.T
    lam = sizes[0]
    return float(np.trace(third) ** 2 / lam), float(np.sum(third**2 / (sizes[:, None] + sizes + lam)))


def _draws(surface: Surface, point: np.ndarray, num_samples: int, key: Any, decay: float = 0.0) -> np.ndarray:
    """Return z ~ N(0, |H|⁻¹ e^{−u|H|}) in rows; u is `decay`."""
    normal = np.asarray(jax.random.normal(key, (num_samples, surface.size)), dtype=float)
    if surface.size <= DENSE:
        rows, values, _ = _scaled_modes(surface, point)
        sizes = np.abs(values)
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
    """Return unbiased draws of a quarter of the dumbbell and half the sunset of `_unstable`, without matrices.

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
    """Return the vacuum diagrams at a minimum or at a saddle of index 1, with the propagator |H|⁻¹.

    They are the next order in D of `escape_time`, 1 + D(c_a − c_b), whose c is their `total`: two loops at one node,
    two loops joined by an edge, and two nodes joined by three edges. At a saddle two more have an edge that stands for
    the unstable direction alone.

    Args:
        landscape: the loss and its data, of up to 30 parameters.
        params: the point.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: too many parameters, a gradient that is not 0, a curvature of 0, or two negative ones.

    Examples:
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, _ = toys.double_well(0.1, 1.0)
        >>> a, b = (esc.diagrams_at(well, place) for place in (-1.0466805318, 0.1010312579))
        >>> print(f"{a.total - b.total:.4f}")
        1.4260
    """
    surface = Surface(landscape, params)
    if surface.size > EXACT_TENSORS:
        raise LandscapeError(
            f"Derivatives are contracted for up to {EXACT_TENSORS} parameters; got {surface.size}. esc.escape_time "
            "samples the next order: its prefactor with order=2 less that with order=1."
        )
    point = surface.flat(params)
    values = np.linalg.eigvalsh(surface.hessian(point))
    largest = float(np.abs(values).max())
    gradient, scale = float(np.linalg.norm(surface.gradient(point)[1])), surface.gradient_scale(point)
    if gradient > max(_NEARLY * scale, _ROUNDED * largest * (1 + float(np.linalg.norm(point)))):
        raise LandscapeError(
            f"Vacuum diagrams belong to a minimum or a saddle, where the gradient is 0; here ‖G‖ = {gradient:.3g}, of "
            f"rms‖∇l_n‖ = {scale:.3g}. Give the params of a leg's minimum or saddle, or of esc.find_saddle(...)."
        )
    if np.abs(values).min() <= FLAT * largest:
        raise LandscapeError(f"A curvature is 0 up to rounding ({values.min():.3g}): add a penalty to the loss.")
    if np.sum(values < 0) > 1:
        raise LandscapeError(
            f"An escape leads over a saddle with one negative curvature; the lowest here are {values[0]:.3g} and "
            f"{values[1]:.3g}. Start nearer to the barrier, with esc.find_saddle."
        )
    return vacuum_diagrams(surface, point)
