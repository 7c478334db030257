"""A basin: curvature and noise around a minimum, measured once; all limits are arithmetic on it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..._arguments import check_integer
from ...errors import ArgumentError, LandscapeError
from ...optimizers import momentum
from .._assumptions import Assumptions
from .._numbers import check_number, check_numbers, check_symmetric
from ._eigenpairs import Eigenpairs, upright
from ._growth import Growth
from ._limit import Limit
from ._linear_step import linear_step
from ._noise import Noise
from ._settings import Part, check_stable, response_of

if TYPE_CHECKING:
    from ._equal_excess import EqualExcess

_SMALL_GRADIENT = 0.01  # |g|² over tr Σ/B


@dataclass(frozen=True, eq=False)
class Basin:
    """Curvature and noise around a minimum. Made by `basin`, or from matrices.

    Attributes:
        curvatures: eigenvalues of the Hessian, the greatest first: all of them with matrices, else of the directions.
        vectors: the eigenvectors in rows, shape (k, p).
        noise: Σ along the curvature, Σ being the covariance of the examples' gradients, divided by N.
        center: θ*, the point that was looked at, shape (p,).
        slope: g*, the mean gradient there, shape (p,).
        is_dense: whether all directions are known.
        num_examples: N; `None` where it is not known.
        reading: of the landscape; `None` for matrices.
        flat: the size below which a curvature counts as 0.
        pairs: eigenvalues and eigenvectors with their residuals.
        growth: how the noise changes around; `None` for matrices.
        projections: gradients of examples along the sharpest direction, centred, shape (N,); `None` for matrices.
    """

    curvatures: np.ndarray
    vectors: np.ndarray = field(repr=False)
    noise: Noise = field(repr=False)
    center: np.ndarray = field(repr=False)
    slope: np.ndarray = field(repr=False)
    is_dense: bool
    num_examples: int | None
    reading: str | None
    flat: float
    pairs: Eigenpairs = field(repr=False)
    growth: Growth | None = field(default=None, repr=False)
    projections: np.ndarray | None = field(default=None, repr=False)
    structure: Any = field(default=None, repr=False)

    @classmethod
    def from_matrices(
        cls, hessian: Any, noise: Any, *, minimum: Any = None, num_examples: int | None = None
    ) -> "Basin":
        """Make a basin of a quadratic loss.

        Args:
            hessian: H, symmetric, shape (p, p).
            noise: Σ, the covariance of one example's gradient, positive semidefinite, shape (p, p).
            minimum: θ*, shape (p,); 0 by default.
            num_examples: N, needed by sampling without replacement; Σ is then divided by N.

        Raises:
            ArgumentError: a matrix is not symmetric or not finite, shapes differ, or Σ is indefinite.

        Examples:
            >>> import feyngd as fd
            >>> limit = Basin.from_matrices([[1.0]], [[1.0]]).limit(0.1, 1, optimizer=fd.momentum(0.5))
            >>> print(f"{limit.position_variance().value:.6f} {limit.speed().value:.6f}")
            0.103448 0.013793
        """
        curvature, covariance = check_symmetric("The Hessian", hessian), check_symmetric("The noise", noise)
        if curvature.shape != covariance.shape:
            raise ArgumentError(
                f"Hessian and noise belong to the same p parameters; got shapes {curvature.shape} and "
                f"{covariance.shape}."
            )
        lowest = float(np.linalg.eigvalsh(covariance)[0])
        if lowest < -1e-9 * np.abs(covariance).max():
            raise ArgumentError(f"The noise is a covariance, without negative eigenvalues; this one has {lowest:.4g}.")
        count = None if num_examples is None else check_integer("num_examples", num_examples, least=1)
        size = len(curvature)
        center = np.zeros(size) if minimum is None else np.atleast_1d(check_numbers("minimum", minimum))
        if center.shape != (size,) or not np.all(np.isfinite(center)):
            raise ArgumentError(f"minimum is a vector of {size} finite numbers; got shape {center.shape}.")
        rounding = 10 * float(np.finfo(float).eps)
        return dense_basin(curvature, covariance, center, np.zeros(size), num_examples=count, eps=rounding)

    @property
    def num_params(self) -> int:
        """p."""
        return len(self.center)

    @property
    def minimum(self) -> Any:
        """θ* − H⁻¹g*, along directions with curvature that are known; of the structure of the parameters."""
        pull = self.vectors @ self.slope
        step = np.divide(pull, self.curvatures, out=np.zeros_like(pull), where=self.curvatures > self.flat)
        return self.shaped(self.center - step @ self.vectors)

    @property
    def eigenpairs(self) -> Eigenpairs:
        """The directions, from the greatest curvature down: all with matrices, else as many as were asked for."""
        return self.pairs

    def assumptions(self) -> Assumptions:
        """Return what the theory takes for granted, measured at this point.

        What depends on learning rate and batch size is measured by `Limit.assumptions`.
        """
        from ._assumptions import assumptions

        return assumptions(self, None)

    def limit(
        self,
        learning_rate: float,
        batch_size: int,
        *,
        optimizer: Any = None,
        weight_decay: float = 0.0,
        sampling: str = "with-replacement",
        drop_last: bool = False,
        time: str = "discrete",
        subspace: int | None = None,
    ) -> Limit:
        """Return the limiting dynamics of SGD here.

        Args:
            learning_rate: η.
            batch_size: B.
            optimizer: `momentum(0.9)` by default; `sgd()`, Nesterov's momentum, or another that is linear in gradients.
            weight_decay: λ, added to gradients as λθ.
            sampling: "with-replacement", "reshuffled" (a new order every epoch) or "fixed" (one order for ever).
            drop_last: whether epochs leave out a last batch that is not full.
            time: "discrete", or "continuous" for the paper's equation.
            subspace: look at so many of the sharpest directions alone.

        Raises:
            ArgumentError: an argument is not allowed.
            LandscapeError: the learning rate is not stable, or the point is not near a minimum.

        Warns:
            PrecisionWarning: continuous time does not stand for these steps.
        """
        step = linear_step(momentum(0.9) if optimizer is None else optimizer, learning_rate)
        decay = check_number("weight_decay", weight_decay, least=0)
        response = response_of(
            step,
            batch_size,
            num_examples=self.num_examples,
            reading=self.reading,
            sampling=sampling,
            drop_last=drop_last,
            time=time,
        )
        noise, count = self.noise, None
        if subspace is not None:
            count = check_integer("subspace", subspace, least=1)
            if count > len(self.curvatures):
                cure = "give at most that many" if self.is_dense else "call basin(…, directions=k) with more"
                known = len(self.curvatures)
                raise ArgumentError(f"subspace={count} is more than the {known} directions known: {cure}.")
            assert noise.matrix is not None
            noise = Noise.exact(self.curvatures[:count], noise.matrix[:count, :count])
        nodes = np.concatenate([group[0].ravel() for group in self.noise.groups] + [self.curvatures])
        check_stable(step, float(nodes.min()) + decay, float(nodes.max()) + decay, time)
        self._check_gradient(decay, int(batch_size))
        parts = [Part(noise, response)]
        truncation = None if self.growth is None else self.growth.over(parts, decay, self.flat)
        return Limit(self, step, parts, int(batch_size), decay, sampling, time, count, truncation)

    def equal_excess(
        self,
        excess_loss: float,
        batch_sizes: Any,
        momenta: Any,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        sampling: str = "with-replacement",
        drop_last: bool = False,
        subspace: int | None = None,
        tolerance: float = 0.01,
    ) -> "EqualExcess":
        """Return, for every batch size and momentum, the learning rate at which SGD has one excess loss.

        Small learning rates trade η against B(1 − β). The table says where that ends, and what each choice costs in
        steps until the run has forgotten its start.

        Args:
            excess_loss: E L − L(μ), above 0, in the unit of the loss.
            batch_sizes: B, one or several.
            momenta: β, one or several.
            nesterov: whether the momentum is Nesterov's.
            weight_decay: λ, as in `limit`, like `sampling`, `drop_last` and `subspace`.
            sampling: of the batches.
            drop_last: whether epochs leave out a last batch that is not full.
            subspace: look at so many of the sharpest directions alone.
            tolerance: the share of a deviation that counts as forgotten.

        Raises:
            ArgumentError: an argument is not allowed.
            LandscapeError: the point is not near a minimum, or noise meets no curvature.

        Warns:
            TruncationWarning: the noise changes over the cloud of parameters at one of the learning rates found.

        Examples:
            >>> basin = Basin.from_matrices([[2.0, 0.0], [0.0, 0.1]], [[1.0, 0.2], [0.2, 0.3]])
            >>> print(basin.equal_excess(0.01, [16, 64], [0.0, 0.9]))
            learning rates of an excess loss of 0.01 (steps to forget)
                          β = 0       β = 0.9
            B = 16  0.348 (131)  0.04825 (88)
            B = 64  0.7008 (64)   0.1819 (88)
        """
        from ._equal_excess import equal_excess

        settings = {"weight_decay": check_number("weight_decay", weight_decay, least=0), "sampling": sampling}
        settings |= {"drop_last": drop_last, "subspace": subspace}
        return equal_excess(
            self, excess_loss, batch_sizes, momenta, nesterov=nesterov, tolerance=tolerance, settings=settings
        )

    def _check_gradient(self, decay: float, batch: int) -> None:
        allowed = _SMALL_GRADIENT * self.noise.trace / batch
        sizes = [float(np.sum(slope**2)) for slope in (self.slope, self.slope + decay * self.center)]
        # Rounding leaves a gradient where all examples fit.
        if min(sizes) > max(allowed, 1e-20):
            raise LandscapeError(
                f"Not near a minimum: |g|² is {min(sizes):.3g} and the noise tr Σ/B {self.noise.trace / batch:.3g}, of "
                f"which {_SMALL_GRADIENT:g} is allowed. Call feyngd.companions.shift_curvature.minimum first."
            )

    def flattened(self, given: Any, name: str) -> np.ndarray:
        """Return a vector, or a pytree like the parameters, as a vector of doubles, shape (p,)."""
        leaves = jax.tree.leaves(given) if _is_tree(given) else [given]
        try:
            found = np.concatenate([np.ravel(np.asarray(leaf, dtype=float)) for leaf in leaves])
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"{name} is a vector of {self.num_params} numbers, or a pytree of them.") from error
        if found.shape != (self.num_params,) or not np.all(np.isfinite(found)):
            raise ArgumentError(f"{name} has {self.num_params} finite numbers; got {found.size}.")
        return found

    def shaped(self, vector: np.ndarray) -> Any:
        """Return a vector with the structure of the parameters; as it is, for matrices."""
        return vector if self.structure is None else _split(vector, self.structure)

    def like(self, vector: np.ndarray, given: Any) -> Any:
        """Return a vector with the structure of what was given."""
        if not _is_tree(given):
            return vector
        return _split(vector, jax.tree.map(np.shape, given, is_leaf=lambda leaf: hasattr(leaf, "shape")))


def _is_tree(given: Any) -> bool:
    """Whether it is a container of arrays, and not itself an array or a list of numbers."""
    if hasattr(given, "shape") or np.isscalar(given):
        return False
    leaves = jax.tree.leaves(given)
    return not (isinstance(given, list | tuple) and all(np.ndim(leaf) == 0 for leaf in leaves))


def _split(vector: np.ndarray, shapes: Any) -> Any:
    """Return a vector cut into arrays of a pytree of shapes."""
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    sizes = [int(np.prod(shape)) for shape in leaves]
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return jax.tree.unflatten(structure, [part.reshape(shape) for part, shape in zip(parts, leaves, strict=True)])


def dense_basin(
    hessian: np.ndarray,
    noise: np.ndarray,
    center: np.ndarray,
    slope: np.ndarray,
    *,
    num_examples: int | None,
    eps: float,
    **others: Any,
) -> Basin:
    """Return a basin whose matrices are written out."""
    values, columns = np.linalg.eigh((hessian + hessian.T) / 2)
    # A stable order of equal eigenvalues, so that a diagonal Hessian keeps its directions.
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], upright(columns.T[order])
    matrix = vectors @ ((noise + noise.T) / 2) @ vectors.T
    along = Noise.exact(values, (matrix + matrix.T) / 2)
    flat = len(values) ** 0.5 * eps * float(np.abs(values).max(initial=0.0))
    shaped: Callable[[np.ndarray], Any] = others.pop("shaped", lambda vector: vector)
    residuals = np.linalg.norm(hessian @ vectors.T - vectors.T * values, axis=0)
    pairs = Eigenpairs(values, vectors, residuals, 0, shaped)
    return Basin(
        values, vectors, along, center, slope, True, num_examples, others.pop("reading", None), flat, pairs, **others
    )
