"""What the formulas of this theory assume, measured at a point instead of assumed."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._learning_rates import check_learning_rate
from ...derivatives import num_params
from ...errors import ArgumentError, LandscapeError
from ...landscapes import enter
from ...optimizers import PLAIN, Optimizer, check_optimizer
from ...spacetimes import Spacetime, check_spacetime
from ...spectra import DENSE, covariance_and_hessian
from .._numbers import check_number
from ..shift_curvature import Diffusion

CURL = 1e-6  # relative: above, g depends on its path of integration
SMALL_STEP = 0.1  # λh: below, a diffusion stands for steps within about 5%
SETTLED = 5.0  # relaxation times: e^-5 is left of the start

_FLAT = 1e-10  # of the largest eigenvalue of D: what counts as none
_MOST_FOR_CURL = 40  # parameters: the curl takes p³ numbers at many points


@dataclass(frozen=True)
class Assumptions:
    """What holds at a point, with the numbers that say so; `None` is not measured.

    Attributes:
        parameters: p.
        rank: of D + β²: the directions with noise; p where a density exists.
        curl: how far (D + β²)⁻¹(w + ½T ∇·D) is from a gradient: 0 for one parameter, at most 1e-6 where g exists.
        damping: the largest λh, h being a curvature of the loss with weight decay; below 0.1 steps are small.
        relaxations: T_steps λ h of the flattest direction, in which runs settle last; above 5 they are stationary.
        with_replacement: whether batches are drawn with replacement.
        is_plain: whether steps are those of plain SGD at a constant rate.
    """

    parameters: int
    rank: int
    curl: float | None
    damping: float
    relaxations: float
    with_replacement: bool
    is_plain: bool

    @property
    def failing(self) -> tuple[str, ...]:
        """What does not hold or was not measured, in words: what predictions of the steady state rest on in vain."""
        found = []
        if self.rank < self.parameters:
            found.append(f"noise in all directions: rank {self.rank} of {self.parameters}")
        if self.curl is None or not self.curl <= CURL:
            found.append(f"no curl: {'not measured' if self.curl is None else f'{self.curl:.3g}'}")
        if not self.damping <= SMALL_STEP:
            found.append(f"small steps: λh = {self.damping:.3g}")
        if not self.relaxations >= SETTLED:
            found.append(f"stationary: {self.relaxations:.3g} relaxation times")
        if not self.with_replacement:
            found.append("batches with replacement")
        if not self.is_plain:
            found.append("plain SGD at a constant rate")
        return tuple(found)

    @property
    def hold(self) -> bool:
        """Whether all of them hold."""
        return not self.failing

    def __str__(self) -> str:
        return "all assumptions hold" if self.hold else f"assumptions that fail: {'; '.join(self.failing)}"


def assumptions(
    landscape: Any,
    params: Any,
    spacetime: Spacetime,
    learning_rate: float,
    *,
    weight_decay: float = 0.0,
    noise: float = 0.0,
    optimizer: Optimizer = PLAIN,
) -> Assumptions:
    """Measure what the steady state in closed form assumes, at a point, with the pool as the training set.

    Args:
        landscape: the loss and the pool.
        params: the point, of at most 1,500 numbers. The curl is measured up to 40.
        spacetime: the concrete B, T and sampling.
        learning_rate: λ.
        weight_decay: α.
        noise: β.
        optimizer: of the runs.

    Returns:
        An `Assumptions`; `failing` names those that do not hold.

    Raises:
        ArgumentError: an argument is not allowed, or there are too many parameters.
        SpacetimeError: the spacetime has symbols.
        LandscapeError: the loss, data or parameters are invalid.

    References:
        "Studying Generalization Through Data Averaging", appendices A and B.

    Examples:
        >>> import feyngd as fd
        >>> landscape, start = fd.landscapes.toys.mean_estimation()
        >>> space = fd.Spacetime.sgd(N=10, B=2, E=20)
        >>> print(assumptions(landscape, start, space, 0.05))
        assumptions that fail: batches with replacement
    """
    rate = check_learning_rate(learning_rate)
    alpha, beta = check_number("weight_decay", weight_decay, least=0), check_number("noise", noise, least=0)
    check_spacetime(spacetime, concrete="Runs are judged")
    check_optimizer(optimizer)
    landscape, params = enter(landscape, params)
    count = num_params(params)
    if count > DENSE:
        raise ArgumentError(
            f"The assumptions are measured from whole matrices, up to {DENSE:,} parameters; there are {count:,}. Test "
            "the runs instead, with Ensemble.stationarity."
        )
    covariance, hessian = (
        np.asarray(part, dtype=float) for part in covariance_and_hessian(landscape.loss, params, landscape.data)
    )
    sizes = np.linalg.eigvalsh(covariance) + beta**2
    curvatures = np.linalg.eigvalsh(hessian) + alpha
    rank = int(np.sum(sizes > _FLAT * sizes[-1])) if sizes[-1] > 0 else 0
    return Assumptions(
        parameters=count,
        rank=rank,
        curl=_curl(landscape, params, alpha, beta, rate / int(spacetime.B)) if rank == count else None,
        damping=rate * float(np.abs(curvatures).max()),
        relaxations=float(rate * int(spacetime.T) * curvatures[0]),
        with_replacement=spacetime.sampling == "with-replacement",
        is_plain=optimizer.is_plain and optimizer.metric is None,
    )


def _curl(landscape: Any, params: Any, alpha: float, beta: float, temperature: float) -> float | None:
    theta = np.asarray(landscape.flatten(params)[0], dtype=float)
    if len(theta) == 1:
        return 0.0
    if len(theta) > _MOST_FOR_CURL:
        return None
    try:
        found = Diffusion.of(landscape, params, penalty=alpha, isotropic=beta).curl(theta, temperature)
    except LandscapeError:  # D is singular up to rounding
        return None
    return found if math.isfinite(found) else None
