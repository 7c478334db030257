"""The sharpest directions: the greatest eigenvalues of the Hessian with their eigenvectors, without matrices."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from scipy.sparse import linalg

from ..._arguments import check_integer
from ..._keys import check_key
from ...errors import ArgumentError, LandscapeError
from ...estimates import PrecisionWarning
from ...landscapes import Landscape, enter
from ...minima import MeanLoss
from .._numbers import check_choice, check_number

METHODS = ("lanczos", "subspace")
_REPEATED = 1e-6  # relative gap below which two eigenvectors may be any of their plane

Products = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Eigenvalues of the Hessian from the greatest down, with their eigenvectors.

    Attributes:
        values: ρ, shape (k,).
        vectors: q in rows, orthonormal, shape (k, p); the largest entry of each is positive.
        residuals: |Hq − ρq|, shape (k,): an eigenvalue lies at least that near to ρ.
        products: how many Hessian-vector products it took; 0 with matrices.
    """

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    products: int
    shaped: Callable[[np.ndarray], Any] = field(repr=False)

    def as_params(self, i: int) -> Any:
        """Return an eigenvector with the structure of the parameters.

        Raises:
            ArgumentError: there is no such eigenvector.
        """
        index = check_integer("i", i, least=0)
        if index >= len(self.values):
            raise ArgumentError(f"There are eigenvectors 0 to {len(self.values) - 1}; got i={index}.")
        return self.shaped(self.vectors[index])


def top_eigenpairs(
    landscape: Landscape,
    params: Any,
    k: int,
    *,
    method: str = "lanczos",
    tol: float = 1e-3,
    max_products: int = 500,
    key: Any,
) -> Eigenpairs:
    """Return the k greatest eigenvalues of the Hessian of the mean loss, with eigenvectors.

    Args:
        landscape: the loss and its data.
        params: the point, a pytree of p numbers in all.
        k: how many.
        method: "lanczos", ARPACK's, or "subspace", repeated products of k vectors, as in the paper; it finds the
            eigenvalues of the largest size, so that a large negative one would stand among them.
        tol: the residual |Hq − ρq| to stop at, over the greatest eigenvalue.
        max_products: the most Hessian-vector products.
        key: a JAX random key, for the first vectors.

    Raises:
        ArgumentError: an argument is not allowed, or k is above p.
        LandscapeError: the landscape is invalid, or a product is not finite.

    Warns:
        PrecisionWarning: a residual is above `tol`, or two eigenvalues are equal up to rounding.

    References:
        Kunin et al., appendix H.1: subspace iteration.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import feyngd as fd
        >>> landscape = fd.Landscape(lambda theta, x: 0.5 * jnp.sum(x * theta**2), jnp.array([[1.0, 3.0, 2.0]]))
        >>> top_eigenpairs(landscape, jnp.zeros(3), 1, key=jax.random.key(0)).values.round(3)
        array([3.])
    """
    count = check_integer("k", k, least=1)
    check_choice("method", method, METHODS)
    goal = check_number("tol", tol, above=0)
    most = check_integer("max_products", max_products, least=1)
    check_key(key, "The first vectors are drawn at random")
    landscape, params = enter(landscape, params)
    landscape.validate(params)
    surface = MeanLoss(landscape, params)
    size = len(surface.start)
    if count > size:
        raise ArgumentError(f"k={count} eigenvectors are more than the {size} parameters: give at most that many.")
    starts = np.asarray(jax.random.normal(key, (count, size)), dtype=float)
    counter = _Counted(partial(surface.products, surface.start))
    find = _lanczos if method == "lanczos" else _subspace
    vectors = find(counter, starts, goal, most)
    return finished(counter, vectors, goal, surface.shaped, counter.used)


def finished(
    products: Products, vectors: np.ndarray, goal: float, shaped: Callable[[np.ndarray], Any], used: int
) -> Eigenpairs:
    """Return eigenpairs in the span of vectors in rows, with their residuals; warn where they are not settled."""
    basis = np.linalg.qr(vectors.T)[0].T
    images = products(basis)
    values, turns = np.linalg.eigh((basis @ images.T + images @ basis.T) / 2)
    order = np.argsort(values)[::-1]
    values, vectors, images = values[order], turns.T[order] @ basis, turns.T[order] @ images
    residuals = np.linalg.norm(images - values[:, None] * vectors, axis=1)
    top = np.abs(values).max(initial=0.0) or 1.0
    if (bad := residuals > goal * top).any():
        warnings.warn(
            f"{bad.sum()} of {len(values)} eigenvectors have residuals up to {residuals.max():.2g}, above tol·ρ = "
            f"{goal * top:.2g}: raise max_products, which was spent, or ask for fewer.",
            PrecisionWarning,
            stacklevel=3,
        )
    # A residual bounds the error of its eigenvalue: closer neighbours may be one.
    blur = np.maximum(_REPEATED * top, np.maximum(residuals[:-1], residuals[1:]))
    if np.any(close := -np.diff(values) < blur):
        at = int(np.argmax(close))
        warnings.warn(
            f"The eigenvalues {at} and {at + 1}, {values[at]:.6g} and {values[at + 1]:.6g}, are equal up to rounding "
            f"or their residuals, {blur[at]:.1g}: their eigenvectors are any of a plane. Lower tol to tell them apart.",
            PrecisionWarning,
            stacklevel=3,
        )
    return Eigenpairs(values, upright(vectors), residuals, used, shaped)


def upright(vectors: np.ndarray) -> np.ndarray:
    """Return vectors in rows with signs that make the largest entry of each positive."""
    largest = vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)]
    return vectors * np.where(largest < 0, -1.0, 1.0)[:, None]


class _Counted:
    """Products that are counted, and checked."""

    def __init__(self, product: Products) -> None:
        self._product, self.used = product, 0

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        images = self._product(vectors)
        if not np.all(np.isfinite(images)):
            raise LandscapeError("A Hessian-vector product is not finite at these parameters: start from others.")
        self.used += len(vectors)
        return images


def _lanczos(product: _Counted, starts: np.ndarray, goal: float, most: int) -> np.ndarray:
    count, size = starts.shape
    if count >= size - 1 or size < 4:  # ARPACK wants room
        return np.eye(size)[:size] if count == size else _dense_top(product, count, size)
    operator = linalg.LinearOperator((size, size), matvec=lambda x: product(np.reshape(x, (1, -1)))[0], dtype=float)
    # A cycle of ARPACK takes `ncv` products at first and fewer later.
    room = min(size, max(2 * count + 1, 20))
    cycles = max(1, most // room)
    try:
        found = linalg.eigsh(operator, count, which="LA", v0=starts[0], ncv=room, tol=goal, maxiter=cycles)[1]
        return found.T
    except linalg.ArpackNoConvergence as error:
        known = error.eigenvectors.T
        return np.concatenate([known, starts[len(known) :]])


def _dense_top(product: _Counted, count: int, size: int) -> np.ndarray:
    matrix = product(np.eye(size))
    return np.linalg.eigh((matrix + matrix.T) / 2)[1].T[::-1][:count]


def _subspace(product: _Counted, starts: np.ndarray, goal: float, most: int) -> np.ndarray:
    basis = np.linalg.qr(starts.T)[0].T
    while product.used + 2 * len(basis) <= most:
        images = product(basis)
        values, turns = np.linalg.eigh((basis @ images.T + images @ basis.T) / 2)
        rest = np.linalg.norm(turns.T @ images - values[:, None] * (turns.T @ basis), axis=1)
        if rest.max() <= goal * np.abs(values).max():
            break
        basis = np.linalg.qr(images.T)[0].T
    return basis
