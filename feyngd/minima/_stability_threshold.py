"""The learning rate up to which SGD stays at a minimum, where noise in the examples' Hessians kicks it out first.

Near a minimum that all examples share, a step multiplies the distance by 1 − ηH_b, where H_b is the Hessian of its
batch. Ties of two Hessians of one example, κ[h, h], re-summed together with the propagators, make a linear map of
second moments: the noise of Hessians acts on a covariance P as 𝒱(P) = (mean of H_x P H_x − H P H)/B, and propagators
carry what it adds on, so that P comes back as η² Σ_Δ K_i(Δ) K_j(Δ) 𝒱(P)_ij. SGD is stable while this map shrinks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.sparse.linalg import LinearOperator, eigs

from .._arguments import check_integer
from .._learning_rates import check_learning_rate
from ..derivatives import num_params
from ..errors import ArgumentError, LandscapeError
from ..landscapes import Landscape, check_landscape, enter
from ..optimizers import PLAIN, Optimizer, check_optimizer, companion, stable_damping
from ._dense import Derivatives
from ._stationary import overlaps

SAMPLINGS = ("with-replacement", "full-batch")
_MOST_NUMBERS = 20_000_000  # in the Hessians of all examples, 160 MB
_WRITTEN_OUT = 60  # up to this many directions 𝒱 is a matrix of k⁴ numbers, 100 MB; beyond, the sum is taken every time
_DENSE = 200  # up to this many unknowns all eigenvalues are computed
_CONVERGED = 1e-11  # relative, of eigenvalues by Arnoldi's iteration
_FLAT = 1e-9  # relative to the greatest: curvatures in double precision that may be rounding
_EDGE = 1e-9  # how near to the bound without noise a rate is looked at


@dataclass(frozen=True, eq=False, repr=False)
class StabilityThreshold:
    """Up to which learning rate second moments of SGD near a minimum stay bounded. Made by `stability_threshold`.

    Attributes:
        curvatures: the positive eigenvalues of the mean Hessian, shape (k,).
        hessians: those of the examples in its eigenbasis, shape (M, k, k).
        batch_size: B; `None` for full batch.
        optimizer: of a constant rate, with numbers for parameters.
    """

    curvatures: np.ndarray
    hessians: np.ndarray
    batch_size: int | None
    optimizer: Optimizer

    @classmethod
    def of_hessians(
        cls, hessians: ArrayLike, *, batch_size: int | None = 1, optimizer: Optimizer = PLAIN
    ) -> "StabilityThreshold":
        """Return the threshold for the Hessians of all examples at a minimum.

        Args:
            hessians: symmetric matrices, shape (M, p, p).
            batch_size: B, of which each point is an independent draw; `None` for full batch.
            optimizer: of a constant rate.

        Raises:
            ArgumentError: shapes do not fit, or the optimizer has symbols, a metric or steps that differ.
            LandscapeError: the mean Hessian has a negative eigenvalue, or is flat where the examples' are not.
        """
        every = np.asarray(hessians, dtype=float)
        if every.ndim != 3 or every.shape[1] != every.shape[2] or not every.size or not np.all(np.isfinite(every)):
            raise ArgumentError(f"Hessians are finite numbers of shape (M, p, p); got shape {every.shape}.")
        batch = None if batch_size is None else check_integer("batch_size", batch_size, least=1)
        constant = replace(check_optimizer(optimizer), average=None)
        stable_damping(constant)  # refuses what has no constant rate
        every = (every + every.swapaxes(1, 2)) / 2
        eigenvalues, axes = np.linalg.eigh(every.mean(axis=0))
        turned = axes.T @ every @ axes
        return cls(*_curved(eigenvalues, turned), batch, constant.in_floats())

    @property
    def without_noise(self) -> float:
        """The bound of full batch: the optimizer's own over the greatest curvature, 2/h for SGD."""
        return stable_damping(self.optimizer) / float(self.curvatures.max())

    @cached_property
    def learning_rate(self) -> float:
        """The threshold: below it second moments of the distance from the minimum stay bounded, above it they grow."""
        highest = self.without_noise * (1 - _EDGE)
        if self.returned(highest) < 1:
            return self.without_noise
        low = highest / 2
        while self.returned(low) >= 1:
            low /= 2
        return float(brentq(lambda rate: np.log(self.returned(rate)), low, min(2 * low, highest), rtol=1e-12))

    def returned(self, learning_rate: float) -> float:
        """Return how much of a second moment the noise of Hessians brings back in all; at 1 stability is lost.

        It is the spectral radius of P ↦ η² Σ_Δ K_i(Δ) K_j(Δ) 𝒱(P)_ij, for a rate below the bound without noise.
        """
        rate, count = check_learning_rate(learning_rate), len(self.curvatures)
        if rate >= self.without_noise:
            return float("inf")
        between = rate**2 * overlaps(companion(self.optimizer, rate * self.curvatures))[0]

        def once(moments: np.ndarray) -> np.ndarray:
            return between * self._scattered(moments)

        return _spectral_radius(once, (count, count), np.eye(count))

    def growth(self, learning_rate: float) -> float:
        """Return the factor by which second moments of iterate and memory change in a step, in the long run.

        It is the spectral radius of the linear map E[M P Mᵀ] of second moments, M the random matrix of a step, without
        flat directions, along which nothing changes. A run is stable in the mean square if it is at most 1.
        """
        rate = check_learning_rate(learning_rate)
        step = companion(self.optimizer, rate * self.curvatures)
        size, count = len(step.source), len(self.curvatures)
        kicked = rate**2 * np.outer(step.source, step.source)

        def once(moments: np.ndarray) -> np.ndarray:
            carried = np.einsum("iab,ijbc,jdc->ijad", step.matrix, moments, step.matrix)
            return carried + self._scattered(moments[..., 0, 0])[..., None, None] * kicked

        start = np.einsum("ij,ab->ijab", np.eye(count), np.eye(size))
        return _spectral_radius(once, (count, count, size, size), start)

    def _scattered(self, moments: np.ndarray) -> np.ndarray:
        """Return 𝒱(P), the covariance of H_b z of a batch for second moments P of z."""
        if self.batch_size is None:
            return np.zeros_like(moments)
        h, shape = self.curvatures, moments.shape
        if self._products is not None:
            mean = (self._products @ moments.ravel()).reshape(shape)
        else:
            after = (moments @ self.hessians).reshape(-1, shape[1])
            mean = self.hessians.transpose(1, 0, 2).reshape(shape[0], -1) @ after / len(self.hessians)
        return (mean - h[:, None] * moments * h) / self.batch_size

    @cached_property
    def _products(self) -> np.ndarray | None:
        """The matrix of P ↦ mean of H_x P H_x, shape (k², k²), if it is not too large."""
        count = len(self.curvatures)
        if count > _WRITTEN_OUT:
            return None
        rows = self.hessians.reshape(len(self.hessians), -1)
        mean = (rows.T @ rows / len(rows)).reshape(count, count, count, count)  # H_ik H_jl by i, k, j, l
        return mean.transpose(0, 2, 1, 3).reshape(count**2, count**2)

    def __repr__(self) -> str:
        batches = "full batch" if self.batch_size is None else f"B={self.batch_size}"
        return (
            f"<StabilityThreshold η = {self.learning_rate:.4g}, {batches}, {self.optimizer}; "
            f"{self.without_noise:.4g} without noise>"
        )


def stability_threshold(
    landscape: Landscape,
    params: Any,
    *,
    batch_size: int | None,
    optimizer: Optimizer = PLAIN,
    sampling: str = "with-replacement",
) -> StabilityThreshold:
    """Return the learning rate up to which SGD stays at a minimum, in the mean square.

    Gradient descent leaves a minimum when ηh reaches 2. SGD leaves earlier where the Hessians of examples differ, even
    if every example has its minimum there: the distance z obeys z ← (1 − ηH_b) z, and E|z|² may grow while E z shrinks.
    For one parameter and B = 1 the condition is E(1 − ηh_x)² ≤ 1. With noise in the gradients as well, the fluctuations
    become infinite at the threshold, as far as the loss is quadratic.

    The points of batches are independent draws from the data, which is so with replacement, and in one pass over fresh
    points. It is exact for any batch size and optimizer of a constant rate.

    Args:
        landscape: the loss and the data; not in the unbiased reading.
        params: a minimum of the mean loss, a pytree of p floating-point numbers in all. Flat directions are allowed if
            all examples are flat there.
        batch_size: B; `None` for full batch.
        optimizer: plain SGD by default; averages at the end do not matter.
        sampling: "with-replacement" or "full-batch".

    Returns:
        A `StabilityThreshold`: its `learning_rate` is the threshold, and `growth(η)` the factor of second moments in a
        step. The work grows with p⁴; p² times the number of examples is at most 2·10⁷.

    Raises:
        ArgumentError: the sampling is another, the batch size does not fit it, the reading is unbiased, there are too
            many parameters, or the optimizer has symbols, a metric or steps that differ.
        LandscapeError: loss, gradient or Hessians are not finite, the mean Hessian has a negative eigenvalue, or is
            flat where the examples' are not.

    References:
        Mulayoff and Michaeli, "Exact mean square linear stability analysis for SGD" (2024), for plain SGD, whose
        closed form is a generalized eigenvalue; as a re-summation, and with momentum, the project's own.

    Examples:
        >>> import feyngd as fd, numpy as np
        >>> landscape = fd.Landscape(lambda theta, h: h * theta[0] ** 2 / 2, np.array([0.5, 1.5]))
        >>> found = stability_threshold(landscape, np.zeros(1), batch_size=1)
        >>> print(f"{found.learning_rate:.4f} of {found.without_noise:.4f}")  # 2 E[h] / E[h²]
        1.6000 of 2.0000
    """
    check_landscape(landscape)
    if landscape.reading == "unbiased":
        raise ArgumentError("Batches are drawn from the data here: use the population or the conditional reading.")
    if sampling not in SAMPLINGS or (sampling == "full-batch" and batch_size is not None):
        raise ArgumentError(
            "Second moments follow a linear map where batches are independent: sampling is 'with-replacement', or "
            f"'full-batch' with batch_size=None; got {sampling!r} with batch_size={batch_size!r}. Batches of one epoch "
            "depend on each other unless its points are fresh; one pass over fresh points is 'with-replacement'."
        )
    stable_damping(check_optimizer(optimizer))
    size = num_params(params)
    if (numbers := size**2 * landscape.num_examples) > _MOST_NUMBERS:
        raise ArgumentError(
            f"The Hessians of {landscape.num_examples} examples by {size} parameters are {float(numbers):.1e} numbers, "
            f"the limit is {_MOST_NUMBERS:.0e}: give fewer examples, or a loss of fewer parameters."
        )
    landscape, params = enter(landscape, params)
    landscape.validate(params)
    hessians = Derivatives(landscape, params, np.eye(size)).each_hessian()
    return StabilityThreshold.of_hessians(hessians, batch_size=batch_size, optimizer=optimizer)


def _curved(eigenvalues: np.ndarray, hessians: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the positive curvatures, and the examples' Hessians along these directions.

    Raises:
        LandscapeError: there are negative ones, none, or flat directions that examples are not flat along.
    """
    highest, size = float(eigenvalues.max()), float(np.abs(hessians).max())
    flat = np.abs(eigenvalues) <= _FLAT * max(highest, 0.0)
    if eigenvalues.min() < -_FLAT * abs(highest) or highest <= 0:
        raise LandscapeError(
            f"The mean Hessian has eigenvalues from {eigenvalues.min():.3g} to {highest:.3g}: along a negative one, or "
            "where all are zero, no learning rate keeps SGD at this point. Give a minimum, or add a penalty such as "
            "½λ|θ|² to the loss."
        )
    if np.any(flat) and float(np.abs(hessians[:, flat]).max()) > np.sqrt(_FLAT) * size:
        raise LandscapeError(
            f"The mean Hessian is flat along {flat.sum()} of {len(flat)} directions where those of the examples are "
            "not: there noise carries SGD away at any learning rate. Add a penalty such as ½λ|θ|² to the loss."
        )
    return eigenvalues[~flat], hessians[:, ~flat][:, :, ~flat]


def _spectral_radius(once: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...], start: np.ndarray) -> float:
    """Return the spectral radius of a linear map of second moments, itself an eigenvalue as covariances stay such."""
    size = int(np.prod(shape))
    if size <= _DENSE:
        columns = [once(unit.reshape(shape)).ravel() for unit in np.eye(size)]
        return float(np.abs(np.linalg.eigvals(np.stack(columns, axis=1))).max())
    operator = LinearOperator((size, size), matvec=lambda moments: once(moments.reshape(shape)).ravel(), dtype=float)
    found = eigs(operator, k=1, which="LM", v0=start.ravel(), tol=_CONVERGED, return_eigenvectors=False)
    return float(np.abs(found[0]))
