"""Minima and saddles in double precision: their spectrum, and how to reach them without leaving a neighbourhood."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy import optimize
from scipy.sparse import linalg as sparse

from ..._arguments import check_integer
from ..._keys import check_key
from ...errors import ArgumentError, LandscapeError
from ...estimates import Estimate
from ...landscapes import Landscape
from ...spectra import Krylov
from .._numbers import check_number
from ._surface import Surface

TOLERANCE = 1e-8  # of rms‖∇l_n‖, at which a gradient counts as 0
SHOWN = 6  # lowest eigenvalues that are kept
FLAT = 1e-10  # of the largest curvature in size, below which one counts as 0
_DENSE_TRUST = 300  # parameters up to which trust-region steps are exact
_ROUNDING = 1e-12  # of curvature times parameters, a gradient that is rounding
_PROBES = 8  # random vectors of log|det H|
_NEARLY = 1e-4  # of rms‖∇l_n‖, from where on Newton's method is tried at saddles
_AFTER = 12  # Newton steps at the end
_GROWN, _SHRUNK = 1.5, 0.5


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """A minimum or a saddle of the mean loss.

    Attributes:
        params: where, a pytree of NumPy arrays in double precision.
        loss: the mean loss.
        gradient_norm: ‖G‖.
        gradient_scale: rms‖∇l_n‖ over the examples.
        lowest: the lowest eigenvalues of H, up to six.
        highest: the largest.
        index: how many are negative; without matrices, of those that Lanczos' method found.
        direction: the unit eigenvector of the lowest, a pytree.
        log_det: log|det H|; an estimate beyond 1,500 parameters.
        steps: how many were taken.
    """

    params: Any
    loss: float
    gradient_norm: float
    gradient_scale: float
    lowest: np.ndarray
    highest: float
    index: int
    direction: Any
    log_det: Estimate
    steps: int = 0

    @property
    def relative_gradient(self) -> float:
        """‖G‖/rms‖∇l_n‖: below 1e-8 it counts as 0."""
        return self.gradient_norm / self.gradient_scale if self.gradient_scale else self.gradient_norm

    @property
    def is_critical(self) -> bool:
        """Whether the gradient counts as 0, against the examples' gradients or against rounding."""
        size = 1 + float(np.linalg.norm(_listed(self.params)))
        rounding = _ROUNDING * size * max(abs(self.highest), abs(float(self.lowest[0])))
        return self.gradient_norm <= max(TOLERANCE * self.gradient_scale, rounding)

    @property
    def is_flat(self) -> bool:
        """Whether one of the lowest curvatures is 0 up to rounding."""
        largest = max(abs(self.highest), abs(float(self.lowest[0])))
        return bool(np.any(np.abs(self.lowest) <= FLAT * largest))

    def __str__(self) -> str:
        kind = {0: "minimum", 1: "saddle of index 1"}.get(self.index, f"critical point of index {self.index}")
        numbers = ", ".join(f"{value:.4g}" for value in self.lowest)
        return (
            f"{kind}: l = {self.loss:.10g}, ‖G‖ = {self.gradient_norm:.2g} ({self.relative_gradient:.1g} of the "
            f"examples'), lowest curvatures {numbers}, highest {self.highest:.4g}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, parameters and direction as flat lists."""
        numbers = ("loss", "gradient_norm", "gradient_scale", "highest", "index", "steps")
        flat = {name: _listed(getattr(self, name)) for name in ("params", "direction")}
        log_det = {"value": self.log_det.value, "stderr": self.log_det.stderr}
        plain = {name: getattr(self, name) for name in numbers}
        return {**plain, "lowest": self.lowest.tolist(), "log_det": log_det, **flat}


def _listed(tree: Any) -> list[float]:
    return [float(x) for leaf in jax.tree.leaves(tree) for x in np.ravel(leaf)]


@dataclass(frozen=True)
class Modes:
    """Curvatures at a point with their unit vectors in rows, lowest first: all of them, or those of a Krylov space."""

    values: np.ndarray
    rows: np.ndarray

    @classmethod
    def at(cls, surface: Surface, point: np.ndarray, starts: np.ndarray, most_steps: int = 64) -> "Modes":
        """Return all modes where matrices are formed, else those of the Krylov space of a start that is not 0."""
        if surface.is_dense:
            values, vectors = np.linalg.eigh(surface.hessian(point))
            return cls(values, vectors.T)
        start = next((row for row in starts if np.any(row)), np.ones(surface.size))
        space = Krylov(lambda vectors: surface.products(point, vectors), start[None], most_steps)
        while space.steps < space.most_steps and not space.is_complete:
            space.grow()
        values, _, rows = space.ritz()
        return cls(values[0], rows[0])

    @property
    def size(self) -> float:
        """The largest curvature in size."""
        return float(np.abs(self.values).max())


def describe(
    surface: Surface, point: np.ndarray, key: Any, steps: int = 0, max_eigen_steps: int = 128
) -> CriticalPoint:
    """Return what a point is.

    Args:
        surface: the landscape.
        point: a vector.
        key: a random key, used beyond 1,500 parameters alone.
        steps: that led there.
        max_eigen_steps: the most steps of Lanczos' method.
    """
    loss, gradient = surface.gradient(point)
    if surface.is_dense:
        modes = Modes.at(surface, point, gradient[None])
        # A curvature of exactly 0 has no logarithm; it is refused where a determinant is needed.
        log_det = Estimate(float(np.sum(np.log(np.abs(modes.values) + 1e-300))), None, 0, "exact")
    else:
        start = np.asarray(jax.random.normal(key, (1, surface.size)), dtype=float)
        modes = Modes.at(surface, point, start, max_eigen_steps)
        log_det = Estimate.from_replicates(log_dets(surface, point, key, max_eigen_steps), "lanczos")
    return CriticalPoint(
        surface.shaped(point),
        loss,
        float(np.linalg.norm(gradient)),
        surface.gradient_scale(point),
        modes.values[:SHOWN].copy(),
        float(modes.values[-1]),
        int(np.sum(modes.values < -FLAT * modes.size)),
        surface.shaped(modes.rows[0]),
        log_det,
        steps,
    )


def log_dets(surface: Surface, point: np.ndarray, key: Any, most_steps: int, probes: int = _PROBES) -> np.ndarray:
    """Return replicates of log|det H| by Lanczos' quadrature; equal keys give equal probes for differences."""
    vectors = np.asarray(jax.random.rademacher(key, (probes, surface.size)), dtype=float)
    spaces = Krylov(lambda rows: surface.products(point, rows), vectors, most_steps)
    while spaces.steps < spaces.most_steps and not spaces.is_complete:
        spaces.grow()
    nodes, weights = spaces.quadrature()
    return np.sum(weights * np.log(np.maximum(np.abs(nodes), 1e-300)), axis=1)


def to_minimum(surface: Surface, point: np.ndarray, reach: float) -> tuple[np.ndarray, int]:
    """Descend to a minimum by trust-region steps, short against a length, and Newton steps at the end.

    Args:
        surface: the landscape.
        point: the start.
        reach: a length that steps stay well below, so that they do not jump over barriers.
    """
    scale = max(surface.gradient_scale(point), 1e-300)
    method = "trust-exact" if surface.size <= _DENSE_TRUST else "trust-krylov"
    curvature: dict[str, Any] = (
        {"hess": surface.hessian}
        if surface.size <= _DENSE_TRUST
        else {"hessp": lambda at, v: surface.products(at, v[None])[0]}
    )
    options = {"gtol": 1e-7 * scale, "initial_trust_radius": 0.02 * reach, "max_trust_radius": 0.1 * reach}
    found = optimize.minimize(
        surface.gradient, point, jac=True, method=method, options={**options, "maxiter": 2000}, **curvature
    )
    return newton(surface, found.x, 0.1 * reach), int(found.nit)


def newton(surface: Surface, point: np.ndarray, reach: float) -> np.ndarray:
    """Take Newton's steps while they shrink the gradient: dense, or by MINRES, which takes curvatures of both signs."""
    _, gradient = surface.gradient(point)
    for _ in range(_AFTER):
        if not np.any(gradient):
            break
        if surface.is_dense:
            values, vectors = np.linalg.eigh(surface.hessian(point))
            if np.abs(values).min() <= FLAT * np.abs(values).max():
                break
            move = -vectors @ (vectors.T @ gradient / values)
        else:
            matrix = sparse.LinearOperator(
                (surface.size,) * 2, matvec=lambda v, at=point: surface.products(at, np.ravel(v)[None])[0]
            )
            move, _ = sparse.minres(matrix, -gradient, rtol=1e-6, maxiter=500)
        if np.linalg.norm(move) > reach:
            break
        _, after = surface.gradient(point + move)
        if not np.linalg.norm(after) < np.linalg.norm(gradient):
            break
        point, gradient = point + move, after
    return point


def to_saddle(
    surface: Surface,
    point: np.ndarray,
    direction: np.ndarray | None,
    *,
    radius: float,
    max_steps: int,
    max_eigen_steps: int,
) -> tuple[np.ndarray, int]:
    """Follow an eigenvector uphill and descend along all others, inside a trust radius; Newton's steps at the end.

    Args:
        surface: the landscape.
        point: the guess.
        direction: the mode that is followed is the one most like it; `None` for the lowest.
        radius: the longest step; it shrinks where the quadratic model fails, and grows back where it holds.
        max_steps: the most steps.
        max_eigen_steps: the most steps of Lanczos' method, without matrices.
    """
    scale = max(surface.gradient_scale(point), 1e-300)
    loss, gradient = surface.gradient(point)
    trust, follow = radius, direction
    for step in range(max_steps):
        modes = Modes.at(surface, point, np.stack([gradient, np.zeros_like(gradient)]), max_eigen_steps)
        chosen = 0 if follow is None else int(np.argmax(np.abs(modes.rows @ follow)))
        is_index_one = modes.values[0] < 0 and (len(modes.values) == 1 or modes.values[1] > 0)
        if np.linalg.norm(gradient) <= _NEARLY * scale and is_index_one and chosen == 0:
            found = newton(surface, point, radius)
            if np.linalg.norm(surface.gradient(found)[1]) <= TOLERANCE * scale:
                return found, step
        if modes.values[0] < 0 and chosen and modes.values[chosen] > 0:
            chosen = 0  # once the surface bends down somewhere, that is the way over
        follow = modes.rows[chosen]
        slopes = modes.rows @ gradient
        sizes = np.maximum(np.abs(modes.values), 1e-8 * modes.size)
        shares = -slopes / sizes
        shares[chosen] *= -1
        length = float(np.linalg.norm(shares))
        while True:
            move = shares * min(1.0, trust / max(length, 1e-300))
            after, slope_after = surface.gradient(point + modes.rows.T @ move)
            model = float(slopes @ move + move @ (modes.values * move) / 2)
            off = abs(after - loss - model) / max(abs(model), 1e-12 * (1 + abs(loss)))
            if np.isfinite(after) and (off < 0.7 or trust < 1e-7 * radius):
                break
            trust *= _SHRUNK
        point, loss, gradient = point + modes.rows.T @ move, after, slope_after
        trust = min(radius, trust * (_GROWN if off < 0.3 else 1.0))
    return newton(surface, point, radius), max_steps


def find_saddle(
    landscape: Landscape,
    guess: Any,
    *,
    direction: Any = None,
    radius: float = 0.1,
    max_steps: int = 500,
    max_eigen_steps: int = 128,
    chunk_size: int = 64,
    key: Any,
) -> CriticalPoint:
    """Refine a guess to a saddle of index 1, in double precision.

    An eigenvector of the Hessian is followed uphill and all others downhill, in steps that are never longer than the
    trust radius and shorter where the loss is not quadratic. Newton's method alone, from a string's highest point, can
    end at a critical point far above. It comes last, once the gradient is small and one curvature negative.

    Args:
        landscape: the loss and its data.
        guess: a pytree of parameters, such as the highest image of a string.
        direction: which way leads over the barrier, a pytree; the lowest curvature's by default.
        radius: the trust radius, in the unit of the parameters.
        max_steps: the most steps.
        max_eigen_steps: the most steps of Lanczos' method, beyond 1,500 parameters.
        chunk_size: how many examples are differentiated together.
        key: a JAX random key, for Lanczos' method.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: no saddle of index 1 with ‖G‖ ≤ 1e-8 rms‖∇l_n‖ was found; the message shows the eigenvalues.

    Examples:
        >>> import jax
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, _ = toys.double_well()
        >>> print(f"{esc.find_saddle(well, 0.0, key=jax.random.key(0)).params:.10f}")
        0.1010312579
    """
    check_number("The trust radius", radius, above=0)
    check_integer("max_steps", max_steps, least=1)
    check_integer("max_eigen_steps", max_eigen_steps, least=2)
    check_key(key, "Lanczos' method starts at random")
    surface = Surface(landscape, guess, chunk_size)
    follow = None if direction is None else surface.flat(direction)
    if follow is not None:
        if not np.any(follow):
            raise ArgumentError("The direction is not 0: leave it out for that of the lowest curvature.")
        follow = follow / np.linalg.norm(follow)
    found, steps = to_saddle(
        surface, surface.start, follow, radius=radius, max_steps=max_steps, max_eigen_steps=max_eigen_steps
    )
    point = describe(surface, found, key, steps, max_eigen_steps)
    check_saddle(point)
    if not point.is_critical:
        raise LandscapeError(
            f"The search ended after {steps} steps with ‖G‖ = {point.gradient_norm:.3g}, {point.relative_gradient:.2g} "
            f"of rms‖∇l_n‖ where {TOLERANCE:g} is asked for: give a better guess, a smaller radius={radius:g} or more "
            f"max_steps={max_steps}."
        )
    return point


def check_minimum(point: CriticalPoint, which: str = "The start of a leg") -> None:
    """Raise `LandscapeError` unless all curvatures at a point are positive, beyond rounding."""
    if point.index or point.is_flat:
        raise LandscapeError(
            f"{which} has to be a minimum with positive curvatures; the lowest there are {_shown(point)}, the highest "
            f"is {point.highest:.3g}. In flat networks add a penalty to the loss, such as 1e-3 |θ|²/2."
        )


def check_saddle(point: CriticalPoint) -> None:
    """Raise `LandscapeError` unless exactly one curvature at a point is negative, and none is 0."""
    if point.index != 1 or point.is_flat:
        raise LandscapeError(
            f"A saddle has one negative curvature and no flat one; the lowest here are {_shown(point)}, the highest is "
            f"{point.highest:.3g}. Start nearer to the barrier; in flat networks add a penalty to the loss, such as "
            "1e-3 |θ|²/2."
        )


def _shown(point: CriticalPoint) -> str:
    return ", ".join(f"{value:.3g}" for value in point.lowest)
