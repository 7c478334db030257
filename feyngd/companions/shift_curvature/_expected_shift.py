"""What sampling alone makes of the shift: train and test sets that are drawn from one distribution."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...estimates import Estimate
from ...landscapes import Landscape
from ._local_dense import Spectrum
from ._local_krylov import grown
from ._local_settings import AtMinimum


@dataclass(frozen=True)
class SamplingShift:
    """½sᵀCs as it comes from sampling: its mean, its standard deviation between draws, and replicates of tr[DC⁻¹]."""

    mean: Estimate
    spread: float


def expected_shift(
    landscape: Landscape,
    params: Any,
    *,
    num_test: float,
    penalty: float = 0.0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 64,
    key: Any = None,
) -> Estimate:
    """Return E[½sᵀCs] for train and test sets drawn from one distribution: ½(1/N_tr + 1/N_te) tr[DC⁻¹].

    The test loss at the train minimum exceeds its own minimum by this, and the train loss at the distribution's minimum
    lies below by its part with N_tr. For N_te → ∞ it is half the penalty of `feyngd.training.tic`.

    Args:
        landscape: the loss and its M = N_tr examples.
        params: a minimum of the train loss.
        num_test: N_te, an integer ≥ 1, or infinity.
        penalty: α of the train loss.
        method: "auto", "dense" or "krylov".
        num_samples: of random combinations of gradients without matrices.
        max_steps: the most Hessian-vector products for each.
        key: a JAX random key, needed without matrices.

    Raises:
        ArgumentError: an argument is invalid.
        LandscapeError: not at a minimum, or a curvature is not positive along a direction with noise.

    Examples:
        >>> import feyngd as fd
        >>> landscape, minimum = fd.landscapes.toys.mean_estimation(hessian=2.0)
        >>> count = landscape.num_examples
        >>> print(f"{expected_shift(landscape, minimum, num_test=count).value * count:.2f}")  # D/h
        0.50
    """
    check_num_test(num_test)
    settings = {"penalty": penalty, "method": method, "num_samples": num_samples, "max_steps": max_steps, "key": key}
    return sampling_shift(AtMinimum(landscape, params, **settings), num_test).mean


def sampling_shift(point: AtMinimum, num_test: float) -> SamplingShift:
    """Return mean and spread of ½sᵀCs at a minimum.

    Raises:
        LandscapeError: a curvature is not positive along a direction with noise.
    """
    factor = (1 / point.landscape.num_examples + 1 / num_test) / 2
    if point.is_dense:
        spectrum = Spectrum.at(point)
        whitened = spectrum.noise * spectrum.inverse  # D C⁻¹ in the eigenbasis
        trace, square = np.array([np.trace(whitened)]), float(np.sum(whitened * whitened.T))
    else:
        starts = point.noise.samples(point.num_samples, point.key)
        spaces = grown(point, starts)
        pairs = starts @ spaces.apply(lambda h: np.where(h > 0, 1 / np.where(h > 0, h, 1.0), 0.0)).T  # vᵀC⁻¹w
        trace = np.diag(pairs)
        square = float(np.mean(pairs[~np.eye(len(pairs), dtype=bool)] ** 2))
    kind = "exact" if point.is_dense else "lanczos"
    # The variance of a quadratic form of normal vectors, ½(1/N_tr + 1/N_te)² tr[(DC⁻¹)²].
    return SamplingShift(
        Estimate.from_replicates(factor * trace, kind, kinks=point.kinks), factor * math.sqrt(2 * square)
    )


def check_num_test(num_test: float) -> None:
    """Raise `ArgumentError` unless it is an integer ≥ 1 or infinity."""
    if num_test != math.inf:
        check_integer("num_test", num_test, least=1)
