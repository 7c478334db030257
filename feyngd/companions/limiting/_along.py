"""Vector-valued results of a limit: in parameters where all directions are known, else along directions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError, LandscapeError
from .._numbers import check_choice, check_numbers
from ._epochs import Fixed, Reshuffled
from ._paper_sde import PaperSDE
from ._results import Modes
from ._settings import Response

_PAIRS = 2**18  # of directions that are solved together
_EQUAL = 1e-9  # relative distance of roots below which damping is critical

PerPair = Callable[[Response, np.ndarray, np.ndarray], np.ndarray]


def is_whole(limit: Any) -> bool:
    """Whether every direction is known, so that results are in parameters."""
    return limit.basin.is_dense and limit.subspace is None


def center(limit: Any) -> np.ndarray:
    """Return μ as a vector of all parameters, shape (p,)."""
    basin = limit.basin
    return basin.center + _shift(limit) @ basin.vectors[: limit.num_directions]


def _shift(limit: Any) -> np.ndarray:
    """Return −K⁻¹(g* + λθ*) along directions; nothing along flat ones."""
    basin, h = limit.basin, limit.curvatures
    pull = basin.vectors[: limit.num_directions] @ (basin.slope + limit.weight_decay * basin.center)
    return -np.divide(pull, h, out=np.zeros_like(pull), where=h > limit.flat)


def require_directions(limit: Any, name: str) -> None:
    """Raise `ArgumentError` where no direction is known."""
    if not limit.num_directions:
        raise ArgumentError(f"{name} is along directions, and there are none: call basin(…, directions=k).")


def coordinates(limit: Any, params: Any, velocity: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return θ − μ and v along directions, shape (k,) each."""
    require_directions(limit, "A start")
    basin, vectors = limit.basin, limit.basin.vectors[: limit.num_directions]
    theta, v = basin.flattened(params, "params"), basin.flattened(velocity, "velocity")
    return vectors @ (theta - basin.center) - _shift(limit), vectors @ v


def transition(limit: Any, steps: int) -> np.ndarray:
    """Return what some steps make of (θ, v) along directions, shape (k, 2, 2)."""
    response = limit.response
    if isinstance(response, PaperSDE):
        return response.flow(limit.curvatures, steps)
    return response.step.power(limit.curvatures, steps)


def mean_moves(limit: Any, start: Any, lags: np.ndarray) -> np.ndarray:
    """Return |E θ_k − θ_0|² for every k, from a start (params, velocity) along known directions."""
    if not limit.basin.is_dense and limit.subspace is None:
        raise ArgumentError(
            "A start at (params, velocity) needs all directions: call basin(…, method='dense'), or give subspace=k to "
            "look at the sharpest ones alone."
        )
    state = np.stack(coordinates(limit, *start), axis=-1)
    moved = [np.einsum("kb,kb->k", transition(limit, int(k))[:, 0], state) - state[:, 0] for k in lags]
    return np.sum(np.square(moved), axis=1)


def mean(limit: Any, params: Any, velocity: Any, steps: Any) -> tuple[Any, Any]:
    """See `Limit.mean`."""
    count = check_integer("steps", steps, least=0)
    state = np.stack(coordinates(limit, params, velocity), axis=-1)
    position, speed = np.moveaxis(transition(limit, count) @ state[..., None], 1, 0)[..., 0]
    if not is_whole(limit):
        return position, speed
    vectors = limit.basin.vectors
    return (
        limit.basin.like(center(limit) + position @ vectors, params),
        limit.basin.like(speed @ vectors, velocity),
    )


def covariance(limit: Any, steps: Any, later: Any) -> np.ndarray:
    """See `Limit.covariance`."""
    require_directions(limit, "covariance")
    if steps is None:
        if later is not None:
            raise ArgumentError("later is a time after steps: give both, or neither for the stationary covariance.")
        require_curvature(limit, "covariance")
        return _assembled(limit, lambda response, h, g: response.states(h, g))
    first = check_integer("steps", steps, least=0)
    last = first if later is None else check_integer("later", later, least=0)
    if last < first:
        raise ArgumentError(f"later is at least steps={first}; got {last}.")
    return _assembled(limit, lambda response, h, g: response.between(h, g, first, last))


def _assembled(limit: Any, quantity: PerPair) -> np.ndarray:
    """Return blocks of θ and v, rotated to the parameters where all directions are known."""
    states = pairwise(limit, quantity)
    count = len(states)
    if is_whole(limit):
        vectors = limit.basin.vectors
        states = np.einsum("ijab,ip->pjab", states, vectors, optimize=True)
        states = np.einsum("pjab,jq->pqab", states, vectors, optimize=True)
    return np.moveaxis(states, [2, 0], [0, 1]).swapaxes(2, 3).reshape(2 * count, 2 * count)


def pairwise(limit: Any, quantity: PerPair) -> np.ndarray:
    """Return a quantity for all pairs of directions, times their noise, shape (k, k, ...); sums over all parts."""
    h = limit.curvatures
    count = len(h)
    block = max(1, _PAIRS // max(count, 1))
    total: Any = 0
    for part in limit.parts:
        assert part.noise.matrix is not None
        rows = []
        for first in range(0, count, block):
            found = quantity(part.response, h[first : first + block, None], h[None])
            noise = part.noise.matrix[first : first + block, :count]
            rows.append(found * noise.reshape(*noise.shape, *[1] * (found.ndim - 2)))
        total = total + part.sign * np.concatenate(rows)
    return total


def require_curvature(limit: Any, name: str) -> None:
    """Raise where a direction that is looked at has noise and no curvature; others are left at no noise."""
    noise = np.diag(limit.parts[0].noise.matrix)[: limit.num_directions]
    bad = limit.curvatures <= limit.flat
    if bad.any():
        share = float(noise[bad].sum()) / max(limit.parts[0].noise.trace, np.finfo(float).tiny)
        raise LandscapeError(
            f"{name} needs curvature > 0 along all directions that it shows; {bad.sum()} of {len(bad)} with "
            f"{share:.2g} of tr Σ have curvature below {limit.flat:.2g}. Give weight_decay, subspace=k, or ask "
            "covariance(steps)."
        )


def correlation(limit: Any, lags: np.ndarray) -> np.ndarray:
    """See `Limit.correlation`."""
    require_directions(limit, "correlation")
    require_curvature(limit, "correlation")
    total: Any = 0
    for part in limit.parts:
        assert part.noise.matrix is not None
        noise = np.diag(part.noise.matrix)[: limit.num_directions]
        every = part.response.lagged(limit.curvatures, limit.curvatures, np.append(lags, 0))[..., 0, 0]
        # Directions without noise, which have no correlation of their own, show what noise would do.
        total = total + part.sign * every * (noise if len(limit.parts) > 1 else 1.0)
    return total[:-1] / total[-1]


def circulation(limit: Any) -> np.ndarray:
    """See `Limit.circulation`."""
    require_directions(limit, "circulation")
    require_curvature(limit, "circulation")
    ahead = pairwise(limit, lambda response, h, g: response.ahead(h, g))
    return (ahead - ahead.T) / 2


def spectrum(limit: Any, frequencies: Any, of: str) -> np.ndarray:
    """See `Limit.spectrum`."""
    require_directions(limit, "spectrum")
    check_choice("of", of, ("velocity", "position"))
    omega = np.atleast_1d(check_numbers("frequencies", frequencies))
    if omega.ndim != 1 or not np.all(np.isfinite(omega)):
        raise ArgumentError(f"Frequencies are finite numbers, in radians per step; got {frequencies!r}.")
    total: Any = 0
    for part in limit.parts:
        assert part.noise.matrix is not None
        noise = np.diag(part.noise.matrix)[: limit.num_directions]
        total = total + part.sign * noise * _density(part.response, limit.curvatures, omega[:, None], of)
    return total


def _density(response: Response, h: np.ndarray, omega: np.ndarray, of: str) -> np.ndarray:
    """Return the spectral density for unit noise, shape (frequencies, k)."""
    if isinstance(response, Fixed):
        raise ArgumentError("With a fixed order the limit is a cycle, whose spectrum is lines: give another sampling.")
    if isinstance(response, PaperSDE):
        eta, beta = response.step.eta, response.step.beta
        strength = 4 * (1 - beta) / (eta * (1 + beta) * response.kappa)
        w2 = (omega / eta) ** 2
        bottom = (response.stiffness(h) - w2) ** 2 + 4 * response.gamma**2 * w2
        return strength * (eta * w2 if of == "velocity" else 1 / eta) / bottom
    z = np.exp(1j * omega)
    step = response.step
    # θ's row of (z − M)⁻¹ e: its poles are the eigenvalues of M.
    top = step.reach * (z - step.beta) + step.drag
    passed = np.abs(top / (z**2 - (1 + step.beta - step.reach * h) * z + step.beta * (1 - step.eta * step.a * h))) ** 2
    if of == "velocity":
        passed = passed * np.abs(1 - z) ** 2
    if not isinstance(response, Reshuffled):
        return response.level * passed
    m = response.period
    epoch = np.abs(np.sum(np.exp(1j * omega[..., None] * np.arange(m)), axis=-1)) ** 2 / m
    return (response.level - response.tie + response.tie * epoch) * passed


def modes(limit: Any) -> Modes:
    """See `Limit.modes`."""
    h, response = limit.curvatures, limit.response
    step = response.step
    matrix = limit.parts[0].noise.matrix
    noise = np.zeros(0) if matrix is None else np.diag(matrix)[: len(h)].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        zeta = (1 - step.beta) / np.sqrt(2 * step.eta * (1 + step.beta) * h)
        if isinstance(response, PaperSDE):
            gap = response.gamma**2 - response.stiffness(h)
            rate = response.gamma - np.sqrt(gap.astype(complex))
            large, small = np.exp(-step.eta * rate), np.exp(-step.eta * (2 * response.gamma - rate))
            frequency = step.eta * np.sqrt(np.maximum(-gap, 0))
            apart = gap / response.gamma**2
        else:
            large, small = np.moveaxis(step.roots(h), -1, 0)
            frequency = np.abs(np.angle(large))
            middle = (large + small).real / 2
            apart = ((large - small) ** 2).real / np.where(middle == 0, 1, 4 * middle**2)
        decay = -np.log(np.abs(large))
    regime = np.where(apart < 0, "underdamped", np.where(large.real < 0, "alternating", "overdamped"))
    regime = np.where(np.abs(apart) < _EQUAL, "critical", regime)
    return Modes(h, noise, zeta, decay, frequency, np.abs(large), regime)
