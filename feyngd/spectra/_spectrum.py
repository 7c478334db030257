"""The spectrum of vectors along the eigenvectors of the Hessian, and functions of the Hessian applied to them."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from .._archive import keep_attributes
from .._mesh import ALONE, Devices
from ..landscapes import Landscape
from ._lanczos import SETTLED, Krylov, Response, hessian_product, relative_change
from ._matrices import check_finite, compiled_combinations, compiled_matrices


@runtime_checkable
class Spectrum(Protocol):
    """Vectors v, seen along the eigenvectors of the Hessian H."""

    def quadrature(self) -> tuple[Float[np.ndarray, "vectors nodes"], Float[np.ndarray, "vectors nodes"]]:
        """Return curvatures and their weights: vᵀφ(H)v is the sum of weights · φ(curvatures)."""

    def apply(self, phi: Response) -> Float[np.ndarray, "vectors params"]:
        """Return φ(H)v for every v."""


@keep_attributes
class Modes:
    """Vectors in the eigenbasis of a Hessian that was written out.

    Args:
        eigenvalues: of the Hessian.
        eigenvectors: in columns.
        vectors: the vectors v, in rows.
    """

    def __init__(
        self,
        eigenvalues: Float[np.ndarray, " params"],
        eigenvectors: Float[np.ndarray, "params params"],
        vectors: Float[np.ndarray, "vectors params"],
    ) -> None:
        self._eigenvalues, self._eigenvectors = eigenvalues, eigenvectors
        self._coordinates = vectors @ eigenvectors

    def quadrature(self) -> tuple[Float[np.ndarray, "vectors params"], Float[np.ndarray, "vectors params"]]:
        """Return curvatures, all eigenvalues for every vector, and their weights."""
        return np.broadcast_to(self._eigenvalues, self._coordinates.shape), self._coordinates**2

    def apply(self, phi: Response) -> Float[np.ndarray, "vectors params"]:
        """Return φ(H)v for every v."""
        return (phi(self._eigenvalues) * self._coordinates) @ self._eigenvectors.T


@keep_attributes
class DenseHessian:
    """The Hessian of the mean loss and the covariance of its gradients, written out: p² numbers each.

    Args:
        landscape: the loss and its data.
        params: the point.
        chunk_size: how many examples are differentiated together.
        devices: those that share the examples.

    Raises:
        LandscapeError: the Hessian is not finite.
    """

    def __init__(self, landscape: Landscape, params: PyTree, chunk_size: int, devices: Devices = ALONE) -> None:
        compiled = compiled_matrices(landscape.loss, chunk_size, devices)
        noise, hessian = (np.asarray(m, dtype=float) for m in compiled(params, landscape.data))
        check_finite(hessian)
        self.eigenvalues, self.eigenvectors = np.linalg.eigh(hessian)
        self.noise_weights = np.sum(self.eigenvectors * (noise @ self.eigenvectors), axis=0)

    def spectrum(self, vectors: Float[np.ndarray, "vectors params"], probes: Sequence[Response]) -> Modes:
        """Return the spectrum of vectors; exact, so that no probe is needed."""
        return Modes(self.eigenvalues, self.eigenvectors, vectors)


class MatrixFreeHessian:
    """The Hessian of the mean loss as a function of vectors.

    Args:
        landscape: the loss and its data.
        params: the point.
        chunk_size: how many examples are differentiated together.
        max_steps: the most products for every vector.
        devices: those that share the examples.
    """

    def __init__(
        self, landscape: Landscape, params: PyTree, chunk_size: int, max_steps: int, devices: Devices = ALONE
    ) -> None:
        self._product = hessian_product(landscape.loss, params, landscape.data, chunk_size, devices)
        self._max_steps = max_steps

    def spectrum(self, vectors: Float[np.ndarray, "vectors params"], probes: Sequence[Response]) -> Krylov:
        """Return the spectrum of vectors, its Krylov spaces grown until all probes settle."""
        spaces = Krylov(self._product, vectors, self._max_steps)
        means: list[list[float]] = [[] for _ in probes]
        while spaces.steps < spaces.most_steps and not spaces.is_complete:
            spaces.grow()
            nodes, weights = spaces.quadrature()
            for row, phi in zip(means, probes, strict=True):
                row.append(float(np.mean(np.sum(weights * phi(nodes), axis=1))))
            if all(relative_change(row) < SETTLED for row in means):
                break
        return spaces


def combinations_of_gradients(
    landscape: Landscape,
    params: PyTree,
    weights: Float[np.ndarray | Array, "combinations examples"],
    chunk_size: int,
    devices: Devices = ALONE,
) -> Float[np.ndarray, "combinations params"]:
    """Return sums of the examples' gradients with weights, in double precision."""
    combine = compiled_combinations(landscape.loss, chunk_size, devices)
    return np.asarray(combine(params, landscape.data, jnp.asarray(weights)), dtype=float)
