"""Traces tr[C φ(H)] without matrices: random combinations of gradients, and Lanczos' quadrature for each.

With independent random signs ε, v = Σ_n ε_n (g_n − ḡ)/√(N − 1) has E[v vᵀ] = C, so vᵀφ(H)v is unbiased. Every v uses
all examples. Single examples in place of v would be unbiased too, but at trained points a few of them have nearly all
of the noise, and most draws miss them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._curvature import Loss, check_finite, compiled_combinations, compiled_products, num_examples, num_params
from ._responses import Response

MIN_STEPS = 4  # fewer cannot tell whether the quadrature has settled

_MEMORY = 2**29  # bytes for the Lanczos vectors that are held together
_EXHAUSTED = 1e-14  # relative size of a vector below which nothing but rounding is left of it
_SETTLED = 1e-3  # relative change over the last quarter of the steps, below which quadrature ends


@dataclass(frozen=True)
class Quadrature:
    """The replicates of a trace, with the curvatures that Lanczos found and their weights.

    Attributes:
        replicates: one value of vᵀφ(H)v for every random combination v, shape (m,).
        nodes: curvatures, shape (m, k).
        weights: their weights, shape (m, k); φ's sum over them is the replicate.
        change: the relative change of the mean over the last quarter of the steps.
    """

    replicates: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    change: float


def sampled_traces(
    loss: Loss,
    params: Any,
    data: Any,
    phi: Response,
    *,
    num_samples: int,
    most_steps: int,
    chunk_size: int,
    key: jax.Array,
) -> list[Quadrature]:
    """Return independent replicates of tr[C φ(H)], as many in each part as memory allows.

    Args:
        loss: `loss(params, example)`.
        params: the point, a pytree of p numbers in all.
        data: N ≥ 2 examples.
        phi: a function of an array of curvatures.
        num_samples: how many replicates.
        most_steps: how many Hessian-vector products to spend on each, at most.
        chunk_size: how many examples are differentiated together.
        key: a JAX random key.

    Raises:
        LandscapeError: a Hessian-vector product is not finite.
    """
    size = num_params(params)
    most_steps = min(most_steps, size)
    together = max(1, min(num_samples, _MEMORY // (8 * (most_steps + 1) * size)))
    dtype = jnp.result_type(*jax.tree.leaves(params))

    def product(vectors: np.ndarray) -> np.ndarray:
        images = compiled_products(loss, chunk_size)(params, data, jnp.asarray(vectors, dtype))
        return np.asarray(images, dtype=float)

    found = []
    for first in range(0, num_samples, together):
        members = np.arange(first, min(first + together, num_samples))
        start = compiled_combinations(loss, chunk_size)(params, data, signs(key, members, num_examples(data)))
        found.append(_quadrature(product, phi, np.asarray(start, dtype=float), most_steps))
    return found


@partial(jax.jit, static_argnames="count")
def signs(key: jax.Array, members: jax.Array, count: int) -> jax.Array:
    """Return (ε_n − mean ε)/√(N − 1) for every member in a row: centring the signs centres the gradients."""
    ones = jax.vmap(lambda index: jax.random.rademacher(jax.random.fold_in(key, index), (count,), float))(members)
    return (ones - jnp.mean(ones, axis=1, keepdims=True)) / (count - 1) ** 0.5


def _quadrature(
    product: Callable[[np.ndarray], np.ndarray], phi: Response, start: np.ndarray, most_steps: int
) -> Quadrature:
    """Run Lanczos from every row of `start`, until the mean of the quadratures has settled.

    Every new vector is made orthogonal to all earlier ones, twice, in double precision: without that, eigenvalues that
    were found come up again.
    """
    lengths = np.linalg.norm(start, axis=1)
    basis = np.zeros((len(start), most_steps + 1, start.shape[1]))
    basis[:, 0] = _divided(start, lengths)
    diagonals, offdiagonals = np.zeros((2, most_steps, len(start)))
    means: list[float] = []
    for j in range(most_steps):
        image = product(basis[:, j])
        check_finite(image)
        diagonals[j] = np.sum(basis[:, j] * image, axis=1)
        known, rest = basis[:, : j + 1], image
        for _ in range(2):
            rest = rest - np.matmul(np.matmul(known, rest[:, :, None])[:, None, :, 0], known)[:, 0]
        beta = np.linalg.norm(rest, axis=1)
        beta[beta <= _EXHAUSTED * np.linalg.norm(image, axis=1)] = 0
        offdiagonals[j], basis[:, j + 1] = beta, _divided(rest, beta)
        nodes, weights = _nodes_and_weights(diagonals[: j + 1], offdiagonals[: j + 1], lengths**2)
        with np.errstate(invalid="ignore"):  # infinite values are for the caller to report
            replicates = np.sum(weights * phi(nodes), axis=1)
        means.append(float(np.mean(replicates)))
        change = 0.0 if j + 1 == start.shape[1] or not beta.any() else _change(means)
        if change < _SETTLED or not np.isfinite(means[-1]):
            break
    return Quadrature(replicates, nodes, weights, change)


def _change(means: list[float]) -> float:
    steps = len(means)
    if steps < MIN_STEPS or not means[-1]:
        return np.inf
    return abs(means[-1] - means[steps - 1 - steps // 4]) / abs(means[-1])


def _nodes_and_weights(
    diagonals: np.ndarray, offdiagonals: np.ndarray, squares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues of every tridiagonal matrix, and the squared first entries of its eigenvectors.

    Where a space was exhausted, the entries beyond it have no weight; they are put at the first diagonal entry, where
    any function of interest is defined.
    """
    steps = len(diagonals)
    exhausted = np.cumsum(offdiagonals == 0, axis=0)[:-1] > 0
    matrices = np.zeros((diagonals.shape[1], steps, steps))
    at = np.arange(steps)
    matrices[:, at, at] = np.concatenate([diagonals[:1], np.where(exhausted, diagonals[0], diagonals[1:])]).T
    matrices[:, at[1:], at[:-1]] = offdiagonals[:-1].T
    nodes, vectors = np.linalg.eigh(matrices)
    return nodes, squares[:, None] * vectors[:, 0] ** 2


def _divided(rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Divide every row by its length; rows of length 0 become zeros."""
    return np.divide(rows, lengths[:, None], out=np.zeros_like(rows), where=lengths[:, None] > 0)
