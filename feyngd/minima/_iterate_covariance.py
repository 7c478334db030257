"""The covariance of the iterates near a minimum, at any time: the re-summed diagram with two loose ends."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from .._learning_rates import check_learning_rate
from ..derivatives import CHUNK
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..estimates import Estimate
from ..optimizers import PLAIN, Optimizer
from ..series import ResummedSeries
from ..spacetimes import Spacetime, check_spacetime
from ..spectra import DENSE, compiled_matrices
from ._near_minimum import NearMinimum
from ._optimizers import check_stable, optimizer_in_numbers


@dataclass(frozen=True, eq=False)
class IterateCovariance:
    """How far runs of SGD from one point near a minimum spread in the parameters.

    Attributes:
        trace: Σ_i Var(θ_i), in the squared unit of the parameters, with its standard error if it is sampled.
        matrix: Cov(θ_T), shape (p, p), the parameters in the order of `jax.flatten_util.ravel_pytree`; `None` where the
            spectra are not dense.
    """

    trace: Estimate
    matrix: Float[np.ndarray, "params params"] | None

    def along(self, direction: ArrayLike) -> float:
        """Return Var(v·θ_T) in a direction v, shape (p,).

        Raises:
            ArgumentError: the matrix is not known, or the direction has another shape.
        """
        if self.matrix is None:
            raise ArgumentError(
                f"The covariance in a direction is known where near_minimum was dense, up to {DENSE} parameters: give "
                "method='dense'."
            )
        vector = np.asarray(direction, dtype=float)
        if vector.shape != (len(self.matrix),):
            raise ArgumentError(f"A direction has the shape ({len(self.matrix)},), got {vector.shape}.")
        return float(vector @ self.matrix @ vector)


def iterate_covariance(
    minimum: NearMinimum, spacetime: Spacetime, learning_rate: float, *, optimizer: Optimizer = PLAIN
) -> IterateCovariance:
    """Return the covariance of the last iterate over runs that start near a minimum, re-summed.

    The two trees of `[a] [a]` are two edges that carry one example's gradient to the end of the run, each with all
    chains of Hessians on its way. Along eigenvectors i and j of the Hessian H their coefficient is
    (η²/B²) Σ K_i K_j over pairs of uses of one datapoint. The work does not grow with the number of steps at a constant
    rate. It is exact where the loss is quadratic with one Hessian for all examples; elsewhere it is the second order in
    the noise. Whether that is enough, the truncation figure of `minimum.predict` says.

    Args:
        minimum: made by `near_minimum`.
        spacetime: the concrete N, B, E, T and sampling.
        learning_rate: η.
        optimizer: as for `NearMinimum.predict`; where it averages the iterates, the covariance is that of the average.

    Returns:
        An `IterateCovariance`: the matrix where the spectra are dense, and its trace.

    Raises:
        ArgumentError: what is given is no `NearMinimum`, the learning rate is not positive, or the optimizer has
            symbols or a metric or does not fit the number of steps.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: the learning rate is not stable.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 and Appendix A.7, in exact discrete time.

    Examples:
        >>> import jax, feyngd as fd
        >>> landscape, params = fd.landscapes.toys.mean_estimation(hessian=2.0)
        >>> minimum = fd.near_minimum(landscape, params, key=jax.random.key(0))
        >>> found = fd.iterate_covariance(minimum, fd.Spacetime.sgd(1000), 0.1)
        >>> print(f"{found.matrix[0, 0]:.6f}, {0.1 / (2 * (2 - 0.1 * 2)):.6f} in the long run")
        0.027778, 0.027778 in the long run
    """
    if not isinstance(minimum, NearMinimum):
        raise ArgumentError(f"The covariance is that near a minimum, fd.near_minimum(…); got {minimum!r}.")
    rate = check_learning_rate(learning_rate)
    check_spacetime(spacetime, concrete="SGD is predicted")
    optimizer = optimizer_in_numbers(optimizer, int(spacetime.T))
    point = minimum.point
    check_stable(optimizer, np.array([rate]), point.curvatures[1], int(spacetime.T))
    series, pair = ResummedSeries("test_loss", 2, spacetime, optimizer=optimizer), Diagram.parse("[a a]")

    def shared(h: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Return the covariance per unit of noise along two eigenvectors; the diagram [a a] has half of it."""
        return np.asarray(2 * series.coefficient(pair, [h, k], rate), dtype=float)

    kind = "exact" if point.is_dense else "lanczos"
    replicates = point.noise.replicates(lambda h: shared(h, h))
    point.check_value(replicates)
    trace = Estimate.from_replicates(replicates, kind, kinks=minimum.kinks)
    if not point.is_dense:
        return IterateCovariance(trace, None)
    frozen = point.frozen
    noise, hessian = compiled_matrices(frozen.loss, min(CHUNK, frozen.num_examples))(point.params, frozen.data)
    curvatures, vectors = np.linalg.eigh(np.asarray(hessian, dtype=float))
    count = frozen.num_examples
    inside = vectors.T @ np.asarray(noise, dtype=float) @ vectors * (count - 1) / count
    matrix = vectors @ (shared(curvatures[:, None], curvatures[None, :]) * inside) @ vectors.T
    return IterateCovariance(trace, matrix)
