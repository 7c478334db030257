"""What the exponents of escape times are integrals of: slope and noise between a minimum and a saddle."""

from functools import cached_property

import numpy as np

from ...errors import LandscapeError
from ...kinks import Kink
from ._escape_path import Leg
from ._noise import Noise
from ._resolved import Resolved
from ._string import Curve
from ._surface import Surface

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_PANELS = 32
_SILENT = 1e-12  # of the largest noise on the way, below which there is none
_LOOKS = 9  # places where the direction of the noise is compared with the path's
CONSTANT = 1e-9  # relative change of noise that counts as none
EFFECTIVE = 10.0  # examples that an exponential average has to be carried by
_ROUNDS = 200


class Track:
    """The way from the minimum of a leg to its saddle, at quadrature nodes.

    Args:
        surface: the landscape.
        leg: the leg.

    Attributes:
        places: arc lengths of the nodes, shape (n,); `weights` integrate over them.
        points, tangents: shape (n, p).
        slope, noise, curvature: G·e, C_e and H_e at the nodes.
        ends: the tangents at a and b, shape (2, p).
        barrier: ΔL.
        curvatures: H_ae and λ.
    """

    def __init__(self, surface: Surface, leg: Leg) -> None:
        self.surface, self.leg = surface, leg
        curve = Curve(leg.track)
        last = curve.arc[leg.track_saddle]
        edges = np.linspace(0.0, last, _PANELS + 1)
        if surface.size == 1:
            edges = np.unique(np.concatenate([edges, self._jumps(curve, last)]))
        half = np.diff(edges)[:, None] / 2
        at = (edges[:-1, None] + half * (1 + _NODES)).ravel()
        self.places, self.last = at, float(last)
        self.points, self.tangents = curve.points(at), curve.tangents(at)
        self.weights = (half * _WEIGHTS).ravel() * curve.speeds(at)
        _, self.slope, self.noise, self.curvature = surface.along(self.points, self.tangents)
        self.minimum, self.saddle = (surface.flat(point.params) for point in (leg.minimum, leg.saddle))
        first, end = curve.tangents(np.array([0.0, last]))
        unstable = surface.flat(leg.saddle.direction)
        self.ends = np.stack([first, unstable if unstable @ end > 0 else -unstable])
        _, _, self.end_noise, bends = surface.along(np.stack([self.minimum, self.saddle]), self.ends)
        self.curvatures = float(bends[0]), float(abs(bends[1]))
        self.barrier = leg.barrier

    def _jumps(self, curve: Curve, last: float) -> np.ndarray:
        """Return where the noise of one parameter jumps."""

        def functions(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            _, slope, noise, _ = self.surface.along(curve.points(at), curve.tangents(at))
            return slope, noise

        return Resolved(functions, 0.0, float(last)).jumps

    @property
    def turn(self) -> float:
        """The largest angle between the tangents on the way and that at the minimum."""
        return float(np.arccos(np.clip(self.tangents @ self.ends[0], -1, 1)).max())

    def kinks(self) -> tuple[Kink, ...]:
        """Return where the loss is not smooth within reach of the way."""
        looks = np.linspace(0, len(self.points) - 1, _LOOKS).astype(int)
        return self.surface.kinks(np.concatenate([self.minimum[None], self.points[looks], self.saddle[None]]))

    def check_noise(self, noise: Noise) -> None:
        """Raise `LandscapeError` where there is no noise along the path at its ends."""
        if noise.batch_size is None or noise.isotropic:
            return
        if noise.model == "hessian":
            return
        for name, value in zip(("minimum", "saddle"), self.end_noise, strict=True):
            if value <= _SILENT * self.noise.max():
                raise LandscapeError(
                    f"SGD has no noise along the path at the {name}: C_e = {value:.3g} there, up to "
                    f"{self.noise.max():.3g} on the way. Symmetric and interpolating points are like that: add "
                    "injected noise, esc.sgld(D), or take another path."
                )

    def diffusions(self, noise: Noise, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return D_e at the ends, shape (R, 2), and at the nodes, shape (R, n)."""
        ends, nodes = self.end_noise, self.noise
        if noise.model == "hessian" and noise.rho is not None:
            ends, nodes = noise.rho * self._hessian_noise, noise.rho * np.abs(self.curvature)
        return noise.isotropic + np.outer(shares, ends), noise.isotropic + np.outer(shares, nodes)

    @cached_property
    def _hessian_noise(self) -> np.ndarray:
        """Return e·|H|e at the ends, with absolute eigenvalues where matrices are formed."""
        if not self.surface.is_dense:
            return np.array(self.curvatures)
        found = []
        for point, e in zip((self.minimum, self.saddle), self.ends, strict=True):
            values, vectors = np.linalg.eigh(self.surface.hessian(point))
            found.append(np.sum(np.abs(values) * (vectors.T @ e) ** 2))
        return np.array(found)

    def is_isotropic(self, noise: Noise) -> bool:
        """Whether D is the same number times the identity everywhere on the way."""
        if noise.batch_size is None:
            return True
        if noise.model == "hessian":
            return False
        every = np.concatenate([self.noise, self.end_noise])
        if np.ptp(every) > CONSTANT * every.max():
            return False
        if self.surface.size == 1:
            return True
        if not self.surface.is_dense:
            return False
        looks = np.linspace(0, len(self.points) - 1, 5).astype(int)
        points = [self.minimum, *self.points[looks], self.saddle]
        target = every.mean() * np.eye(self.surface.size)
        return all(
            np.linalg.norm(self.surface.covariance(point) - target) <= CONSTANT * np.linalg.norm(target)
            for point in points
        )

    def misalignment(self, noise: Noise, share: float) -> float:
        """Return the largest ‖De − D_ee e‖/‖De‖ on the way: noise across that is correlated with noise along."""
        if noise.batch_size is None or self.surface.size == 1:
            return 0.0
        worst = 0.0
        for i in np.linspace(0, len(self.points) - 1, _LOOKS).astype(int):
            e = self.tangents[i]
            image = noise.isotropic * e + share * self.surface.noise_products(self.points[i], e[None])[0]
            size = float(np.linalg.norm(image))
            worst = max(worst, float(np.linalg.norm(image - (image @ e) * e)) / max(size, 1e-300))
        return worst

    def cumulant_exponents(self, noise: Noise, rates: np.ndarray) -> np.ndarray:
        """Return (B/η)∫q dx with q ≠ 0 from log mean_n e^{−q g_n} + (B/η) D₀ q² = 0, for every rate.

        Raises:
            LandscapeError: no example's slope is negative somewhere, or fewer than ten examples carry the average.
        """
        batch = noise.batch_size or 1
        quadratic = [batch / rate * noise.isotropic for rate in rates] if noise.isotropic else [0.0]
        found = []
        for extra in quadratic:
            integral, effective = self.cumulants(extra)
            if effective < EFFECTIVE:
                raise LandscapeError(
                    f"The weights e^(−q g) leave {effective:.1f} effective examples of {self.surface.count}, and the "
                    f"average over all cumulants needs {EFFECTIVE:g}: a few extreme slopes decide. Use "
                    "model='measured', or more data."
                )
            found.append(integral)
        return batch / rates * np.array(found if len(found) == len(rates) else found * len(rates))

    def cumulants(self, extra: float = 0.0) -> tuple[float, float]:
        """Return ∫q dx, and the least number of effective examples, (Σw)²/Σw² with w = e^{−q g}, on the way.

        Args:
            extra: (B/η) D₀.

        Raises:
            LandscapeError: no example's slope is negative somewhere.
        """
        slopes = self.surface.slopes(self.points, self.tangents)
        q = _roots(slopes, extra)
        weights = np.exp(-q[:, None] * slopes - np.max(-q[:, None] * slopes, axis=1, keepdims=True))
        effective = weights.sum(axis=1) ** 2 / np.sum(weights**2, axis=1)
        return float(self.weights @ q), float(effective.min())


def _roots(slopes: np.ndarray, extra: float) -> np.ndarray:
    """Return q > 0 with log mean_n e^{−q g_n} + extra q² = 0 for slopes in rows, by Newton's method.

    Where an uphill slope is rounding, as at the ends, q is what the diffusion gives.
    """
    mean, square = slopes.mean(axis=1), np.mean(slopes**2, axis=1)
    lowest = slopes.min(axis=1)
    if not extra and np.any((lowest >= 0) & (mean > 0)):
        raise LandscapeError(
            "Somewhere on the path every example's loss rises, so that no minibatch of SGD steps over it: cumulants "
            "give no finite time. Add injected noise, esc.sgld(D), or take another path."
        )
    q = 2 * mean / (square - mean**2 + 2 * extra + 1e-300)

    def value(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exponents = -q[:, None] * slopes
        top = exponents.max(axis=1, keepdims=True)
        weights = np.exp(exponents - top)
        total = weights.sum(axis=1)
        log = top[:, 0] + np.log(total / slopes.shape[1])
        return log + extra * q**2, -np.sum(weights * slopes, axis=1) / total + 2 * extra * q

    # The function is convex with roots at 0 and q: from the right of q Newton's steps approach it from the right.
    for _ in range(_ROUNDS):
        f, _ = value(q)
        low = (f < 0) & (np.abs(mean) > 0)
        if not low.any():
            break
        q = np.where(low, 2 * q, q)
    for _ in range(_ROUNDS):
        f, df = value(q)
        step = np.where(np.abs(df) > 0, f / np.where(df == 0, 1, df), 0.0)
        q = q - step
        if np.all(np.abs(step) <= 1e-14 * np.abs(q) + 1e-300):
            break
    return q
