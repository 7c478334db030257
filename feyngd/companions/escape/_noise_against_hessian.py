"""Whether the noise of the gradient looks like the Hessian: slope, correlation and misalignment."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy.sparse import linalg as sparse

from ..._arguments import check_integer
from ..._keys import check_key
from ...drawing import new_figure
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape
from .._numbers import check_choice, check_numbers
from ._surface import Surface

BASES = ("eigenvectors", "coordinates")


@dataclass(frozen=True, eq=False)
class NoiseAlignment:
    """C against H at a point, direction by direction.

    Attributes:
        curvatures: h_i, largest first, those inside the window; in coordinates, H_ii.
        variances: c_i = u_i·Cu_i of one example's gradient.
        slope: ρ = Σ c_i h_i/Σ h_i², of the line through 0.
        pearson: the correlation of c and h; NaN for fewer than two directions.
        misalignment: ‖UᵀCU − diag‖_F/‖UᵀCU‖_F: how much of C lies off the diagonal in these directions.
        basis: "eigenvectors" or "coordinates".
        num_params: p.
    """

    curvatures: np.ndarray
    variances: np.ndarray
    slope: float
    pearson: float
    misalignment: float
    basis: str
    num_params: int

    def __str__(self) -> str:
        return (
            f"noise against curvature in {len(self.curvatures)} of {self.num_params} {self.basis}: slope ρ = "
            f"{self.slope:.4g}, Pearson {self.pearson:.3f}, misalignment {self.misalignment:.3f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        pearson = self.pearson if np.isfinite(self.pearson) else None
        plain = {"slope": self.slope, "pearson": pearson, "misalignment": self.misalignment, "basis": self.basis}
        return {**plain, "curvatures": self.curvatures.tolist(), "variances": self.variances.tolist()}

    def plot(self, ax: Any = None) -> Any:
        """Plot c against h with the line of slope ρ; returns the axes."""
        if ax is None:
            ax = new_figure()[1][0, 0]
        ax.plot(self.curvatures, self.variances, ".", color="#0072B2")
        ends = np.array([self.curvatures.min(), self.curvatures.max()])
        ax.plot(ends, self.slope * ends, color="#E69F00", label=f"ρ = {self.slope:.3g}, Pearson {self.pearson:.2f}")
        ax.set_xlabel("curvature h")
        ax.set_ylabel("variance c of one example's slope")
        ax.legend(frameon=False)
        return ax


def noise_against_hessian(
    landscape: Landscape,
    params: Any,
    *,
    top: int | None = None,
    window: tuple[float, float] | None = None,
    basis: str = "eigenvectors",
    chunk_size: int = 64,
    key: Any = None,
) -> NoiseAlignment:
    """Compare the covariance of one example's gradient with the Hessian at a point.

    The paper takes C = H for granted near minima. That cannot hold for a loss that is multiplied by a number, as C then
    grows with its square: on the digits ρ is far below 1.

    Args:
        landscape: the loss and its data.
        params: where.
        top: only the eigenvectors of the largest curvatures, by Lanczos' method without matrices; needed beyond 1,500
            parameters.
        window: only curvatures from one number to another, as in the paper's figures.
        basis: "eigenvectors" of H, or "coordinates".
        chunk_size: how many examples are differentiated together.
        key: a JAX random key, for the start of Lanczos' method with `top`.

    Raises:
        ArgumentError: an argument is not allowed, or the key is missing.
        LandscapeError: there are too many parameters without `top`, or no curvature lies in the window.

    References:
        Xie, Sato and Sugiyama, equations (5)–(7), figures 2, 8 and 9.
    """
    check_choice("basis", basis, BASES)
    surface = Surface(landscape, params, chunk_size)
    low, high = _window(window)
    if top is not None:
        check_integer("top", top, least=1)
        check_key(key, "Lanczos' method starts at random")
        if top > surface.size or basis == "coordinates":
            raise ArgumentError(f"top counts eigenvectors, up to p = {surface.size}; got top={top}, basis={basis!r}.")
    elif not surface.is_dense:
        raise LandscapeError(f"Matrices of {surface.size} parameters are not formed: give top=20 and a key.")
    point = surface.start
    if basis == "coordinates":
        curvatures, noise = np.diag(surface.hessian(point)), surface.covariance(point)
    else:
        curvatures, rows = _eigenpairs(surface, point, top, key)
        whole = top is None or surface.is_dense
        noise = rows @ surface.covariance(point) @ rows.T if whole else surface.noise_products(point, rows) @ rows.T
    inside = np.flatnonzero((curvatures >= low) & (curvatures <= high))
    if not inside.size:
        raise LandscapeError(
            f"No curvature lies in the window {window}: they are {curvatures.min():.3g} to {curvatures.max():.3g}. "
            "Give another window, or none."
        )
    h, matrix = curvatures[inside], noise[np.ix_(inside, inside)]
    c, size = np.diag(matrix).copy(), float(np.linalg.norm(matrix))
    spread = len(h) > 1 and np.ptp(h) > 0 and np.ptp(c) > 0
    return NoiseAlignment(
        h,
        c,
        float(c @ h / (h @ h)) if np.any(h) else float("nan"),
        float(np.corrcoef(c, h)[0, 1]) if spread else float("nan"),
        float(np.linalg.norm(matrix - np.diag(c))) / size if size else 0.0,
        basis,
        surface.size,
    )


def _window(window: Any) -> tuple[float, float]:
    if window is None:
        return -np.inf, np.inf
    ends = check_numbers("The window", window)
    if ends.shape != (2,) or np.isnan(ends).any() or ends[0] >= ends[1]:
        raise ArgumentError(f"The window is a pair of curvatures, the lower first; got {window!r}.")
    return float(ends[0]), float(ends[1])


def _eigenpairs(surface: Surface, point: np.ndarray, top: int | None, key: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return curvatures, the largest first, with eigenvectors in rows."""
    if surface.is_dense:
        values, vectors = np.linalg.eigh(surface.hessian(point))
        count = surface.size if top is None else top
        return values[::-1][:count], vectors.T[::-1][:count]
    matrix = sparse.LinearOperator(
        (surface.size,) * 2, matvec=lambda v: surface.products(point, np.ravel(v)[None])[0], dtype=float
    )
    start = np.asarray(jax.random.normal(key, (surface.size,)), dtype=float)
    values, vectors = sparse.eigsh(matrix, k=top, which="LA", v0=start, tol=1e-8)
    order = np.argsort(values)[::-1]
    return values[order], vectors.T[order]
