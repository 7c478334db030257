"""Covariance, bias and losses around a minimum from Hessian-vector products alone, with standard errors.

For a random combination v of the examples' gradients, E[v vᵀ] = D. In the Krylov space of the Hessian C from v, with
Ritz values h_i and vectors r_i, what v vᵀ sustains is the sum of T v_i v_j r_i r_jᵀ/(h_i + h_j [− ηh_i h_j]) over
i and j. Its mean over v is the covariance Σ.
"""

import warnings
from dataclasses import dataclass

import jax
import numpy as np
from scipy.sparse import linalg

from ...estimates import Estimate, PrecisionWarning
from ...spectra import Krylov
from ._local_dense import check_curvatures, check_stable
from ._local_settings import AtMinimum, Rates

_WEIGHT = 1e-7  # of |v|², along Ritz vectors without curvature, that is noise and not rounding
_SMALL = 1e-9  # of the largest eigenvalue of X: smaller ones are left out
_SETTLED = 1e-3  # relative change over the last quarter of Lanczos' steps that ends them
_WORTH_A_WARNING = 0.02
_RESIDUAL = 1e-2  # relative, of conjugate gradients, above which there is a warning


@dataclass(frozen=True)
class KrylovResult:
    """Replicates of the numbers of a local steady state, shape (m,) each, and estimates made of them.

    The curvatures are Ritz values that the noise reaches, else NaN, shape (m, k); `moved` is |b|/√tr Σ.
    """

    train_excess: np.ndarray
    covariance_curvature: np.ndarray
    bias_term: np.ndarray
    commutator: Estimate
    bias: np.ndarray
    residual: float
    curvatures: np.ndarray
    moved: Estimate


def grown(point: AtMinimum, starts: np.ndarray) -> Krylov:
    """Return Krylov spaces of the train loss's Hessian in which the mean of vᵀC⁻¹v has settled.

    Raises:
        LandscapeError: a Ritz value is not positive where the starts have weight.
    """
    spaces = Krylov(lambda rows: point.train.products(point.theta, rows), starts, point.max_steps)
    means: list[float] = []
    change = np.inf
    while spaces.steps < spaces.most_steps and not spaces.is_complete:
        spaces.grow()
        nodes, weights = spaces.quadrature()
        positive = nodes > point.flat * np.abs(nodes).max()
        means.append(float(np.sum(np.where(positive, weights / np.where(positive, nodes, 1), 0))))
        if len(means) >= 4:
            change = abs(means[-1] / means[len(means) - 1 - len(means) // 4] - 1)
            if change < _SETTLED:
                break
    if not spaces.is_complete and change > _WORTH_A_WARNING:
        warnings.warn(
            f"Lanczos' quadrature still moved by {change:.1%} in its last steps: raise max_steps={point.max_steps}, or "
            "give the penalty of the run.",
            PrecisionWarning,
            stacklevel=4,
        )
    nodes, weights = spaces.quadrature()
    bad = (nodes <= point.flat * np.abs(nodes).max()) & (weights > _WEIGHT * weights.sum(axis=1, keepdims=True))
    check_curvatures(np.where(weights > 0, nodes, np.abs(nodes).max()).ravel(), bad.ravel(), point)
    return spaces


def krylov_result(point: AtMinimum, rates: Rates) -> KrylovResult:
    """Return the result without matrices.

    Raises:
        ArgumentError: steps are not stable.
        LandscapeError: a curvature is not positive where there is noise.
    """
    for_noise, for_commutator = jax.random.split(point.key)
    spaces = grown(point, point.noise.samples(point.num_samples, for_noise))
    nodes, along, rows = spaces.ritz()
    check_stable(float(nodes.max()), rates)
    gradient = point.test(point.theta)[1]
    y, residual = solved(point, gradient)
    excess, curved, pushes, spreads = [], [], [], []
    for h, v, basis in zip(nodes, along, rows, strict=True):
        held = (h > point.flat * np.abs(h).max()) & (v != 0)
        h, v, basis = h[held], v[held], basis[held]
        inside = np.outer(v, v) * rates.lasting(h[:, None], h)
        excess.append(np.sum(np.diag(inside) * h) / 2)
        spreads.append(np.trace(inside))
        sizes, directions = np.linalg.eigh(inside)
        kept = sizes > _SMALL * sizes.max(initial=0.0)  # nothing is left of a v that is 0
        vectors = (directions[:, kept] * np.sqrt(sizes[kept])).T @ basis
        images = point.test.products(point.theta, vectors)
        curved.append(np.sum(images * vectors) / 2)
        pushes.append(point.train.third(point.theta, vectors).sum(axis=0))
    push = np.array(pushes)
    # Each half of the samples for itself: the product of both estimates |b|² without the noise's own square.
    halves, rests = zip(*(solved(point, part.mean(axis=0)) for part in np.array_split(push, 2)), strict=True)
    shares = np.array([len(part) for part in np.array_split(push, 2)]) / len(push)
    bias = shares @ np.array(halves) / 2
    if (worst := max(residual, *rests)) > _RESIDUAL:
        warnings.warn(
            f"Conjugate gradients left {worst:.1%} of a right-hand side: raise max_steps={point.max_steps}.",
            PrecisionWarning,
            stacklevel=3,
        )
    return KrylovResult(
        np.array(excess),
        np.array(curved),
        -push @ y / 2,
        commutator(point, for_commutator),
        bias,
        residual,
        np.where(along != 0, nodes, np.nan),
        _moved(point, bias, max(float(halves[0] @ halves[1]) / 4, 0.0) ** 0.5, push, np.array(spreads)),
    )


def _moved(point: AtMinimum, bias: np.ndarray, length: float, push: np.ndarray, spreads: np.ndarray) -> Estimate:
    """Return |b|/√tr Σ with its error to first order in those of both.

    Args:
        point: where.
        bias: b, for its direction.
        length: |b|.
        push: replicates of J:Σ, shape (m, p).
        spreads: replicates of tr Σ, shape (m,).
    """
    size, spread = float(np.linalg.norm(bias)), float(spreads.mean())
    if not size or not spread:
        return Estimate(0.0, None, 0, "exact")
    along = push @ solved(point, bias / size)[0] / 2
    value = length / spread**0.5
    replicates = along / spread**0.5 - value / 2 * (spreads / spread)
    return Estimate(value, float(replicates.std(ddof=1) / len(push) ** 0.5), len(push), "lanczos")


def solved(point: AtMinimum, vector: np.ndarray) -> tuple[np.ndarray, float]:
    """Return C⁻¹v by conjugate gradients, and the norm of what is left over that of v."""
    size = float(np.linalg.norm(vector))
    if not size:
        return np.zeros_like(vector), 0.0

    def product(x: np.ndarray) -> np.ndarray:
        return point.train.products(point.theta, x[None])[0]

    operator = linalg.LinearOperator((len(vector),) * 2, matvec=product, dtype=float)
    x, _ = linalg.cg(operator, vector, rtol=max(1e-10, 10 * point.train.eps), maxiter=4 * point.max_steps)
    return x, float(np.linalg.norm(vector - product(x))) / size


def commutator(point: AtMinimum, key: jax.Array) -> Estimate:
    """Return |CD − DC|/(√2 |CD|), from random signs z: the root of E|(CD − DC)z|²/(2E|CDz|²)."""
    z = np.asarray(jax.random.rademacher(key, (point.num_samples, point.size), float), dtype=float)

    def curved(rows: np.ndarray) -> np.ndarray:
        return point.train.products(point.theta, rows)

    one, other = curved(point.noise.products(z)), point.noise.products(curved(z))
    top, bottom = np.sum((one - other) ** 2, axis=1), 2 * np.sum(one**2, axis=1)
    if not bottom.sum():
        return Estimate(0.0, None, 0, "exact")
    value = float(np.sqrt(top.sum() / bottom.sum()))
    # To first order in the errors of both means.
    spread = (top - value**2 * bottom).std(ddof=1) / len(z) ** 0.5 / bottom.mean()
    return Estimate(value, float(spread / (2 * value)) if value else float(spread**0.5), len(z), "lanczos")
