"""Covariance, bias and losses around a minimum from matrices that are written out."""

from dataclasses import dataclass

import numpy as np

from ...errors import ArgumentError, LandscapeError
from ._local_settings import AtMinimum, Rates

_NOISELESS = 1e-9  # of the largest noise, allowed along directions without curvature
_PUSHED = 1e-6  # of the force of the noise, allowed along them


@dataclass(frozen=True)
class Spectrum:
    """The Hessian C of the train loss in its eigenbasis, and the noise D there.

    Attributes:
        curvatures: h, shape (p,), 0 where flat.
        axes: eigenvectors in columns.
        noise: D in the eigenbasis.
    """

    curvatures: np.ndarray
    axes: np.ndarray
    noise: np.ndarray

    @classmethod
    def at(cls, point: AtMinimum) -> "Spectrum":
        """Return the spectrum at a minimum.

        Raises:
            LandscapeError: a curvature is negative, or zero along a direction in which there is noise.
        """
        curvatures, axes = np.linalg.eigh(point.train.hessian(point.theta))
        noise = axes.T @ point.noise.matrix() @ axes
        flat = curvatures <= point.flat * np.abs(curvatures).max()
        check_curvatures(curvatures, flat & (np.diag(noise) > _NOISELESS * np.abs(noise).max()), point)
        return cls(np.where(flat, 0.0, curvatures), axes, np.where(flat[:, None] | flat, 0.0, noise))

    @property
    def inverse(self) -> np.ndarray:
        """1/h, and 0 along flat directions."""
        return np.divide(1, self.curvatures, out=np.zeros_like(self.curvatures), where=self.curvatures > 0)

    def covariance(self, rates: Rates) -> np.ndarray:
        """Return Σ in the eigenbasis, which solves CΣ + ΣC [− ηCΣC] = T D.

        Raises:
            ArgumentError: steps in discrete time are too large to be stable.
        """
        h = self.curvatures
        check_stable(h.max(), rates)
        h = np.where(h > 0, h, 1.0)  # there is no noise where it is 0
        return self.noise * rates.lasting(h[:, None], h)

    def solve(self, vector: np.ndarray) -> np.ndarray:
        """Return C⁻¹v, leaving flat directions out."""
        return self.axes @ (self.inverse * (self.axes.T @ vector))


def check_curvatures(curvatures: np.ndarray, bad: np.ndarray, point: AtMinimum) -> None:
    """Raise where curvatures are negative, or bad for another reason."""
    worst = curvatures.min()
    if bad.any() or worst < -point.flat * np.abs(curvatures).max():
        value = curvatures[bad].min() if bad.any() else worst
        raise LandscapeError(
            f"The train loss has the curvature {value:.3g} along a direction with noise, so that nothing holds the "
            f"parameters there (its largest is {curvatures.max():.3g}): give penalty=α, the weight decay of the run, "
            "or call minimum first."
        )


def check_stable(largest: float, rates: Rates) -> None:
    """Raise `ArgumentError` where steps of η along the largest curvature run away."""
    if rates.learning_rate * largest >= 2:
        raise ArgumentError(
            f"Steps of learning_rate={rates.learning_rate:g} are not stable along the curvature {largest:.4g}: ηh = "
            f"{rates.learning_rate * largest:.3g}, allowed below 2. Give a smaller learning rate, below "
            f"{2 / largest:.4g}."
        )


@dataclass(frozen=True)
class DenseResult:
    """Numbers of a local steady state, exact: see `LocalSteadyState`. `moved` is |b|/√tr Σ."""

    train_excess: float
    covariance_curvature: float
    bias_term: float
    commutator: float
    covariance: np.ndarray
    bias: np.ndarray
    curvatures: np.ndarray
    moved: float


def dense_result(point: AtMinimum, rates: Rates) -> DenseResult:
    """Return the result with matrices.

    Raises:
        ArgumentError: steps are not stable.
        LandscapeError: a curvature is not positive where there is noise, or the noise pushes along flat directions.
    """
    spectrum = Spectrum.at(point)
    inside = spectrum.covariance(rates)
    covariance = spectrum.axes @ inside @ spectrum.axes.T
    sizes, directions = np.linalg.eigh((covariance + covariance.T) / 2)
    kept = sizes > 0
    vectors = (directions[:, kept] * np.sqrt(sizes[kept])).T
    push = point.train.third(point.theta, vectors).sum(axis=0)  # J:Σ
    check_push(push, spectrum)
    bias = spectrum.solve(push) / 2
    gradient = point.test(point.theta)[1]
    product = spectrum.curvatures[:, None] * spectrum.noise  # C D
    size, spread = np.linalg.norm(product), np.trace(covariance) ** 0.5
    return DenseResult(
        float(np.sum(np.diag(inside) * spectrum.curvatures)) / 2,
        float(np.sum(covariance * point.test.hessian(point.theta))) / 2,
        -float(bias @ gradient),
        float(np.linalg.norm(product - product.T) / (np.sqrt(2) * size)) if size > 0 else 0.0,
        covariance,
        bias,
        spectrum.curvatures,
        float(np.linalg.norm(bias) / spread) if spread > 0 else 0.0,
    )


def check_push(push: np.ndarray, spectrum: Spectrum) -> None:
    """Raise where third derivatives make the noise push along flat directions, so that nothing settles."""
    along = (spectrum.axes.T @ push)[spectrum.curvatures == 0]
    if np.linalg.norm(along) > _PUSHED * np.linalg.norm(push) > 0:
        raise LandscapeError(
            f"The noise pushes along {len(along)} directions without curvature, by {np.linalg.norm(along):.3g} of "
            f"{np.linalg.norm(push):.3g}: the parameters drift and do not settle. Give penalty=α, or use "
            "feyngd.entropic_drift for a number of steps."
        )
