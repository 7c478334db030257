"""What the directions across a straight path add to an escape time, where noise is not the same in all directions."""

import numpy as np
from scipy import integrate, linalg
from scipy.interpolate import CubicSpline

from ...errors import LandscapeError
from ._along_track import Track
from ._noise import Noise

STRAIGHT = 0.1  # radians by which a tangent may turn
MOST = 40  # parameters, as p²/2 numbers are integrated along the path
_PLACES = 161
_EDGE = 1e-5  # of the length, left out at both ends, where the equation is singular


def log_factor_straight(track: Track, noise: Noise, shares: np.ndarray) -> np.ndarray:
    """Return ½∫tr(S H_⊥′)/D_e dx for every share of C in D, shape (R,).

    S is the covariance across the path of the likeliest way up: (G·e)S′ = 2D_⊥ − H_⊥S − SH_⊥ − (G·e/D_e) S H_⊥′ S,
    from the solution of Lyapunov's equation at the minimum. It is the 1 of the printed theory only where H_⊥ does not
    change along the path.

    Raises:
        LandscapeError: the path is not straight, has too many parameters, or S runs away.

    References:
        Corrects Xie, Sato and Sugiyama, equations (78)–(82).
    """
    surface = track.surface
    if track.turn > STRAIGHT:
        raise LandscapeError(
            f"transverse='straight' is for paths whose tangent turns by at most {STRAIGHT} rad; this one turns by "
            f"{track.turn:.3g}. Use transverse='none', and know that the factor is left out."
        )
    if surface.size > MOST:
        raise LandscapeError(
            f"transverse='straight' integrates p²/2 numbers along the path, for p ≤ {MOST}; here p = {surface.size}. "
            "Use transverse='none', and know that the factor is left out."
        )
    ends = track.saddle - track.minimum
    axis = ends / np.linalg.norm(ends)
    across = linalg.null_space(axis[None])
    places = np.linspace(0, 1, _PLACES)
    points = track.minimum + places[:, None] * ends
    _, slope, along, _ = surface.along(points, np.tile(axis, (_PLACES, 1)))
    bends = np.stack([across.T @ surface.hessian(point) @ across for point in points])
    needs_noise = noise.batch_size is not None
    if needs_noise and noise.model == "hessian":
        raise LandscapeError("model='hessian' has no noise across the path at its inflection: use transverse='none'.")
    noises = np.stack([across.T @ surface.covariance(point) @ across for point in points]) if needs_noise else 0 * bends
    arc = places * np.linalg.norm(ends)
    splines = [CubicSpline(arc, values) for values in (slope, along, bends, noises)]
    alike = not noise.isotropic  # S is then proportional to D, and the factor is one for all rates
    factors = [_one(splines, arc[-1], noise.isotropic, share) for share in (shares[:1] if alike else shares)]
    return np.array(factors * len(shares) if alike else factors)


def _one(splines: list[CubicSpline], length: float, isotropic: float, share: float) -> float:
    slope, along, bends, noises = splines
    changes = bends.derivative()
    size = bends(0.0).shape[0]
    upper = np.triu_indices(size)
    scale = isotropic + share * float(along(0.0))

    def matrix(flat: np.ndarray) -> np.ndarray:
        full = np.zeros((size, size))
        full[upper] = flat
        return full + np.triu(full, 1).T

    def diffusion(x: float) -> np.ndarray:
        return (isotropic * np.eye(size) + share * noises(x)) / scale

    def change(x: float, state: np.ndarray) -> np.ndarray:
        s, h, dh, g = matrix(state[:-1]), bends(x), changes(x), float(slope(x))
        d = (isotropic + share * float(along(x))) / scale
        rate = (2 * diffusion(x) - h @ s - s @ h) / g - s @ dh @ s / d
        return np.concatenate([rate[upper], [np.trace(s @ dh) / (2 * d)]])

    start = linalg.solve_continuous_lyapunov(bends(0.0), 2 * diffusion(0.0))
    found = integrate.solve_ivp(
        change,
        (_EDGE * length, (1 - _EDGE) * length),
        np.concatenate([start[upper], [0.0]]),
        method="Radau",
        rtol=1e-8,
        atol=1e-10 * np.abs(start).max(),
    )
    if not found.success or not np.all(np.isfinite(found.y)):
        raise LandscapeError(
            "The covariance across the path runs away: the likeliest path is another one. Use esc.least_action, or "
            "transverse='none'."
        )
    return float(found.y[-1, -1])
