"""The density in which a diffusion settles, on a box: its potential by integration, and whether it exists at all."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from ...errors import ArgumentError, LandscapeError
from ._box import Axis, Grid, antiderivative
from ._diffusion import Diffusion, as_text

MOST_DIMENSIONS = 3

_FIRST = {1: 64, 2: 12, 3: 4}  # panels on every side
_LAST = {1: 8192, 2: 192, 3: 16}
# Relative change of the integral when panels are halved, at which the grid is fine enough: with eight Gauss points the
# error of the finer one is smaller by many orders.
_SETTLED = 1e-7
_ALLOWED = 1e-4  # at the finest grid; more is an error
_CUT = 1e-12  # of the largest density, allowed at the edge of the box
_CURL_POINTS = {2: 9, 3: 5}  # on every side
_POLISH = 60  # Newton steps


@dataclass(frozen=True, eq=False)
class Density:
    """ρ on the points of a grid, with the numbers of Z: ρ = exp(−2(v − lowest)/T)/Z."""

    grid: Grid
    box: np.ndarray
    potential: np.ndarray  # v, shape (n,)
    mass: np.ndarray  # ρ times the volume of every point, shape (n,), of sum 1
    change: float  # relative change of Z when panels were halved last

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values at the points, along their first axis."""
        return np.tensordot(self.mass, values, axes=1)


def check_box(box: ArrayLike, dimension: int) -> np.ndarray:
    """Return a box as an array of shape (p, 2), or raise `ArgumentError`."""
    if dimension > MOST_DIMENSIONS:
        raise ArgumentError(
            f"A density on a box is computed in up to {MOST_DIMENSIONS} dimensions; this diffusion has p = {dimension}."
            " Use local_steady_state, which has covariance and bias around a minimum for any p."
        )
    sides = np.asarray(box, dtype=float)
    if sides.shape != (dimension, 2) or not np.isfinite(sides).all() or not (sides[:, 0] < sides[:, 1]).all():
        raise ArgumentError(
            f"The box has a row (low, high) with low < high for each of {dimension} dimensions, shape ({dimension}, 2);"
            f" got {np.asarray(box).tolist()}."
        )
    return sides


def density_on_box(diffusion: Diffusion, temperature: float, box: np.ndarray, curl_tolerance: float) -> Density:
    """Return the steady state on a box, or on one of twice its size if the first one cuts it.

    Raises:
        ArgumentError: the loss has no minimum in the box.
        LandscapeError: D is singular, the field is no gradient, the density reaches beyond the box, or no grid
            resolves it.
    """
    first = Grid.regular(box, _FIRST[diffusion.dimension])
    diffusion.check_positive_definite(first.points)
    _check_minimum(diffusion, first, box)
    _check_curl(diffusion, temperature, box, curl_tolerance)
    found = _resolved(diffusion, temperature, box)
    if edge_density(found) > _CUT:
        centre, half = box.mean(axis=1), np.diff(box, axis=1)[:, 0]
        larger = np.stack([centre - half, centre + half], axis=1)
        _check_curl(diffusion, temperature, larger, curl_tolerance)
        found = _resolved(diffusion, temperature, larger)
        if (edge := edge_density(found)) > _CUT:
            raise LandscapeError(
                f"At the edge of the box {larger.tolist()}, twice the one given, the density is still {edge:.2g} of "
                f"its maximum, allowed {_CUT:g}. Either the box cuts it: give a larger box. Or its integral Z is "
                f"infinite, and there is no steady state at T = {temperature:g}: the loss has to grow faster than the "
                "logarithm of the distance. Lower the temperature, or add a penalty."
            )
    return found


def edge_density(density: Density) -> float:
    """Return the largest density at the edge of the box over its maximum."""
    values = density.mass / density.grid.weights
    return float(values[density.grid.at_edge].max() / values.max())


def _resolved(diffusion: Diffusion, temperature: float, box: np.ndarray) -> Density:
    """Halve panels until the integral of the density stays as it is."""
    panels, last = _FIRST[diffusion.dimension], _LAST[diffusion.dimension]
    before, change = None, np.inf
    while True:
        grid = Grid.regular(box, panels)
        density, log_integral = on_grid(diffusion, temperature, grid, box)
        if before is not None:
            change = abs(float(np.expm1(log_integral - before)))
        if change < _SETTLED or 2 * panels > last:
            break
        before, panels = log_integral, 2 * panels
    if change > _ALLOWED:
        raise LandscapeError(
            f"The density at T = {temperature:g} is too narrow for {panels} panels on each side of the box "
            f"{box.tolist()}: its integral still changes by {change:.1g}. Give a smaller box or a higher temperature."
        )
    return Density(grid, box, density.potential, density.mass, change)


def on_grid(
    diffusion: Diffusion, temperature: float, grid: Grid, box: np.ndarray, change: float = np.nan
) -> tuple[Density, float]:
    """Return the density on a grid, and the logarithm of its integral with v as it is, 0 at the middle of the box."""
    slopes = [
        diffusion.at("field", grid.lines(number), temperature)[:, number] for number in range(diffusion.dimension)
    ]
    potential = antiderivative(grid, slopes)
    if not np.isfinite(potential).all():
        bad = grid.points[int(np.flatnonzero(~np.isfinite(potential))[0])]
        raise LandscapeError(
            f"The potential is not finite at θ = {as_text(bad)}: give a box {box.tolist()} in which loss and "
            "covariance are finite and D is positive definite."
        )
    exponents = -2 * potential / temperature
    top = float(exponents.max())
    mass = np.exp(exponents - top) * grid.weights
    total = float(mass.sum())
    return Density(grid, box, potential, mass / total, change), top + float(np.log(total))


def barriers(diffusion: Diffusion, temperature: float, density: Density) -> np.ndarray:
    """Return where a potential in one dimension has its maxima between two minima, in order."""
    points = density.grid.points[:, 0]
    force = diffusion.at("field", density.grid.points, temperature)[:, 0]
    falls = np.flatnonzero((force[:-1] > 0) & (force[1:] <= 0))
    rises = np.flatnonzero((force[:-1] <= 0) & (force[1:] > 0))
    if not len(falls) or not len(rises):
        return np.empty(0)
    falls = falls[(falls > rises[0]) & (falls < rises[-1])]
    low, high = points[falls], points[falls + 1]
    for _ in range(_POLISH if len(falls) else 0):  # bisection
        middle = (low + high) / 2
        above = diffusion.at("field", middle[:, None], temperature)[:, 0] > 0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return (low + high) / 2


def with_barriers(diffusion: Diffusion, temperature: float, density: Density) -> tuple[Density, np.ndarray]:
    """Return a density and the barriers between its basins; in one dimension panels end at them."""
    if diffusion.dimension > 1:
        return density, np.empty(0)
    between = barriers(diffusion, temperature, density)
    panels = len(density.grid.axes[0].half)
    edges = np.union1d(np.linspace(density.box[0, 0], density.box[0, 1], panels + 1), between)
    # Panels without length would have points that coincide.
    keep = np.diff(edges, prepend=-np.inf) > 1e-12 * np.ptp(density.box[0])
    grid = Grid([Axis(edges[keep])])
    return on_grid(diffusion, temperature, grid, density.box, density.change)[0], between


def polished(diffusion: Diffusion, names: tuple[str, str], starts: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return zeros of a field near starts by Newton's method, shape (K, p); a step that does not help is halved.

    Args:
        diffusion: has the functions.
        names: the field's and that of its derivative.
        starts: shape (K, p).
        temperature: of the field, if it depends on it.
    """
    points = np.array(starts, dtype=float)
    for _ in range(_POLISH):
        force = diffusion.at(names[0], points, temperature)
        slopes = diffusion.at(names[1], points, temperature)
        move = -np.einsum("kij,kj->ki", np.linalg.pinv(slopes, hermitian=False), force)
        size, share = np.linalg.norm(force, axis=1), np.ones(len(points))
        for _ in range(12):
            worse = np.linalg.norm(diffusion.at(names[0], points + share[:, None] * move, temperature), axis=1) > size
            if not worse.any():
                break
            share[worse] /= 2
        else:
            share[worse] = 0
        points = points + share[:, None] * move
        if (np.abs(share[:, None] * move) <= 1e-14 * (1 + np.abs(points))).all():
            break
    return points


def descended(diffusion: Diffusion, starts: np.ndarray) -> np.ndarray:
    """Return the minima of the test loss to which descent from each start leads, shape (K, p).

    Raises:
        LandscapeError: it leads to none.
    """

    def function(name: str) -> Callable[[np.ndarray], np.ndarray]:
        return lambda theta: diffusion.at(name, theta[None])[0]

    value, slope, curvature = (function(f"test_{name}") for name in ("loss", "gradient", "hessian"))
    found = []
    for start in starts:
        # Newton's method alone would leave a narrow basin from a start beyond its inflection.
        end = optimize.minimize(value, start, jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-7}).x
        found.append(end)
    ends = polished(diffusion, ("test_gradient", "test_hessian"), np.array(found))
    lowest = np.linalg.eigvalsh(diffusion.at("test_hessian", ends))[:, 0]
    if not (lowest > 0).all():
        bad = int(np.flatnonzero(~(lowest > 0))[0])
        raise LandscapeError(
            f"Descent of the test loss from the train minimum {as_text(starts[bad])} ends at {as_text(ends[bad])}, "
            f"where its lowest curvature is {lowest[bad]:.3g}: no strict minimum to expand around. Use test_loss, "
            "which needs none."
        )
    return ends


def minima_on(grid: Grid, values: np.ndarray) -> np.ndarray:
    """Return the numbers of the points of a grid that are lower than all their neighbours, edges left out."""
    ends = np.unique(grid.descents(values))
    return ends[~grid.at_edge[ends]]


def _check_minimum(diffusion: Diffusion, grid: Grid, box: np.ndarray) -> None:
    """Check that the loss has minima in a box, and that D is positive definite there too, between points of a grid."""
    panels = 8 if diffusion.dimension == 1 else 2  # narrow basins need a finer look
    fine = Grid.regular(box, panels * len(grid.axes[0].half))
    numbers = minima_on(fine, diffusion.at("loss", fine.points))
    if not len(numbers):
        raise ArgumentError(f"The loss has no minimum inside the box {box.tolist()}: give one around its minima.")
    diffusion.check_positive_definite(polished(diffusion, ("gradient", "hessian"), fine.points[numbers]))


def _check_curl(diffusion: Diffusion, temperature: float, box: np.ndarray, tolerance: float) -> None:
    if diffusion.dimension == 1:
        return
    count = _CURL_POINTS[diffusion.dimension]
    mesh = np.meshgrid(*(np.linspace(low, high, count) for low, high in box), indexing="ij")
    points = np.stack([each.ravel() for each in mesh], axis=1)
    curls = diffusion.curls(points, temperature)
    # Of all points the middle of the box is named if it is bad, where people look first.
    worst = len(points) // 2 if curls[len(points) // 2] > tolerance else int(np.argmax(curls))
    if curls[worst] > tolerance:
        raise LandscapeError(
            f"curl {curls[worst]:.2g} at θ = {as_text(points[worst])}, allowed {tolerance:g}: the field "
            "D⁻¹(∇U + (T/2)∇·D) is no gradient, so the density has a current and the formula exp(−2v/T) does not hold; "
            "use local_steady_state, which needs no potential."
        )
