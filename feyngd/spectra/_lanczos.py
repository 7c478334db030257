"""Traces tr[C φ(H)] without matrices: random combinations of gradients, and Lanczos' quadrature for each.

With independent random signs ε, v = Σ_n ε_n (g_n − ḡ)/√(N − 1) has E[v vᵀ] = C, so vᵀφ(H)v is unbiased. Every v uses
all examples. Single examples in place of v would be unbiased too, but at trained points a few of them make nearly all
of the noise, and most draws miss them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from .._archive import keep_attributes
from .._mesh import ALONE, Devices
from ..derivatives import Loss, num_examples, num_params
from ._matrices import check_finite, compiled_combinations, compiled_products

Response = Callable[[np.ndarray], np.ndarray]  # φ, a function of an array of curvatures
Product = Callable[[np.ndarray], np.ndarray]  # from vectors v, in rows, to Hv

MIN_STEPS = 4  # fewer do not show whether the quadrature has settled

_MEMORY = 2**29  # bytes for the Lanczos vectors that are held together
_EXHAUSTED = 1e-14  # relative size of a vector below which nothing but rounding is left of it
SETTLED = 1e-3  # relative change over the last quarter of the steps, below which quadrature ends


@dataclass(frozen=True)
class Quadrature:
    """The replicates of a trace, with the curvatures that Lanczos found and their weights.

    Attributes:
        replicates: vᵀφ(H)v for every random combination v.
        nodes: curvatures h.
        weights: the weights of the curvatures; the sum of weights · φ(h) is the replicate.
        change: the relative change of the mean over the last quarter of the steps.
    """

    replicates: Float[np.ndarray, " replicates"]
    nodes: Float[np.ndarray, "replicates nodes"]
    weights: Float[np.ndarray, "replicates nodes"]
    change: float


def sampled_traces(
    loss: Loss,
    params: PyTree,
    data: PyTree,
    phi: Response,
    *,
    num_samples: int,
    most_steps: int,
    chunk_size: int,
    key: PRNGKeyArray,
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
    together = most_together(num_params(params), most_steps)
    product = hessian_product(loss, params, data, chunk_size)
    found = []
    for first in range(0, num_samples, together):
        members = np.arange(first, min(first + together, num_samples))
        start = compiled_combinations(loss, chunk_size)(params, data, signs(key, members, num_examples(data)))
        found.append(_quadrature(Krylov(product, np.asarray(start, dtype=float), most_steps), phi))
    return found


@partial(jax.jit, static_argnames="count")
def signs(key: PRNGKeyArray, members: Int[Array, " members"], count: int) -> Float[Array, "members examples"]:
    """Return (ε_n − mean ε)/√(N − 1) for every member in a row: centring the signs centres the gradients."""
    epsilon = jax.vmap(lambda index: jax.random.rademacher(jax.random.fold_in(key, index), (count,), float))(members)
    return (epsilon - jnp.mean(epsilon, axis=1, keepdims=True)) / (count - 1) ** 0.5


def hessian_product(loss: Loss, params: PyTree, data: PyTree, chunk_size: int, devices: Devices = ALONE) -> Product:
    """Return a function from vectors v to Hv, in double precision."""
    dtype = jnp.result_type(*jax.tree.leaves(params))
    params, data = devices.placed((params, data))  # once for all products

    def product(vectors: Float[np.ndarray, "vectors params"]) -> Float[np.ndarray, "vectors params"]:
        images = compiled_products(loss, chunk_size, devices)(params, data, jnp.asarray(vectors, dtype))
        return np.asarray(images, dtype=float)

    return product


def most_together(size: int, most_steps: int) -> int:
    """Return how many Krylov spaces of a number of parameters are held in memory together, at least 1."""
    return max(1, _MEMORY // (8 * (min(most_steps, size) + 1) * size))


@keep_attributes
class Krylov:
    """The Krylov spaces of a Hessian, one for every start v, grown step by step by Lanczos' recurrence.

    In the basis q_0, q_1, … of a space the Hessian is a tridiagonal matrix, with α_j = q_j·H q_j on the diagonal and
    β_j = |rest of H q_j outside of q_0 … q_j| beside it, and q_{j+1} is that rest divided by β_j. Every new vector is
    made orthogonal to all earlier ones, twice, in double precision: without that, eigenvalues come up again that were
    found before.

    Args:
        product: from vectors to their products with the Hessian.
        starts: the first vectors v, a space for each.
        most_steps: the most dimensions that the spaces may have; p suffice.
    """

    def __init__(self, product: Product, starts: Float[np.ndarray, "vectors params"], most_steps: int) -> None:
        self._product = product
        self.most_steps = min(most_steps, starts.shape[1])
        self.steps = 0  # k, how many dimensions the spaces have
        self._lengths = np.linalg.norm(starts, axis=1)  # |v|
        self._basis = np.zeros((len(starts), self.most_steps + 1, starts.shape[1]))  # q_0 to q_k of every space
        self._basis[:, 0] = _divided(starts, self._lengths)
        self._diagonals, self._offdiagonals = np.zeros((2, self.most_steps, len(starts)))  # α_j and β_j, a row a step

    def __getstate__(self) -> dict[str, Any]:
        # Spaces that are kept have grown as far as they were needed.
        return self.__dict__ | {"_product": None}

    @property
    def is_complete(self) -> bool:
        """Whether further steps would find nothing: all spaces are invariant, and quadrature is exact."""
        return self.steps == self._basis.shape[2] or (self.steps > 0 and not self._offdiagonals[self.steps - 1].any())

    def grow(self) -> None:
        """Add a dimension to every space, at the cost of one product.

        Raises:
            LandscapeError: a product is not finite.
        """
        j, basis = self.steps, self._basis
        image = self._product(basis[:, j])  # H q_j
        check_finite(image)
        self._diagonals[j] = np.sum(basis[:, j] * image, axis=1)
        known, rest = basis[:, : j + 1], image
        for _ in range(2):
            rest = rest - np.matmul(np.matmul(known, rest[:, :, None])[:, None, :, 0], known)[:, 0]
        beta = np.linalg.norm(rest, axis=1)
        beta[beta <= _EXHAUSTED * np.linalg.norm(image, axis=1)] = 0
        self._offdiagonals[j], basis[:, j + 1] = beta, _divided(rest, beta)
        self.steps += 1

    def quadrature(
        self, steps: int | None = None
    ) -> tuple[Float[np.ndarray, "vectors nodes"], Float[np.ndarray, "vectors nodes"]]:
        """Return curvatures and their weights: vᵀφ(H)v is the sum of weights · φ(curvatures).

        Args:
            steps: of how many dimensions, all by default.
        """
        nodes, vectors = self._eigen(steps or self.steps)
        return nodes, self._lengths[:, None] ** 2 * vectors[:, 0] ** 2

    def ritz(
        self,
    ) -> tuple[
        Float[np.ndarray, "vectors nodes"],
        Float[np.ndarray, "vectors nodes"],
        Float[np.ndarray, "vectors nodes params"],
    ]:
        """Return curvatures, the coordinates of v along Ritz vectors, and these vectors, orthonormal, in rows."""
        nodes, vectors = self._eigen(self.steps)
        rows = np.einsum("mjk,mjp->mkp", vectors, self._basis[:, : self.steps])
        return nodes, self._lengths[:, None] * vectors[:, 0], rows

    def apply(self, phi: Response) -> Float[np.ndarray, "vectors params"]:
        """Return φ(H)v for every start v, as far as its space holds it."""
        nodes, vectors = self._eigen(self.steps)
        coordinates = np.matmul(vectors, (phi(nodes) * vectors[:, 0])[:, :, None])[:, :, 0]
        return np.einsum("mk,mkp->mp", self._lengths[:, None] * coordinates, self._basis[:, : self.steps])

    def _eigen(self, steps: int) -> tuple[Float[np.ndarray, "vectors nodes"], Float[np.ndarray, "vectors nodes nodes"]]:
        """Return the eigenvalues and eigenvectors of every tridiagonal matrix.

        Where a space was exhausted, the entries beyond it have no weight; they are put at the first diagonal entry,
        where any function of interest is defined.
        """
        diagonals, offdiagonals = self._diagonals[:steps], self._offdiagonals[:steps]
        exhausted = np.cumsum(offdiagonals == 0, axis=0)[:-1] > 0
        matrices = np.zeros((diagonals.shape[1], steps, steps))
        at = np.arange(steps)
        matrices[:, at, at] = np.concatenate([diagonals[:1], np.where(exhausted, diagonals[0], diagonals[1:])]).T
        matrices[:, at[1:], at[:-1]] = offdiagonals[:-1].T
        nodes, vectors = np.linalg.eigh(matrices)
        return nodes, vectors


def _quadrature(spaces: Krylov, phi: Response) -> Quadrature:
    """Grow Krylov spaces until the mean of the quadratures has settled."""
    means: list[float] = []
    while True:
        spaces.grow()
        nodes, weights = spaces.quadrature()
        with np.errstate(invalid="ignore"):  # infinite values are for the caller to report
            replicates = np.sum(weights * phi(nodes), axis=1)
        means.append(float(np.mean(replicates)))
        change = 0.0 if spaces.is_complete else relative_change(means)
        if change < SETTLED or not np.isfinite(means[-1]) or spaces.steps == spaces.most_steps:
            return Quadrature(replicates, nodes, weights, change)


def relative_change(means: list[float]) -> float:
    """Return the relative change of the last quarter of a sequence; infinite where there are too few steps."""
    steps = len(means)
    if steps < MIN_STEPS or not means[-1]:
        return np.inf
    return abs(means[-1] - means[steps - 1 - steps // 4]) / abs(means[-1])


def _divided(
    rows: Float[np.ndarray, "rows params"], lengths: Float[np.ndarray, " rows"]
) -> Float[np.ndarray, "rows params"]:
    """Divide every row by its length; rows of length 0 become zeros."""
    return np.divide(rows, lengths[:, None], out=np.zeros_like(rows), where=lengths[:, None] > 0)
