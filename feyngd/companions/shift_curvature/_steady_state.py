"""The steady state of a diffusion in up to three dimensions: its basins, their weights, and the expected test loss."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from ...drawing import new_axes
from ...errors import ArgumentError, LandscapeError
from ...estimates import PrecisionWarning
from .._assumptions import Assumption, Assumptions
from .._numbers import check_number, check_temperature
from ._density import Density, check_box, density_on_box, descended, minima_on, polished, with_barriers
from ._diffusion import Diffusion
from ._judgements import small_correction
from ._laplace import log_laplace_weights, next_order

FORMS = ("direct", "paper")

_SAME = 1e-6  # of the box: minima that are closer are one
_LINE = 64  # panels of a line integral


class BasinWarning(UserWarning):
    """Minima of the potential and of the loss differ in number, so that basins have no one-to-one meaning."""


@dataclass(frozen=True, eq=False)
class Basin:
    """One basin of the potential v, and the density in it.

    Attributes:
        mode: μ, the minimum of v, shape (p,).
        mean: E[θ] in the basin.
        loss_minimum: θtr, the minimum of U; NaN if there is none in the basin.
        mode_bias: θtr − μ.
        mean_bias: θtr − E[θ].
        covariance: of θ in the basin, shape (p, p).
        weight: the probability of the basin.
    """

    mode: np.ndarray
    mean: np.ndarray
    loss_minimum: np.ndarray
    mode_bias: np.ndarray
    mean_bias: np.ndarray
    covariance: np.ndarray
    weight: float

    def to_dict(self) -> dict[str, Any]:
        """Return the basin as lists of numbers, for JSON; NaN is `None`."""
        found = {name: value.tolist() for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        for name in ("loss_minimum", "mode_bias", "mean_bias"):
            found[name] = [x if np.isfinite(x) else None for x in found[name]]
        return found | {"weight": self.weight}


@dataclass(frozen=True, eq=False)
class Parts:
    """An expected test loss in parts, one number for each basin, in the unit of the loss.

    Attributes:
        depth: the test loss at the test minimum.
        shift: what the distance between train and test minimum adds.
        covariance: what the fluctuations add.
        bias: what the mean's distance from the train minimum adds, with its product with the shift.
        total: their sum.
        weights: of the basins.
    """

    depth: np.ndarray
    shift: np.ndarray
    covariance: np.ndarray
    bias: np.ndarray
    total: np.ndarray
    weights: np.ndarray

    @property
    def weighted(self) -> dict[str, float]:
        """The parts and their total, as means over basins."""
        names = ("depth", "shift", "covariance", "bias", "total")
        return {name: float(self.weights @ getattr(self, name)) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return the parts as lists of numbers, for JSON."""
        names = ("depth", "shift", "covariance", "bias", "total", "weights")
        return {name: getattr(self, name).tolist() for name in names} | {"weighted": self.weighted}

    def plot(self, ax: Any = None) -> Any:
        """Draw the parts of every basin and their weighted means as bars, and return the Matplotlib axes."""
        ax = new_axes(ax)
        names = ("depth", "shift", "covariance", "bias", "total")
        places, width = np.arange(len(names)), 0.8 / (len(self.weights) + 1)
        for k, weight in enumerate(self.weights):
            heights = [getattr(self, name)[k] for name in names]
            ax.bar(places + k * width, heights, width, label=f"basin {k + 1}, weight {weight:.3g}")
        ax.bar(places + len(self.weights) * width, list(self.weighted.values()), width, color="0.3", label="all")
        ax.set_xticks(places + 0.4 - width / 2, names)
        ax.set_ylabel("test loss, in parts")
        ax.axhline(0, color="0.4", lw=0.8)
        ax.legend()
        return ax


@dataclass(frozen=True, eq=False)
class SteadyState:
    """The density ρ ∝ exp(−2v/T) in which a diffusion settles, with ∇v = D⁻¹(∇U + (T/2)∇·D).

    Attributes:
        diffusion: what settles.
        temperature: T = η/B.
        box: what was integrated over, shape (p, 2): the one given, or one of twice its size.
    """

    diffusion: Diffusion
    temperature: float
    box: np.ndarray
    density: Density
    labels: np.ndarray
    modes: np.ndarray

    # --- means --------------------------------------------------------------------------------------------------------

    def mean(self, function: Callable[[Any], Any]) -> np.ndarray:
        """Return E[f(θ)] for a JAX function of an array of shape (p,), of the shape that it returns."""
        with jax.enable_x64(True):
            values = np.asarray(jax.jit(jax.vmap(function))(self.density.grid.points), dtype=float)
        return self.density.mean(values)

    @cached_property
    def train_loss(self) -> float:
        """E[U], exact up to quadrature."""
        return float(self.density.mean(self.diffusion.at("loss", self.density.grid.points)))

    @cached_property
    def test_loss(self) -> float:
        """E[V], exact up to quadrature."""
        return float(self.density.mean(self.diffusion.at("test_loss", self.density.grid.points)))

    def log_density(self, theta: ArrayLike) -> np.ndarray:
        """Return log ρ(θ), normalised, by integration along lines from the deepest mode.

        Args:
            theta: one point or several, shape (…, p).

        Raises:
            ArgumentError: the last axis is not of length p.
        """
        points = np.asarray(theta, dtype=float)
        if points.ndim == 0 or points.shape[-1] != self.diffusion.dimension:
            raise ArgumentError(f"θ is of shape (…, {self.diffusion.dimension}); got {points.shape}.")
        nodes, weights = np.polynomial.legendre.leggauss(8)
        shares = ((np.arange(_LINE)[:, None] + (nodes + 1) / 2) / _LINE).ravel()
        start, peak = self._deepest
        away = points.reshape(-1, self.diffusion.dimension) - start
        lines = start + shares[None, :, None] * away[:, None, :]
        force = self.diffusion.at("field", lines.reshape(-1, lines.shape[-1]), self.temperature).reshape(lines.shape)
        rise = np.einsum("nsp,np,s->n", force, away, np.tile(weights / 2 / _LINE, _LINE))
        return (peak - 2 * rise / self.temperature).reshape(points.shape[:-1])

    @cached_property
    def _deepest(self) -> tuple[np.ndarray, float]:
        """The grid's point of the highest density, and the logarithm of the density there."""
        at = int(np.argmin(self.density.potential))
        value = self.density.mass[at] / self.density.grid.weights[at]
        return self.density.grid.points[at], float(np.log(value))

    # --- basins -------------------------------------------------------------------------------------------------------

    @cached_property
    def weights(self) -> np.ndarray:
        """The probability of every basin, shape (K,), exact up to quadrature; in several dimensions to the grid."""
        return np.bincount(self.labels, self.density.mass, minlength=len(self.modes))

    @cached_property
    def laplace_weights(self) -> np.ndarray:
        """The same to leading order in T: w ∝ exp(−2v(μ)/T) |∇²v(μ)|^(−1/2), shape (K,).

        References:
            Bradley et al., equation 6, with v at the temperature T and its own minima μ.
        """
        depths = -self.temperature / 2 * self.log_density(self.modes)
        logs = log_laplace_weights(self.diffusion, self.temperature, self.modes, depths)
        weights = np.exp(logs - logs.max())
        return weights / weights.sum()

    @cached_property
    def laplace_correction(self) -> np.ndarray:
        """The next order of every basin's integral over its leading one, shape (K,), of order T.

        In one dimension (T/2)(5c²/(24a³) − e/(8a²)) for a, c, e = v'', v''', v''''. A weight changes by w times its own
        correction minus the mean of all; the leading order is good where this is small.
        """
        return next_order(self.diffusion, self.temperature, self.modes)

    @cached_property
    def basins(self) -> tuple[Basin, ...]:
        """The basins, in the order of their first coordinate; their moments are exact up to quadrature."""
        points, mass, found = self.density.grid.points, self.density.mass, []
        for k, (mode, minimum) in enumerate(zip(self.modes, self.loss_minima, strict=True)):
            own = np.where(self.labels == k, mass, 0)
            weight = own.sum()
            mean = own @ points / weight
            covariance = (points - mean).T * own @ (points - mean) / weight
            found.append(Basin(mode, mean, minimum, minimum - mode, minimum - mean, covariance, float(weight)))
        return tuple(found)

    @cached_property
    def loss_minima(self) -> np.ndarray:
        """The minimum of U in every basin, shape (K, p); the deepest one, NaN where a basin has none."""
        grid = self.density.grid
        found = minima_of(self.diffusion, self.density, "loss")
        values = self.diffusion.at("loss", found)
        chosen = np.full(self.modes.shape, np.nan)
        for i in np.argsort(-values):
            chosen[self.labels[grid.nearest(found[i])]] = found[i]
        if len(found) != len(self.modes) or np.isnan(chosen).any():
            warnings.warn(
                f"The potential at T = {self.temperature:g} has {len(self.modes)} minima in the box, the loss has "
                f"{len(found)}: noise makes or removes basins, and biases between them mean little.",
                BasinWarning,
                stacklevel=3,
            )
        return chosen

    def mixture(self, form: str = "direct") -> Parts:
        """Return the expected test loss as a mixture over basins, to second order around their minima.

        Weights, means and covariances are those of the density. In "direct" the expansion is around the train minimum,
        V(θtr) + ½tr[Σ ∇²V(θtr)] − b·∇V(θtr), with V(θtr) in two parts, depth and rise; it is consistent to order T.
        In "paper" it is around the test minimum, V(θte) + ½tr[Σ C] + ½(s + b)ᵀC(s + b), which lacks third derivatives
        at the order T|s|. The difference from `test_loss` is what either leaves out.

        Raises:
            ArgumentError: an unknown form.
            LandscapeError: a basin has no minimum of the loss, or descent of the test loss from it finds none.

        References:
            Bradley et al., equation 4; the bias is that of the mean (corrected), with s + b for s − b (corrected).
        """
        if form not in FORMS:
            raise ArgumentError(f"Unknown form {form!r}; the forms are {', '.join(map(repr, FORMS))}.")
        train = self.loss_minima
        if np.isnan(train).any():
            raise LandscapeError("A basin without a minimum of the loss has no shift: lower the temperature.")
        test = descended(self.diffusion, train)
        curvature = self.diffusion.at("test_hessian", test)
        s, b = test - train, np.array([basin.mean_bias for basin in self.basins])
        spread = np.array([basin.covariance for basin in self.basins])
        depth = self.diffusion.at("test_loss", test)
        if form == "paper":
            shift = np.einsum("ki,kij,kj->k", s, curvature, s) / 2
            bias = np.einsum("ki,kij,kj->k", 2 * s + b, curvature, b) / 2
        else:
            curvature = self.diffusion.at("test_hessian", train)
            shift = self.diffusion.at("test_loss", train) - depth
            bias = -np.sum(b * self.diffusion.at("test_gradient", train), axis=1)
        covariance = np.einsum("kij,kji->k", spread, curvature) / 2
        return Parts(depth, shift, covariance, bias, depth + shift + covariance + bias, self.weights)

    @cached_property
    def assumptions(self) -> Assumptions:
        """What the numbers assume, measured: `failing` in it are those that do not hold.

        Without a potential, noise in all directions or a box that holds the density there is no state at all.
        """
        return Assumptions(
            [
                Assumption.judged(
                    "as many basins as minima of the loss",
                    abs(len(self.modes) - len(minima_of(self.diffusion, self.density, "loss"))),
                    most=0,
                    meaning="by how many the numbers differ: else shifts and biases of basins mean little",
                ),
                small_correction(self.laplace_correction),
            ]
        )

    def __str__(self) -> str:
        weights = ", ".join(f"{weight:.4g}" for weight in self.weights)
        lines = [f"T = {self.temperature:g}: train loss {self.train_loss:.6g}, test loss {self.test_loss:.6g}"]
        return "\n".join([*lines, f"weights of basins: {weights}", *map(str, self.assumptions.failing)])

    def plot(self, ax: Any = None) -> Any:
        """Draw the density of every coordinate, and return the Matplotlib axes."""
        ax = new_axes(ax)
        mass = self.density.mass.reshape(self.density.grid.shape)
        for i, axis in enumerate(self.density.grid.axes):
            others = tuple(j for j in range(mass.ndim) if j != i)
            ax.plot(axis.points, mass.sum(axis=others) / axis.weights, label=f"θ{i + 1}" if mass.ndim > 1 else None)
        if mass.ndim > 1:
            ax.legend()
        ax.set(xlabel="θ", ylabel="density", title=f"T = {self.temperature:g}")
        return ax

    def to_dict(self) -> dict[str, Any]:
        """Return the losses and basins as plain numbers, for JSON."""
        return {
            "temperature": self.temperature,
            "box": self.box.tolist(),
            "train_loss": self.train_loss,
            "test_loss": self.test_loss,
            "weights": self.weights.tolist(),
            "laplace_weights": self.laplace_weights.tolist(),
            "laplace_correction": self.laplace_correction.tolist(),
            "modes": self.modes.tolist(),
            "basins": [basin.to_dict() for basin in self.basins],
            "assumptions": self.assumptions.to_dict(),
        }


def steady_state(
    diffusion: Diffusion, temperature: float, *, box: ArrayLike, curl_tolerance: float = 1e-6
) -> SteadyState:
    """Return the density in which a diffusion settles, by quadrature on a box.

    Args:
        diffusion: in p ≤ 3 dimensions, with D positive definite in the box.
        temperature: T = η/B, in the unit of learning rates.
        box: (low, high) for each dimension, shape (p, 2). Where the density at its edge exceeds 1e-12 of the maximum,
            a box of twice the size is tried.
        curl_tolerance: the largest curl for which the field counts as a gradient.

    Raises:
        ArgumentError: an argument is invalid, p > 3, or the loss has no minimum in the box.
        LandscapeError: D is singular; the field has a curl, so that no potential exists; the density reaches beyond the
            box, its integral being infinite or not; or the grid cannot resolve it.

    References:
        Bradley et al., equations 5 and 24, appendix B.1 (corrected: for D = I/f'(U) it is exp(−2f/T + log f')).

    Examples:
        >>> import jax.numpy as jnp
        >>> from feyngd.companions.shift_curvature import Diffusion, steady_state
        >>> noisy = Diffusion(lambda x: x[0] ** 2 / 2, lambda x: (1 + x[0] ** 2) * jnp.eye(1), dimension=1)
        >>> print(f"{steady_state(noisy, 0.3, box=[(-300, 300)]).mean(lambda x: x[0] ** 2):.9f}")  # T/(2 − T)
        0.176470588
    """
    if not isinstance(diffusion, Diffusion):
        raise ArgumentError(f"A Diffusion is made as Diffusion(loss, covariance, …); got {type(diffusion).__name__}.")
    temperature = check_temperature(temperature)
    tolerance = check_number("curl_tolerance", curl_tolerance, above=0)
    density = density_on_box(diffusion, temperature, check_box(box, diffusion.dimension), tolerance)
    if density.change > _SAME:
        warnings.warn(
            f"The integral of the density still changed by {density.change:.1g} on the finest grid: give a smaller box "
            "or a higher temperature.",
            PrecisionWarning,
            stacklevel=2,
        )
    density, between = with_barriers(diffusion, temperature, density)
    modes, labels = _basins(diffusion, temperature, density, between)
    return SteadyState(diffusion, temperature, density.box, density, labels, modes)


def minima_of(diffusion: Diffusion, density: Density, name: str) -> np.ndarray:
    """Return the minima of U inside the box, shape (K, p), in the order of their first coordinate."""
    numbers = minima_on(density.grid, diffusion.at(name, density.grid.points))
    found = polished(diffusion, ("gradient", "hessian"), density.grid.points[numbers])
    return found[_distinct(found, density.box)]


def _distinct(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the numbers of points that differ, in the order of their coordinates."""
    order = np.lexsort(points.T[::-1])
    kept: list[int] = []
    reach = _SAME * np.ptp(box, axis=1)
    for i in order:
        if all((np.abs(points[i] - points[j]) > reach).any() for j in kept):
            kept.append(int(i))
    return np.array(kept, dtype=int)


def _basins(
    diffusion: Diffusion, temperature: float, density: Density, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the minima of the potential, shape (K, p), and the basin of every point of the grid, shape (n,)."""
    grid = density.grid
    ends = grid.descents(density.potential)
    sinks = np.unique(ends)
    starts = sinks[~grid.at_edge[sinks]]
    modes = polished(diffusion, ("field", "jacobian"), grid.points[starts], temperature)
    modes = modes[_distinct(modes, density.box)]
    if diffusion.dimension == 1:
        return modes, np.searchsorted(between, grid.points[:, 0])
    # Sinks that Newton's method takes to one mode are one basin; a sink at the edge goes to the nearest mode.
    nearest = np.linalg.norm(grid.points[sinks][:, None] - modes[None], axis=2).argmin(axis=1)
    return modes, nearest[np.searchsorted(sinks, ends)]
