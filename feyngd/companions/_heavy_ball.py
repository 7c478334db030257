"""Heavy ball around a minimum: drift, diffusion and the covariance that lasts, of positions and velocities together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg

from .._arguments import check_integer
from .._learning_rates import check_learning_rate
from ..errors import ArgumentError, LandscapeError
from ..optimizers import momentum as with_momentum
from ..optimizers import stable_damping
from ._numbers import check_choice, check_number, check_symmetric

FORMS = ("pytorch", "sutskever")
TIMES = ("discrete", "continuous")


@dataclass(frozen=True, eq=False)
class HeavyBall:
    """SGD with momentum on a quadratic loss: a step takes z = (θ, v) to z + drift z + noise, Cov(noise) = diffusion.

    Attributes:
        drift: shape (2p, 2p).
        diffusion: the covariance of the noise of one step, shape (2p, 2p).
        stationary: the covariance of z in the long run, shape (2p, 2p): of the steps themselves in discrete time, of
            the diffusion process with the same drift and diffusion in continuous time.
        form: "pytorch" or "sutskever".
        time: "discrete" or "continuous".
        temperature: T = λ/B.
        momentum: μ.
    """

    drift: np.ndarray
    diffusion: np.ndarray
    stationary: np.ndarray
    form: str
    time: str
    temperature: float
    momentum: float

    @property
    def effective_temperature(self) -> float:
        """T/(1 − μ): for small learning rates positions fluctuate as those of plain SGD at this temperature."""
        return self.temperature / (1 - self.momentum)

    @property
    def position(self) -> np.ndarray:
        """The stationary covariance of θ, shape (p, p)."""
        count = len(self.stationary) // 2
        return self.stationary[:count, :count]

    @property
    def velocity(self) -> np.ndarray:
        """The stationary covariance of v, shape (p, p)."""
        count = len(self.stationary) // 2
        return self.stationary[count:, count:]


def heavy_ball(
    hessian: Any,
    covariance: Any,
    *,
    learning_rate: float,
    B: int,
    momentum: float,
    form: str = "pytorch",
    time: str = "discrete",
) -> HeavyBall:
    """Return drift, diffusion and stationary covariance of SGD with momentum around a minimum.

    In PyTorch's form, v ← μ v + g and θ ← θ − λ v, the drift is [[−λH, −λμ], [H, μ − 1]] and the diffusion is
    [[λ, −1], [−1, 1/λ]] ⊗ (λ/B) D. In Sutskever's, v ← μ v − λ g and θ ← θ + v, velocities are −λ times as large; it
    is the same process. One noise moves both halves, and where it pulls θ down it pushes PyTorch's v up.

    Along one eigenvector the variance of θ is λD(1 + μ)/(B h (1 − μ)(2(1 + μ) − λh)) in discrete time and
    λD(1 + λh)/(2B h (1 − μ + λh)) in continuous time; both tend to T D/(2h(1 − μ)) for small λ.

    Args:
        hessian: H, with any weight decay α in it as H + α, shape (p, p), or a number.
        covariance: D, of one example's gradient, plus β² where noise is injected; shape (p, p), or a number.
        learning_rate: λ.
        B: the batch size; batches are drawn with replacement.
        momentum: μ, from 0 to below 1.
        form: "pytorch" or "sutskever".
        time: "discrete" for the steps themselves, "continuous" for the diffusion process of the paper.

    Raises:
        ArgumentError: a matrix is not symmetric, shapes differ, D is not positive semidefinite, or another argument is
            not allowed.
        LandscapeError: a curvature is not positive or not stable at this rate, so that nothing settles.

    References:
        "Studying Generalization Through Data Averaging", equations (38)–(46); corrected: (41)–(44) print +1 off the
        diagonal of PyTorch's diffusion, which is −1. (46) is right as printed.

    Examples:
        >>> found = heavy_ball(1.0, 1.0, learning_rate=0.1, B=1, momentum=0.5)
        >>> print(f"{found.position[0, 0]:.6f}", found.effective_temperature)
        0.103448 0.2
    """
    curvature, noise = check_symmetric("The Hessian", hessian), check_symmetric("The gradient covariance", covariance)
    if curvature.shape != noise.shape:
        raise ArgumentError(
            f"The Hessian and the gradient covariance belong to the same p parameters; got shapes {curvature.shape} "
            f"and {noise.shape}."
        )
    if (lowest := np.linalg.eigvalsh(noise)[0]) < -1e-9 * np.abs(noise).max():
        raise ArgumentError(f"A gradient covariance has no negative eigenvalue; this one has {lowest:g}.")
    rate, batch = check_learning_rate(learning_rate), check_integer("B", B, least=1)
    mu = check_number("The momentum", momentum, least=0, below=1)
    check_choice("form", form, FORMS)
    is_discrete = check_choice("time", time, TIMES) == "discrete"
    _check_settles(np.linalg.eigvalsh(curvature), rate, mu, is_discrete)
    one = np.eye(len(curvature))
    # With v in units of −λ times PyTorch's, both halves are pushed alike.
    drift = np.block([[-rate * curvature, mu * one], [-rate * curvature, (mu - 1) * one]])
    diffusion = np.kron(np.ones((2, 2)), rate**2 / batch * noise)
    if is_discrete:
        stationary = linalg.solve_discrete_lyapunov(drift + np.eye(2 * len(one)), diffusion)
    else:
        stationary = linalg.solve_continuous_lyapunov(drift, -diffusion)
    if form == "pytorch":
        scale = np.repeat([1.0, -1 / rate], len(one))
        drift = scale[:, None] * drift / scale
        diffusion, stationary = (scale[:, None] * part * scale for part in (diffusion, stationary))
    return HeavyBall(drift, diffusion, stationary, form, time, rate / batch, mu)


def _check_settles(curvatures: np.ndarray, rate: float, mu: float, is_discrete: bool) -> None:
    bound = stable_damping(with_momentum(mu)) / rate if is_discrete else np.inf
    if not np.all((curvatures > 0) & (curvatures < bound)):
        limit = f" and below 2(1 + μ)/λ = {bound:.4g}" if is_discrete else ""
        raise LandscapeError(
            f"Noise settles where curvatures are above 0{limit}; got {curvatures.min():.4g} to "
            f"{curvatures.max():.4g}. Add weight decay to the Hessian, leave flat directions out, or give a smaller "
            "learning rate."
        )
