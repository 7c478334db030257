"""Exact mean escape times of one parameter: of the diffusion by quadrature, of its steps by an integral equation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ..._learning_rates import check_learning_rates
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape
from .._numbers import check_choice
from ._noise import Noise, check_noise
from ._resolved import Resolved
from ._surface import Surface

CALCULUS = {"ito": 0.0, "stratonovich": 0.5, "anti-ito": 1.0}
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)
_RISE = 45.0  # how far the potential has to rise, in units of D, for what lies beyond to weigh nothing
_PANELS = 100_000  # that a time is computed on, at most
_PER_WIDTH = 12.0  # nodes of the integral equation in one standard deviation of a step
_MOST_NODES = 6000
_LONGEST = 1e12  # steps that an integral equation resolves in double precision


def exact_time(
    landscape: Landscape,
    start: Any,
    stop: Any,
    noise: Noise,
    learning_rates: ArrayLike,
    *,
    reflect: Any = None,
    calculus: str = "ito",
    log: bool = False,
) -> np.ndarray:
    """Return the exact mean time that the diffusion of one parameter takes from a start to a stop, by quadrature.

    T = ∫_{start}^{stop} dy e^{Φ(y)} D(y)^{−α} ∫_{reflect}^y dz e^{−Φ(z)} D(z)^{α−1}, with Φ' = l'/D.

    Args:
        landscape: the loss and its data, with one parameter.
        start: where it starts, a pytree like all parameters.
        stop: where it is first looked for.
        noise: made by `sgd`, `sgld` or their sum; "cumulants" has no diffusion and is refused.
        learning_rates: η, one or more.
        reflect: a wall behind the start, that reflects; none by default, where the loss has to rise without end.
        calculus: how the stochastic equation is read: "ito" (α = 0, what SGD is), "stratonovich" (½), "anti-ito" (1).
        log: return the logarithm, for times beyond the range of numbers.

    Returns:
        Times t = η · steps, shape (R,), or their logarithms.

    Raises:
        ArgumentError: more than one parameter, or another argument that is not allowed.
        LandscapeError: the loss does not confine the parameter, noise vanishes on the way, or a time exceeds the range
            of numbers.

    References:
        Gardiner, "Stochastic Methods", section 5.5. The formula of the specification's F10.

    Examples:
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, _ = toys.double_well(0.1, 1.0)
        >>> left, right = -1.0466805318, 0.9456492739
        >>> print(esc.exact_time(well, left, right, esc.sgld(0.03), 0.01).round(2))
        [663485.21]
    """
    alpha = CALCULUS[check_choice("calculus", calculus, tuple(CALCULUS))]
    line = _Line(landscape, start, stop, reflect, noise, learning_rates)
    logs = np.array([_log_time(line, share, alpha) for share in line.shares])
    if log:
        return logs
    if np.any(logs > 709):
        raise LandscapeError(
            f"The mean time is e^{logs.max():.6g}, beyond the range of numbers: ask for its logarithm, log=True."
        )
    return np.exp(logs)


def exact_steps(
    landscape: Landscape,
    start: Any,
    stop: Any,
    noise: Noise,
    learning_rates: ArrayLike,
    *,
    reflect: Any = None,
) -> np.ndarray:
    """Return the exact mean number of steps until a chain with normal noise first lies beyond a stop.

    The chain is θ ← θ − η l'(θ) + √(2ηD(θ)) ξ with standard normal ξ. Its mean time solves T = 1 + KT, an integral
    equation on the points that have not escaped, which quadrature makes a linear system.

    Args:
        landscape: the loss and its data, with one parameter.
        start: where it starts.
        stop: beyond which it has escaped.
        noise: made by `sgd`, `sgld` or their sum.
        learning_rates: η, one or more.
        reflect: a wall that throws the chain back by as much as it has crossed it; none by default.

    Returns:
        Numbers of steps, shape (R,).

    Raises:
        ArgumentError: more than one parameter, or another argument that is not allowed.
        LandscapeError: steps are too short for a linear system of 6,000 points, or there are more than 10¹² of them.
    """
    line = _Line(landscape, start, stop, reflect, noise, learning_rates)
    return np.array([_steps(line, rate, share) for rate, share in zip(line.rates, line.shares, strict=True)])


class _Line:
    """A landscape of one parameter between two places, mirrored so that the stop is on the right.

    Attributes:
        start, stop: the places.
        wall: where the parameter is reflected; `None` for nowhere.
        rates: η, shape (R,).
        shares: by how much C enters D at every rate; likewise.
    """

    def __init__(
        self, landscape: Landscape, start: Any, stop: Any, reflect: Any, noise: Noise, learning_rates: ArrayLike
    ) -> None:
        check_noise(noise)
        self.rates = check_learning_rates(learning_rates)
        surface = Surface(landscape, start)
        if surface.size != 1:
            raise ArgumentError(
                f"Exact times are those of one parameter; this landscape has {surface.size}. Use esc.escape_time along "
                "a path, or esc.simulate."
            )
        if noise.batch_size is not None and noise.model == "cumulants":
            raise ArgumentError(
                "The diffusion knows the variance of slopes alone: give model='measured', or esc.escape_time for all "
                "cumulants."
            )
        self._surface, self.noise = surface, noise
        self.shares = noise.share(self.rates, surface.count)
        first, last = float(surface.start[0]), float(surface.flat(stop)[0])
        if first == last:
            raise ArgumentError(f"Start and stop are two places; both are {first:g}.")
        self._sign = 1.0 if last > first else -1.0
        self.start, self.stop = self._sign * first, self._sign * last
        self.wall = None if reflect is None else self._sign * float(surface.flat(reflect)[0])
        if self.wall is not None and self.wall > self.start:
            raise ArgumentError(f"A wall stands behind the start, away from the stop; got reflect={reflect!r}.")
        self._resolved: Resolved | None = None

    def values(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return l' and C at places of the mirrored line."""
        rows = (self._sign * places)[:, None]
        _, slope, noise, bend = self._surface.along(rows, np.ones_like(rows))
        if self.noise.model == "hessian" and self.noise.rho is not None:
            noise = self.noise.rho * np.abs(bend)
        return self._sign * slope, noise

    def diffusion(self, noise: np.ndarray, share: float) -> np.ndarray:
        """Return D from C, or raise unless it is positive."""
        found = self.noise.isotropic + share * noise
        if np.any(found <= 0) or not np.all(np.isfinite(found)):
            raise LandscapeError(
                "The noise vanishes on the way, so that the diffusion does not pass there: add injected noise, "
                "esc.sgld(D), or choose another stop or wall."
            )
        return found

    def left_end(self, share: float) -> float:
        """Return the wall, or where the potential has risen so far that nothing beyond it matters."""
        if self.wall is not None:
            return self.wall
        reach = self.stop - self.start
        for _ in range(60):
            places = np.linspace(self.start - reach, self.stop, 4001)
            slope, noise = self.values(places)
            diffusion = self.diffusion(noise, share)
            middle = 0.5 * (slope[1:] / diffusion[1:] + slope[:-1] / diffusion[:-1]) * np.diff(places)
            rise = np.concatenate([[0.0], np.cumsum(middle)])
            if not np.all(np.isfinite(rise)):
                break
            lowest = int(np.argmin(rise[: np.searchsorted(places, self.start) + 1]))
            high = np.flatnonzero(rise[: lowest + 1] > rise[lowest] + _RISE)
            if high.size:
                return float(places[high[-1]])
            reach *= 1.5
        raise LandscapeError(
            "The loss does not rise enough behind the start to hold the parameter there: give a wall, reflect=..."
        )

    def resolved(self, left: float) -> Resolved:
        """Return l' and C as polynomials on panels, from a place to the stop."""
        if self._resolved is None or self._resolved.first > left:
            self._resolved = Resolved(self.values, left, self.stop)
        return self._resolved


def _log_time(line: _Line, share: float, alpha: float) -> float:
    """Return the logarithm of the mean time at one rate.

    R(y) = e^{Φ(y)} ∫ e^{−Φ} D^{α−1} is carried from panel to panel as a logarithm, so that nothing over- or underflows.
    """
    left = line.left_end(share)
    resolved = line.resolved(left)
    edges = resolved.refined(left, [line.start], lambda slope, noise: np.abs(slope) / line.diffusion(noise, share))
    if len(edges) > _PANELS:
        raise LandscapeError(f"The potential rises by more than {_PANELS} D on the way: there is no time to compute.")
    widths = np.diff(edges)
    places = edges[:-1, None] + widths[:, None] * (1 + _NODES) / 2
    slope, noise = (part.reshape(places.shape) for part in resolved(places.ravel()))
    diffusion = line.diffusion(noise, share)
    half = widths[:, None] / 2
    rises = half * (slope / diffusion) @ _PARTIAL.T  # Φ at the nodes, from the left edge of each panel
    whole = (half * (slope / diffusion)) @ _WEIGHTS
    inner = np.log(np.maximum(half * (np.exp(-rises) * diffusion ** (alpha - 1)) @ _PARTIAL.T, 1e-300))
    total = np.log((half * np.exp(-rises) * diffusion ** (alpha - 1)) @ _WEIGHTS)
    carried = np.concatenate([[-np.inf], _carried(whole, total)[:-1]])  # log R at left edges
    at_nodes = rises + np.logaddexp(carried[:, None], inner)
    is_outer = edges[:-1] >= line.start - 1e-12 * (line.stop - line.start)
    weights = np.log(half * _WEIGHTS) - alpha * np.log(diffusion)
    return float(special.logsumexp((at_nodes + weights)[is_outer]))


def _carried(rises: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return log R at the right edge of every panel: R ← e^{rise} (R + total)."""
    heights = np.cumsum(rises)
    before = np.concatenate([[0.0], heights[:-1]])
    return heights + np.logaddexp.accumulate(totals - before)


def _partial_integrals() -> np.ndarray:
    """Return the matrix from values at Gauss nodes to integrals of their polynomial from −1 to each node."""
    degree = len(_NODES)
    basis = np.polynomial.legendre.legvander(_NODES, degree - 1)
    primitives = np.stack(
        [
            np.polynomial.legendre.legval(_NODES, np.polynomial.legendre.legint(unit, lbnd=-1))
            for unit in np.eye(degree)
        ],
        axis=1,
    )
    return primitives @ np.linalg.inv(basis)


_PARTIAL = _partial_integrals()


def _steps(line: _Line, rate: float, share: float) -> float:
    left = line.left_end(share)
    resolved = line.resolved(left)
    widths = _width(line, rate, share)(*resolved(np.linspace(left, line.stop, 4001)))
    panels = int(np.ceil((line.stop - left) / widths.min() * _PER_WIDTH / len(_NODES)))
    if panels * len(_NODES) > _MOST_NODES:
        raise LandscapeError(
            f"One step is {widths.min():.3g} wide, over a distance of {line.stop - left:.3g}: the exact chain takes "
            f"{panels * len(_NODES):,} points and {_MOST_NODES:,} are allowed. Continuous time is close to it at such "
            "steps: use esc.exact_time."
        )
    edges = np.linspace(left, line.stop, panels + 1)
    half = np.diff(edges)[:, None] / 2
    places = (edges[:-1, None] + half * (1 + _NODES)).ravel()
    weights = (half * _WEIGHTS).ravel()
    slope, noise = resolved(places)
    deviation = _width(line, rate, share)(slope, noise)
    kernel = _density(places[None, :], (places - rate * slope)[:, None], deviation[:, None])
    if line.wall is not None:
        kernel += _density(2 * left - places[None, :], (places - rate * slope)[:, None], deviation[:, None])
    times = np.linalg.solve(np.eye(len(places)) - kernel * weights, np.ones(len(places)))
    slope, noise = resolved(np.array([line.start]))
    deviation = _width(line, rate, share)(slope, noise)
    row = _density(places, line.start - rate * slope, deviation)
    if line.wall is not None:
        row += _density(2 * left - places, line.start - rate * slope, deviation)
    found = float(1 + row * weights @ times)
    if not 0 < found < _LONGEST:
        raise LandscapeError(
            f"More than {_LONGEST:g} steps are not resolved by an integral equation in double precision: use "
            "esc.exact_time, or a larger learning rate."
        )
    return found


def _width(line: _Line, rate: float, share: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda slope, noise: np.sqrt(2 * rate * line.diffusion(noise, share))


def _density(x: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
